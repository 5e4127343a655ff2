//! Golden bytes of everything that is stored: a change of any of them is a new version, not a new fixture.

use colloquy_flow::{Date, Decimal, SlotValue};
use colloquy_types::{FlowName, RequestId, Revision, Timestamp, TurnId};

use crate::{
    AcceptedRecord, Change, ClosedReason, ControlRecord, ConversationState, CreatedRecord, Degradation, Detail,
    EffectResult, EffectValue, PendingAction, PendingEnding, PendingId, PinnedRevision, PositionName, Proposal,
    Proposer, Rating, Reason, Remembered, Reply, ReplyKind, SnapshotRecord, Stage, StageEvent, StageResult,
    TurnClosedRecord, TurnOutcome, TurnRecord,
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
        effects: vec![
            EffectResult { step: 0, value: EffectValue::Time(Timestamp::from_micros(1_767_603_600_000_200)) },
            EffectResult { step: 1, value: EffectValue::Identifier([7; 16]) },
        ],
        changes: changes(),
        reply: Reply { text: "Do you want me to cancel order A-1001?".to_owned(), kind: ReplyKind::Template },
        outcome: TurnOutcome::Degraded,
        degradations: vec![Degradation { stage: Stage::Rules, reason: Reason::Condition, name: "rule".into() }],
        intent_before: "desk".into(),
        state_before: "idle".into(),
        intent: "cancel".into(),
        state: "confirm".into(),
    }
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

golden!(
    created_records_keep_their_bytes,
    CreatedRecord,
    CreatedRecord {
        flow: flow(),
        flow_tenant: "_".to_owned(),
        revision: Revision([6; 32]),
        created_at: Timestamp::from_micros(1_767_603_600_000_000),
    },
    "created.v1.hex"
);
golden!(accepted_records_keep_their_bytes, AcceptedRecord, accepted(), "accepted.v1.hex");
golden!(turn_records_keep_their_bytes, TurnRecord, turn(), "turn.v1.hex");
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
    snapshot_records_keep_their_bytes,
    SnapshotRecord,
    SnapshotRecord {
        state: state(),
        flow: flow(),
        flow_tenant: "_".to_owned(),
        revision: Revision([6; 32]),
        created_at: Timestamp::from_micros(1_767_603_600_000_000),
        turns_remembered: vec![Remembered { request_hash: [8; 16], request_digest: [3; 16], turn_seq: 1, kind: 5 }],
        open_accepted: Some(accepted()),
    },
    "snapshot.v1.hex"
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
