//! What a model answers.

use std::{fmt, sync::Arc};

use colloquy_flow::{Json, schema::Misfit};

use crate::error::Error;

/// A tool that a model asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The call's id: its result names it.
    pub id: Arc<str>,
    /// The tool's name, as the model wrote it: it need not be one that was offered.
    pub name: Arc<str>,
    /// The arguments. Whether they fit the tool's schema is for the caller to see.
    pub arguments: Json,
}

/// Shows no arguments.
impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCall").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What an answer used, as the provider counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read, those from the cache among them.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Tokens read that the provider had in its cache.
    pub tokens_cached: u64,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is complete.
    Stop,
    /// It reached the token limit.
    Length,
    /// It asks for tools.
    ToolCalls,
    /// The provider withheld it, or the model refused.
    Filtered,
}

/// A model's answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text. When JSON was asked for and is in it, that alone, without what stood around it.
    pub text: String,
    /// Tools it asks for.
    pub tool_calls: Vec<ToolCall>,
    /// What it used; zero where the provider does not tell.
    pub usage: Usage,
    /// Why it ended.
    pub finish: Finish,
    /// The model that answered, as its provider names it.
    pub model: Arc<str>,
    /// Where the text does not fit the schema that was asked for. The text is here all the same: who repairs an
    /// answer needs it.
    pub misfit: Option<Misfit>,
}

impl Answer {
    /// The answer, for callers that cannot use one that does not fit its schema.
    ///
    /// # Errors
    /// [`Error::WrongSchema`] with the place of the first fault.
    pub fn fitting(self) -> Result<Self, Error> {
        match self.misfit {
            Some(Misfit { at, rule }) => Err(Error::WrongSchema { at, rule }),
            None => Ok(self),
        }
    }
}

/// Shows no word of the answer.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("text_bytes", &self.text.len())
            .field("tool_calls", &self.tool_calls)
            .field("usage", &self.usage)
            .field("finish", &self.finish)
            .field("model", &self.model)
            .field("misfit", &self.misfit)
            .finish()
    }
}
