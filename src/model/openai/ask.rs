//! The request's body.

use serde_json::{Map, Value, json};

use super::{OpenAiSettings, TokensKey};
use crate::{
    error::Error,
    http,
    json::instruction,
    port::JsonMode,
    request::{Message, Request, Tool},
};

pub(super) fn body(
    settings: &OpenAiSettings,
    request: &Request,
    model: &str,
    streamed: bool,
) -> Result<Vec<u8>, Error> {
    let mut messages: Vec<Value> = request.messages.iter().map(message).collect();
    let mut body = Map::new();
    body.insert("model".to_owned(), model.into());
    match (&request.schema, settings.json) {
        (Some(schema), JsonMode::Native) => {
            let format = json!({ "name": request.prompt, "schema": http::schema(schema)? });
            body.insert("response_format".to_owned(), json!({ "type": "json_schema", "json_schema": format }));
        }
        (Some(schema), JsonMode::Instruct) => instruct(&mut messages, &instruction(schema)),
        (None, _) => {}
    }
    body.insert("messages".to_owned(), messages.into());
    let tokens_key = match settings.tokens_key {
        TokensKey::MaxTokens => "max_tokens",
        TokensKey::MaxCompletionTokens => "max_completion_tokens",
    };
    body.insert(tokens_key.to_owned(), request.tokens_max.into());
    if let Some(temperature) = settings.temperature {
        body.insert("temperature".to_owned(), temperature.into());
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(tool).collect::<Result<Vec<_>, _>>()?;
        body.insert("tools".to_owned(), tools.into());
    }
    body.insert("stream".to_owned(), streamed.into());
    if streamed {
        body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
    }
    serde_json::to_vec(&body).map_err(|_| Error::Unsendable)
}

fn message(message: &Message) -> Value {
    match message {
        Message::System(text) => json!({ "role": "system", "content": text }),
        Message::User(text) => json!({ "role": "user", "content": text }),
        Message::Assistant { text, tool_calls } if tool_calls.is_empty() => {
            json!({ "role": "assistant", "content": text })
        }
        Message::Assistant { text, tool_calls } => {
            let calls = tool_calls.iter().map(|call| {
                let function = json!({ "name": call.name, "arguments": call.arguments.to_string() });
                json!({ "id": call.id, "type": "function", "function": function })
            });
            json!({ "role": "assistant", "content": text, "tool_calls": calls.collect::<Vec<_>>() })
        }
        // There is no word for a failed call here; its text has to say so.
        Message::ToolResult { call, text, .. } => json!({ "role": "tool", "tool_call_id": call, "content": text }),
    }
}

fn tool(tool: &Tool) -> Result<Value, Error> {
    let parameters = http::schema(&tool.schema)?;
    let function = json!({ "name": tool.name, "description": tool.description, "parameters": parameters });
    Ok(json!({ "type": "function", "function": function }))
}

/// Adds to the instructions; small servers take only one message of them, and only as the first.
fn instruct(messages: &mut Vec<Value>, instruction: &str) {
    let first = messages.first_mut().filter(|message| message.get("role").is_some_and(|role| role == "system"));
    match first.and_then(|system| system.get_mut("content")) {
        Some(content) => *content = format!("{}\n\n{instruction}", content.as_str().unwrap_or_default()).into(),
        None => messages.insert(0, json!({ "role": "system", "content": instruction })),
    }
}
