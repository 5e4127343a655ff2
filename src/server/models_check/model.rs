//! Asking a model: once for JSON by a schema, once for a text that is streamed.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use colloquy_actors::ModelSpec;
use colloquy_flow::Purpose;
use colloquy_model::{Answer, Error, Finish, Limits, Message, Request};

use super::{Finding, fixes};

/// Longest answer, in tokens: enough for a word or a small object.
const TOKENS_MAX: u32 = 64;
/// Parts of an answer that may wait.
const PARTS_WAITING: usize = 16;
/// What the answer in JSON must fit.
const SCHEMA: &str =
    r#"{"type":"object","properties":{"colour":{"type":"string"}},"required":["colour"],"additionalProperties":false}"#;

/// Asks a model.
pub(super) async fn check(spec: &ModelSpec, deadline: Instant) -> Finding {
    let mut finding = Finding::new("model", &spec.name);
    if spec.model.is_none() {
        // Flows answer in its place: there is nobody to ask.
        finding.features.push(("answers_by_script", true));
        return finding;
    }
    if let Err(error) = ask(spec, deadline, &mut finding).await {
        finding.wrong(error.to_string(), fixes::of_model(&error, &spec.name));
    }
    finding
}

async fn ask(spec: &ModelSpec, deadline: Instant, finding: &mut Finding) -> Result<(), Error> {
    let begun = Instant::now();
    let answer = spec.adapter.attempt(&question(spec, true), limits(spec, deadline), None).await?;
    finding.latency = Some(begun.elapsed());
    let fits = answer.misfit.is_none();
    finding.features.push(("json_schema", fits));
    if !fits && !ran_out(&answer, finding, spec) {
        finding.wrong("the answer does not fit the JSON Schema it was given", fixes::of_json(spec));
    }
    let (streamed, first) = stream(spec, deadline).await?;
    finding.first_token = first;
    finding.features.push(("streaming", first.is_some()));
    if first.is_none() && fits && !ran_out(&streamed, finding, spec) {
        finding.wrong("a streamed answer has no text", "choose a model that answers in text");
    }
    let counted = |answer: &Answer| answer.usage.tokens_in > 0 && answer.usage.tokens_out > 0;
    finding.features.push(("usage", counted(&answer) && counted(&streamed)));
    Ok(())
}

/// Whether the model used up its tokens, which is then what is wrong: models that reason do so before they answer.
fn ran_out(answer: &Answer, finding: &mut Finding, spec: &ModelSpec) -> bool {
    let ran_out = answer.finish == Finish::Length;
    if ran_out {
        let provider = fixes::provider(&spec.name);
        finding.wrong(
            format!("it used all {TOKENS_MAX} tokens without an answer"),
            format!("have `{provider}` not reason before it answers, or choose another model"),
        );
    }
    ran_out
}

/// A streamed answer, and when its first words came.
async fn stream(spec: &ModelSpec, deadline: Instant) -> Result<(Answer, Option<Duration>), Error> {
    let (parts, mut coming) = mpsc::channel(PARTS_WAITING);
    let begun = Instant::now();
    let request = question(spec, false);
    let attempt = spec.adapter.attempt(&request, limits(spec, deadline), Some(parts));
    let first = async {
        let mut first = None;
        while let Some(part) = coming.recv().await {
            let said: &str = &part;
            if !said.trim().is_empty() {
                first.get_or_insert_with(|| begun.elapsed());
            }
        }
        first
    };
    let (answer, first) = tokio::join!(attempt, first);
    Ok((answer?, first))
}

fn limits(spec: &ModelSpec, deadline: Instant) -> Limits {
    let pace = spec.pace;
    Limits {
        deadline: deadline.min(Instant::now() + pace.attempt),
        first_token: pace.first_token,
        between_tokens: pace.between_tokens,
        bytes_max: pace.bytes_max,
    }
}

fn question(spec: &ModelSpec, json: bool) -> Request {
    let words = if json { "Name the colour of grass." } else { "Say hello in one word." };
    Request {
        prompt: "check".into(),
        purpose: if json { Purpose::Extract } else { Purpose::Respond },
        model: spec.model.clone(),
        messages: vec![Message::System("You answer as briefly as you can.".into()), Message::User(words.into())],
        schema: json.then(|| Arc::from(SCHEMA)),
        tools: Vec::new(),
        tokens_max: TOKENS_MAX,
        headers: Vec::new(),
        scripts: None,
    }
}
