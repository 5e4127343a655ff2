//! The port: one call of a source or of one of its tools.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::time::Instant;

use colloquy_flow::Json;

use crate::error::Error;

/// What a source is asked.
#[derive(Clone)]
pub struct Call {
    /// The tool of the source; empty for the source itself.
    pub tool: Arc<str>,
    /// The arguments: an object.
    pub arguments: Json,
    /// The stable idempotency key: the same for every attempt of one effect.
    pub key: Option<Arc<str>>,
    /// Whether the flow declares that the call changes nothing in the world.
    pub read_only: bool,
    /// The trace this call belongs to.
    pub trace: Trace,
}

/// Shows no arguments: they hold what users said.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("tool", &self.tool).field("read_only", &self.read_only).finish_non_exhaustive()
    }
}

/// W3C trace context, sent along with a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The value of `traceparent`.
    pub parent: Option<Arc<str>>,
    /// The value of `tracestate`.
    pub state: Option<Arc<str>>,
}

/// What a source answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The value.
    pub value: Json,
    /// Whether some of it is missing.
    pub partial: bool,
}

/// Shows no value: it may hold anything.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("partial", &self.partial).finish_non_exhaustive()
    }
}

/// A tool of a source, as the source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: Arc<str>,
    /// Whether the settings allow calling it.
    pub allowed: bool,
    /// Whether the source says that it changes nothing; a hint that nothing relies on.
    pub read_only_hint: Option<bool>,
    /// Whether the schema of its arguments can be checked; a tool without that is never called.
    pub checkable: bool,
}

/// What a check of a source found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How long the source took.
    pub latency: Duration,
    /// The tools it has; none for a source that is itself what is asked.
    pub tools: Vec<Tool>,
}

/// Something outside that can be asked.
///
/// Both methods end by `deadline`. Dropping a future stops its work: a request that is under way is broken off, or
/// its server is told that nobody waits any more.
pub trait Source: Send + Sync {
    /// Makes one call, once.
    ///
    /// # Errors
    /// [`Error`] tells what happened, and whether anything may have happened in the world.
    fn call(&self, call: Call, deadline: Instant) -> BoxFuture<'_, Result<Answer, Error>>;

    /// Asks whether the source can be reached, and what it has. Changes nothing.
    ///
    /// # Errors
    /// [`Error`], as for a call.
    fn check(&self, deadline: Instant) -> BoxFuture<'_, Result<Checked, Error>>;
}

/// Splits what a flow names into source and tool, at the first `/`; without one there is no tool.
pub fn split_target(target: &str) -> (&str, &str) {
    target.split_once('/').unwrap_or((target, ""))
}
