//! Which conversations are in memory: how they come, why they leave, and which are kept out.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

/// Metrics of passivation, activation and quarantine.
#[derive(Debug)]
pub struct ResidenceMetrics {
    /// Conversations that left memory because nobody used them for long.
    pub passivations_idle: Counter,
    /// Conversations that left memory because it was short.
    pub passivations_watermark: Counter,
    /// Conversations that left memory because an operator asked.
    pub passivations_asked: Counter,
    /// Snapshots that were written because their conversation left memory.
    pub snapshots: Counter,
    /// Conversations that were quarantined.
    pub quarantines: Counter,
    /// Conversations that failed as often, but could not be quarantined because too many were.
    pub quarantines_refused: Counter,
    /// Conversations that are quarantined.
    pub quarantined: Gauge<i64>,
    /// Conversations that are being opened.
    pub activations_running: Gauge<i64>,
    /// Conversations that wait to be opened.
    pub activations_waiting: Gauge<i64>,
    /// What the conversations in memory take, as they estimate it.
    pub bytes: Gauge<i64>,
}

impl ResidenceMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let passivations = Family::<Cause, Counter>::default();
        registry.register("passivations", "Conversations that left memory, by cause", passivations.clone());
        let by = |cause| passivations.get_or_create(&Cause { cause }).clone();
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let snapshots = counter("passivation_snapshots", "Snapshots written because their conversation left memory");
        let quarantines = counter("quarantines", "Conversations that were quarantined");
        let quarantines_refused =
            counter("quarantines_refused", "Conversations that were not quarantined because too many were");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let quarantined = gauge("conversations_quarantined", "Conversations that are quarantined");
        let activations_running = gauge("activations_running", "Conversations that are being opened");
        let activations_waiting = gauge("activations_waiting", "Conversations that wait to be opened");
        let bytes = Gauge::default();
        let help = "What the conversations in memory take, as they estimate it";
        registry.register_with_unit("conversations", help, Unit::Bytes, bytes.clone());
        Self {
            passivations_idle: by("idle"),
            passivations_watermark: by("watermark"),
            passivations_asked: by("asked"),
            snapshots,
            quarantines,
            quarantines_refused,
            quarantined,
            activations_running,
            activations_waiting,
            bytes,
        }
    }
}
