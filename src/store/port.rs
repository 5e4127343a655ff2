//! The store's port: what an engine must do, whatever it is made of.
//!
//! A store keeps, per conversation, a chain of records and the snapshots that stand outside it. It
//! sees record headers and opaque payloads and knows nothing of flows. Ownership is a fence of three
//! numbers: the process's epoch, the actor's activation, and the number of the last record.

use std::{future::Future, pin::Pin};

use colloquy_types::{Activation, ConversationKey, ConversationUid, Epoch, Head, RecordNo, Timestamp, TurnSeq};

use crate::record::{Batch, StoredRecord};

/// A boxed future that borrows its store.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Called exactly once with the ending of an append, from whatever thread the engine ends it on.
///
/// It must not block and must not call the store. When the engine goes away with the append still
/// queued it is called with [`AppendError::Unknown`].
pub type Completion = Box<dyn FnOnce(Result<Head, AppendError>) + Send>;

/// The right to append to one conversation, until a later `open` takes it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose conversation it is.
    pub key: ConversationKey,
    /// The conversation's random name inside the store.
    pub uid: ConversationUid,
    /// The epoch of this process.
    pub epoch: Epoch,
    /// The activation that this `open` began.
    pub activation: Activation,
}

/// What `open` found.
#[derive(Debug)]
pub struct Opened {
    /// The right to append.
    pub lease: Lease,
    /// Where the history stands; [`Head::default`] when the conversation has no record yet.
    pub head: Head,
    /// The conversation's first record; `None` when it does not exist yet.
    pub created: Option<StoredRecord>,
    /// The newest snapshot, if there is one. Its header names the head it represents.
    pub snapshot: Option<StoredRecord>,
    /// The chained records after the snapshot, or all of them, `created` included, when there is
    /// none; in order.
    pub tail: Vec<StoredRecord>,
}

/// One row of [`ConversationStore::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The conversation.
    pub key: ConversationKey,
    /// Its random name inside the store.
    pub uid: ConversationUid,
    /// Where its history stands.
    pub head: Head,
    /// When its last record was made.
    pub updated_at: Timestamp,
}

/// One record as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRecord {
    /// The record, its checksum and digest checked.
    pub record: StoredRecord,
    /// Its bytes, header, salt and padding included: what [`crate::decode_record`] takes.
    pub stored: Vec<u8>,
}

/// A part of a conversation's history; see [`ConversationStore::history`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The conversation's random name inside the store.
    pub uid: ConversationUid,
    /// Where the whole history stands.
    pub head: Head,
    /// The records, in order.
    pub records: Vec<HistoryRecord>,
    /// The head that the last chained record leads to, or where the page began; the next page begins here.
    pub reached: Head,
}

/// What [`ConversationStore::verify`] found of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Chained records whose checksum, digest, number and hash were checked, from the first.
    pub records: u64,
    /// Turns among them.
    pub turns: u64,
    /// The head that the chain ends in.
    pub head: Head,
}

/// What [`ConversationStore::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were read, or what the engine has in their place.
    pub segments_read: u64,
    /// Segments among them that were written anew.
    pub segments_rewritten: u64,
    /// Bytes of what was read, before.
    pub bytes_before: u64,
    /// Bytes of it afterwards.
    pub bytes_after: u64,
    /// Bodies that were erased.
    pub bodies_erased: u64,
    /// Snapshots that were dropped: superseded ones, and all of erased conversations.
    pub snapshots_dropped: u64,
}

impl Compacted {
    /// Adds the figures of another part of the same pass.
    pub(crate) fn add(&mut self, other: &Self) {
        self.segments_read += other.segments_read;
        self.segments_rewritten += other.segments_rewritten;
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
        self.bodies_erased += other.bodies_erased;
        self.snapshots_dropped += other.snapshots_dropped;
    }
}

/// What is still stored of an erased conversation: what a receipt is checked against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Chained records, the one of the erasure included.
    pub records: u64,
    /// Bodies that are still there physically, without that of the erasure itself.
    pub bodies: u64,
    /// Snapshots that are still there physically.
    pub snapshots: u64,
    /// Whether the chain leads from the first header to the record of the erasure.
    pub chain_holds: bool,
    /// The head that the chain leads to as far as it holds.
    pub head: Head,
}

impl Erasure {
    /// Whether nothing but headers and the record of the erasure is left.
    pub fn is_complete(&self) -> bool {
        self.bodies == 0 && self.snapshots == 0
    }
}

/// Figures of a running store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// The epoch of this process.
    pub epoch: Epoch,
    /// Records appended since the start.
    pub records: u64,
    /// Bytes of records appended since the start.
    pub bytes: u64,
    /// Syncs since the start; `records / syncs` is the mean size of a group.
    pub syncs: u64,
    /// Conversations with a live lease.
    pub leases: u64,
    /// Whether writes are accepted now.
    pub writable: bool,
    /// Conversations that are refused because their history is damaged: those that a start found so, those that somebody
    /// tried to open since; and places, found by this start, that name none.
    pub damaged: u64,
    /// Segments of the journal.
    pub segments: u64,
    /// Bytes that those take, the active one with the room that it has left.
    pub journal_bytes: u64,
    /// Bytes of the journal that compaction could free, as far as hints tell.
    pub dead_bytes: u64,
    /// Erased conversations whose bodies may still be there physically.
    pub erasures_pending: u64,
    /// When the last pass of compaction ended; `None` when none has since the start.
    pub compacted_at: Option<Timestamp>,
    /// Batches that wait to be written, at most [`crate::JournalOptions::queue_len`]; 0 where none ever waits.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
}

