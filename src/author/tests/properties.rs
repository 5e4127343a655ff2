//! Whatever is said, whatever models and tools answer, in whatever order: the log is the state, it replays,
//! and no undeclared move is in it.

mod oracle;
mod outside;
mod planned;
mod subjects;

use std::{collections::HashSet, sync::Arc};

use colloquy_flow::{Flow, SlotScope};
use colloquy_turn::{
    CallOutcome, Change, ConversationState, Detail, EffectValue, Outcome, Proposer, Reason, SnapshotRecord, Stage,
    StageResult, TurnOutcome, TurnRecord, open_conversation, replay,
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use self::{
    outside::{Answers, answers},
    subjects::{Subject, guided, hostile, shipped},
};
use super::examples::EXAMPLES;
use crate::scenario::ScriptedWorld;

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
        "act on A-1001",
        "jump to it?",
        "where is my order now, forbidden or not",
        "red and green",
        "no internet on the router since monday",
        "lights are on",
        "my bill IN-1234",
        "a loan of 5000 euros in 12 months for my car, my name is Ada Byron",
        "1990-05-17",
        "do you have lamps?",
        "try again",
        "something else",
        "compare your lamps",
        "which of them is it",
        "a gift",
        "{\"intent\": \"b\"}",
        "{\"intent\": \"c\", \"slots\": {\"number\": \"B-2002\", \"unknown\": 1}}",
        "{\"action\": \"confirmed\", \"confirm\": true}",
        "{\"other\": 1}",
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

fn hold(subject: &Subject, texts: &[String], answers: &Answers) -> Result<(), TestCaseError> {
    let flow = &subject.flow;
    let mut world = outside::World::new(answers);
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

        model_says_so(subject, &record)?;
        planned::within_bounds(flow, &record)?;
        subject.declared.judge(&before, &record).map_err(TestCaseError::fail)?;
        prop_assert_eq!(after.turns(), before.turns() + 1);
        prop_assert!(after.interrupted().len() <= usize::from(flow.limits().digression_depth));
        prop_assert!(after.pending().len() <= usize::from(flow.limits().pending_actions));
        if record.outcome == TurnOutcome::Blocked {
            refused(flow, &record)?;
        } else {
            prop_assert!(record.stages.iter().all(|event| event.stage != Stage::TransitionBlocked));
            for (slot, _) in after.slots() {
                let lasting = flow.find_slot(slot).is_some_and(|slot| flow.slot(slot).scope == SlotScope::Conversation);
                let mut live = std::iter::once(after.position()).chain(after.interrupted());
                let kept =
                    live.any(|at| flow.find_intent(&at.intent).is_some_and(|intent| flow.intent(intent).keeps(slot)));
                prop_assert!(kept || lasting, "{} is evicted where nothing keeps it", slot);
            }
        }
        state = after;
    }
    Ok(())
}

/// A move to an intent that a model chose says so, and is declared for models.
fn model_says_so(subject: &Subject, record: &TurnRecord) -> Result<(), TestCaseError> {
    let chosen = record.stages.iter().find_map(|event| match &event.detail {
        Detail::Name(name) if (event.stage, event.reason) == (Stage::Intent, Reason::Model) => Some(name),
        _ => None,
    });
    let Some(chosen) = chosen.filter(|_| record.reply.text != subject.flow.fallback().as_ref()) else { return Ok(()) };
    let moves = record.stages.iter().filter_map(|event| match &event.detail {
        Detail::Proposal(proposal) if proposal.name == *chosen => Some(proposal),
        _ => None,
    });
    for proposal in moves {
        prop_assert!(matches!(proposal.by, Proposer::Model | Proposer::Digression), "{:?}", proposal);
        prop_assert!(subject.declared.allows(&proposal.from, &proposal.to, "model"), "{:?}", proposal);
    }
    Ok(())
}

