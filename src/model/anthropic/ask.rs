//! The request's body: instructions apart, turns of content blocks, tools.

use serde_json::{Map, Value, json};

use super::{ANSWER_TOOL, AnthropicSettings};
use crate::{
    error::Error,
    http,
    json::instruction,
    port::JsonMode,
    request::{Message, Request},
};

/// A body, and how its answer will come.
pub(super) struct Asked {
    pub(super) body: Vec<u8>,
    /// Whether JSON comes as the arguments of [`ANSWER_TOOL`].
    pub(super) by_tool: bool,
}

pub(super) fn body(
    settings: &AnthropicSettings,
    request: &Request,
    model: &str,
    streamed: bool,
) -> Result<Asked, Error> {
    let mut body = Map::new();
    body.insert("model".to_owned(), model.into());
    body.insert("max_tokens".to_owned(), request.tokens_max.into());
    body.insert("messages".to_owned(), turns(&request.messages).into());
    if let Some(temperature) = settings.temperature {
        body.insert("temperature".to_owned(), temperature.into());
    }
    let mut system: Vec<String> = instructions(&request.messages).map(str::to_owned).collect();
    let mut tools = Vec::new();
    for tool in &request.tools {
        let schema = http::schema(&tool.schema)?;
        tools.push(json!({ "name": tool.name, "description": tool.description, "input_schema": schema }));
    }
    let mut by_tool = false;
    if let Some(source) = &request.schema {
        let schema = http::schema(source)?;
        let object = schema.get("type").is_some_and(|kind| kind == "object");
        by_tool = object && settings.json == JsonMode::Native && tools.is_empty();
        if by_tool {
            let told = "Gives the answer.";
            tools.push(json!({ "name": ANSWER_TOOL, "description": told, "input_schema": schema }));
            body.insert("tool_choice".to_owned(), json!({ "type": "tool", "name": ANSWER_TOOL }));
        } else {
            system.push(instruction(source));
        }
    }
    if !system.is_empty() {
        body.insert("system".to_owned(), system.join("\n\n").into());
    }
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.into());
    }
    body.insert("stream".to_owned(), streamed.into());
    let body = serde_json::to_vec(&body).map_err(|_| Error::Unsendable)?;
    Ok(Asked { body, by_tool })
}

fn instructions(messages: &[Message]) -> impl Iterator<Item = &str> {
    messages.iter().filter_map(|message| match message {
        Message::System(text) => Some(text.as_ref()),
        _ => None,
    })
}

/// The turns of both sides. What one side says in a row is one turn: the results of calls made together must be.
fn turns(messages: &[Message]) -> Vec<Value> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks) = match message {
            Message::System(_) => continue,
            Message::User(text) => ("user", text_block(text)),
            Message::Assistant { text, tool_calls } => {
                let calls = tool_calls.iter().map(|call| {
                    let input = http::schema(&call.arguments.to_string()).unwrap_or_default();
                    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input })
                });
                ("assistant", text_block(text).into_iter().chain(calls).collect())
            }
            Message::ToolResult { call, text, failed } => {
                let result = json!({ "type": "tool_result", "tool_use_id": call, "content": text, "is_error": failed });
                ("user", vec![result])
            }
        };
        match turns.last_mut() {
            Some((last, said)) if *last == role => said.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.into_iter().map(|(role, blocks)| json!({ "role": role, "content": blocks })).collect()
}

/// A text; empty ones are refused by the interface.
fn text_block(text: &str) -> Vec<Value> {
    if text.is_empty() { Vec::new() } else { vec![json!({ "type": "text", "text": text })] }
}
