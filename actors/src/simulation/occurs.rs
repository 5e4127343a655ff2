//! What must occur in many seeds, or the schedule does not test what it says.

use super::Report;

/// Steps of a seed, on average, that many seeds must come to.
const STEPS_MEAN: u64 = 200;

/// Every kind of operation, fault and ending that must occur, by the name it is counted by. A fault is counted where it
/// strikes, not where it is armed.
pub(super) const OCCURS: [&str; 52] = [
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
    "calls late on the way",
    "calls lost on the way",
    "calls panicked",
    "cancellations",
    "clock put back",
    "clock put forth",
    "conversations erased",
    "conversations forked",
    "conversations forked at a turn",
    "conversations left idle",
    "conversations that made room",
    "deaths in recovery",
    "deaths within a write",
    "disconnections",
    "disk failures",
    "keepers of flows killed",
    "passivations asked for",
    "pauses looked at that nobody can know of",
    "pauses",
    "power lost",
    "processes killed",
    "replies lost on the way",
    "replies repeated",
    "restarts in order",
    "resumptions",
    "slow syncs",
    "streams taken up again",
    "timers fired",
    "supervisors killed",
    "told full",
    "told overloaded",
    "tenants paused",
    "tenants resumed",
    "told reused",
    "told traffic paused",
    "turns closed",
    "turns interrupted",
    "turns left out",
    "turns replaced",
    "turns resumed",
    "turns watched",
];

impl Report {
    /// What is missing of what seeds must do, in words; nothing when they were thorough. Of few seeds much may be.
    pub fn lacks(&self) -> Vec<String> {
        let never = OCCURS.into_iter().filter(|what| self.count(what) == 0).map(|what| format!("{what}: never"));
        let (seeds, steps) = (self.seeds, self.steps);
        let few = (steps < STEPS_MEAN * seeds)
            .then(|| format!("{steps} steps in {seeds} seeds: {STEPS_MEAN} or more a seed are wanted"));
        never.chain(few).collect()
    }
}
