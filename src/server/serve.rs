//! A running server: store, runtime, gateway and console, and how they end.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use colloquy_actors::{Backups, Dependencies, FlowAuthor, FlowCatalogue, Runtime, StoreFacts, World};
use colloquy_console::Probe;
use colloquy_store::{
    ConversationStore, MemoryStore, RetentionPolicy, SledStore,
    journal::{JournalOptions, JournalStore, OpenError, backup::known_backups},
    sled_engine,
};
use colloquy_telemetry::Metrics;
use colloquy_types::{Clock, Entropy, SystemClock, SystemEntropy};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::Instant,
};

use crate::{
    Exit,
    authoring::Tools,
    flows,
    output::{self, Output},
    settings::{Engine, Settings},
};

/// How long open calls may still take once their turns have ended.
const CALLS_END: Duration = Duration::from_secs(2);

/// A server that answers.
pub(crate) struct Server {
    /// Where the gRPC gateway listens.
    pub(crate) grpc: SocketAddr,
    /// Where the console listens.
    pub(crate) http: SocketAddr,
    runtime: Runtime,
    store: Arc<dyn ConversationStore>,
    failed: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
    drain: Duration,
}

struct Console {
    runtime: Runtime,
    metrics: Arc<Metrics>,
}

impl Probe for Console {
    fn unready(&self) -> Vec<&'static str> {
        let stats = self.runtime.stats();
        let reasons = [(stats.draining, "draining"), (!stats.store.writable, "the store takes no writes")];
        let holding = reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason));
        holding.chain(stats.unwell).collect()
    }

    fn notes(&self) -> Vec<String> {
        let stats = self.runtime.stats();
        let (damaged, quarantined) = (stats.store.damaged, stats.quarantined);
        let damaged_note = || format!("damaged conversations found: {damaged}; the log names them");
        let quarantined_note = || format!("conversations in quarantine: {quarantined}; ListQuarantined tells why");
        let notes = [(damaged > 0).then(damaged_note), (quarantined > 0).then(quarantined_note)];
        notes.into_iter().flatten().collect()
    }

    fn metrics(&self) -> String {
        let (stats, metrics) = (self.runtime.stats(), &self.metrics);
        self.runtime.sample_gates();
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let gauge64 = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.conversations_active.set(gauge(stats.conversations_active));
        metrics.in_flight.set(gauge(stats.in_flight));
        metrics.residence.bytes.set(gauge(stats.conversations_bytes));
        metrics.residence.activations_running.set(gauge(stats.activations_running));
        metrics.residence.activations_waiting.set(gauge(stats.activations_waiting));
        metrics.residence.quarantined.set(gauge(stats.quarantined));
        metrics.watchers.set(gauge(stats.watchers));
        metrics.in_flight_limit.set(gauge(stats.in_flight_limit));
        metrics.queue_bytes.set(gauge(stats.queue_bytes));
        metrics.event_bytes.set(gauge(stats.event_bytes));
        metrics.storage.queued.set(gauge64(stats.store.queued));
        metrics.storage.queued_bytes.set(gauge64(stats.store.queued_bytes));
        metrics.turns_at_once.set(gauge(stats.slots.held));
        metrics.turns_at_once_limit.set(gauge(stats.slots.limit));
        metrics.turns_waiting.set(gauge(stats.slots.waiting));
        metrics.queue_wait_micros.set(gauge64(u64::try_from(stats.queue_wait.as_micros()).unwrap_or(u64::MAX)));
        metrics.storage.journal_bytes.set(gauge64(stats.store.journal_bytes));
        metrics.storage.dead_bytes.set(gauge64(stats.store.dead_bytes));
        metrics.storage.erasures_pending.set(gauge64(stats.store.erasures_pending));
        let compacted_at = stats.store.compacted_at.map_or(0, |at| at.as_micros() / 1_000_000);
        metrics.storage.compacted_at.set(gauge64(compacted_at));
        metrics.store_records.inner().store(stats.store.records, std::sync::atomic::Ordering::Relaxed);
        metrics.store_damaged.set(i64::try_from(stats.store.damaged).unwrap_or(i64::MAX));
        metrics.store_syncs.inner().store(stats.store.syncs, std::sync::atomic::Ordering::Relaxed);
        metrics.flow_lookups_found.inner().store(stats.flow_lookups.found, std::sync::atomic::Ordering::Relaxed);
        metrics.flow_lookups_absent.inner().store(stats.flow_lookups.absent, std::sync::atomic::Ordering::Relaxed);
        metrics.encode()
    }
}

