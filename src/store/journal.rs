//! The engine `journal`: a segmented log written by one thread with group commit, and an index in sled
//! that can be rebuilt from it. See `docs/adr/0002-journal-and-index.md`.
//!
//! [`JournalStore`] is the handle: it queues commands for the writer (`writer`, a pure step, driven by
//! `driver`) and never touches a file after opening. Opening is `recovery`.

pub mod backup;
pub(crate) mod bytes;
pub(crate) mod command;
pub(crate) mod compaction;
pub(crate) mod disk;
pub(crate) mod driver;
mod error;
mod folder;
pub(crate) mod group;
pub mod import;
pub(crate) mod index;
pub mod migrate;
mod read_ahead;
pub(crate) mod reader;
mod real_disk;
pub(crate) mod recovery;
mod retention;
mod row;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod stats;
pub mod survey;
mod table;
#[cfg(test)]
mod tests;
mod watched;
pub(crate) mod writer;

use std::{
    convert::Infallible,
    num::NonZeroU64,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use colloquy_types::{Clock, ConversationKey, ConversationUid, Entropy, Epoch, Head, TurnSeq};
use crossbeam_channel::{Sender, TrySendError, bounded};
use tokio::sync::{oneshot, watch};

use self::{
    command::{Command, Intent, Reply},
    compaction::{CompactionOptions, Compactor, Job},
    disk::Disk,
    driver::Parts,
    folder::Folder,
    index::{Covered, Index, IndexError, IndexPlace, SharedIndex, is_marked, unmark},
    read_ahead::ReadAhead,
    reader::{Reader, Segments},
    real_disk::RealDisk,
    recovery::{Finish, Found},
    segment::SEGMENT_BYTES_MAX,
    stats::SharedStats,
    writer::{SEGMENT_BYTES_MIN, WriterCore, WriterOptions},
};
pub use self::{
    error::OpenError,
    retention::{Retention, RetentionPolicy},
};
use crate::{
    done::Done,
    port::{
        AppendError, BoxFuture, Compacted, Completion, ConversationStore, Erasure, HistoryPage, Lease, Listed,
        NotApplied, Opened, ReadError, StoreStats, Verified,
    },
    record::{Batch, StoredRecord},
};

/// Passes of compaction that may wait.
const COMPACTIONS_LEN: usize = 4;

/// Settings of a [`JournalStore`].
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The store's folder; made when absent. One process at a time.
    pub folder: PathBuf,
    /// Bytes of a segment; 8 KiB to 1 GiB, default 64 MiB. Larger groups get a segment of their size.
    pub segment_bytes: u64,
    /// Commands that may wait for the writer, 1 or more; default 8192. More are refused as busy.
    pub queue_len: usize,
    /// Bytes of records after which the index is brought up to date; default 128 MiB. They are read again
    /// when the store opens after a crash.
    pub checkpoint_bytes: u64,
    /// Bytes of memory for the index's pages; default 64 MiB.
    pub index_cache_bytes: u64,
    /// Changed conversations after which the index is brought up to date, 1 or more; default 100,000.
    pub delta_entries_max: usize,
    /// Bytes that compaction may read and write in a second when it works by itself; 0 lets it do nothing unless it
    /// is asked. Default 8 MiB: that passes over some 400 GB in a day, and what erasures, retention and superseded
    /// snapshots leave behind is less than that; a commit meets at most one piece of 128 KiB in the disk's queue.
    pub compaction_bytes_per_second: u64,
    /// How much of a segment must be dead before it is written anew, 0 to 1; default 0.3. Erasures and ages that
    /// retention names do not wait for it.
    pub compaction_dead_ratio: f64,
    /// How long bodies are kept; by default all of them for good.
    pub retention: RetentionPolicy,
    /// The least epoch to open with: above those of records that are to be brought in. By default any.
    pub epoch_min: Epoch,
}

