//! The watch over an activation. Until an actor has started, ractor tells nobody that it failed: a panic while it reads
//! its history, or a kill, would leave its place taken by nothing. And what becomes of a history that cannot be read: the
//! actor answers whoever waits, and opens count as failures do, so that calls to it cost the store little.

use std::sync::Arc;

use ractor::ActorId;

use super::Conversation;
use crate::{directory::ActorInfo, error::Error, quarantine::FailureCause, shard, shared::Shared};

/// Tells the supervisor when it is dropped before the activation is done.
pub(super) struct Activating {
    shared: Arc<Shared>,
    info: Arc<ActorInfo>,
    id: ActorId,
    done: bool,
}

impl Activating {
    pub(super) fn begin(shared: &Arc<Shared>, info: &Arc<ActorInfo>, id: ActorId) -> Self {
        Self { shared: Arc::clone(shared), info: Arc::clone(info), id, done: false }
    }

    pub(super) fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Activating {
    fn drop(&mut self) {
        if !self.done {
            let cause = if std::thread::panicking() { FailureCause::PanicAtActivation } else { FailureCause::Killed };
            self.shared.report_failed(&self.info, self.id, cause);
        }
    }
}

impl Conversation {
    /// Counts an activation that found a history which cannot be read; gives back why.
    pub(super) fn unreadable(&self, error: Error) -> Error {
        if matches!(error, Error::Corrupt { .. }) {
            let (shared, key) = (&self.shared, &self.info.key);
            let verdict = shared.quarantine.unreadable(key, error.clone(), shared.clock.now());
            shard::tell(shared, &self.info, FailureCause::UnreadableHistory, &verdict);
        }
        error
    }
}
