//! Who waits for a turn, a reset or feedback, and how they are told.

use std::sync::Arc;

use colloquy_turn::{ClosedReason, Stage, StageEvent, TIMER_REQUESTS, TurnClosedRecord};
use colloquy_types::{Head, RequestId, Timestamp, TurnId, TurnSeq};
use tokio::sync::oneshot;

use super::{
    answers,
    loaded::Loaded,
    message::{Cancel, ControlSubmission, Submission},
    window::EndingKind,
};
use crate::{
    admission::Caller,
    error::Error,
    events::{EndsEvents, EventBytes, TurnEvents},
    reply::{Answer, ControlReply, Ending, TurnEvent, TurnReply},
};

/// One caller that waits for a turn.
#[derive(Debug)]
struct Waiter {
    /// Answered at last, so that callers attached to a turn count against the limits too.
    caller: Caller<Answer>,
    /// Set until the turn begins, when the caller wants to follow it.
    events: Option<oneshot::Sender<Arc<TurnEvents>>>,
}

/// The callers that wait for one turn: the first sent it, the others repeated its request id or want it to end.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    first: Option<Waiter>,
    repeated: Vec<Waiter>,
    /// The turn that this is to be and the attempt at it, once it has begun, and what its events count among.
    place: Option<(TurnSeq, u32, EventBytes)>,
    /// Kept as soon as anybody follows it.
    events: Option<EndsEvents>,
}

impl Waiters {
    /// Adds a caller that repeated the turn's request id.
    pub(super) fn attach(&mut self, mut submission: Submission) {
        submission.caller.give_slot();
        self.repeated.push(Waiter { caller: submission.caller, events: submission.events });
        self.show();
    }

    /// Adds a caller that waits for the turn to end early.
    pub(super) fn attach_cancel(&mut self, cancel: Cancel) {
        self.repeated.push(Waiter { caller: cancel.caller, events: None });
    }

    /// The callers of a turn whose sender is `submission`, followed by those that repeated it meanwhile.
    pub(super) fn led_by(mut self, caller: Caller<Answer>, events: Option<oneshot::Sender<Arc<TurnEvents>>>) -> Self {
        self.first = Some(Waiter { caller, events });
        self
    }

    /// The turn waits for something else than the cores.
    pub(super) fn give_slot(&mut self) {
        self.first.iter_mut().for_each(|first| first.caller.give_slot());
    }

    /// The turn begins: what happens in it can be followed.
    pub(super) fn begin(mut self, turn_seq: TurnSeq, attempt: u32, held: &EventBytes) -> Self {
        self.place = Some((turn_seq, attempt, held.clone()));
        self.show();
        self
    }

    /// Begins to keep the turn's events although nobody follows it yet: somebody may come back to it.
    pub(super) fn keep_events(mut self) -> Self {
        if let (Some((turn_seq, attempt, held)), None) = (&self.place, &self.events) {
            self.events = Some(EndsEvents(Arc::new(TurnEvents::new(*turn_seq, *attempt, held.clone()))));
        }
        self
    }

    /// Gives the events to those who want to follow them.
    fn show(&mut self) {
        let Some((turn_seq, attempt, held)) = &self.place else { return };
        let wanting = self.first.iter_mut().chain(&mut self.repeated).filter_map(|waiter| waiter.events.take());
        for wants in wanting {
            let new = || EndsEvents(Arc::new(TurnEvents::new(*turn_seq, *attempt, held.clone())));
            let EndsEvents(events) = self.events.get_or_insert_with(new);
            // A caller that is gone follows nothing.
            drop(wants.send(Arc::clone(events)));
        }
    }

    /// Whether someone other than the sender still waits.
    pub(super) fn any_repeated(&self) -> bool {
        self.repeated.iter().any(|waiter| !waiter.caller.is_gone())
    }

    /// Whether a caller wants to follow the turn, or does.
    pub(super) fn is_followed(&self) -> bool {
        self.events.is_some() || self.first.iter().chain(&self.repeated).any(|waiter| waiter.events.is_some())
    }

    /// What happened in the turn so far, if anybody follows it.
    pub(super) fn events(&self) -> Option<&Arc<TurnEvents>> {
        self.events.as_ref().map(|EndsEvents(events)| events)
    }

    /// How much of the answer was shown, as far as it is kept.
    pub(super) fn shown(&self) -> Arc<str> {
        self.events().map_or_else(Arc::default, |events| answers::kept_of(&events.shown()).into())
    }

    fn tell(&self, event: impl FnOnce() -> TurnEvent) {
        if let Some(events) = self.events() {
            events.push(event());
        }
    }

    /// What a user interface may show while the turn waits.
    pub(super) fn progress(&self, stage: Stage, text: &Arc<str>) {
        self.tell(|| TurnEvent::Progress { stage, text: Arc::clone(text) });
    }

