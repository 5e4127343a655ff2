//! What is told of calls that leave the process: how they ended, how long they took, what they used and cost.
//!
//! Names of models and sources come from the settings, so they are few. Tenants come from callers: the first
//! [`TENANTS_MAX`] have their own series, later ones share [`OTHER_TENANTS`].

use std::{
    collections::HashSet,
    sync::{PoisonError, RwLock},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// How many tenants have series of their own.
const TENANTS_MAX: usize = 1_000;
/// The label of the others. No tenant can have this name.
const OTHER_TENANTS: &str = "(other)";
/// Bounds of latency buckets, in seconds: 5 ms to a minute.
const BUCKETS: [f64; 13] = [5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    name: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Used {
    tenant: String,
    model: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Spent {
    tenant: String,
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Prompted {
    prompt: String,
    kind: &'static str,
}

/// Tokens that one answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read, those from the provider's cache among them.
    pub input: u64,
    /// Read from the provider's cache.
    pub cached: u64,
    /// Written.
    pub output: u64,
}

/// The figures of one gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateSample {
    /// Calls that run.
    pub inside: usize,
    /// Calls that wait.
    pub waiting: usize,
    /// Whether its breaker lets nothing through, or only a probe.
    pub open: bool,
}

/// Metrics of what is called outside.
#[derive(Debug)]
pub struct OutsideMetrics {
    model_calls: Family<Ended, Counter>,
    model_seconds: Family<Named, Histogram>,
    model_tokens: Family<Used, Counter>,
    prompt_tokens: Family<Prompted, Counter>,
    model_cost: Family<Spent, Counter>,
    model_cost_held: Family<Named, Gauge>,
    source_calls: Family<Ended, Counter>,
    source_seconds: Family<Named, Histogram>,
    gate_inside: Family<Named, Gauge>,
    gate_waiting: Family<Named, Gauge>,
    gate_open: Family<Named, Gauge>,
    tenants: RwLock<HashSet<String>>,
}

impl OutsideMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let metrics = Self {
            model_calls: Family::default(),
            model_seconds: Family::new_with_constructor(histogram),
            model_tokens: Family::default(),
            prompt_tokens: Family::default(),
            model_cost: Family::default(),
            model_cost_held: Family::default(),
            source_calls: Family::default(),
            source_seconds: Family::new_with_constructor(histogram),
            gate_inside: Family::default(),
            gate_waiting: Family::default(),
            gate_open: Family::default(),
            tenants: RwLock::default(),
        };
        registry.register("model_calls", "Attempts at a model, by how they ended", metrics.model_calls.clone());
        let seconds = Unit::Seconds;
        registry.register_with_unit("model_call", "One attempt", seconds.clone(), metrics.model_seconds.clone());
        registry.register("model_tokens", "Tokens read, cached and written", metrics.model_tokens.clone());
        registry.register("prompt_tokens", "The same by prompt", metrics.prompt_tokens.clone());
        let help = "What models cost, in millionths of the settings' currency";
        registry.register("model_cost_micros", help, metrics.model_cost.clone());
        let help = "What the calls that run may cost at most, in the same unit";
        registry.register("model_cost_held_micros", help, metrics.model_cost_held.clone());
        registry.register("source_calls", "Attempts at a source, by how they ended", metrics.source_calls.clone());
        registry.register_with_unit("source_call", "One attempt", seconds, metrics.source_seconds.clone());
        registry.register("gate_inside", "Calls that run behind a gate", metrics.gate_inside.clone());
        registry.register("gate_waiting", "Calls that wait at a gate", metrics.gate_waiting.clone());
        registry.register("gate_open", "Whether a gate's breaker is not closed", metrics.gate_open.clone());
        metrics
    }

    /// An attempt at a model ended, or was not admitted.
    pub fn model_call(&self, model: &str, outcome: &'static str) {
        self.model_calls.get_or_create(&Ended { name: model.to_owned(), outcome }).inc();
    }

    /// How long an attempt at a model took.
    pub fn model_seconds(&self, model: &str, seconds: f64) {
        self.model_seconds.get_or_create(&Named { name: model.to_owned() }).observe(seconds);
    }

    /// What an answer used, and what that cost in millionths of the settings' currency.
    pub fn model_usage(&self, tenant: &str, model: &str, prompt: &str, tokens: Tokens, cost_micros: u64) {
        let tenant = self.tenant(tenant);
        for (kind, count) in [("input", tokens.input), ("cached", tokens.cached), ("output", tokens.output)] {
            if count > 0 {
                let used = Used { tenant: tenant.clone(), model: model.to_owned(), kind };
                self.model_tokens.get_or_create(&used).inc_by(count);
                self.prompt_tokens.get_or_create(&Prompted { prompt: prompt.to_owned(), kind }).inc_by(count);
            }
        }
        if cost_micros > 0 {
            self.model_cost.get_or_create(&Spent { tenant, model: model.to_owned() }).inc_by(cost_micros);
        }
    }

    /// Holds what a call that begins may cost at most, until that is dropped.
    pub fn hold_cost(&self, model: &str, micros: u64) -> CostHeld {
        let gauge = self.model_cost_held.get_or_create(&Named { name: model.to_owned() }).clone();
        let micros = i64::try_from(micros).unwrap_or(i64::MAX);
        gauge.inc_by(micros);
        CostHeld { gauge, micros }
    }

    /// An attempt at a source ended, or was not admitted.
    pub fn source_call(&self, source: &str, outcome: &'static str) {
        self.source_calls.get_or_create(&Ended { name: source.to_owned(), outcome }).inc();
    }

    /// How long an attempt at a source took.
    pub fn source_seconds(&self, source: &str, seconds: f64) {
        self.source_seconds.get_or_create(&Named { name: source.to_owned() }).observe(seconds);
    }

    /// How a gate stands.
    pub fn gate(&self, gate: &str, sample: GateSample) {
        let name = || Named { name: gate.to_owned() };
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.gate_inside.get_or_create(&name()).set(count(sample.inside));
        self.gate_waiting.get_or_create(&name()).set(count(sample.waiting));
        self.gate_open.get_or_create(&name()).set(i64::from(sample.open));
    }

    fn tenant(&self, tenant: &str) -> String {
        let known = self.tenants.read().unwrap_or_else(PoisonError::into_inner).contains(tenant);
        if !known {
            let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            if tenants.len() >= TENANTS_MAX && !tenants.contains(tenant) {
                return OTHER_TENANTS.to_owned();
            }
            tenants.insert(tenant.to_owned());
        }
        tenant.to_owned()
    }
}

