//! Tests of the crate: adapters against a server that misbehaves, parsers against arbitrary input.

mod adapters;
mod json;
mod misbehaving;
mod refusals;
mod scripted;
mod server;
mod sse;
mod streams;

use std::{sync::Arc, time::Duration};

use colloquy_flow::Purpose;
use tokio::time::Instant;

use crate::{
    Anthropic, Http, HttpOptions, JsonMode, Limits, Message, OpenAi, Request, SecretString,
    anthropic::AnthropicSettings,
    openai::{OpenAiSettings, TokensKey},
};

/// A key and words that must never be seen in an error.
const KEY: &str = "sk-never-told";
const SAID: &str = "the word of the user";

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_millis(300);

fn request() -> Request {
    Request {
        prompt: "answer".into(),
        purpose: Purpose::Respond,
        model: None,
        messages: vec![Message::System("Be short.".into()), Message::User(SAID.into())],
        schema: None,
        tools: Vec::new(),
        tokens_max: 64,
        headers: Vec::new(),
        scripts: None,
    }
}

fn with_schema(schema: &str) -> Request {
    Request { schema: Some(schema.into()), ..request() }
}

/// Limits with a deadline this many milliseconds away, and as much patience.
fn within(millis: u64) -> Limits {
    let patience = Duration::from_millis(millis);
    Limits { deadline: Instant::now() + patience, first_token: patience, between_tokens: patience, bytes_max: 1 << 20 }
}

fn http() -> Http {
    Http::new(HttpOptions { connect_timeout: CONNECT, ..HttpOptions::default() }).expect("a client")
}

fn openai_settings(base_url: &str, json: JsonMode) -> OpenAiSettings {
    OpenAiSettings {
        name: "local".into(),
        base_url: base_url.to_owned(),
        model: "small".into(),
        api_key: Some(SecretString::from(KEY)),
        json,
        tokens_key: TokensKey::MaxTokens,
        temperature: Some(0.0),
    }
}

fn openai(base_url: &str) -> OpenAi {
    OpenAi::new(http(), openai_settings(base_url, JsonMode::Native)).expect("an adapter")
}

fn anthropic_settings(base_url: &str, json: JsonMode) -> AnthropicSettings {
    AnthropicSettings {
        name: "far".into(),
        base_url: base_url.to_owned(),
        model: Arc::from("large"),
        api_key: Some(SecretString::from(KEY)),
        json,
        temperature: Some(0.0),
    }
}

fn anthropic(base_url: &str) -> Anthropic {
    Anthropic::new(http(), anthropic_settings(base_url, JsonMode::Native)).expect("an adapter")
}
