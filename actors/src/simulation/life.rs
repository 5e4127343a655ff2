//! The processes of a run, one after the other on the same disk: each is recovered from what the one before left, lives
//! through a part of the schedule, and ends.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use colloquy_store::{
    ConversationStore,
    simulated::{Crash, Random, SeededEntropy, SimulatedDisk, SimulatedStore},
};
use colloquy_telemetry::Metrics;
use colloquy_types::{Clock, ConversationKey, FlowName, SHARED_TENANT, TenantId};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep, timeout},
};

use super::{
    Breach, Report, Simulation, Violation, author::NoAuthor, calls::Calls, outside::SimulatedWorld,
    schedule::Operation, steering::same_pauses, time::SimulatedClock, witness::Witness,
};
use crate::{
    Dependencies, FlowCatalogue, IdleRetention, Limits, OpenFlowsError, PassivationPolicy, Runtime, RuntimeSettings,
    SnapshotPolicy, StoreFacts, invariants::Invariant, shard,
};

const CONVERSATIONS: usize = 4;
/// Steps of a seed, at least and at most.
const STEPS: (usize, usize) = (180, 280);
/// So many crashes in a row may come while one is being recovered from.
const RECOVERIES_MAX: usize = 3;
/// How long the last process waits for all that runs to end: longer than any call may take.
const REST: Duration = Duration::from_secs(30);
/// When it is known again what is paused, after calls of which nobody heard: longer than one of them may take.
const SETTLED: Duration = Duration::from_secs(12);

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Crashed(Crash),
    /// In order: what runs ends, then the store is closed.
    Stopped,
}

/// A seed being played.
struct Run<'a> {
    with: &'a Simulation,
    seed: u64,
    random: Random,
    disk: SimulatedDisk,
    witness: Arc<Witness>,
    clock: Arc<SimulatedClock>,
    entropy: Arc<SeededEntropy>,
    world: Arc<SimulatedWorld>,
    flow: FlowName,
    tenant: TenantId,
    keys: Vec<ConversationKey>,
    settings: RuntimeSettings,
    metrics: Arc<Metrics>,
    steps_left: usize,
}

pub(super) fn play(with: &Simulation, seed: u64) -> Result<Report, Box<Violation>> {
    let mut run =
        Run::new(with, seed).map_err(|breach| Box::new(Violation { seed, step: 0, breach, lines: Vec::new() }))?;
    run.play();
    let report = run.report();
    match run.witness.breach() {
        None => Ok(report),
        Some(breach) => Err(Box::new(Violation { seed, step: report.steps, breach, lines: run.witness.lines() })),
    }
}

fn settings(random: &mut Random) -> RuntimeSettings {
    let limits = Limits {
        queue_len_max: NonZeroUsize::MIN.saturating_add(random.between(2, 7)),
        tenant_in_flight_max: NonZeroUsize::MIN.saturating_add(random.between(9, 40)),
        // The cores' time is not the simulation's.
        at_once_min: NonZeroUsize::MAX,
        ..Limits::default()
    };
    let turns = u32::try_from(random.between(1, 8)).unwrap_or(8);
    let snapshot = SnapshotPolicy { turns, ratio: 1, ..Default::default() };
    let idle_millis = *random.pick(&[200, 2000, 600_000]).unwrap_or(&2000);
    let passivation = PassivationPolicy {
        idle_after: Duration::from_millis(idle_millis),
        // Some seeds have room for fewer than there are.
        active_max: NonZeroUsize::MIN.saturating_add(random.between(1, CONVERSATIONS)),
        ..Default::default()
    };
    RuntimeSettings { limits, snapshot, passivation, ..Default::default() }
}

