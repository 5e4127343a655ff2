//! What models, sources and tools answer in a scenario, and the faults that can be injected.

use std::sync::Arc;

use colloquy_flow::Json;

use crate::{
    fault::Faults,
    node::{Node, Value},
    read::outside,
    reader::{self, Fields},
};

/// A fault that is injected in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not end in time.
    Timeout,
    /// It cannot be reached.
    Unavailable,
    /// It says no.
    Refused,
    /// It is given up.
    Cancelled,
    /// A model answers with something that is no JSON.
    MalformedJson,
    /// A model chooses an intent that the position declares no way to, or a tool that a planner may not call.
    IllegalTransition,
    /// A tool was called, and nobody knows whether it happened.
    Unknown,
}

impl Fault {
    const ALL: [(&'static str, Self); 7] = [
        ("timeout", Self::Timeout),
        ("unavailable", Self::Unavailable),
        ("refused", Self::Refused),
        ("cancelled", Self::Cancelled),
        ("malformed_json", Self::MalformedJson),
        ("illegal_transition", Self::IllegalTransition),
        ("unknown", Self::Unknown),
    ];
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What a model writes.
    Text(Arc<str>),
    /// What a model answers in JSON, or a source or tool returns.
    Value(Json),
    /// Some of what a source or tool returns.
    Partial(Json),
    /// A fault.
    Fault(Fault),
}

/// Answers by prompt, enrichment or action; several are given one after the other, the last again and again.
pub type Script = Vec<(String, Vec<Answer>)>;

/// Reads `effects`: by name one answer, or a list of them in `then`.
pub(super) fn read(node: Option<&Node>, faults: &mut Faults) -> Script {
    let entries = node.and_then(|node| reader::map(node, "effects", faults)).unwrap_or_default();
    let mut script = Script::with_capacity(entries.len());
    for (key, node) in entries {
        let several = match &node.value {
            Value::Map(members) if members.iter().any(|(key, _)| key.text == "then") => {
                Fields::of(node, "effects", &["then"], faults).and_then(|fields| fields.get("then"))
            }
            _ => None,
        };
        let answers: Vec<Answer> = match several {
            Some(list) => reader::list(list).filter_map(|item| answer(item, faults)).collect(),
            None => answer(node, faults).into_iter().collect(),
        };
        script.push((key.text.clone(), answers));
    }
    script
}

/// A text, `{value: …}`, `{partial: …}` or `{fault: timeout}`.
fn answer(node: &Node, faults: &mut Faults) -> Option<Answer> {
    if let Value::Text(text) = &node.value {
        return Some(Answer::Text(text.as_str().into()));
    }
    let fields = Fields::of(node, "an answer", &["text", "value", "partial", "fault"], faults)?;
    match (fields.get("text"), fields.get("value"), fields.get("partial"), fields.get("fault")) {
        (Some(node), None, None, None) => {
            reader::text(node, "the text", faults).map(|said| Answer::Text(said.value.into()))
        }
        (None, Some(node), None, None) => outside::json(node, "the value", faults).map(Answer::Value),
        (None, None, Some(node), None) => outside::json(node, "the value", faults).map(Answer::Partial),
        (None, None, None, Some(node)) => fault(node, faults).map(Answer::Fault),
        _ => {
            let fix = "write a text, {value: …}, {partial: …} or {fault: timeout}";
            faults.error("bad-value", fields.mark, "an answer is one thing", fix);
            None
        }
    }
}

fn fault(node: &Node, faults: &mut Faults) -> Option<Fault> {
    let said = reader::text(node, "the fault", faults)?;
    let found = Fault::ALL.into_iter().find(|(name, _)| *name == said.value).map(|(_, fault)| fault);
    if found.is_none() {
        let known = Fault::ALL.map(|(name, _)| name);
        let fix = format!("write one of {}", known.join(", "));
        faults.error("bad-value", &said.mark, format!("there is no fault {:?}", said.value), fix);
    }
    found
}
