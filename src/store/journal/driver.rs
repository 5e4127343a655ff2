//! The threads around the writer's step: the writer itself, the keeper of segments, the index, compaction, readers.
//!
//! The writer never waits for another thread: what a full queue does not take is kept or refused. The
//! others may wait for the writer.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use colloquy_types::Epoch;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use tokio::sync::watch;

use super::{
    command::{Command, KeeperJob, Outbox},
    compaction::{Compactor, Job},
    disk::Disk,
    group::StoreUuid,
    index::{Checkpoint, SharedIndex},
    reader::{ReadJob, Reader},
    segment::{Segment, file_name},
    stats::SharedStats,
    writer::WriterCore,
};
use crate::port::ReadError;

/// A group takes no more commands once it has this many bytes, or this many commands.
const GROUP_BYTES_FULL: usize = 1 << 20;
const GROUP_COMMANDS_MAX: usize = 4096;
/// By how much the threads that nobody waits for are nicer: a third of the weight, see `sched_prio_to_weight` of Linux.
#[cfg(target_os = "linux")]
const BACKGROUND_NICENESS: i32 = 5;
/// How often it is tried to open an index anew that is not open.
const MEND_EVERY: Duration = Duration::from_secs(5);
const READERS: usize = 2;
const READ_QUEUE_LEN: usize = 1024;
const KEEPER_QUEUE_LEN: usize = 64;

/// The writer's ends of the channels.
struct Writer {
    core: WriterCore,
    commands: Receiver<Command>,
    keeper: Sender<KeeperJob>,
    keeper_backlog: VecDeque<KeeperJob>,
    checkpoints: Sender<Checkpoint>,
    readers: Sender<ReadJob>,
    failed: watch::Sender<bool>,
    stats: Arc<SharedStats>,
}

/// What the threads need.
pub(crate) struct Parts {
    pub(crate) core: WriterCore,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) uuid: StoreUuid,
    pub(crate) epoch: Epoch,
    pub(crate) reader: Reader,
    pub(crate) index: Arc<SharedIndex>,
    pub(crate) failed: watch::Sender<bool>,
    pub(crate) stats: Arc<SharedStats>,
    pub(crate) compactor: Compactor,
    /// Passes of compaction that somebody waits for.
    pub(crate) jobs: Receiver<Job>,
    /// Disconnected when compaction is to stop.
    pub(crate) stop: Receiver<Infallible>,
}

/// Starts all threads; they end when the writer does.
pub(crate) fn start(
    parts: Parts,
    commands: (Sender<Command>, Receiver<Command>),
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let (to_writer, commands) = commands;
    let (keeper, keeper_jobs) = bounded(KEEPER_QUEUE_LEN);
    let (checkpoints, checkpoint_jobs) = bounded::<Checkpoint>(1);
    let (readers, read_jobs) = bounded(READ_QUEUE_LEN);
    let mut threads = Vec::new();
    let mut spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        threads.push(thread::Builder::new().name(format!("journal-{name}")).spawn(run)?);
        Ok::<_, std::io::Error>(())
    };

    let Parts { core, disk, uuid, epoch, reader, index, failed, stats, compactor, jobs, stop } = parts;
    let answers = to_writer.clone();
    spawn("keeper", Box::new(move || keep(disk.as_ref(), uuid, epoch, &keeper_jobs, &answers)))?;
    let (answers, index_stats, index_lost) = (to_writer.clone(), Arc::clone(&stats), failed.clone());
    spawn(
        "index",
        Box::new(move || {
            give_way();
            checkpoints_until_end(&index, &checkpoint_jobs, (&index_stats, &index_lost), &answers);
        }),
    )?;
    let answers = to_writer.clone();
    spawn(
        "compactor",
        Box::new(move || {
            give_way();
            compactor.run(&jobs, &stop, &answers);
        }),
    )?;
    let reader = Arc::new(reader);
    for _ in 0..READERS {
        let (jobs, answers, reader) = (read_jobs.clone(), to_writer.clone(), Arc::clone(&reader));
        spawn(
            "reader",
            Box::new(move || {
                for job in jobs {
                    if let Some(answer) = reader.run(job) {
                        drop(answers.send(answer));
                    }
                }
            }),
        )?;
    }
    let backlog = VecDeque::new();
    let writer = Writer { core, commands, keeper, keeper_backlog: backlog, checkpoints, readers, failed, stats };
    spawn("writer", Box::new(move || writer.run()))?;
    Ok(threads)
}

