//! Turns that are not decided to their end: cancelled by request, or making way for another.
//!
//! A turn that waits is taken out of the queue: it was promised nothing. One that runs ends as soon as it can: its
//! questions are dropped, the machine is told how much of the answer was shown and makes a partial turn of it, and that is
//! committed like any other. What may change the world is not dropped: an action whose intent is written is waited
//! for, within its own deadline, and one that was not called yet is not called. A turn whose record is on its way is
//! too late to end early. A crash in between resumes the turn as any other: the wish is not kept, its caller is told
//! nothing, and asking again is safe. A turn that waits behind it when its activation ends goes to the next one, and
//! still wants what it wanted of that turn, and of no other.

use colloquy_flow::BusyPolicy;
use colloquy_turn::{CallOutcome, ClosedReason, EffectValue, Failure};
use ractor::ActorRef;
use tokio::time::Instant;

use super::{
    Conversation,
    loaded::Loaded,
    message::{Cancel, Message, Submission, Waited},
    replying::Waiters,
    state::{Body, EndEarly, Phase, Queued, Running, RunningTurn, State, Work},
};
use crate::{
    error::{Error, LimitKind},
    reply::{Ending, TurnReply},
};

impl Conversation {
    /// Answers a wish that a turn ends, now or when it has ended.
    pub(super) fn cancel(&self, myself: &ActorRef<Message>, state: &mut State, cancel: Box<Cancel>) {
        if state.retired {
            return self.shared.forward(&self.info.key, Message::Cancel(cancel));
        }
        if let Some(Running { work: Work::Turn(turn), .. }) = &mut state.running
            && turn.request_hash == cancel.request_hash
        {
            turn.waiters.attach_cancel(*cancel);
            self.end_early(myself, state, EndEarly::Interrupt);
        } else if let Some(ahead) = state.ahead.iter_mut().find(|ahead| ahead.request_hash == cancel.request_hash) {
            // Too late: its record is with the writer.
            ahead.waiters.attach_cancel(*cancel);
        } else if let Some((submission, waiters)) = state.take_queued(&cancel.request_hash) {
            waiters.fail(&Error::Cancelled);
            submission.answer(Err(Error::Cancelled));
            cancel.answer(Err(Error::Cancelled));
        } else {
            self.answer_ended(state, *cancel);
        }
        self.next(myself, state);
    }

    fn answer_ended(&self, state: &State, cancel: Cancel) {
        match &state.body {
            Body::Open(_, loaded) => match loaded.window.find(&cancel.request_hash) {
                Some((kind, turn_seq)) => cancel.answer_known(kind, turn_seq, loaded, state.head()),
                None => cancel.answer(Err(Error::RequestAbsent)),
            },
            Body::Absent(_) => cancel.answer(Err(Error::ConversationAbsent)),
            Body::Broken(error) | Body::Unusable(_, _, error) => cancel.answer(Err(error.clone())),
        }
    }

    /// Starts a turn when nothing runs; otherwise does what its policy, or else the flow's, says. One that waited for an
    /// earlier activation goes on waiting: its policy was followed, and it must not end what came before it.
    pub(super) fn start_or_queue(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        mut submission: Box<Submission>,
    ) {
        // A snapshot is nothing that a caller could wait for, or know of.
        let Some(running) = state.running.as_ref().filter(|running| !matches!(running.work, Work::Snapshot { .. }))
        else {
            if submission.waited == Waited::No {
                submission.waited = Waited::Queued;
            }
            return state.queue.push_back(Queued::Turn(submission, Waiters::default()));
        };
        let behind = running.work.request_hash().map_or(Waited::Queued, Waited::Behind);
        let follows = match submission.waited {
            Waited::No => true,
            Waited::Queued => false,
            Waited::Behind(_) => submission.waited == behind,
        };
        let wanted = match follows {
            true => submission.busy.unwrap_or_else(|| state.busy()),
            false => BusyPolicy::Enqueue,
        };
        match wanted {
            BusyPolicy::Reject => {
                let now = Instant::now();
                let busy = Error::Busy {
                    head: state.head(),
                    held_by: running.work.turn_id(),
                    held_for: now.saturating_duration_since(running.since()),
                    held_at_most: running.deadline.saturating_duration_since(now),
                };
                submission.answer(Err(busy));
            }
            BusyPolicy::Drop => {
                let (ending, current) = (Ending::LeftOut { head: state.head() }, state.current());
                let reply = current.map(|loaded| TurnReply { ending, replayed: false, flow: loaded.pin.clone() });
                submission.answer(reply.ok_or(Error::ConversationAbsent));
            }
            BusyPolicy::Enqueue if state.is_too_late(&submission) => {
                self.shared.metrics.expired.inc();
                let (limit, bound) = (LimitKind::Deadline, state.queue.len() + 1);
                let retry_after = self.shared.admission.retry_after().max(state.pace.expected(bound));
                submission.answer(Err(Error::Overloaded { limit, bound, retry_after }));
            }
            policy => {
                submission.caller.give_slot();
                if submission.waited == Waited::No {
                    submission.waited = behind;
                }
                state.queue.push_back(Queued::Turn(submission, Waiters::default()));
                match policy {
                    BusyPolicy::Interrupt => self.end_early(myself, state, EndEarly::Interrupt),
                    BusyPolicy::Replace => self.end_early(myself, state, EndEarly::Drop),
                    _ => {}
                }
            }
        }
    }

