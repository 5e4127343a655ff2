//! The journal in virtual time: its own recovery, writer, keeper, index and readers on a disk that forgets what it
//! may, driven by a task instead of threads, so that a runtime on paused time can stand on it.
//!
//! [`SimulatedDisk`] is what outlives a process; [`SimulatedDisk::start`] recovers what is on it and gives a
//! [`SimulatedStore`], an engine like any other. Appends wait, are written and synced by one step of the real writer,
//! and are answered a while later; each of these takes time of tokio's clock, which a seed decides. What a step has
//! synced is told to whoever asks ([`SimulatedStore::take_synced`]), so that a check can hold everything that leaves
//! the process against it.
//!
//! What is not played: threads that run at the same time. The index is kept, cut short in a checkpoint, or lost.

mod driver;
mod engine;
mod faults;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use colloquy_types::{Activation, Clock, ConversationKey, ConversationUid, Head};

pub use self::engine::SimulatedStore;
use self::faults::Faults;
#[cfg(any(test, feature = "simulation"))]
pub use self::faults::Planted;
pub use crate::faults::{
    disk::Crash,
    random::{Random, SeededEntropy},
};
use crate::{
    faults::{
        disk::FaultDisk,
        life::{Life, World},
    },
    journal::{
        OpenError,
        command::Command,
        index::Index,
        writer::{SEGMENT_BYTES_MIN, WriterOptions},
    },
    port::Lease,
    record::StoredRecord,
};

const INDEX_CACHE_BYTES: u64 = 1 << 20;

/// A batch that a step has written and synced.
#[derive(Clone, Debug)]
pub struct Synced {
    /// Who appended it.
    pub lease: Lease,
    /// The head it led to.
    pub head: Head,
    /// Its records.
    pub records: Vec<StoredRecord>,
    /// The owner that the conversation had by then, when it was another.
    pub fenced_by: Option<Activation>,
}

/// An append that reached the store, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// The conversation.
    pub key: ConversationKey,
    /// Its random name.
    pub uid: ConversationUid,
    /// The head that it would have led to.
    pub head: Head,
    /// Whether it would have ended the conversation.
    pub erases: bool,
}

/// A disk with the index beside it, which outlive the processes that use them.
pub struct SimulatedDisk {
    disk: FaultDisk,
    options: WriterOptions,
    entropy: Arc<SeededEntropy>,
    random: Mutex<Random>,
    scratch: PathBuf,
    index: Mutex<Arc<Index>>,
    indexes: AtomicU64,
    faults: Arc<Faults>,
    /// Appends that are still on their way although their process has ended.
    late: Mutex<Vec<Command>>,
}

impl std::fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedDisk").field("operations", &self.disk.operations()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimulatedDisk {
    /// An empty disk of `seed`. The index lies in a folder inside `scratch`, best on a file system in memory, which is
    /// removed with it.
    ///
    /// # Errors
    /// [`OpenError`] when the index cannot be made.
    pub fn new(seed: u64, scratch: &Path) -> Result<Self, OpenError> {
        let mut random = Random::new(seed, "store");
        let options = WriterOptions {
            segment_bytes: SEGMENT_BYTES_MIN + random.below(40 << 10) as u64,
            checkpoint_bytes: *random.pick(&[16 << 10, 64 << 10, u64::MAX]).unwrap_or(&u64::MAX),
            delta_entries_max: 1000,
        };
        let scratch = scratch.join(format!("simulated-{}-{seed}", std::process::id()));
        let index = Index::open(&scratch.join("0"), INDEX_CACHE_BYTES)?;
        Ok(Self {
            disk: FaultDisk::new(seed),
            options,
            entropy: Arc::new(SeededEntropy::new(seed)),
            random: Mutex::new(random),
            scratch,
            index: Mutex::new(Arc::new(index)),
            indexes: AtomicU64::new(0),
            faults: Arc::default(),
            late: Mutex::default(),
        })
    }

    /// Recovers what is on the disk and starts a store on it. Call it inside a tokio runtime: the store is driven by a
    /// task of it, and dies with it.
    ///
    /// # Errors
    /// [`OpenError`] when it does not open, as when the disk dies meanwhile.
    pub fn start(&self, clock: Arc<dyn Clock>) -> Result<Arc<SimulatedStore>, OpenError> {
        let world = World::new(self.disk.clone(), Arc::clone(&self.entropy), clock, self.options);
        let index = Arc::clone(&lock(&self.index));
        #[cfg_attr(not(any(test, feature = "simulation")), expect(unused_mut, reason = "only bugs are planted in it"))]
        let mut life = Life::begin(&world, &index)?;
        #[cfg(any(test, feature = "simulation"))]
        self.faults.plant(life.core());
        let random = Random::new(self.disk.trace(), "pace");
        let store = SimulatedStore::new(life, self.disk.clone(), random, Arc::clone(&self.faults));
        let late = std::mem::take(&mut *lock(&self.late));
        tokio::spawn(driver::drive(Arc::clone(&store)));
        for command in late {
            store.send_late(command);
        }
        Ok(store)
    }

    /// Ends what runs on it, and leaves what the next process finds. What waits for `store` waits for ever.
    ///
    /// # Errors
    /// [`OpenError`] when the index was lost and cannot be made anew.
    pub fn crash(&self, store: &SimulatedStore, crash: Crash) -> Result<(), OpenError> {
        store.end();
        let mut random = lock(&self.random);
        if random.chance(50) {
            store.tear_checkpoint();
        }
        *lock(&self.late) = store.take_late();
        self.disk.crash(crash);
        if random.chance(8) {
            let number = self.indexes.fetch_add(1, Ordering::Relaxed) + 1;
            let index = Index::open(&self.scratch.join(number.to_string()), INDEX_CACHE_BYTES)?;
            *lock(&self.index) = Arc::new(index);
        }
        Ok(())
    }

    /// Ends a process that died before its store was open.
    pub fn crash_unopened(&self, crash: Crash) {
        self.disk.crash(crash);
    }

    /// Plants a bug in every store that is started from now on.
    #[cfg(any(test, feature = "simulation"))]
    pub fn plant(&self, planted: Planted) {
        self.faults.set_planted(planted);
    }

    /// Whether room can be reserved.
    pub fn set_full(&self, full: bool) {
        self.disk.set_full(full);
    }

    /// Fails the `after`th operation that changes something, once: the store then takes no more.
    pub fn fail_after(&self, after: u64) {
        self.disk.fail_after(after);
    }

    /// Does nothing more from the `after`th operation on that changes something: it may be done, done in part, or not.
    pub fn die_after(&self, after: u64) {
        self.disk.die_after(after);
    }

    /// Whether nothing is done any more until [`SimulatedDisk::crash`].
    pub fn is_dead(&self) -> bool {
        self.disk.is_dead()
    }

    /// Distinguishes runs: every operation and what it wrote.
    pub fn trace(&self) -> u64 {
        self.disk.trace()
    }
}

impl Drop for SimulatedDisk {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.scratch).ok();
    }
}