impl JournalOptions {
    /// The defaults, in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            segment_bytes: 64 << 20,
            queue_len: 8192,
            checkpoint_bytes: 128 << 20,
            index_cache_bytes: 64 << 20,
            delta_entries_max: 100_000,
            compaction_bytes_per_second: 8 << 20,
            compaction_dead_ratio: 0.3,
            retention: RetentionPolicy::default(),
            epoch_min: Epoch::default(),
        }
    }

    fn check(&self) -> Result<(), OpenError> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(OpenError::Setting { setting: "segment_bytes", bound: "8 KiB to 1 GiB" });
        }
        if self.queue_len == 0 {
            return Err(OpenError::Setting { setting: "queue_len", bound: "1 or more" });
        }
        if self.delta_entries_max == 0 {
            return Err(OpenError::Setting { setting: "delta_entries_max", bound: "1 or more" });
        }
        if !(0.0..=1.0).contains(&self.compaction_dead_ratio) {
            return Err(OpenError::Setting { setting: "compaction_dead_ratio", bound: "0 to 1" });
        }
        Ok(())
    }

    fn compaction(&self) -> CompactionOptions {
        CompactionOptions {
            bytes_per_second: NonZeroU64::new(self.compaction_bytes_per_second),
            dead_ratio: self.compaction_dead_ratio,
            retention: self.retention.clone(),
        }
    }
}

/// The durable store of one process.
///
/// Cheap to share in an `Arc`. [`ConversationStore::close`] ends it in order; dropping it ends it as a
/// crash would, which loses nothing that was acknowledged but makes the next open read more.
pub struct JournalStore {
    uuid: group::StoreUuid,
    commands: Sender<Command>,
    closed: AtomicBool,
    stats: Arc<SharedStats>,
    segments: Segments,
    compactions: Sender<Job>,
    failed: watch::Receiver<bool>,
    running: Mutex<Option<Running>>,
}

/// What is let go, in this order, when the writer is to end and once it has.
struct Running {
    /// Stops compaction when it is dropped.
    compacts: Sender<Infallible>,
    threads: Vec<JoinHandle<()>>,
    _folder: Option<Folder>,
}

impl std::fmt::Debug for JournalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalStore").field("stats", &self.stats.snapshot()).finish_non_exhaustive()
    }
}

impl JournalStore {
    /// Opens the store in `options.folder`: locks it, recovers what an earlier process left, raises the
    /// epoch and makes that durable. Progress of a long recovery is told by `tracing`, a line per segment.
    ///
    /// Blocks while it reads; call it from a thread that may.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the folder, the disk or a setting.
    pub fn open(options: &JournalOptions, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, OpenError> {
        options.check()?;
        let folder = Folder::open(&options.folder, entropy.as_ref())?;
        let _ahead = ReadAhead::begin(&folder.index(), &folder.journal());
        let disk = Arc::new(RealDisk::new(&folder.journal()));
        Self::open_on(disk, (folder.uuid, folder.index()), Some(folder), options, clock, entropy)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        (uuid, index_folder): (group::StoreUuid, PathBuf),
        folder: Option<Folder>,
        options: &JournalOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        // sled takes longest, and what can be known without it is read meanwhile.
        let (found, opened) = thread::scope(|scope| {
            let open = || Index::open(&index_folder, options.index_cache_bytes);
            let opening = thread::Builder::new().name("journal-index".to_owned()).spawn_scoped(scope, open)?;
            let found = recovery::find(disk.as_ref(), uuid)?;
            Ok::<_, OpenError>((found, opening.join().unwrap_or(Err(IndexError::Damaged("sled panicked")))))
        })?;
        let place = IndexPlace { folder: index_folder, cache_bytes: options.index_cache_bytes };
        let (mut index, covered) = usable_index(opened, &place, uuid, &found)?;
        let rows_max = options.delta_entries_max;
        let finish = Finish {
            disk: disk.as_ref(),
            uuid,
            segment_bytes: options.segment_bytes,
            epoch_min: options.epoch_min,
            clock: clock.as_ref(),
            entropy: entropy.as_ref(),
        };
        let start = match recovery::replay(&found, uuid, &index, covered, rows_max) {
            Err(OpenError::Index(error)) => {
                tracing::warn!(%error, "the index is damaged; rebuilding it from the journal");
                drop(index);
                index = new_index(&place)?;
                let replay = recovery::replay(&found, uuid, &index, None, rows_max)?;
                recovery::finish(replay, found, &finish)?
            }
            replay => recovery::finish(replay?, found, &finish)?,
        };
        let stats = Arc::new(SharedStats::new(start.epoch));
        let writer_options = WriterOptions {
            segment_bytes: options.segment_bytes,
            checkpoint_bytes: options.checkpoint_bytes,
            delta_entries_max: options.delta_entries_max,
        };
        unmark(&place.folder)?;
        let index = Arc::new(SharedIndex::at(index, place)?);
        let segments = Arc::clone(&start.segments);
        let reader = Reader { uuid, index: Arc::clone(&index), segments: Arc::clone(&segments) };
        let compactor = Compactor {
            disk: Arc::clone(&disk),
            uuid,
            index: Arc::clone(&index),
            segments: Arc::clone(&segments),
            stats: Arc::clone(&stats),
            clock,
            options: options.compaction(),
            newer: Mutex::default(),
        };
        let epoch = start.epoch;
        let core = WriterCore::new(Arc::clone(&disk), entropy, writer_options, Arc::clone(&stats), start);
        let (failing, failed) = watch::channel(false);
        let (commands, queue) = bounded(options.queue_len);
        let ((compactions, jobs), (compacts, stop)) = (bounded(COMPACTIONS_LEN), bounded(0));
        let shared = Arc::clone(&stats);
        let parts =
            Parts { core, disk, uuid, epoch, reader, index, failed: failing, stats: shared, compactor, jobs, stop };
        let threads = driver::start(parts, (commands.clone(), queue))?;
        let running = Mutex::new(Some(Running { compacts, threads, _folder: folder }));
        Ok(Self { uuid, commands, closed: AtomicBool::new(false), stats, segments, compactions, failed, running })
    }

    /// The store's random name, given when its folder was made.
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// Becomes `true` when a write or sync has failed, or the writer has. The store then refuses all
    /// writes for good: what the disk holds is unknown until the process ends and another opens it.
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.failed.clone()
    }

