//! The root of the supervision tree: starts the shard supervisors, the keeper of the flows, the supervisors of gates
//! and the janitor, and starts one anew should it fail.

use std::{collections::HashMap, sync::Arc};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::{
    flows::keeper::Keeper,
    janitor::Janitor,
    outside::{GateSupervisor, Gates},
    shard::{SHARDS, Shard},
    shared::Shared,
};

/// What the root knows its children by, besides what is shared.
#[derive(Default)]
pub(crate) struct Children {
    gates: HashMap<ActorId, Gates>,
    janitor: Option<ActorId>,
}

/// The tree's root.
pub(crate) struct Root {
    pub(crate) shared: Arc<Shared>,
}

impl Root {
    async fn start_shard(&self, myself: &ActorRef<()>) -> Result<ActorCell, ActorProcessingErr> {
        let shard = Shard { shared: Arc::clone(&self.shared) };
        let (actor, _) = Actor::spawn_linked(None, shard, (), myself.get_cell()).await?;
        Ok(actor.get_cell())
    }

    async fn start_keeper(&self, myself: &ActorRef<()>) -> Result<(), ActorProcessingErr> {
        let keeper = Keeper { shared: Arc::clone(&self.shared) };
        let (actor, _) = Actor::spawn_linked(None, keeper, (), myself.get_cell()).await?;
        self.shared.set_keeper(actor);
        Ok(())
    }

    /// Starts the janitor, if there is anything for it to do.
    async fn start_janitor(&self, myself: &ActorRef<()>, state: &mut Children) -> Result<(), ActorProcessingErr> {
        if !self.shared.idle.tenants.is_empty() {
            let janitor = Janitor { shared: Arc::clone(&self.shared) };
            let (actor, _) = Actor::spawn_linked(None, janitor, (), myself.get_cell()).await?;
            state.janitor = Some(actor.get_id());
        }
        Ok(())
    }

    async fn start_gates(
        &self,
        myself: &ActorRef<()>,
        gates: Gates,
        state: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        let supervisor = GateSupervisor { gates: gates.clone() };
        let (actor, _) = Actor::spawn_linked(None, supervisor, (), myself.get_cell()).await?;
        state.gates.insert(actor.get_id(), gates);
        Ok(())
    }

    async fn replace(
        &self,
        myself: &ActorRef<()>,
        id: ActorId,
        state: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        if state.janitor == Some(id) && !self.shared.is_draining() {
            tracing::error!("the janitor ended, starting it anew");
            return self.start_janitor(myself, state).await;
        }
        if let Some(gates) = state.gates.remove(&id)
            && !self.shared.is_draining()
        {
            tracing::error!(gates = gates.kind.supervisor(), "supervisor of gates ended, starting it anew");
            return self.start_gates(myself, gates, state).await;
        }
        if self.shared.keeper().is_some_and(|keeper| keeper.get_id() == id) && !self.shared.is_draining() {
            tracing::error!("the keeper of the flows ended, starting it anew");
            return self.start_keeper(myself).await;
        }
        self.replace_shard(myself, id).await
    }

    async fn replace_shard(&self, myself: &ActorRef<()>, id: ActorId) -> Result<(), ActorProcessingErr> {
        let Some(number) = self.shared.shard_number(id) else { return Ok(()) };
        if self.shared.is_draining() {
            return Ok(());
        }
        tracing::error!(shard = number, "shard supervisor ended, starting it anew");
        let cell = self.start_shard(myself).await?;
        self.shared.set_shard(number, cell);
        Ok(())
    }
}

impl Actor for Root {
    type Msg = ();
    type State = Children;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<()>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        for number in 0..SHARDS {
            let cell = self.start_shard(&myself).await?;
            self.shared.set_shard(usize::from(number), cell);
        }
        self.start_keeper(&myself).await?;
        let mut state = Children::default();
        for gates in self.shared.outside.gates() {
            self.start_gates(&myself, gates, &mut state).await?;
        }
        self.start_janitor(&myself, &mut state).await?;
        Ok(state)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(child, _) | SupervisionEvent::ActorTerminated(child, ..) => {
                self.replace(&myself, child.get_id(), state).await
            }
            _ => Ok(()),
        }
    }
}
