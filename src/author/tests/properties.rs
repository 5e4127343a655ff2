//! Whatever is said, in whatever order: the log is the state, it replays, and no undeclared move is in it.

use std::{collections::HashSet, sync::Arc};

use colloquy_flow::Flow;
use colloquy_turn::{
    Change, ConversationState, Detail, Outcome, Proposer, Reason, SnapshotRecord, Stage, StageResult, TurnOutcome,
    TurnRecord, open_conversation, replay,
};
use proptest::prelude::*;

use super::examples::{example, folder};
use crate::{load::load_despite_faults, scenario::ScriptedWorld};

/// Transitions as the YAML declares them, read without the loader: `from`, `to`, `by`.
struct Declared {
    rows: Vec<(String, String, Vec<String>)>,
    start: String,
}

impl Declared {
    /// Reads lines of the form `- {from: …, to: …, by: …}`, where `by` may be a list.
    fn read(source: &str) -> Self {
        let mut rows = Vec::new();
        let mut start = String::new();
        for line in source.lines() {
            if let Some(place) = line.strip_prefix("start: ") {
                start = place.trim().to_owned();
            }
            let Some(row) = line.trim().strip_prefix("- {from: ") else { continue };
            let (from, row) = row.split_once(", to: ").expect("a transition has a target");
            let (to, by) = row.split_once(", by: ").expect("a transition has proposers");
            let by = by.trim_end_matches('}').trim_matches(['[', ']']).split(", ").map(str::to_owned).collect();
            rows.push((from.trim_matches('"').to_owned(), to.to_owned(), by));
        }
        assert!(!rows.is_empty() && !start.is_empty(), "the source declares transitions and a start");
        Self { rows, start }
    }

    fn allows(&self, from: &str, to: &str, by: &str) -> bool {
        let declares = |(f, t, b): &(String, String, Vec<String>)| {
            (f == "*" || f == from) && t == to && b.iter().any(|who| who == by)
        };
        self.rows.iter().any(declares)
    }

    /// Follows every move of a turn; each must be declared, a reset to the start, or a digression's return.
    fn judge(&self, before: &ConversationState, record: &TurnRecord) -> Result<(), String> {
        let proposals: Vec<_> = (record.stages.iter())
            .filter(|event| event.stage == Stage::Transition && event.result == StageResult::Moved)
            .filter_map(|event| match &event.detail {
                Detail::Proposal(proposal) => Some(proposal.as_ref()),
                _ => None,
            })
            .collect();
        let mut proposals = proposals.into_iter();
        let mut at = before.position().to_string();
        let mut interrupted: Vec<String> = before.interrupted().iter().map(ToString::to_string).collect();
        let mut popped: Vec<String> = Vec::new();
        let reset = record.stages.iter().any(|event| event.reason == Reason::Reset && event.stage == Stage::Transition);
        for change in &record.changes {
            match change {
                Change::DigressionPushed(from) => {
                    (from.to_string() == at).then_some(()).ok_or("pushed where it was not")?;
                    interrupted.push(from.to_string());
                }
                Change::DigressionsDropped => interrupted.clear(),
                Change::DigressionPopped => popped.extend(interrupted.pop()),
                Change::Moved(to) => {
                    let to = to.to_string();
                    let returned = popped.last() == Some(&to);
                    if !(returned || reset && to == self.start) {
                        let proposal = proposals.next().ok_or_else(|| format!("{at} -> {to} was never proposed"))?;
                        let by = proposal.by.name();
                        if (proposal.from.as_ref(), proposal.to.as_ref()) != (at.as_str(), to.as_str()) {
                            return Err(format!("{at} -> {to} is not what {by} proposed"));
                        }
                        if !self.allows(&at, &to, by) {
                            return Err(format!("{at} -> {to} is not declared for {by}"));
                        }
                    }
                    at = to;
                }
                _ => {}
            }
        }
        let after = format!("{}.{}", record.intent, record.state);
        if at == after { Ok(()) } else { Err(format!("the moves lead to {at}, the record says {after}")) }
    }
}

/// Flow, what it declares, and words that mean something to it.
struct Subject {
    flow: Arc<Flow>,
    declared: Declared,
}