    fn send<T>(
        &self,
        command: Command,
        answer: oneshot::Receiver<Result<T, ReadError>>,
    ) -> BoxFuture<'_, Result<T, ReadError>>
    where
        T: Send + 'static,
    {
        let refused = if self.closed.load(Ordering::Acquire) {
            Some(ReadError::Closed)
        } else {
            match self.commands.try_send(command) {
                Ok(()) => None,
                Err(TrySendError::Full(_)) => Some(ReadError::Busy),
                Err(TrySendError::Disconnected(_)) => Some(ReadError::Closed),
            }
        };
        Box::pin(async move {
            match refused {
                Some(error) => Err(error),
                None => answer.await.map_err(|_| ReadError::Closed)?,
            }
        })
    }

    fn read<T: Send + 'static>(
        &self,
        key: &ConversationKey,
        intent: impl FnOnce(Reply<T>) -> Intent,
    ) -> BoxFuture<'_, Result<T, ReadError>> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Read { key: key.clone(), intent: intent(reply) }, answer)
    }

    /// Waits for the threads, then lets the lock go. `last` is what the writer is to do last.
    fn end(commands: &Sender<Command>, running: Option<Running>, last: Command) {
        let Some(Running { compacts, threads, _folder }) = running else { return };
        drop(compacts);
        // The writer always takes from its queue until it ends.
        drop(commands.send(last));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal panicked");
            }
        }
    }

    fn take_running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The index as it is, if it is this journal's and not newer, or an empty one.
fn usable_index(
    opened: Result<Index, IndexError>,
    place: &IndexPlace,
    uuid: group::StoreUuid,
    found: &Found,
) -> Result<(Index, Option<Covered>), OpenError> {
    let opened = match is_marked(&place.folder) {
        true => opened.and(Err(IndexError::Damaged("an earlier process found it so"))),
        false => opened,
    };
    let opened = opened.and_then(|index| Ok((index.covered()?, index)));
    match opened {
        Ok((Some(covered), index)) => {
            let newer = covered.segment > found.last_id() + 1 || covered.epoch > found.epoch;
            if covered.uuid == uuid && !newer {
                return Ok((index, Some(covered)));
            }
            tracing::warn!(newer, "the index belongs to another journal; rebuilding it");
        }
        Ok((None, index)) if index.is_empty() => {
            if found.last_id() > 0 {
                tracing::warn!("the index is missing or lost what it held; rebuilding it from the journal");
            }
            return Ok((index, None));
        }
        Ok((None, _)) => tracing::warn!("the index was never finished; rebuilding it"),
        Err(error) => tracing::warn!(%error, "the index cannot be read; rebuilding it from the journal"),
    }
    Ok((new_index(place)?, None))
}

