//! Every metric of the process, defined once.

pub(crate) mod outside;
pub(crate) mod residence;
pub(crate) mod storage;
pub(crate) mod timers;

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use self::{outside::OutsideMetrics, residence::ResidenceMetrics, storage::StorageMetrics, timers::TimerMetrics};
use crate::stalls::Stalls;

/// Bounds of latency buckets, in seconds: 50 µs to 10 s.
const LATENCY_BUCKETS: [f64; 16] =
    [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    value: &'static str,
}

/// The process's metrics. Handles are public and cheap to bump.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Turns committed as their flow intends.
    pub turns_complete: Counter,
    /// Turns committed with something missing.
    pub turns_degraded: Counter,
    /// Turns stopped by a guard or an undeclared transition.
    pub turns_blocked: Counter,
    /// Turns that ended before they were decided, with what had been shown.
    pub turns_interrupted: Counter,
    /// Turns that ran and were dropped for another one.
    pub turns_replaced: Counter,
    /// Accepted turns that ended without a committed one.
    pub turns_closed: Counter,
    /// Accepted turns that a new activation took up.
    pub turns_resumed: Counter,
    /// Turns on which the next one was decided before they were synced.
    pub turns_ahead: Counter,
    /// Calls whose deadline passed before they were started.
    pub expired: Counter,
    /// Calls answered with the ending of an earlier one.
    pub duplicates: Counter,
    /// Transitions that were proposed and not declared.
    pub transitions_blocked: Counter,
    /// Flow revisions promoted.
    pub promotions: Counter,
    /// Conversations moved to another revision of their flow.
    pub upgrades: Counter,
    /// Turns of conversations at a boundary that do not map to the promoted revision.
    pub upgrades_blocked: Counter,
    /// Compiled revisions that were looked for and found.
    pub flow_lookups_found: Counter<u64, AtomicU64>,
    /// Compiled revisions that were looked for and not found.
    pub flow_lookups_absent: Counter<u64, AtomicU64>,
    /// Conversation actors started.
    pub activations: Counter,
    /// Conversation actors started anew after a panic.
    pub restarts_panic: Counter,
    /// Conversation actors started anew after being killed.
    pub restarts_killed: Counter,
    /// Calls answered with a status other than OK.
    pub calls_refused: Counter,
    /// From a turn's arrival in the gateway to its reply.
    pub turn_seconds: Histogram,
    /// From the arrival of a call in the gateway to its refusal for want of room.
    pub refusal_seconds: Histogram,
    /// Live conversation actors.
    pub conversations_active: Gauge<i64>,
    /// Calls that wait or run.
    pub in_flight: Gauge<i64>,
    /// Open watches.
    pub watchers: Gauge<i64>,
    /// Calls that may wait or run now; as of the last scrape.
    pub in_flight_limit: Gauge<i64>,
    /// Bytes of input of calls that wait or run; as of the last scrape.
    pub queue_bytes: Gauge<i64>,
    /// Bytes of events of turns that are kept for those who follow them; as of the last scrape.
    pub event_bytes: Gauge<i64>,
    /// Turns that are being carried out; as of the last scrape, as the next two.
    pub turns_at_once: Gauge<i64>,
    /// Turns that may be carried out at once.
    pub turns_at_once_limit: Gauge<i64>,
    /// Turns that wait to be carried out.
    pub turns_waiting: Gauge<i64>,
    /// How long calls wait for their conversation on average, in microseconds; as of the last scrape.
    pub queue_wait_micros: Gauge<i64>,
    /// Conversations that are refused because their stored history is damaged.
    pub store_damaged: Gauge<i64>,
    /// Records appended since the start.
    pub store_records: Counter<u64, AtomicU64>,
    /// Syncs since the start.
    pub store_syncs: Counter<u64, AtomicU64>,
    /// The store, and what was erased.
    pub storage: StorageMetrics,
    /// Which conversations are in memory.
    pub residence: ResidenceMetrics,
    /// Of timers.
    pub timers: TimerMetrics,
    /// What is called outside.
    pub outside: OutsideMetrics,
    /// Polls that took too long.
    pub stalls: Stalls,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("colloquy");
        let outcomes = Family::<Label, Counter>::default();
        let restarts = Family::<Label, Counter>::default();
        let by = |family: &Family<Label, Counter>, value| family.get_or_create(&Label { value }).clone();
        registry.register("turns_by_outcome", "Turns that ended, by outcome", outcomes.clone());
        registry.register("restarts_by_cause", "Conversation actors started anew, by cause", restarts.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let turns_resumed = counter("turns_resumed", "Accepted turns that a new activation took up");
        let turns_ahead = counter("turns_ahead", "Turns on which the next one was decided before they were synced");
        let expired = counter("calls_expired", "Calls whose deadline passed before they were started");
        let duplicates = counter("duplicates", "Calls answered with the ending of an earlier one");
        let transitions_blocked = counter("transitions_blocked", "Transitions that were proposed and not declared");
        let promotions = counter("flow_promotions", "Flow revisions promoted");
        let upgrades = counter("upgrades", "Conversations moved to another revision of their flow");
        let upgrades_blocked = counter(
            "upgrades_blocked",
            "Turns of conversations at a boundary that do not map to the promoted revision",
        );
        let flow_lookups_found = counter("flow_lookups_found", "Compiled revisions that were looked for and found");
        let flow_lookups_absent = counter("flow_lookups_absent", "Compiled revisions that were looked for, not found");
        let activations = counter("activations", "Conversation actors started");
        let calls_refused = counter("calls_refused", "Calls answered with a status other than OK");
        let store_records = counter("store_records", "Records appended");
        let store_syncs = counter("store_syncs", "Syncs of the journal");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let conversations_active = gauge("conversations_active", "Live conversation actors");
        let in_flight = gauge("calls_in_flight", "Calls that wait or run");
        let watchers = gauge("watchers", "Open watches");
        let in_flight_limit = gauge("calls_in_flight_limit", "Calls that may wait or run now");
        let queue_bytes = gauge("queue_bytes", "Bytes of input of calls that wait or run");
        let event_bytes = gauge("event_bytes", "Bytes of events of turns that are kept for those who follow them");
        let turns_at_once = gauge("turns_at_once", "Turns that are being carried out");
        let turns_at_once_limit = gauge("turns_at_once_limit", "Turns that may be carried out at once now");
        let turns_waiting = gauge("turns_waiting", "Turns that wait to be carried out");
        let queue_wait_micros = gauge("queue_wait_micros", "How long calls wait for their conversation on average");
        let store_damaged = gauge("store_damaged", "Conversations that the start found damaged");
        let turn_seconds = Histogram::new(LATENCY_BUCKETS);
        registry.register_with_unit(
            "turn",
            "From a turn's arrival in the gateway to its reply",
            Unit::Seconds,
            turn_seconds.clone(),
        );
        let refusal_seconds = Histogram::new(LATENCY_BUCKETS);
        registry.register_with_unit(
            "refusal",
            "From a call's arrival in the gateway to its refusal for want of room",
            Unit::Seconds,
            refusal_seconds.clone(),
        );
        let storage = StorageMetrics::new(&mut registry);
        let residence = ResidenceMetrics::new(&mut registry);
        let timers = TimerMetrics::new(&mut registry);
        let outside = OutsideMetrics::new(&mut registry);
        let stalls = Stalls::new(&mut registry);
        Self {
            registry,
            turns_complete: by(&outcomes, "complete"),
            turns_degraded: by(&outcomes, "degraded"),
            turns_blocked: by(&outcomes, "blocked"),
            turns_interrupted: by(&outcomes, "interrupted"),
            turns_replaced: by(&outcomes, "replaced"),
            turns_closed: by(&outcomes, "closed"),
            turns_resumed,
            turns_ahead,
            expired,
            duplicates,
            transitions_blocked,
            promotions,
            upgrades,
            upgrades_blocked,
            flow_lookups_found,
            flow_lookups_absent,
            activations,
            restarts_panic: by(&restarts, "panic"),
            restarts_killed: by(&restarts, "killed"),
            calls_refused,
            turn_seconds,
            refusal_seconds,
            conversations_active,
            in_flight,
            watchers,
            in_flight_limit,
            queue_bytes,
            event_bytes,
            turns_at_once,
            turns_at_once_limit,
            turns_waiting,
            queue_wait_micros,
            store_damaged,
            store_records,
            store_syncs,
            storage,
            residence,
            timers,
            outside,
            stalls,
        }
    }
}

impl Metrics {
    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bumped_is_told() {
        let metrics = Metrics::default();
        metrics.turns_complete.inc();
        metrics.conversations_active.set(3);
        metrics.storage.erasures_idle.inc();
        metrics.storage.dead_bytes.set(7);
        metrics.storage.queued.set(2);
        metrics.storage.queued_bytes.set(900);
        metrics.event_bytes.set(5);
        metrics.residence.passivations_watermark.inc();
        let text = metrics.encode();
        assert!(text.contains(r#"colloquy_turns_by_outcome_total{value="complete"} 1"#), "{text}");
        assert!(text.contains("colloquy_conversations_active 3"), "{text}");
        assert!(text.contains(r#"colloquy_erasures_total{cause="idle"} 1"#), "{text}");
        assert!(text.contains("colloquy_journal_dead_bytes 7"), "{text}");
        assert!(text.contains("colloquy_journal_queue 2\n"), "{text}");
        assert!(text.contains("colloquy_journal_queue_bytes 900\n"), "{text}");
        assert!(text.contains("colloquy_event_bytes 5\n"), "{text}");
        assert!(text.contains(r#"colloquy_passivations_total{cause="watermark"} 1"#), "{text}");
    }
}
