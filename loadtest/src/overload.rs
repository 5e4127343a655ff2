//! More than the server can do: what it does then, how it refuses the rest, and how soon it is well again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use colloquy_client::{Client, Key, Turn};
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::task::JoinSet;
use tonic::Code;

use crate::{cores::Cores, process};

/// Calls that the generator has under way at most; what comes beyond is not sent, and counted.
const OUTSTANDING_MAX: usize = 16_384;
/// Calls in flight when the peak is looked for.
const PEAK_CONCURRENCY: usize = 64;
/// Calls in flight when nothing is wrong.
const CALM_CONCURRENCY: usize = 4;
const TICK: Duration = Duration::from_millis(1);
/// What must hold.
const GOODPUT_MIN: f64 = 0.9;
const REFUSAL_MAX: Duration = Duration::from_millis(10);
const RECOVERY_MAX: Duration = Duration::from_secs(2);

/// What to offer.
#[derive(Args, Clone)]
pub(crate) struct OverloadArgs {
    /// Where the server's store is made; must be on a real file system.
    #[arg(long, default_value = ".")]
    data_in: std::path::PathBuf,
    /// Conversations.
    #[arg(long, default_value_t = 10_000)]
    conversations: usize,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    channels: usize,
    /// How many times the peak is offered.
    #[arg(long, default_value_t = 3.0)]
    times: f64,
    /// Milliseconds that a turn may take; what is beyond the bound on calls under way waits that long in vain.
    #[arg(long, default_value_t = 1000)]
    deadline_ms: u64,
    /// Seconds of overload.
    #[arg(long, default_value_t = 60)]
    duration: u64,
    /// Seconds in which the peak is looked for.
    #[arg(long, default_value_t = 10)]
    peak: u64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    /// Whether the generator had a core that the server had not.
    apart: bool,
    peak_per_s: f64,
    /// The peak once all is over: it tells whether the machine, or what is stored by then, has changed the peak meanwhile.
    peak_after_per_s: f64,
    offered_per_s: f64,
    goodput_per_s: f64,
    refused: u64,
    without_hint: u64,
    late: u64,
    /// Turns that were done although nobody waited for them any more, give or take those in flight when the load ends.
    unheard: u64,
    other: u64,
    unsent: u64,
    first_other: Option<String>,
    /// The bucket's bound below which 99 of 100 refusals were answered, as the server measured.
    refusal_p99: Option<Duration>,
    calm_before_us: u64,
    calm_after_us: u64,
    recovered_in: Option<Duration>,
}

impl Report {
    pub(crate) fn is_well(&self) -> bool {
        self.goodput_per_s >= self.peak_per_s * GOODPUT_MIN
            // What the transport refuses has no hint, and the server does not measure it.
            && (self.refused == self.without_hint || self.refusal_p99.is_some_and(|p99| p99 <= REFUSAL_MAX))
            && self.without_hint == 0
            && self.other == 0
            && self.recovered_in.is_some_and(|took| took <= RECOVERY_MAX)
    }

    pub(crate) fn print(&self, as_json: bool) {
        let ratio = self.goodput_per_s / self.peak_per_s;
        let ms = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64() * 1e3);
        if as_json {
            let line = json!({
                "generator_apart": self.apart, "peak_per_s": self.peak_per_s.round(),
                "peak_after_per_s": self.peak_after_per_s.round(), "offered_per_s": self.offered_per_s.round(),
                "goodput_per_s": self.goodput_per_s.round(), "goodput_of_peak": ratio,
                "refused": self.refused, "refused_without_hint": self.without_hint, "late": self.late, "unheard": self.unheard,
                "other_errors": self.other, "first_other": self.first_other, "unsent": self.unsent,
                "refusal_p99_ms": ms(self.refusal_p99), "calm_p50_before_us": self.calm_before_us,
                "calm_p50_after_us": self.calm_after_us, "recovered_ms": ms(self.recovered_in),
            });
            return println!("{line}");
        }
        let Self { peak_per_s, offered_per_s, goodput_per_s, refused, late, unheard, other, unsent, .. } = self;
        let cores = if self.apart { "each on cores of its own" } else { "on cores that are not parted" };
        println!("generator and server {cores}");
        println!("peak       {peak_per_s:>9.0}/s, and {:.0}/s when all was over", self.peak_after_per_s);
        println!("offered    {offered_per_s:>9.0}/s, and {unsent} that the generator did not come to send");
        println!("done       {goodput_per_s:>9.0}/s, {ratio:.3} of the peak");
        println!(
            "refused    {refused:>9}, {} of them without a hint, p99 {:?} in the server",
            self.without_hint, self.refusal_p99
        );
        println!("late       {late:>9}, {unheard} of them done all the same");
        println!("other      {other:>9} {}", self.first_other.as_deref().unwrap_or_default());
        println!(
            "calm p50   {} µs before, {} µs after; well again in {:?}",
            self.calm_before_us, self.calm_after_us, self.recovered_in
        );
    }
}