fn told(told: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut told = told.subscribe();
    async move { drop(told.wait_for(|told| *told).await) }
}

impl Server {
    /// Opens the store and starts everything.
    ///
    /// # Errors
    /// What kept it from starting, with its cause.
    pub(crate) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let flows = flows::load(&settings.flow_folders, &settings.flow_tenant).map_err(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("flows have faults\n{}", faults.join("\n"))
        })?;
        let bind = |address: SocketAddr| async move {
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; choose another port"))
        };
        let (grpc, http) = (bind(settings.grpc_listen).await?, bind(settings.http_listen).await?);
        let (store, failed, uuid) = open_store(settings, &clock, &entropy).await?;
        let author: Arc<dyn FlowAuthor> = Arc::new(Tools);
        let opening = FlowCatalogue::open(store.as_ref(), clock.as_ref(), entropy.as_ref(), &author, &flows);
        let flows = opening.await?;
        let metrics = Arc::new(Metrics::default());
        let store_facts = StoreFacts { uuid, backups: backups(settings) };
        let world = World::new(settings.world.clone(), Arc::clone(&entropy), Arc::clone(&metrics));
        let dependencies = Dependencies {
            store: Arc::clone(&store),
            clock,
            entropy,
            flows,
            author,
            metrics: Arc::clone(&metrics),
            outside: Arc::new(world),
            store_facts,
            idle: settings.kept.idle.clone(),
        };
        let runtime = Runtime::start(settings.runtime, dependencies).await?;
        let (grpc_address, http_address) = (grpc.local_addr()?, http.local_addr()?);
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let gateway =
            colloquy_gateway::serve(grpc, settings.gateway, runtime.clone(), Arc::clone(&metrics), told(&stop));
        tasks.spawn(async move { Ok(gateway.await?) });
        let probe = Arc::new(Console { runtime: runtime.clone(), metrics });
        let console = colloquy_console::serve(http, probe, told(&stop));
        tasks.spawn(async move {
            console.await;
            Ok(())
        });
        let drain = settings.drain;
        Ok(Self { grpc: grpc_address, http: http_address, runtime, store, failed, stop, tasks, drain })
    }

    /// Serves until `stop` resolves or something fails; then drains, and closes the store.
    ///
    /// # Errors
    /// What failed.
    pub(crate) async fn run_until(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<Exit> {
        let mut failed = self.failed.clone();
        let exit = tokio::select! {
            () = stop => Ok(Exit::Ok),
            () = self.runtime.asked_to_end() => Ok(Exit::Ok),
            Ok(_) = failed.wait_for(|failed| *failed) => Ok(Exit::Store),
            Some(ended) = self.tasks.join_next() => match ended {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) => Err(anyhow::anyhow!("a server ended on its own")),
                Err(error) => Err(error.into()),
            },
        };
        tracing::info!(in_flight = self.runtime.stats().in_flight, "draining");
        self.stop.send_replace(true);
        self.runtime.drain(Instant::now() + self.drain).await;
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(CALLS_END, ended).await.is_err() {
            tracing::warn!("open calls were cut off");
        }
        self.store.close().await;
        tracing::info!("stopped");
        exit
    }
}

/// A store, what becomes `true` when it has failed for good, and its random name if it has one.
type Opened = (Arc<dyn ConversationStore>, watch::Receiver<bool>, Option<[u8; 16]>);

