//! Recorded conversations come out the same on their own revisions, and tell what another flow would change.

use std::sync::Arc;

use colloquy_flow::Flow;
use colloquy_turn::{
    AcceptedRecord, Change, ClosedReason, ControlRecord, ConversationState, CreatedRecord, EffectResult, EffectValue,
    InputKind, SnapshotRecord, TurnClosedRecord, TurnRecord, open_conversation, reset,
};
use colloquy_types::{RequestId, Timestamp, TurnId};

use super::examples::{EXAMPLES, example, scenarios};
use crate::{
    LoadedFlow,
    replay::{
        Changed, Comparer, Comparison, Difference, Entry, EntryKind, HistoryError, Place, ReplayedConversation,
        RevisionCache, RevisionError, Summary, Verdict, Verified, Verifier,
    },
    scenario::ScriptedWorld,
};

/// A conversation's records as a store would keep them.
struct Recorded {
    loaded: LoadedFlow,
    world: ScriptedWorld,
    state: ConversationState,
    turns: u64,
    records: Vec<(EntryKind, Vec<u8>)>,
}

impl Recorded {
    fn new(flow: &str) -> Self {
        let loaded = example(flow);
        let created = CreatedRecord {
            flow: loaded.flow.name().clone(),
            flow_tenant: "_".to_owned(),
            revision: loaded.flow.revision(),
            created_at: Timestamp::from_micros(1),
            subject: None,
            origin: None,
        };
        let records = vec![(EntryKind::Created, created.encode().unwrap())];
        let state = open_conversation(&loaded.flow);
        Self { loaded, world: ScriptedWorld::default(), state, turns: 0, records }
    }

    fn flow(&self) -> &Arc<Flow> {
        &self.loaded.flow
    }

    fn decided(&mut self, text: &str) -> TurnRecord {
        let outcome = self.world.turn(&self.loaded.flow, self.state.clone(), text);
        self.state = outcome.state;
        self.turns += 1;
        outcome.record
    }

    fn say(&mut self, text: &str) {
        let record = self.decided(text);
        self.records.push((EntryKind::Turn, record.encode().unwrap()));
    }

    fn say_accepted(&mut self, text: &str) {
        let record = self.decided(text);
        let accepted = accepted(record.turn_id, &record.request_id, text, record.accepted_at);
        self.records.push((EntryKind::Accepted, accepted.encode().unwrap()));
        self.records.push((EntryKind::Turn, record.encode().unwrap()));
    }

    fn close(&mut self, reply: &str) {
        let (turn_id, request_id) = (TurnId([9; 16]), RequestId::parse("closed").unwrap());
        let accepted = accepted(turn_id, &request_id, "too late", Timestamp::from_micros(5));
        let closed = TurnClosedRecord {
            turn_id,
            request_id,
            request_digest: [0; 16],
            closed_at: Timestamp::from_micros(9),
            reason: ClosedReason::DeadlineExceeded,
            reply_text: reply.to_owned(),
        };
        self.records.push((EntryKind::Accepted, accepted.encode().unwrap()));
        self.records.push((EntryKind::TurnClosed, closed.encode().unwrap()));
    }

    fn reset_with(&mut self, changes: Vec<Change>) {
        self.state.apply_all(&changes);
        let record = ControlRecord::Reset {
            request_id: RequestId::parse("reset").unwrap(),
            request_digest: [0; 16],
            at: Timestamp::from_micros(7),
            reason: "asked".to_owned(),
            changes,
        };
        self.records.push((EntryKind::Control, record.encode().unwrap()));
    }

    fn reset(&mut self) {
        self.reset_with(reset(self.flow(), &self.state));
    }

    fn snapshot_of(&mut self, state: ConversationState) {
        let record = SnapshotRecord {
            state,
            flow: self.flow().name().clone(),
            flow_tenant: "_".to_owned(),
            revision: self.flow().revision(),
            created_at: Timestamp::from_micros(1),
            turns_remembered: Vec::new(),
            open_accepted: None,
        };
        self.records.push((EntryKind::Snapshot, record.encode().unwrap()));
    }

    fn snapshot(&mut self) {
        self.snapshot_of(self.state.clone());
    }

    fn entries(&self) -> impl Iterator<Item = (Place, Entry)> {
        self.records.iter().zip(1..).map(|((kind, payload), record_no)| {
            (Place { record_no, turn_seq: record_no }, Entry::decode(*kind, payload).unwrap())
        })
    }