fn shipped(name: &str) -> Subject {
    let source = std::fs::read_to_string(folder(name).join("flow.yaml")).expect("the example can be read");
    Subject { flow: example(name).flow, declared: Declared::read(&source) }
}

/// A flow whose rules propose any position from anywhere, of which almost nothing is declared.
fn hostile() -> Subject {
    let places = ["a.one", "a.two", "a.end", "b.one", "b.two", "b.end"];
    let mut source = String::from(
        "format: colloquy.flow/v1\nname: hostile\nstart: a.one\nfallback: Refused.\n\
         intents:\n  a:\n    initial: one\n    states: {one: {}, two: {}, end: {terminal: true}}\n  \
         b:\n    initial: one\n    digression: true\n    classify: {keywords: [[digress]]}\n    \
         states: {one: {}, two: {}, end: {terminal: true}}\n\
         transitions:\n  - {from: a.one, to: a.two, by: rule}\n  - {from: a.two, to: b.one, by: [rule, digression]}\n  \
         - {from: b.one, to: b.end, by: rule}\n  - {from: b.end, to: a.end, by: pending}\nrules:\n",
    );
    for place in places {
        let id = place.replace('.', "-");
        source.push_str(&format!(
            "  - {{id: jump-{id}, in: any, when: \"text.contains('jump {place}')\", then: [{{go: {place}}}]}}\n"
        ));
        source.push_str(&format!(
            "  - {{id: act-{id}, in: any, when: \"text.contains('act {place}')\", then: [{{stage: act_{}}}]}}\n",
            place.replace('.', "_")
        ));
    }
    source.push_str("actions:\n");
    for place in places {
        source.push_str(&format!("  act_{}: {{kind: local, on_executed: {place}}}\n", place.replace('.', "_")));
    }
    source.push_str("responses:\n  - {in: any, template: \"At {{ intent }}.{{ state }}.\"}\n");
    let declared = Declared::read(&source);
    Subject { flow: load_despite_faults(&source).expect("the hostile flow compiles"), declared }
}

fn texts() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "yes",
        "no",
        "ok",
        "no, yes",
        "start over",
        "cancel",
        "cancel A-1001",
        "A-1002",
        "no, B-2002",
        "yes, cancel C-3003",
        "where is my order",
        "track order D-4004",
        "status of E-5005",
        "opening hours",
        "hello",
        "refund",
        "return",
        "gift card",
        "never mind",
        "hm",
        "",
        "   ",
        "stop my order",
        "hours and cancel order F-6006",
    ])
    .prop_map(str::to_owned);
    let place = prop::sample::select(vec!["a.one", "a.two", "a.end", "b.one", "b.two", "b.end"]);
    let jump = (prop::sample::select(vec!["jump", "act", "digress jump", "digress act"]), place)
        .prop_map(|(verb, place)| format!("{verb} {place}"));
    prop_oneof![6 => known, 3 => jump, 1 => any::<String>(), 1 => "[a-zA-Z0-9 .,'-]{0,40}"]
}

fn snapshot_of(state: &ConversationState, flow: &Flow) -> SnapshotRecord {
    SnapshotRecord {
        state: state.clone(),
        flow: flow.name().clone(),
        flow_tenant: "_".to_owned(),
        revision: flow.revision(),
        created_at: colloquy_types::Timestamp::from_micros(1),
        turns_remembered: Vec::new(),
        open_accepted: None,
    }
}

