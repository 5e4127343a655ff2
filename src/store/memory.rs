//! The engine for tests and simulation: the journal's bytes and fences, in memory, with faults on demand.
//!
//! [`MemoryStore::hold`] makes calls wait in order, as they wait behind a slow sync, until
//! [`MemoryStore::let_go`]. A [`FaultPlan`] ends coming appends as told. [`MemoryStore::reopen`] is a
//! process that dies and a new one that opens what was written: what was held is lost.

mod shelf;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use colloquy_types::{ConversationKey, ConversationUid, Entropy, Head, TurnSeq};
use tokio::sync::oneshot;

use self::shelf::Shelf;
use crate::{
    leases::Leases,
    port::{
        AppendError, BoxFuture, Compacted, Completion, ConversationStore, Erasure, HistoryPage, Lease, Listed,
        NotApplied, Opened, ReadError, StoreStats, Verified,
    },
    record::{Batch, StoredRecord},
};

/// How an append is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written; the disk is full.
    Full,
    /// It is written, but its caller is told that nobody knows.
    UnknownWritten,
    /// It is not written, and its caller is told that nobody knows.
    UnknownLost,
}

/// How coming appends end, in order; those after the plan's end succeed.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan(VecDeque<Option<Fault>>);

impl FaultPlan {
    /// A plan without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next `appends` succeed.
    #[must_use]
    pub fn succeed(mut self, appends: usize) -> Self {
        self.0.extend(std::iter::repeat_n(None, appends));
        self
    }

    /// Then ends one append with `fault`.
    #[must_use]
    pub fn then(mut self, fault: Fault) -> Self {
        self.0.push_back(Some(fault));
        self
    }
}

enum Waiting {
    Open(ConversationKey, oneshot::Sender<Result<Opened, ReadError>>),
    Append(Box<(Lease, Batch, Completion)>),
    Turns(ConversationKey, TurnSeq, usize, oneshot::Sender<Result<Vec<StoredRecord>, ReadError>>),
    /// In order too: an actor that died with an append queued must not have it fenced by its own release.
    Release(Lease),
}

#[derive(Default)]
struct Process {
    leases: Leases,
    held: Option<VecDeque<Waiting>>,
    faults: FaultPlan,
    closed: bool,
    stats: StoreStats,
}

/// Conversations in memory.
pub struct MemoryStore {
    shelf: Arc<Mutex<Shelf>>,
    process: Mutex<Process>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    /// An empty store.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self::on(Arc::default(), entropy)
    }

    fn on(shelf: Arc<Mutex<Shelf>>, entropy: Arc<dyn Entropy>) -> Self {
        let epoch = locked(&shelf).raise_epoch();
        let process = Process { leases: Leases::new(epoch), ..Process::default() };
        Self { shelf, process: Mutex::new(process), entropy }
    }

    /// A new process over what this one wrote. This one is fenced, and what it held is lost.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let lost = {
            let mut process = locked(&self.process);
            process.closed = true;
            process.held.take()
        };
        for waiting in lost.into_iter().flatten() {
            if let Waiting::Append(append) = waiting {
                let (_, _, done) = *append;
                done(Err(AppendError::Unknown));
            }
        }
        Self::on(Arc::clone(&self.shelf), Arc::clone(&self.entropy))
    }

    /// Makes every open, append, release and read of turns wait, in order, until [`MemoryStore::let_go`].
    pub fn hold(&self) {
        locked(&self.process).held.get_or_insert_default();
    }

    /// How many calls wait.
    pub fn held(&self) -> usize {
        locked(&self.process).held.as_ref().map_or(0, VecDeque::len)
    }

    /// Ends what waits, in order, and makes no more calls wait.
    pub fn let_go(&self) {
        let waiting = locked(&self.process).held.take();
        waiting.into_iter().flatten().for_each(|waiting| self.run(waiting));
    }

    /// Ends the oldest call that waits; `false` when none does.
    pub fn let_one_go(&self) -> bool {
        let waiting = locked(&self.process).held.as_mut().and_then(VecDeque::pop_front);
        waiting.map(|waiting| self.run(waiting)).is_some()
    }

    /// Ends coming appends as `plan` says, in place of any earlier plan. Appends that a fence refuses
    /// do not count.
    pub fn set_faults(&self, plan: FaultPlan) {
        locked(&self.process).faults = plan;
    }

    /// Makes one more append end with `fault`: the next one, or the one after the plan so far.
    pub fn fail_next(&self, fault: Fault) {
        locked(&self.process).faults.0.push_back(Some(fault));
    }

    fn take(&self, waiting: Waiting) {
        {
            let mut process = locked(&self.process);
            if let Some(held) = process.held.as_mut() {
                held.push_back(waiting);
                return;
            }
        }
        self.run(waiting);
    }

    fn run(&self, waiting: Waiting) {
        match waiting {
            Waiting::Open(key, reply) => drop(reply.send(self.open_now(&key))),
            Waiting::Append(append) => {
                let (lease, batch, done) = *append;
                let ending = self.append_now(&lease, &batch);
                done(ending);
            }
            Waiting::Turns(key, from, limit, reply) => {
                drop(reply.send(self.read(|shelf| shelf.turns(&key, from, limit))));
            }
            Waiting::Release(lease) => locked(&self.process).leases.release(&lease),
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Shelf) -> Result<T, ReadError>) -> Result<T, ReadError> {
        if locked(&self.process).closed {
            return Err(ReadError::Closed);
        }
        read(&locked(&self.shelf))
    }

    fn open_now(&self, key: &ConversationKey) -> Result<Opened, ReadError> {
        let (shelf, mut process) = (locked(&self.shelf), locked(&self.process));
        if process.closed {
            return Err(ReadError::Closed);
        }
        let (uid, head) = match shelf.find(key) {
            Some(found) => found,
            None => (process.leases.unborn(key, self.entropy.as_ref()), Head::default()),
        };
        let lease = process.leases.open(key, uid, head);
        shelf.opened(lease)
    }

    fn append_now(&self, lease: &Lease, batch: &Batch) -> Result<Head, AppendError> {
        let (mut shelf, mut process) = (locked(&self.shelf), locked(&self.process));
        let refused = |why| Err(AppendError::NotApplied(why));
        if process.closed {
            return refused(NotApplied::Closed);
        }
        if let Err(why) = process.leases.check(lease, batch) {
            return refused(why);
        }
        let fault = process.faults.0.pop_front().flatten();
        match fault {
            Some(Fault::Full) => return refused(NotApplied::Full),
            Some(Fault::UnknownLost) => return Err(AppendError::Unknown),
            Some(Fault::UnknownWritten) | None => {}
        }
        process.leases.advance(lease, batch);
        process.stats.records += u64::from(batch.records());
        process.stats.bytes += batch.bytes().len() as u64;
        process.stats.syncs += 1;
        shelf.append(&lease.key, batch);
        if fault.is_some() { Err(AppendError::Unknown) } else { Ok(batch.head_after()) }
    }
}

