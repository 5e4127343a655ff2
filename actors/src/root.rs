//! The root of the supervision tree: starts the shard supervisors and the keeper of the flows, and starts one anew
//! should it fail.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::{
    flows::keeper::Keeper,
    shard::{SHARDS, Shard},
    shared::Shared,
};

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

    async fn replace(&self, myself: &ActorRef<()>, id: ActorId) -> Result<(), ActorProcessingErr> {
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
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        for number in 0..SHARDS {
            let cell = self.start_shard(&myself).await?;
            self.shared.set_shard(usize::from(number), cell);
        }
        self.start_keeper(&myself).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(child, _) | SupervisionEvent::ActorTerminated(child, ..) => {
                self.replace(&myself, child.get_id()).await
            }
            _ => Ok(()),
        }
    }
}
