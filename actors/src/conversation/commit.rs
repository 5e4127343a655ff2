//! How a decided turn becomes records: one batch, appended whole or not at all.

use colloquy_store::{Batch, Lease, RecordKind, SNAPSHOT_BYTES_MAX};
use colloquy_turn::{ConversationState, CreatedRecord, Remembered, SnapshotRecord};
use colloquy_types::{Entropy, Head, Timestamp};

use super::loaded::Loaded;
use crate::{error::Error, reply::FlowPin, settings::SnapshotPolicy};

/// What a remembered request takes in a snapshot, about.
const REMEMBERED_BYTES: usize = 40;

/// Builds the batch of one commit.
pub(crate) struct BatchBuilder<'a> {
    batch: Batch,
    entropy: &'a dyn Entropy,
    now: Timestamp,
    bytes: usize,
}

impl<'a> BatchBuilder<'a> {
    /// Begins a batch on `loaded`'s head; a conversation without a record is created by it.
    pub(crate) fn new(lease: &Lease, loaded: &Loaded, entropy: &'a dyn Entropy, now: Timestamp) -> Result<Self, Error> {
        let mut builder = Self::behind(lease, &loaded.head, entropy, now);
        if loaded.head.record_no.get() == 0 {
            let created = CreatedRecord {
                flow: loaded.pin.name.clone(),
                flow_tenant: loaded.pin.tenant.to_string(),
                revision: loaded.pin.revision,
                created_at: loaded.created_at,
                subject: loaded.subject.clone(),
                origin: loaded.origin,
            };
            let payload = created.encode().map_err(too_large)?;
            let salt = entropy.bytes16();
            builder.batch.push_created(now, salt, &lease.key, &payload).map_err(too_large)?;
            builder.bytes += payload.len();
        }
        Ok(builder)
    }

    /// Begins a batch behind `head` of a conversation that exists.
    pub(crate) fn behind(lease: &Lease, head: &Head, entropy: &'a dyn Entropy, now: Timestamp) -> Self {
        Self { batch: Batch::new(lease, head), entropy, now, bytes: 0 }
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, kind: RecordKind, payload: &[u8]) -> Result<(), Error> {
        self.batch.push(kind, self.now, self.entropy.bytes16(), payload).map_err(too_large)?;
        self.bytes += payload.len();
        Ok(())
    }

    /// Adds a snapshot and gives its size; `None` when it is too large for one, which costs a longer
    /// replay at the next activation but not the turn.
    pub(crate) fn push_snapshot(&mut self, snapshot: &SnapshotRecord) -> Result<Option<usize>, Error> {
        let payload = snapshot.encode().map_err(too_large)?;
        if payload.len() > SNAPSHOT_BYTES_MAX {
            return Ok(None);
        }
        self.batch.push(RecordKind::Snapshot, self.now, self.entropy.bytes16(), &payload).map_err(too_large)?;
        Ok(Some(payload.len()))
    }

    /// Bytes of the chained payloads so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The turn number that the conversation reaches with this batch.
    pub(crate) fn turn_seq(&self) -> u64 {
        self.batch.head_after().turn_seq.get()
    }

    /// The head that the conversation reaches with this batch.
    pub(crate) fn head_after(&self) -> Head {
        self.batch.head_after()
    }

    pub(crate) fn finish(self) -> Batch {
        self.batch
    }
}

/// A typed error for a payload that cannot be stored; names what and the bound, never the content.
pub(crate) fn too_large(error: impl std::fmt::Display) -> Error {
    Error::TooLarge { what: error.to_string() }
}

/// Whether a snapshot is due once a turn of `turn_bytes` is added.
pub(crate) fn snapshot_due(loaded: &Loaded, turn_bytes: usize, policy: &SnapshotPolicy) -> bool {
    let since = &loaded.since_snapshot;
    let bytes = since.bytes + turn_bytes;
    let enough = since.turns + 1 >= policy.turns || bytes >= policy.bytes;
    enough && bytes >= since.snapshot_bytes.saturating_mul(policy.ratio)
}

/// Whether a conversation that leaves memory should leave a snapshot behind: whether its next activation reads more
/// records of turns than a snapshot is long, by `policy.rest_ratio`, and enough of them to be worth a sync. So what rests
/// again and again is not written again and again, and a conversation of a few turns never is.
pub(crate) fn rest_snapshot_due(loaded: &Loaded, policy: &SnapshotPolicy) -> bool {
    let since = &loaded.since_snapshot;
    let expected = since.snapshot_bytes.max(loaded.state_bytes + loaded.window.len() * REMEMBERED_BYTES);
    since.bytes >= policy.rest_bytes && since.bytes >= expected.saturating_mul(policy.rest_ratio)
}

/// The snapshot of a conversation as it will be once its turn, remembered as `last`, is committed; or as it is.
pub(crate) fn snapshot(
    loaded: &Loaded,
    pin: &FlowPin,
    state: &ConversationState,
    last: Option<Remembered>,
) -> SnapshotRecord {
    let mut remembered: Vec<_> = loaded.window.entries().cloned().collect();
    remembered.extend(last);
    SnapshotRecord {
        state: state.clone(),
        flow: pin.name.clone(),
        flow_tenant: pin.tenant.to_string(),
        revision: pin.revision,
        created_at: loaded.created_at,
        turns_remembered: remembered,
        open_accepted: None,
    }
}