/// Conversations that are spoken to at random, each turn under an id of its own.
struct Talk {
    clients: Vec<Client>,
    conversations: usize,
    next: AtomicUsize,
}

impl Talk {
    fn turn(&self) -> Option<(Client, Turn)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let client = self.clients.get(number % self.clients.len())?.clone();
        // A stride that meets every conversation in an order that looks like none.
        let conversation = number.wrapping_mul(0x9e37_79b1) % self.conversations.max(1);
        let key = Key::new("load", format!("c-{conversation}"));
        Some((client, Turn::new(key, format!("r-{number}"), "order-desk", "what are your opening hours?")))
    }

    async fn say(&self) -> anyhow::Result<Duration> {
        let (client, turn) = self.turn().context("no connection")?;
        let sent = Instant::now();
        client.submit(&turn).await?;
        Ok(sent.elapsed())
    }
}

/// Turns in a closed loop: how many a second, and the latency in the middle.
async fn closed(talk: &Arc<Talk>, concurrency: usize, duration: Duration) -> anyhow::Result<(f64, u64)> {
    let (begun, mut callers) = (Instant::now(), JoinSet::new());
    for _ in 0..concurrency {
        let talk = Arc::clone(talk);
        callers.spawn(async move {
            let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
            while begun.elapsed() < duration {
                let latency = talk.say().await?;
                latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            }
            anyhow::Ok(latencies)
        });
    }
    let mut all = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    while let Some(latencies) = callers.join_next().await {
        all.add(latencies??)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of calls fits a float's 52 bits")]
    Ok((all.len() as f64 / begun.elapsed().as_secs_f64(), all.value_at_quantile(0.5)))
}

#[derive(Default)]
struct Counts {
    done: AtomicU64,
    refused: AtomicU64,
    without_hint: AtomicU64,
    late: AtomicU64,
    other: AtomicU64,
    outstanding: AtomicUsize,
    first_other: std::sync::OnceLock<String>,
}

impl Counts {
    async fn call(self: Arc<Self>, client: Client, turn: Turn) {
        let count = match client.submit(&turn).await {
            Ok(_) => &self.done,
            Err(error) if error.code() == Code::ResourceExhausted => {
                if error.retry_after().is_none() {
                    // Nothing that the server says of itself: the first one says enough.
                    let _ = self.first_other.set(format!("{error:?}"));
                    self.without_hint.fetch_add(1, Ordering::Relaxed);
                }
                &self.refused
            }
            Err(error) if matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled) => &self.late,
            Err(error) => {
                // The first one says enough.
                let _ = self.first_other.set(error.to_string());
                &self.other
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Offers so many turns a second, whatever becomes of them; gives how many were offered and how many of them not sent.
async fn offer(talk: &Talk, counts: &Arc<Counts>, per_s: f64, duration: Duration) -> anyhow::Result<(u64, u64)> {
    let (begun, mut offered, mut unsent) = (Instant::now(), 0_u64, 0);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while begun.elapsed() < duration {
        ticks.tick().await;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of calls")]
        let due = (begun.elapsed().as_secs_f64() * per_s) as u64;
        while offered < due {
            offered += 1;
            if counts.outstanding.load(Ordering::Relaxed) >= OUTSTANDING_MAX {
                unsent += 1;
                continue;
            }
            counts.outstanding.fetch_add(1, Ordering::Relaxed);
            let (client, turn) = talk.turn().context("no connection")?;
            tokio::spawn(Arc::clone(counts).call(client, turn));
        }
    }
    Ok((offered, unsent))
}

/// The bound of the bucket below which 99 of 100 observations of a histogram lie.
fn p99(metrics: &str, name: &str) -> Option<Duration> {
    let rows = metrics.lines().filter_map(|line| {
        let (bound, count) = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?.split_once("\"} ")?;
        Some((bound.to_owned(), count.trim().parse::<f64>().ok()?))
    });
    let rows: Vec<_> = rows.collect();
    let all = rows.last()?.1;
    let (bound, _) = rows.iter().find(|(_, count)| all > 0.0 && *count >= all * 0.99)?;
    bound
        .parse()
        .ok()
        .map(|seconds: f64| if seconds.is_finite() { Duration::from_secs_f64(seconds) } else { Duration::MAX })
}

/// The sum of a counter over all its labels.
fn sum(metrics: &str, name: &str) -> u64 {
    let rows = metrics.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' ')?.1.parse::<u64>().ok());
    rows.sum()
}

/// The turns that the server has done so far.
async fn turns(server: &process::Process) -> anyhow::Result<u64> {
    Ok(sum(&server.metrics().await?, "colloquy_turns_by_outcome_total"))
}

/// Measures it.
pub(crate) async fn run(args: &OverloadArgs) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("loadtest-").tempdir_in(&args.data_in)?;
    // A process keeps to the cores of who starts it.
    let cores = Cores::apart()?;
    cores.iter().try_for_each(Cores::keep_to_the_servers)?;
    let server = process::serve(&folder.path().join("store"), &["--log-filter", "warn"]).await?;
    cores.iter().try_for_each(Cores::keep_to_the_generators)?;
    let channels = process::channels(&server.address, args.channels).await?;
    let deadline = Duration::from_millis(args.deadline_ms);
    let clients = channels.into_iter().map(|channel| Client::on(channel, deadline)).collect();
    let talk = Arc::new(Talk { clients, conversations: args.conversations, next: AtomicUsize::new(0) });

    let peak = Duration::from_secs(args.peak);
    closed(&talk, PEAK_CONCURRENCY, peak).await.context("before the peak")?;
    let (peak_per_s, _) = closed(&talk, PEAK_CONCURRENCY, peak).await.context("at the peak")?;
    let (_, calm_before_us) = closed(&talk, CALM_CONCURRENCY, Duration::from_secs(3)).await.context("calm before")?;

    let turns_before = turns(&server).await?;
    let (counts, begun) = (Arc::new(Counts::default()), Instant::now());
    let duration = Duration::from_secs(args.duration);
    let (offered, unsent) = offer(&talk, &counts, peak_per_s * args.times, duration).await?;
    let took = begun.elapsed().as_secs_f64();
    let done = counts.done.load(Ordering::Relaxed);
    let ended = Instant::now();
    let turns_done = turns(&server).await?.saturating_sub(turns_before);
    // Well again: the middle of a quarter of a second is within twice what it was.
    let (mut recovered_in, mut calm_after_us) = (None, 0);
    while recovered_in.is_none() && ended.elapsed() < RECOVERY_MAX * 5 {
        let calm = closed(&talk, CALM_CONCURRENCY, Duration::from_millis(250)).await;
        if let Ok((_, p50)) = calm {
            calm_after_us = p50;
            recovered_in = (p50 <= calm_before_us * 2).then(|| ended.elapsed());
        }
    }
    let (peak_after_per_s, _) = closed(&talk, PEAK_CONCURRENCY, peak).await.context("at the peak after")?;
    let metrics = server.metrics().await?;
    server.kill().await?;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "a count of calls fits a float's 52 bits")]
    Ok(Report {
        apart: cores.is_some(),
        peak_per_s,
        peak_after_per_s,
        offered_per_s: offered as f64 / took,
        goodput_per_s: done as f64 / took,
        refused: count(&counts.refused),
        without_hint: count(&counts.without_hint),
        late: count(&counts.late),
        unheard: turns_done.saturating_sub(done),
        other: count(&counts.other),
        unsent,
        first_other: counts.first_other.get().cloned(),
        refusal_p99: p99(&metrics, "colloquy_refusal_seconds"),
        calm_before_us,
        calm_after_us,
        recovered_in,
    })
}
