//! Golden bytes of everything that is stored: a change of any of them is a new version, not a new fixture.

use colloquy_flow::{Date, Decimal, Json, SlotValue};
use colloquy_types::{ConversationUid, FlowName, Hash, RequestId, Revision, SubjectId, Timestamp, TurnId, TurnSeq};

use crate::{
    AcceptedRecord, CallOutcome, Change, ClosedReason, ControlRecord, ConversationState, CreatedRecord, Degradation,
    Detail, EffectResult, EffectValue, EffectsRecord, Effort, ErasedRecord, ErasureCause, Failure, InputKind, Intent,
    ModelOutput, Origin, PendingAction, PendingEnding, PendingId, PinnedRevision, PositionName, Proposal, Proposer,
    Question, Rating, Reason, Remembered, Reply, ReplyKind, RequestKind, RequestTrace, SnapshotRecord, Stage,
    StageEvent, StageResult, Timer, TimerEnding, TurnClosedRecord, TurnOutcome, TurnRecord, Usage,
};

fn flow() -> FlowName {
    FlowName::parse("order-desk").expect("it is a name")
}

fn request() -> RequestId {
    RequestId::parse("req-1").expect("it is visible ASCII")
}

fn position(state: &str) -> PositionName {
    PositionName { intent: "cancel".into(), state: state.into() }
}

fn accepted() -> AcceptedRecord {
    AcceptedRecord {
        turn_id: TurnId([2; 16]),
        request_id: request(),
        request_digest: [3; 16],
        input: InputKind::Text,
        text: "cancel A-1001".to_owned(),
        accepted_at: Timestamp::from_micros(1_767_603_600_000_000),
        deadline_at: Timestamp::from_micros(1_767_603_610_000_000),
        budget_micros: 10_000_000,
        attempt: 1,
    }
}

/// One change of every kind.
fn changes() -> Vec<Change> {
    let id = PendingId([4; 16]);
    let at = Timestamp::from_micros(1_767_603_600_000_000);
    let values = [
        SlotValue::Text("A-1001".into()),
        SlotValue::Integer(-7),
        SlotValue::Decimal(Decimal::from_micros(12_500_000)),
        SlotValue::Boolean(true),
        SlotValue::Date(Date::parse("2026-11-21").expect("it is a day")),
    ];
    let mut changes = vec![Change::TurnCounted, Change::Moved(position("confirm"))];
    let slots = values.into_iter().enumerate();
    changes.extend(slots.map(|(place, value)| Change::SlotSet { slot: format!("slot_{place}").into(), value }));
    changes.extend([
        Change::SlotCleared { slot: "slot_1".into() },
        Change::FlagSet { flag: "vip".into() },
        Change::FlagSet { flag: "late".into() },
        Change::FlagCleared { flag: "late".into() },
        Change::DigressionPushed(position("ask_number")),
        Change::DigressionsDropped,
        Change::DigressionPushed(position("confirm")),
        Change::DigressionPushed(position("ask_number")),
        Change::DigressionPopped,
        Change::PendingOpened(PendingAction {
            id,
            action: "cancel_order".into(),
            intent: "cancel".into(),
            staged_at: at,
            staged_turn: 1,
        }),
        Change::PendingRenewed { id, at },
        Change::PendingClosed { id: PendingId([5; 16]), ending: PendingEnding::Expired },
    ]);
    changes
}

fn state() -> ConversationState {
    let mut state = ConversationState::new("desk".into(), "idle".into());
    state.apply_all(&changes());
    state
}

