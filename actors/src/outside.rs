//! What turns ask of the world: models, sources and tools, as the conversation actor sees them.
//!
//! A call ends by its deadline, whatever the other side does, and dropping its future stops the work. The answer is
//! one that a turn can go on with: why something failed is told to operators, not to the turn.
//!
//! [`World`] is what a server uses: every model and source stands behind a gate of its own, an actor that bounds how
//! many calls run and wait, and shuts while the place fails. Calls run with the turn that makes them.

mod board;
mod breaker;
mod cost;
mod gate;
mod models;
mod retry;
mod session;
mod sources;
mod supervisor;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use colloquy_flow::Flow;
use colloquy_telemetry::{GateSample, Metrics};
use colloquy_turn::{CallOutcome, CallRequest, Failure, ModelOutput, ModelRequest, Usage};
use colloquy_types::{ConversationKey, Entropy, TraceContext, TurnId};
use futures::future::{BoxFuture, FutureExt as _};
use tokio::time::Instant;

pub(crate) use self::supervisor::{Child, GateSupervisor};
pub use self::{
    board::GateFigures,
    breaker::{BreakerPolicy, BreakerPosition},
    cost::Prices,
    gate::GatePolicy,
    models::{ModelSpec, Pace, Routes},
    retry::RetryPolicy,
    sources::{SourceAdapter, SourceSpec},
    supervisor::{GateKind, Gates},
};
use self::{models::Models, sources::Sources};
use crate::{events::TurnEvents, reply::TurnEvent};

/// Whose call it is, and until when.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The conversation that asks.
    pub key: ConversationKey,
    /// The turn.
    pub turn_id: TurnId,
    /// The effect's number within the turn.
    pub step: u16,
    /// When the answer is no longer waited for.
    pub deadline: Instant,
    /// The trace it belongs to, with this call's own place in it.
    pub trace: Option<TraceContext>,
}

impl CallContext {
    /// The call's stable key: the same whenever this effect of this turn is called again.
    pub fn effect_key(&self) -> String {
        format!("{}-{}", self.turn_id, self.step)
    }
}

/// Where the parts of an answer go while it is being written. They are provisional.
#[derive(Clone, Debug)]
pub struct Deltas {
    pub(crate) step: u16,
    pub(crate) events: Arc<TurnEvents>,
}

impl Deltas {
    /// Tells a part.
    pub fn push(&self, text: &str) {
        self.events.push(TurnEvent::Delta { step: self.step, text: text.into() });
    }
}

/// A question to a model.
#[derive(Clone, Debug)]
pub struct ModelCall {
    /// Whose it is.
    pub context: CallContext,
    /// The question.
    pub request: Arc<ModelRequest>,
    /// The flow that asks.
    pub flow: Arc<Flow>,
    /// Set when somebody reads the answer while it is being written.
    pub deltas: Option<Deltas>,
}

/// A call of a source or a tool.
#[derive(Clone, Debug)]
pub struct SourceCall {
    /// Whose it is.
    pub context: CallContext,
    /// The call.
    pub request: Arc<CallRequest>,
}

/// What came of a question to a model.
#[derive(Clone, Debug)]
pub struct ModelAnswer {
    /// The answer, or why there is none.
    pub result: Result<ModelOutput, Failure>,
    /// What attempts used that gave no answer; an estimate where the provider did not tell.
    pub lost: Usage,
}

impl From<Result<ModelOutput, Failure>> for ModelAnswer {
    fn from(result: Result<ModelOutput, Failure>) -> Self {
        Self { result, lost: Usage::default() }
    }
}

/// The world outside the process.
pub trait Outside: Send + Sync + fmt::Debug {
    /// Asks a model.
    fn model(&self, call: ModelCall) -> BoxFuture<'static, ModelAnswer>;

    /// Asks a source, or calls a tool. A failure says that nothing happened; when that is not certain the outcome is
    /// [`CallOutcome::Unknown`].
    fn call(&self, call: SourceCall) -> BoxFuture<'static, CallOutcome>;

    /// What stands in front of it, which the tree keeps alive.
    fn gates(&self) -> Vec<Gates> {
        Vec::new()
    }
}

/// A process that can reach nothing: every call is answered as unavailable, so that flows degrade as they declare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Outside for Nowhere {
    fn model(&self, _: ModelCall) -> BoxFuture<'static, ModelAnswer> {
        futures::future::ready(Err(Failure::Unavailable).into()).boxed()
    }

    fn call(&self, _: SourceCall) -> BoxFuture<'static, CallOutcome> {
        futures::future::ready(CallOutcome::Failed(Failure::Unavailable)).boxed()
    }
}

/// What the settings say of the world.
#[derive(Clone, Default)]
pub struct WorldSpec {
    /// Every model.
    pub models: Vec<ModelSpec>,
    /// Which models are asked for what.
    pub routes: Routes,
    /// Every source.
    pub sources: Vec<SourceSpec>,
    /// How attempts follow each other.
    pub retry: RetryPolicy,
}

/// Models and sources behind gates. The tree of the [`Runtime`](crate::Runtime) it is given to keeps the gates alive;
/// without one nothing gets in.
pub struct World {
    models: Arc<Models>,
    sources: Arc<Sources>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |gates: Gates| gates.boards().map(|board| board.name.clone()).collect::<Vec<_>>();
        let mut shown = f.debug_struct("World");
        shown.field("models", &names(self.models.gates())).field("sources", &names(self.sources.gates()));
        shown.finish_non_exhaustive()
    }
}

impl World {
    /// Puts everything of `spec` behind gates.
    pub fn new(spec: WorldSpec, entropy: Arc<dyn Entropy>, metrics: Arc<Metrics>) -> Self {
        let models = Models::new(spec.models, &spec.routes, spec.retry, Arc::clone(&entropy), Arc::clone(&metrics));
        let sources = Sources::new(spec.sources, spec.retry, entropy, metrics);
        Self { models: Arc::new(models), sources: Arc::new(sources) }
    }
}

impl Outside for World {
    fn model(&self, call: ModelCall) -> BoxFuture<'static, ModelAnswer> {
        let models = Arc::clone(&self.models);
        async move { models.ask(call).await }.boxed()
    }

    fn call(&self, call: SourceCall) -> BoxFuture<'static, CallOutcome> {
        let sources = Arc::clone(&self.sources);
        async move { sources.call(call).await }.boxed()
    }

    fn gates(&self) -> Vec<Gates> {
        vec![self.models.gates(), self.sources.gates()]
    }
}

/// Shows how the gates stand, for the next scrape.
pub(crate) fn sample(outside: &dyn Outside, metrics: &Metrics) {
    for gates in outside.gates() {
        for board in gates.boards() {
            let GateFigures { inside, waiting, breaker, .. } = board.figures();
            let open = breaker != BreakerPosition::Closed;
            metrics.outside.gate(&board.name, GateSample { inside, waiting, open });
        }
    }
}

pub(crate) fn elapsed_ms(begun: Instant) -> u32 {
    u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX)
}
