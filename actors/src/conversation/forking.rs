//! The beginning of a fork: a conversation whose first batch says where it branched off and what it begins with.
//!
//! What it begins with was read from the other conversation's history by whoever asked; nothing of the other one is
//! touched. The state is a record of the fork's own chain, so that it needs nothing of the other one ever after, also when
//! that is erased. It has no turns of its own yet: they count from 1, and so do its request ids.

use colloquy_store::RecordKind;
use colloquy_turn::ControlRecord;
use ractor::ActorRef;

use super::{
    Conversation,
    commit::{self, BatchBuilder},
    loaded::Loaded,
    message::{Control, ControlSubmission, Message},
    state::{Body, RunningControl, State, Work},
    window::{EndingKind, Known},
};
use crate::{error::Error, reply::ControlReply};

impl Conversation {
    /// Writes the first records of a fork, or answers why not.
    pub(super) fn begin_fork(&self, myself: &ActorRef<Message>, state: &mut State, submission: ControlSubmission) {
        let uid = match &state.body {
            Body::Absent(lease) => lease.uid,
            Body::Open(lease, loaded) => {
                let known = loaded.window.look_up(&submission.request_hash, &submission.request_digest);
                let ended = matches!(known, Known::Ended { kind: EndingKind::Forked, .. });
                let (uid, head, at) = (lease.uid, loaded.head, loaded.created_at);
                let reply = ControlReply { uid, head, at, replayed: true };
                return submission.answer(if ended { Ok(reply) } else { Err(Error::ConversationExists) });
            }
            Body::Broken(error) | Body::Unusable(_, _, error) => {
                let error = error.clone();
                return submission.answer(Err(error));
            }
        };
        if let Err(error) = self.check_wanted(&submission) {
            return submission.answer(Err(error));
        }
        let Control::Fork(fork) = &submission.control else { return };
        let at = self.shared.clock.now();
        let new = Loaded::new(fork.pin.clone(), fork.flow.clone(), fork.subject.clone(), at);
        // Timers are the other conversation's: a fork speaks of its own accord once one of its own turns says so.
        let begins = fork.state.clone().without_timers();
        let creating = Loaded { state: begins.clone(), origin: Some(fork.origin), ..new };
        let record = ControlRecord::Forked {
            request_id: submission.request_id.clone(),
            request_digest: submission.request_digest,
            at,
            state: Box::new(begins),
        };
        let batch = state.with_loaded(Some(&creating), |lease, loaded| {
            let mut batch = BatchBuilder::new(lease, loaded, self.shared.entropy.as_ref(), at)?;
            batch.push(RecordKind::Control, &record.encode().map_err(commit::too_large)?)?;
            Ok(batch)
        });
        let (deadline, creating) = (submission.deadline, Some(Box::new(creating)));
        let work = Work::Control(Box::new(RunningControl { submission, uid, changes: Vec::new(), at, creating }));
        self.append(myself, state, work, deadline, batch);
    }
}
