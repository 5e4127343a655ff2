//! Kills a server under load again and again and holds what is there against what its callers were told; then
//! plays the journal's crash points on a simulated disk.
//!
//! SIGKILL shows what a process can lose; what the power takes only the points can show.

mod points;
mod talk;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use colloquy_client::Client;
use colloquy_store::{
    ConversationStore as _,
    journal::{JournalOptions, JournalStore},
};
use colloquy_types::{ConversationKey, SystemClock, SystemEntropy};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use self::{
    points::Points,
    talk::{Counts, Talk},
};
use crate::process::{self, Process};

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Connections that the callers share.
const CHANNELS: usize = 4;
/// Of a hundred kills so many come while the server recovers from the one before.
const IN_RECOVERY: u32 = 20;
/// How long a server may live under load, and how long once it has begun to read its journal.
const LOADED_US: std::ops::Range<u64> = 5_000..220_000;
const RECOVERING_US: std::ops::Range<u64> = 0..30_000;
/// What the log says of the first segment read.
const RECOVERING: &str = "journal segment read";
/// After so many kills every conversation is checked; after each, a few.
const CHECK_ALL: u64 = 50;
const CHECK_FEW: usize = 4;

/// How often, and for how many.
#[derive(Args, Clone)]
pub(crate) struct CrashArgs {
    /// How often the server is killed.
    #[arg(long, default_value_t = 500)]
    kills: u64,
    /// Crashes of the journal on a simulated disk.
    #[arg(long, default_value_t = 2000)]
    points: u64,
    /// Decides what is sent, when the server is killed, and all of the points; drawn and printed when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Conversations, each with a caller of its own.
    #[arg(long, default_value_t = 64)]
    conversations: u64,
    /// Where the server's store is made; must be on a real file system. It is kept when something is wrong.
    #[arg(long, default_value = ".")]
    data_in: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What the kills came to.
#[derive(Default)]
struct Kills {
    kills: u64,
    in_recovery: u64,
    counts: Counts,
    turns: u64,
    took: Duration,
}

/// Runs both; an error says which promise was not kept.
pub(crate) async fn run(args: &CrashArgs) -> anyhow::Result<()> {
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    eprintln!("seed {seed}");
    let kills = killed(args, seed).await.with_context(|| format!("seed {seed}: killing the server"))?;
    let points = args.points;
    let points = tokio::task::spawn_blocking(move || points::run(seed, points)).await?.context("crash points")?;
    print(args.json, seed, &kills, &points);
    Ok(())
}

fn print(json: bool, seed: u64, kills: &Kills, points: &Points) {
    let (counts, report) = (&kills.counts, &points.report);
    if json {
        let line = json!({
            "seed": seed, "violations": 0,
            "kills": kills.kills, "kills_in_recovery": kills.in_recovery, "kills_s": kills.took.as_secs_f64(),
            "turns": kills.turns, "acknowledged": counts.acknowledged, "replayed": counts.replayed,
            "refused": counts.refused, "promised": counts.promised,
            "unanswered_applied": counts.found_applied, "unanswered_lost": counts.found_lost,
            "points": report.points, "points_in_recovery": report.in_recovery, "seeds": points.seeds,
            "points_s": points.took.as_secs_f64(), "points_acknowledged": report.acknowledged,
            "bits_flipped": report.flipped, "trace": format!("{:016x}", report.trace),
        });
        return println!("{line}");
    }
    println!(
        "kills    {} in {:.0} s, {} of them in recovery; {} turns stored, {} acknowledged, {} replayed, {} refused; \
         nothing lost, changed, doubled or invented",
        kills.kills,
        kills.took.as_secs_f64(),
        kills.in_recovery,
        kills.turns,
        counts.acknowledged,
        counts.replayed,
        counts.refused
    );
    println!(
        "points   {} in {:.0} s, {} of them in recovery; {} seeds, {} appends acknowledged, {} bits flipped; trace \
         {:016x}",
        report.points,
        points.took.as_secs_f64(),
        report.in_recovery,
        points.seeds,
        report.acknowledged,
        report.flipped,
        report.trace
    );
}

/// A folder with what a server needs, kept when something goes wrong.
struct Place {
    folder: Option<tempfile::TempDir>,
    data: PathBuf,
    arguments: Vec<String>,
}

impl Place {
    fn arguments(&self, log_filter: &str) -> Vec<String> {
        let filter = ["--log-filter", log_filter].map(str::to_owned);
        self.arguments.iter().cloned().chain(filter).collect()
    }

