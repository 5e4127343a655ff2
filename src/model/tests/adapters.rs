//! What adapters send, and what they make of whole answers.

use colloquy_flow::{Json, schema::Misfit};
use serde_json::json;

use super::{
    KEY, anthropic, anthropic_settings, http, openai, openai_settings, request,
    server::{Server, json},
    with_schema, within,
};
use crate::{
    Anthropic, Error, Fault, Finish, HeaderName, HeaderValue, JsonMode, Message, Model, OpenAi, Request, SecretString,
    SettingsError, Tool, ToolCall, Usage, openai::TokensKey,
};

const SCHEMA: &str = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#;

fn completion(content: &str, finish: &str) -> String {
    json!({
        "model": "small-1", "choices": [{"message": {"content": content}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}},
    })
    .to_string()
}

fn message(content: &serde_json::Value, stop: &str) -> String {
    let usage =
        json!({"input_tokens": 4, "output_tokens": 3, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 2});
    json!({"model": "large-1", "content": content, "stop_reason": stop, "usage": usage}).to_string()
}

/// A prompt in which tools were called before.
fn planned() -> Request {
    let call = |id: &str| ToolCall {
        id: id.into(),
        name: "look".into(),
        arguments: Json::parse(r#"{"at":1.5}"#).expect("it is JSON"),
    };
    let result = |id: &str, failed| Message::ToolResult { call: id.into(), text: "seen".into(), failed };
    Request {
        messages: vec![
            Message::System("Plan.".into()),
            Message::User("Look.".into()),
            Message::Assistant { text: "".into(), tool_calls: vec![call("c1"), call("c2")] },
            result("c1", false),
            result("c2", true),
        ],
        tools: vec![Tool { name: "look".into(), description: "Looks.".into(), schema: r#"{"type":"object"}"#.into() }],
        ..request()
    }
}

#[tokio::test]
async fn a_whole_answer_of_chat_completions_is_read_with_its_usage() {
    let server = Server::start(vec![json(&completion("Hello.", "stop"))]).await;
    let answer = openai(&server.base()).attempt(&request(), within(2000), None).await.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.finish, answer.model.as_ref()), ("Hello.", Finish::Stop, "small-1"));
    assert_eq!(answer.usage, Usage { tokens_in: 12, tokens_out: 3, tokens_cached: 8 });
    let asked = json!({
        "model": "small", "max_tokens": 64, "temperature": 0.0, "stream": false,
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": super::SAID}],
    });
    assert_eq!(server.asked(), asked);
}

#[tokio::test]
async fn a_whole_message_is_read_with_its_usage() {
    let content = json!([{"type": "thinking", "thinking": "…"}, {"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]);
    let server = Server::start(vec![json(&message(&content, "end_turn"))]).await;
    let answer = anthropic(&server.base()).attempt(&request(), within(2000), None).await.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.finish, answer.model.as_ref()), ("Hello.", Finish::Stop, "large-1"));
    assert_eq!(answer.usage, Usage { tokens_in: 12, tokens_out: 3, tokens_cached: 6 });
    let asked = json!({
        "model": "large", "max_tokens": 64, "temperature": 0.0, "stream": false, "system": "Be short.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": super::SAID}]}],
    });
    assert_eq!(server.asked(), asked);
}

#[tokio::test]
async fn every_end_of_an_answer_is_told() {
    let ends = [
        ("stop", "end_turn", Finish::Stop),
        ("length", "max_tokens", Finish::Length),
        ("content_filter", "refusal", Finish::Filtered),
        ("tool_calls", "tool_use", Finish::ToolCalls),
    ];
    for (chat, stop, wanted) in ends {
        let server = Server::start(vec![json(&completion("x", chat))]).await;
        let answer = openai(&server.base()).attempt(&request(), within(2000), None).await.expect("an answer");
        assert_eq!(answer.finish, wanted, "{chat}");
        let content = json!([{"type": "text", "text": "x"}]);
        let server = Server::start(vec![json(&message(&content, stop))]).await;
        let answer = anthropic(&server.base()).attempt(&request(), within(2000), None).await.expect("an answer");
        assert_eq!(answer.finish, wanted, "{stop}");
    }
    let refusal = r#"{"choices":[{"message":{"content":null,"refusal":"No."},"finish_reason":"stop"}]}"#;
    let server = Server::start(vec![json(refusal)]).await;
    let answer = openai(&server.base()).attempt(&request(), within(2000), None).await.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.finish), ("No.", Finish::Filtered));
}

