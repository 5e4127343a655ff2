//! Very many callers while actors are killed every few milliseconds and the process now and then: what was acknowledged
//! is there once, nobody waits past a deadline, and only who was hit is told so.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use colloquy_client::{Client, ClientError, Key, Turn};
use colloquy_types::ConversationKey;
use rand::RngExt as _;
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};
use tonic::Code;

use crate::process::{self, Process};

const TENANT: &str = "chaos";
/// How long a call may take, and how much longer its caller may wait.
const DEADLINE: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_millis(50);
/// How long after the server is ready again calls may still find it gone.
const RECOVERY: Duration = Duration::from_secs(1);
/// How long after a kill calls to its conversation may still be told so: an actor that was killed twice is started anew after a pause.
const HIT: Duration = Duration::from_secs(1);
/// How long a turn is sent again until somebody answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one try to the next when the server does not say.
const PAUSE: Duration = Duration::from_millis(20);
/// Partitions of the supervisor whose number is in the path of a conversation.
const SHARD_PARTITIONS: u16 = 64;

/// How many, and for how long.
#[derive(Args, Clone)]
pub(crate) struct ChaosArgs {
    /// Callers.
    #[arg(long, default_value_t = 1000)]
    callers: usize,
    /// Conversations; each has one caller.
    #[arg(long, default_value_t = 10_000)]
    conversations: usize,
    /// Seconds.
    #[arg(long, default_value_t = 60)]
    duration: u64,
    /// Milliseconds from one kill of an actor to the next.
    #[arg(long, default_value_t = 50)]
    kill_every: u64,
    /// How often the process is killed.
    #[arg(long, default_value_t = 2)]
    process_kills: u32,
    /// Connections.
    #[arg(long, default_value_t = 8)]
    channels: usize,
    /// Where the server's store is made; must be on a real file system.
    #[arg(long, default_value = ".")]
    data_in: std::path::PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    restarted: AtomicU64,
    /// Refused at the door with a hint, by a machine that is behind.
    shed: AtomicU64,
    away: AtomicU64,
    replayed: AtomicU64,
    actors_killed: AtomicU64,
    longest_us: AtomicU64,
}

/// When the process was away, until the moment from which on no call may find it so.
type Away = Arc<Mutex<Vec<(Instant, Option<Instant>)>>>;

fn was_away(away: &Away, from: Instant, to: Instant) -> bool {
    let away = away.lock().unwrap_or_else(PoisonError::into_inner);
    away.iter().any(|(begun, ended)| *begun <= to && ended.is_none_or(|ended| from <= ended))
}

/// When the actor of each conversation was last about to be killed.
type Hits = Arc<Mutex<HashMap<String, Instant>>>;

fn was_hit(hits: &Hits, name: &str, from: Instant) -> bool {
    let hits = hits.lock().unwrap_or_else(PoisonError::into_inner);
    hits.get(name).is_some_and(|hit| *hit + HIT >= from)
}

/// Runs it; an error says what did not hold.
pub(crate) async fn run(args: &ChaosArgs) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("loadtest-").tempdir_in(&args.data_in)?;
    let mut server = start(folder.path(), "127.0.0.1:0").await?;
    let address = server.address.clone();
    let clients: Vec<_> = process::channels(&address, args.channels)
        .await?
        .into_iter()
        .map(|channel| Client::on(channel, DEADLINE))
        .collect();
    let (counts, away, hits, begun) = (Arc::new(Counts::default()), Away::default(), Hits::default(), Instant::now());
    let end = begun + Duration::from_secs(args.duration);
    let mut callers = JoinSet::new();
    for number in 0..args.callers.max(1) {
        let client = clients.get(number % clients.len().max(1)).context("no connection")?.clone();
        let names = (number..args.conversations.max(args.callers)).step_by(args.callers.max(1));
        let talks = names.map(|name| (format!("c-{name}"), 0)).collect();
        let (counts, away, hits) = (Arc::clone(&counts), Arc::clone(&away), Arc::clone(&hits));
        let caller = Caller { client, talks, counts, away, hits };
        callers.spawn(caller.talk(end));
    }
    let killer = tokio::spawn(kill_actors(args.clone(), clients.clone(), Arc::clone(&counts), hits, end));
    for kill in 1..=args.process_kills {
        let part = Duration::from_secs(args.duration) * kill / (args.process_kills + 1);
        tokio::time::sleep_until((begun + part).into()).await;
        away.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), None));
        server.kill().await?;
        server = start(folder.path(), &address).await?;
        if let Some((_, ended)) = away.lock().unwrap_or_else(PoisonError::into_inner).last_mut() {
            *ended = Some(Instant::now() + RECOVERY);
        }
    }
    let (mut turns, mut conversations) = (0, 0);
    while let Some(ended) = callers.join_next().await {
        let talks = ended??;
        turns += talks.iter().map(|(_, seq)| *seq).sum::<u64>();
        conversations += talks.len();
    }
    killer.await??;
    server.kill().await?;
    print(args.json, &counts, turns, conversations);
    Ok(())
}

async fn start(folder: &Path, grpc: &str) -> anyhow::Result<Process> {
    let config = folder.join("colloquy.toml");
    std::fs::write(&config, "[chaos]\nconversations = 1000000\n[conversations]\nrestarts = 100\n")?;
    let (config, store) = (config.display().to_string(), folder.join("store").display().to_string());
    let flags = ["server", "serve", "--json", "--log-filter", "error", "--http-listen", "127.0.0.1:0"];
    let places = ["--grpc-listen", grpc, "--config", &config, "--data-dir", &store];
    let arguments: Vec<_> = flags.into_iter().chain(places).map(str::to_owned).collect();
    process::start(&arguments).await
}

