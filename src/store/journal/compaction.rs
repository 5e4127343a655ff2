//! Compaction: writes sealed segments anew, one at a time, without what is dead. See `docs/adr/0008`.
//!
//! Owns nothing but a thread. Erased conversations lose their bodies and snapshots, others the snapshots that a newer
//! one superseded and what their retention no longer keeps; every chained record keeps at least its header, in its
//! segment and its order. By itself it looks every [`LOOK_EVERY`] at what the index's hints name, within a rate; a
//! pass that somebody asks for reads every sealed segment, without one. The writer is never waited for by a commit,
//! and hears of this only when it is asked to seal and to checkpoint. A crash leaves the old file or the new one. The
//! price: a segment is held in memory while it is written anew, and takes its place on the disk twice until then.

mod pace;
mod rewrite;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    num::NonZeroU64,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use colloquy_types::{Clock, Timestamp};
use crossbeam_channel::{Receiver, Sender, never, select, tick};
use tokio::sync::oneshot;

pub(crate) use self::pace::Pace;
use self::{rewrite::Layout, rules::Rules};
use super::{
    command::{Command, Reply},
    disk::Disk,
    group::StoreUuid,
    index::{IndexError, SharedIndex},
    reader::Segments,
    retention::RetentionPolicy,
    scan,
    segment::Segment,
    stats::SharedStats,
};
use crate::port::{Compacted, ReadError};

/// How often the hints are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a segment is left alone after it was looked at for what retention no longer keeps.
const RETENTION_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// A pass that somebody waits for.
pub(crate) type Job = Reply<Compacted>;

