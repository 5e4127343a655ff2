//! Rules, actions and responses.

use std::time::Duration;

use colloquy_flow::{
    RulePhase,
    parts::{ConfirmPart, ResultSource},
};

use crate::{
    fault::{At, Faults},
    node::{Key, Node, Value},
    read::label_of,
    reader::{self, Fields},
    source::{SourceAction, SourceEffect, SourceResponse, SourceResult, SourceRule, SourceText},
};

pub(super) fn rules(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceRule> {
    node.into_iter().flat_map(reader::list).filter_map(|item| rule(item, faults)).collect()
}

fn rule(node: &Node, faults: &mut Faults) -> Option<SourceRule> {
    let known = ["id", "description", "phase", "in", "priority", "when", "then"];
    let fields = Fields::of(node, "a rule", &known, faults)?;
    let id = fields.required("id", "give the rule an id: traces name it", faults).and_then(|node| {
        let said = reader::text(node, "the id", faults)?;
        Some(At { value: reader::name(&said.value, &said.mark, "a rule", true, faults)?, mark: said.mark })
    });
    let phase = match fields.get("phase").and_then(|node| reader::text(node, "the phase", faults)) {
        None => RulePhase::Decide,
        Some(said) => match said.value.as_str() {
            "prepare" => RulePhase::Prepare,
            "decide" => RulePhase::Decide,
            "conclude" => RulePhase::Conclude,
            other => {
                let message = format!("there is no phase {other:?}");
                faults.error("bad-value", &said.mark, message, "write prepare, decide or conclude");
                RulePhase::Decide
            }
        },
    };
    let scope = fields.required("in", "say where the rule applies: in: intent.state, or any", faults);
    let scope = scope.and_then(|node| reader::scope(node, "in", faults));
    let priority = reader::integer(fields.get("priority"), "the priority", -1000..=1000, faults).unwrap_or(0);
    let when = reader::condition(fields.get("when"), "when", faults);
    let then = fields.required("then", "say what the rule does: then: [{go: intent.state}]", faults);
    let then: Vec<SourceEffect> =
        then.into_iter().flat_map(reader::list).flat_map(|item| effects(item, faults)).collect();
    let moves = then.iter().filter(|effect| matches!(effect, SourceEffect::Go(_) | SourceEffect::Intent(_))).count();
    if moves > 1 {
        faults.error("bad-value", fields.mark, "the rule goes to several places", "keep one go or intent per rule");
    }
    Some(SourceRule {
        id: id?,
        phase,
        priority: i32::try_from(priority).unwrap_or_default(),
        scope: scope?,
        when,
        then,
    })
}

fn effects(node: &Node, faults: &mut Faults) -> Vec<SourceEffect> {
    let known = ["go", "intent", "set", "clear", "flag", "unflag", "stage"];
    let Some(_) = Fields::of(node, "an effect", &known, faults) else { return Vec::new() };
    let entries = reader::map(node, "an effect", faults).unwrap_or_default();
    let mut effects = Vec::new();
    for (key, node) in entries {
        match key.text.as_str() {
            "go" => effects.extend(reader::place(node, "go", faults).map(SourceEffect::Go)),
            "set" => {
                for (slot, value) in reader::map(node, "set", faults).unwrap_or_default() {
                    let name = reader::name(&slot.text, &slot.mark, "a slot", false, faults);
                    let value = reader::text(value, "the value", faults);
                    if let (Some(name), Some(value)) = (name, value) {
                        effects.push(SourceEffect::Set(At { value: name, mark: slot.mark.clone() }, value));
                    }
                }
            }
            other => {
                let make: fn(_) -> _ = match other {
                    "intent" => SourceEffect::Intent,
                    "clear" => SourceEffect::Clear,
                    "flag" => SourceEffect::Flag,
                    "unflag" => SourceEffect::Unflag,
                    "stage" => SourceEffect::Stage,
                    _ => continue,
                };
                effects.extend(reader::references(Some(node), other, faults).into_iter().map(make));
            }
        }
    }
    effects
}

pub(super) fn actions(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceAction> {
    let entries = node.and_then(|node| reader::map(node, "actions", faults)).unwrap_or_default();
    entries.iter().filter_map(|(key, node)| action(key, node, faults)).collect()
}

const ACTION_KEYS: [&str; 9] =
    ["description", "kind", "label", "slots", "confirm", "results", "on_executed", "on_rejected", "on_expired"];

fn action(key: &Key, node: &Node, faults: &mut Faults) -> Option<SourceAction> {
    let name = reader::name(&key.text, &key.mark, "an action", false, faults);
    let fields = Fields::of(node, "an action", &ACTION_KEYS, faults)?;
    let kind = fields.required("kind", "write kind: local", faults);
    if let Some(said) = kind.and_then(|node| reader::text(node, "the kind", faults))
        && said.value != "local"
    {
        faults.error("bad-value", &said.mark, format!("there is no action kind {:?}", said.value), "write kind: local");
    }
    let label = fields.get("label").and_then(|node| reader::reply(node, "the label", faults));
    let results = fields.get("results").and_then(|node| reader::map(node, "results", faults)).unwrap_or_default();
    let confirm = fields.get("confirm").and_then(|node| confirm(node, faults));
    let mut target = |key: &'static str| reader::place(fields.get(key)?, key, faults);
    let (on_executed, on_rejected, on_expired) = (target("on_executed"), target("on_rejected"), target("on_expired"));
    if confirm.is_none() {
        for (key, given) in [("on_rejected", &on_rejected), ("on_expired", &on_expired)] {
            if let Some(given) = given {
                let message = format!("{key} never happens: the action needs no confirmation");
                faults.error("bad-value", &given.mark, message, "add confirm, or remove it");
            }
        }
    }
    let name = name?;
    Some(SourceAction {
        label: label.map_or_else(|| label_of(&name), |said| reader::shared(said.value)),
        name: At { value: name, mark: key.mark.clone() },
        slots: reader::references(fields.get("slots"), "a slot", faults),
        confirm,
        results: results.iter().filter_map(|(key, node)| result(key, node, faults)).collect(),
        on_executed,
        on_rejected,
        on_expired,
    })
}

fn confirm(node: &Node, faults: &mut Faults) -> Option<ConfirmPart> {
    let fields = Fields::of(node, "confirm", &["required", "expires_turns", "expires_after"], faults)?;
    let turns = reader::integer(fields.get("expires_turns"), "expires_turns", 1..=100, faults).unwrap_or(3);
    let after = reader::duration(fields.get("expires_after"), "expires_after", faults);
    let confirm = ConfirmPart {
        expires_turns: u32::try_from(turns).unwrap_or(1),
        expires_after: after.unwrap_or(Duration::from_secs(15 * 60)),
    };
    reader::boolean(fields.get("required"), "required", true, faults).then_some(confirm)
}

fn result(key: &Key, node: &Node, faults: &mut Faults) -> Option<(At<std::sync::Arc<str>>, SourceResult)> {
    let name = reader::name(&key.text, &key.mark, "a slot", false, faults);
    let source = match &node.value {
        Value::Text(text) if text == "executed_at" => Some(SourceResult::Given(ResultSource::ExecutedAt)),
        Value::Map(_) => {
            let fields = Fields::of(node, "a result", &["reference", "value"], faults)?;
            match (fields.get("reference"), fields.get("value")) {
                (Some(node), None) => made_reference(node, faults),
                (None, Some(node)) => reader::text(node, "the value", faults).map(SourceResult::Value),
                _ => {
                    let fix = "write executed_at, {reference: {prefix: \"R-\", length: 8}} or {value: text}";
                    faults.error("bad-value", fields.mark, "a result comes from one source", fix);
                    None
                }
            }
        }
        _ => {
            let fix = "write executed_at, {reference: {prefix: \"R-\", length: 8}} or {value: text}";
            faults.error("bad-value", &node.mark, "this is no result of an action", fix);
            None
        }
    };
    Some((At { value: name?, mark: key.mark.clone() }, source?))
}

fn made_reference(node: &Node, faults: &mut Faults) -> Option<SourceResult> {
    let fields = Fields::of(node, "a reference", &["prefix", "length"], faults)?;
    let prefix = fields.get("prefix").and_then(|node| reader::text(node, "the prefix", faults));
    let length = reader::integer(fields.get("length"), "the length", 4..=24, faults).unwrap_or(8);
    Some(SourceResult::Given(ResultSource::Reference {
        prefix: prefix.map(|said| said.value).unwrap_or_default().into(),
        length: u8::try_from(length).unwrap_or(8),
    }))
}

pub(super) fn responses(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceResponse> {
    node.into_iter().flat_map(reader::list).filter_map(|item| response(item, faults)).collect()
}

fn response(node: &Node, faults: &mut Faults) -> Option<SourceResponse> {
    let known = ["description", "in", "when", "exact", "template", "resume"];
    let fields = Fields::of(node, "a response", &known, faults)?;
    let scope = fields.required("in", "say where it is given: in: intent.state, or any", faults);
    let scope = scope.and_then(|node| reader::scope(node, "in", faults));
    let when = reader::condition(fields.get("when"), "when", faults);
    let given: Vec<_> =
        ["exact", "template", "resume"].into_iter().filter_map(|key| Some((key, fields.get(key)?))).collect();
    let [(key, said)] = given.as_slice() else {
        let message = format!("a response has one of exact, template and resume, but this has {}", given.len());
        faults.error("bad-value", fields.mark, message, "write exactly one of exact, template or resume");
        return None;
    };
    let said = reader::reply(said, key, faults)?;
    let text = match *key {
        "exact" => SourceText::Exact(reader::shared(said.value)),
        "template" => SourceText::Template(said),
        _ => SourceText::Resume(said),
    };
    Some(SourceResponse { scope: scope?, when, text })
}
