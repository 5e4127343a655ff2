//! Answers that are streamed, whole and in tools, to readers fast, slow and gone.

use std::time::Duration;

use colloquy_flow::Json;
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use super::{
    anthropic, openai, request,
    server::{Do, Server, chunk, last_chunk, stream_head},
    with_schema, within,
};
use crate::{Answer, Finish, Model, Request, ToolCall, Usage};

/// The events as a provider streams them, one chunk each.
fn events(events: &[serde_json::Value], ending: &str) -> Vec<Do> {
    let mut script = vec![stream_head()];
    script.extend(events.iter().map(|event| {
        let name = event["type"].as_str().map(|name| format!("event: {name}\n")).unwrap_or_default();
        chunk(format!("{name}data: {event}\n\n"))
    }));
    if !ending.is_empty() {
        script.push(chunk(ending));
    }
    script.push(last_chunk());
    script
}

fn part(delta: serde_json::Value) -> serde_json::Value {
    json!({"model": "small-1", "choices": [{"index": 0, "delta": delta}]})
}

fn completion(text: &str) -> Vec<Do> {
    let words = text.split_inclusive(' ').map(|word| part(json!({"content": word})));
    let mut sent: Vec<_> = [part(json!({"role": "assistant", "content": ""}))].into_iter().chain(words).collect();
    sent.push(json!({"choices": [{"delta": {}, "finish_reason": "stop"}]}));
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}});
    sent.push(json!({"choices": [], "usage": usage}));
    events(&sent, "data: [DONE]\n\n")
}

fn message(blocks: &[serde_json::Value], stop: &str) -> Vec<Do> {
    let usage = json!({"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 4});
    let mut sent = vec![
        json!({"type": "message_start", "message": {"model": "large-1", "content": [], "usage": usage}}),
        json!({"type": "ping"}),
    ];
    sent.extend_from_slice(blocks);
    sent.push(json!({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}}));
    sent.push(json!({"type": "message_stop"}));
    events(&sent, "")
}

fn block(index: usize, start: serde_json::Value, deltas: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let mut sent = vec![json!({"type": "content_block_start", "index": index, "content_block": start})];
    sent.extend(deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
    sent.push(json!({"type": "content_block_stop", "index": index}));
    sent
}

/// The answer, and what a reader of the stream saw.
async fn read(model: &dyn Model, request: &Request) -> (Answer, String) {
    let (to, mut deltas) = mpsc::channel(64);
    let answer = model.attempt(request, within(2000), Some(to)).await.expect("an answer");
    let mut seen = String::new();
    while let Some(delta) = deltas.recv().await {
        seen.push_str(&delta);
    }
    (answer, seen)
}

#[tokio::test]
async fn text_is_streamed_and_given_again_whole() {
    let server = Server::start(completion("One two three.")).await;
    let (answer, seen) = read(&openai(&server.base()), &request()).await;
    assert_eq!(
        (answer.text.as_str(), seen.as_str(), answer.finish),
        ("One two three.", "One two three.", Finish::Stop)
    );
    assert_eq!(answer.usage, Usage { tokens_in: 9, tokens_out: 4, tokens_cached: 2 });
    assert_eq!(answer.model.as_ref(), "small-1");
    assert_eq!(server.asked()["stream_options"], json!({"include_usage": true}));

    let deltas = ["One ", "two ", "three."].map(|word| json!({"type": "text_delta", "text": word}));
    let server = Server::start(message(&block(0, json!({"type": "text", "text": ""}), &deltas), "end_turn")).await;
    let (answer, seen) = read(&anthropic(&server.base()), &request()).await;
    assert_eq!(
        (answer.text.as_str(), seen.as_str(), answer.finish),
        ("One two three.", "One two three.", Finish::Stop)
    );
    assert_eq!(answer.usage, Usage { tokens_in: 9, tokens_out: 7, tokens_cached: 4 });
}

#[tokio::test]
async fn tool_calls_are_put_together_from_their_parts() {
    let call = |index: usize, call: serde_json::Value| {
        let mut call = call;
        call["index"] = index.into();
        part(json!({"tool_calls": [call]}))
    };
    let mut sent = vec![
        call(0, json!({"id": "a", "type": "function", "function": {"name": "look", "arguments": ""}})),
        call(1, json!({"id": "b", "type": "function", "function": {"name": "go", "arguments": "{}"}})),
        call(0, json!({"function": {"arguments": "{\"at\""}})),
        call(0, json!({"function": {"arguments": ": 2}"}})),
    ];
    sent.push(json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}));
    let server = Server::start(events(&sent, "data: [DONE]\n\n")).await;
    let (answer, seen) = read(&openai(&server.base()), &request()).await;
    let parsed = |text: &str| Json::parse(text).expect("it is JSON");
    let wanted = [
        ToolCall { id: "a".into(), name: "look".into(), arguments: parsed("{\"at\":2}") },
        ToolCall { id: "b".into(), name: "go".into(), arguments: parsed("{}") },
    ];
    assert_eq!((answer.tool_calls.as_slice(), answer.finish, seen.as_str()), (&wanted[..], Finish::ToolCalls, ""));

    let parts = ["{\"at\"", ": 2}"].map(|part| json!({"type": "input_json_delta", "partial_json": part}));
    let mut sent = block(0, json!({"type": "text", "text": ""}), &[json!({"type": "text_delta", "text": "So."})]);
    sent.extend(block(1, json!({"type": "tool_use", "id": "a", "name": "look", "input": {}}), &parts));
    sent.extend(block(2, json!({"type": "tool_use", "id": "b", "name": "go", "input": {}}), &[]));
    let server = Server::start(message(&sent, "tool_use")).await;
    let (answer, seen) = read(&anthropic(&server.base()), &request()).await;
    assert_eq!((answer.tool_calls.as_slice(), answer.finish, seen.as_str()), (&wanted[..], Finish::ToolCalls, "So."));
}