/// What a call that runs may cost.
#[derive(Debug)]
pub struct CostHeld {
    gauge: Gauge,
    micros: i64,
}

impl Drop for CostHeld {
    fn drop(&mut self) {
        self.gauge.dec_by(self.micros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_beyond_the_bound_share_a_series() {
        let metrics = OutsideMetrics::new(&mut Registry::default());
        let tokens = Tokens { input: 3, cached: 0, output: 2 };
        for number in 0..TENANTS_MAX + 5 {
            metrics.model_usage(&format!("t{number}"), "local/small", "advise", tokens, 7);
        }
        let cost = |tenant: &str| {
            metrics.model_cost.get_or_create(&Spent { tenant: tenant.into(), model: "local/small".into() }).get()
        };
        assert_eq!((cost("t0"), cost("t999"), cost("t1000"), cost(OTHER_TENANTS)), (7, 7, 0, 35));
        metrics.model_usage("t0", "local/small", "advise", tokens, 7);
        assert_eq!(cost("t0"), 14, "one that is known stays known");
        let (one, other) = (metrics.hold_cost("local/small", 30), metrics.hold_cost("local/small", 12));
        let held = || metrics.model_cost_held.get_or_create(&Named { name: "local/small".into() }).get();
        assert_eq!(held(), 42);
        drop(one);
        assert_eq!(held(), 12);
        drop(other);
        assert_eq!(held(), 0);
        let read = Prompted { prompt: "advise".into(), kind: "input" };
        assert_eq!(metrics.prompt_tokens.get_or_create(&read).get(), 3 * (5 + TENANTS_MAX as u64 + 1));
    }
}