impl<'a> Run<'a> {
    fn new(with: &'a Simulation, seed: u64) -> Result<Self, Breach> {
        let setup = |what: &dyn std::fmt::Display| Breach::new(Invariant::Durable, format!("cannot begin: {what}"));
        let mut random = Random::new(seed, "operations");
        let disk = SimulatedDisk::new(seed, &with.scratch).map_err(|error| setup(&error))?;
        if let Some(planted) = with.bug.and_then(super::Bug::in_store) {
            disk.plant(planted);
        }
        let clock = Arc::new(SimulatedClock::default());
        let witness = Arc::new(Witness::new(seed, Arc::clone(&with.flow), Arc::clone(&clock), with.tells));
        let tenant = TenantId::parse("acme").map_err(|error| setup(&error))?;
        let key = |number| ConversationKey::from_parts(tenant.as_str(), &format!("c{number}")).ok();
        let settings = settings(&mut random);
        let steps_left = random.between(STEPS.0, STEPS.1);
        Ok(Self {
            with,
            seed,
            random,
            disk,
            world: Arc::new(SimulatedWorld::new(seed, Arc::clone(&witness))),
            witness,
            clock,
            entropy: Arc::new(SeededEntropy::new(seed.wrapping_add(1) << 32)),
            flow: with.flow.name().clone(),
            keys: (0..CONVERSATIONS).filter_map(key).collect(),
            tenant,
            settings,
            metrics: Arc::default(),
            steps_left,
        })
    }

    fn report(&self) -> Report {
        let mut report = self.witness.report();
        report.counted("turns resumed", self.metrics.turns_resumed.get());
        report.counted("turns closed", self.metrics.turns_closed.get());
        report.counted("turns interrupted", self.metrics.turns_interrupted.get());
        report.counted("turns replaced", self.metrics.turns_replaced.get());
        report.counted("conversations left idle", self.metrics.residence.passivations_idle.get());
        report.counted("conversations that made room", self.metrics.residence.passivations_watermark.get());
        report.counted("actors restarted after a panic", self.metrics.restarts_panic.get());
        report.counted("actors restarted after a kill", self.metrics.restarts_killed.get());
        report
    }

    fn is_well(&self) -> bool {
        self.witness.breach().is_none()
    }

    fn play(&mut self) {
        while self.is_well() && self.steps_left > 0 {
            self.process(false);
        }
        if self.is_well() {
            self.world.calm_down();
            self.process(true);
        }
    }

    /// One process, from its recovery to its end. The last one only ends what is open.
    fn process(&mut self, is_last: bool) {
        let runtime = match Builder::new_current_thread().enable_time().start_paused(true).build() {
            Ok(runtime) => runtime,
            Err(error) => return self.fail(&format!("no runtime: {error}")),
        };
        let ended = runtime.block_on(async {
            self.clock.begin();
            let ended = self.live(is_last).await;
            self.clock.end();
            ended
        });
        // The process ends here, wherever its tasks stand.
        drop(runtime);
        let Some((store, end)) = ended else { return };
        self.witness.refresh();
        let crash = match end {
            End::Crashed(crash) => crash,
            End::Stopped => Crash::Process,
        };
        self.witness.note(format_args!("{end:?} ---------------"));
        if let Err(error) = self.disk.crash(&store, crash) {
            self.fail(&format!("no index: {error}"));
        }
        self.witness.count("processes");
    }

    fn fail(&self, what: &str) {
        self.witness.check(Err(Breach::new(Invariant::Durable, what)));
    }

    /// Recovers what is on the disk, through crashes in the middle of that.
    fn recover(&mut self, may_crash: bool) -> Option<Arc<SimulatedStore>> {
        for _ in 0..RECOVERIES_MAX {
            if !may_crash || !self.random.chance(20) {
                break;
            }
            self.disk.die_after(self.random.between(1, 15) as u64);
            match self.disk.start(Arc::clone(&self.clock) as Arc<dyn Clock>) {
                Ok(store) => return Some(store),
                Err(_) if self.disk.is_dead() => {
                    self.witness.count("deaths in recovery");
                    self.disk.crash_unopened(Crash::Power);
                }
                Err(error) => {
                    self.fail(&format!("the store does not open: {error}"));
                    return None;
                }
            }
        }
        let opened = self.disk.start(Arc::clone(&self.clock) as Arc<dyn Clock>);
        opened.inspect_err(|error| self.fail(&format!("the store does not open: {error}"))).ok()
    }