fn new_index(place: &IndexPlace) -> Result<Index, OpenError> {
    match std::fs::remove_dir_all(&place.folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(Index::open(&place.folder, place.cache_bytes)?)
}

impl ConversationStore for JournalStore {
    fn engine(&self) -> &'static str {
        "journal"
    }

    fn open<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Opened, ReadError>> {
        self.read(key, Intent::Open)
    }

    fn append(&self, lease: &Lease, batch: Batch, done: Completion) {
        if self.closed.load(Ordering::Acquire) {
            return done(Err(AppendError::NotApplied(NotApplied::Closed)));
        }
        let (done, bytes) = (Done::new(done), batch.bytes().len());
        self.stats.queued(bytes);
        let (command, why) = match self.commands.try_send(Command::Append { lease: lease.clone(), batch, done }) {
            Ok(()) => return,
            Err(TrySendError::Full(command)) => (command, NotApplied::Busy),
            Err(TrySendError::Disconnected(command)) => (command, NotApplied::Closed),
        };
        self.stats.taken(1, bytes);
        if let Command::Append { done, .. } = command {
            done.call(Err(AppendError::NotApplied(why)));
        }
    }

    fn release(&self, lease: &Lease) {
        // A lease that a full queue keeps alive is fenced by the next open like any other.
        drop(self.commands.try_send(Command::Release(lease.clone())));
    }

    fn turns<'a>(
        &'a self,
        key: &'a ConversationKey,
        from: TurnSeq,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, ReadError>> {
        self.read(key, |reply| Intent::Turns { from, limit, reply })
    }

    fn history<'a>(
        &'a self,
        key: &'a ConversationKey,
        after: Head,
        limit: usize,
    ) -> BoxFuture<'a, Result<HistoryPage, ReadError>> {
        self.read(key, |reply| Intent::History { after, limit, reply })
    }

    fn list<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, ReadError>> {
        let (reply, answer) = oneshot::channel();
        let (tenant, after) = (tenant.to_owned(), after.map(str::to_owned));
        self.send(Command::List { tenant, after, limit, reply }, answer)
    }

    fn verify<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Verified, ReadError>> {
        self.read(key, Intent::Verify)
    }

    fn compact(&self) -> BoxFuture<'_, Result<Compacted, ReadError>> {
        let (reply, answer) = oneshot::channel();
        let sent = match self.compactions.try_send(reply) {
            _ if self.closed.load(Ordering::Acquire) => Err(ReadError::Closed),
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(ReadError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(ReadError::Closed),
        };
        Box::pin(async move {
            sent?;
            answer.await.map_err(|_| ReadError::Closed)?
        })
    }

    fn erasure(&self, uid: ConversationUid) -> BoxFuture<'_, Result<Erasure, ReadError>> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Erasure { uid, reply }, answer)
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Checkpoint(reply), answer)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::Release);
        let (commands, running) = (self.commands.clone(), self.take_running());
        let (reply, closed) = oneshot::channel();
        let (ended, answer) = oneshot::channel();
        // Waiting for threads blocks, so it has a thread of its own; it goes on when nobody awaits it.
        let waits = std::thread::Builder::new().name("journal-close".to_owned()).spawn(move || {
            Self::end(&commands, running, Command::Close(reply));
            ended.send(()).ok();
        });
        Box::pin(async move {
            if waits.is_ok() {
                drop(closed.await);
                drop(answer.await);
            }
        })
    }

    fn stats(&self) -> StoreStats {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let journal_bytes = segments.values().map(|segment| segment.file_len()).sum();
        StoreStats { segments: segments.len() as u64, journal_bytes, ..self.stats.snapshot() }
    }
}

impl Drop for JournalStore {
    fn drop(&mut self) {
        Self::end(&self.commands, self.take_running(), Command::Stop);
    }
}
