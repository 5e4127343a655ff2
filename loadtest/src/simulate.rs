//! Plays seeds of the runtime's simulation, on as many threads as there are cores.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use colloquy_actors::simulation::{FLOW_SOURCE, Report, Simulation, Violation};
use serde_json::json;

/// How often progress is told.
const TELL: Duration = Duration::from_secs(10);
/// So many seeds must do everything that there is to do.
const THOROUGH_FROM: u64 = 1000;

/// Which seeds, and how.
#[derive(Args, Clone)]
pub(crate) struct SimulateArgs {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads, each with seeds of its own; as many as there are cores when not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Print every step and what came of it; one thread then.
    #[arg(long)]
    steps: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where the indexes of the runs lie: in memory where there is such a file system.
fn scratch() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { PathBuf::from(memory) } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("simulation-").tempdir_in(parent)
}

/// What the threads share.
struct Shared {
    next: AtomicU64,
    sum: Mutex<Report>,
    found: Mutex<Option<Box<Violation>>>,
}

impl Shared {
    /// Plays seeds until there are no more, or one shows something.
    fn play(&self, simulation: &Simulation, end: u64) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || self.found.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                return;
            }
            match simulation.run(seed) {
                Ok(report) => self.sum.lock().unwrap_or_else(PoisonError::into_inner).add(&report),
                Err(violation) => {
                    let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                    // The least of those that the threads were at: the same each time.
                    if found.as_ref().is_none_or(|known| violation.seed < known.seed) {
                        *found = Some(violation);
                    }
                    return;
                }
            }
        }
    }
}

/// Plays the seeds; an error shows the first one that breaks something, and how to play it alone.
pub(crate) fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    let scratch = scratch()?;
    let sources = vec![("errands.yaml".to_owned(), FLOW_SOURCE.to_owned())];
    let loaded = colloquy_author::load_sources("the simulation's flow", sources);
    let flow = loaded.map_err(|faults| anyhow::anyhow!("{faults:?}"))?.flow;
    let simulation = Simulation { flow, scratch: scratch.path().to_owned(), bug: None, tells: args.steps };
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let threads = if args.steps { 1 } else { args.threads.unwrap_or_else(cores).max(1) };
    let began = Instant::now();
    let shared = Shared { next: AtomicU64::new(args.seed), sum: Mutex::default(), found: Mutex::default() };
    let end = args.seed.saturating_add(args.seeds);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| shared.play(&simulation, end))).collect();
        let mut told = began;
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::park_timeout(Duration::from_millis(50));
            if told.elapsed() > TELL {
                told = Instant::now();
                eprintln!("{} of {} seeds", shared.next.load(Ordering::Relaxed) - args.seed, args.seeds);
            }
        }
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked")))
    })?;
    if let Some(violation) = shared.found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        eprintln!("{violation}");
        bail!(
            "seed {} breaks {}; to play it alone: simulate --seed {0} --seeds 1 --steps",
            violation.seed,
            violation.breach.invariant
        );
    }
    let sum = shared.sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    print(args.json, &sum, began.elapsed()).context("no figures")?;
    let lacks = if sum.seeds >= THOROUGH_FROM { sum.lacks() } else { Vec::new() };
    if !lacks.is_empty() {
        bail!("the seeds do not play what they must: {}", lacks.join("; "));
    }
    Ok(())
}

fn print(json: bool, sum: &Report, took: Duration) -> anyhow::Result<()> {
    if json {
        let counts = serde_json::to_value(&sum.counts)?;
        let (trace, took) = (sum.trace.to_string(), took.as_secs_f64());
        println!(
            "{}",
            json!({ "seeds": sum.seeds, "steps": sum.steps, "violations": 0, "s": took, "trace": trace, "counts": counts })
        );
        return Ok(());
    }
    println!(
        "seeds    {} in {:.0} s, {} steps, {} processes; every invariant held; trace {}",
        sum.seeds,
        took.as_secs_f64(),
        sum.steps,
        sum.count("processes"),
        sum.trace
    );
    for (what, count) in &sum.counts {
        println!("{count:>9}  {what}");
    }
    Ok(())
}
