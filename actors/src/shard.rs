//! Shard supervisors: 64 of them, each over the conversations of 64 partitions, so that an exit wakes
//! one supervisor of few children. What becomes of a child that failed or was killed is data, a [`RestartPolicy`]:
//! it is started anew from the store, at once or after a pause, and quarantined when it fails again and again.
//!
//! [`RestartPolicy`]: crate::RestartPolicy

use std::{sync::Arc, time::Duration};

use colloquy_types::{ConversationKey, PARTITIONS};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::{
    directory::ActorInfo,
    quarantine::{FailureCause, Verdict},
    shared::Shared,
};

/// How many shard supervisors there are.
pub(crate) const SHARDS: u16 = 64;

/// What ractor gives as the reason of an actor that was killed.
pub(crate) const KILLED: &str = "killed";

/// The shard that `key` belongs to.
pub(crate) fn of(key: &ConversationKey) -> u16 {
    key.partition().get() / (PARTITIONS / SHARDS)
}

/// One shard's supervisor.
pub(crate) struct Shard {
    pub(crate) shared: Arc<Shared>,
}

/// What a supervisor is told, besides what ractor tells it.
#[derive(Debug)]
pub(crate) enum Message {
    /// From an activation that did not come to its end, which ractor tells nobody, and from whoever finds an actor
    /// gone. May repeat.
    Failed { id: ActorId, cause: FailureCause },
    /// From itself, after the pause. Does nothing when somebody started it meanwhile, or may not.
    Restart(ConversationKey),
}

impl Actor for Shard {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<Message>, message: Message, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Failed { id, cause } => self.child_failed(&myself, id, cause),
            Message::Restart(key) => self.restart(&key),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            // The panic's own words may hold user text; they are not logged.
            SupervisionEvent::ActorFailed(child, _) => {
                self.child_failed(&myself, child.get_id(), FailureCause::Panic);
            }
            SupervisionEvent::ActorTerminated(child, _, reason) if reason.as_deref() == Some(KILLED) => {
                self.child_failed(&myself, child.get_id(), FailureCause::Killed);
            }
            SupervisionEvent::ActorTerminated(child, ..) => drop(self.shared.directory.forget(child.get_id())),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl Shard {
    fn child_failed(&self, myself: &ActorRef<Message>, id: ActorId, cause: FailureCause) {
        let Some(info) = self.shared.directory.info(id) else { return };
        // One that had made way already: the next activation has its place.
        let was_reached = self.shared.directory.get(&info.key).is_some_and(|handle| handle.actor.get_id() == id);
        let verdict = (was_reached && !self.shared.is_draining())
            .then(|| self.shared.quarantine.failed(&info.key, cause, self.shared.clock.now()));
        self.shared.directory.forget(id);
        if let Some(lease) = info.lease() {
            self.shared.store.release(lease);
        }
        match cause {
            FailureCause::Killed => self.shared.metrics.restarts_killed.inc(),
            _ => self.shared.metrics.restarts_panic.inc(),
        };
        if let Some(verdict) = verdict {
            self.carry_out(myself, &info, cause, verdict);
        }
    }

    fn carry_out(&self, myself: &ActorRef<Message>, info: &ActorInfo, cause: FailureCause, verdict: Verdict) {
        let Some(pause) = tell(&self.shared, info, cause, &verdict) else { return };
        let (shard, cause, restarts) = (info.shard, cause.name(), info.restarts);
        tracing::warn!(shard, cause, restarts, pause_ms = pause.as_millis(), "conversation actor died");
        if pause.is_zero() {
            return self.restart(&info.key);
        }
        let key = info.key.clone();
        drop(myself.send_after(pause, move || Message::Restart(key)));
    }

    fn restart(&self, key: &ConversationKey) {
        if !self.shared.is_draining() {
            // Held again, or the tree is going: then it is not to be started.
            drop(self.shared.spawn(key));
        }
    }
}

/// Tells that a conversation is quarantined, or would be; after which pause it may be started, if it may.
pub(crate) fn tell(shared: &Shared, info: &ActorInfo, cause: FailureCause, verdict: &Verdict) -> Option<Duration> {
    let (shard, cause, restarts) = (info.shard, cause.name(), info.restarts);
    match verdict {
        Verdict::Restart(pause) => return Some(*pause),
        Verdict::Quarantine(quarantined) => {
            shared.metrics.residence.quarantines.inc();
            // Which one it is tells the listing of quarantined conversations.
            tracing::warn!(shard, cause, restarts, why = %quarantined, "conversation quarantined");
        }
        Verdict::Crowded => {
            shared.metrics.residence.quarantines_refused.inc();
            tracing::warn!(shard, cause, restarts, "too many conversations fail to quarantine this one too");
        }
    }
    None
}
