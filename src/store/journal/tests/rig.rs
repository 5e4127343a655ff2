//! What the journal's tests build stores with.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
};

use colloquy_types::{ConversationKey, ConversationUid, Head, SystemClock, SystemEntropy, Timestamp, TurnSeq};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::fake_disk::FakeDisk;
use crate::{
    done::Done,
    journal::{
        JournalOptions, JournalStore, OpenError,
        command::{Command, Intent, Outbox, Reply},
        compaction::{CompactError, CompactionOptions, Compactor, Pace},
        driver::keep_one,
        index::{Index, SharedIndex},
        reader::Reader,
        recovery::{self, Finish},
        stats::SharedStats,
        writer::{WriterCore, WriterOptions},
    },
    port::{
        AppendError, Compacted, ConversationStore, Erasure, HistoryPage, Lease, Listed, Opened, ReadError, Verified,
    },
    record::{Batch, RecordKind, StoredRecord},
};

pub(crate) const UUID: [u8; 16] = *b"a store of tests";

pub(crate) fn key(conversation: &str) -> ConversationKey {
    ConversationKey::from_parts("acme", conversation).unwrap()
}

pub(crate) fn options(folder: &Path) -> JournalOptions {
    JournalOptions { segment_bytes: 16 << 10, checkpoint_bytes: 64 << 10, ..JournalOptions::new(folder) }
}

/// Opens a store on the real disk.
pub(crate) fn open(folder: &Path) -> Result<JournalStore, OpenError> {
    JournalStore::open(&options(folder), Arc::new(SystemClock), Arc::new(SystemEntropy))
}

/// Opens a store on a fake disk; only its index lies in a real folder.
pub(crate) fn open_on(disk: &FakeDisk, index: &TempDir) -> JournalStore {
    open_with(disk, index, &options(index.path()))
}

/// The same with settings of its own.
pub(crate) fn open_with(disk: &FakeDisk, index: &TempDir, options: &JournalOptions) -> JournalStore {
    let at = (UUID, index.path().join("index"));
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    JournalStore::open_on(Arc::new(disk.clone()), at, None, options, clock, entropy).unwrap()
}

/// A batch with one turn; the first also creates the conversation.
pub(crate) fn turn(lease: &Lease, head: &Head, payload: &[u8]) -> Batch {
    let mut batch = Batch::new(lease, head);
    let time = Timestamp::from_micros(head.record_no.get() + 1);
    if head.record_no.get() == 0 {
        batch.push_created(time, [5; 16], &lease.key, b"created").unwrap();
    }
    batch.push(RecordKind::Turn, time, [6; 16], payload).unwrap();
    batch
}

pub(crate) fn send(
    store: &dyn ConversationStore,
    lease: &Lease,
    batch: Batch,
) -> oneshot::Receiver<Result<Head, AppendError>> {
    let (reply, answer) = oneshot::channel();
    store.append(lease, batch, Box::new(move |ending| drop(reply.send(ending))));
    answer
}

pub(crate) async fn append(store: &dyn ConversationStore, lease: &Lease, batch: Batch) -> Result<Head, AppendError> {
    send(store, lease, batch).await.unwrap()
}

/// The writer's step on a fake disk, driven by hand: no thread runs.
pub(crate) struct Rig {
    pub(crate) disk: FakeDisk,
    pub(crate) core: WriterCore,
    pub(crate) out: Outbox,
    pub(crate) compactor: Compactor,
    pub(crate) reader: Reader,
    /// What opening found damaged.
    pub(crate) damages: u64,
    pub(crate) index: TempDir,
}

impl Rig {
    pub(crate) fn new(disk: FakeDisk) -> Self {
        Self::with_index(disk, TempDir::new().unwrap())
    }

