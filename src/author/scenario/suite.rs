//! Playing the scenarios of several flows in parallel.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Scenario,
    play::{Failure, play},
    read::load_scenarios,
};
use crate::{
    fault::{Fault, Faults, Mark},
    load::{self, LoadedFlow, SCENARIOS_FILE, load_folder},
};

/// A flow and its scenarios, ready to be played.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The flow.
    pub loaded: LoadedFlow,
    /// Its scenarios, in the order of their file.
    pub scenarios: Arc<[Scenario]>,
}

impl Suite {
    /// Loads the flow in `folder` with its `scenarios.yaml`.
    ///
    /// # Errors
    /// Every fault of either, ordered by place; a folder without scenarios is one.
    pub fn load(folder: &Path) -> Result<Self, Vec<Fault>> {
        Ok(Self { loaded: load_folder(folder)?, scenarios: load_folders_scenarios(folder)?.into() })
    }

    /// Plays the scenarios in order until one fails.
    pub(crate) fn first_failure(&self) -> Option<Failure> {
        self.scenarios.iter().find_map(|scenario| play(&self.loaded.flow, scenario).err())
    }
}

/// The scenarios of a flow's folder, of which there must be some.
pub(crate) fn load_folders_scenarios(folder: &Path) -> Result<Vec<Scenario>, Vec<Fault>> {
    let path = folder.join(SCENARIOS_FILE);
    let shown = path.display().to_string();
    let none = || {
        let mut faults = Faults::default();
        let fix = format!("add {SCENARIOS_FILE} with scenarios: [{{name: …, turns: [{{say: …, reply: …}}]}}]");
        faults.error("no-source", &Mark::file(&shown.as_str().into()), "there are no scenarios", fix);
        faults.into_sorted()
    };
    if !path.exists() {
        return Err(none());
    }
    let (file, text) = load::read_file(&path).map_err(|(file, error)| vec![load::unreadable(&file, &error)])?;
    let scenarios = load_scenarios(&file, &text)?;
    if scenarios.is_empty() { Err(none()) } else { Ok(scenarios) }
}

/// A scenario that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// The flow.
    pub flow: String,
    /// The scenario.
    pub scenario: String,
    /// How many turns it has.
    pub turns: usize,
    /// How long it took to play.
    pub elapsed: Duration,
    /// What differs, if anything does.
    pub failure: Option<Failure>,
}

/// Plays the scenarios whose names contain `filter`, on at most `jobs` threads, and returns them in order. Calls
/// `each` after each, from the thread that played it.
pub fn play_suites(
    suites: &[Suite],
    filter: Option<&str>,
    jobs: NonZeroUsize,
    each: &(dyn Fn(&Played) + Sync),
) -> Vec<Played> {
    let chosen: Vec<(&Suite, &Scenario)> = suites
        .iter()
        .flat_map(|suite| suite.scenarios.iter().map(move |scenario| (suite, scenario)))
        .filter(|(_, scenario)| filter.is_none_or(|filter| scenario.name.contains(filter)))
        .collect();
    in_parallel(&chosen, jobs, |(suite, scenario)| {
        let begun = Instant::now();
        let failure = play(&suite.loaded.flow, scenario).err();
        let played = Played {
            flow: suite.loaded.flow.name().to_string(),
            scenario: scenario.name.clone(),
            turns: scenario.turns.len(),
            elapsed: begun.elapsed(),
            failure,
        };
        each(&played);
        played
    })
}

/// Does `work` to each item on at most `jobs` threads, with stacks that are large enough to load flows; what comes
/// of it is in the order of the items.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], jobs: NonZeroUsize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let take = || {
        while let Some((place, item)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            items.get(place).map(|item| (place, item))
        } {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(items.len()) {
            let worker = thread::Builder::new().name("flow-worker".to_owned()).stack_size(load::STACK_BYTES);
            // What threads cannot be had for is done below.
            drop(worker.spawn_scoped(scope, take));
        }
    });
    take();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}
