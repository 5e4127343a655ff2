//! What comes back: whole, or in parts of the same shape.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    answer::{Finish, Usage},
    body::Step,
    collect::Collected,
    error::{Error, Fault},
    pace::Pace,
    refusal,
};

/// What ends a stream.
const DONE: &str = "[DONE]";

#[derive(Deserialize)]
struct Completion {
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<UsageCount>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "message")]
    delta: Option<Part>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Part {
    content: Option<String>,
    refusal: Option<String>,
    #[serde(alias = "reasoning")]
    reasoning_content: Option<String>,
    tool_calls: Option<Vec<CallPart>>,
}

#[derive(Deserialize)]
struct CallPart {
    index: Option<usize>,
    id: Option<String>,
    function: Option<FunctionPart>,
}

#[derive(Deserialize)]
struct FunctionPart {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct UsageCount {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}

/// Takes an answer that came as a whole.
pub(super) fn whole(collected: &mut Collected, body: &[u8]) -> Result<(), Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::Malformed(Fault::NotUtf8))?;
    let completion: Completion = serde_json::from_str(text).map_err(|_| Error::Malformed(Fault::Shape))?;
    if completion.choices.is_empty() && completion.error.is_none() {
        return Err(Error::Malformed(Fault::Shape));
    }
    take(collected, completion).map(drop)
}

/// Takes one event of a stream.
pub(super) fn event(collected: &mut Collected, data: &str, pace: &mut Pace) -> Result<Step, Error> {
    if data.trim() == DONE {
        return Ok(Step::Complete);
    }
    let part: Completion = serde_json::from_str(data).map_err(|_| Error::Malformed(Fault::Shape))?;
    if take(collected, part)? {
        pace.progressed();
    }
    Ok(Step::More)
}

/// Takes what is there. Gives whether any of it was written by the model.
fn take(collected: &mut Collected, completion: Completion) -> Result<bool, Error> {
    if let Some(error) = completion.error {
        return Err(refusal::in_stream(&error));
    }
    collected.named(completion.model.as_deref().unwrap_or_default());
    if let Some(usage) = completion.usage {
        let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
        collected.usage = Usage {
            tokens_in: usage.prompt_tokens,
            tokens_out: usage.completion_tokens,
            tokens_cached: cached.unwrap_or_default(),
        };
    }
    // One choice is asked for.
    let Some(choice) = completion.choices.into_iter().next() else { return Ok(false) };
    let written = choice.delta.map(|part| part_of(collected, part)).transpose()?.unwrap_or_default();
    if let Some(reason) = choice.finish_reason {
        // What the model refused stays refused.
        collected.finish = collected.finish.filter(|held| *held == Finish::Filtered).or(Some(finish(&reason)));
    }
    Ok(written)
}

fn part_of(collected: &mut Collected, part: Part) -> Result<bool, Error> {
    let mut written = part.reasoning_content.is_some_and(|text| !text.is_empty());
    if let Some(text) = part.content.filter(|text| !text.is_empty()) {
        collected.push(&text);
        written = true;
    }
    if let Some(text) = part.refusal.filter(|text| !text.is_empty()) {
        collected.push(&text);
        collected.finish = Some(Finish::Filtered);
        written = true;
    }
    for (place, call) in part.tool_calls.unwrap_or_default().into_iter().enumerate() {
        let id = call.id.unwrap_or_default();
        let (name, arguments) = call.function.map_or((None, None), |function| (function.name, function.arguments));
        let (name, arguments) = (name.unwrap_or_default(), arguments.unwrap_or_default());
        collected.push_call(call.index.unwrap_or(place), &id, &name, &arguments)?;
        written = true;
    }
    Ok(written)
}

fn finish(reason: &str) -> Finish {
    match reason {
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::Filtered,
        _ => Finish::Stop,
    }
}
