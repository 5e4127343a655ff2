//! What happens to a conversation besides turns: resets and feedback. Checked, written, applied, answered.

use colloquy_store::RecordKind;
use colloquy_turn::{ControlRecord, Remembered};
use colloquy_types::{Head, TurnSeq};
use ractor::ActorRef;
use tokio::time::Instant;

use super::{
    Conversation,
    commit::{self, BatchBuilder},
    loaded::Loaded,
    message::{Control, ControlSubmission, Message},
    state::{Body, RunningControl, State, Work},
    window::{EndingKind, Known},
};
use crate::{
    error::{DeadlineOutcome, Error},
    reply::ControlReply,
};

impl Control {
    const fn ending(&self) -> EndingKind {
        match self {
            Self::Reset { .. } => EndingKind::Reset,
            Self::Feedback { .. } => EndingKind::Feedback,
        }
    }
}

impl Conversation {
    pub(super) fn begin_control(&self, myself: &ActorRef<Message>, state: &mut State, submission: ControlSubmission) {
        let loaded = match self.check_control(state, &submission) {
            Ok(loaded) => loaded,
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
        };
        let batch = state.with_loaded(None, |lease, loaded| {
            let mut batch = BatchBuilder::new(lease, loaded, self.shared.entropy.as_ref(), at)?;
            batch.push(RecordKind::Control, &record.encode().map_err(commit::too_large)?)?;
            Ok(batch)
        });
        let deadline = submission.deadline;
        let work = Work::Control(Box::new(RunningControl { submission, changes, at }));
        self.append(myself, state, work, deadline, batch);
    }

    /// What must hold for it to start; otherwise the answer it gets at once.
    fn check_control<'a>(
        &self,
        state: &'a State,
        submission: &ControlSubmission,
    ) -> Result<&'a Loaded, Result<ControlReply, Error>> {
        let loaded = match &state.body {
            Body::Open(_, loaded) => loaded,
            Body::Absent(_) => return Err(Err(Error::ConversationAbsent)),
            Body::Broken(error) => return Err(Err(error.clone())),
        };
        match loaded.window.look_up(&submission.request_hash, &submission.request_digest) {
            Known::Ended { kind, .. } if kind == submission.control.ending() => {
                self.shared.metrics.duplicates.inc();
                return Err(Ok(ControlReply { head: loaded.head, replayed: true }));
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
            Control::Reset { .. } | Control::Feedback { .. } => {}
        }
        if submission.deadline <= Instant::now() || submission.reply.is_closed() {
            self.shared.metrics.expired.inc();
            return Err(Err(Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied }));
        }
        Ok(loaded)
    }

    pub(super) fn control_committed(&self, state: &mut State, control: RunningControl, head: Head) {
        let Some(loaded) = state.loaded_mut() else { return };
        let RunningControl { submission, changes, at } = control;
        loaded.state.apply_all(&changes);
        loaded.head = head;
        loaded.updated_at = at;
        loaded.window.remember(Remembered {
            request_hash: submission.request_hash,
            request_digest: submission.request_digest,
            turn_seq: head.turn_seq.get(),
            kind: submission.control.ending().to_byte(),
        });
        if matches!(submission.control, Control::Reset { .. }) {
            self.shared.watches.reset(&self.info.key);
        }
        submission.answer(Ok(ControlReply { head, replayed: false }));
    }
}
