//! A conversation's state as it was last synced, and how it is made from snapshot and tail.

use std::sync::Arc;

use colloquy_flow::Flow;
use colloquy_store::{Opened, RecordKind, StoredRecord};
use colloquy_turn::{
    AcceptedRecord, ControlRecord, ConversationState, CreatedRecord, Effect, EffectResult, EffectsRecord, Intent,
    Origin, PinnedRevision, Remembered, SnapshotRecord, TurnClosedRecord, TurnRecord, open_conversation,
};
use colloquy_types::{FlowName, Head, RequestId, Revision, SubjectId, Timestamp};

use super::{
    upgrading::Promotable,
    window::{EndingKind, Window, hash16},
};
use crate::{error::Error, flows::FlowCatalogue, reply::FlowPin};

/// Everything a conversation is, as far as it is synced.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) pin: FlowPin,
    pub(crate) flow: Arc<Flow>,
    /// Whom it is about.
    pub(crate) subject: Option<SubjectId>,
    pub(crate) head: Head,
    pub(crate) state: ConversationState,
    pub(crate) window: Window,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// Where it branched off, when it is a fork.
    pub(crate) origin: Option<Origin>,
    /// Since when no turns are taken; none while they are.
    pub(crate) paused_at: Option<Timestamp>,
    pub(crate) since_snapshot: SinceSnapshot,
    /// A turn that was promised and has not ended: a crash came in between.
    pub(crate) open_accepted: Option<AcceptedRecord>,
    /// What that turn had learned, and what it was about to call.
    pub(crate) open_effects: OpenEffects,
    /// The revision that is promoted for it.
    pub(crate) promotable: Promotable,
    /// How long its state was, encoded, when it was last measured; 0 for never.
    pub(crate) state_bytes: usize,
}

/// What the records of an unended turn say that it had learned, and which actions it was about to call.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenEffects {
    /// The time its machine was given, and the revision it ran; nothing when it had not begun.
    pub(crate) begun: Option<(Timestamp, PinnedRevision)>,
    pub(crate) results: Vec<EffectResult>,
    pub(crate) intents: Vec<Intent>,
}

impl OpenEffects {
    fn add(&mut self, record: EffectsRecord) {
        self.begun = Some((record.now, record.flow));
        self.results.extend(record.results);
        self.intents.extend(record.intents);
    }

    /// The recorded answer to an effect.
    pub(crate) fn result(&self, effect: &Effect) -> Option<EffectResult> {
        let answers = |result: &&EffectResult| result.step == effect.step && result.value.answers(&effect.kind);
        self.results.iter().find(answers).cloned()
    }

    /// Whether an action was about to be called in this step.
    pub(crate) fn intends(&self, step: u16) -> bool {
        self.intents.iter().any(|intent| intent.step == step)
    }
}

/// What was written after the last snapshot, and how large that was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SinceSnapshot {
    pub(crate) turns: u32,
    pub(crate) bytes: usize,
    pub(crate) snapshot_bytes: usize,
}

impl SinceSnapshot {
    /// Counts a turn of `bytes` that was written with a snapshot of `snapshot_bytes`, or without one.
    pub(crate) fn add(&mut self, bytes: usize, snapshot_bytes: Option<usize>) {
        match snapshot_bytes {
            Some(snapshot_bytes) => *self = Self { snapshot_bytes, ..Self::default() },
            None => {
                self.turns += 1;
                self.bytes += bytes;
            }
        }
    }
}

impl Loaded {
    /// A conversation that is about to be created.
    pub(crate) fn new(pin: FlowPin, flow: Arc<Flow>, subject: Option<SubjectId>, now: Timestamp) -> Self {
        Self {
            state: open_conversation(&flow),
            pin,
            flow,
            subject,
            head: Head::default(),
            window: Window::default(),
            created_at: now,
            updated_at: now,
            origin: None,
            paused_at: None,
            since_snapshot: SinceSnapshot::default(),
            open_accepted: None,
            open_effects: OpenEffects::default(),
            promotable: Promotable::default(),
            state_bytes: 0,
        }
    }

    /// Folds what the store returned; `None` when the conversation does not exist yet.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for records that cannot be decoded or do not begin as they must;
    /// [`Error::RevisionUnavailable`] when the flow it is pinned to is not loaded.
    pub(crate) fn from_opened(opened: &Opened, flows: &FlowCatalogue) -> Result<Option<Self>, Error> {
        let Some(created) = &opened.created else { return Ok(None) };
        let mut loaded = match &opened.snapshot {
            Some(snapshot) => Self::from_snapshot(created, snapshot, flows)?,
            None => Self::from_created(created, flows)?,
        };
        for record in &opened.tail {
            loaded.fold(record, flows)?;
        }
        loaded.head = opened.head;
        Ok(Some(loaded))
    }

    pub(crate) fn from_created(created: &StoredRecord, flows: &FlowCatalogue) -> Result<Self, Error> {
        let record = CreatedRecord::decode(&created.payload).map_err(|_| undecodable(created))?;
        let (pin, flow) = pinned(record.flow_tenant, record.flow, record.revision, flows)?;
        Ok(Self { origin: record.origin, ..Self::new(pin, flow, record.subject, record.created_at) })
    }

