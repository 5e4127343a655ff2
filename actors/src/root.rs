//! The root of the supervision tree: starts the shard supervisors, the keeper of the flows, the supervisors of gates
//! and the janitors, and starts one anew should it fail, by the policy of its kind. What fails again and again is
//! started anew after the longest pause, for ever: the process cannot do without it, and says so in its readiness.
//! A janitor that gives no sign of life is killed, and then started anew.

use std::{collections::HashMap, sync::Arc, time::Duration};

use colloquy_telemetry::Polled;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use crate::{
    flows::keeper::Keeper,
    heartbeat,
    janitor::Janitor,
    outside::{GateSupervisor, Gates},
    passivator::Passivator,
    quarantine::FailureCause,
    restarts::{Failures, RestartPolicy},
    shard::{KILLED, SHARDS, Shard},
    shared::Shared,
    timers::Timers,
    watched::watched,
};

/// How often the root looks for janitors that give no sign of life.
const LOOK: Duration = Duration::from_secs(5);

/// What stands below the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Child {
    /// A shard supervisor.
    Shard(u16),
    /// The keeper of the flows.
    Flows,
    /// The supervisor of these gates, by their place.
    Gates(usize),
    /// A janitor.
    Janitor(heartbeat::Janitor),
}

/// What the root is told; from itself.
#[derive(Debug)]
pub(crate) enum Message {
    /// The pause of a child that failed is over.
    Start(Child),
    /// Time to look for silent janitors.
    Look,
}

/// What the root knows of its children.
#[derive(Default)]
pub(crate) struct Children {
    running: HashMap<ActorId, (Child, ActorCell)>,
    failures: HashMap<Child, Failures>,
}

/// The tree's root.
pub(crate) struct Root {
    pub(crate) shared: Arc<Shared>,
}

impl Child {
    fn name(&self) -> String {
        match self {
            Self::Shard(number) => format!("shard supervisor {number}"),
            Self::Flows => "keeper of the flows".to_owned(),
            Self::Gates(number) => format!("supervisor of gates {number}"),
            Self::Janitor(janitor) => janitor.name().to_owned(),
        }
    }
}

impl Root {
    /// Every child there should be.
    fn children(&self) -> Vec<Child> {
        let shards = (0..SHARDS).map(Child::Shard);
        let gates = (0..self.gates().len()).map(Child::Gates);
        let janitors = heartbeat::Janitor::ALL.into_iter().filter(|janitor| self.shared.has(*janitor));
        shards.chain([Child::Flows]).chain(gates).chain(janitors.map(Child::Janitor)).collect()
    }

    fn gates(&self) -> Vec<Gates> {
        self.shared.outside.gates()
    }

    fn policy(&self, child: &Child) -> &RestartPolicy {
        let policies = &self.shared.settings.restart;
        match child {
            Child::Shard(_) => &policies.shard,
            Child::Flows => &policies.flows,
            Child::Gates(_) => &policies.gates,
            Child::Janitor(_) => &policies.janitor,
        }
    }

    async fn start(
        &self,
        myself: &ActorRef<Message>,
        state: &mut Children,
        child: Child,
    ) -> Result<(), ActorProcessingErr> {
        let (shared, supervisor) = (Arc::clone(&self.shared), myself.get_cell());
        let stalls = &self.shared.metrics.stalls;
        let cell = match &child {
            Child::Shard(number) => {
                let (actor, _) =
                    Actor::spawn_linked(None, watched(stalls, Polled::Supervisor, Shard { shared }), (), supervisor)
                        .await?;
                self.shared.set_shard(*number, Some(actor.clone()));
                actor.get_cell()
            }
            Child::Flows => {
                let (actor, _) =
                    Actor::spawn_linked(None, watched(stalls, Polled::Flows, Keeper { shared }), (), supervisor)
                        .await?;
                self.shared.set_keeper(actor.clone());
                actor.get_cell()
            }
            Child::Gates(place) => {
                let Some(gates) = self.gates().get(*place).cloned() else { return Ok(()) };
                let policy = self.shared.settings.restart.gates;
                let gates = GateSupervisor { gates, policy, stalls: stalls.clone() };
                Actor::spawn_linked(None, watched(stalls, Polled::Supervisor, gates), (), supervisor)
                    .await?
                    .0
                    .get_cell()
            }
            Child::Janitor(heartbeat::Janitor::Retention) => {
                Actor::spawn_linked(None, watched(stalls, Polled::Janitor, Janitor { shared }), (), supervisor)
                    .await?
                    .0
                    .get_cell()
            }
            Child::Janitor(heartbeat::Janitor::Timers) => {
                let (actor, _) =
                    Actor::spawn_linked(None, watched(stalls, Polled::Timers, Timers { shared }), (), supervisor)
                        .await?;
                self.shared.set_timers(actor.clone());
                actor.get_cell()
            }
            Child::Janitor(heartbeat::Janitor::Passivator) => {
                Actor::spawn_linked(None, watched(stalls, Polled::Passivator, Passivator { shared }), (), supervisor)
                    .await?
                    .0
                    .get_cell()
            }
        };
        self.shared.lives.started(&child);
        state.running.insert(cell.get_id(), (child, cell));
        Ok(())
    }

    async fn child_ended(
        &self,
        myself: &ActorRef<Message>,
        state: &mut Children,
        id: ActorId,
        cause: FailureCause,
    ) -> Result<(), ActorProcessingErr> {
        let Some((child, _)) = state.running.remove(&id) else { return Ok(()) };
        if self.shared.is_draining() {
            return Ok(());
        }
        if let Child::Shard(number) = child {
            self.shared.set_shard(number, None);
            for info in self.shared.directory.forget_shard(number) {
                if let Some(lease) = info.lease() {
                    self.shared.store.release(lease);
                }
            }
        }
        self.shared.lives.ended(&child, cause);
        let failures = state.failures.entry(child.clone()).or_default();
        let pause = failures.next_pause(Instant::now(), self.policy(&child));
        tracing::error!(
            child = child.name(),
            cause = cause.name(),
            pause_ms = pause.as_millis(),
            "it ended, starting it anew"
        );
        if pause.is_zero() {
            return self.start(myself, state, child).await;
        }
        drop(myself.send_after(pause, move || Message::Start(child)));
        Ok(())
    }

    /// Kills janitors that give no sign of life. Their end is told like any other.
    fn look(&self, state: &Children) {
        for (child, cell) in state.running.values() {
            if let Child::Janitor(janitor) = child {
                self.shared.heartbeats.kill_if_silent(*janitor, cell);
            }
        }
    }
}

impl Actor for Root {
    type Msg = Message;
    type State = Children;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let mut state = Children::default();
        for child in self.children() {
            self.start(&myself, &mut state, child).await?;
        }
        drop(myself.send_interval(LOOK, || Message::Look));
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Start(child) if !self.shared.is_draining() => self.start(&myself, state, child).await,
            Message::Start(_) => Ok(()),
            Message::Look => {
                self.look(state);
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(child, _) => {
                self.child_ended(&myself, state, child.get_id(), FailureCause::Panic).await
            }
            SupervisionEvent::ActorTerminated(child, _, reason) => {
                let cause = if reason.as_deref() == Some(KILLED) { FailureCause::Killed } else { FailureCause::Ended };
                self.child_ended(&myself, state, child.get_id(), cause).await
            }
            _ => Ok(()),
        }
    }
}
