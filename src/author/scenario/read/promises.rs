//! What a turn promises beyond its reply and position.

use colloquy_flow::Json;
use colloquy_turn::{Proposer, Reason, Stage, StageResult};
use serde::de::DeserializeOwned;

use super::super::{Never, Promises, PromptPromise, StagePromise, vocabulary};
use crate::{
    fault::{At, Faults},
    node::{Key, Node, Value},
    read::outside,
    reader::{self, Fields},
};

/// The keys of what must not happen.
pub(crate) const NEVER_KEYS: [&str; 5] = ["reply_pattern", "intent", "state", "slots", "stages"];
/// The keys of a stage's event.
pub(crate) const STAGE_KEYS: [&str; 4] = ["result", "reason", "name", "by"];
/// The keys of what must stand in a prompt.
pub(crate) const PROMPT_KEYS: [&str; 2] = ["contains", "lacks"];

pub(super) fn read(fields: &Fields<'_>, faults: &mut Faults) -> Promises {
    // An empty list promises that there is nothing.
    let mut names = |key: &'static str| fields.get(key).map(|node| texts(Some(node), key, faults));
    Promises {
        flags: names("flags"),
        pending: names("pending"),
        follow_ups: names("follow_ups"),
        degradations: names("degradations"),
        progress: names("progress"),
        stages: stages(fields.get("stages"), faults),
        prompts: prompts(fields.get("prompt"), faults),
        arguments: arguments(fields.get("arguments"), faults),
        never: fields.get("not").map(|node| never(node, faults)).unwrap_or_default(),
    }
}

fn texts(node: Option<&Node>, what: &str, faults: &mut Faults) -> Vec<String> {
    let items = node.into_iter().flat_map(reader::list);
    items.filter_map(|item| reader::text(item, what, faults).map(|said| said.value)).collect()
}

fn never(node: &Node, faults: &mut Faults) -> Never {
    let Some(fields) = Fields::of(node, "not", &NEVER_KEYS, faults) else { return Never::default() };
    let mut text = |key: &'static str| reader::text(fields.get(key)?, key, faults).map(|said| said.value);
    let (intent, state) = (text("intent"), text("state"));
    let refused = fields.get("stages").into_iter().flat_map(reader::list);
    Never {
        reply_pattern: fields.get("reply_pattern").and_then(|node| reader::pattern(node, "reply_pattern", faults)),
        intent,
        state,
        slots: texts(fields.get("slots"), "a slot", faults),
        stages: refused.flat_map(|item| refused_stage(item, faults)).collect(),
    }
}

/// A stage alone, or what it must not come to.
fn refused_stage(node: &Node, faults: &mut Faults) -> Vec<StagePromise> {
    if matches!(node.value, Value::Map(_)) {
        return stages(Some(node), faults);
    }
    let said = reader::text(node, "a stage", faults);
    let stage = said.and_then(|said| word::<Stage>(&said, "stage", faults));
    stage.map(|stage| StagePromise { stage, result: None, reason: None, name: None, by: None }).into_iter().collect()
}

/// By stage what it must come to: one event, or a list of several.
fn stages(node: Option<&Node>, faults: &mut Faults) -> Vec<StagePromise> {
    let entries = node.and_then(|node| reader::map(node, "stages", faults)).unwrap_or_default();
    let mut promises = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let said = At { value: key.text.clone(), mark: key.mark.clone() };
        let Some(stage) = word::<Stage>(&said, "stage", faults) else { continue };
        promises.extend(reader::list(node).filter_map(|item| event(stage, item, faults)));
    }
    promises
}

/// A result or a reason, or a map of what is known of the event.
fn event(stage: Stage, node: &Node, faults: &mut Faults) -> Option<StagePromise> {
    if !matches!(node.value, Value::Map(_)) {
        let said = reader::text(node, "a stage's result or reason", faults)?;
        if let Ok(result) = vocabulary::parse(&said.value) {
            return Some(StagePromise { stage, result: Some(result), reason: None, name: None, by: None });
        }
        let reason = word::<Reason>(&said, "result or reason", faults)?;
        return Some(StagePromise { stage, result: None, reason: Some(reason), name: None, by: None });
    }
    let fields = Fields::of(node, "a stage's event", &STAGE_KEYS, faults)?;
    let mut text = |key: &'static str| fields.get(key).and_then(|node| reader::text(node, key, faults));
    let (result, reason, name, by) = (text("result"), text("reason"), text("name"), text("by"));
    Some(StagePromise {
        stage,
        result: result.and_then(|said| word::<StageResult>(&said, "result", faults)),
        reason: reason.and_then(|said| word::<Reason>(&said, "reason", faults)),
        name: name.map(|said| said.value),
        by: by.and_then(|said| word::<Proposer>(&said, "proposer", faults)),
    })
}

fn word<T: DeserializeOwned>(said: &At<String>, what: &str, faults: &mut Faults) -> Option<T> {
    match vocabulary::parse(&said.value) {
        Ok(value) => Some(value),
        Err(mut known) => {
            if what == "result or reason" {
                known.extend(vocabulary::known::<StageResult>());
            }
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let fix = match reader::nearest(&said.value, &known) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("write one of {}", known.join(", ")),
            };
            faults.error("bad-value", &said.mark, format!("there is no {what} {:?}", said.value), fix);
            None
        }
    }
}

fn prompts(node: Option<&Node>, faults: &mut Faults) -> Vec<PromptPromise> {
    let entries = node.and_then(|node| reader::map(node, "prompt", faults)).unwrap_or_default();
    let mut promises = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let Some(fields) = Fields::of(node, "a prompt's promise", &PROMPT_KEYS, faults) else { continue };
        promises.push(PromptPromise {
            name: key.text.clone(),
            contains: texts(fields.get("contains"), "contains", faults),
            lacks: texts(fields.get("lacks"), "lacks", faults),
        });
    }
    promises
}

/// By enrichment or action, what it is asked with.
fn arguments(node: Option<&Node>, faults: &mut Faults) -> Vec<(String, Json)> {
    let entries = node.and_then(|node| reader::map(node, "arguments", faults)).unwrap_or_default();
    let one = |(key, node): &(Key, Node), faults: &mut Faults| {
        Some((key.text.clone(), outside::json(node, "the arguments", faults)?))
    };
    entries.iter().filter_map(|entry| one(entry, faults)).collect()
}