/// Applies checkpoints until the writer ends.
fn checkpoints_until_end(
    index: &SharedIndex,
    checkpoints: &Receiver<Checkpoint>,
    (stats, lost): (&SharedStats, &watch::Sender<bool>),
    answers: &Sender<Command>,
) {
    loop {
        let next = if index.is_open() || index.is_lost() {
            checkpoints.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            checkpoints.recv_timeout(MEND_EVERY)
        };
        let outcome = match next {
            Ok(checkpoint) => Some(index.apply(checkpoint)),
            // Look-ups wait for the index.
            Err(RecvTimeoutError::Timeout) => {
                index.mend().inspect_err(|error| tracing::warn!(%error, "the index cannot be opened anew")).ok();
                None
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if index.is_lost() {
            // Who exists is not known any more, and only the next process makes the index anew.
            lost.send_if_modified(|failed| !std::mem::replace(failed, true));
        }
        let Some(outcome) = outcome else { continue };
        match index.look(|index| index.dead_and_due()) {
            Ok((dead, due)) => stats.set_dead(dead, due),
            Err(error) => tracing::warn!(%error, "what compaction is to do is not known"),
        }
        drop(answers.send(Command::Checkpointed(outcome.map_err(|error| error.to_string()))));
    }
}

/// Gives this thread, and those that it starts, a third of the scheduler's weight. No turn waits for what it does (an
/// operator's checkpoint or compaction does, and so does closing), but at full weight a checkpoint took nearly half of a
/// process that has one core. The keeper is left as it is: a turn may wait for the segment that it makes.
fn give_way() {
    // Elsewhere it would concern all of the process.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};

        let lowered = getpriority_process(None).and_then(|own| setpriority_process(None, own + BACKGROUND_NICENESS));
        if let Err(error) = lowered {
            tracing::debug!(%error, "a background thread keeps its priority");
        }
    }
}

impl Writer {
    fn run(mut self) {
        let (mut commands, mut out) = (VecDeque::new(), Outbox::default());
        while !self.core.is_finished() && self.wait(&mut commands) {
            self.core.step(&mut commands, &mut out);
            self.deliver(&mut out);
        }
    }

    /// Takes what waits, and waits for something when nothing does and there is no work left.
    fn wait(&mut self, commands: &mut VecDeque<Command>) -> bool {
        let (mut batches, mut bytes) = (0, 0);
        let mut take = |command: Command| {
            if let Command::Append { batch, .. } = &command {
                batches += 1;
                bytes += batch.bytes().len();
            }
            commands.push_back(command);
            bytes < GROUP_BYTES_FULL && commands.len() < GROUP_COMMANDS_MAX
        };
        let mut may_take = true;
        if !self.core.has_work() && self.keeper_backlog.is_empty() {
            let Ok(command) = self.commands.recv() else { return false };
            may_take = take(command);
        }
        while may_take && let Ok(command) = self.commands.try_recv() {
            may_take = take(command);
        }
        if batches > 0 {
            self.stats.taken(batches, bytes);
        }
        true
    }

    fn deliver(&mut self, out: &mut Outbox) {
        if self.core.is_poisoned() {
            self.failed.send_if_modified(|failed| !std::mem::replace(failed, true));
        }
        for (done, ending) in out.endings.drain(..) {
            done.call(ending);
        }
        for job in out.reads.drain(..) {
            if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = self.readers.try_send(job) {
                job.refuse(ReadError::Busy);
            }
        }
        self.keeper_backlog.extend(out.keeper.drain(..));
        while let Some(job) = self.keeper_backlog.pop_front() {
            if let Err(TrySendError::Full(job)) = self.keeper.try_send(job) {
                self.keeper_backlog.push_front(job);
                break;
            }
        }
        if let Some(checkpoint) = out.checkpoint.take() {
            // One at a time is under way, so there is room unless the index thread is gone.
            drop(self.checkpoints.try_send(checkpoint));
        }
        for (reply, answer) in out.checkpointed.drain(..) {
            drop(reply.send(answer));
        }
        for reply in out.closed.drain(..) {
            reply.send(()).ok();
        }
    }
}

/// Tells those who watch when the writer ends by a panic: whatever waited is `Unknown`.
impl Drop for Writer {
    fn drop(&mut self) {
        if thread::panicking() {
            self.failed.send_replace(true);
        }
    }
}

fn keep(disk: &dyn Disk, uuid: StoreUuid, epoch: Epoch, jobs: &Receiver<KeeperJob>, answers: &Sender<Command>) {
    for job in jobs {
        if let Some(answer) = keep_one(disk, uuid, epoch, job) {
            // The writer may have ended.
            drop(answers.send(answer));
        }
    }
}

/// Does one job; the answer goes to the writer.
pub(crate) fn keep_one(disk: &dyn Disk, uuid: StoreUuid, epoch: Epoch, job: KeeperJob) -> Option<Command> {
    match job {
        KeeperJob::Prepare { id, size } => {
            let made = Segment::create(disk, uuid, id, size, epoch);
            Some(Command::Prepared(made.inspect_err(|error| tracing::warn!(%error, "no spare segment")).ok()))
        }
        KeeperJob::Seal { segment, valid_len, table } => {
            let sealed = segment.seal(uuid, valid_len, &table);
            if let Err(error) = &sealed {
                tracing::error!(%error, segment = segment.id, "segment not sealed; the next start will");
            }
            Some(Command::Sealed { id: segment.id, sealed: sealed.is_ok() })
        }
        KeeperJob::Remove { id } => {
            if let Err(error) = disk.remove(&file_name(id)).and_then(|()| disk.sync_dir()) {
                tracing::warn!(%error, segment = id, "unused segment not removed; the next start will");
            }
            None
        }
    }
}