    /// Over an index that an earlier rig left.
    pub(crate) fn with_index(disk: FakeDisk, folder: TempDir) -> Self {
        let index = Index::open(folder.path(), 1 << 20).unwrap();
        let (start, damages) = {
            let found = recovery::find(&disk, UUID).unwrap();
            let covered = index.covered().unwrap();
            let replay = recovery::replay(&found, UUID, &index, covered, 1000).unwrap();
            let (clock, entropy) = (&SystemClock, &SystemEntropy);
            let with = Finish {
                disk: &disk,
                uuid: UUID,
                segment_bytes: 16 << 10,
                epoch_min: colloquy_types::Epoch::default(),
                clock,
                entropy,
            };
            let damages = replay.damages();
            (recovery::finish(replay, found, &with).unwrap(), damages)
        };
        let options = WriterOptions { segment_bytes: 16 << 10, checkpoint_bytes: u64::MAX, delta_entries_max: 10_000 };
        let stats = Arc::new(SharedStats::new(start.epoch));
        let index = Arc::new(SharedIndex::of(Arc::new(index)));
        let reader = Reader { uuid: UUID, index: Arc::clone(&index), segments: Arc::clone(&start.segments) };
        let compactor = Compactor {
            disk: Arc::new(disk.clone()),
            uuid: UUID,
            index,
            segments: Arc::clone(&start.segments),
            stats: Arc::clone(&stats),
            clock: Arc::new(SystemClock),
            options: CompactionOptions { bytes_per_second: None, dead_ratio: 0.0, retention: Default::default() },
            newer: Mutex::default(),
        };
        let core = WriterCore::new(Arc::new(disk.clone()), Arc::new(SystemEntropy), options, stats, start);
        Self { disk, core, out: Outbox::default(), compactor, reader, damages, index: folder }
    }

    pub(crate) fn step(&mut self, commands: impl IntoIterator<Item = Command>) {
        let mut commands: VecDeque<Command> = commands.into_iter().collect();
        self.core.step(&mut commands, &mut self.out);
        for (done, ending) in self.out.endings.drain(..) {
            done.call(ending);
        }
    }

    /// Carries out a read: steps and reader jobs until it is answered.
    fn ask<T>(&mut self, conversation: &str, intent: impl FnOnce(Reply<T>) -> Intent) -> Result<T, ReadError> {
        self.ask_key(&key(conversation), intent)
    }

