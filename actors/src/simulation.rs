//! The deterministic simulation: the real actors, turn machine and store's writer on paused time, with a simulated
//! disk, world, clock and randomness, driven by the schedule of a seed.
//!
//! [`Simulation::run`] plays one seed: a few processes, one after the other, on the same disk. In each, callers submit
//! turns, follow them and come back to them, repeat them, watch, read, reset, pause and erase, while conversations leave memory,
//! actors are killed, calls and replies are late or lost, commits are slow, lost or late, the clock is put back, and the process dies. All of it happens on one thread, in virtual time, so the same seed plays the same
//! way each time; its [`Report::trace`] says so. After each step, and whenever something leaves the runtime, the
//! [invariants](crate::Invariant) are checked against what the disk has synced by then ([`ledger`]).
//!
//! What it does not play: threads that run at the same time, several nodes, publishing and promoting flows.

mod author;
mod bugs;
mod calls;
mod ledger;
mod life;
mod network;
mod occurs;
mod outside;
mod requests;
mod schedule;
mod steering;
#[cfg(test)]
mod tests;
mod time;
mod witness;

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use colloquy_flow::Flow;
use colloquy_types::Hash;

pub use self::bugs::Bug;
use crate::invariants::Invariant;

/// The source of the flow that a simulation's conversations run, for whoever compiles flows.
pub const FLOW_SOURCE: &str = include_str!("simulation/errands.yaml");

/// What seeds are played with.
#[derive(Clone)]
pub struct Simulation {
    /// The compiled form of [`FLOW_SOURCE`].
    pub flow: Arc<Flow>,
    /// Where the indexes of the stores lie, best on a file system in memory.
    pub scratch: PathBuf,
    /// A bug to be planted.
    pub bug: Option<Bug>,
    /// Whether every line of the trace is printed.
    pub tells: bool,
}

/// What seeds came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Seeds played.
    pub seeds: u64,
    /// Steps of the schedule.
    pub steps: u64,
    /// How often each kind of operation, fault and ending occurred.
    pub counts: BTreeMap<&'static str, u64>,
    /// Hash of every step, with its virtual time, and of everything that came of it.
    pub trace: Hash,
}

impl Report {
    /// Adds other seeds' figures. The traces are joined so that the order of seeds does not matter.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        for (byte, more) in self.trace.0.iter_mut().zip(other.trace.0) {
            *byte ^= more;
        }
    }

    /// How often something occurred.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }
}

/// An invariant that does not hold, and where that is seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} {invariant:?}: {what}")]
pub struct Breach {
    /// The invariant.
    pub invariant: Invariant,
    /// What is wrong.
    pub what: String,
}

impl Breach {
    fn new(invariant: Invariant, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }

    fn of(self, where_: &str) -> Self {
        Self { what: format!("{where_} {}", self.what), ..self }
    }
}

/// Why a seed ended early. The seed plays it again.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed that shows it.
    pub seed: u64,
    /// Steps before it.
    pub step: u64,
    /// What is wrong.
    pub breach: Breach,
    /// The last lines of the trace.
    pub lines: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "seed {}, step {}: {}", self.seed, self.step, self.breach)
    }
}

impl std::error::Error for Violation {}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("bug", &self.bug).finish_non_exhaustive()
    }
}

impl Simulation {
    /// Plays `seed`. Blocks, with a runtime of its own: call it from a thread that has none.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run(&self, seed: u64) -> Result<Report, Box<Violation>> {
        life::play(self, seed)
    }
}