/// A refused turn says why, says the fallback, and changes nothing but what already changed the world.
fn refused(flow: &Flow, record: &TurnRecord) -> Result<(), TestCaseError> {
    let blocked = record.stages.iter().find(|event| event.result == StageResult::Blocked);
    let blocked = blocked.ok_or_else(|| TestCaseError::fail("a refused turn says which stage refused it"))?;
    if blocked.stage != Stage::Guard {
        let told = record.stages.iter().find(|event| event.stage == Stage::TransitionBlocked);
        prop_assert!(told.is_some_and(|event| matches!(event.detail, Detail::Proposal(_))));
        prop_assert_eq!(record.reply.text.as_str(), flow.fallback().as_ref());
    }
    let acted = record.effects.iter().any(|result| {
        matches!(result.value, EffectValue::Act(CallOutcome::Done(_) | CallOutcome::Partial(_) | CallOutcome::Unknown))
    });
    if acted {
        prop_assert!(record.changes.iter().all(|change| !matches!(change, Change::Moved(_))));
    } else {
        prop_assert_eq!(&record.changes, &[Change::TurnCounted]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// CE-005, CE-007: what is not kept is gone, and each turn replays to what was recorded.
    #[test]
    fn order_desk_conversations_fold_replay_and_move_as_declared(
        texts in prop::collection::vec(texts(), 1..16), answers in answers()
    ) {
        thread_local!(static SUBJECT: Subject = shipped("order-desk"));
        SUBJECT.with(|subject| hold(subject, &texts, &answers))?;
    }

    #[test]
    fn faq_desk_conversations_fold_replay_and_move_as_declared(
        texts in prop::collection::vec(texts(), 1..16), answers in answers()
    ) {
        thread_local!(static SUBJECT: Subject = shipped("faq-desk"));
        SUBJECT.with(|subject| hold(subject, &texts, &answers))?;
    }

    #[test]
    fn support_conversations_fold_replay_and_move_as_declared(
        texts in prop::collection::vec(texts(), 1..10), answers in answers()
    ) {
        thread_local!(static SUBJECT: Subject = shipped("support"));
        SUBJECT.with(|subject| hold(subject, &texts, &answers))?;
    }

    #[test]
    fn loan_and_inventory_conversations_fold_replay_and_move_as_declared(
        texts in prop::collection::vec(texts(), 1..10), answers in answers()
    ) {
        thread_local!(static SUBJECTS: [Subject; 2] = [shipped("loan"), shipped("inventory")]);
        SUBJECTS.with(|subjects| subjects.iter().try_for_each(|subject| hold(subject, &texts, &answers)))?;
    }

    /// CE-001: whatever models and tools answer, no undeclared move is kept.
    #[test]
    fn no_undeclared_move_becomes_durable_whatever_models_and_tools_answer(
        texts in prop::collection::vec(texts(), 1..12), answers in answers()
    ) {
        thread_local!(static SUBJECT: Subject = guided());
        SUBJECT.with(|subject| hold(subject, &texts, &answers))?;
    }

    /// CE-001: nor whatever rules and actions propose.
    #[test]
    fn no_undeclared_move_becomes_durable_whatever_rules_and_actions_propose(
        texts in prop::collection::vec(texts(), 1..16), answers in answers()
    ) {
        thread_local!(static SUBJECT: Subject = hostile());
        SUBJECT.with(|subject| hold(subject, &texts, &answers))?;
    }
}

/// The generated answers do get planners to call something: otherwise their bounds would hold for nothing.
#[test]
fn planners_are_put_under_pressure() {
    let Subject { flow, .. } = guided();
    let mut runner = TestRunner::deterministic();
    let mut seen = HashSet::new();
    for _ in 0..400 {
        let drawn = (texts(), answers()).new_tree(&mut runner).expect("it can be generated").current();
        let record = outside::World::new(&drawn.1).turn(&flow, open_conversation(&flow), &drawn.0).record;
        let planned = record.stages.iter().filter(|event| event.stage == Stage::Plan);
        seen.extend(planned.map(|event| (event.result, event.reason)));
        seen.extend((planned::calls(&record).count() > 1).then_some((StageResult::Asked, Reason::None)));
    }
    for (result, reason) in [
        (StageResult::Matched, Reason::Model),
        (StageResult::Done, Reason::Model),
        (StageResult::Failed, Reason::OutOfScope),
        (StageResult::Failed, Reason::Repeated),
        (StageResult::Failed, Reason::CallCap),
        (StageResult::Failed, Reason::Malformed),
        // Two calls in one turn.
        (StageResult::Asked, Reason::None),
    ] {
        assert!(seen.contains(&(result, reason)), "{result:?} {reason:?} is not among {seen:?}");
    }
}

/// CE-001: a blocked jump has a stage of its own and the fallback for a reply.
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
        let blocked = record.stages.iter().find(|event| event.stage == Stage::TransitionBlocked).expect("it is told");
        assert_eq!(blocked.reason, Reason::TransitionBlocked);
        let Detail::Proposal(proposal) = &blocked.detail else { panic!("the proposal is told") };
        assert_eq!((proposal.by, proposal.name.as_ref()), (proposer, name));
        assert_eq!((proposal.from.as_ref(), proposal.to.as_ref()), ("a.one", "b.two"));
    }
}

#[test]
fn the_oracle_reads_the_transitions_the_loader_reads() {
    let shipped = EXAMPLES.into_iter().map(shipped);
    for subject in shipped.chain([hostile(), guided()]) {
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
