//! What a model is asked.

use std::{fmt, sync::Arc};

use colloquy_flow::{Purpose, Scripts};
use reqwest::header::{HeaderName, HeaderValue};

use crate::answer::ToolCall;

/// One message of a prompt.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// The instructions.
    System(Arc<str>),
    /// What the user said.
    User(Arc<str>),
    /// What the assistant answered.
    Assistant {
        /// The text; empty when it only called tools.
        text: Arc<str>,
        /// The tools it called.
        tool_calls: Vec<ToolCall>,
    },
    /// What a tool returned.
    ToolResult {
        /// The id of the call it answers.
        call: Arc<str>,
        /// What it returned.
        text: Arc<str>,
        /// Whether it failed.
        failed: bool,
    },
}

impl Message {
    /// How much is said, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::System(text) | Self::User(text) | Self::Assistant { text, .. } | Self::ToolResult { text, .. } => {
                text.len()
            }
        }
    }
}

/// A tool that a model may ask for.
#[derive(Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: Arc<str>,
    /// What it is for.
    pub description: Arc<str>,
    /// JSON Schema of its arguments.
    pub schema: Arc<str>,
}

/// A question to a model.
#[derive(Clone)]
pub struct Request {
    /// The prompt's name.
    pub prompt: Arc<str>,
    /// What it is for.
    pub purpose: Purpose,
    /// The model, as its provider names it; the adapter's own when not given.
    pub model: Option<Arc<str>>,
    /// The prompt.
    pub messages: Vec<Message>,
    /// The JSON Schema the answer should fit; none asks for text.
    pub schema: Option<Arc<str>>,
    /// Tools it may ask for.
    pub tools: Vec<Tool>,
    /// Longest answer, in tokens.
    pub tokens_max: u32,
    /// Headers that go along, such as the context of a trace. They cannot replace those of the adapter.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The flow's own answers, for [`Scripted`](crate::Scripted).
    pub scripts: Option<Arc<Scripts>>,
}

/// Shows no word of the prompt.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("prompt", &self.prompt)
            .field("purpose", &self.purpose)
            .field("model", &self.model)
            .field("messages", &self.messages.len())
            .field("tools", &self.tools.len())
            .field("tokens_max", &self.tokens_max)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// The last thing the user said.
    pub(crate) fn last_user(&self) -> Option<&str> {
        self.messages.iter().rev().find_map(|message| match message {
            Message::User(text) => Some(text.as_ref()),
            _ => None,
        })
    }
}
