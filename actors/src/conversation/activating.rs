//! The watch over an activation. Until an actor has started, ractor tells nobody that it failed: a panic while it reads
//! its history, or a kill, would leave its place taken by nothing.

use std::sync::Arc;

use ractor::ActorId;

use crate::{directory::ActorInfo, quarantine::FailureCause, shared::Shared};

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
