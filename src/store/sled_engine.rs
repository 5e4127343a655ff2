//! The engine `sled`: everything in one sled tree, for comparison with the journal.
//!
//! One writer thread commits groups: one atomic batch, one flush, and one sync of sled's files, which
//! sled leaves out. Values are cut into chunks, because larger ones go to blob files that are never
//! synced. Reads run on the writer's thread between groups. Nothing here is tuned; the journal is the
//! engine to use.
//!
//! Keys: `r` + key: the row; `l` + uid + batch number + chunk number: records; `x` + uid: the row of an erased
//! conversation; `epoch`.

mod core;
mod erased;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use colloquy_types::{ConversationKey, ConversationUid, Entropy, Head, TurnSeq};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use self::core::Core;
use crate::{
    done::Done,
    port::{
        AppendError, BoxFuture, Compacted, Completion, ConversationStore, Erasure, HistoryPage, Lease, Listed,
        NotApplied, Opened, ReadError, StoreStats, Verified,
    },
    record::{Batch, StoredRecord},
};

const QUEUE_LEN: usize = 8192;
const GROUP_BATCHES_MAX: usize = 1024;

/// Why the engine cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("sled cannot be opened")]
pub struct OpenError(#[source] Box<dyn std::error::Error + Send + Sync>);

type Append = Box<(Lease, Batch, Done)>;

enum Command {
    Append(Append),
    Run(Box<dyn FnOnce(&mut Core) + Send>),
    End,
}

/// Conversations in sled.
pub struct SledStore {
    commands: Sender<Command>,
    closed: AtomicBool,
    stats: Arc<Mutex<StoreStats>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens or makes a store in `folder`, with `cache_bytes` of memory for pages.
    ///
    /// # Errors
    /// [`OpenError`] with what sled or the file system says.
    pub fn open(folder: &Path, cache_bytes: u64, entropy: Arc<dyn Entropy>) -> Result<Self, OpenError> {
        let core = Core::open(folder, cache_bytes, entropy).map_err(|error| OpenError(Box::new(error)))?;
        let stats = Arc::new(Mutex::new(core.stats()));
        let (commands, queue) = bounded(QUEUE_LEN);
        let shared = Arc::clone(&stats);
        let writer = std::thread::Builder::new()
            .name("sled-writer".to_owned())
            .spawn(move || write(core, &queue, &shared))
            .map_err(|error| OpenError(Box::new(error)))?;
        Ok(Self { commands, closed: AtomicBool::new(false), stats, writer: Mutex::new(Some(writer)) })
    }

    fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Core) -> Result<T, ReadError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, ReadError>> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Run(Box::new(move |core| drop(reply.send(read(core)))));
        let closed = self.closed.load(Ordering::Acquire);
        let sent = if closed { Err(ReadError::Closed) } else { self.commands.try_send(command).map_err(refusal) };
        Box::pin(async move {
            sent?;
            answer.await.map_err(|_| ReadError::Closed)?
        })
    }

    fn end(commands: &Sender<Command>, writer: Option<JoinHandle<()>>) {
        if let Some(writer) = writer {
            drop(commands.send(Command::End));
            if writer.join().is_err() {
                tracing::error!("the sled engine's writer panicked");
            }
        }
    }

    fn take_writer(&self) -> Option<JoinHandle<()>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn refusal(error: TrySendError<Command>) -> ReadError {
    match error {
        TrySendError::Full(_) => ReadError::Busy,
        TrySendError::Disconnected(_) => ReadError::Closed,
    }
}

/// Commits what waits, group by group; everything else runs between two groups.
fn write(mut core: Core, queue: &Receiver<Command>, stats: &Mutex<StoreStats>) {
    let mut group: Vec<Append> = Vec::new();
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        let mut ended = false;
        while let Some(command) = next.take() {
            match command {
                Command::Append(append) => group.push(append),
                Command::Run(run) => {
                    core.commit(&mut group, stats);
                    *stats.lock().unwrap_or_else(PoisonError::into_inner) = core.stats();
                    run(&mut core);
                }
                Command::End => {
                    ended = true;
                    break;
                }
            }
            if group.len() < GROUP_BATCHES_MAX {
                next = queue.try_recv().ok();
            }
        }
        core.commit(&mut group, stats);
        *stats.lock().unwrap_or_else(PoisonError::into_inner) = core.stats();
        if ended {
            return;
        }
    }
}

impl ConversationStore for SledStore {
    fn engine(&self) -> &'static str {
        "sled"
    }

    fn open<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Opened, ReadError>> {
        let key = key.clone();
        self.run(move |core| core.open_conversation(&key))
    }

    fn append(&self, lease: &Lease, batch: Batch, done: Completion) {
        if self.closed.load(Ordering::Acquire) {
            return done(Err(AppendError::NotApplied(NotApplied::Closed)));
        }
        let command = Command::Append(Box::new((lease.clone(), batch, Done::new(done))));
        let (command, why) = match self.commands.try_send(command) {
            Ok(()) => return,
            Err(TrySendError::Full(command)) => (command, NotApplied::Busy),
            Err(TrySendError::Disconnected(command)) => (command, NotApplied::Closed),
        };
        if let Command::Append(append) = command {
            append.2.call(Err(AppendError::NotApplied(why)));
        }
    }

    fn release(&self, lease: &Lease) {
        let lease = lease.clone();
        drop(self.commands.try_send(Command::Run(Box::new(move |core| core.release(&lease)))));
    }

    fn turns<'a>(
        &'a self,
        key: &'a ConversationKey,
        from: TurnSeq,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, ReadError>> {
        let key = key.clone();
        self.run(move |core| core.turns(&key, from, limit))
    }

    fn history<'a>(
        &'a self,
        key: &'a ConversationKey,
        after: Head,
        limit: usize,
    ) -> BoxFuture<'a, Result<HistoryPage, ReadError>> {
        let key = key.clone();
        self.run(move |core| core.history(&key, after, limit))
    }

    fn list<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, ReadError>> {
        let (tenant, after) = (tenant.to_owned(), after.map(str::to_owned));
        self.run(move |core| core.list(&tenant, after.as_deref(), limit))
    }

    fn verify<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Verified, ReadError>> {
        let key = key.clone();
        self.run(move |core| core.verify(&key))
    }

    fn compact(&self) -> BoxFuture<'_, Result<Compacted, ReadError>> {
        self.run(Core::compact)
    }

    fn erasure(&self, uid: ConversationUid) -> BoxFuture<'_, Result<Erasure, ReadError>> {
        self.run(move |core| core.erasure(uid))
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.run(|_| Ok(()))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::Release);
        let (commands, writer) = (self.commands.clone(), self.take_writer());
        let (ended, answer) = oneshot::channel();
        let waits = std::thread::Builder::new().name("sled-close".to_owned()).spawn(move || {
            Self::end(&commands, writer);
            ended.send(()).ok();
        });
        Box::pin(async move {
            if waits.is_ok() {
                drop(answer.await);
            }
        })
    }

    fn stats(&self) -> StoreStats {
        let stats = *self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        StoreStats { writable: stats.writable && !self.closed.load(Ordering::Acquire), ..stats }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        Self::end(&self.commands, self.take_writer());
    }
}
