//! One life of a store on the fake disk: the journal's own recovery, writer, keeper, index and reader, driven by
//! hand. No thread runs, so a seed decides what happens.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use colloquy_types::{Clock, ConversationKey, Epoch, Head, TurnSeq};
use crossbeam_channel::never;
use tokio::sync::oneshot;

use super::{disk::FaultDisk, random::SeededEntropy};
use crate::{
    done::Done,
    journal::{
        OpenError,
        command::{Command, Intent, KeeperJob, Outbox, Reply},
        compaction::{CompactionOptions, Compactor, Pace},
        driver::keep_one,
        group::StoreUuid,
        index::{Checkpoint, Index, SharedIndex},
        reader::{ReadJob, Reader},
        recovery::{self, Finish},
        stats::SharedStats,
        writer::{WriterCore, WriterOptions},
    },
    port::{AppendError, HistoryPage, Lease, Listed, Opened, ReadError, StoreStats, Verified},
    record::{Batch, StoredRecord},
};

/// The store of every run.
pub(crate) const UUID: StoreUuid = *b"a store to crash";
/// Reads are answered after at most so many rounds between writer and reader.
const ROUNDS_MAX: usize = 64;

/// What all lives of a run share.
pub(crate) struct World {
    pub(crate) disk: FaultDisk,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: WriterOptions,
    /// The endings that someone was told of, by ticket.
    pub(crate) told: Told,
    #[cfg(test)]
    pub(super) mutant: Option<super::mutants::Mutant>,
}

impl World {
    pub(crate) fn new(
        disk: FaultDisk,
        entropy: Arc<SeededEntropy>,
        clock: Arc<dyn Clock>,
        options: WriterOptions,
    ) -> Self {
        Self {
            disk,
            entropy,
            clock,
            options,
            told: Told::default(),
            #[cfg(test)]
            mutant: None,
        }
    }
}

/// Endings of appends that reached whoever waited.
pub(crate) type Told = Arc<Mutex<Vec<(u64, Result<Head, AppendError>)>>>;

/// A running store.
pub(crate) struct Life {
    disk: FaultDisk,
    core: WriterCore,
    out: Outbox,
    reader: Reader,
    compactor: Compactor,
    /// What the keeper of segments has not done yet.
    keeper: VecDeque<KeeperJob>,
    epoch: Epoch,
    told: Told,
}

impl Life {
    /// Recovers what is on the disk and starts a writer on it.
    pub(crate) fn begin(world: &World, index: &Arc<Index>) -> Result<Self, OpenError> {
        let disk: &FaultDisk = &world.disk;
        let found = recovery::find(disk, UUID)?;
        let covered = index.covered()?;
        let replay = recovery::replay(&found, UUID, index, covered, world.options.delta_entries_max)?;
        let with = Finish {
            disk,
            uuid: UUID,
            segment_bytes: world.options.segment_bytes,
            clock: world.clock.as_ref(),
            entropy: world.entropy.as_ref(),
            epoch_min: Epoch::default(),
        };
        #[cfg(test)]
        let start = super::mutants::finish(world.mutant, replay, found, &with)?;
        #[cfg(not(test))]
        let start = recovery::finish(replay, found, &with)?;
        let stats = Arc::new(SharedStats::new(start.epoch));
        let index = Arc::new(SharedIndex::of(Arc::clone(index)));
        let reader = Reader { uuid: UUID, index: Arc::clone(&index), segments: Arc::clone(&start.segments) };
        let compactor = Compactor {
            disk: Arc::new(disk.clone()),
            uuid: UUID,
            index,
            segments: Arc::clone(&start.segments),
            stats: Arc::clone(&stats),
            clock: Arc::clone(&world.clock),
            options: CompactionOptions { bytes_per_second: None, dead_ratio: 0.0, retention: Default::default() },
            newer: Mutex::default(),
        };
        let epoch = start.epoch;
        let entropy = Arc::clone(&world.entropy);
        let core = WriterCore::new(Arc::new(disk.clone()), entropy, world.options, stats, start);
        #[cfg(test)]
        let core = super::mutants::writer(world.mutant, core);
        let (disk, told) = (disk.clone(), Arc::clone(&world.told));
        Ok(Self { disk, core, out: Outbox::default(), reader, compactor, keeper: VecDeque::new(), epoch, told })
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.core.is_poisoned()
    }

    /// Takes `commands` in one step, and hands out what came of them.
    pub(crate) fn step(&mut self, commands: impl IntoIterator<Item = Command>) {
        for (done, ending) in self.advance(commands) {
            done.call(ending);
        }
    }