#[tokio::test]
async fn json_is_not_streamed_to_readers() {
    let asked = with_schema(r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#);
    let server = Server::start(completion("{\"n\": 5}")).await;
    let (answer, seen) = read(&openai(&server.base()), &asked).await;
    assert_eq!((answer.text.as_str(), seen.as_str(), answer.misfit), ("{\"n\": 5}", "", None));
    let parts = ["{\"n\"", ": 5}"].map(|part| json!({"type": "input_json_delta", "partial_json": part}));
    let sent = block(0, json!({"type": "tool_use", "id": "a", "name": "answer", "input": {}}), &parts);
    let server = Server::start(message(&sent, "tool_use")).await;
    let (answer, seen) = read(&anthropic(&server.base()), &asked).await;
    assert_eq!((answer.text.as_str(), seen.as_str(), answer.misfit), ("{\"n\": 5}", "", None));
}

#[tokio::test]
async fn a_stream_without_its_done_ends_where_it_says_why() {
    let sent = [part(json!({"content": "Hi"})), json!({"choices": [{"delta": {}, "finish_reason": "length"}]})];
    let server = Server::start(events(&sent, "")).await;
    let (answer, _) = read(&openai(&server.base()), &request()).await;
    assert_eq!((answer.text.as_str(), answer.finish), ("Hi", Finish::Length));
}

#[tokio::test]
async fn a_reader_that_does_not_read_or_has_gone_holds_nothing_up() {
    let text = "word ".repeat(300);
    let server = Server::start(completion(&text)).await;
    let model = openai(&server.base());
    let (to, mut slow) = mpsc::channel(1);
    let began = Instant::now();
    let answer = model.attempt(&request(), within(2000), Some(to)).await.expect("an answer");
    assert_eq!(answer.text, text);
    assert!(began.elapsed() < Duration::from_millis(1000), "{:?}", began.elapsed());
    assert_eq!(slow.recv().await.as_deref(), Some("word "));
    let (to, gone) = mpsc::channel(1);
    drop(gone);
    assert_eq!(model.attempt(&request(), within(2000), Some(to)).await.expect("an answer").text, text);
}

#[tokio::test]
async fn what_does_not_fit_is_joined_for_a_reader_that_is_behind() {
    let text = "word ".repeat(300);
    let server = Server::start(completion(&text)).await;
    let model = openai(&server.base());
    let (to, mut deltas) = mpsc::channel::<String>(1);
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(delta) = deltas.recv().await {
            seen.push(delta);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen
    });
    model.attempt(&request(), within(5000), Some(to)).await.expect("an answer");
    let seen = reader.await.expect("no panic");
    assert_eq!(seen.concat(), text, "nothing is lost");
    assert!(seen.len() < 300, "it came in {} parts", seen.len());
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_stream() {
    let server = Server::start(completion("One two.")).await;
    let model = openai(&server.base());
    for _ in 0..5 {
        read(&model, &request()).await;
    }
    assert_eq!((server.requests().len(), server.accepted()), (5, 1));
}
