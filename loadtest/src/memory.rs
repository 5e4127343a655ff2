//! Whether memory stays where it should, whatever the number of conversations and of turns.
//!
//! `touch` speaks once to each of very many conversations: the server must keep no more of them than its settings say, and
//! one that is not in memory must cost next to nothing there: some bytes of the store's index. That is what its peaks
//! differ by between the second fifth of them, when it has as many as it may and its index was written, and the last. `turns` speaks again and again to the same few: a million
//! turns must take no more memory than ten thousand.

mod report;
mod server;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use colloquy_client::{Client, Key, Turn};
use tokio::{task::JoinSet, time::sleep};

pub(crate) use self::report::MemoryReport;
use self::{
    report::{Sample, Verdict},
    server::Server,
};

/// How long a turn may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// From one sample to the next; one in so many is printed.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
const PRINTED: usize = 10;
/// How long the server is left alone before memory is compared.
const SETTLES: Duration = Duration::from_secs(10);
/// How long conversations may take to leave once nobody uses them.
const LEAVE_MAX: Duration = Duration::from_secs(60);
/// What may be in memory beyond the mark, in per cent of it, or this many: what comes between two looks of the
/// passivator.
const OVER_MARK_MAX: u64 = 5;
const OVER_MARK_CONVERSATIONS: u64 = 2_000;
/// What a conversation may take that is not in memory, in bytes: its part of what the index keeps of its pages.
const STORED_BYTES_MAX: u64 = 512;
/// By how much memory may grow over very many turns, in per cent.
const TURNS_GROWTH_MAX: u64 = 5;

/// What is looked at.
#[derive(Subcommand, Clone)]
pub(crate) enum Memory {
    /// Speaks once to each of many conversations.
    Touch(TouchArgs),
    /// Speaks many times to the same conversations.
    Turns(TurnsArgs),
}

/// How the load is made.
#[derive(Args, Clone)]
struct CommonArgs {
    /// Calls in flight.
    #[arg(long, default_value_t = 256)]
    concurrency: usize,
    /// Connections that share them.
    #[arg(long, default_value_t = 4)]
    channels: usize,
    /// Where the server's store is made; must be on a real file system.
    #[arg(long, default_value = ".")]
    data_in: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How many conversations.
#[derive(Args, Clone)]
pub(crate) struct TouchArgs {
    /// Conversations.
    #[arg(long, default_value_t = 1_000_000)]
    conversations: u64,
    /// How many of them the server may keep in memory.
    #[arg(long, default_value_t = 50_000)]
    active_max: u64,
    /// What the server may take for them, as it estimates it, in MiB.
    #[arg(long, default_value_t = 1024)]
    memory_mib: u64,
    #[command(flatten)]
    common: CommonArgs,
}

/// How many turns.
#[derive(Args, Clone)]
pub(crate) struct TurnsArgs {
    /// Conversations that share the turns.
    #[arg(long, default_value_t = 10)]
    conversations: u64,
    /// Turns before memory is first looked at; at least the thousand requests that each conversation remembers.
    #[arg(long, default_value_t = 10_000)]
    first: u64,
    /// Turns in all.
    #[arg(long, default_value_t = 1_000_000)]
    turns: u64,
    #[command(flatten)]
    common: CommonArgs,
}

impl Memory {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Touch(args) => args.common.json,
            Self::Turns(args) => args.common.json,
        }
    }
}

/// Looks at it.
pub(crate) async fn run(memory: &Memory) -> anyhow::Result<MemoryReport> {
    match memory {
        Memory::Touch(args) => touch(args).await,
        Memory::Turns(args) => turns(args).await,
    }
}

