//! What the process tells about itself: metric definitions and log set-up.
//!
//! Neighbours bump pre-resolved handles of [`Metrics`]; no label is looked up on the path of a turn.
//! Conversation keys and user text are never labels and never logged.

mod logging;
mod metrics;
mod stalls;

pub use self::{
    logging::{Format, InitError, init},
    metrics::{
        Metrics,
        outside::{CostHeld, GateSample, OutsideMetrics, Tokens},
        storage::StorageMetrics,
    },
    stalls::{Poll, Polled, STALL, STALL_CPU, Stalls, Watched},
};
