//! Earlier versions of what is stored, and how each becomes the present one. None is ever written again.

use std::sync::Arc;

use colloquy_flow::SlotValue;
use colloquy_types::{FlowName, RequestId, Revision, Timestamp, TurnId};
use serde::Deserialize;

use super::{AcceptedRecord, InputKind, Remembered, Reply, ReplyKind, SnapshotRecord, TurnOutcome, TurnRecord};
use crate::{
    effect::{EffectResult, Usage},
    event::{Degradation, StageEvent},
    state::{Change, EarlierState, PendingAction, PositionName},
};

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
    effects: Vec<EffectResult>,
    changes: Vec<Change>,
    reply: ReplyV1,
    outcome: TurnOutcome,
    degradations: Vec<Degradation>,
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
            effects: v1.effects,
            changes: v1.changes,
            reply: Reply { text: v1.reply.text, kind: v1.reply.kind, json: None, follow_ups: Vec::new() },
            outcome: v1.outcome,
            degradations: v1.degradations,
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
