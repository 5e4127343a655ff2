//! What happens to a conversation besides turns: resets and feedback; for erasures see `erasing`. Checked, written, applied, answered.

use colloquy_store::RecordKind;
use colloquy_turn::{ControlRecord, Remembered};
use colloquy_types::{ConversationUid, Head, TurnSeq};
use ractor::ActorRef;
use tokio::time::Instant;

use super::{
    Conversation,
    commit::{self, BatchBuilder},
    loaded::Loaded,
    message::{Control, ControlSubmission, Message},
    state::{Body, RunningControl, State, Work},
    timing::missing,
    window::{EndingKind, Known},
};
use crate::{
    error::{DeadlineOutcome, Error},
    reply::ControlReply,
    timers,
};

impl Control {
    /// How its request is remembered; nothing is once the conversation is erased.
    const fn ending(&self) -> Option<EndingKind> {
        match self {
            Self::Reset { .. } => Some(EndingKind::Reset),
            Self::Feedback { .. } => Some(EndingKind::Feedback),
            Self::Pause { paused: true, .. } => Some(EndingKind::Paused),
            Self::Pause { paused: false, .. } => Some(EndingKind::Resumed),
            Self::Fork(_) => Some(EndingKind::Forked),
            Self::Erase(_) => None,
        }
    }
}

impl Conversation {
    pub(super) fn begin_control(&self, myself: &ActorRef<Message>, state: &mut State, submission: ControlSubmission) {
        match submission.control {
            Control::Erase(erase) => return self.begin_erasure(myself, state, submission, erase),
            Control::Fork(_) => return self.begin_fork(myself, state, submission),
            Control::Reset { .. } | Control::Feedback { .. } | Control::Pause { .. } => {}
        }
        let (uid, loaded) = match self.check_control(state, &submission) {
            Ok(checked) => checked,
            Err(early) => return submission.answer(early),
        };
        let at = self.shared.clock.now();
        let (request_id, request_digest) = (submission.request_id.clone(), submission.request_digest);
        let (record, changes) = match &submission.control {
            Control::Reset { reason, .. } => {
                let (reason, changes) = (reason.clone(), colloquy_turn::reset(&loaded.flow, &loaded.state));
                (ControlRecord::Reset { request_id, request_digest, at, reason, changes: changes.clone() }, changes)
            }
            Control::Feedback { turn_seq, rating, comment } => {
                let (turn_seq, rating, comment) = (turn_seq.get(), *rating, comment.clone());
                (ControlRecord::Feedback { request_id, request_digest, at, turn_seq, rating, comment }, Vec::new())
            }
            Control::Pause { paused, reason } => {
                let reason = reason.clone();
                let record = match paused {
                    true => ControlRecord::Paused { request_id, request_digest, at, reason },
                    false => ControlRecord::Resumed { request_id, request_digest, at, reason },
                };
                (record, Vec::new())
            }
            // Begun above.
            Control::Erase(_) | Control::Fork(_) => return,
        };
        let batch = state.with_loaded(None, |lease, loaded| {
            let mut batch = BatchBuilder::new(lease, loaded, self.shared.entropy.as_ref(), at)?;
            batch.push(RecordKind::Control, &record.encode().map_err(commit::too_large)?)?;
            Ok(batch)
        });
        let deadline = submission.deadline;
        let work = Work::Control(Box::new(RunningControl { submission, uid, changes, at, creating: None }));
        self.append(myself, state, work, deadline, batch);
    }

    /// What must hold for it to start; otherwise the answer it gets at once.
    fn check_control<'a>(
        &self,
        state: &'a State,
        submission: &ControlSubmission,
    ) -> Result<(ConversationUid, &'a Loaded), Result<ControlReply, Error>> {
        let (uid, loaded) = match &state.body {
            Body::Open(lease, loaded) => (lease.uid, loaded),
            Body::Absent(_) => return Err(Err(Error::ConversationAbsent)),
            Body::Broken(error) | Body::Unusable(_, _, error) => return Err(Err(error.clone())),
        };
        match loaded.window.look_up(&submission.request_hash, &submission.request_digest) {
            Known::Ended { kind, .. } if Some(kind) == submission.control.ending() => {
                self.shared.metrics.duplicates.inc();
                return Err(Ok(ControlReply { uid, head: loaded.head, at: loaded.updated_at, replayed: true }));
            }
            Known::Reused | Known::Ended { .. } => return Err(Err(Error::RequestIdReused)),
            Known::No => {}
        }
        let head = loaded.head;
        match &submission.control {
            Control::Reset { expected_seq: Some(expected), .. } if *expected != head.turn_seq => {
                return Err(Err(Error::SeqMismatch { head }));
            }
            Control::Feedback { turn_seq, .. } if *turn_seq < TurnSeq::new(1) || *turn_seq > head.turn_seq => {
                return Err(Err(Error::TurnAbsent { turn_seq: *turn_seq }));
            }
            // What is so already need not be written.
            Control::Pause { paused, .. } if *paused == loaded.paused_at.is_some() => {
                return Err(Ok(ControlReply { uid, head, at: loaded.updated_at, replayed: true }));
            }
            Control::Reset { .. }
            | Control::Feedback { .. }
            | Control::Erase(_)
            | Control::Pause { .. }
            | Control::Fork(_) => {}
        }
        self.check_wanted(submission).map_err(Err)?;
        Ok((uid, loaded))
    }

    /// Whether anyone still waits for it.
    pub(super) fn check_wanted(&self, submission: &ControlSubmission) -> Result<(), Error> {
        if submission.deadline <= Instant::now() || submission.caller.is_gone() {
            self.shared.metrics.expired.inc();
            return Err(Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied });
        }
        Ok(())
    }

    pub(super) fn control_committed(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        control: RunningControl,
        head: Head,
    ) {
        let Some(ending) = control.submission.control.ending() else {
            return self.erased(myself, state, control, head);
        };
        let RunningControl { submission, uid, changes, at, creating } = control;
        state.install(creating);
        let Some(loaded) = state.loaded_mut() else { return };
        if let Control::Pause { paused, .. } = submission.control {
            loaded.paused_at = paused.then_some(at);
        }
        let before = loaded.state.timers().to_vec();
        loaded.state.apply_all(&changes);
        let over = missing(&before, loaded.state.timers());
        loaded.head = head;
        loaded.updated_at = at;
        loaded.window.remember(Remembered {
            request_hash: submission.request_hash,
            request_digest: submission.request_digest,
            turn_seq: head.turn_seq.get(),
            kind: ending.to_byte(),
        });
        self.timers_over(over);
        match submission.control {
            Control::Reset { .. } => self.shared.watches.reset(&self.info.key),
            Control::Pause { paused: false, .. } => {
                self.shared.tell_timers(timers::Message::Resumed(timers::Resumed::Conversation(self.info.key.clone())));
            }
            _ => {}
        }
        submission.answer(Ok(ControlReply { uid, head, at, replayed: false }));
    }
}