    /// What tenants have stored of flows, and the one that is given.
    async fn flows(&self, store: &Arc<SimulatedStore>) -> Option<FlowCatalogue> {
        let author: Arc<dyn crate::FlowAuthor> = Arc::new(NoAuthor);
        let (clock, entropy) = (self.clock.as_ref(), self.entropy.as_ref());
        let opened = FlowCatalogue::open(store.as_ref(), clock, entropy, &author, &[]).await;
        let failed = |error: &OpenFlowsError| {
            if !self.is_over(store) {
                self.fail(&error.to_string());
            }
        };
        opened.inspect_err(failed).ok()
    }

    /// Whether the process cannot go on.
    fn is_over(&self, store: &SimulatedStore) -> bool {
        self.disk.is_dead() || store.is_failed()
    }

    async fn start(&self, store: &Arc<SimulatedStore>, flows: FlowCatalogue) -> Option<Runtime> {
        flows.insert(SHARED_TENANT, Arc::clone(&self.with.flow));
        let dependencies = Dependencies {
            store: Arc::clone(store) as Arc<dyn ConversationStore>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Arc::clone(&self.entropy) as Arc<dyn colloquy_types::Entropy>,
            flows,
            author: Arc::new(NoAuthor),
            metrics: Arc::clone(&self.metrics),
            outside: Arc::clone(&self.world) as Arc<dyn crate::Outside>,
            store_facts: StoreFacts::default(),
            idle: IdleRetention::default(),
        };
        let planted = self.with.bug.and_then(super::Bug::in_runtime);
        let started = Runtime::start_planted(self.settings, dependencies, planted).await;
        started.inspect_err(|error| self.fail(&error.to_string())).ok()
    }

    async fn live(&mut self, is_last: bool) -> Option<(Arc<SimulatedStore>, End)> {
        let store = self.recover(!is_last)?;
        let recovered = timeout(REST, self.witness.recover(&store, &self.keys)).await;
        if self.is_over(&store) {
            return Some((store, End::Crashed(Crash::Power)));
        }
        if recovered.is_err() {
            self.fail("the store does not answer");
        }
        let Some(flows) = self.flows(&store).await else { return Some((store, End::Crashed(Crash::Power))) };
        let runtime = self.start(&store, flows).await?;
        self.same_pauses(&runtime, &store).await;
        let (witness, flow, keys) = (Arc::clone(&self.witness), self.flow.clone(), self.keys.clone());
        let network = (!is_last).then(|| Random::new(self.random.below(usize::MAX) as u64, "network"));
        let mut calls = Calls::new(runtime.clone(), witness, flow, keys, network);
        let end = if is_last {
            self.resume(&runtime, &store, &mut calls).await;
            self.come_to_rest(&runtime, &mut calls).await;
            End::Stopped
        } else {
            self.steps(&runtime, &store, &mut calls).await
        };
        if matches!(end, End::Stopped) && self.is_well() {
            self.stop(&runtime, &store).await;
        }
        Some((store, end))
    }

    /// Plays until something ends the process.
    async fn steps(&mut self, runtime: &Runtime, store: &Arc<SimulatedStore>, calls: &mut Calls) -> End {
        while self.steps_left > 0 && self.is_well() {
            self.steps_left -= 1;
            let operation = Operation::draw(&mut self.random);
            self.witness.step(format_args!("{operation:?}"));
            {
                let mut state = self.witness.lock();
                state.report.steps += 1;
                state.count(operation.name());
            }
            if let Some(end) = self.perform(operation, runtime, store, calls).await {
                return end;
            }
            self.go_on().await;
            self.witness.refresh();
            if self.is_over(store) {
                self.witness.count(if self.disk.is_dead() { "deaths within a write" } else { "disk failures" });
                return End::Crashed(if self.random.chance(60) { Crash::Power } else { Crash::Process });
            }
        }
        End::Crashed(Crash::Power)
    }

