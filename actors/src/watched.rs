//! Actors whose polls are measured, whatever they handle. Conversations measure theirs themselves, without a box for each message.

use colloquy_telemetry::{Polled, Stalls};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

/// An actor, and what its polls are counted as.
pub(crate) struct Watched<A> {
    actor: A,
    polled: Polled,
    stalls: Stalls,
}

/// `actor`, whose polls are measured.
pub(crate) fn watched<A: Actor>(stalls: &Stalls, polled: Polled, actor: A) -> Watched<A> {
    Watched { actor, polled, stalls: stalls.clone() }
}

impl<A: Actor> Actor for Watched<A> {
    type Msg = A::Msg;
    type State = A::State;
    type Arguments = A::Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<A::Msg>,
        arguments: A::Arguments,
    ) -> Result<A::State, ActorProcessingErr> {
        self.stalls.watch(self.polled, self.actor.pre_start(myself, arguments)).await
    }

    async fn post_start(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.stalls.watch(self.polled, self.actor.post_start(myself, state)).await
    }

    async fn post_stop(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.stalls.watch(self.polled, self.actor.post_stop(myself, state)).await
    }

    async fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.stalls.watch(self.polled, self.actor.handle(myself, message, state)).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.stalls.watch(self.polled, self.actor.handle_supervisor_evt(myself, event, state)).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use colloquy_telemetry::{Metrics, STALL};
    use ractor::{ActorStatus, SupervisionEvent};

    use super::*;

    /// Keeps its thread wherever it is called.
    struct Busy;

    fn keep_thread() {
        let begun = Instant::now();
        while begun.elapsed() < STALL {
            std::hint::spin_loop();
        }
    }

    impl Actor for Busy {
        type Msg = ();
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
            keep_thread();
            Ok(())
        }

        async fn handle(&self, myself: ActorRef<()>, (): (), (): &mut ()) -> Result<(), ActorProcessingErr> {
            keep_thread();
            let (child, _) = Actor::spawn_linked(None, Idle, (), myself.get_cell()).await?;
            child.stop(None);
            Ok(())
        }

        async fn handle_supervisor_evt(
            &self,
            myself: ActorRef<()>,
            event: SupervisionEvent,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            if matches!(event, SupervisionEvent::ActorTerminated(..)) {
                keep_thread();
                myself.stop(None);
            }
            Ok(())
        }

        async fn post_stop(&self, _: ActorRef<()>, (): &mut ()) -> Result<(), ActorProcessingErr> {
            keep_thread();
            Ok(())
        }
    }

    struct Idle;

    impl Actor for Idle {
        type Msg = ();
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn whatever_an_actor_handles_is_measured() {
        let stalls = Metrics::default().stalls;
        let (actor, ended) = Actor::spawn(None, watched(&stalls, Polled::Janitor, Busy), ()).await.unwrap();
        actor.send_message(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
        assert_eq!(actor.get_status(), ActorStatus::Stopped);
        assert_eq!(stalls.count(Polled::Janitor), 4, "its start, its message, its child's end, its own");
    }
}
