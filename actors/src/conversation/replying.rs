//! Who waits for a turn, a reset or feedback, and how they are told.

use std::sync::Arc;

use colloquy_turn::{Stage, StageEvent, TurnClosedRecord};
use colloquy_types::{Head, Timestamp, TurnId, TurnSeq};
use tokio::sync::{mpsc, oneshot};

use super::{
    loaded::Loaded,
    message::{ControlSubmission, Submission},
    window::EndingKind,
};
use crate::{
    admission::Permit,
    error::Error,
    reply::{Answer, ControlReply, Ending, TurnEvent, TurnReply},
};

/// One caller that waits for a turn.
#[derive(Debug)]
struct Waiter {
    reply: oneshot::Sender<Answer>,
    events: Option<mpsc::Sender<TurnEvent>>,
    /// Held until answered, so that callers attached to a turn count against the limits too.
    _permit: Permit,
}

impl Waiter {
    fn emit(&mut self, event: &TurnEvent) {
        // A reader that lets its bounded channel fill up loses the provisional events, never the ending.
        if self.events.as_ref().is_some_and(|events| events.try_send(event.clone()).is_err()) {
            self.events = None;
        }
    }
}

/// The callers that wait for one turn: the first sent it, the others repeated its request id.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    first: Option<Waiter>,
    repeated: Vec<Waiter>,
}

impl Waiters {
    /// Adds a caller that repeated the turn's request id.
    pub(super) fn attach(&mut self, submission: Submission) {
        self.repeated.push(Waiter { reply: submission.reply, events: submission.events, _permit: submission.permit });
    }

    /// The callers of a turn whose sender is `submission`, followed by those that repeated it meanwhile.
    pub(super) fn led_by(
        mut self,
        reply: oneshot::Sender<Answer>,
        events: Option<mpsc::Sender<TurnEvent>>,
        permit: Permit,
    ) -> Self {
        self.first = Some(Waiter { reply, events, _permit: permit });
        self
    }

    /// Whether someone other than the sender still waits.
    pub(super) fn any_repeated(&self) -> bool {
        self.repeated.iter().any(|waiter| !waiter.reply.is_closed())
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Waiter> {
        self.first.iter_mut().chain(&mut self.repeated)
    }

    /// Those who want to be told what happens before the ending.
    pub(super) fn readers(&self) -> Vec<mpsc::Sender<TurnEvent>> {
        self.first.iter().chain(&self.repeated).filter_map(|waiter| waiter.events.clone()).collect()
    }

    /// What a user interface may show while the turn waits.
    pub(super) fn progress(&mut self, stage: Stage, text: &Arc<str>) {
        self.each().for_each(|waiter| waiter.emit(&TurnEvent::Progress { stage, text: Arc::clone(text) }));
    }

    pub(super) fn accepted(&mut self, turn_id: TurnId, attempt: u32, head: Head) {
        self.each().for_each(|waiter| waiter.emit(&TurnEvent::Accepted { turn_id, attempt, head }));
    }

    pub(super) fn stages(&mut self, stages: &[StageEvent]) {
        for waiter in self.each().filter(|waiter| waiter.events.is_some()) {
            stages.iter().for_each(|stage| waiter.emit(&TurnEvent::Stage(stage.clone())));
        }
    }

    pub(super) fn fail(self, error: &Error) {
        for waiter in self.first.into_iter().chain(self.repeated) {
            drop(waiter.reply.send(Answer::Ended(Err(error.clone()))));
        }
    }

    pub(super) fn ended(self, ending: &Ending, loaded: &Loaded) {
        let answer = |waiter: Waiter, replayed| {
            let reply = TurnReply { ending: ending.clone(), replayed, flow: loaded.pin.clone() };
            drop(waiter.reply.send(Answer::Ended(Ok(reply))));
        };
        self.first.into_iter().for_each(|waiter| answer(waiter, false));
        self.repeated.into_iter().for_each(|waiter| answer(waiter, true));
    }
}

impl Submission {
    pub(super) fn answer(self, result: Result<TurnReply, Error>) {
        drop(self.reply.send(Answer::Ended(result)));
    }

    /// Answers with the ending that this request had before.
    pub(super) fn answer_known(self, kind: EndingKind, turn_seq: TurnSeq, loaded: &Loaded) {
        let answer = match kind {
            EndingKind::Turn => Answer::Recorded { request_id: self.request_id, turn_seq, flow: loaded.pin.clone() },
            EndingKind::Reset | EndingKind::Feedback => Answer::Ended(Err(Error::RequestIdReused)),
            EndingKind::Closed(reason) => {
                // The window keeps how it ended; the words of a closed turn are its flow's fallback.
                let record = Arc::new(TurnClosedRecord {
                    turn_id: TurnId([0; 16]),
                    request_id: self.request_id,
                    request_digest: self.request_digest,
                    closed_at: Timestamp::default(),
                    reason,
                    reply_text: loaded.flow.fallback().to_string(),
                });
                let ending = Ending::Closed { record, head: loaded.head };
                Answer::Ended(Ok(TurnReply { ending, replayed: true, flow: loaded.pin.clone() }))
            }
        };
        drop(self.reply.send(answer));
    }
}

impl ControlSubmission {
    pub(super) fn answer(self, result: Result<ControlReply, Error>) {
        drop(self.reply.send(result));
    }
}