    /// Lets time pass, mostly none at all.
    async fn go_on(&mut self) {
        match self.random.below(100) {
            0..45 => tokio::task::yield_now().await,
            45..85 => sleep(Duration::from_millis(self.random.between(1, 12) as u64)).await,
            _ => sleep(Duration::from_millis(self.random.between(12, 150) as u64)).await,
        }
    }

    async fn perform(
        &mut self,
        operation: Operation,
        runtime: &Runtime,
        store: &Arc<SimulatedStore>,
        calls: &mut Calls,
    ) -> Option<End> {
        match operation {
            Operation::Submit { conversation, said, expected, manner } => {
                calls.submit(conversation, said, expected, manner);
            }
            Operation::Repeat { conversation, which, other_payload, manner } => {
                calls.repeat(conversation, which, other_payload, manner);
            }
            Operation::Reset { conversation, expected, manner } => calls.reset(conversation, expected, manner),
            Operation::Feedback { conversation, manner } => calls.feedback(conversation, manner),
            Operation::Cancel { conversation, which, budget } => calls.cancel(conversation, which, budget),
            Operation::Pause { conversation, paused, manner } => calls.pause(conversation, paused, manner),
            Operation::Steer { paused, again, unheard, budget } => {
                if unheard {
                    store.lose_acknowledgement();
                }
                calls.steer(paused, again, budget);
            }
            Operation::KillKeeper => {
                if let Some(keeper) = runtime.shared().keeper() {
                    keeper.kill();
                    self.witness.count("keepers of flows killed");
                }
            }
            Operation::LookAtPauses => {
                sleep(SETTLED).await;
                self.same_pauses(runtime, store).await;
            }
            Operation::Fork { conversation, source, at, manner } => calls.fork(conversation, source, at, manner),
            Operation::Erase { conversation, budget } => calls.erase(conversation, budget),
            Operation::Passivate { conversation, budget } => calls.passivate(conversation, budget),
            Operation::Describe { conversation, budget } => calls.describe(conversation, budget),
            Operation::Read { conversation, budget } => calls.read(conversation, budget),
            Operation::Watch { conversation, behind } => calls.watch(conversation, behind),
            Operation::Disconnect { which } => calls.disconnect(which),
            Operation::Kill { conversation } => {
                let handle = calls.key(conversation).and_then(|key| runtime.shared().directory.get(key));
                if let Some(handle) = handle {
                    handle.actor.kill();
                }
            }
            Operation::KillSupervisor { conversation } => {
                let shard = calls.key(conversation).and_then(|key| runtime.shared().shard(shard::of(key)));
                if let Some(supervisor) = shard {
                    supervisor.kill();
                    self.witness.count("supervisors killed");
                }
            }
            Operation::Panic { conversation } => {
                if let Some(key) = calls.key(conversation) {
                    store.panic_at(key.clone());
                }
            }
            Operation::Crash(crash) => return Some(End::Crashed(crash)),
            Operation::DieInGroup { after } => self.disk.die_after(after as u64),
            Operation::DiskFails { after } => self.disk.fail_after(after as u64),
            Operation::DiskFull(full) => self.disk.set_full(full),
            Operation::Restart => {
                calls.disconnect_all();
                return Some(End::Stopped);
            }
            Operation::SlowSync(slow) => store.slow_down(slow),
            Operation::LoseAcknowledgement => store.lose_acknowledgement(),
            Operation::LoseAppend => store.lose_append(),
            Operation::RefuseAppend => store.refuse_append(),
            Operation::DelayAppend(delay) => store.delay_append(delay),
            Operation::StepClock { millis } => self.clock.step(millis.saturating_mul(1000)),
            Operation::Checkpoint => self.chore(store, |store| Box::pin(async move { drop(store.checkpoint().await) })),
            Operation::Compact => self.chore(store, |store| Box::pin(async move { drop(store.compact().await) })),
            Operation::Wait(time) => sleep(time).await,
        }
        None
    }

