//! Stand-ins until the merge.
use colloquy_model::Model;
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    pub(crate) pause: Duration,
    pub(crate) pause_max: Duration,
    pub(crate) attempt_min: Duration,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GatePolicy {
    pub(crate) concurrency: NonZeroUsize,
    pub(crate) queue_len_max: usize,
    pub(crate) breaker: BreakerPolicy,
}
impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            concurrency: NonZeroUsize::MIN.saturating_add(15),
            queue_len_max: 256,
            breaker: BreakerPolicy {
                failures: 5,
                open_for: Duration::from_secs(2),
                open_for_max: Duration::from_secs(60),
            },
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerPolicy {
    pub(crate) failures: u32,
    pub(crate) open_for: Duration,
    pub(crate) open_for_max: Duration,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) attempt: Duration,
    pub(crate) first_token: Duration,
    pub(crate) between_tokens: Duration,
    pub(crate) bytes_max: usize,
}
impl Default for Pace {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(30),
            first_token: Duration::from_secs(10),
            between_tokens: Duration::from_secs(5),
            bytes_max: 4 << 20,
        }
    }
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prices {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
}
#[derive(Clone)]
pub(crate) struct ModelSpec {
    pub(crate) name: Arc<str>,
    pub(crate) model: Option<Arc<str>>,
    pub(crate) adapter: Arc<dyn Model>,
    pub(crate) gate: GatePolicy,
    pub(crate) pace: Pace,
    pub(crate) prices: Prices,
}
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    pub(crate) by_purpose: [Vec<Arc<str>>; 4],
}