/// Lists the backups that the store's folder knows of; engines without a journal have none.
fn backups(settings: &Settings) -> Option<Backups> {
    let folder = settings.data_dir.clone();
    (settings.engine == Engine::Journal).then(|| Arc::new(move || known_backups(&folder)) as Backups)
}

async fn open_store(settings: &Settings, clock: &Arc<dyn Clock>, entropy: &Arc<dyn Entropy>) -> anyhow::Result<Opened> {
    let (clock, entropy) = (Arc::clone(clock), Arc::clone(entropy));
    if settings.engine != Engine::Journal && settings.kept.bodies != RetentionPolicy::default() {
        tracing::warn!(
            "only the journal drops bodies: of the settings of retention this engine applies idle_days alone"
        );
    }
    match settings.engine {
        Engine::Memory => Ok((Arc::new(MemoryStore::new(entropy)), watch::channel(false).1, None)),
        Engine::Sled => {
            let (folder, cache_bytes) = (settings.data_dir.clone(), settings.index_cache_bytes);
            let opening = tokio::task::spawn_blocking(move || SledStore::open(&folder, cache_bytes, entropy));
            let store = opening.await?.with_context(|| cannot_open(settings))?;
            Ok((Arc::new(store), watch::channel(false).1, None))
        }
        Engine::Journal => {
            let options = JournalOptions {
                segment_bytes: settings.segment_bytes,
                index_cache_bytes: settings.index_cache_bytes,
                compaction_bytes_per_second: settings.compaction_bytes_per_second,
                compaction_dead_ratio: settings.compaction_dead_ratio,
                retention: settings.kept.bodies.clone(),
                ..JournalOptions::new(&settings.data_dir)
            };
            let opening = tokio::task::spawn_blocking(move || JournalStore::open(&options, clock, entropy));
            let store = opening.await?.with_context(|| cannot_open(settings))?;
            let (failed, uuid) = (store.failed(), Some(store.uuid()));
            Ok((Arc::new(store), failed, uuid))
        }
    }
}

fn cannot_open(settings: &Settings) -> String {
    format!("the store in {} cannot be opened", settings.data_dir.display())
}

/// The command `serve`.
pub(crate) async fn run(settings: Settings, output: Output) -> Exit {
    if let Err(error) = colloquy_telemetry::init(settings.log_format, &settings.log_filter) {
        output::error(&format!("{error}\n  fix: write for example `info` or `colloquy_actors=debug,info`"));
        return Exit::Usage;
    }
    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            output::error(&format!("signals cannot be handled: {error}"));
            return Exit::Usage;
        }
    };
    let server = match Server::start(&settings).await {
        Ok(server) => server,
        Err(error) => {
            output::error(&format!("{error:#}"));
            let store = error.is::<OpenError>() || error.is::<sled_engine::OpenError>();
            return if store { Exit::Store } else { Exit::Usage };
        }
    };
    if output.json {
        let line = json!({ "event": "listening", "grpc": server.grpc.to_string(), "http": server.http.to_string() });
        output::line(&line.to_string());
    } else {
        output::line(&format!("gRPC on {}, HTTP on {}", output.strong(&server.grpc.to_string()), server.http));
        output::line(&format!("try: colloquy chat --addr {}", server.grpc));
    }
    tracing::info!(grpc = %server.grpc, http = %server.http, "serving");
    let (stop, mut stopping) = watch::channel(false);
    let signals = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.send_replace(true) {
                return;
            }
        }
    };
    let served = server.run_until(async move { drop(stopping.wait_for(|stop| *stop).await) });
    tokio::select! {
        served = served => match served {
            Ok(Exit::Store) => {
                output::error("the store failed; start the process anew");
                Exit::Store
            }
            Ok(exit) => exit,
            Err(error) => {
                output::error(&format!("{error:#}"));
                Exit::Usage
            }
        },
        () = signals => {
            output::error("ended at once by a second signal");
            Exit::NotAsItShouldBe
        }
    }
}