/// Why an append has no effect, or may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written, and nothing will be.
    #[error("not applied")]
    NotApplied(#[source] NotApplied),
    /// It may or may not have become durable; re-open to learn which.
    #[error("outcome unknown")]
    Unknown,
}

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    /// A later activation or epoch owns the conversation now.
    #[error("fenced by a later owner")]
    Fenced,
    /// The last record is another one than expected.
    #[error("the head is at record {}", head.record_no)]
    Conflict {
        /// The head as it is.
        head: Head,
    },
    /// The disk is full; reads go on, and writes will when space returns.
    #[error("the disk is full")]
    Full,
    /// The queue to the writer is full.
    #[error("the writer's queue is full")]
    Busy,
    /// The store is closed or has refused all writes after a failed sync.
    #[error("the store takes no writes")]
    Closed,
}

/// Why a conversation cannot be opened or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The stored history of this conversation is damaged; it is quarantined, others are served.
    #[error("stored history is damaged: {reason}")]
    Corrupt {
        /// What does not fit, without any payload.
        reason: String,
    },
    /// The conversation does not exist.
    #[error("no such conversation")]
    Absent,
    /// The queue to the writer is full.
    #[error("the store is busy")]
    Busy,
    /// The disk did not answer as it should.
    #[error("read failed: {reason}")]
    Io {
        /// The operating system's words.
        reason: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// An engine that keeps conversations.
///
/// Every engine passes the kit in [`crate::conformance`].
pub trait ConversationStore: Send + Sync + 'static {
    /// A short name of the engine, for figures and the console.
    fn engine(&self) -> &'static str;

    /// Begins an activation: waits for everything an earlier activation had queued, fences it, and
    /// returns what is stored and synced. A conversation that does not exist gets a fresh uid and an
    /// empty head; nothing is written until the first append.
    ///
    /// # Errors
    /// [`ReadError`]; never `Absent`.
    fn open<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Opened, ReadError>>;

    /// Appends `batch` if the lease's epoch and activation are still the owner's and the head is
    /// still the one the batch was built on; all of it or nothing. `done` is called after the sync
    /// that covers it. Never blocks.
    ///
    /// A batch that ends with an `Erased` record ends the conversation: once it is committed the lease is
    /// gone, the key is free, and reads by key answer as for one that never was. What was stored is gone
    /// physically once [`ConversationStore::compact`], or the engine by itself, has passed over it.
    fn append(&self, lease: &Lease, batch: Batch, done: Completion);

    /// Ends a lease whose actor is gone. A stale lease is ignored.
    fn release(&self, lease: &Lease);

    /// The committed turns with `from <= turn_seq`, in order, at most `limit` of them and at most
    /// about 4 MiB, but at least one if there is one. Synced ones only.
    ///
    /// # Errors
    /// [`ReadError`].
    fn turns<'a>(
        &'a self,
        key: &'a ConversationKey,
        from: TurnSeq,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, ReadError>>;

    /// The records of every kind behind `after`, in order, of conversations and tenant streams alike; from
    /// the beginning with [`Head::default`]. About `limit` of them and about 4 MiB, but at least one if there
    /// is one: a page ends before a chained record, so that a snapshot stays with what it represents. Synced
    /// ones only; the chain from `after` on is checked.
    ///
    /// # Errors
    /// [`ReadError`]; `Corrupt` also when `after` is not part of this history.
    fn history<'a>(
        &'a self,
        key: &'a ConversationKey,
        after: Head,
        limit: usize,
    ) -> BoxFuture<'a, Result<HistoryPage, ReadError>>;

    /// The conversations of a tenant in the order of their ids, those after `after`, at most `limit`.
    /// Tenant streams are not listed.
    ///
    /// # Errors
    /// [`ReadError`].
    fn list<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, ReadError>>;

    /// Reads a conversation's whole history and checks checksums, digests, numbers and the chain.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] names the first thing that does not fit.
    fn verify<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Verified, ReadError>>;

    /// Brings what is derived (the index) up to what is synced.
    ///
    /// # Errors
    /// [`ReadError::Io`] or [`ReadError::Closed`].
    fn checkpoint(&self) -> BoxFuture<'_, Result<(), ReadError>>;

    /// Makes a whole pass of compaction now, without a limit of speed: bodies and snapshots of erased
    /// conversations go, and what is dead where there is enough of it. Nothing that can be read by key changes.
    ///
    /// # Errors
    /// [`ReadError::Io`], [`ReadError::Busy`] or [`ReadError::Closed`]; what was done before stays done.
    fn compact(&self) -> BoxFuture<'_, Result<Compacted, ReadError>>;

    /// Walks what is still stored of a conversation that was erased.
    ///
    /// # Errors
    /// [`ReadError`]; `Absent` when no erased conversation had this uid.
    fn erasure(&self, uid: ConversationUid) -> BoxFuture<'_, Result<Erasure, ReadError>>;

    /// Ends what is queued, checkpoints, and closes; later calls answer `Closed`.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// Figures so far.
    fn stats(&self) -> StoreStats;
}

/// The fence an append is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The epoch that must still be the store's.
    pub epoch: Epoch,
    /// The activation that must still be the conversation's.
    pub activation: Activation,
    /// The record that must still be the last.
    pub record_no: RecordNo,
}