    fn verify(&self) -> Verified {
        let mut verifier = Verifier::new();
        verifier.revision(Arc::clone(self.flow()));
        self.entries().for_each(|(place, entry)| verifier.entry(place, entry).unwrap());
        verifier.finish()
    }

    fn difference(&self) -> Difference {
        *self.verify().difference.expect("it differs")
    }

    fn compare(&self, flow: &Arc<Flow>) -> Comparison {
        let mut comparer = Comparer::new(Arc::clone(flow));
        self.entries().for_each(|(place, entry)| comparer.entry(place, &entry).unwrap());
        comparer.finish()
    }

    /// Changes the record at `place`.
    fn tamper(&mut self, place: usize, change: impl FnOnce(&mut TurnRecord)) {
        let mut record = TurnRecord::decode(&self.records[place].1).unwrap();
        change(&mut record);
        self.records[place].1 = record.encode().unwrap();
    }
}

fn accepted(turn_id: TurnId, request_id: &RequestId, text: &str, accepted_at: Timestamp) -> AcceptedRecord {
    AcceptedRecord {
        input: InputKind::Text,
        turn_id,
        request_id: request_id.clone(),
        request_digest: [0; 16],
        text: text.to_owned(),
        accepted_at,
        deadline_at: accepted_at,
        budget_micros: 1,
        attempt: 1,
    }
}

/// The example flow with one text replaced in its normalised source.
fn changed_flow(flow: &str, from: &str, to: &str) -> Arc<Flow> {
    let source = example(flow).source;
    assert!(source.contains(from), "{from} is in the source");
    crate::load_sources(flow, vec![("changed".to_owned(), source.replace(from, to))]).expect("it loads").flow
}

fn cancelling() -> Recorded {
    let mut recorded = Recorded::new("order-desk");
    for text in ["I want to cancel my order", "A-1001", "yes"] {
        recorded.say(text);
    }
    recorded
}

/// CE-007: against the frozen revision each turn comes out as it was.
#[test]
fn every_shipped_scenario_replays_to_what_was_recorded() {
    let mut turns = 0;
    for flow in EXAMPLES {
        for scenario in scenarios(flow) {
            let mut recorded = Recorded::new(flow);
            for (number, turn) in scenario.turns.iter().enumerate() {
                recorded.world.now = recorded.world.now.plus(turn.after);
                if number % 2 == 0 {
                    recorded.say(&turn.say)
                } else {
                    recorded.say_accepted(&turn.say)
                }
                recorded.snapshot();
            }
            let decides = Arc::clone(recorded.flow());
            recorded.close(decides.fallback());
            recorded.reset();
            recorded.snapshot();
            recorded.say("hello");
            turns += recorded.turns;
            let expected = Verified { turns: recorded.turns, turns_of_other_machines: 0, difference: None };
            assert_eq!(recorded.verify(), expected, "{flow}: {}", scenario.name);
            let same = recorded.compare(recorded.flow());
            assert!(same.is_identical() && same.turns == recorded.turns, "{flow}: {}: {same:?}", scenario.name);
        }
    }
    assert!(turns > 60, "the scenarios were played: {turns}");
}

#[test]
fn a_turn_that_comes_out_otherwise_is_told_stage_by_stage() {
    let mut recorded = cancelling();
    recorded.tamper(2, |record| {
        record.stages.remove(2);
        record.reply.text = "Which one?".to_owned();
    });
    let Difference { place, what, first, text, stages, fields, machine_version } = recorded.difference();
    assert_eq!((place.record_no, what, text.as_deref(), machine_version), (3, "turn", Some("A-1001"), None));
    assert_eq!(first, "stage event 3 differs from what was recorded");
    let differing: Vec<_> = stages.iter().map(|row| row.differs).collect();
    assert_eq!(differing[..2], [false, false]);
    assert!(differing[2] && stages[0].recorded == stages[0].replayed, "{stages:?}");
    assert_eq!(stages.last().unwrap().recorded, None, "one event more came out now");
    assert!(
        stages.iter().any(|row| row.replayed.as_deref().is_some_and(|stage| stage.starts_with("transition moved")))
    );
    let named: Vec<_> = fields.iter().map(|row| (row.field, row.differs)).collect();
    assert_eq!(named, [("position", false), ("changes", false), ("reply", true)]);
    assert_eq!(fields[2].recorded, "Which one?");
}