    fn new(parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadtest-crash-").tempdir_in(parent)?;
        let path = folder.path().canonicalize()?;
        let (config, data) = (path.join("colloquy.toml"), path.join("store"));
        // Small segments: kills come in the middle of new ones, too.
        std::fs::write(&config, "[store]\nsegment = \"1 MiB\"\n")?;
        let flags = ["server", "serve", "--json", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
        let (config, store) = (config.display().to_string(), data.display().to_string());
        let places = ["--config", config.as_str(), "--data-dir", store.as_str()];
        let arguments = flags.into_iter().chain(places).map(str::to_owned).collect();
        Ok(Self { folder: Some(folder), data, arguments })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            eprintln!("the store is kept in {}", folder.keep().display());
        }
    }
}

async fn killed(args: &CrashArgs, seed: u64) -> anyhow::Result<Kills> {
    let mut place = Place::new(&args.data_in)?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut talks: Vec<_> = (0..args.conversations.max(1)).map(|number| Talk::new(number, seed)).collect();
    let (mut kills, began) = (Kills::default(), Instant::now());
    while kills.kills < args.kills {
        if random.random_range(0..100) < IN_RECOVERY {
            let mut starting = process::spawn(&place.arguments("colloquy_store=info"), Stdio::piped())?;
            // Before the first load there is nothing to read.
            if kills.kills > kills.in_recovery {
                starting.until_logged(RECOVERING).await?;
            }
            sleep(Duration::from_micros(random.random_range(RECOVERING_US))).await;
            starting.kill().await?;
            kills.in_recovery += 1;
        } else {
            let server = process::start(&place.arguments("error")).await?;
            let lives = Duration::from_micros(random.random_range(LOADED_US));
            let first = random.random_range(0..talks.len());
            let checked = if kills.kills.is_multiple_of(CHECK_ALL) { talks.len() } else { CHECK_FEW };
            let found = check(&server, &mut talks, first, checked).await;
            found.with_context(|| format!("after kill {}", kills.kills))?;
            talks = loaded(server, talks, lives).await.with_context(|| format!("kill {}", kills.kills + 1))?;
        }
        kills.kills += 1;
        if kills.kills.is_multiple_of(25) {
            let acknowledged: u64 = talks.iter().map(|talk| talk.counts.acknowledged).sum();
            let per_s = f64::from(u32::try_from(kills.kills)?) / began.elapsed().as_secs_f64();
            eprintln!("{} of {} kills, {per_s:.1}/s, {acknowledged} turns acknowledged", kills.kills, args.kills);
        }
    }
    kills.took = began.elapsed();
    let server = process::start(&place.arguments("error")).await?;
    let all = talks.len();
    check(&server, &mut talks, 0, all).await.context("at the end")?;
    server.kill().await?;
    kills.turns = verify(&place.data, &talks).await?;
    for talk in &talks {
        kills.counts.add(&talk.counts);
    }
    // Nothing is wrong, so nobody needs the folder.
    drop(place.folder.take());
    Ok(kills)
}

async fn clients(server: &Process) -> anyhow::Result<Vec<Client>> {
    let channels = process::channels(&server.address, CHANNELS).await?;
    Ok(channels.into_iter().map(|channel| Client::on(channel, DEADLINE)).collect())
}

/// Checks `number` conversations from the place `first` on.
async fn check(server: &Process, talks: &mut [Talk], first: usize, number: usize) -> anyhow::Result<()> {
    let clients = clients(server).await?;
    let client = clients.first().context("there is a connection")?;
    let count = talks.len();
    for place in (first..first + number.min(count)).map(|place| place % count.max(1)) {
        let talk = talks.get_mut(place).context("there is a conversation")?;
        talk.check(client).await.with_context(|| talk.key.conversation.clone())?;
    }
    Ok(())
}

/// Has every caller talk, and kills the server in the middle of it.
async fn loaded(server: Process, talks: Vec<Talk>, lives: Duration) -> anyhow::Result<Vec<Talk>> {
    let clients = clients(&server).await?;
    let mut callers = JoinSet::new();
    for (number, mut talk) in talks.into_iter().enumerate() {
        let client = clients.get(number % clients.len().max(1)).context("there is a connection")?.clone();
        callers.spawn(async move {
            let went = talk.go_on(&client).await;
            went.with_context(|| talk.key.conversation.clone()).map(|()| (number, talk))
        });
    }
    sleep(lives).await;
    server.kill().await?;
    let mut talks = Vec::new();
    while let Some(ended) = callers.join_next().await {
        talks.push(ended??);
    }
    talks.sort_by_key(|(number, _)| *number);
    Ok(talks.into_iter().map(|(_, talk)| talk).collect())
}

/// Checks every chain in the store itself, without a server; how many turns there are.
async fn verify(data: &Path, talks: &[Talk]) -> anyhow::Result<u64> {
    let options = JournalOptions::new(data);
    let opening = move || JournalStore::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy));
    let store = tokio::task::spawn_blocking(opening).await?.context("the store does not open")?;
    let mut turns = 0;
    for talk in talks.iter().filter(|talk| !talk.told.is_empty()) {
        let key = ConversationKey::from_parts(&talk.key.tenant, &talk.key.conversation);
        let key = key.map_err(|(_, invalid)| invalid)?;
        let verified = store.verify(&key).await.with_context(|| format!("the chain of {key}"))?;
        ensure!(verified.turns >= talk.told.len() as u64, "the chain of {key} has {} turns", verified.turns);
        turns += verified.turns;
    }
    store.close().await;
    Ok(turns)
}