/// Bounds that compaction keeps.
#[derive(Clone, Debug)]
pub(crate) struct CompactionOptions {
    /// `None` when it does nothing by itself.
    pub(crate) bytes_per_second: Option<NonZeroU64>,
    pub(crate) dead_ratio: f64,
    pub(crate) retention: RetentionPolicy,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompactError {
    #[error("the disk failed")]
    Io(#[from] io::Error),
    #[error("the index failed")]
    Index(#[from] IndexError),
    #[error("the store ends")]
    Stopped,
}

impl From<CompactError> for ReadError {
    fn from(error: CompactError) -> Self {
        match error {
            CompactError::Io(error) => Self::Io { reason: error.to_string() },
            CompactError::Index(error) => Self::Io { reason: error.to_string() },
            CompactError::Stopped => Self::Closed,
        }
    }
}

/// What compaction works on.
pub(crate) struct Compactor {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) uuid: StoreUuid,
    pub(crate) index: Arc<SharedIndex>,
    pub(crate) segments: Segments,
    pub(crate) stats: Arc<SharedStats>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: CompactionOptions,
    /// Segments with something of a newer build, which knows what is to become of it: what is pending there stays so.
    pub(crate) newer: Mutex<BTreeSet<u64>>,
}

/// When each segment was looked at for what retention no longer keeps.
pub(crate) type Looked = BTreeMap<u64, Timestamp>;

impl Compactor {
    /// Does passes until `stop` is disconnected.
    pub(crate) fn run(self, jobs: &Receiver<Job>, stop: &Receiver<Infallible>, writer: &Sender<Command>) {
        let ticks = if self.options.bytes_per_second.is_some() { tick(LOOK_EVERY) } else { never() };
        let mut looked = Looked::new();
        loop {
            select! {
                recv(stop) -> _ => return,
                recv(jobs) -> job => {
                    let Ok(reply) = job else { return };
                    let pace = Pace { bytes_per_second: None, jobs, stop };
                    // Whoever asked may be gone.
                    drop(reply.send(guarded(|| self.asked(&pace, writer))));
                }
                recv(ticks) -> _ => {
                    let pace = Pace { bytes_per_second: self.options.bytes_per_second, jobs, stop };
                    match guarded(|| self.look(&pace, writer, &mut looked)) {
                        Ok(()) | Err(ReadError::Closed) => {}
                        Err(error) => tracing::warn!(%error, "compaction ended early; it will be tried again"),
                    }
                }
            }
        }
    }

    /// A whole pass over everything appended so far.
    fn asked(&self, pace: &Pace<'_>, writer: &Sender<Command>) -> Result<Compacted, ReadError> {
        // A disk without room for the next segment may have some once the others are compacted.
        let sealed = ask(writer, Command::Seal);
        ask(writer, Command::Checkpoint)?;
        let compacted = self.pass(pace)?;
        sealed.map(|()| compacted)
    }

    /// Looks at every segment that the index covers.
    pub(crate) fn pass(&self, pace: &Pace<'_>) -> Result<Compacted, CompactError> {
        let mut compacted = Compacted::default();
        let sealed = self.sealed()?;
        self.seek(&sealed)?;
        for segment in sealed.values() {
            compacted.add(&self.segment(segment, pace)?);
        }
        self.passed()?;
        tracing::info!(?compacted, "compaction has passed over the journal");
        Ok(compacted)
    }

    fn passed(&self) -> Result<(), IndexError> {
        let (dead, due) = self.index.look(|index| index.dead_and_due())?;
        self.stats.set_dead(dead, due);
        self.stats.compacted(self.clock.now());
        Ok(())
    }

    /// Sealed segments whose records the index knows: the writer keeps no table of them any more.
    fn sealed(&self) -> Result<BTreeMap<u64, Arc<Segment>>, IndexError> {
        let below = self.index.look(|index| index.covered())?.map_or(0, |covered| covered.segment);
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let newer = self.newer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = |id: &u64, segment: &Segment| segment.trailer().is_some() && !newer.contains(id);
        let sealed = segments.range(..below).filter(|(id, segment)| is_ours(id, segment));
        Ok(sealed.map(|(id, segment)| (*id, Arc::clone(segment))).collect())
    }

    /// Finds the segments of conversations that were erased since, by their footers. Those of segments that are sealed
    /// later become known then.
    fn seek(&self, sealed: &BTreeMap<u64, Arc<Segment>>) -> Result<(), CompactError> {
        for (uid, range) in self.index.look(|index| index.sought())? {
            let mut found = Vec::new();
            for (id, segment) in sealed.range(range) {
                // A footer that is damaged may hide it.
                if !segment.footer_fits()? || !segment.runs_of(uid)?.is_empty() {
                    found.push(*id);
                }
            }
            self.index.look(|index| index.found(uid, &found))?;
        }
        Ok(())
    }

    /// Does what is worth it, one segment after another, until nothing is. What is worth it most is asked anew each
    /// time, so that an erasure waits for one segment at most.
    pub(crate) fn look(&self, pace: &Pace<'_>, writer: &Sender<Command>, looked: &mut Looked) -> Result<(), ReadError> {
        loop {
            if self.stats.has_unindexed_erasures() {
                ask(writer, Command::Checkpoint)?;
            }
            let sealed = self.sealed().map_err(CompactError::from)?;
            self.seek(&sealed)?;
            let next = self.next(&sealed, looked).map_err(CompactError::from)?;
            let Some(segment) = next else { return Ok(()) };
            self.segment(&segment, pace)?;
            self.passed().map_err(CompactError::from)?;
        }
    }

    /// The oldest segment with erasures pending, or one with enough that is dead, or one that retention may concern.
    fn next(
        &self,
        sealed: &BTreeMap<u64, Arc<Segment>>,
        looked: &mut Looked,
    ) -> Result<Option<Arc<Segment>>, IndexError> {
        let due = self.index.look(|index| index.due_segments(u64::MAX))?;
        if let Some(due) = due.into_iter().find_map(|id| sealed.get(&id)) {
            return Ok(Some(Arc::clone(due)));
        }
        for (id, dead) in self.index.look(|index| index.dead())? {
            if let Some(segment) = sealed.get(&id).filter(|segment| self.is_enough(dead, segment.file_len())) {
                return Ok(Some(Arc::clone(segment)));
            }
        }
        if self.options.retention.is_empty() {
            return Ok(None);
        }
        let now = self.clock.now();
        looked.retain(|id, at| sealed.contains_key(id) && now.since(*at) < RETENTION_EVERY);
        let next = sealed.values().find(|segment| !looked.contains_key(&segment.id));
        looked.extend(next.map(|segment| (segment.id, now)));
        Ok(next.cloned())
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio of two lengths far below 2^52")]
    fn is_enough(&self, dead: u64, of: u64) -> bool {
        dead > 0 && dead as f64 >= self.options.dead_ratio * of as f64
    }

    /// Reads a segment and writes it anew if that is worth it.
    fn segment(&self, segment: &Arc<Segment>, pace: &Pace<'_>) -> Result<Compacted, CompactError> {
        let Some(trailer) = segment.trailer() else { return Ok(Compacted::default()) };
        let due = self.index.look(|index| index.due_in(segment.id))?;
        let bytes = rewrite::read(segment, trailer, pace)?;
        let scan = scan::scan(&bytes, segment.id, self.uuid);
        let before = segment.file_len();
        let mut compacted =
            Compacted { segments_read: 1, bytes_before: before, bytes_after: before, ..Compacted::default() };
        if let Err(error) = scan.refuse_newer() {
            tracing::error!(segment = segment.id, %error, "compaction leaves a segment as it is");
            self.newer.lock().unwrap_or_else(PoisonError::into_inner).insert(segment.id);
            return Ok(compacted);
        }
        let mut rules = Rules::new((&self.index, &self.options.retention), segment.id, self.clock.now(), &scan);
        let layout = Layout::of(segment, &bytes, &scan, &mut rules)?;
        if !layout.must && !self.is_enough(layout.dead, before) {
            self.index.look(|index| index.passed_over(segment.id, &due, layout.dead))?;
            return Ok(compacted);
        }
        let rewritten = layout.write((self.disk.as_ref(), self.uuid), segment, &bytes, pace)?;
        compacted.segments_rewritten = 1;
        compacted.bytes_after = rewritten.file_len();
        compacted.bodies_erased = layout.bodies;
        compacted.snapshots_dropped = layout.snapshots;
        tracing::info!(segment = segment.id, before, after = compacted.bytes_after, "segment written anew");
        // Readers that hold the old file go on with it.
        self.segments.write().unwrap_or_else(PoisonError::into_inner).insert(segment.id, rewritten);
        self.index.look(|index| index.passed_over(segment.id, &due, 0))?;
        Ok(compacted)
    }
}

/// Asks the writer for something and waits for it; no commit waits meanwhile.
fn ask(writer: &Sender<Command>, command: impl FnOnce(Reply<()>) -> Command) -> Result<(), ReadError> {
    let (reply, answer) = oneshot::channel();
    writer.send(command(reply)).map_err(|_| ReadError::Closed)?;
    answer.blocking_recv().map_err(|_| ReadError::Closed)?
}

/// A panic inside sled ends the pass and not the thread.
fn guarded<T>(run: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    let found = catch_unwind(AssertUnwindSafe(run));
    found.unwrap_or_else(|_| Err(ReadError::Io { reason: "compaction panicked".to_owned() }))
}
