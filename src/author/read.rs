//! From nodes to a written flow: shapes, names, patterns and conditions. References are checked later.

mod behaviour;
mod guard;
pub(crate) mod outside;
mod planners;
mod scripted;
mod structure;
mod understanding;
mod upgrades;

use std::{collections::HashSet, sync::Arc};

use colloquy_flow::{BusyPolicy, Limits};
use colloquy_types::FlowName;

use crate::{
    fault::{Faults, Mark},
    node::{Key, Node, Value},
    reader::{self, Fields},
    source::{SourceFlow, SourceNames},
};

#[cfg(test)]
pub(crate) use guard::BUILT_IN_SIGNS;
pub(crate) use guard::{BLOCK_AT, FLAG_AT, built_in_signs};

/// The format this build reads.
pub const FORMAT: &str = "colloquy.flow/v1";

const KEYS: [&str; 27] = [
    "format",
    "name",
    "description",
    "start",
    "fallback",
    "clarify",
    "busy",
    "limits",
    "guard",
    "acts",
    "understanding",
    "flags",
    "slots",
    "extract",
    "intents",
    "transitions",
    "rules",
    "enrichments",
    "actions",
    "planners",
    "responses",
    "prompts",
    "redact",
    "summary",
    "progress",
    "scripted",
    "upgrades",
];

/// Joins files: what is a list or a table is concatenated in order, anything else may stand in one file only.
pub(crate) fn merge(nodes: Vec<Node>, mark: &Mark, faults: &mut Faults) -> Node {
    let mut merged: Vec<(Key, Node)> = Vec::new();
    for node in nodes {
        let entries = match node.value {
            Value::Map(entries) => entries,
            Value::Null => continue,
            _ => {
                faults.error(
                    "wrong-type",
                    &node.mark,
                    "a flow file must be a map",
                    "begin with format: colloquy.flow/v1",
                );
                continue;
            }
        };
        for (key, value) in entries {
            match merged.iter_mut().find(|(held, _)| held.text == key.text) {
                None => merged.push((key, value)),
                Some((_, held)) => join(&key, held, value, faults),
            }
        }
    }
    Node { mark: mark.clone(), value: Value::Map(merged) }
}

fn join(key: &Key, held: &mut Node, more: Node, faults: &mut Faults) {
    let single = ["limits", "acts", "guard", "understanding", "extract", "redact", "summary"];
    let joins = !single.contains(&key.text.as_str());
    match (&mut held.value, more.value) {
        (Value::List(items), Value::List(more)) if joins => items.extend(more),
        (Value::Map(entries), Value::Map(more)) if joins => {
            let mut held: HashSet<String> = entries.iter().map(|(key, _)| key.text.clone()).collect();
            for (key, value) in more {
                if !held.insert(key.text.clone()) {
                    let message = format!("{:?} is declared twice", key.text);
                    faults.error("duplicate-name", &key.mark, message, "give each entry a name of its own");
                }
                entries.push((key, value));
            }
        }
        (Value::Text(format), Value::Text(again)) if key.text == "format" && *format == again => {}
        _ => {
            let message = format!("{:?} stands in several files", key.text);
            faults.error("duplicate-name", &key.mark, message, "keep it in one file");
        }
    }
}