    /// Ends the running turn as soon as it can.
    fn end_early(&self, myself: &ActorRef<Message>, state: &mut State, how: EndEarly) {
        let Some(Running { work: Work::Turn(turn), .. }) = &mut state.running else { return };
        // Whoever wants its words kept is heard, whoever comes first.
        turn.ending = Some(if turn.ending.is_some_and(|earlier| earlier != how) { EndEarly::Interrupt } else { how });
        let Phase::Deciding(deciding) = &mut turn.phase else { return };
        if deciding.is_acting() {
            return;
        }
        deciding.drop_calls(&turn.waiters.shown());
        if deciding.is_ready()
            && let Some(Running { work: Work::Turn(turn), .. }) = state.running.take()
        {
            self.end_now(myself, state, turn);
        }
    }

    /// Goes on with a turn that is to end early and waits for nothing any more.
    pub(super) fn end_now(&self, myself: &ActorRef<Message>, state: &mut State, mut turn: Box<RunningTurn>) {
        let acted = matches!(&turn.phase, Phase::Deciding(deciding) if deciding.acted);
        if turn.ending == Some(EndEarly::Drop) && !acted {
            self.shared.metrics.turns_replaced.inc();
            std::mem::take(&mut turn.waiters).fail(&Error::Cancelled);
            if turn.journalled {
                self.close(myself, state, turn, ClosedReason::Cancelled);
            }
            return;
        }
        self.proceed(myself, state, turn);
    }
}

impl State {
    /// The conversation that runs here, also while its first turn creates it.
    fn current(&self) -> Option<&Loaded> {
        match (&self.body, &self.running) {
            (Body::Open(_, loaded), _) => Some(loaded),
            (_, Some(Running { work: Work::Turn(turn), .. })) => turn.creating.as_deref(),
            _ => None,
        }
    }

    /// What becomes of turns here that find it busy, if their callers do not say.
    fn busy(&self) -> BusyPolicy {
        self.current().map(|loaded| loaded.flow.busy()).unwrap_or_default()
    }

    /// Whether a turn cannot be expected to end within its deadline behind all that runs and waits.
    fn is_too_late(&self, submission: &Submission) -> bool {
        let left = submission.deadline.saturating_duration_since(Instant::now());
        self.pace.expected(self.queue.len() + 1) > left
    }

    /// Takes the turn that waits under this request id.
    fn take_queued(&mut self, request_hash: &[u8; 16]) -> Option<(Box<Submission>, Waiters)> {
        let place = self.queue.iter().position(|queued| match queued {
            Queued::Turn(submission, _) => submission.request_hash == *request_hash,
            Queued::Control(_) => false,
        })?;
        match self.queue.remove(place) {
            Some(Queued::Turn(submission, waiters)) => Some((submission, waiters)),
            _ => None,
        }
    }
}

/// Stands for the answer to a tool that changes the world and was not called, because the turn is to end.
pub(super) const NOT_CALLED: EffectValue = EffectValue::Act(CallOutcome::Failed(Failure::Cancelled));
