//! The port: what an adapter of a model provider does.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::{sync::mpsc, time::Instant};

use crate::{answer::Answer, error::Error, request::Request};

/// How long one attempt may take, and how much it may bring.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When it must have ended, whatever it is doing.
    pub deadline: Instant,
    /// Longest wait for the first token of a streamed answer.
    pub first_token: Duration,
    /// Longest wait for each further token, or for each further part of an answer that is not streamed.
    pub between_tokens: Duration,
    /// Most bytes of the provider's response, its framing among them.
    pub bytes_max: usize,
}

/// How an adapter gets JSON out of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonMode {
    /// By what the provider has for it.
    #[default]
    Native,
    /// By telling the model.
    Instruct,
}

impl JsonMode {
    /// The mode's name as settings write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Instruct => "instruct",
        }
    }
}

/// What an adapter can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Answers arrive while they are written.
    pub streams: bool,
    /// Answers are held to a schema while they are written.
    pub json: bool,
    /// Tools can be offered.
    pub tools: bool,
}

/// A model provider.
///
/// An attempt is one request: nothing is tried again here. Dropping its future ends the work: its connection is
/// closed, or its stream of a connection that is shared. What was answered up to then is lost.
pub trait Model: Send + Sync {
    /// The adapter's name, as the settings give it.
    fn name(&self) -> &str;

    /// What it can do.
    fn features(&self) -> Features;

    /// Asks once. With `deltas`, text is passed on while it is written; the answer holds all of it again. JSON and
    /// tool calls are not. A reader that is slow does not hold the attempt up: what does not fit into the channel is
    /// joined with what follows, and a reader that has gone is no fault.
    ///
    /// An answer that does not fit its schema says so in [`Answer::misfit`].
    ///
    /// # Errors
    /// [`Error`] says what happened.
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        limits: Limits,
        deltas: Option<mpsc::Sender<String>>,
    ) -> BoxFuture<'a, Result<Answer, Error>>;

    /// Asks the provider whether it is there and takes our key; costs no tokens.
    ///
    /// # Errors
    /// [`Error`] says what happened.
    fn check(&self, limits: Limits) -> BoxFuture<'_, Result<(), Error>>;
}
