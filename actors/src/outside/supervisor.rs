//! The supervisor of gates: starts each anew when it ends. A gate has nothing to lose, so there is no limit on how
//! often; a pause keeps one that cannot live from spinning.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::{
    board::Board,
    gate::{Gate, GatePolicy},
};

/// How long a gate that ended is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// The supervisor.
pub(crate) struct GateSupervisor {
    pub(crate) gates: Vec<(GatePolicy, Arc<Board>)>,
}

/// A gate is due to be started anew.
#[derive(Debug)]
pub(crate) struct StartAnew(usize);

impl GateSupervisor {
    async fn start(&self, myself: &ActorRef<StartAnew>, place: usize) -> Result<Option<ActorId>, ActorProcessingErr> {
        let Some((policy, board)) = self.gates.get(place) else { return Ok(None) };
        let gate = Gate { policy: *policy, board: Arc::clone(board) };
        let (actor, _) = Actor::spawn_linked(None, gate, (), myself.get_cell()).await?;
        Ok(Some(actor.get_id()))
    }
}

impl Actor for GateSupervisor {
    type Msg = StartAnew;
    type State = HashMap<ActorId, usize>;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<StartAnew>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let mut started = HashMap::new();
        for place in 0..self.gates.len() {
            started.extend(self.start(&myself, place).await?.map(|id| (id, place)));
        }
        Ok(started)
    }

    async fn handle(
        &self,
        myself: ActorRef<StartAnew>,
        StartAnew(place): StartAnew,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.extend(self.start(&myself, place).await?.map(|id| (id, place)));
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<StartAnew>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(gate, _) | SupervisionEvent::ActorTerminated(gate, ..) = event
            && let Some(place) = state.remove(&gate.get_id())
        {
            let name = self.gates.get(place).map(|(_, board)| board.name.as_str()).unwrap_or_default();
            tracing::error!(place = name, "gate ended, starting it anew");
            drop(myself.send_after(PAUSE, move || StartAnew(place)));
        }
        Ok(())
    }
}