async fn touch(args: &TouchArgs) -> anyhow::Result<MemoryReport> {
    let TouchArgs { conversations, active_max, memory_mib, .. } = *args;
    // Nobody leaves for being idle before the end, and then everybody does soon.
    let settings = format!("active_max = {active_max}\nmemory_max = \"{memory_mib} MiB\"\nidle_after = \"15s\"\n");
    let server = Server::start(&args.common.data_in, &settings).await?;
    let clients = server.clients(args.common.channels, DEADLINE).await?;
    let begin = Instant::now();
    let (next, said) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for number in 0..args.common.concurrency.max(1) {
        let client = clients.get(number % clients.len().max(1)).cloned().context("there is a connection")?;
        let (next, said) = (Arc::clone(&next), Arc::clone(&said));
        callers.spawn(async move {
            loop {
                let conversation = next.fetch_add(1, Ordering::Relaxed);
                if conversation >= conversations {
                    return anyhow::Ok(());
                }
                say(&client, &format!("c-{conversation}"), 0).await?;
                said.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut samples = Vec::new();
    sampled(&server, &said, begin, &mut samples, args.common.json, all(callers)).await?;
    let last = server.sample(said.load(Ordering::Relaxed), begin.elapsed()).await?;
    last.print(args.common.json);
    samples.push(last);
    let rested = until_at_rest(&server, &said, begin).await?;
    rested.print(args.common.json);
    let fifth = |number: u64| {
        let part = conversations / 5 * number..=conversations / 5 * (number + 1);
        let resident = samples.iter().filter(|sample| part.contains(&sample.said)).map(|sample| sample.resident).max();
        resident.context("too quick to be seen: touch more conversations")
    };
    // Three fifths lie between the middles of the two.
    let stored_bytes = fifth(4)?.saturating_sub(fifth(1)?) / (conversations / 5 * 3).max(1);
    let peak = samples.iter().map(|sample| sample.active).max().unwrap_or_default();
    let peak_max = active_max + (active_max * OVER_MARK_MAX / 100).max(OVER_MARK_CONVERSATIONS);
    let peak_bytes = samples.iter().map(|sample| sample.estimate).max().unwrap_or_default();
    Ok(MemoryReport {
        name: "touch",
        seconds: begin.elapsed().as_secs_f64(),
        verdicts: vec![
            Verdict::at_most("conversations in memory", peak, peak_max),
            Verdict::at_most("their estimate, MiB", peak_bytes >> 20, memory_mib * (100 + OVER_MARK_MAX) / 100),
            Verdict::at_most("bytes for each that is not in memory", stored_bytes, STORED_BYTES_MAX),
            Verdict::at_most("conversations in memory at rest", rested.active, 0),
        ],
    })
}

/// Waits for all callers.
async fn all(mut callers: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Runs `work`, and takes samples meanwhile.
async fn sampled(
    server: &Server,
    said: &AtomicU64,
    begin: Instant,
    samples: &mut Vec<Sample>,
    json: bool,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            ended = &mut work => return ended,
            () = sleep(SAMPLE_EVERY) => {
                let sample = server.sample(said.load(Ordering::Relaxed), begin.elapsed()).await?;
                samples.push(sample);
                if samples.len().is_multiple_of(PRINTED) {
                    sample.print(json);
                }
            }
        }
    }
}

async fn until_at_rest(server: &Server, said: &AtomicU64, begin: Instant) -> anyhow::Result<Sample> {
    let give_up = Instant::now() + LEAVE_MAX;
    loop {
        let sample = server.sample(said.load(Ordering::Relaxed), begin.elapsed()).await?;
        if sample.active == 0 || Instant::now() > give_up {
            sleep(SETTLES).await;
            return server.sample(said.load(Ordering::Relaxed), begin.elapsed()).await;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

async fn turns(args: &TurnsArgs) -> anyhow::Result<MemoryReport> {
    let TurnsArgs { conversations, first, turns, .. } = *args;
    ensure!(conversations > 0 && first >= conversations && turns > first, "give more turns than --first");
    let server = Server::start(&args.common.data_in, "").await?;
    let clients = server.clients(args.common.channels, DEADLINE).await?;
    let (begin, said) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut samples = Vec::new();
    let mut at = Vec::new();
    for (from, to) in [(0, first / conversations), (first / conversations, turns / conversations)] {
        let mut callers = JoinSet::new();
        for number in 0..conversations {
            let place = usize::try_from(number)? % clients.len().max(1);
            let client = clients.get(place).cloned().context("there is a connection")?;
            let said = Arc::clone(&said);
            callers.spawn(async move {
                for turn in from..to {
                    say(&client, &format!("c-{number}"), turn).await?;
                    said.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        sampled(&server, &said, begin, &mut samples, args.common.json, all(callers)).await?;
        sleep(SETTLES).await;
        let sample = server.sample(said.load(Ordering::Relaxed), begin.elapsed()).await?;
        sample.print(args.common.json);
        at.push(sample);
    }
    let [early, late] = at.as_slice() else { bail!("two samples are compared") };
    let what = "resident after the first turns, after all";
    Ok(MemoryReport {
        name: "turns",
        seconds: begin.elapsed().as_secs_f64(),
        verdicts: vec![Verdict::growth(what, early.resident, late.resident, TURNS_GROWTH_MAX)],
    })
}

/// One turn, whose answer must be the next of its conversation.
async fn say(client: &Client, conversation: &str, said: u64) -> anyhow::Result<()> {
    let flow = if said == 0 { "order-desk" } else { "" };
    let script = crate::turns::SCRIPT;
    let text = usize::try_from(said).ok().and_then(|said| script.get(said % script.len())).context("a text")?;
    let turn = Turn::new(Key::new("load", conversation), format!("r-{said}"), flow, *text);
    let answered = client.submit(&turn).await?.turn.context("the response has no turn")?;
    ensure!(answered.turn_seq == said + 1, "turn {} was answered as turn {}", said + 1, answered.turn_seq);
    Ok(())
}
