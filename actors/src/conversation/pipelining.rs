//! Deciding the next turn of a hot conversation while the one before is being synced.
//!
//! A turn whose record is with the writer makes way: what is loaded runs ahead to the state after it, and the next turn
//! is decided on that. What is synced is kept beside it, and is all that anybody is told. Until everything before it is
//! synced, nothing of the dependent turn leaves the process: no call begins, no event and no reply is sent; its record may go
//! to the writer, which takes records in their order or not at all. When the writer refuses one, those behind it cannot
//! be taken either: all of them fail alike, and the actor makes way for an activation that begins with what is stored.
//!
//! Only plain turns are decided ahead: those that are followed, that name the turn they expect, that are a timer's, or that are
//! no turns wait for the sync, because they would tell what is not synced.

use std::sync::Arc;

use colloquy_store::AppendError;
use colloquy_turn::{ConversationState, InputKind, Remembered, Timer, TurnRecord};
use colloquy_types::{Head, Timestamp};
use ractor::ActorRef;
use tokio::time::Instant;

use super::{
    Conversation,
    message::Message,
    replying::Waiters,
    state::{Body, Committing, Pending, Phase, Queued, Running, State, Work},
    window::EndingKind,
};
use crate::{
    error::Error,
    reply::{CommittedTurn, Ending},
};

/// How many turns may be with the writer before the one that is decided.
const AHEAD_MAX: usize = 32;

/// A turn that is with the writer, and on which another one is decided.
pub(super) struct Ahead {
    /// Which append it is.
    attempt: u64,
    pub(super) request_hash: [u8; 16],
    pub(super) request_digest: [u8; 16],
    pub(super) waiters: Waiters,
    begun_at: Instant,
    record: Box<TurnRecord>,
    /// Timers that are over with it.
    over: Vec<Timer>,
    after: Synced,
}

/// A conversation as it is synced, while what is loaded is ahead of that.
pub(super) struct Synced {
    pub(super) head: Head,
    pub(super) state: ConversationState,
    pub(super) updated_at: Timestamp,
}

impl State {
    /// Whether the next that waits may begin; with nothing waiting, whether there is nothing to do.
    pub(super) fn may_begin(&self) -> bool {
        if self.running.is_none() && self.ahead.is_empty() {
            return true;
        }
        let is_plain = match self.queue.front() {
            Some(Queued::Turn(submission, waiters)) => {
                let tells = submission.events.is_some() || submission.expected_seq.is_some() || waiters.is_followed();
                // That its timer is not set any more may turn out not to be so.
                !tells && submission.input != InputKind::Timer
            }
            Some(Queued::Control(_)) | None => false,
        };
        is_plain && self.ahead.len() < AHEAD_MAX && self.running.as_ref().is_none_or(Running::makes_way)
    }

    /// Moves a turn that is with the writer out of the way of the next one.
    pub(super) fn make_way(&mut self) {
        let attempt = self.attempt;
        let Some(Running { work: Work::Turn(turn), .. }) = self.running.take() else { return };
        let Phase::Committing(committing) = turn.phase else { return };
        let Committing { pending, at, bytes, snapshot_bytes, head_after, over, .. } = *committing;
        let Pending::Turn { record, state } = pending else { return };
        let Body::Open(_, loaded) = &mut self.body else { return };
        self.synced.get_or_insert_with(|| {
            let (head, updated_at) = (loaded.head, loaded.updated_at);
            Box::new(Synced { head, state: loaded.state.clone(), updated_at })
        });
        (loaded.head, loaded.updated_at) = (head_after, at);
        loaded.state.clone_from(&state);
        loaded.since_snapshot.add(bytes, snapshot_bytes);
        loaded.window.remember(Remembered {
            request_hash: turn.request_hash,
            request_digest: turn.accepted.request_digest,
            turn_seq: head_after.turn_seq.get(),
            kind: EndingKind::Turn.to_byte(),
        });
        loaded.open_accepted = None;
        self.ahead.push_back(Ahead {
            attempt,
            request_hash: turn.request_hash,
            request_digest: turn.accepted.request_digest,
            waiters: turn.waiters,
            begun_at: turn.begun_at,
            record,
            over,
            after: Synced { head: head_after, state: *state, updated_at: at },
        });
    }

    /// Whether nothing runs, waits, or is with the writer.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && self.ahead.is_empty() && self.queue.is_empty()
    }
}

impl Running {
    /// Whether it is a committed turn in all but the sync, and nothing about it keeps the next one waiting.
    fn makes_way(&self) -> bool {
        let Work::Turn(turn) = &self.work else { return false };
        let Phase::Committing(committing) = &turn.phase else { return false };
        let plain = turn.creating.is_none() && committing.upgrading.is_none() && !turn.waiters.is_followed();
        plain && matches!(committing.pending, Pending::Turn { .. })
    }
}

impl Conversation {
    /// Takes the writer's answer to a turn that made way, if it is one to such a turn; otherwise gives it back.
    pub(super) fn ahead_appended(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        attempt: u64,
        result: Result<Head, AppendError>,
    ) -> Option<Result<Head, AppendError>> {
        let Some(ahead) = state.ahead.pop_front_if(|ahead| ahead.attempt == attempt) else { return Some(result) };
        let Ahead { waiters, begun_at, record, over, after, .. } = ahead;
        match result {
            Ok(head) => {
                debug_assert_eq!(head, after.head, "the writer takes records as they are, or not at all");
                self.shared.metrics.turns_ahead.inc();
                state.pace.ended(begun_at);
                self.info.set_pace(state.pace.expected(1));
                self.count(&record);
                self.timers_over(over);
                let turn = CommittedTurn { record: *record, head, committed_at: after.updated_at };
                state.synced = (!state.ahead.is_empty()).then(|| Box::new(after));
                self.shared.watches.committed(&self.info.key, head.turn_seq);
                if let Body::Open(_, loaded) = &mut state.body {
                    self.resized(loaded);
                    waiters.ended(&Ending::Committed(Arc::new(turn)), loaded);
                }
                if state.ahead.is_empty() {
                    self.let_out(myself, state);
                }
            }
            Err(error) => {
                let error = Error::from(error);
                waiters.fail(&error);
                // What is behind it was decided on what will never be.
                state.ahead.drain(..).for_each(|behind| behind.waiters.fail(&error));
                if let Some(Running { work, .. }) = state.running.take() {
                    work.fail(&error);
                }
                self.retire(myself, state);
            }
        }
        None
    }

    /// Goes on with a turn that was held back until everything before it was synced.
    fn let_out(&self, myself: &ActorRef<Message>, state: &mut State) {
        let is_held = |running: &mut Running| {
            matches!(&running.work, Work::Turn(turn)
                if matches!(&turn.phase, Phase::Deciding(deciding) if deciding.held_back))
        };
        let Some(Running { work: Work::Turn(mut turn), .. }) = state.running.take_if(is_held) else { return };
        let Phase::Deciding(mut deciding) = std::mem::replace(&mut turn.phase, Phase::Accepting) else { return };
        deciding.held_back = false;
        if turn.ending.is_some() {
            deciding.drop_all(&turn.waiters.shown());
            turn.phase = Phase::Deciding(deciding);
            self.carry_on(myself, state, turn);
        } else {
            self.wait(myself, state, turn, deciding);
        }
    }
}