#[test]
fn a_turn_recorded_with_other_changes_an_effect_less_or_another_text_is_different() {
    let told = |change: fn(&mut TurnRecord)| {
        let mut recorded = cancelling();
        recorded.tamper(2, change);
        recorded.difference().first
    };
    assert_eq!(told(|record| drop(record.changes.pop())), "changes differs from what was recorded");
    assert_eq!(told(|record| record.effects.clear()), "effect 0 was asked for, but is not in the record");
    let more = EffectResult::at_once(9, EffectValue::Identifier([0; 16]));
    let add: fn(&mut TurnRecord) = |record| record.effects.push(record.effects[0].clone());
    assert_eq!(told(add), "effects differs from what was recorded");
    let mut recorded = cancelling();
    recorded.tamper(2, |record| record.effects.push(more));
    assert_eq!(recorded.difference().first, "effect 9 is in the record, but was not asked for");
    assert_ne!(told(|record| record.text = "B-2002".to_owned()), "");
}

#[test]
fn another_machine_that_decides_the_same_is_counted_and_no_difference() {
    let mut recorded = cancelling();
    recorded.tamper(1, |record| record.machine_version = 77);
    let verified = recorded.verify();
    assert_eq!((verified.turns, verified.turns_of_other_machines, verified.difference), (3, 1, None));
    recorded.tamper(1, |record| record.reply.text.clear());
    let difference = recorded.difference();
    assert_eq!((difference.machine_version, difference.place.record_no), (Some(77), 2));
}

#[test]
fn a_snapshot_that_is_not_the_folded_state_is_told_with_what_differs() {
    let mut recorded = cancelling();
    let mut other = recorded.state.clone();
    other.apply(&Change::FlagSet { flag: "vip".into() });
    recorded.snapshot_of(other);
    let difference = recorded.difference();
    assert_eq!((difference.what, difference.place.record_no), ("snapshot", 5));
    assert_eq!(difference.first, "flags of the snapshot is not what the records before it lead to");
    let rows: Vec<_> = difference.fields.iter().map(|row| (row.field, row.recorded.as_str())).collect();
    assert_eq!(rows, [("flags", "[\"vip\"]")]);
}

#[test]
fn a_reset_that_left_something_is_told() {
    let mut recorded = cancelling();
    let mut changes = reset(recorded.flow(), &recorded.state);
    changes.remove(0);
    recorded.reset_with(changes);
    let difference = recorded.difference();
    assert_eq!((difference.what, difference.fields[0].field), ("reset", "changes"));
}

#[test]
fn a_promised_turn_must_end_as_itself_and_with_the_fallback_when_closed() {
    let mut recorded = cancelling();
    recorded.close("Something else.");
    let difference = recorded.difference();
    assert_eq!((difference.what, difference.fields[0].field), ("turn_closed", "reply"));

    let mut recorded = cancelling();
    recorded.close("not looked at");
    recorded.records.remove(4);
    assert_eq!(recorded.difference().first, "no accepted turn was there to be closed");

    let mut recorded = cancelling();
    recorded.say_accepted("hello");
    recorded.tamper(5, |record| record.turn_id = TurnId([1; 16]));
    assert_eq!(recorded.difference().what, "accepted");

    let mut recorded = cancelling();
    recorded.say_accepted("hello");
    let promise = recorded.records[4].clone();
    recorded.records.insert(4, promise);
    assert_eq!(recorded.difference().what, "accepted");
}

#[test]
fn an_open_promise_at_the_end_is_no_difference() {
    let mut recorded = cancelling();
    recorded.close("not looked at");
    recorded.records.pop();
    assert_eq!(recorded.verify().difference, None);
}

#[test]
fn records_without_a_beginning_or_a_revision_are_no_history() {
    let recorded = cancelling();
    let (place, created) = recorded.entries().next().unwrap();
    let refused = Verifier::new().entry(place, created).unwrap_err();
    assert!(
        matches!(refused, HistoryError::RevisionAbsent { record_no: 1, revision } if revision == recorded.flow().revision())
    );
    let (place, turn) = recorded.entries().nth(1).unwrap();
    assert!(matches!(
        Comparer::new(Arc::clone(recorded.flow())).entry(place, &turn),
        Err(HistoryError::NotCreated { .. })
    ));
    assert!(matches!(Verifier::new().entry(place, turn), Err(HistoryError::NotCreated { record_no: 2 })));
}

