//! Timers of a conversation: what its turns set is told to their keeper before it is written, and what is over after it.
//!
//! A turn that sets a timer waits until its hint is synced, and is then written like any other. The other way round a
//! crash in between would leave a timer that nobody finds; so it leaves a hint without a timer, which is dropped.

use colloquy_turn::{Outcome, Timer};
use colloquy_types::TurnId;
use ractor::ActorRef;
use tokio::time::Instant;

use super::{
    Conversation,
    deciding::Deciding,
    message::Message,
    state::{Phase, Running, RunningTurn, State, Work},
};
use crate::{
    directory::ActorStatus,
    error::Error,
    planted::Planted,
    timers::{self, Hint, Promise},
};

/// A decided turn whose timers are not found yet.
pub(super) struct Hinting {
    deciding: Deciding,
    outcome: Outcome,
}

impl Conversation {
    /// Writes a decided turn, once the timers that it sets can be found.
    pub(super) fn settle(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        mut turn: Box<RunningTurn>,
        deciding: Deciding,
        outcome: Outcome,
    ) {
        let set = match state.with_loaded(turn.creating.as_deref(), |_, loaded| {
            Ok(missing(outcome.state.timers(), loaded.state.timers()))
        }) {
            Ok(set) if !set.is_empty() && !self.shared.is_planted(Planted::SkipsHint) => set,
            // What it cannot be written for, writing it tells.
            _ => return self.commit(myself, state, turn, deciding, outcome),
        };
        let (turn_id, actor) = (turn.accepted.turn_id, myself.clone());
        // The actor may be gone by then, and the turn with it.
        let promise = Promise::new(set.len(), move |kept| drop(actor.send_message(Message::Hinted { turn_id, kept })));
        turn.phase = Phase::Hinting(Box::new(Hinting { deciding, outcome }));
        let deadline = turn.deadline;
        state.running = Some(Running { work: Work::Turn(turn), started_at: Instant::now(), deadline });
        self.info.set_status(ActorStatus::Running);
        self.shared.tell_timers(timers::Message::Set(self.hints(set), promise));
        // A keeper that is late breaks its promise; the hint it may write yet harms nothing.
        drop(myself.send_after(deadline.saturating_duration_since(Instant::now()), move || Message::Hinted {
            turn_id,
            kept: false,
        }));
    }

    /// Goes on with a turn whose hints are synced, or are not.
    pub(super) fn hinted(&self, myself: &ActorRef<Message>, state: &mut State, turn_id: TurnId, kept: bool) {
        let waits = |running: &mut Running| {
            matches!(&running.work, Work::Turn(turn)
                if turn.accepted.turn_id == turn_id && matches!(turn.phase, Phase::Hinting(_)))
        };
        let Some(Running { work: Work::Turn(mut turn), .. }) = state.running.take_if(waits) else { return };
        let Phase::Hinting(hinting) = std::mem::replace(&mut turn.phase, Phase::Accepting) else { return };
        let Hinting { deciding, outcome } = *hinting;
        if kept {
            self.commit(myself, state, turn, deciding, outcome);
        } else {
            let error = Error::StoreUnavailable;
            turn.waiters.fail(&error);
            if turn.journalled {
                // The next activation takes the turn up. What waits behind it would only be refused there, too.
                state.queue.drain(..).for_each(|queued| queued.fail(&error));
                self.retire(myself, state);
            }
        }
        self.next(myself, state);
    }

    /// Tells that timers are over: their hints need not come due.
    pub(super) fn timers_over(&self, over: Vec<Timer>) {
        if !over.is_empty() {
            self.shared.tell_timers(timers::Message::Over(self.hints(over)));
        }
    }

    fn hints(&self, timers: Vec<Timer>) -> Vec<Hint> {
        timers.into_iter().map(|timer| Hint { key: self.info.key.clone(), timer }).collect()
    }
}

/// The timers of one list that another does not have.
pub(super) fn missing(these: &[Timer], those: &[Timer]) -> Vec<Timer> {
    these.iter().filter(|timer| !those.contains(timer)).cloned().collect()
}
