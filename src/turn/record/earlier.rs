//! Earlier versions of what is stored, and how each becomes the present one. None is ever written again.

use std::sync::Arc;

use colloquy_flow::SlotValue;
use colloquy_types::{FlowName, RequestId, Revision, SubjectId, Timestamp, TurnId};
use serde::Deserialize;

use super::{
    AcceptedRecord, CreatedRecord, EffectsRecord, InputKind, Intent, PinnedRevision, Remembered, Reply, ReplyKind,
    SnapshotRecord, TurnOutcome, TurnRecord,
};
use crate::{
    effect::{EffectResult, EffectValue, RequestTrace, Usage},
    event::{Degradation, Reason, Stage, StageEvent},
    state::{Change, ConversationState, EarlierState, PendingAction, PositionName},
};

/// A conversation's first record before it told whom the conversation is about.
#[derive(Deserialize)]
pub(super) struct CreatedRecordV1 {
    flow: FlowName,
    flow_tenant: String,
    revision: Revision,
    created_at: Timestamp,
}

impl From<CreatedRecordV1> for CreatedRecord {
    fn from(v1: CreatedRecordV1) -> Self {
        let CreatedRecordV1 { flow, flow_tenant, revision, created_at } = v1;
        Self { flow, flow_tenant, revision, created_at, subject: None, origin: None }
    }
}

/// A conversation's first record before it told where a fork branched off.
#[derive(Deserialize)]
pub(super) struct CreatedRecordV2 {
    flow: FlowName,
    flow_tenant: String,
    revision: Revision,
    created_at: Timestamp,
    subject: Option<SubjectId>,
}

impl From<CreatedRecordV2> for CreatedRecord {
    fn from(v2: CreatedRecordV2) -> Self {
        let CreatedRecordV2 { flow, flow_tenant, revision, created_at, subject } = v2;
        Self { flow, flow_tenant, revision, created_at, subject, origin: None }
    }
}

/// A result before it told what it took.
#[derive(Deserialize)]
struct EffectResultV1 {
    step: u16,
    value: EffectValue,
}

impl From<EffectResultV1> for EffectResult {
    fn from(v1: EffectResultV1) -> Self {
        Self::at_once(v1.step, v1.value)
    }
}

/// A degradation before it told how long it took.
#[derive(Deserialize)]
struct DegradationV1 {
    stage: Stage,
    reason: Reason,
    name: Arc<str>,
}

impl From<DegradationV1> for Degradation {
    fn from(v1: DegradationV1) -> Self {
        Self { stage: v1.stage, reason: v1.reason, name: v1.name, elapsed_ms: 0 }
    }
}

fn each<Earlier: Into<Present>, Present>(earlier: Vec<Earlier>) -> Vec<Present> {
    earlier.into_iter().map(Into::into).collect()
}

/// What a turn has learned, before results told what they took.
#[derive(Deserialize)]
pub(super) struct EffectsRecordV1 {
    turn_id: TurnId,
    now: Timestamp,
    flow: PinnedRevision,
    results: Vec<EffectResultV1>,
    intents: Vec<Intent>,
}

impl From<EffectsRecordV1> for EffectsRecord {
    fn from(v1: EffectsRecordV1) -> Self {
        Self { turn_id: v1.turn_id, now: v1.now, flow: v1.flow, results: each(v1.results), intents: v1.intents }
    }
}

/// A turn before results and degradations told what they took.
#[derive(Deserialize)]
pub(super) struct TurnRecordV2 {
    turn_id: TurnId,
    request_id: RequestId,
    request_digest: [u8; 16],
    input: InputKind,
    text: String,
    accepted_at: Timestamp,
    now: Timestamp,
    revision: Revision,
    machine_version: u32,
    stages: Vec<StageEvent>,
    requests: Vec<RequestTrace>,
    effects: Vec<EffectResultV1>,
    changes: Vec<Change>,
    reply: Reply,
    outcome: TurnOutcome,
    degradations: Vec<DegradationV1>,
    usage: Usage,
    intent_before: Arc<str>,
    state_before: Arc<str>,
    intent: Arc<str>,
    state: Arc<str>,
}

impl From<TurnRecordV2> for TurnRecord {
    fn from(v2: TurnRecordV2) -> Self {
        Self {
            turn_id: v2.turn_id,
            request_id: v2.request_id,
            request_digest: v2.request_digest,
            input: v2.input,
            text: v2.text,
            accepted_at: v2.accepted_at,
            now: v2.now,
            revision: v2.revision,
            machine_version: v2.machine_version,
            stages: v2.stages,
            requests: v2.requests,
            effects: each(v2.effects),
            changes: v2.changes,
            reply: v2.reply,
            outcome: v2.outcome,
            degradations: each(v2.degradations),
            usage: v2.usage,
            intent_before: v2.intent_before,
            state_before: v2.state_before,
            intent: v2.intent,
            state: v2.state,
        }
    }
}