    fn ask_key<T>(&mut self, key: &ConversationKey, intent: impl FnOnce(Reply<T>) -> Intent) -> Result<T, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.answered(Command::Read { key: key.clone(), intent: intent(reply) }, answer)
    }

    /// Opens what need not be a conversation.
    pub(crate) fn begin_key(&mut self, key: &ConversationKey) -> Opened {
        self.ask_key(key, Intent::Open).unwrap()
    }

    pub(crate) fn verify_key(&mut self, key: &ConversationKey) -> Result<Verified, ReadError> {
        self.ask_key(key, Intent::Verify)
    }

    fn answered<T>(
        &mut self,
        command: Command,
        mut answer: oneshot::Receiver<Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        self.step([command]);
        loop {
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => return Err(ReadError::Closed),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let jobs = std::mem::take(&mut self.out.reads);
            assert!(!jobs.is_empty(), "the read is answered or under way");
            let answers: Vec<_> = jobs.into_iter().filter_map(|job| self.reader.run(job)).collect();
            self.step(answers);
        }
    }

    pub(crate) fn open(&mut self, conversation: &str) -> Result<Opened, ReadError> {
        self.ask(conversation, Intent::Open)
    }

    pub(crate) fn begin(&mut self, conversation: &str) -> Opened {
        self.open(conversation).unwrap()
    }

    pub(crate) fn verify(&mut self, conversation: &str) -> Result<Verified, ReadError> {
        self.ask(conversation, Intent::Verify)
    }

    pub(crate) fn turns(&mut self, conversation: &str) -> Result<Vec<StoredRecord>, ReadError> {
        self.ask(conversation, |reply| Intent::Turns { from: TurnSeq::default(), limit: 1000, reply })
    }

    /// Brings the index up to what was appended.
    pub(crate) fn checkpoint(&mut self) {
        let (reply, mut answer) = oneshot::channel();
        self.step([Command::Checkpoint(reply)]);
        while !self.apply() {
            self.step([]);
        }
        for (reply, outcome) in self.out.checkpointed.drain(..) {
            reply.send(outcome).unwrap();
        }
        answer.try_recv().unwrap().unwrap();
    }

    /// Seals the active segment and brings the index up to it.
    pub(crate) fn seal(&mut self) {
        let (reply, mut answer) = oneshot::channel();
        self.step([Command::Seal(reply)]);
        for _ in 0..4 {
            self.keep();
        }
        for (reply, outcome) in self.out.checkpointed.drain(..) {
            reply.send(outcome).unwrap();
        }
        answer.try_recv().unwrap().unwrap();
        self.checkpoint();
    }

    /// Makes a pass of compaction over everything appended so far.
    pub(crate) fn compact(&mut self) -> Compacted {
        self.seal();
        self.pass().unwrap()
    }

    /// Makes a pass over what the index covers.
    pub(crate) fn pass(&self) -> Result<Compacted, CompactError> {
        let (jobs, stop) = (crossbeam_channel::never(), crossbeam_channel::never());
        self.compactor.pass(&Pace { bytes_per_second: None, jobs: &jobs, stop: &stop })
    }

    /// Walks what is left of an erased conversation.
    pub(crate) fn erasure(&mut self, uid: ConversationUid) -> Result<Erasure, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.answered(Command::Erasure { uid, reply }, answer)
    }

    /// The conversations of the tenant.
    pub(crate) fn list(&mut self) -> Vec<Listed> {
        let (reply, answer) = oneshot::channel();
        let (tenant, after) = ("acme".to_owned(), None);
        self.answered(Command::List { tenant, after, limit: 1000, reply }, answer).unwrap()
    }

    /// The whole history.
    pub(crate) fn history(&mut self, conversation: &str) -> Result<HistoryPage, ReadError> {
        self.ask(conversation, |reply| Intent::History { after: Head::default(), limit: 10_000, reply })
    }

    /// Appends one turn to each conversation, all in one group.
    pub(crate) fn group(&mut self, leases: &mut [(Lease, Head)], payload: &[u8]) {
        let mut commands = Vec::new();
        for (lease, head) in leases {
            let batch = turn(lease, head, payload);
            *head = batch.head_after();
            commands.push(self.append(lease, batch));
        }
        self.step(commands);
    }

    /// Does what the keeper of segments would do by now.
    pub(crate) fn keep(&mut self) {
        let jobs = std::mem::take(&mut self.out.keeper);
        let epoch = colloquy_types::Epoch::new(1);
        let answers: Vec<_> = jobs.into_iter().filter_map(|job| keep_one(&self.disk, UUID, epoch, job)).collect();
        self.step(answers);
    }

    /// Applies the checkpoint that the writer has handed out, if it has.
    pub(crate) fn apply(&mut self) -> bool {
        let Some(checkpoint) = self.out.checkpoint.take() else { return false };
        self.reader.index.apply(checkpoint).unwrap();
        self.step([Command::Checkpointed(Ok(()))]);
        true
    }

    /// Ends as a killed process does; what it leaves of its index.
    pub(crate) fn kill(self) -> TempDir {
        let Self { core, compactor, reader, index, .. } = self;
        drop((core, compactor, reader));
        index
    }

    /// An append that tells the disk when it is acknowledged.
    pub(crate) fn append(&self, lease: &Lease, batch: Batch) -> Command {
        let (disk, uid) = (self.disk.clone(), batch.uid());
        let done = Done::new(Box::new(move |ending| {
            if let Ok(head) = ending {
                disk.acknowledged(uid, head.record_no);
            }
        }));
        Command::Append { lease: lease.clone(), batch, done }
    }
}
