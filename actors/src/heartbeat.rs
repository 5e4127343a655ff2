//! Signs of life of the actors that work on their own: nobody calls them, so nobody else would miss them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ractor::ActorCell;
use tokio::time::Instant;

/// An actor that works on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Janitor {
    /// Puts conversations to rest that nobody uses.
    Passivator,
    /// Erases conversations in which nothing happens.
    Retention,
    /// Has conversations speak when their timers are due.
    Timers,
}

impl Janitor {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Passivator, Self::Retention, Self::Timers];

    /// Its name in the tree and in logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Passivator => "passivator",
            Self::Retention => "janitor",
            Self::Timers => "timers",
        }
    }

    /// What is wrong when it gives no sign of life, for who looks at readiness.
    pub(crate) const fn missed(self) -> &'static str {
        match self {
            Self::Passivator => "the passivator gives no sign of life",
            Self::Retention => "the janitor of retention gives no sign of life",
            Self::Timers => "the keeper of timers gives no sign of life",
        }
    }

    /// How long it may be silent. Each beats at least every ten seconds, and before anything that it waits for, none of
    /// which takes longer than that.
    pub(crate) const fn silent_max(self) -> Duration {
        Duration::from_secs(30)
    }
}

/// When each janitor gave its last sign of life.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    began: Instant,
    /// Milliseconds since `began`.
    beats: [AtomicU64; Janitor::ALL.len()],
}

impl Heartbeats {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, beats: Default::default() }
    }

    /// A sign of life.
    pub(crate) fn beat(&self, janitor: Janitor) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let [passivator, retention, timers] = &self.beats;
        match janitor {
            Janitor::Passivator => passivator.store(since, Ordering::Relaxed),
            Janitor::Retention => retention.store(since, Ordering::Relaxed),
            Janitor::Timers => timers.store(since, Ordering::Relaxed),
        }
    }

    /// Whether it has been silent for longer than it may be.
    pub(crate) fn is_silent(&self, janitor: Janitor) -> bool {
        let [passivator, retention, timers] = &self.beats;
        let beat = match janitor {
            Janitor::Passivator => passivator,
            Janitor::Retention => retention,
            Janitor::Timers => timers,
        };
        let beat = self.began + Duration::from_millis(beat.load(Ordering::Relaxed));
        Instant::now().saturating_duration_since(beat) > janitor.silent_max()
    }

    /// Kills a janitor that gives no sign of life. Its supervisor is told, as of any end.
    pub(crate) fn kill_if_silent(&self, janitor: Janitor, actor: &ActorCell) {
        if self.is_silent(janitor) {
            tracing::error!(janitor = janitor.name(), "it gives no sign of life, killing it");
            actor.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use ractor::{Actor, ActorProcessingErr, ActorRef};

    use super::*;

    /// Never comes back from its first message.
    struct Hanging;

    impl Actor for Hanging {
        type Msg = ();
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle(&self, _: ActorRef<()>, (): (), (): &mut ()) -> Result<(), ActorProcessingErr> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_janitor_that_hangs_is_killed_and_one_that_beats_is_not() {
        let beats = Heartbeats::new(Instant::now());
        let (actor, ended) = Actor::spawn(None, Hanging, ()).await.unwrap();
        actor.send_message(()).unwrap();
        tokio::time::sleep(Duration::from_secs(29)).await;
        beats.kill_if_silent(Janitor::Retention, &actor.get_cell());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!ended.is_finished());
        beats.kill_if_silent(Janitor::Retention, &actor.get_cell());
        tokio::time::timeout(Duration::from_secs(1), ended).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_per_janitor() {
        let beats = Heartbeats::new(Instant::now());
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(Janitor::ALL.iter().all(|janitor| beats.is_silent(*janitor)));
        beats.beat(Janitor::Passivator);
        assert_eq!(Janitor::ALL.map(|janitor| beats.is_silent(janitor)), [false, true, true]);
    }
}
