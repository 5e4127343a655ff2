//! Shard supervisors: 64 of them, each over the conversations of 64 partitions, so that an exit wakes
//! one supervisor of few children. A child that failed or was killed is started anew from the store; the
//! policy is data.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use colloquy_types::{ConversationKey, PARTITIONS};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use crate::shared::Shared;

/// How many shard supervisors there are.
pub(crate) const SHARDS: u16 = 64;

/// What ractor gives as the reason of an actor that was killed.
const KILLED: &str = "killed";

/// The shard that `key` belongs to.
pub(crate) fn of(key: &ConversationKey) -> u16 {
    key.partition().get() / (PARTITIONS / SHARDS)
}

/// One shard's supervisor.
pub(crate) struct Shard {
    pub(crate) shared: Arc<Shared>,
}

/// Recent restarts by conversation; swept as they leave the policy's window.
#[derive(Default)]
pub(crate) struct Restarts(HashMap<ConversationKey, VecDeque<Instant>>);

impl Actor for Shard {
    type Msg = ();
    type State = Restarts;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<Restarts, ActorProcessingErr> {
        Ok(Restarts::default())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut Restarts,
    ) -> Result<(), ActorProcessingErr> {
        let metrics = &self.shared.metrics;
        match event {
            SupervisionEvent::ActorFailed(child, _) => {
                // The panic's own words may hold user text; they are not logged.
                metrics.restarts_panic.inc();
                self.child_died(child.get_id(), "panic", state);
            }
            SupervisionEvent::ActorTerminated(child, _, reason) if reason.as_deref() == Some(KILLED) => {
                metrics.restarts_killed.inc();
                self.child_died(child.get_id(), KILLED, state);
            }
            SupervisionEvent::ActorTerminated(child, ..) => drop(self.shared.directory.forget(child.get_id())),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl Shard {
    fn child_died(&self, id: ractor::ActorId, cause: &'static str, state: &mut Restarts) {
        let Some(info) = self.shared.directory.forget(id) else { return };
        if let Some(lease) = info.lease() {
            self.shared.store.release(lease);
        }
        if self.shared.is_draining() {
            return;
        }
        let policy = &self.shared.settings.restart;
        let now = Instant::now();
        state.0.retain(|_, times| {
            while times.front().is_some_and(|time| now.saturating_duration_since(*time) > policy.window) {
                times.pop_front();
            }
            !times.is_empty()
        });
        let times = state.0.entry(info.key.clone()).or_default();
        let within_policy = times.len() < policy.restarts_max as usize;
        tracing::warn!(shard = info.shard, cause, restarts = info.restarts, within_policy, "conversation actor died");
        if within_policy {
            times.push_back(now);
            self.shared.spawn(&info.key, info.restarts.saturating_add(1));
        }
    }
}
