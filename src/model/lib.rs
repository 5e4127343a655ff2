//! Models as a port, and its adapters: one attempt at a time, honestly typed.
//!
//! [`Model`] is the port. [`OpenAi`] speaks chat completions (OpenAI, llama.cpp, vLLM, Ollama), [`Anthropic`] the
//! messages API, and [`Scripted`] answers by the rules of a flow, with no key and no network. Each attempt ends by its
//! [`Limits`] with an [`Answer`] or an [`Error`] that says what happened and never what was said. Trying again,
//! falling back, limiting and choosing a model belong to the callers.

mod answer;
pub mod anthropic;
mod body;
mod collect;
mod deltas;
mod error;
mod http;
mod json;
pub mod openai;
mod pace;
mod port;
mod refusal;
mod request;
mod retry_after;
pub mod scripted;
pub mod sse;

pub use reqwest::header::{HeaderName, HeaderValue};
pub use secrecy::SecretString;

pub use answer::{Answer, Finish, ToolCall, Usage};
pub use anthropic::Anthropic;
pub use error::{Error, Fault, Refusal};
pub use http::{Http, HttpOptions, SettingsError};
pub use openai::OpenAi;
pub use port::{Features, JsonMode, Limits, Model};
pub use request::{Message, Request, Tool};
pub use scripted::Scripted;

#[cfg(test)]
mod tests;
