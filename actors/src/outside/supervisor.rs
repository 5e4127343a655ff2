//! The supervisor of gates and sessions: starts each anew when it ends, by a policy that is data. They have nothing to
//! lose, so there is no limit on how often; the pauses keep one that cannot live from spinning.

use std::{collections::HashMap, sync::Arc};

use colloquy_telemetry::{Polled, Stalls};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use super::{
    board::Board,
    gate::{Gate, GatePolicy},
    session::{SessionKeeper, SessionSpec},
};
use crate::{
    restarts::{Failures, RestartPolicy},
    watched::watched,
};

/// What the children of one supervisor stand in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateKind {
    /// Models.
    Model,
    /// Sources.
    Source,
}

impl GateKind {
    /// The supervisor's name in the tree.
    pub const fn supervisor(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Source => "sources",
        }
    }
}

/// What is started, and started anew.
#[derive(Clone)]
pub(crate) enum Child {
    /// A gate.
    Gate(GatePolicy, Arc<Board>),
    /// A session's keeper.
    Session(SessionSpec),
}

impl Child {
    fn name(&self) -> &str {
        match self {
            Self::Gate(_, board) => &board.name,
            Self::Session(spec) => &spec.name,
        }
    }
}

/// Gates and sessions that the tree keeps alive.
#[derive(Clone)]
pub struct Gates {
    pub(crate) kind: GateKind,
    pub(crate) children: Arc<[Child]>,
}

impl Gates {
    /// The gates' boards.
    pub(crate) fn boards(&self) -> impl Iterator<Item = &Arc<Board>> {
        self.children.iter().filter_map(|child| match child {
            Child::Gate(_, board) => Some(board),
            Child::Session(_) => None,
        })
    }
}

/// The supervisor.
pub(crate) struct GateSupervisor {
    pub(crate) gates: Gates,
    pub(crate) policy: RestartPolicy,
    pub(crate) stalls: Stalls,
}

/// Which child stands where, and how often each failed.
#[derive(Default)]
pub(crate) struct Children {
    started: HashMap<ActorId, usize>,
    failures: HashMap<usize, Failures>,
}

/// A child is due to be started anew.
#[derive(Debug)]
pub(crate) struct StartAnew(usize);

impl GateSupervisor {
    async fn start(&self, myself: &ActorRef<StartAnew>, place: usize) -> Result<Option<ActorId>, ActorProcessingErr> {
        let id = match self.gates.children.get(place) {
            None => return Ok(None),
            Some(Child::Gate(policy, board)) => {
                let gate = Gate { policy: *policy, board: Arc::clone(board) };
                let gate = watched(&self.stalls, Polled::Gate, gate);
                Actor::spawn_linked(None, gate, (), myself.get_cell()).await?.0.get_id()
            }
            Some(Child::Session(spec)) => {
                let keeper = SessionKeeper { spec: spec.clone() };
                let keeper = watched(&self.stalls, Polled::Session, keeper);
                Actor::spawn_linked(None, keeper, (), myself.get_cell()).await?.0.get_id()
            }
        };
        Ok(Some(id))
    }
}

impl Actor for GateSupervisor {
    type Msg = StartAnew;
    type State = Children;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<StartAnew>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let mut state = Children::default();
        for place in 0..self.gates.children.len() {
            state.started.extend(self.start(&myself, place).await?.map(|id| (id, place)));
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<StartAnew>,
        StartAnew(place): StartAnew,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.started.extend(self.start(&myself, place).await?.map(|id| (id, place)));
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<StartAnew>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(child, _) | SupervisionEvent::ActorTerminated(child, ..) = event
            && let Some(place) = state.started.remove(&child.get_id())
        {
            let name = self.gates.children.get(place).map(Child::name).unwrap_or_default();
            let pause = state.failures.entry(place).or_default().next_pause(Instant::now(), &self.policy);
            tracing::error!(
                place = name,
                pause_ms = pause.as_millis(),
                "gate or session keeper ended, starting it anew"
            );
            drop(myself.send_after(pause, move || StartAnew(place)));
        }
        Ok(())
    }
}