fn turn() -> TurnRecord {
    let stage = |stage, result, reason, detail| StageEvent { stage, result, reason, detail };
    let proposal = Proposal {
        by: Proposer::Rule,
        name: "number-is-known".into(),
        from: "cancel.ask_number".into(),
        to: "cancel.confirm".into(),
    };
    TurnRecord {
        turn_id: TurnId([2; 16]),
        request_id: request(),
        request_digest: [3; 16],
        input: InputKind::Text,
        text: "cancel A-1001".to_owned(),
        accepted_at: Timestamp::from_micros(1_767_603_600_000_000),
        now: Timestamp::from_micros(1_767_603_600_000_100),
        revision: Revision([6; 32]),
        machine_version: 1,
        stages: vec![
            stage(Stage::Guard, StageResult::Passed, Reason::None, Detail::None),
            stage(Stage::Intent, StageResult::Matched, Reason::Pattern, Detail::Name("cancel".into())),
            stage(Stage::Extract, StageResult::Done, Reason::Pattern, Detail::Names(vec!["a".into(), "b".into()])),
            stage(Stage::Transition, StageResult::Moved, Reason::None, Detail::Proposal(Box::new(proposal))),
        ],
        requests: Vec::new(),
        effects: vec![
            EffectResult::at_once(0, EffectValue::Time(Timestamp::from_micros(1_767_603_600_000_200))),
            EffectResult::at_once(1, EffectValue::Identifier([7; 16])),
        ],
        changes: changes(),
        reply: Reply::plain("Do you want me to cancel order A-1001?", ReplyKind::Template),
        outcome: TurnOutcome::Degraded,
        degradations: vec![Degradation {
            stage: Stage::Rules,
            reason: Reason::Condition,
            name: "rule".into(),
            elapsed_ms: 0,
        }],
        usage: Usage::default(),
        intent_before: "desk".into(),
        state_before: "idle".into(),
        intent: "cancel".into(),
        state: "confirm".into(),
    }
}

/// What later versions added, each in one of its shapes.
fn more_changes() -> Vec<Change> {
    let object = Json::object([
        ("n".into(), Json::Integer(3)),
        ("list".into(), Json::List(vec![Json::Null, Json::Boolean(true), Json::Decimal(Decimal::from_micros(1))])),
        ("text".into(), Json::Text("hi".into())),
    ]);
    let mut changes = changes();
    changes.extend([
        Change::SlotSet { slot: "slot_5".into(), value: SlotValue::List(vec![Json::Text("red".into())]) },
        Change::SlotSet { slot: "slot_6".into(), value: SlotValue::Object(object.clone()) },
        Change::PendingFailed { id: PendingId([4; 16]) },
        Change::Asked(Question::Intents(vec!["a".into(), "b".into()])),
        Change::QuestionDropped,
        Change::Asked(Question::Actions(vec!["c".into()])),
        Change::FailureNoted { name: "refund".into() },
        Change::FailureNoted { name: "lookup".into() },
        Change::FailureCleared { name: "lookup".into() },
        Change::DataSet { name: "customer".into(), value: object },
        Change::DataSet { name: "gone".into(), value: Json::Null },
        Change::DataCleared { name: "gone".into() },
        Change::HistoryDropped,
        Change::Summarised { text: "They cancelled.".into() },
        Change::Remembered { turns: 2, tokens: 100, user: Some("[redacted]".into()), assistant: None },
    ]);
    changes
}

fn later_turn() -> TurnRecord {
    let output = ModelOutput {
        text: "{}".into(),
        model: "m".into(),
        usage: Usage { tokens_in: 9, ..Usage::default() },
        truncated: true,
    };
    let outcome = |step, outcome| EffectResult::at_once(step, EffectValue::Fetch(outcome));
    TurnRecord {
        input: InputKind::Json,
        requests: vec![RequestTrace {
            step: 2,
            kind: RequestKind::Model,
            name: "answer".into(),
            variables: vec!["text".into()],
            digest: [9; 16],
        }],
        effects: vec![
            EffectResult::at_once(2, EffectValue::Model(Ok(output))),
            EffectResult::at_once(3, EffectValue::Model(Err(Failure::TimedOut))),
            outcome(4, CallOutcome::Done(Json::Integer(1))),
            outcome(5, CallOutcome::Partial(Json::Null)),
            outcome(6, CallOutcome::Failed(Failure::Refused)),
            EffectResult::at_once(7, EffectValue::Act(CallOutcome::Unknown)),
        ],
        changes: more_changes(),
        reply: Reply {
            text: "Done.".to_owned(),
            kind: ReplyKind::ModelJson,
            json: Some(Json::Boolean(false)),
            follow_ups: vec!["Anything else?".into()],
        },
        usage: Usage { tokens_in: 1, tokens_out: 2, tokens_cached: 3, cost_micros: 4 },
        machine_version: 2,
        ..turn()
    }
}

