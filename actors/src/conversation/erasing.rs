//! The end of a conversation: one record that the store takes as the erasure of all before it.
//!
//! It waits its turn behind what runs and what waits already. Once it is synced the key is free: what waits goes to
//! the next activation, which finds no conversation and answers, or begins, accordingly. A crash before the sync
//! leaves everything as it was; one after it leaves the conversation erased, and its caller without an answer.

use colloquy_store::RecordKind;
use colloquy_turn::{ErasedRecord, ErasureCause};
use colloquy_types::{ConversationUid, Head};
use ractor::ActorRef;

use super::{
    Conversation,
    commit::{self, BatchBuilder},
    message::{Control, ControlSubmission, Erase, Message},
    state::{Body, RunningControl, State, Work},
    window::Known,
};
use crate::{error::Error, reply::ControlReply};

impl Erase {
    const fn cause(self) -> ErasureCause {
        match self {
            Self::Asked { .. } => ErasureCause::Asked,
            Self::Idle { .. } => ErasureCause::Idle,
        }
    }
}

impl Conversation {
    /// Writes the record that ends the conversation, or answers why not.
    pub(super) fn begin_erasure(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        submission: ControlSubmission,
        erase: Erase,
    ) {
        let uid = match self.check_erasure(state, &submission, erase) {
            Ok(uid) => uid,
            Err(error) => return submission.answer(Err(error)),
        };
        let Some(lease) = state.lease() else { return };
        let at = self.shared.clock.now();
        let mut batch = BatchBuilder::behind(lease, &state.head(), self.shared.entropy.as_ref(), at);
        let record = ErasedRecord { at, cause: erase.cause() }.encode().map_err(commit::too_large);
        let batch = record.and_then(|payload| batch.push(RecordKind::Erased, &payload)).map(|()| batch);
        let deadline = submission.deadline;
        let work = Work::Control(Box::new(RunningControl { submission, uid, changes: Vec::new(), at, creating: None }));
        self.append(myself, state, work, deadline, batch);
    }

    /// What must hold for it to begin. A history that is stored whole but cannot be used can still be erased.
    fn check_erasure(
        &self,
        state: &State,
        submission: &ControlSubmission,
        erase: Erase,
    ) -> Result<ConversationUid, Error> {
        let (lease, loaded) = match &state.body {
            Body::Open(lease, loaded) => (lease, Some(loaded)),
            Body::Unusable(lease, ..) => (lease, None),
            Body::Absent(_) => return Err(Error::ConversationAbsent),
            Body::Broken(error) => return Err(error.clone()),
        };
        if let (Erase::Asked { .. }, Some(loaded)) = (erase, loaded)
            && loaded.window.look_up(&submission.request_hash, &submission.request_digest) != Known::No
        {
            return Err(Error::RequestIdReused);
        }
        match (erase, loaded) {
            (Erase::Asked { uid: Some(uid) }, _) if uid != lease.uid => return Err(Error::ConversationAbsent),
            (Erase::Idle { since }, Some(loaded)) if loaded.updated_at > since => {
                return Err(Error::HistoryChanged { head: loaded.head });
            }
            _ => {}
        }
        self.check_wanted(submission)?;
        Ok(lease.uid)
    }

    /// Forgets the conversation and makes way for the next one under its key.
    pub(super) fn erased(&self, myself: &ActorRef<Message>, state: &mut State, control: RunningControl, head: Head) {
        let RunningControl { submission, uid, at, .. } = control;
        if let Some(loaded) = state.loaded_mut() {
            self.timers_over(loaded.state.timers().to_vec());
        }
        state.body = Body::Broken(Error::ConversationAbsent);
        let storage = &self.shared.metrics.storage;
        match submission.control {
            Control::Erase(Erase::Idle { .. }) => storage.erasures_idle.inc(),
            _ => storage.erasures_asked.inc(),
        };
        // Before anything may begin under the key: a watch must not go on with another conversation.
        self.shared.watches.erased(&self.info.key);
        // What could not be read is gone: who begins under the key has failed at nothing.
        self.shared.quarantine.let_erase(&self.info.key);
        self.retire(myself, state);
        submission.answer(Ok(ControlReply { uid, head, at, replayed: false }));
    }
}