    pub(super) fn accepted(&self, turn_id: TurnId, attempt: u32, head: Head) {
        self.tell(|| TurnEvent::Accepted { turn_id, attempt, head });
    }

    pub(super) fn stages(&self, stages: &[StageEvent]) {
        stages.iter().for_each(|stage| self.tell(|| TurnEvent::Stage(stage.clone())));
    }

    pub(super) fn fail(self, error: &Error) {
        for waiter in self.first.into_iter().chain(self.repeated) {
            waiter.caller.answer(Answer::Ended(Err(error.clone())));
        }
    }

    pub(super) fn ended(self, ending: &Ending, loaded: &Loaded) {
        let answer = |waiter: Waiter, replayed| {
            let reply = TurnReply { ending: ending.clone(), replayed, flow: loaded.pin.clone() };
            waiter.caller.answer(Answer::Ended(Ok(reply)));
        };
        self.first.into_iter().for_each(|waiter| answer(waiter, false));
        self.repeated.into_iter().for_each(|waiter| answer(waiter, true));
    }
}

impl Submission {
    pub(super) fn answer(self, result: Result<TurnReply, Error>) {
        self.caller.answer(Answer::Ended(result));
    }

    /// Answers with the ending that this request had before.
    pub(super) fn answer_known(self, kind: EndingKind, turn_seq: TurnSeq, loaded: &Loaded, synced: Head) {
        self.caller.answer(known(self.request_id, (kind, turn_seq), loaded, synced));
    }
}

impl Cancel {
    pub(super) fn answer(self, result: Result<TurnReply, Error>) {
        self.caller.answer(Answer::Ended(result));
    }

    /// Answers with the ending that the turn had before.
    pub(super) fn answer_known(self, kind: EndingKind, turn_seq: TurnSeq, loaded: &Loaded, synced: Head) {
        self.caller.answer(known(self.request_id, (kind, turn_seq), loaded, synced));
    }
}

/// The ending of a request that is remembered.
fn known(request_id: RequestId, (kind, turn_seq): (EndingKind, TurnSeq), loaded: &Loaded, synced: Head) -> Answer {
    match kind {
        EndingKind::Turn => Answer::Recorded { request_id, turn_seq, flow: loaded.pin.clone() },
        EndingKind::Reset | EndingKind::Feedback | EndingKind::Forked | EndingKind::Paused | EndingKind::Resumed => {
            Answer::Ended(Err(Error::RequestIdReused))
        }
        // The timer is over with the turn that was dropped.
        EndingKind::Closed(ClosedReason::Cancelled) if request_id.as_str().starts_with(TIMER_REQUESTS) => {
            Answer::Ended(Err(Error::TimerAbsent { due_at: None }))
        }
        EndingKind::Closed(ClosedReason::Cancelled) => Answer::Ended(Err(Error::Cancelled)),
        EndingKind::Closed(reason) => {
            // The window keeps how it ended; the words of a closed turn are its flow's fallback.
            let record = Arc::new(TurnClosedRecord {
                turn_id: TurnId([0; 16]),
                request_id,
                request_digest: [0; 16],
                closed_at: Timestamp::default(),
                reason,
                reply_text: loaded.flow.fallback().to_string(),
            });
            let ending = Ending::Closed { record, head: synced };
            Answer::Ended(Ok(TurnReply { ending, replayed: true, flow: loaded.pin.clone() }))
        }
    }
}

impl ControlSubmission {
    pub(super) fn answer(self, result: Result<ControlReply, Error>) {
        self.caller.answer(result);
    }
}

#[cfg(test)]
mod tests {
    use colloquy_author::load_sources;

    use super::*;
    use crate::reply::FlowPin;

    const FLOW: &str = "format: colloquy.flow/v1\nname: desk\nstart: desk.open\nfallback: Sorry?\n\
        intents: {desk: {initial: open, states: {open: {}}}}\nresponses: [{in: any, exact: Fine.}]\n";

    #[test]
    fn a_timer_whose_turn_was_dropped_is_over() {
        let flow = load_sources("the flow", vec![("flow.yaml".to_owned(), FLOW.to_owned())]).expect("it is sound").flow;
        let pin = FlowPin { tenant: "_".into(), name: flow.name().clone(), revision: flow.revision() };
        let loaded = Loaded::new(pin, flow, None, Timestamp::default());
        let told = |id: &str| {
            let ended = (EndingKind::Closed(ClosedReason::Cancelled), TurnSeq::new(1));
            match known(RequestId::parse(id).unwrap(), ended, &loaded, Head::default()) {
                Answer::Ended(Err(error)) => error,
                _ => panic!("{id} is not refused"),
            }
        };
        assert_eq!(told("timer/nudge/3"), Error::TimerAbsent { due_at: None });
        assert_eq!(told("r-1"), Error::Cancelled);
    }
}
