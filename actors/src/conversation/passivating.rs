//! How a conversation leaves memory: its actor makes way when nothing runs in it and nobody waits for it.
//!
//! The next call activates it anew from the store, so nothing is lost by it; what arrives while it makes way goes to
//! that next activation. Watches go on: they hang on the hub and the store, not on the actor.

use colloquy_types::codec;
use ractor::ActorRef;
use tokio::time::Instant;

use super::{
    Conversation,
    loaded::Loaded,
    message::{Message, Passivate},
    state::{Body, State},
};
use crate::{directory::ACTOR_BYTES, error::Error};

/// What a remembered request takes in the window's queue and map, with the room that they keep.
const REMEMBERED_BYTES: usize = 128;
/// In memory a state has pointers, counts and spare room beside what is encoded.
const STATE_FACTOR: usize = 3;
/// A state is measured with its first turn, and with every further turn of this many: it changes little in between.
const MEASURED_EVERY: u64 = 16;

impl Conversation {
    /// Makes way, unless something runs or waits, or somebody used it since whoever asks looked.
    pub(super) fn passivate(&self, myself: &ActorRef<Message>, state: &mut State, passivate: Passivate) {
        let busy = state.running.is_some() || !state.queue.is_empty() || self.info.in_flight.get() > 0;
        let residence = &self.shared.metrics.residence;
        let cause = match &passivate {
            Passivate::Idle { .. } => &residence.passivations_idle,
            Passivate::Watermark { .. } => &residence.passivations_watermark,
            Passivate::Asked(_) => &residence.passivations_asked,
        };
        let leaves = match &passivate {
            Passivate::Idle { unused_since } | Passivate::Watermark { unused_since } => {
                !busy && self.info.last_used() <= *unused_since
            }
            Passivate::Asked(_) => !busy,
        };
        if leaves && !state.retired {
            cause.inc();
            self.retire(myself, state);
        }
        if let Passivate::Asked(reply) = passivate {
            let answer = if leaves || state.retired { Ok(()) } else { Err(busy_with(state)) };
            drop(reply.send(answer));
        }
    }

    /// Takes note of how much memory the conversation takes.
    pub(super) fn resized(&self, loaded: &mut Loaded) {
        if loaded.state_bytes == 0 || loaded.head.turn_seq.get() % MEASURED_EVERY == 0 {
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
        (now.saturating_duration_since(running.started_at), running.deadline.saturating_duration_since(now))
    });
    Error::Busy { head: state.head(), held_for, held_at_most }
}
