//! The wall clock of a run: virtual time of the process that runs, behind that of those that ended, and as far beside
//! as the schedule has put it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use colloquy_types::{Clock, Timestamp};
use tokio::time::Instant;

/// When every run begins: 2026-01-05T12:00:00Z.
const BEGAN_MICROS: i64 = 1_767_614_400_000_000;

#[derive(Debug, Default)]
struct State {
    /// What the processes before took.
    before: Duration,
    /// When the running process began, on the clock of its own runtime.
    began: Option<Instant>,
    skew_micros: i64,
    /// The latest time that it ever told.
    latest: Timestamp,
}

impl State {
    fn elapsed(&self) -> Duration {
        self.before + self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }
}

/// The clock.
#[derive(Debug, Default)]
pub(super) struct SimulatedClock(Mutex<State>);

impl SimulatedClock {
    fn with<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with the time of the runtime that calls this.
    pub(super) fn begin(&self) {
        self.with(|state| state.began = Some(Instant::now()));
    }

    /// Stands still until the next process begins.
    pub(super) fn end(&self) {
        self.with(|state| {
            state.before = state.elapsed();
            state.began = None;
        });
    }

    /// Puts the clock forth or back.
    pub(super) fn step(&self, micros: i64) {
        self.with(|state| state.skew_micros = state.skew_micros.saturating_add(micros));
    }

    /// The latest time that it ever told.
    pub(super) fn latest(&self) -> Timestamp {
        self.with(|state| state.latest)
    }

    /// Virtual time since the run began, which no step of the clock changes.
    pub(super) fn elapsed(&self) -> Duration {
        self.with(|state| state.elapsed())
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        self.with(|state| {
            let elapsed = i64::try_from(state.elapsed().as_micros()).unwrap_or(i64::MAX);
            let now = BEGAN_MICROS.saturating_add(elapsed).saturating_add(state.skew_micros);
            let now = Timestamp::from_micros(u64::try_from(now).unwrap_or_default());
            state.latest = state.latest.max(now);
            now
        })
    }
}
