//! What the journal's tests build stores with.

use std::{collections::VecDeque, path::Path, sync::Arc};

use colloquy_types::{ConversationKey, Head, SystemClock, SystemEntropy, Timestamp};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::fake_disk::FakeDisk;
use crate::{
    done::Done,
    journal::{
        JournalOptions, JournalStore, OpenError,
        command::{Command, Intent, Outbox},
        index::Index,
        recovery::{self, Finish},
        stats::SharedStats,
        writer::{WriterCore, WriterOptions},
    },
    port::{AppendError, ConversationStore, Lease, Opened},
    record::{Batch, RecordKind},
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
    let options = options(index.path());
    let at = (UUID, index.path().join("index"));
    JournalStore::open_on(Arc::new(disk.clone()), at, None, &options, &SystemClock, Arc::new(SystemEntropy)).unwrap()
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
    _index: TempDir,
}

impl Rig {
    pub(crate) fn new(disk: FakeDisk) -> Self {
        let folder = TempDir::new().unwrap();
        let index = Index::open(folder.path(), 1 << 20).unwrap();
        let start = {
            let found = recovery::find(&disk, UUID).unwrap();
            let replay = recovery::replay(&found, UUID, &index, None, 1000).unwrap();
            let (clock, entropy) = (&SystemClock, &SystemEntropy);
            let with = Finish { disk: &disk, uuid: UUID, segment_bytes: 16 << 10, clock, entropy };
            recovery::finish(replay, found, &with).unwrap()
        };
        let options = WriterOptions { segment_bytes: 16 << 10, checkpoint_bytes: u64::MAX, delta_entries_max: 1000 };
        let stats = Arc::new(SharedStats::new(start.epoch));
        let core = WriterCore::new(Arc::new(disk.clone()), Arc::new(SystemEntropy), options, stats, start);
        Self { disk, core, out: Outbox::default(), _index: folder }
    }

    pub(crate) fn step(&mut self, commands: impl IntoIterator<Item = Command>) {
        let mut commands: VecDeque<Command> = commands.into_iter().collect();
        self.core.step(&mut commands, &mut self.out);
        for (done, ending) in self.out.endings.drain(..) {
            done.call(ending);
        }
    }

    /// Opens a conversation that does not exist.
    pub(crate) fn begin(&mut self, conversation: &str) -> Opened {
        let (reply, mut answer) = oneshot::channel();
        self.step([Command::Read { key: key(conversation), intent: Intent::Open(reply) }]);
        answer.try_recv().unwrap().unwrap()
    }

    /// An append that tells the disk when it is acknowledged.
    pub(crate) fn append(&self, lease: &Lease, batch: Batch) -> Command {
        let (disk, uid) = (self.disk.clone(), batch.uid());
        let done = Done::new(Box::new(move |ending| {
            if let Ok(head) = ending {
                disk.acknowledged(uid, Head::default().record_no.max(head.record_no));
            }
        }));
        Command::Append { lease: lease.clone(), batch, done }
    }
}