    pub(crate) fn from_snapshot(
        created: &StoredRecord,
        stored: &StoredRecord,
        flows: &FlowCatalogue,
    ) -> Result<Self, Error> {
        let created = CreatedRecord::decode(&created.payload).map_err(|_| undecodable(created))?;
        let record = SnapshotRecord::decode(&stored.payload).map_err(|_| undecodable(stored))?;
        let (pin, flow) = pinned(record.flow_tenant, record.flow, record.revision, flows)?;
        Ok(Self {
            pin,
            flow,
            subject: created.subject,
            head: stored.header.head(),
            state: record.state,
            window: Window::restore(record.turns_remembered),
            created_at: record.created_at,
            updated_at: stored.header.time,
            origin: created.origin,
            // A paused conversation writes no snapshot.
            paused_at: None,
            since_snapshot: SinceSnapshot { snapshot_bytes: stored.payload.len(), ..SinceSnapshot::default() },
            open_accepted: record.open_accepted,
            open_effects: OpenEffects::default(),
            promotable: Promotable::default(),
            state_bytes: 0,
        })
    }

    pub(crate) fn fold(&mut self, stored: &StoredRecord, flows: &FlowCatalogue) -> Result<(), Error> {
        let undecodable = |_| undecodable(stored);
        match stored.header.kind {
            RecordKind::Turn => {
                let record = TurnRecord::decode(&stored.payload).map_err(undecodable)?;
                self.state.apply_turn(&record);
                self.ended(&record.request_id, record.request_digest, EndingKind::Turn, stored);
            }
            RecordKind::TurnClosed => {
                let record = TurnClosedRecord::decode(&stored.payload).map_err(undecodable)?;
                let kind = EndingKind::Closed(record.reason);
                self.state.apply_closed(&record.request_id);
                self.ended(&record.request_id, record.request_digest, kind, stored);
            }
            RecordKind::Accepted => {
                self.open_accepted = Some(AcceptedRecord::decode(&stored.payload).map_err(undecodable)?);
            }
            RecordKind::EffectIntent | RecordKind::EffectResult => {
                self.open_effects.add(EffectsRecord::decode(&stored.payload).map_err(undecodable)?);
            }
            RecordKind::Control => {
                let record = ControlRecord::decode(&stored.payload).map_err(undecodable)?;
                self.fold_control(record, stored.header.turn_seq.get(), flows)?;
            }
            _ => {}
        }
        self.updated_at = stored.header.time;
        self.since_snapshot.bytes += stored.payload.len();
        Ok(())
    }

    fn fold_control(&mut self, record: ControlRecord, turn_seq: u64, flows: &FlowCatalogue) -> Result<(), Error> {
        match record {
            ControlRecord::Reset { request_id, request_digest, changes, .. } => {
                self.state.apply_all(&changes);
                self.remember(&request_id, request_digest, EndingKind::Reset, turn_seq);
            }
            ControlRecord::Upgraded { to, changes, .. } => {
                let name = self.pin.name.clone();
                (self.pin, self.flow) = pinned(to.flow_tenant, name, to.revision, flows)?;
                self.state.apply_all(&changes);
            }
            ControlRecord::Feedback { request_id, request_digest, .. } => {
                self.remember(&request_id, request_digest, EndingKind::Feedback, turn_seq);
            }
            ControlRecord::Forked { request_id, request_digest, state, .. } => {
                self.state = *state;
                self.remember(&request_id, request_digest, EndingKind::Forked, turn_seq);
            }
            ControlRecord::Paused { request_id, request_digest, at, .. } => {
                self.paused_at = Some(at);
                self.remember(&request_id, request_digest, EndingKind::Paused, turn_seq);
            }
            ControlRecord::Resumed { request_id, request_digest, .. } => {
                self.paused_at = None;
                self.remember(&request_id, request_digest, EndingKind::Resumed, turn_seq);
            }
        }
        Ok(())
    }

    fn ended(&mut self, request_id: &RequestId, request_digest: [u8; 16], kind: EndingKind, stored: &StoredRecord) {
        self.remember(request_id, request_digest, kind, stored.header.turn_seq.get());
        self.open_accepted = None;
        self.open_effects = OpenEffects::default();
        self.since_snapshot.turns += 1;
    }

    fn remember(&mut self, request_id: &RequestId, request_digest: [u8; 16], kind: EndingKind, turn_seq: u64) {
        let request_hash = hash16(request_id.as_str().as_bytes());
        self.window.remember(Remembered { request_hash, request_digest, turn_seq, kind: kind.to_byte() });
    }
}

fn undecodable(stored: &StoredRecord) -> Error {
    Error::Corrupt {
        reason: format!("record {} ({:?}) cannot be decoded", stored.header.record_no, stored.header.kind),
    }
}

fn pinned(
    tenant: String,
    name: FlowName,
    revision: Revision,
    flows: &FlowCatalogue,
) -> Result<(FlowPin, Arc<Flow>), Error> {
    let Some(flow) = flows.revision(&tenant, revision) else {
        return Err(Error::RevisionUnavailable { flow: name.to_string(), revision: revision.to_string() });
    };
    Ok((FlowPin { tenant: tenant.into(), name, revision }, flow))
}
