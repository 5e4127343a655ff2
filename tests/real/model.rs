//! The adapters against a real server with a real model, when the environment names one: `tests/real/llama.sh`
//! starts llama.cpp, which speaks chat completions and messages both. Otherwise it says that nothing was run.

#![allow(clippy::expect_used, clippy::panic, reason = "this is a test: what fails here fails the test")]

use std::{process::ExitCode, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use colloquy_flow::{Json, Purpose};
use colloquy_model::{
    Answer, Anthropic, Error, Finish, Http, HttpOptions, JsonMode, Limits, Message, Model, OpenAi, Refusal, Request,
    anthropic::AnthropicSettings,
    openai::{OpenAiSettings, TokensKey},
};

/// Names the server, without a path.
const ADDRESS: &str = "COLLOQUY_REAL_MODEL";
const SCHEMA: &str = r#"{"type":"object","properties":{"colour":{"enum":["red","blue"]},"sure":{"type":"integer","minimum":0,"maximum":100}},"required":["colour","sure"]}"#;

fn limits() -> Limits {
    let patience = Duration::from_secs(60);
    Limits {
        deadline: Instant::now() + patience,
        first_token: patience,
        between_tokens: Duration::from_secs(20),
        bytes_max: 1 << 20,
    }
}

fn request(said: &str, tokens_max: u32) -> Request {
    Request {
        prompt: "real".into(),
        purpose: Purpose::Respond,
        model: None,
        messages: vec![Message::System("You are a helpful assistant.".into()), Message::User(said.into())],
        schema: None,
        tools: Vec::new(),
        tokens_max,
        headers: Vec::new(),
        scripts: None,
    }
}

fn adapters(address: &str, json: JsonMode) -> Vec<Box<dyn Model>> {
    let http = Http::new(HttpOptions::default()).expect("a client");
    let chat = OpenAiSettings {
        name: "chat completions".into(),
        base_url: format!("{address}/v1"),
        model: "local".into(),
        api_key: None,
        json,
        tokens_key: TokensKey::MaxTokens,
        temperature: Some(0.0),
    };
    let messages = AnthropicSettings {
        name: "messages".into(),
        base_url: address.to_owned(),
        model: "local".into(),
        api_key: None,
        json,
        temperature: Some(0.0),
    };
    vec![
        Box::new(OpenAi::new(http.clone(), chat).expect("an adapter")),
        Box::new(Anthropic::new(http, messages).expect("an adapter")),
    ]
}

fn used(answer: &Answer) {
    assert!(answer.usage.tokens_in > 0 && answer.usage.tokens_out > 0, "{answer:?}");
}

async fn text_whole(model: &dyn Model) {
    let answer =
        model.attempt(&request("What is the capital of France?", 48), limits(), None).await.expect("an answer");
    println!("    whole: {:?}, {:?}", answer.text, answer.usage);
    assert!(answer.text.contains("Paris"), "{:?}", answer.text);
    used(&answer);
}

async fn text_streamed(model: &dyn Model) {
    let (to, mut deltas) = mpsc::channel::<String>(256);
    let asked = request("What is the capital of France?", 48);
    let began = Instant::now();
    let reading = async {
        let (mut seen, mut parts, mut first) = (String::new(), 0, None);
        while let Some(delta) = deltas.recv().await {
            first.get_or_insert_with(|| began.elapsed());
            seen.push_str(&delta);
            parts += 1;
        }
        (seen, parts, first)
    };
    let (answer, (seen, parts, first)) = tokio::join!(model.attempt(&asked, limits(), Some(to)), reading);
    let answer = answer.expect("an answer");
    println!(
        "    streamed: {parts} parts, the first after {first:?}, all after {:?}, {:?}",
        began.elapsed(),
        answer.usage
    );
    assert!(parts > 1 && seen == answer.text && seen.contains("Paris"), "{parts} parts of {seen:?}");
    used(&answer);
}

async fn length(model: &dyn Model) {
    let answer = model.attempt(&request("Tell me a long story.", 8), limits(), None).await.expect("an answer");
    assert_eq!(answer.finish, Finish::Length, "{answer:?}");
}

/// With `held` the server holds the model to the schema. Otherwise so small a model may well answer something else:
/// then the answer says where it does not fit.
async fn json(model: &dyn Model, held: bool) {
    let asked = Request { schema: Some(SCHEMA.into()), ..request("Which colour has the sky, red or blue?", 64) };
    for streamed in [false, true] {
        let (to, _deltas) = mpsc::channel(4);
        let answer = model.attempt(&asked, limits(), streamed.then_some(to)).await.expect("an answer");
        println!("    json, streamed {streamed}: {:?}, misfit {:?}, {:?}", answer.text, answer.misfit, answer.finish);
        let fits = Json::parse(&answer.text).is_ok_and(|value| value.get("colour").is_some());
        assert_eq!(fits, answer.misfit.is_none(), "{:?}", answer.text);
        assert!(fits || !held, "{:?}", answer.text);
    }
}

async fn too_long(model: &dyn Model) {
    let ended = model.attempt(&request(&"a word ".repeat(60_000), 8), limits(), None).await;
    println!("    too long: {ended:?}");
    assert!(matches!(ended, Err(Error::Status { class: Refusal::TooLong, .. })), "{ended:?}");
}

/// One that is dropped while it is being written; the server then has time for others.
async fn dropped(model: &dyn Model) {
    let asked = request("Write a very long story about a fox and a crow.", 2000);
    let (to, mut deltas) = mpsc::channel(4);
    let attempt = model.attempt(&asked, limits(), Some(to));
    tokio::select! {
        ended = attempt => panic!("it ended at once: {ended:?}"),
        delta = deltas.recv() => assert!(delta.is_some(), "nothing is streamed"),
    }
    let began = Instant::now();
    model.attempt(&request("Say yes.", 4), limits(), None).await.expect("an answer");
    println!("    after one that was dropped: {:?}", began.elapsed());
}

#[tokio::main]
async fn main() -> ExitCode {
    let Ok(address) = std::env::var(ADDRESS) else {
        println!("not run: {ADDRESS} names no server; tests/real/llama.sh starts one and runs this against it");
        return ExitCode::SUCCESS;
    };
    for native in [JsonMode::Native, JsonMode::Instruct] {
        for model in adapters(&address, native) {
            println!("{}, json {}", model.name(), native.name());
            let mut checked = model.check(limits()).await;
            if matches!(checked, Err(Error::Reset)) {
                // The server closes connections that were idle for a while, at times just as they are used again.
                checked = model.check(limits()).await;
            }
            checked.expect("it is there");
            // This server holds no model to the arguments of a tool that its template does not know.
            json(model.as_ref(), native == JsonMode::Native && model.name() == "chat completions").await;
            if native == JsonMode::Native {
                text_whole(model.as_ref()).await;
                text_streamed(model.as_ref()).await;
                length(model.as_ref()).await;
                too_long(model.as_ref()).await;
                dropped(model.as_ref()).await;
            }
        }
    }
    println!("all passed against {address}");
    ExitCode::SUCCESS
}
