//! What an operator needs of the store: how large it is, what compaction could free, and what was erased.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

/// The store's metrics.
#[derive(Debug)]
pub struct StorageMetrics {
    /// Conversations that were erased because a caller asked for it.
    pub erasures_asked: Counter,
    /// Conversations that were erased because nothing had happened in them for long.
    pub erasures_idle: Counter,
    /// Bytes that the journal takes.
    pub journal_bytes: Gauge<i64>,
    /// Bytes among them that compaction could free, as far as hints tell.
    pub dead_bytes: Gauge<i64>,
    /// Erased conversations whose bodies may still be there physically.
    pub erasures_pending: Gauge<i64>,
    /// When the last pass of compaction ended, in seconds since the Unix epoch; 0 for none since the start.
    pub compacted_at: Gauge<i64>,
    /// When the janitor of idle conversations last did something, in seconds since the Unix epoch; 0 when there is none.
    pub janitor_beat: Gauge<i64>,
    /// Conversations that the janitor has looked at.
    pub janitor_looked: Counter,
    /// Batches that wait to be written.
    pub queued: Gauge<i64>,
    /// Their bytes.
    pub queued_bytes: Gauge<i64>,
}

impl StorageMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let erasures = Family::<Cause, Counter>::default();
        registry.register("erasures", "Conversations that were erased, by cause", erasures.clone());
        let by = |cause| erasures.get_or_create(&Cause { cause }).clone();
        let (erasures_asked, erasures_idle) = (by("asked"), by("idle"));
        let janitor_looked = Counter::default();
        registry.register("janitor_looked", "Conversations that the janitor has looked at", janitor_looked.clone());
        let erasures_pending = Gauge::default();
        registry.register(
            "erasures_pending",
            "Erased conversations whose bodies may still be there physically",
            erasures_pending.clone(),
        );
        let queued = Gauge::default();
        registry.register("journal_queue", "Batches that wait to be written", queued.clone());
        let mut gauge = |name: &str, help: &str, unit| {
            let gauge = Gauge::default();
            registry.register_with_unit(name, help, unit, gauge.clone());
            gauge
        };
        Self {
            erasures_asked,
            erasures_idle,
            journal_bytes: gauge("journal", "Size of the journal", Unit::Bytes),
            dead_bytes: gauge("journal_dead", "Part of the journal that compaction could free", Unit::Bytes),
            erasures_pending,
            compacted_at: gauge("compacted_at", "When the last pass of compaction ended, Unix time", Unit::Seconds),
            janitor_beat: gauge("janitor_beat", "When the janitor last did something, Unix time", Unit::Seconds),
            janitor_looked,
            queued,
            queued_bytes: gauge("journal_queue", "Bytes of batches that wait to be written", Unit::Bytes),
        }
    }
}
