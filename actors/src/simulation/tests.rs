//! The simulation itself: what must hold holds, every fault occurs, a seed repeats, and each planted bug is noticed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use colloquy_author::load_sources;
use tempfile::TempDir;

use super::{occurs::OCCURS, *};

/// Seeds of `cargo test`; CI plays many more.
const SEEDS: u64 = 200;
/// Seeds within which each planted bug must be noticed.
const SEEDS_FOR_BUGS: u64 = 60;

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
    assert_eq!(sum.lacks(), [""; 0]);
}

/// A schedule that does not do what it says is told.
#[test]
fn what_does_not_occur_is_told() {
    let all = OCCURS.map(|what| (what, 1)).into_iter().collect();
    let thorough = Report { seeds: 3, steps: 600, counts: all, trace: Hash::default() };
    assert_eq!(thorough.lacks(), [""; 0]);
    let mut lacking = Report { steps: 599, ..thorough };
    lacking.counts.insert("appends lost", 0);
    lacking.counts.remove("turns replaced");
    let told = ["appends lost: never", "turns replaced: never", "599 steps in 3 seeds: 200 or more a seed are wanted"];
    assert_eq!(lacking.lacks(), told);
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

/// What must notice each planted bug: the promise that it breaks. Others may break with it, and be seen first in some seeds.
const NOTICES: [(Bug, Invariant); Bug::ALL.len()] = [
    (Bug::DroppedDuplicateCheck, Invariant::OneEnding),
    (Bug::CommitWithoutFence, Invariant::Fenced),
    (Bug::ReplyBeforeSync, Invariant::SyncedBeforeTold),
    (Bug::NoSync, Invariant::Durable),
    (Bug::ForgottenResume, Invariant::PromiseKept),
    (Bug::ActionBeforeIntent, Invariant::IntentFirst),
    (Bug::UnsyncedToWatcher, Invariant::SyncedBeforeTold),
    (Bug::UnsyncedHead, Invariant::SyncedBeforeTold),
    (Bug::SkippedEvent, Invariant::StreamsAgree),
    (Bug::SkippedHint, Invariant::TimersFire),
    (Bug::IgnoredPause, Invariant::Paused),
    (Bug::UnsettledPause, Invariant::Paused),
];

/// The first seed that shows the promise broken that a planted bug breaks.
fn noticed(bug: Bug, invariant: Invariant) -> Box<Violation> {
    let kit = Kit::new(Some(bug));
    let mut shown = (0..SEEDS_FOR_BUGS).filter_map(|seed| kit.simulation.run(seed).err());
    let noticed = shown.find(|violation| violation.breach.invariant == invariant);
    noticed.unwrap_or_else(|| panic!("{bug:?} was not noticed by {invariant} in {SEEDS_FOR_BUGS} seeds"))
}

/// The seed that a violation names to whoever reads it.
fn seed_told(violation: &Violation) -> u64 {
    let text = violation.to_string();
    let last = text.lines().last().expect("it says something");
    let seed = last.strip_prefix("seed ").and_then(|rest| rest.split(',').next());
    seed.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| panic!("no seed is told: {last}"))
}

#[test]
fn each_planted_bug_is_noticed_by_what_it_breaks_and_its_seed_alone_shows_it_again() {
    assert!(Bug::ALL.iter().all(|bug| NOTICES.iter().any(|(known, _)| known == bug)));
    for (bug, invariant) in NOTICES {
        let found = noticed(bug, invariant);
        println!("{bug:?}: seed {}: {}", found.seed, found.breach);
        let again = Kit::new(Some(bug)).simulation.run(seed_told(&found)).expect_err("the seed shows it again");
        assert_eq!((again.step, &again.breach), (found.step, &found.breach), "{bug:?}");
        assert!(Kit::new(None).simulation.run(found.seed).is_ok(), "it is the bug that is noticed");
    }
}