impl ConversationStore for MemoryStore {
    fn engine(&self) -> &'static str {
        "memory"
    }

    fn open<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Opened, ReadError>> {
        let (reply, answer) = oneshot::channel();
        self.take(Waiting::Open(key.clone(), reply));
        Box::pin(async { answer.await.map_err(|_| ReadError::Closed)? })
    }

    fn append(&self, lease: &Lease, batch: Batch, done: Completion) {
        self.take(Waiting::Append(Box::new((lease.clone(), batch, done))));
    }

    fn release(&self, lease: &Lease) {
        self.take(Waiting::Release(lease.clone()));
    }

    fn turns<'a>(
        &'a self,
        key: &'a ConversationKey,
        from: TurnSeq,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, ReadError>> {
        let (reply, answer) = oneshot::channel();
        self.take(Waiting::Turns(key.clone(), from, limit, reply));
        Box::pin(async { answer.await.map_err(|_| ReadError::Closed)? })
    }

    fn history<'a>(
        &'a self,
        key: &'a ConversationKey,
        after: Head,
        limit: usize,
    ) -> BoxFuture<'a, Result<HistoryPage, ReadError>> {
        let page = self.read(|shelf| shelf.history(key, after, limit));
        Box::pin(async { page })
    }

    fn list<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, ReadError>> {
        let listed = self.read(|shelf| Ok(shelf.list(tenant, after, limit)));
        Box::pin(async { listed })
    }

    fn verify<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Verified, ReadError>> {
        let verified = self.read(|shelf| shelf.verify(key));
        Box::pin(async { verified })
    }

    fn compact(&self) -> BoxFuture<'_, Result<Compacted, ReadError>> {
        let closed = locked(&self.process).closed;
        let compacted = if closed { Err(ReadError::Closed) } else { locked(&self.shelf).compact() };
        Box::pin(async { compacted })
    }

    fn erasure(&self, uid: ConversationUid) -> BoxFuture<'_, Result<Erasure, ReadError>> {
        let erasure = self.read(|shelf| shelf.erasure(uid));
        Box::pin(async { erasure })
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        let checked = self.read(|_| Ok(()));
        Box::pin(async { checked })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.let_go();
        locked(&self.process).closed = true;
        Box::pin(async {})
    }

    fn stats(&self) -> StoreStats {
        let erasures_pending = locked(&self.shelf).erasures_pending();
        let process = locked(&self.process);
        StoreStats {
            epoch: process.leases.epoch(),
            leases: process.leases.len() as u64,
            writable: !process.closed,
            erasures_pending,
            ..process.stats
        }
    }
}