#[tokio::test]
async fn headers_go_along_but_replace_nothing() {
    let server = Server::start(vec![json(&completion("x", "stop"))]).await;
    let header =
        |name: &'static str, value: &'static str| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let headers = vec![header("traceparent", "00-aa-bb-01"), header("authorization", "Bearer other")];
    let asked = Request { headers, ..request() };
    openai(&server.base()).attempt(&asked, within(2000), None).await.expect("an answer");
    let head = server.requests().pop().expect("a request").to_lowercase();
    assert!(head.contains("traceparent: 00-aa-bb-01"), "{head}");
    assert!(head.contains(&format!("authorization: bearer {KEY}")) && !head.contains("other"), "{head}");
    assert!(head.contains(concat!("user-agent: colloquy/", env!("CARGO_PKG_VERSION"))), "{head}");
}

#[tokio::test]
async fn json_is_asked_for_natively_or_by_instruction_and_found_in_prose() {
    let chat = "Sure! Here it is:\n```json\n{\"n\": 5}\n```\nAnything else?";
    let server = Server::start(vec![json(&completion(chat, "stop"))]).await;
    for mode in [JsonMode::Native, JsonMode::Instruct] {
        let model = OpenAi::new(http(), openai_settings(&server.base(), mode)).expect("an adapter");
        let answer = model.attempt(&with_schema(SCHEMA), within(2000), None).await.expect("an answer");
        assert_eq!((answer.text.as_str(), &answer.misfit), (r#"{"n": 5}"#, &None));
        let asked = server.asked();
        let told = asked["messages"][0]["content"].as_str().is_some_and(|text| text.contains(SCHEMA));
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("it is JSON");
        let native = asked["response_format"]["json_schema"]["schema"] == schema;
        assert_eq!((native, told), (mode == JsonMode::Native, mode == JsonMode::Instruct), "{asked}");
    }
    let content = json!([{"type": "text", "text": chat}]);
    let server = Server::start(vec![json(&message(&content, "end_turn"))]).await;
    let settings = anthropic_settings(&server.base(), JsonMode::Instruct);
    let model = Anthropic::new(http(), settings).expect("an adapter");
    let answer = model.attempt(&with_schema(SCHEMA), within(2000), None).await.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.misfit), (r#"{"n": 5}"#, None));
    assert!(
        server.asked()["system"].as_str().is_some_and(|text| text.starts_with("Be short.") && text.contains(SCHEMA))
    );
}

#[tokio::test]
async fn anthropic_gives_json_as_the_arguments_of_a_forced_tool() {
    let content = json!([{"type": "tool_use", "id": "t1", "name": "answer", "input": {"n": 5}}]);
    let server = Server::start(vec![json(&message(&content, "tool_use"))]).await;
    let answer = anthropic(&server.base()).attempt(&with_schema(SCHEMA), within(2000), None).await.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.finish, answer.misfit), (r#"{"n":5}"#, Finish::Stop, None));
    assert!(answer.tool_calls.is_empty());
    assert_eq!(server.asked()["tool_choice"], json!({"type": "tool", "name": "answer"}));
    // The arguments of a tool are an object, so any other schema is told instead.
    let ended = anthropic(&server.base()).attempt(&with_schema(r#"{"type":"array"}"#), within(2000), None).await;
    assert_eq!(server.asked()["tool_choice"], json!(null));
    assert_eq!(ended.expect("an answer").tool_calls.len(), 1, "what it calls by itself is a call");
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_given_with_the_place_of_its_fault() {
    for (content, at, rule) in [
        (r#"{"n": "five"}"#, "#/n", "type"),
        ("{}", "#", "required"),
        ("no json", "#", "json"),
        ("{\"n\": 5", "#", "json"),
    ] {
        let server = Server::start(vec![json(&completion(content, "stop"))]).await;
        let answer = openai(&server.base()).attempt(&with_schema(SCHEMA), within(2000), None).await.expect("an answer");
        assert_eq!(answer.text, content, "who repairs it needs it");
        assert_eq!(answer.misfit, Some(Misfit { at: at.to_owned(), rule }));
        assert_eq!(answer.fitting(), Err(Error::WrongSchema { at: at.to_owned(), rule }));
    }
    let ended = openai("http://127.0.0.1:9").attempt(&with_schema("no schema"), within(2000), None).await;
    assert_eq!(ended, Err(Error::Unsendable), "nothing was sent");
}

#[tokio::test]
async fn tool_calls_are_asked_for_answered_and_read() {
    let calls = json!([{"id": "c3", "type": "function", "function": {"name": "look", "arguments": "{\"at\": 2}"}}]);
    let body = json!({"choices": [{"message": {"content": null, "tool_calls": calls}, "finish_reason": "tool_calls"}]});
    let server = Server::start(vec![json(&body.to_string())]).await;
    let answer = openai(&server.base()).attempt(&planned(), within(2000), None).await.expect("an answer");
    let wanted = ToolCall { id: "c3".into(), name: "look".into(), arguments: Json::parse("{\"at\":2}").expect("JSON") };
    assert_eq!((answer.tool_calls, answer.finish), (vec![wanted.clone()], Finish::ToolCalls));
    let asked = server.asked();
    let function = json!({"name": "look", "arguments": "{\"at\":1.5}"});
    assert_eq!(asked["messages"][2]["tool_calls"][1], json!({"id": "c2", "type": "function", "function": function}));
    assert_eq!(asked["messages"][4], json!({"role": "tool", "tool_call_id": "c2", "content": "seen"}));
    assert_eq!(asked["tools"][0]["function"]["name"], "look");

    let content = json!([{"type": "tool_use", "id": "c3", "name": "look", "input": {"at": 2}}]);
    let server = Server::start(vec![json(&message(&content, "tool_use"))]).await;
    let answer = anthropic(&server.base()).attempt(&planned(), within(2000), None).await.expect("an answer");
    assert_eq!((answer.tool_calls, answer.finish), (vec![wanted], Finish::ToolCalls));
    let asked = server.asked();
    assert_eq!(asked["messages"].as_array().map(Vec::len), Some(3), "results of one turn are one turn");
    let call = json!({"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1.5}});
    assert_eq!(
        asked["messages"][1],
        json!({"role": "assistant", "content": [call, {"type": "tool_use", "id": "c2", "name": "look", "input": {"at": 1.5}}]})
    );
    let result = json!({"type": "tool_result", "tool_use_id": "c2", "content": "seen", "is_error": true});
    assert_eq!(asked["messages"][2]["content"][1], result);
}

#[tokio::test]
async fn arguments_that_are_no_object_and_too_many_calls_are_malformed() {
    let call = |arguments: &str| json!({"id": "c", "function": {"name": "look", "arguments": arguments}});
    for calls in [vec![call("[1]")], vec![call("{\"at\":")], vec![call("{}"); 33]] {
        let body = json!({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]});
        let server = Server::start(vec![json(&body.to_string())]).await;
        let ended = openai(&server.base()).attempt(&planned(), within(2000), None).await;
        assert_eq!(ended, Err(Error::Malformed(Fault::ToolCall)));
    }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::start(vec![json(&completion("x", "stop"))]).await;
    let model = openai(&server.base());
    for _ in 0..5 {
        model.attempt(&request(), within(2000), None).await.expect("an answer");
    }
    assert_eq!((server.requests().len(), server.accepted()), (5, 1));
}

#[tokio::test]
async fn the_longest_answer_and_another_model_are_named_as_the_provider_wants_them() {
    let server = Server::start(vec![json(&completion("x", "stop"))]).await;
    let settings = openai_settings(&server.base(), JsonMode::Native);
    let settings =
        crate::openai::OpenAiSettings { tokens_key: TokensKey::MaxCompletionTokens, temperature: None, ..settings };
    let model = OpenAi::new(http(), settings).expect("an adapter");
    let asked = Request { model: Some("other".into()), ..request() };
    model.attempt(&asked, within(2000), None).await.expect("an answer");
    let asked = server.asked();
    assert_eq!((&asked["max_completion_tokens"], &asked["model"]), (&json!(64), &json!("other")));
    assert!(asked.get("temperature").is_none() && asked.get("max_tokens").is_none(), "{asked}");
}

#[test]
fn settings_that_cannot_work_are_refused_and_keys_are_never_shown() {
    for base in ["", "localhost:80", "ftp://host", "http://", "http://u:p@host", "http://host?key=1", "http://host/#x"]
    {
        let refused = OpenAi::new(http(), openai_settings(base, JsonMode::Native)).err();
        assert_eq!(refused, Some(SettingsError::BaseUrl), "{base}");
    }
    let mut settings = openai_settings("http://host/v1/", JsonMode::Native);
    assert!(!format!("{:?}", OpenAi::new(http(), settings.clone()).expect("an adapter")).contains(KEY));
    settings.api_key = Some(SecretString::from("a\nb"));
    assert_eq!(OpenAi::new(http(), settings).err(), Some(SettingsError::ApiKey));
    let far = Anthropic::new(http(), anthropic_settings("http://host", JsonMode::Native)).expect("an adapter");
    assert!(!format!("{far:?}").contains(KEY));
    assert!(!format!("{:?}", request()).contains(super::SAID));
}