fn print(json: bool, counts: &Counts, turns: u64, conversations: usize) {
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let longest = Duration::from_micros(count(&counts.longest_us));
    if json {
        let line = json!({
            "turns": turns, "conversations": conversations, "acknowledged": count(&counts.acknowledged),
            "replayed": count(&counts.replayed), "restarted": count(&counts.restarted), "shed": count(&counts.shed), "away": count(&counts.away),
            "actors_killed": count(&counts.actors_killed), "longest_call_ms": longest.as_secs_f64() * 1e3,
            "violations": 0,
        });
        return println!("{line}");
    }
    println!(
        "{turns} turns of {conversations} conversations, each there once; {} actors killed: {} calls told so, {} shed, {} found \
         the process gone, {} told a recorded ending; the longest call took {longest:.0?}",
        count(&counts.actors_killed),
        count(&counts.restarted),
        count(&counts.shed),
        count(&counts.away),
        count(&counts.replayed),
    );
}

/// Kills the actor of a conversation, drawn at random, again and again.
async fn kill_actors(
    args: ChaosArgs,
    clients: Vec<Client>,
    counts: Arc<Counts>,
    hits: Hits,
    end: Instant,
) -> anyhow::Result<()> {
    let client = clients.first().context("no connection")?;
    let mut ticks = tokio::time::interval(Duration::from_millis(args.kill_every.max(1)));
    while Instant::now() < end {
        ticks.tick().await;
        let name = format!("c-{}", rand::rng().random_range(0..args.conversations.max(1)));
        let key = ConversationKey::from_parts(TENANT, &name).map_err(|(_, invalid)| invalid)?;
        let shard = key.partition().get() / SHARD_PARTITIONS;
        hits.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Instant::now());
        // One that is not in memory yet, or a process that is away, is nothing to kill.
        if client.kill(&format!("root/conversations/{shard:02}/{key}"), "chaos").await.is_ok() {
            counts.actors_killed.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// One caller, the conversations it has, and the last turn of each.
struct Caller {
    client: Client,
    talks: Vec<(String, u64)>,
    counts: Arc<Counts>,
    away: Away,
    hits: Hits,
}

impl Caller {
    async fn talk(mut self, end: Instant) -> anyhow::Result<Vec<(String, u64)>> {
        for place in (0..self.talks.len()).cycle() {
            if Instant::now() >= end {
                break;
            }
            let Some((name, seq)) = self.talks.get(place).cloned() else { break };
            let said = self.say(&name, seq + 1).await.with_context(|| format!("{name}, turn {}", seq + 1))?;
            if let Some(talk) = self.talks.get_mut(place) {
                talk.1 = said;
            }
        }
        for (name, seq) in &self.talks {
            let stored = self.stored(name).await?;
            ensure!(stored == *seq, "{name} has {stored} turns, and {seq} were acknowledged");
        }
        Ok(self.talks)
    }

    /// Says something under one request id until it is answered; it must be turn `seq`.
    async fn say(&self, name: &str, seq: u64) -> anyhow::Result<u64> {
        let turn = Turn::new(Key::new(TENANT, name), format!("r-{seq}"), "order-desk", "what are your opening hours?");
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let sent = Instant::now();
            let answered = self.client.submit(&turn).await;
            let took = sent.elapsed();
            self.counts.longest_us.fetch_max(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            ensure!(took <= DEADLINE + GRACE, "a call took {took:?}");
            match answered {
                Ok(answer) => {
                    let told = answer.turn.context("an answer without its turn")?.turn_seq;
                    ensure!(told == seq, "it was answered as turn {told}");
                    self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
                    self.counts.replayed.fetch_add(u64::from(answer.replayed), Ordering::Relaxed);
                    return Ok(told);
                }
                Err(error) => sleep(self.pause_after(name, &error, sent)?).await,
            }
        }
        bail!("nobody answered it for {PATIENCE:?}")
    }

    /// How long to wait before it is sent again; an error when it should not have been refused.
    fn pause_after(&self, name: &str, error: &ClientError, sent: Instant) -> anyhow::Result<Duration> {
        let is_away = was_away(&self.away, sent, Instant::now());
        match (error.code(), error.reason()) {
            (Code::Unavailable, "RESTARTED") if is_away || was_hit(&self.hits, name, sent) => {
                self.counts.restarted.fetch_add(1, Ordering::Relaxed)
            }
            (Code::ResourceExhausted, _) if error.retry_after().is_some() => {
                self.counts.shed.fetch_add(1, Ordering::Relaxed)
            }
            _ if is_away => self.counts.away.fetch_add(1, Ordering::Relaxed),
            (code, reason) => bail!("{code:?} {reason}: {}", error.message()),
        };
        Ok(error.retry_after().unwrap_or(PAUSE).min(Duration::from_secs(1)))
    }

    async fn stored(&self, name: &str) -> anyhow::Result<u64> {
        let (key, begun) = (Key::new(TENANT, name), Instant::now());
        loop {
            match self.client.conversation(&key).await {
                Ok(conversation) => return Ok(conversation.head.map_or(0, |head| head.turn_seq)),
                Err(error) if error.code() == Code::NotFound => return Ok(0),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}