/// A turn before structured input, requests to the outside and follow-ups.
#[derive(Deserialize)]
pub(super) struct TurnRecordV1 {
    turn_id: TurnId,
    request_id: RequestId,
    request_digest: [u8; 16],
    text: String,
    accepted_at: Timestamp,
    now: Timestamp,
    revision: Revision,
    machine_version: u32,
    stages: Vec<StageEvent>,
    effects: Vec<EffectResultV1>,
    changes: Vec<Change>,
    reply: ReplyV1,
    outcome: TurnOutcome,
    degradations: Vec<DegradationV1>,
    intent_before: Arc<str>,
    state_before: Arc<str>,
    intent: Arc<str>,
    state: Arc<str>,
}

#[derive(Deserialize)]
struct ReplyV1 {
    text: String,
    kind: ReplyKind,
}

impl From<TurnRecordV1> for TurnRecord {
    fn from(v1: TurnRecordV1) -> Self {
        Self {
            turn_id: v1.turn_id,
            request_id: v1.request_id,
            request_digest: v1.request_digest,
            input: InputKind::Text,
            text: v1.text,
            accepted_at: v1.accepted_at,
            now: v1.now,
            revision: v1.revision,
            machine_version: v1.machine_version,
            stages: v1.stages,
            requests: Vec::new(),
            effects: each(v1.effects),
            changes: v1.changes,
            reply: Reply { text: v1.reply.text, kind: v1.reply.kind, json: None, follow_ups: Vec::new() },
            outcome: v1.outcome,
            degradations: each(v1.degradations),
            usage: Usage::default(),
            intent_before: v1.intent_before,
            state_before: v1.state_before,
            intent: v1.intent,
            state: v1.state,
        }
    }
}

/// A promise before structured input.
#[derive(Deserialize)]
pub(super) struct AcceptedRecordV1 {
    turn_id: TurnId,
    request_id: RequestId,
    request_digest: [u8; 16],
    text: String,
    accepted_at: Timestamp,
    deadline_at: Timestamp,
    budget_micros: u64,
    attempt: u32,
}

impl From<AcceptedRecordV1> for AcceptedRecord {
    fn from(v1: AcceptedRecordV1) -> Self {
        Self {
            turn_id: v1.turn_id,
            request_id: v1.request_id,
            request_digest: v1.request_digest,
            input: InputKind::Text,
            text: v1.text,
            accepted_at: v1.accepted_at,
            deadline_at: v1.deadline_at,
            budget_micros: v1.budget_micros,
            attempt: v1.attempt,
        }
    }
}

/// A snapshot before timers.
#[derive(Deserialize)]
pub(super) struct SnapshotRecordV2 {
    state: ConversationState,
    flow: FlowName,
    flow_tenant: String,
    revision: Revision,
    created_at: Timestamp,
    turns_remembered: Vec<Remembered>,
    open_accepted: Option<AcceptedRecord>,
}

impl From<SnapshotRecordV2> for SnapshotRecord {
    fn from(v2: SnapshotRecordV2) -> Self {
        Self {
            state: v2.state,
            flow: v2.flow,
            flow_tenant: v2.flow_tenant,
            revision: v2.revision,
            created_at: v2.created_at,
            turns_remembered: v2.turns_remembered,
            open_accepted: v2.open_accepted,
        }
    }
}

/// A snapshot before questions, failures, data and history.
#[derive(Deserialize)]
pub(super) struct SnapshotRecordV1 {
    state: StateV1,
    flow: FlowName,
    flow_tenant: String,
    revision: Revision,
    created_at: Timestamp,
    turns_remembered: Vec<Remembered>,
    open_accepted: Option<AcceptedRecordV1>,
}

#[derive(Deserialize)]
struct StateV1 {
    position: PositionName,
    turns: u64,
    slots: Vec<(Arc<str>, SlotValue)>,
    flags: Vec<Arc<str>>,
    interrupted: Vec<PositionName>,
    pending: Vec<PendingAction>,
}

impl From<SnapshotRecordV1> for SnapshotRecord {
    fn from(v1: SnapshotRecordV1) -> Self {
        let StateV1 { position, turns, slots, flags, interrupted, pending } = v1.state;
        Self {
            state: EarlierState { position, turns, slots, flags, interrupted, pending }.into(),
            flow: v1.flow,
            flow_tenant: v1.flow_tenant,
            revision: v1.revision,
            created_at: v1.created_at,
            turns_remembered: v1.turns_remembered,
            open_accepted: v1.open_accepted.map(Into::into),
        }
    }
}
