//! Gates and what passes them, in time that the tests let pass.

mod gates;
mod models;
mod sessions;
mod sources;

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use colloquy_telemetry::Metrics;
use colloquy_types::{ConversationKey, SystemEntropy, TurnId};
use ractor::{Actor, ActorRef};
use tokio::time::Instant;

use super::{
    BreakerPolicy, CallContext, GateFigures, GatePolicy, Outside, World, WorldSpec,
    supervisor::{GateSupervisor, StartAnew},
};
use crate::RestartPolicies;

/// Counts what lives.
#[derive(Clone, Debug, Default)]
struct Alive(Arc<AtomicUsize>);

struct Life(Alive);

impl Alive {
    fn one(&self) -> Life {
        self.0.fetch_add(1, Ordering::SeqCst);
        Life(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What is done with one call after the other; the last is done again and again.
#[derive(Debug)]
struct Script<T> {
    steps: Mutex<VecDeque<T>>,
    calls: Mutex<Vec<Instant>>,
    alive: Alive,
}

impl<T: Clone> Script<T> {
    fn new(steps: impl IntoIterator<Item = T>) -> Arc<Self> {
        let steps = Mutex::new(steps.into_iter().collect());
        Arc::new(Self { steps, calls: Mutex::default(), alive: Alive::default() })
    }

    fn next(&self) -> T {
        self.calls.lock().unwrap().push(Instant::now());
        let mut steps = self.steps.lock().unwrap();
        let next = if steps.len() > 1 { steps.pop_front() } else { steps.front().cloned() };
        next.expect("a script has a step")
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

/// A world whose gates live.
struct Kept {
    world: World,
    metrics: Arc<Metrics>,
    supervisors: Vec<ActorRef<StartAnew>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.supervisors.iter().for_each(|supervisor| supervisor.stop(None));
    }
}

async fn kept(spec: WorldSpec) -> Kept {
    let metrics = Arc::new(Metrics::default());
    let world = World::new(spec, Arc::new(SystemEntropy), Arc::clone(&metrics));
    let mut supervisors = Vec::new();
    for gates in world.gates() {
        let supervisor =
            GateSupervisor { gates, policy: RestartPolicies::default().gates, stalls: Metrics::default().stalls };
        supervisors.push(Actor::spawn(None, supervisor, ()).await.expect("it starts").0);
    }
    Kept { world, metrics, supervisors }
}

impl Kept {
    fn figures(&self, name: &str) -> GateFigures {
        let gates = self.world.gates();
        let board = gates.iter().flat_map(|gates| gates.boards()).find(|board| board.name == name);
        board.expect("there is such a gate").figures()
    }

    fn told(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|told| told == line)
    }
}

fn context(budget: Duration) -> CallContext {
    CallContext {
        key: ConversationKey::from_parts("acme", "c-1").unwrap(),
        turn_id: TurnId([7; 16]),
        step: 3,
        deadline: Instant::now() + budget,
        trace: None,
    }
}

fn policy(concurrency: usize, queue_len_max: usize, failures: u32) -> GatePolicy {
    GatePolicy {
        concurrency: NonZeroUsize::new(concurrency).unwrap(),
        queue_len_max,
        breaker: BreakerPolicy { failures, ..BreakerPolicy::default() },
    }
}

/// Lets everything that is ready run.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