    fn chore(
        &self,
        store: &Arc<SimulatedStore>,
        chore: impl FnOnce(Arc<SimulatedStore>) -> futures::future::BoxFuture<'static, ()>,
    ) {
        tokio::spawn(chore(Arc::clone(store)));
    }

    /// Ends what runs, then closes the store. Whoever calls meanwhile is refused.
    async fn stop(&self, runtime: &Runtime, store: &Arc<SimulatedStore>) {
        self.disk.set_full(false);
        runtime.drain(Instant::now() + REST).await;
        self.witness.refresh();
        // A disk that fails meanwhile keeps it from closing.
        drop(timeout(REST, store.close()).await);
    }

    async fn same_pauses(&self, runtime: &Runtime, store: &SimulatedStore) {
        match timeout(REST, same_pauses(runtime, store, &self.tenant)).await {
            Ok(checked) => {
                if self.witness.lock().steering.is_unknown() {
                    self.witness.count("pauses looked at that nobody can know of");
                }
                self.witness.check(checked);
            }
            Err(_) if self.is_over(store) => {}
            Err(_) => self.fail("the store does not answer"),
        }
    }

    /// Has turns taken again, once it is known what became of all that was asked.
    async fn resume(&self, runtime: &Runtime, store: &SimulatedStore, calls: &mut Calls) {
        sleep(SETTLED).await;
        self.same_pauses(runtime, store).await;
        calls.steer(false, None, REST);
        sleep(REST).await;
        if self.witness.lock().steering.spell(false).is_none() {
            self.witness.check(Err(Breach::new(Invariant::Paused, "the tenant cannot be resumed")));
        }
    }

    /// Wakes every conversation, waits until nothing runs, and holds all of it against what must be.
    async fn come_to_rest(&self, runtime: &Runtime, calls: &mut Calls) {
        for round in 0..2 {
            for conversation in 0..self.keys.len() {
                calls.describe(conversation, REST);
                calls.read(conversation, REST);
            }
            sleep(REST).await;
            if round == 0 {
                continue;
            }
            let in_flight = runtime.stats().in_flight;
            if calls.open() + in_flight > 0 {
                let what = format!("{} calls are open, {in_flight} places taken, and nothing runs", calls.open());
                self.witness.check(Err(Breach::new(Invariant::EndsInTime, what)));
            }
        }
        self.witness.at_rest(&self.keys);
        for key in &self.keys {
            self.same_state(runtime, key).await;
        }
    }

    /// What the runtime says of a conversation is what its records lead to, and its chain holds.
    async fn same_state(&self, runtime: &Runtime, key: &ConversationKey) {
        let described = runtime.describe(key, Instant::now() + REST).await;
        let verified = runtime.shared().store.verify(key).await;
        let state = self.witness.lock();
        let known = state.ledger.current(key).map(|(_, known)| known);
        let checked = match (described, verified, known) {
            (Ok(described), Ok(verified), Some(known)) => {
                let same = described.state == known.state
                    && (described.uid, described.head, verified.head) == (known.uid, known.head, known.head);
                same.then_some(()).ok_or_else(|| format!("{} is not what its records lead to", key.as_str()))
            }
            (Err(crate::Error::ConversationAbsent), Err(_), None) => Ok(()),
            (described, verified, known) => Err(format!(
                "{} is {:?}, {verified:?}, and has {} records",
                key.as_str(),
                described.map(|described| described.head),
                known.map_or(0, |known| known.head.record_no.get()),
            )),
        };
        drop(state);
        self.witness.check(checked.map_err(|what| Breach::new(Invariant::Replays, what)));
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("seed", &self.seed).finish_non_exhaustive()
    }
}