/// The newest version: results and degradations tell what they took.
fn newest_turn() -> TurnRecord {
    let mut turn = later_turn();
    let lost = Usage { tokens_in: 9, ..Usage::default() };
    turn.effects[1].effort = Effort { elapsed_ms: 4_000, lost };
    let degradation = Degradation {
        stage: Stage::Respond,
        reason: Reason::TimedOut,
        name: "cancel.confirm".into(),
        elapsed_ms: 4_000,
    };
    turn.degradations.push(degradation);
    turn
}

fn snapshot(state: ConversationState) -> SnapshotRecord {
    SnapshotRecord {
        state,
        flow: flow(),
        flow_tenant: "_".to_owned(),
        revision: Revision([6; 32]),
        created_at: Timestamp::from_micros(1_767_603_600_000_000),
        turns_remembered: vec![Remembered { request_hash: [8; 16], request_digest: [3; 16], turn_seq: 1, kind: 5 }],
        open_accepted: Some(accepted()),
    }
}

fn later_state() -> ConversationState {
    let mut state = ConversationState::new("desk".into(), "idle".into());
    state.apply_turn(&later_turn());
    state
}

/// A turn that a timer fired, and that sets one.
fn timed_turn() -> TurnRecord {
    let due_at = Timestamp::from_micros(1_767_690_000_000_000);
    TurnRecord {
        request_id: RequestId::parse("timer/nudge/1").expect("it is visible ASCII"),
        input: InputKind::Timer,
        text: "nudge".to_owned(),
        stages: vec![StageEvent {
            stage: Stage::DialogueAct,
            result: StageResult::Skipped,
            reason: Reason::Timer,
            detail: Detail::Name("nudge".into()),
        }],
        effects: Vec::new(),
        changes: vec![
            Change::TurnCounted,
            Change::TimerEnded { id: "nudge".into(), ending: TimerEnding::Fired },
            Change::TimerSet(Timer { id: "nudge".into(), due_at, set_turn: 2 }),
            Change::TimerEnded { id: "other".into(), ending: TimerEnding::Unknown },
        ],
        degradations: vec![Degradation {
            stage: Stage::Rules,
            reason: Reason::TimersFull,
            name: "other".into(),
            elapsed_ms: 0,
        }],
        ..turn()
    }
}

fn timed_state() -> ConversationState {
    let mut state = later_state();
    state.apply_turn(&timed_turn());
    state
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        text.extend(line.iter().map(|byte| format!("{byte:02x}")));
        text.push('\n');
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hex digits");
    digits.chunks(2).map(byte).collect()
}

macro_rules! golden {
    ($test:ident, $record:ty, $value:expr, $fixture:literal) => {
        #[test]
        fn $test() {
            let record: $record = $value;
            let fixture = include_str!(concat!("fixtures/", $fixture));
            assert_eq!(hex(&record.encode().expect("it can be encoded")), fixture, "{} has changed", $fixture);
            assert_eq!(<$record>::decode(&unhex(fixture)).expect("it can be decoded"), record);
        }
    };
}

/// Bytes of an earlier version still decode, to what they meant.
macro_rules! earlier {
    ($test:ident, $record:ty, $value:expr, $fixture:literal) => {
        #[test]
        fn $test() {
            let fixture = include_str!(concat!("fixtures/", $fixture));
            assert_eq!(<$record>::decode(&unhex(fixture)).expect("it can be decoded"), $value);
        }
    };
}