fn hold(subject: &Subject, texts: &[String]) -> Result<(), TestCaseError> {
    let flow = &subject.flow;
    let mut world = ScriptedWorld::default();
    let mut state = open_conversation(flow);
    let mut folded = state.clone();
    for text in texts {
        let before = state.clone();
        let Outcome { record, state: after } = world.turn(flow, before.clone(), text);

        folded.apply_turn(&record);
        prop_assert_eq!(&folded, &after, "the folded log is the state");
        let stored = record.encode().map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&TurnRecord::decode(&stored).map_err(|error| TestCaseError::fail(error.to_string()))?, &record);
        let snapshot = snapshot_of(&after, flow);
        let bytes = snapshot.encode().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let restored = SnapshotRecord::decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&restored, &snapshot, "a snapshot gives back the state");

        let again = replay(Arc::clone(flow), before.clone(), &record)
            .map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(&again.record, &record, "the turn replays");
        prop_assert_eq!(&again.state, &after);

        subject.declared.judge(&before, &record).map_err(TestCaseError::fail)?;
        prop_assert_eq!(after.turns(), before.turns() + 1);
        prop_assert!(after.interrupted().len() <= usize::from(flow.limits().digression_depth));
        prop_assert!(after.pending().len() <= usize::from(flow.limits().pending_actions));
        if record.outcome == TurnOutcome::Blocked {
            prop_assert_eq!(&record.changes, &[Change::TurnCounted]);
            prop_assert_eq!(record.reply.text.as_str(), flow.fallback().as_ref());
        } else {
            for (slot, _) in after.slots() {
                let mut live = std::iter::once(after.position()).chain(after.interrupted());
                let kept =
                    live.any(|at| flow.find_intent(&at.intent).is_some_and(|intent| flow.intent(intent).keeps(slot)));
                prop_assert!(kept, "{} is evicted where nothing keeps it", slot);
            }
        }
        state = after;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_desk_conversations_fold_replay_and_move_as_declared(texts in prop::collection::vec(texts(), 1..16)) {
        thread_local!(static SUBJECT: Subject = shipped("order-desk"));
        SUBJECT.with(|subject| hold(subject, &texts))?;
    }

    #[test]
    fn faq_desk_conversations_fold_replay_and_move_as_declared(texts in prop::collection::vec(texts(), 1..16)) {
        thread_local!(static SUBJECT: Subject = shipped("faq-desk"));
        SUBJECT.with(|subject| hold(subject, &texts))?;
    }

    #[test]
    fn no_undeclared_move_becomes_durable_whatever_rules_and_actions_propose(texts in prop::collection::vec(texts(), 1..16)) {
        thread_local!(static SUBJECT: Subject = hostile());
        SUBJECT.with(|subject| hold(subject, &texts))?;
    }
}

#[test]
fn an_undeclared_move_is_blocked_and_says_who_proposed_what() {
    let Subject { flow, .. } = hostile();
    let mut world = ScriptedWorld::default();
    for (text, proposer, name) in
        [("jump b.two", Proposer::Rule, "jump-b-two"), ("act b.two", Proposer::Action, "act_b_two")]
    {
        let before = open_conversation(&flow);
        let outcome = world.turn(&flow, before.clone(), text);
        let record = &outcome.record;
        assert_eq!(record.outcome, TurnOutcome::Blocked);
        assert_eq!(record.reply.text, "Refused.");
        assert_eq!(record.changes, [Change::TurnCounted]);
        assert_eq!(outcome.state.position(), before.position());
        let blocked = record.stages.iter().find(|event| event.result == StageResult::Blocked).expect("it is told");
        assert_eq!(blocked.reason, Reason::TransitionBlocked);
        let Detail::Proposal(proposal) = &blocked.detail else { panic!("the proposal is told") };
        assert_eq!((proposal.by, proposal.name.as_ref()), (proposer, name));
        assert_eq!((proposal.from.as_ref(), proposal.to.as_ref()), ("a.one", "b.two"));
    }
}

#[test]
fn the_oracle_reads_the_transitions_the_loader_reads() {
    for subject in [shipped("order-desk"), shipped("faq-desk"), hostile()] {
        let flow = &subject.flow;
        let names: Vec<String> = flow.states().map(|(_, state)| state.full_name.to_string()).collect();
        let compiled: HashSet<(String, String, &str)> = flow
            .transitions()
            .flat_map(|(from, to, mask)| {
                let by = colloquy_flow::By::ALL.into_iter().filter(move |by| mask.allows(*by));
                by.map(move |by| {
                    (flow.state(from).full_name.to_string(), flow.state(to).full_name.to_string(), by.name())
                })
            })
            .collect();
        for from in &names {
            for to in &names {
                for by in colloquy_flow::By::ALL.map(colloquy_flow::By::name) {
                    let listed = compiled.contains(&(from.clone(), to.clone(), by));
                    assert_eq!(subject.declared.allows(from, to, by), listed, "{from} -> {to} by {by}");
                }
            }
        }
    }
}
