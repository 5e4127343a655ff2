//! The one writer, as a pure step: commands in, one write and one sync, answers out.
//!
//! [`WriterCore::step`] takes everything that waited, checks the fences, copies the records of all
//! appends into one group, writes and syncs it, and only then hands out the endings, and the reads and
//! opens that came with them. It starts no thread, reads no clock and waits for nothing but its disk, so a
//! test or a simulation can drive it; [`super::driver`] drives it in a process.
//!
//! Owns: the leases, the rows that changed since the last checkpoint, the tables of the segments that
//! the index does not know yet. A crash loses what was not synced, which nobody was told of. The price of
//! this design: one full disk queue or slow sync holds up every conversation of the process.

mod checkpoint;
#[cfg(test)]
mod mutants;
mod reads;
mod segments;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use colloquy_types::{Activation, ConversationKey, ConversationUid, Entropy, Epoch, Head};
use tokio::sync::oneshot;

use self::{checkpoint::CheckpointState, segments::SegmentState};
use super::{
    bytes::put,
    command::{Command, Intent, Outbox},
    disk::Disk,
    group::{GROUP_BYTES, GroupHeader, Position, StoreUuid},
    reader::{ReadJob, Segments},
    row::{Place, Row, SnapshotPlace},
    stats::SharedStats,
    table::{Run, UidMap},
};
use crate::{
    done::Done,
    leases,
    port::{AppendError, Lease, NotApplied, ReadError},
    record::Batch,
};

/// One conversation that is leased or that changed since the last checkpoint.
struct Entry {
    key: ConversationKey,
    row: Row,
    activation: Option<Activation>,
    /// Whether it waits for the next checkpoint.
    dirty: bool,
    /// Whether the checkpoint under way carries it.
    in_flight: bool,
    /// Whether the index knows its uid.
    indexed: bool,
}

/// A key in the order of its text.
#[derive(Clone, PartialEq, Eq)]
struct OrderedKey(ConversationKey);

impl PartialOrd for OrderedKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl std::borrow::Borrow<str> for OrderedKey {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

/// What waits for the sync.
enum Pending {
    Ending(Done, Result<Head, AppendError>),
    Read(ReadJob),
    /// That the conversation does not exist, perhaps because of an erasure that is not synced yet.
    Absent(Intent),
    Opened(oneshot::Sender<Result<crate::port::Opened, ReadError>>, Box<crate::port::Opened>),
}

/// Bounds that the writer keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriterOptions {
    pub(crate) segment_bytes: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) delta_entries_max: usize,
}

/// What recovery hands to the writer.
pub(crate) struct Start {
    pub(crate) uuid: StoreUuid,
    pub(crate) epoch: Epoch,
    pub(crate) segments: Segments,
    pub(crate) active: Active,
    pub(crate) next_segment: u64,
    pub(crate) group_number: u64,
    pub(crate) index_is_empty: bool,
    /// Conversations and places that reading found damaged.
    pub(crate) damaged: u64,
}

pub(crate) use segments::{Active, SEGMENT_BYTES_MIN};

/// The writer's state.
pub(crate) struct WriterCore {
    disk: Arc<dyn Disk>,
    entropy: Arc<dyn Entropy>,
    options: WriterOptions,
    uuid: StoreUuid,
    epoch: Epoch,
    last_activation: Activation,
    entries: UidMap<Entry>,
    keys: BTreeMap<OrderedKey, ConversationUid>,
    /// Erased conversations that the index may still know by their keys.
    erased: Arc<HashSet<ConversationUid>>,
    /// Conversations that an open found damaged; told once each.
    damaged: HashSet<ConversationUid>,
    segments: SegmentState,
    checkpoint: CheckpointState,
    /// The group being built: room for its header, then records.
    buffer: Vec<u8>,
    buffered_records: u32,
    pending: Vec<Pending>,
    group_number: u64,
    synced: Position,
    stats: Arc<SharedStats>,
    poisoned: bool,
    closing: Option<Vec<oneshot::Sender<()>>>,
    finished: bool,
    /// Leaves out the sync, so that a test can show that this is noticed.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) skip_sync: bool,
    /// Takes appends of every owner, wherever they stand, for the same reason.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) skip_fence: bool,
    /// Acknowledges before it writes, for the same reason.
    #[cfg(test)]
    pub(crate) acknowledges_early: bool,
}