fn created() -> CreatedRecord {
    CreatedRecord {
        flow: flow(),
        flow_tenant: "_".to_owned(),
        revision: Revision([6; 32]),
        created_at: Timestamp::from_micros(1_767_603_600_000_000),
        subject: None,
        origin: None,
    }
}

fn created_for_someone() -> CreatedRecord {
    CreatedRecord { subject: SubjectId::parse("customer-17").ok(), ..created() }
}

golden!(
    created_records_keep_their_bytes,
    CreatedRecord,
    CreatedRecord {
        origin: Some(Origin { uid: ConversationUid([7; 16]), turn_seq: TurnSeq::new(300), hash: Hash([8; 32]) }),
        ..created_for_someone()
    },
    "created.v3.hex"
);
earlier!(created_records_of_version_2_are_read, CreatedRecord, created_for_someone(), "created.v2.hex");
earlier!(created_records_of_version_1_are_read, CreatedRecord, created(), "created.v1.hex");
golden!(
    accepted_records_keep_their_bytes,
    AcceptedRecord,
    AcceptedRecord { input: InputKind::Json, ..accepted() },
    "accepted.v2.hex"
);
golden!(turn_records_keep_their_bytes, TurnRecord, newest_turn(), "turn.v3.hex");
golden!(snapshot_records_keep_their_bytes, SnapshotRecord, snapshot(timed_state()), "snapshot.v3.hex");
golden!(turns_of_timers_keep_their_bytes, TurnRecord, timed_turn(), "turn_timer.v3.hex");
earlier!(accepted_records_of_version_1_are_read, AcceptedRecord, accepted(), "accepted.v1.hex");
earlier!(turn_records_of_version_1_are_read, TurnRecord, turn(), "turn.v1.hex");
earlier!(turn_records_of_version_2_are_read, TurnRecord, later_turn(), "turn.v2.hex");
earlier!(snapshot_records_of_version_2_are_read, SnapshotRecord, snapshot(later_state()), "snapshot.v2.hex");
earlier!(snapshot_records_of_version_1_are_read, SnapshotRecord, snapshot(state()), "snapshot.v1.hex");
golden!(
    closed_records_keep_their_bytes,
    TurnClosedRecord,
    TurnClosedRecord {
        turn_id: TurnId([2; 16]),
        request_id: request(),
        request_digest: [3; 16],
        closed_at: Timestamp::from_micros(1_767_603_610_000_000),
        reason: ClosedReason::DeadlineExceeded,
        reply_text: "That took too long.".to_owned(),
    },
    "turn_closed.v1.hex"
);
golden!(
    control_records_keep_their_bytes,
    ControlRecord,
    ControlRecord::Reset {
        request_id: request(),
        request_digest: [3; 16],
        at: Timestamp::from_micros(1_767_603_610_000_000),
        reason: "asked by the operator".to_owned(),
        changes: changes(),
    },
    "control.v1.hex"
);
golden!(
    upgrade_records_keep_their_bytes,
    ControlRecord,
    ControlRecord::Upgraded {
        from: PinnedRevision { flow_tenant: "_".to_owned(), revision: Revision([6; 32]) },
        to: PinnedRevision { flow_tenant: "acme".to_owned(), revision: Revision([9; 32]) },
        at: Timestamp::from_micros(1_767_603_610_000_000),
        changes: changes(),
    },
    "control_upgraded.v1.hex"
);
fn effects(results: Vec<EffectResult>) -> EffectsRecord {
    EffectsRecord {
        turn_id: TurnId([2; 16]),
        now: Timestamp::from_micros(1_767_603_600_000_100),
        flow: PinnedRevision { flow_tenant: "_".to_owned(), revision: Revision([6; 32]) },
        results,
        intents: vec![Intent { step: 9, name: "pay_back".into(), digest: [8; 16], idempotent: true }],
    }
}