    /// The same, but for the endings of appends: whoever calls hands them out.
    pub(crate) fn advance(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Vec<(Done, Result<Head, AppendError>)> {
        let mut commands: VecDeque<Command> = commands.into_iter().collect();
        self.core.step(&mut commands, &mut self.out);
        self.keeper.extend(self.out.keeper.drain(..));
        for (reply, outcome) in self.out.checkpointed.drain(..) {
            drop(reply.send(outcome));
        }
        for reply in self.out.closed.drain(..) {
            reply.send(()).ok();
        }
        std::mem::take(&mut self.out.endings)
    }

    /// The command that appends `batch`; its ending is kept under `ticket`, unless the process is dead by then.
    pub(super) fn append(&self, lease: &Lease, batch: Batch, ticket: u64) -> Command {
        let (disk, told) = (self.disk.clone(), Arc::clone(&self.told));
        let done = Done::new(Box::new(move |ending| {
            if !disk.is_dead() {
                told.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, ending));
            }
        }));
        Command::Append { lease: lease.clone(), batch, done }
    }

    /// Does the keeper's next job.
    pub(crate) fn keep_one(&mut self) {
        if let Some(job) = self.keeper.pop_front() {
            let answer = keep_one(&self.disk, UUID, self.epoch, job);
            self.step(answer);
        }
    }

    /// Goes on collecting a checkpoint, and applies it once it is whole; `true` when one was.
    pub(crate) fn apply_checkpoint(&mut self) -> bool {
        if self.core.has_work() {
            self.step([]);
        }
        let Some(checkpoint) = self.out.checkpoint.take() else { return false };
        let outcome = self.reader.index.apply(checkpoint).map_err(|error| error.to_string());
        self.step([Command::Checkpointed(outcome)]);
        true
    }

    /// Takes over a checkpoint as it stands when the process dies in the middle of it: rows, and nothing more.
    pub(crate) fn tear_checkpoint(&mut self) {
        if let Some(Checkpoint { rows, .. }) = self.out.checkpoint.take() {
            // What cannot be put is as if the process had died before.
            self.reader.index.look(|index| index.put_rows(rows)).ok();
        }
    }

    /// Asks for a checkpoint; whoever asked does not wait.
    pub(super) fn ask_checkpoint(&mut self) {
        let (reply, _answer) = oneshot::channel();
        self.step([Command::Checkpoint(reply)]);
    }

    /// Makes a pass of compaction over what the index covers.
    pub(crate) fn compact(&self) -> Result<(), String> {
        let (jobs, stop) = (never(), never());
        let passed = self.compactor.pass(&Pace { bytes_per_second: None, jobs: &jobs, stop: &stop });
        passed.map(drop).map_err(|error| error.to_string())
    }

    /// Closes the store in order; `false` when it does not come to an end, as on a disk that fails.
    pub(super) fn close(&mut self) -> bool {
        let (reply, _closed) = oneshot::channel();
        self.step([Command::Close(reply)]);
        for _ in 0..ROUNDS_MAX {
            if self.core.is_finished() {
                return !self.core.is_poisoned();
            }
            self.keep_one();
            self.apply_checkpoint();
        }
        false
    }

    /// The reads that the last steps asked for.
    pub(crate) fn take_reads(&mut self) -> Vec<ReadJob> {
        std::mem::take(&mut self.out.reads)
    }

    /// Does a read; what is to go back to the writer is returned.
    pub(crate) fn run(&self, job: ReadJob) -> Option<Command> {
        self.reader.run(job)
    }

    /// The writer, to plant bugs in.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn core(&mut self) -> &mut WriterCore {
        &mut self.core
    }

    /// Whether the store was closed and the writer has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.core.is_finished()
    }

    /// Whether the keeper has something to do, or the index.
    pub(crate) fn has_chores(&self) -> bool {
        self.core.has_work() || !self.keeper.is_empty() || self.out.checkpoint.is_some()
    }

    /// The figures, without those of the segments.
    pub(crate) fn stats(&self) -> StoreStats {
        self.compactor.stats.snapshot()
    }

    fn ask<T>(&mut self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ReadError> {
        let (reply, mut answer) = oneshot::channel();
        self.step([command(reply)]);
        for _ in 0..ROUNDS_MAX {
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => return Err(ReadError::Closed),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let jobs = std::mem::take(&mut self.out.reads);
            let answers: Vec<_> = jobs.into_iter().filter_map(|job| self.reader.run(job)).collect();
            self.step(answers);
        }
        Err(ReadError::Io { reason: "the read is never answered".to_owned() })
    }

    fn read<T>(&mut self, key: &ConversationKey, intent: impl FnOnce(Reply<T>) -> Intent) -> Result<T, ReadError> {
        let key = key.clone();
        self.ask(|reply| Command::Read { key, intent: intent(reply) })
    }

    pub(super) fn open(&mut self, key: &ConversationKey) -> Result<Opened, ReadError> {
        self.read(key, Intent::Open)
    }

    pub(super) fn turns(&mut self, key: &ConversationKey, from: TurnSeq) -> Result<Vec<StoredRecord>, ReadError> {
        self.read(key, |reply| Intent::Turns { from, limit: usize::MAX, reply })
    }

    pub(super) fn history(
        &mut self,
        key: &ConversationKey,
        after: Head,
        limit: usize,
    ) -> Result<HistoryPage, ReadError> {
        self.read(key, |reply| Intent::History { after, limit, reply })
    }

    pub(super) fn verify(&mut self, key: &ConversationKey) -> Result<Verified, ReadError> {
        self.read(key, Intent::Verify)
    }

    pub(super) fn list(&mut self, tenant: &str) -> Result<Vec<Listed>, ReadError> {
        let tenant = tenant.to_owned();
        self.ask(|reply| Command::List { tenant, after: None, limit: usize::MAX, reply })
    }
}
