//! What turns ask of the world: models, sources and tools, as the conversation actor sees them.
//!
//! A call ends by its deadline, whatever the other side does, and dropping its future stops the work. The answer is
//! one that a turn can go on with: why something failed is told to operators, not to the turn.

use std::{fmt, sync::Arc};

use colloquy_flow::Flow;
use colloquy_turn::{CallOutcome, CallRequest, Failure, ModelOutput, ModelRequest};
use colloquy_types::{ConversationKey, TurnId};
use futures::future::{BoxFuture, FutureExt as _};
use tokio::{sync::mpsc, time::Instant};

use crate::reply::TurnEvent;

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
    pub(crate) readers: Vec<mpsc::Sender<TurnEvent>>,
}

impl Deltas {
    /// Tells a part. A reader that lets its bounded channel fill up loses parts, never the ending.
    pub fn push(&mut self, text: &str) {
        let event = || TurnEvent::Delta { step: self.step, text: text.into() };
        self.readers.retain(|reader| reader.try_send(event()).is_ok());
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.readers.iter().all(mpsc::Sender::is_closed)
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

/// The world outside the process.
pub trait Outside: Send + Sync + fmt::Debug {
    /// Asks a model.
    fn model(&self, call: ModelCall) -> BoxFuture<'static, Result<ModelOutput, Failure>>;

    /// Asks a source, or calls a tool. A failure says that nothing happened; when that is not certain the outcome is
    /// [`CallOutcome::Unknown`].
    fn call(&self, call: SourceCall) -> BoxFuture<'static, CallOutcome>;
}

/// A process that can reach nothing: every call is answered as unavailable, so that flows degrade as they declare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Outside for Nowhere {
    fn model(&self, _: ModelCall) -> BoxFuture<'static, Result<ModelOutput, Failure>> {
        futures::future::ready(Err(Failure::Unavailable)).boxed()
    }

    fn call(&self, _: SourceCall) -> BoxFuture<'static, CallOutcome> {
        futures::future::ready(CallOutcome::Failed(Failure::Unavailable)).boxed()
    }
}
