//! Timers: how many are set, and what becomes of them.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ending {
    ending: &'static str,
}

/// Metrics of timers.
#[derive(Debug)]
pub struct TimerMetrics {
    /// Timers that turns set, counted when they are stored; a turn that was not written after all counts as well.
    pub set: Counter,
    /// Timers that were due, and whose turns were taken.
    pub fired: Counter,
    /// Timers that were due and were none any more: replaced, dropped, or of a conversation that is gone.
    pub dropped: Counter,
    /// Timers in memory, to be due next.
    pub held: Gauge<i64>,
}

impl TimerMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let set = Counter::default();
        registry.register("timers_set", "Timers that turns set", set.clone());
        let due = Family::<Ending, Counter>::default();
        registry.register("timers_due", "Timers that came due, by what became of them", due.clone());
        let by = |ending| due.get_or_create(&Ending { ending }).clone();
        let held = Gauge::default();
        registry.register("timers_held", "Timers in memory, to be due next", held.clone());
        Self { set, fired: by("fired"), dropped: by("dropped"), held }
    }
}