/// Reads the merged node.
pub(crate) fn flow(node: &Node, faults: &mut Faults) -> Option<SourceFlow> {
    let fields = Fields::of(node, "the flow", &KEYS, faults)?;
    format(&fields, faults);
    let name = fields.required("name", "add name: my-flow", faults).and_then(|node| flow_name(node, faults));
    if let Some(node) = fields.get("description") {
        reader::text(node, "the description", faults);
    }
    let start = fields.required("start", "name the position conversations begin in: start: intent.state", faults);
    let fallback = fields.required("fallback", "add what is said when nothing else fits: fallback: \"Sorry?\"", faults);
    let (acts, act_model) = understanding::acts(fields.get("acts"), faults);
    let (secret_keys, secret_patterns) = outside::redaction(fields.get("redact"), faults);
    let flow = SourceFlow {
        name,
        start: start.and_then(|node| reader::place(node, "the start", faults)),
        fallback: fallback
            .and_then(|node| reader::reply(node, "the fallback", faults))
            .map(|said| reader::shared(said.value)),
        clarify: fields.get("clarify").and_then(|node| reader::reply(node, "clarify", faults)),
        busy: fields.get("busy").and_then(|node| busy(node, faults)).unwrap_or_default(),
        limits: limits(Limits::default(), fields.get("limits"), faults),
        guard: guard::guard(fields.get("guard"), faults),
        acts,
        act_model,
        understanding: understanding::understanding(fields.get("understanding"), faults),
        flags: structure::flags(fields.get("flags"), faults),
        slots: structure::slots(fields.get("slots"), faults),
        extract_prompt: outside::extract(fields.get("extract"), faults),
        intents: structure::intents(fields.required("intents", "declare at least one intent", faults), faults),
        transitions: structure::transitions(fields.get("transitions"), faults),
        rules: behaviour::rules(fields.get("rules"), faults),
        enrichments: outside::enrichments(fields.get("enrichments"), faults),
        actions: behaviour::actions(fields.get("actions"), faults),
        planners: planners::planners(fields.get("planners"), faults),
        responses: behaviour::responses(fields.get("responses"), faults),
        prompts: outside::prompts(fields.get("prompts"), faults),
        secret_keys,
        secret_patterns,
        summary: outside::summary(fields.get("summary"), faults),
        progress: outside::progress(fields.get("progress"), faults),
        scripted: scripted::rules(fields.get("scripted"), faults),
        upgrades: upgrades::upgrades(fields.get("upgrades"), faults),
        mark: node.mark.clone(),
        names: SourceNames::default(),
    };
    Some(flow.index())
}

fn busy(node: &Node, faults: &mut Faults) -> Option<BusyPolicy> {
    let said = reader::text(node, "busy", faults)?;
    let found = BusyPolicy::parse(&said.value);
    if found.is_none() {
        let message = format!("there is no busy policy {:?}", said.value);
        let fix = format!("write one of {}", BusyPolicy::ALL.map(BusyPolicy::name).join(", "));
        faults.error("bad-value", &said.mark, message, fix);
    }
    found
}

fn format(fields: &Fields<'_>, faults: &mut Faults) {
    let fix = "write format: colloquy.flow/v1";
    let Some(said) = fields.required("format", fix, faults).and_then(|node| reader::text(node, "the format", faults))
    else {
        return;
    };
    if said.value != FORMAT {
        faults.error("bad-format", &said.mark, format!("this build does not read the format {:?}", said.value), fix);
    }
}

fn flow_name(node: &Node, faults: &mut Faults) -> Option<FlowName> {
    let said = reader::text(node, "the name", faults)?;
    match FlowName::parse(&said.value) {
        Ok(name) => Some(name),
        Err(invalid) => {
            let fix = "use 1 to 128 letters, digits, dots, dashes and underscores, beginning with a letter or digit";
            faults.error("bad-name", &said.mark, format!("the flow's name {invalid}"), fix);
            None
        }
    }
}

/// The bounds of a turn: those of `limits` that are not written.
pub(crate) fn limits(mut limits: Limits, node: Option<&Node>, faults: &mut Faults) -> Limits {
    let known = ["rule_passes", "digression_depth", "pending_actions", "action_calls", "text_chars", "turn_deadline"];
    let Some(fields) = node.and_then(|node| Fields::of(node, "limits", &known, faults)) else { return limits };
    let mut small = |key: &str, bounds, into: &mut u8| {
        let number = reader::integer(fields.get(key), key, bounds, faults);
        *into = number.and_then(|number| u8::try_from(number).ok()).unwrap_or(*into);
    };
    small("rule_passes", 1..=32, &mut limits.rule_passes);
    small("digression_depth", 0..=8, &mut limits.digression_depth);
    small("pending_actions", 1..=8, &mut limits.pending_actions);
    small("action_calls", 1..=32, &mut limits.action_calls);
    let chars = reader::integer(fields.get("text_chars"), "text_chars", 1..=16_384, faults);
    limits.text_chars = chars.and_then(|chars| u32::try_from(chars).ok()).unwrap_or(limits.text_chars);
    if let Some(deadline) = reader::duration(fields.get("turn_deadline"), "turn_deadline", faults) {
        limits.turn_deadline = deadline;
    }
    limits
}

/// A label from a name: `cancel_order` becomes `cancel order`.
pub(crate) fn label_of(name: &str) -> Arc<str> {
    name.replace('_', " ").into()
}
