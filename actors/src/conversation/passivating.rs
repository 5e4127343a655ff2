//! How a conversation leaves memory: its actor makes way when nothing runs in it and nobody waits for it.
//!
//! The next call activates it anew from the store, so nothing is lost by it; what arrives while it makes way goes to
//! that next activation. Watches go on: they hang on the hub and the store, not on the actor. Where the next activation
//! gains enough by it, a snapshot is written first; a call that comes meanwhile keeps the conversation in memory.

use colloquy_types::{Head, codec};
use ractor::ActorRef;
use tokio::time::Instant;

use super::{
    Conversation,
    commit::{self, BatchBuilder},
    loaded::Loaded,
    message::{Message, Passivate},
    state::{Body, State, Work},
};
use crate::{directory::ACTOR_BYTES, error::Error};

/// What a remembered request takes in the window, with the room that it keeps.
const REMEMBERED_BYTES: usize = 64;
/// In memory a state has pointers, counts and spare room beside what is encoded.
const STATE_FACTOR: usize = 3;
/// A state is measured with its first turn, and with every further turn of this many: it changes little in between.
const MEASURED_EVERY: u64 = 16;

/// Why a conversation leaves memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    Idle,
    Watermark,
    Asked,
}

impl Conversation {
    /// Makes way, unless something runs or waits, or somebody used it since whoever asks looked.
    pub(super) fn passivate(&self, myself: &ActorRef<Message>, state: &mut State, passivate: Passivate) {
        let busy = !state.is_idle() || self.info.in_flight.get() > 0;
        let (cause, unused_since) = match passivate {
            Passivate::Idle { unused_since } => (Cause::Idle, Some(unused_since)),
            Passivate::Watermark { unused_since } => (Cause::Watermark, Some(unused_since)),
            Passivate::Asked(_) => (Cause::Asked, None),
        };
        let used_since = unused_since.is_some_and(|unused_since| self.info.last_used() > unused_since);
        let leaves = !busy && !used_since && !state.retired;
        if leaves && !self.leave_snapshot(myself, state, cause) {
            self.leave(myself, state, cause);
        }
        if let Passivate::Asked(reply) = passivate {
            drop(reply.send(if leaves || state.retired { Ok(()) } else { Err(busy_with(state)) }));
        }
    }

    fn leave(&self, myself: &ActorRef<Message>, state: &mut State, cause: Cause) {
        let residence = &self.shared.metrics.residence;
        match cause {
            Cause::Idle => residence.passivations_idle.inc(),
            Cause::Watermark => residence.passivations_watermark.inc(),
            Cause::Asked => residence.passivations_asked.inc(),
        };
        self.retire(myself, state);
    }

    /// Begins to write a snapshot, if one is due; whether it did.
    fn leave_snapshot(&self, myself: &ActorRef<Message>, state: &mut State, cause: Cause) -> bool {
        let Body::Open(lease, loaded) = &state.body else { return false };
        // That a conversation is paused is told by a record behind its last snapshot.
        if loaded.paused_at.is_some() || !commit::rest_snapshot_due(loaded, &self.shared.settings.snapshot) {
            return false;
        }
        let snapshot = commit::snapshot(loaded, &loaded.pin, &loaded.state, None);
        let at = self.shared.clock.now();
        let mut batch = BatchBuilder::behind(lease, &loaded.head, self.shared.entropy.as_ref(), at);
        // One that is too large to be written is none.
        let Ok(Some(bytes)) = batch.push_snapshot(&snapshot) else { return false };
        let deadline = Instant::now() + self.shared.settings.activation_deadline;
        self.append(myself, state, Work::Snapshot { bytes, cause }, deadline, Ok(batch));
        true
    }

    /// Goes on from a snapshot that is synced: makes way, unless somebody came meanwhile.
    pub(super) fn snapshot_written(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        (bytes, cause): (usize, Cause),
        head: Head,
    ) {
        self.shared.metrics.residence.snapshots.inc();
        if let Body::Open(_, loaded) = &mut state.body {
            loaded.head = head;
            loaded.since_snapshot.add(0, Some(bytes));
        }
        if state.queue.is_empty() && self.info.in_flight.get() == 0 {
            self.leave(myself, state, cause);
        }
    }

    /// Takes note of how much memory the conversation takes.
    pub(super) fn resized(&self, loaded: &mut Loaded) {
        if loaded.state_bytes == 0 || loaded.head.turn_seq.get().is_multiple_of(MEASURED_EVERY) {
            loaded.state_bytes = codec::encode(&loaded.state).map_or(0, |encoded| encoded.len());
        }
        let bytes = ACTOR_BYTES + loaded.state_bytes * STATE_FACTOR + loaded.window.len() * REMEMBERED_BYTES;
        self.shared.directory.resized(&self.info, bytes);
    }

    /// The same for what an activation found.
    pub(super) fn resized_first(&self, state: &mut State) {
        if let Body::Open(_, loaded) = &mut state.body {
            self.resized(loaded);
        }
    }
}

/// What keeps it: the running work, or a call on its way.
fn busy_with(state: &State) -> Error {
    let now = Instant::now();
    let (held_for, held_at_most) = state.running.as_ref().map_or_else(Default::default, |running| {
        (now.saturating_duration_since(running.since()), running.deadline.saturating_duration_since(now))
    });
    let held_by = state.running.as_ref().and_then(|running| running.work.turn_id());
    Error::Busy { head: state.head(), held_by, held_for, held_at_most }
}