golden!(effect_records_keep_their_bytes, EffectsRecord, effects(newest_turn().effects), "effects.v2.hex");
earlier!(effect_records_of_version_1_are_read, EffectsRecord, effects(later_turn().effects), "effects.v1.hex");
golden!(
    feedback_records_keep_their_bytes,
    ControlRecord,
    ControlRecord::Feedback {
        request_id: request(),
        request_digest: [3; 16],
        at: Timestamp::from_micros(1_767_603_610_000_000),
        turn_seq: 7,
        rating: Rating::Good,
        comment: "just what I asked for".to_owned(),
    },
    "control_feedback.v1.hex"
);
golden!(
    pauses_keep_their_bytes,
    ControlRecord,
    ControlRecord::Paused {
        request_id: request(),
        request_digest: [3; 16],
        at: Timestamp::from_micros(1_767_603_610_000_000),
        reason: "ticket 4711".to_owned(),
    },
    "control_paused.v1.hex"
);
golden!(
    resumptions_keep_their_bytes,
    ControlRecord,
    ControlRecord::Resumed {
        request_id: request(),
        request_digest: [3; 16],
        at: Timestamp::from_micros(1_767_603_610_000_000),
        reason: "ticket 4711".to_owned(),
    },
    "control_resumed.v1.hex"
);
golden!(
    forks_keep_their_bytes,
    ControlRecord,
    ControlRecord::Forked {
        request_id: request(),
        request_digest: [3; 16],
        at: Timestamp::from_micros(1_767_603_610_000_000),
        state: Box::new(later_state()),
    },
    "control_forked.v1.hex"
);
golden!(
    erasures_keep_their_bytes,
    ErasedRecord,
    ErasedRecord { at: Timestamp::from_micros(1_767_603_610_000_000), cause: ErasureCause::Idle },
    "erased.v1.hex"
);

#[test]
fn malformed_records_are_refused() {
    let bytes = turn().encode().expect("it can be encoded");
    assert!(TurnRecord::decode(&bytes[..bytes.len() - 1]).is_err());
    assert!(TurnRecord::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    assert!(TurnRecord::decode(&[9]).is_err(), "an unknown version");
}

#[test]
fn applying_is_total_and_ordered() {
    let state = state();
    assert_eq!(state.position(), &position("confirm"));
    assert_eq!(state.slots().len(), 4);
    assert!(state.slots().is_sorted_by(|(a, _), (b, _)| a < b));
    assert_eq!(state.flags(), ["vip".into()]);
    assert_eq!(state.interrupted(), [position("confirm")]);
    assert_eq!(state.pending().len(), 1);
    assert_eq!(state.turns(), 1);
}

#[test]
fn prompts_remember_the_newest_turns_that_fit() {
    let mut state = ConversationState::new("desk".into(), "idle".into());
    for turn in ["one", "two", "three"] {
        state.remember(turn, "ok", 2, 100);
    }
    let said: Vec<&str> = state.history().iter().map(|exchange| exchange.user.as_ref()).collect();
    assert_eq!(said, ["two", "three"]);
    state.remember("a text of forty bytes, which is ten toke", "ok", 5, 11);
    assert_eq!(state.history().len(), 1, "the newest fills the bound of tokens");
    state.remember("longer than the whole bound of tokens allows", "ok", 5, 3);
    assert!(state.history().is_empty());
}

#[test]
fn stored_values_that_nest_too_deep_are_refused() {
    let mut bytes = [5_u8, 1].repeat(40);
    bytes.push(0);
    assert!(colloquy_types::codec::decode::<Json>(&bytes).is_err());
    let shallow = [[5_u8, 1].repeat(3), vec![0]].concat();
    assert!(colloquy_types::codec::decode::<Json>(&shallow).is_ok());
    // A list that says it is longer than what follows.
    assert!(colloquy_types::codec::decode::<Json>(&[5, 250, 0]).is_err());
}
