//! A store that tests can hold, and in which an actor can be made to panic.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use colloquy_store::{
    Batch, BoxFuture, Compacted, Completion, ConversationStore, Erasure, HistoryPage, Lease, Listed, MemoryStore,
    Opened, ReadError, StoreStats, StoredRecord, Verified,
};
use colloquy_telemetry::STALL_CPU;
use colloquy_types::{ConversationKey, ConversationUid, Head, SystemEntropy, TurnSeq};
use rustix::time::{ClockId, clock_gettime};

use super::wait_for;

/// The memory engine, in which one conversation can be made to panic inside its actor's turn.
pub(super) struct Gate {
    pub(super) inner: MemoryStore,
    pub(super) panics: Mutex<Option<ConversationKey>>,
    /// The bytes of the last batch that erased a conversation.
    pub(super) erasing: Mutex<Vec<u8>>,
    /// The conversation whose history makes whoever reads it panic.
    pub(super) poisoned: Mutex<Option<ConversationKey>>,
    /// Whether opens never end.
    pub(super) stalled: AtomicBool,
    /// The conversation whose opens never end.
    pub(super) unanswered: Mutex<Option<ConversationKey>>,
    /// Whether the next append keeps its thread before anything else.
    pub(super) computes: AtomicBool,
    /// What the next read of turns finds instead, as one that an erasure overtook.
    pub(super) overtaken: Mutex<Option<Vec<StoredRecord>>>,
    opens: Counts,
}

/// How many opens began, run, and ran at once.
#[derive(Default)]
struct Counts {
    began: AtomicUsize,
    running: AtomicUsize,
    at_once: AtomicUsize,
}

/// An open that runs.
struct Running<'a>(&'a Counts);

impl Counts {
    fn enter(&self) -> Running<'_> {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.at_once.fetch_max(running, Ordering::Relaxed);
        Running(self)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(Arc::new(SystemEntropy)),
            panics: Mutex::default(),
            erasing: Mutex::default(),
            poisoned: Mutex::default(),
            stalled: AtomicBool::new(false),
            unanswered: Mutex::default(),
            computes: AtomicBool::new(false),
            overtaken: Mutex::default(),
            opens: Counts::default(),
        })
    }

    /// How many opens began.
    pub(super) fn opens(&self) -> usize {
        self.opens.began.load(Ordering::Relaxed)
    }

    /// How many opens ran at once at most.
    pub(super) fn opened_at_once(&self) -> usize {
        self.opens.at_once.load(Ordering::Relaxed)
    }

    /// Waits until `number` calls wait behind the hold.
    pub(super) async fn until_waiting(&self, number: usize) {
        wait_for(|| self.inner.held() >= number).await;
    }
}

/// Computes until the thread has taken `time` of its core.
fn keep_thread(time: Duration) {
    let taken = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let begun = taken();
    while taken() < begun + time {
        std::hint::spin_loop();
    }
}

impl ConversationStore for Gate {
    fn engine(&self) -> &'static str {
        "gate"
    }

    fn open<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Opened, ReadError>> {
        self.opens.began.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let _open = self.opens.enter();
            let unanswered = self.unanswered.lock().unwrap().as_ref() == Some(key);
            if unanswered || self.stalled.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let opened = self.inner.open(key).await;
            let poisoned = self.poisoned.lock().unwrap().as_ref() == Some(key);
            assert!(!poisoned, "a panic in its history, as the test asked for");
            opened
        })
    }

    fn append(&self, lease: &Lease, batch: Batch, done: Completion) {
        let poisoned = self.panics.lock().unwrap().take_if(|key| *key == lease.key);
        assert!(poisoned.is_none(), "a panic inside a turn, as the test asked for");
        if self.computes.swap(false, Ordering::Relaxed) {
            keep_thread(STALL_CPU);
        }
        if batch.erases() {
            *self.erasing.lock().unwrap() = batch.bytes().to_vec();
        }
        self.inner.append(lease, batch, done);
    }

    fn release(&self, lease: &Lease) {
        self.inner.release(lease);
    }

    fn turns<'a>(
        &'a self,
        key: &'a ConversationKey,
        from: TurnSeq,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, ReadError>> {
        match self.overtaken.lock().unwrap().take() {
            Some(found) => Box::pin(async { Ok(found) }),
            None => self.inner.turns(key, from, limit),
        }
    }

    fn history<'a>(
        &'a self,
        key: &'a ConversationKey,
        after: Head,
        limit: usize,
    ) -> BoxFuture<'a, Result<HistoryPage, ReadError>> {
        self.inner.history(key, after, limit)
    }

    fn list<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, ReadError>> {
        self.inner.list(tenant, after, limit)
    }

    fn verify<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Verified, ReadError>> {
        self.inner.verify(key)
    }

    fn compact(&self) -> BoxFuture<'_, Result<Compacted, ReadError>> {
        self.inner.compact()
    }

    fn erasure(&self, uid: ConversationUid) -> BoxFuture<'_, Result<Erasure, ReadError>> {
        self.inner.erasure(uid)
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.inner.checkpoint()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }
}