impl WriterCore {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        entropy: Arc<dyn Entropy>,
        options: WriterOptions,
        stats: Arc<SharedStats>,
        start: Start,
    ) -> Self {
        stats.found_damaged(start.damaged);
        let synced = Position { segment: start.active.segment.id, offset: start.active.end };
        Self {
            disk,
            entropy,
            options,
            uuid: start.uuid,
            epoch: start.epoch,
            last_activation: Activation::default(),
            entries: UidMap::default(),
            keys: BTreeMap::new(),
            erased: Arc::default(),
            damaged: HashSet::new(),
            segments: SegmentState::new(start.segments, start.active, start.next_segment),
            checkpoint: CheckpointState::new(start.index_is_empty),
            buffer: vec![0; GROUP_BYTES],
            buffered_records: 0,
            pending: Vec::new(),
            group_number: start.group_number,
            synced,
            stats,
            poisoned: false,
            closing: None,
            finished: false,
            #[cfg(any(test, feature = "simulation"))]
            skip_sync: false,
            #[cfg(any(test, feature = "simulation"))]
            skip_fence: false,
            #[cfg(test)]
            acknowledges_early: false,
        }
    }

    /// Whether the writer has ended and takes no more.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether a write or sync has failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Whether another step has something to do although no command came.
    pub(crate) fn has_work(&self) -> bool {
        self.checkpoint.is_collecting()
    }

    /// Does all of `commands`, with one write and one sync for all their records.
    pub(crate) fn step(&mut self, commands: &mut VecDeque<Command>, out: &mut Outbox) {
        while let Some(command) = commands.pop_front() {
            self.take(command, out);
        }
        self.flush(out);
        self.segments.keep_spare(self.options.segment_bytes, out);
        self.advance_seal(out);
        self.advance_checkpoint(out);
        self.advance_close(out);
    }

    fn accepts(&self) -> bool {
        !self.poisoned && self.closing.is_none()
    }

    fn take(&mut self, command: Command, out: &mut Outbox) {
        match command {
            Command::Append { lease, batch, done } => {
                let ending = self.append(&lease, &batch, out);
                self.pending.push(Pending::Ending(done, ending));
            }
            Command::Release(lease) => self.release(&lease),
            Command::Adopt { key, uid, reply } => self.adopt(key, uid, reply),
            Command::Read { key, intent } => self.read(key, intent),
            Command::Resolved { key, row, generation, intent } => self.resolved(key, row, generation, intent),
            Command::Doubted { lease, error, reply } => self.doubted(&lease, error, reply),
            Command::Moved { uid, moved } => self.moved(uid, &moved),
            Command::List { tenant, after, limit, reply } => self.list(tenant, after, limit, reply),
            Command::Erasure { uid, reply } => self.erasure(uid, reply),
            Command::Checkpoint(reply) => self.checkpoint.ask(reply),
            Command::Seal(reply) => self.segments.ask_seal(reply),
            Command::Close(reply) => self.close(reply, out),
            Command::Stop => self.finished = true,
            Command::Prepared(segment) => self.segments.prepared(segment, out),
            Command::Sealed { id, sealed } => self.segments.sealed(id, sealed, out),
            Command::Checkpointed(outcome) => self.checkpointed(outcome, out),
        }
    }

    fn append(&mut self, lease: &Lease, batch: &Batch, out: &mut Outbox) -> Result<Head, AppendError> {
        let refused = |why| Err(AppendError::NotApplied(why));
        if !self.accepts() {
            return refused(NotApplied::Closed);
        }
        let live = self.entries.get(&batch.uid()).and_then(|entry| Some((entry.activation?, entry.row.head)));
        let fence = leases::check(self.epoch, live, lease, batch);
        #[cfg(any(test, feature = "simulation"))]
        let fence = if self.skip_fence && live.is_some() { Ok(()) } else { fence };
        if let Err(why) = fence {
            return refused(why);
        }
        if batch.is_empty() {
            return Ok(batch.head_after());
        }
        if self.checkpoint.is_overdue(self.options.delta_entries_max) {
            return refused(NotApplied::Busy);
        }
        if !self.segments.fits(self.buffer.len() + batch.bytes().len()) {
            self.flush(out);
            if self.poisoned {
                return refused(NotApplied::Closed);
            }
            let made = self.segments.roll(
                self.disk.as_ref(),
                (self.uuid, self.epoch, self.options.segment_bytes),
                GROUP_BYTES + batch.bytes().len(),
                out,
            );
            if let Err(error) = made {
                tracing::warn!(%error, "no room for the next segment; appends are refused until there is");
                return refused(NotApplied::Full);
            }
        }
        self.copy(batch);
        Ok(batch.head_after())
    }

    /// Adds a batch that passed its fence to the group, and to what is known of its conversation.
    fn copy(&mut self, batch: &Batch) {
        let Some(active) = self.segments.active.as_mut() else { return };
        let offset = active.end + self.buffer.len() as u64;
        self.buffer.extend_from_slice(batch.bytes());
        self.buffered_records += batch.records();
        let at = Position { segment: active.segment.id, offset };
        let run = Run {
            uid: batch.uid(),
            // Segments are far smaller than 4 GiB.
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            len: u32::try_from(batch.bytes().len()).unwrap_or(u32::MAX),
            last_turn: batch.head_after().turn_seq,
        };
        active.table.push(run, batch.records());
        let Some(entry) = self.entries.get_mut(&batch.uid()) else { return };
        let place = |range: std::ops::Range<usize>| Place {
            at: Position { offset: at.offset + range.start as u64, ..at },
            len: u32::try_from(range.len()).unwrap_or(u32::MAX),
        };
        if let Some(range) = batch.created_range() {
            entry.row.created = place(range);
        }
        if let Some(range) = batch.snapshot() {
            let snapshot = SnapshotPlace { place: place(range), record_no: batch.snapshot_record_no() };
            if let Some(superseded) = entry.row.snapshot.replace(snapshot) {
                self.checkpoint.dead(superseded.place);
            }
        }
        if batch.snapshot().is_some() {
            entry.row.ends_in_snapshot();
        }
        if batch.snapshot().is_none() || batch.snapshot_record_no() != batch.head_after().record_no {
            entry.row.follows_in(at.segment);
        }
        entry.row.head = batch.head_after();
        entry.row.updated_at = batch.time();
        if !entry.dirty {
            entry.dirty = true;
            self.checkpoint.dirty(batch.uid());
        }
        if batch.erases() {
            self.erase(batch.uid(), at.segment);
        }
    }

    /// Ends a conversation whose last record stands in `segment`. Its entry stays until the index knows, and hides
    /// what that says of it until then.
    fn erase(&mut self, uid: ConversationUid, segment: u64) {
        let Some(entry) = self.entries.get_mut(&uid) else { return };
        entry.row.erased_in = Some(segment);
        if entry.activation.take().is_some() {
            self.stats.lease_ended();
        }
        self.keys.remove(entry.key.as_str());
        Arc::make_mut(&mut self.erased).insert(uid);
        self.stats.erasure_began();
    }

    fn release(&mut self, lease: &Lease) {
        let Some(entry) = self.entries.get_mut(&lease.uid) else { return };
        if lease.epoch == self.epoch && entry.activation == Some(lease.activation) {
            entry.activation = None;
            self.stats.lease_ended();
            self.forget_if_idle(lease.uid);
        }
    }

    /// Drops an entry that nobody leases and that the index knows as it is, or that never came to be.
    fn forget_if_idle(&mut self, uid: ConversationUid) {
        if self.entries.get(&uid).is_some_and(|entry| entry.activation.is_none() && !entry.dirty && !entry.in_flight)
            && let Some(entry) = self.entries.remove(&uid)
        {
            // Another conversation may have the key of an erased one.
            if self.keys.get(entry.key.as_str()) == Some(&uid) {
                self.keys.remove(entry.key.as_str());
            }
            if entry.row.erased_in.is_some() && Arc::make_mut(&mut self.erased).remove(&uid) {
                self.stats.erasure_indexed();
            }
        }
    }

    /// Writes and syncs the group, then lets everything go that waited for it.
    fn flush(&mut self, out: &mut Outbox) {
        #[cfg(test)]
        self.acknowledge_early();
        let failed = self.buffered_records > 0 && !self.write_group();
        if !failed {
            self.stats.written(self.buffered_records, self.buffer.len() - GROUP_BYTES);
        }
        self.buffered_records = 0;
        self.buffer.truncate(GROUP_BYTES);
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Ending(done, Ok(_)) if failed => out.endings.push((done, Err(AppendError::Unknown))),
                Pending::Ending(done, ending) => out.endings.push((done, ending)),
                Pending::Read(job) if self.poisoned => job.refuse(ReadError::Closed),
                Pending::Read(job) => out.reads.push(job),
                Pending::Absent(intent) => {
                    intent.refuse(if self.poisoned { ReadError::Closed } else { ReadError::Absent });
                }
                Pending::Opened(reply, _) if self.poisoned => drop(reply.send(Err(ReadError::Closed))),
                Pending::Opened(reply, opened) => drop(reply.send(Ok(*opened))),
            }
        }
    }

    /// Writes the buffer as one group and syncs it. A failure is never retried: what the disk then
    /// holds is unknown, and a second sync could report success for pages that were dropped.
    fn write_group(&mut self) -> bool {
        let Some(active) = self.segments.active.as_mut() else { return false };
        let at = Position { segment: active.segment.id, offset: active.end };
        self.group_number += 1;
        let header = GroupHeader {
            records: self.buffered_records,
            body_len: (self.buffer.len() - GROUP_BYTES) as u64,
            epoch: self.epoch,
            number: self.group_number,
            synced: self.synced,
        };
        put(&mut self.buffer, 0, &header.encode(at, self.uuid));
        let file = &active.segment.file;
        let mut written = file.write_at(&self.buffer, at.offset);
        #[cfg(any(test, feature = "simulation"))]
        let sync = !self.skip_sync;
        #[cfg(not(any(test, feature = "simulation")))]
        let sync = true;
        if sync {
            written = written.and_then(|()| file.sync_data());
        }
        if let Err(error) = written {
            tracing::error!(%error, segment = at.segment, offset = at.offset, "write or sync failed; the store takes no more");
            self.poisoned = true;
            self.stats.refuse_writes();
            return false;
        }
        active.end += self.buffer.len() as u64;
        self.synced = Position { offset: active.end, ..at };
        self.stats.synced();
        true
    }

    /// Goes on in the next segment when somebody asked for the active one to be sealed. Waits until the next one is
    /// made, so that no commit waits for that.
    fn advance_seal(&mut self, out: &mut Outbox) {
        if !self.accepts() {
            return self.segments.refuse_seal(out);
        }
        if let Some(id) = self.segments.can_seal(out) {
            let with = (self.uuid, self.epoch, self.options.segment_bytes);
            // The next one is there, so this makes none.
            if let Err(error) = self.segments.roll(self.disk.as_ref(), with, GROUP_BYTES, out) {
                tracing::warn!(%error, "no next segment");
                self.segments.sealed(id, false, out);
            }
        }
    }

    fn close(&mut self, reply: oneshot::Sender<()>, out: &mut Outbox) {
        if let Some(waiting) = self.closing.as_mut() {
            waiting.push(reply);
            return;
        }
        self.flush(out);
        if !self.poisoned && self.segments.fits(GROUP_BYTES) {
            // An empty group says that everything before it is synced.
            self.write_group();
        }
        self.closing = Some(vec![reply]);
        self.stats.refuse_writes();
        // After a failed write nobody knows where the active segment ends, and its table says more than that: what
        // opens the store next finds out and seals it.
        if !self.poisoned {
            self.segments.end(out);
        }
        self.checkpoint.ask_last();
    }

    /// Ends once every segment is sealed and the last checkpoint is done, whatever came of them.
    fn advance_close(&mut self, out: &mut Outbox) {
        let waits = !self.poisoned && (self.segments.is_sealing() || self.checkpoint.is_wanted());
        if !waits && let Some(waiting) = self.closing.as_mut() {
            out.closed.append(waiting);
            self.finished = true;
        }
    }
}
