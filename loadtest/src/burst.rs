//! Very many callers at the same moment: resets, then turns.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use colloquy_client::{Client, Key, Turn};
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::{sync::Barrier, task::JoinSet};

use crate::process;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// What must hold.
const RESETS_MAX: Duration = Duration::from_secs(1);
const TURN_P95_MAX: Duration = Duration::from_millis(100);

/// How many come.
#[derive(Args, Clone)]
pub(crate) struct BurstArgs {
    /// Resets at once, each of a conversation of its own.
    #[arg(long, default_value = "100")]
    resets: NonZeroUsize,
    /// Turns at once, each of a conversation of its own.
    #[arg(long, default_value = "1000")]
    turns: NonZeroUsize,
    /// How often both come.
    #[arg(long, default_value = "20")]
    rounds: NonZeroUsize,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    channels: usize,
    /// Where the server's store is made; must be on a real file system.
    #[arg(long, default_value = ".")]
    data_in: std::path::PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What came of it.
pub(crate) struct Report {
    /// The longest time that a round of resets took from the first call to the last answer.
    resets: Duration,
    turns: Histogram<u64>,
}

impl Report {
    fn p95(&self) -> Duration {
        Duration::from_micros(self.turns.value_at_quantile(0.95))
    }

    pub(crate) fn is_well(&self) -> bool {
        self.resets <= RESETS_MAX && self.p95() <= TURN_P95_MAX
    }

    pub(crate) fn print(&self, as_json: bool) {
        let at = |quantile| self.turns.value_at_quantile(quantile);
        let (resets, p50, p95, max) = (self.resets.as_micros(), at(0.5), at(0.95), self.turns.max());
        if as_json {
            return println!(
                "{}",
                json!({ "resets_us": resets, "turn_p50_us": p50, "turn_p95_us": p95, "turn_max_us": max })
            );
        }
        println!("resets   all done in {resets} µs at most");
        println!("turns    p50 {p50} µs  p95 {p95} µs  max {max} µs");
    }
}

#[derive(Clone, Copy)]
enum What {
    Turn,
    Reset,
}

async fn call(client: &Client, what: What, number: usize, round: usize) -> anyhow::Result<()> {
    let key = Key::new("load", format!("c-{number}"));
    match what {
        What::Turn => {
            let turn = Turn::new(key, format!("t-{round}"), "order-desk", "what are your opening hours?");
            client.submit(&turn).await.map(drop).context("a turn fails")
        }
        What::Reset => client.reset(&key, &format!("x-{round}"), "a burst").await.map(drop).context("a reset fails"),
    }
}

/// `count` calls that begin together; how long each took, and all of them.
async fn together(
    clients: &[Client],
    what: What,
    count: usize,
    round: usize,
    latencies: &mut Histogram<u64>,
) -> anyhow::Result<Duration> {
    let (start, mut callers) = (Arc::new(Barrier::new(count + 1)), JoinSet::new());
    for number in 0..count {
        let client = clients.get(number % clients.len()).context("no connection")?.clone();
        let start = Arc::clone(&start);
        callers.spawn(async move {
            start.wait().await;
            let begun = Instant::now();
            call(&client, what, number, round).await?;
            anyhow::Ok((begun, Instant::now()))
        });
    }
    start.wait().await;
    let mut all: Option<(Instant, Instant)> = None;
    while let Some(called) = callers.join_next().await {
        let (begun, ended) = called??;
        let latency = ended.saturating_duration_since(begun).as_micros();
        latencies.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
        all = Some(all.map_or((begun, ended), |(first, last)| (first.min(begun), last.max(ended))));
    }
    Ok(all.map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first)))
}

/// Measures it.
pub(crate) async fn run(args: &BurstArgs) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("loadtest-").tempdir_in(&args.data_in)?;
    let server = process::serve(&folder.path().join("store"), &["--log-filter", "warn"]).await?;
    let channels = process::channels(&server.address, args.channels).await?;
    let clients: Vec<_> = channels.into_iter().map(|channel| Client::on(channel, DEADLINE)).collect();
    let mut turns = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let mut resets = Duration::ZERO;
    let count = args.turns.max(args.resets).get();
    // The first round makes the conversations, and is not measured.
    together(&clients, What::Turn, count, 0, &mut turns).await?;
    turns.reset();
    for round in 1..=args.rounds.get() {
        let took = together(&clients, What::Reset, args.resets.get(), round, &mut Histogram::new(3)?).await?;
        resets = resets.max(took);
        together(&clients, What::Turn, args.turns.get(), round, &mut turns).await?;
    }
    server.kill().await?;
    Ok(Report { resets, turns })
}