#[test]
fn a_changed_reply_changes_replies_alone() {
    let flow = changed_flow("order-desk", "Do you want me to cancel", "Shall I cancel");
    let comparison = cancelling().compare(&flow);
    assert_eq!((comparison.turns, comparison.turns_changed), (3, 1));
    assert_eq!(comparison.kinds.iter().map(|(kind, turns)| (*kind, *turns)).collect::<Vec<_>>(), [("reply", 1)]);
    let changed = &comparison.changed[0];
    assert_eq!((changed.turn_seq, changed.text.as_str()), (3, "A-1001"));
    let Changed { recorded, replayed } = changed.reply.clone().unwrap();
    assert_eq!(recorded, "Do you want me to cancel order A-1001? This cannot be undone.");
    assert_eq!(replayed, "Shall I cancel order A-1001? This cannot be undone.");
}

/// CE-007: expected against actual transitions.
#[test]
fn a_changed_rule_changes_transitions_and_what_follows_and_is_summarised() {
    // The other revision does not take a yes for one.
    let flow = changed_flow("order-desk", "\"actions\":", "\"acts\":{\"affirm\":[\"^ja$\"]},\"actions\":");
    let mut summary = Summary::default();
    for name in ["acme/one", "acme/two", "acme/three", "acme/four"] {
        let compared = ReplayedConversation::Compared(cancelling().compare(&flow));
        assert_eq!(compared.verdict(), Verdict::Different);
        summary.add(name, &compared);
    }
    let mut other = Recorded::new("faq-desk");
    other.say("when do you open?");
    summary.add("acme/faq", &ReplayedConversation::Compared(other.compare(&flow)));
    assert_eq!((summary.identical, summary.different, summary.passed_over, summary.turns), (0, 4, 1, 12));
    let rows = summary.transitions.most_frequent();
    let [row] = &rows[..] else { panic!("one transition changed: {rows:?}") };
    let Changed { recorded, replayed } = row.changed;
    assert_eq!(
        (recorded.as_str(), replayed.as_str()),
        ("cancel.confirm -> cancel.done", "cancel.confirm -> cancel.confirm")
    );
    assert_eq!((row.turns, row.examples.len()), (4, 3));
    assert_eq!(row.examples[0], ("acme/one".to_owned(), 4));
    let kinds: Vec<_> = summary.kinds.into_iter().collect();
    assert_eq!(kinds, [("effect", 4), ("reply", 4), ("transition", 4)]);
}

#[test]
fn effects_that_the_record_does_not_hold_are_made_up_the_same_each_time_and_told() {
    let mut recorded = cancelling();
    recorded.tamper(3, |record| record.effects.clear());
    let once = recorded.compare(recorded.flow());
    let effects: Vec<_> = once.changed.iter().flat_map(|turn| turn.effects.clone()).collect();
    assert!(!effects.is_empty() && effects.iter().all(|told| told.ends_with("is not in the record")), "{effects:?}");
    assert_eq!(once, recorded.compare(recorded.flow()));
    assert!(once.undecided.is_none() && once.kinds.contains_key("effect"));
}

#[test]
fn a_source_must_be_that_of_its_revision() {
    let (cache, loaded) = (RevisionCache::default(), example("faq-desk"));
    let revision = loaded.flow.revision();
    assert_eq!(cache.load(revision, &loaded.source).unwrap().revision(), revision);
    let changed = loaded.source.replace("Harbour", "Harbor");
    // Also once the revision is known: a cache must not vouch for a source.
    assert!(matches!(cache.load(revision, &changed), Err(RevisionError::Hash { claimed, .. }) if claimed == revision));
    // The same flow written in another way is not the normalised source.
    let spaced = format!(" {}", loaded.source);
    assert!(matches!(cache.load(crate::load::revision_of(&spaced), &spaced), Err(RevisionError::Hash { .. })));
    let broken = "{\"format\":\"colloquy.flow/v1\"}".to_owned();
    let refused = cache.load(crate::load::revision_of(&broken), &broken).unwrap_err();
    assert!(matches!(&refused, RevisionError::Faults { faults, .. } if !faults.is_empty()), "{refused}");
}

#[test]
fn a_view_names_every_field_and_shows_bytes_as_digits() {
    let recorded = cancelling();
    let (_, entry) = recorded.entries().nth(2).unwrap();
    let view = entry.view();
    for field in ["turn_id", "request_id", "text", "stages", "effects", "changes", "reply", "outcome", "revision"] {
        assert!(view.get(field).is_some(), "{field} is missing in {view}");
    }
    assert_eq!(view["revision"], recorded.flow().revision().to_string());
    assert_eq!(view["turn_id"].as_str().map(str::len), Some(32));
}
