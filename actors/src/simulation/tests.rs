//! The simulation itself: what must hold holds, every fault occurs, a seed repeats, and each planted bug is noticed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use colloquy_author::load_sources;
use tempfile::TempDir;

use super::*;

/// Seeds of `cargo test`; CI plays many more.
const SEEDS: u64 = 200;
/// Seeds within which each planted bug must be noticed.
const SEEDS_FOR_BUGS: u64 = 60;

/// What must occur in so many seeds, or the schedule does not test what it says.
const OCCURS: [&str; 40] = [
    "acknowledgements lost",
    "actions called",
    "actions repeated",
    "actors restarted after a kill",
    "actors restarted after a panic",
    "appends late",
    "appends lost",
    "appends refused",
    "calls failed",
    "calls hung",
    "calls late",
    "calls panicked",
    "clock put back",
    "clock put forth",
    "cancellations",
    "conversations erased",
    "conversations forked",
    "conversations left idle",
    "conversations that made room",
    "passivations asked for",
    "pauses",
    "resumptions",
    "turns left out",
    "deaths in recovery",
    "deaths within a write",
    "disconnections",
    "disk failures",
    "power lost",
    "processes killed",
    "replies repeated",
    "restarts in order",
    "slow syncs",
    "streams taken up again",
    "told full",
    "told overloaded",
    "told reused",
    "timers fired",
    "turns closed",
    "turns resumed",
    "turns watched",
];

struct Kit {
    simulation: Simulation,
    _scratch: TempDir,
}

impl Kit {
    fn new(bug: Option<Bug>) -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let scratch = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let sources = vec![("errands.yaml".to_owned(), FLOW_SOURCE.to_owned())];
        let flow = load_sources("the simulation's flow", sources).expect("the flow is sound").flow;
        let simulation = Simulation { flow, scratch: scratch.path().to_owned(), bug, tells: false };
        Self { simulation, _scratch: scratch }
    }

    /// Plays seeds on two threads, and panics with the first that shows something.
    fn play(&self, seeds: u64) -> Report {
        let next = AtomicU64::new(0);
        let worker = || {
            let mut sum = Report::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return sum;
                }
                sum.add(&self.simulation.run(seed).unwrap_or_else(|violation| panic!("{violation}")));
            }
        };
        thread::scope(|scope| {
            let other = scope.spawn(worker);
            let mut sum = worker();
            sum.add(&other.join().expect("no seed shows anything"));
            sum
        })
    }
}

#[test]
fn what_must_hold_holds_and_every_fault_occurs() {
    let began = std::time::Instant::now();
    let sum = Kit::new(None).play(SEEDS);
    println!("{SEEDS} seeds in {:?}: {sum:#?}", began.elapsed());
    assert!(sum.steps >= 200 * SEEDS, "{} steps", sum.steps);
    for what in OCCURS {
        assert!(sum.count(what) > 0, "{what} does not occur");
    }
}

#[test]
fn a_seed_plays_the_same_each_time_in_whatever_order() {
    let kit = Kit::new(None);
    let play = |seed: u64| kit.simulation.run(seed).unwrap().trace;
    let there: Vec<_> = (0..25).map(play).collect();
    let mut back: Vec<_> = (0..25).rev().map(play).collect();
    back.reverse();
    assert_eq!(there, back);
    let mut different = there.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), there.len(), "different seeds play differently");
}

/// What notices a planted bug, and the seed that does.
fn noticed(bug: Bug) -> (u64, Breach) {
    let kit = Kit::new(Some(bug));
    let noticed = (0..SEEDS_FOR_BUGS).find_map(|seed| kit.simulation.run(seed).err().map(|found| (seed, found.breach)));
    noticed.unwrap_or_else(|| panic!("{bug:?} was not noticed in {SEEDS_FOR_BUGS} seeds"))
}

#[test]
fn each_planted_bug_is_noticed() {
    for bug in Bug::ALL {
        let (seed, breach) = noticed(bug);
        println!("{bug:?}: seed {seed}: {breach}");
    }
}
