//! When the index is brought up to date, and with what. Collected a piece per step, applied elsewhere.

use std::{collections::BTreeMap, sync::Arc};

use colloquy_types::{ConversationKey, ConversationUid};

use super::WriterCore;
use crate::{
    journal::{
        command::{Outbox, Reply},
        index::{Checkpoint, Covered},
        row::{Place, Row},
        table::Table,
    },
    port::ReadError,
};

/// Rows collected in one step, so that a commit never waits for many.
const COLLECT_PER_STEP: usize = 1024;
/// How far the rows that wait may grow past their bound while checkpoints fail or lag.
const OVERDUE_FACTOR: usize = 4;

enum Phase {
    Idle,
    /// Rows are being collected from the list.
    Collecting {
        left: Vec<ConversationUid>,
        rows: Vec<(Option<ConversationKey>, Row)>,
        uids: Vec<(ConversationUid, ConversationKey)>,
        /// Settled when it began: what changes a row later may lie in a later segment.
        tables: Vec<(u64, Arc<Table>)>,
    },
    /// The index thread has it.
    Applying,
}

/// The writer's part of checkpoints.
pub(super) struct CheckpointState {
    phase: Phase,
    /// Conversations that changed since they were last collected.
    dirty: Vec<ConversationUid>,
    in_flight: Vec<ConversationUid>,
    /// Bytes of superseded snapshots since the last one, by segment.
    dead: BTreeMap<u64, u64>,
    covered: u64,
    /// Raised when a checkpoint ends, because lookups from before may be out of date.
    generation: u64,
    index_is_empty: bool,
    bytes_at_last: u64,
    waiting: Vec<Reply<()>>,
    served: Vec<Reply<()>>,
    /// Whether closing waits for one more.
    last: bool,
}

impl CheckpointState {
    pub(super) fn new(index_is_empty: bool) -> Self {
        Self {
            phase: Phase::Idle,
            dirty: Vec::new(),
            in_flight: Vec::new(),
            dead: BTreeMap::new(),
            covered: 0,
            generation: 0,
            index_is_empty,
            bytes_at_last: 0,
            waiting: Vec::new(),
            served: Vec::new(),
            last: false,
        }
    }

    pub(super) fn dirty(&mut self, uid: ConversationUid) {
        self.dirty.push(uid);
    }

    /// Takes note of a snapshot that is superseded.
    pub(super) fn dead(&mut self, place: Place) {
        *self.dead.entry(place.at.segment).or_default() += u64::from(place.len);
    }

    pub(super) fn ask(&mut self, reply: Reply<()>) {
        self.waiting.push(reply);
    }

    pub(super) fn ask_last(&mut self) {
        self.last = true;
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn index_is_empty(&self) -> bool {
        self.index_is_empty
    }

    pub(super) fn is_collecting(&self) -> bool {
        matches!(self.phase, Phase::Collecting { .. })
    }

    /// Whether one is under way or waited for.
    pub(super) fn is_wanted(&self) -> bool {
        self.last || !self.waiting.is_empty() || !matches!(self.phase, Phase::Idle)
    }

    /// Whether so many rows wait that no more may be added.
    pub(super) fn is_overdue(&self, entries_max: usize) -> bool {
        self.dirty.len() + self.in_flight.len() > entries_max.saturating_mul(OVERDUE_FACTOR)
    }
}

impl WriterCore {
    /// Begins a checkpoint when one is due, and collects a piece of the one that has begun.
    pub(super) fn advance_checkpoint(&mut self, out: &mut Outbox) {
        if self.poisoned {
            let waiting = self.checkpoint.waiting.drain(..).chain(self.checkpoint.served.drain(..));
            out.checkpointed.extend(waiting.map(|reply| (reply, Err(ReadError::Closed))));
            return;
        }
        if matches!(self.checkpoint.phase, Phase::Idle) && self.is_due() {
            let state = &mut self.checkpoint;
            state.served.append(&mut state.waiting);
            state.last = false;
            state.bytes_at_last = self.stats.bytes();
            let left = std::mem::take(&mut state.dirty);
            state.covered = self.segments.covered_after();
            let tables = self.segments.to_index();
            state.phase = Phase::Collecting { rows: Vec::with_capacity(left.len()), uids: Vec::new(), left, tables };
        }
        self.collect(out);
    }

    fn is_due(&self) -> bool {
        let state = &self.checkpoint;
        let asked = !state.waiting.is_empty() || (state.last && !self.segments.is_sealing());
        let grown = self.stats.bytes().saturating_sub(state.bytes_at_last) >= self.options.checkpoint_bytes
            || state.dirty.len() >= self.options.delta_entries_max;
        asked || (grown && self.closing.is_none())
    }

    fn collect(&mut self, out: &mut Outbox) {
        let Phase::Collecting { left, rows, uids, tables } = &mut self.checkpoint.phase else { return };
        // Closing waits for it, and no commit does any more.
        let count = if self.closing.is_some() { left.len() } else { left.len().min(COLLECT_PER_STEP) };
        for uid in left.split_off(left.len() - count) {
            if let Some(entry) = self.entries.get_mut(&uid) {
                (entry.dirty, entry.in_flight) = (false, true);
                rows.push((Some(entry.key.clone()), entry.row.clone()));
                if !entry.indexed && entry.row.erased_in.is_none() {
                    uids.push((uid, entry.key.clone()));
                }
                self.checkpoint.in_flight.push(uid);
            }
        }
        if left.is_empty() {
            let (rows, uids, tables) = (std::mem::take(rows), std::mem::take(uids), std::mem::take(tables));
            let segment = self.checkpoint.covered;
            let covered = Covered { uuid: self.uuid, segment, synced: self.synced, epoch: self.epoch };
            // A hint: when the checkpoint fails it is lost.
            let dead = std::mem::take(&mut self.checkpoint.dead);
            out.checkpoint = Some(Checkpoint { rows, uids, dead, tables, covered });
            self.checkpoint.phase = Phase::Applying;
        }
    }

    /// The index has it, or has not: what it carried waits again then.
    pub(super) fn checkpointed(&mut self, outcome: Result<(), String>, out: &mut Outbox) {
        self.checkpoint.phase = Phase::Idle;
        self.checkpoint.generation += 1;
        let carried = std::mem::take(&mut self.checkpoint.in_flight);
        self.checkpoint.index_is_empty &= carried.is_empty();
        for uid in carried {
            let Some(entry) = self.entries.get_mut(&uid) else { continue };
            entry.in_flight = false;
            if outcome.is_ok() {
                entry.indexed = true;
                self.forget_if_idle(uid);
            } else if !entry.dirty {
                entry.dirty = true;
                self.checkpoint.dirty.push(uid);
            }
        }
        let answer = match outcome {
            Ok(()) => {
                self.segments.indexed(self.checkpoint.covered);
                Ok(())
            }
            Err(reason) => {
                tracing::error!(%reason, "checkpoint failed; what it held waits for the next one");
                Err(ReadError::Io { reason })
            }
        };
        out.checkpointed.extend(self.checkpoint.served.drain(..).map(|reply| (reply, answer.clone())));
    }
}
