//! Rules, actions and responses.

use std::time::Duration;

use colloquy_flow::{
    RulePhase,
    parts::{ConfirmPart, ResultSource},
};

use crate::{
    fault::{At, Faults},
    node::{Key, Node, Value},
    read::{label_of, outside},
    reader::{self, Fields},
    source::{
        SourceAction, SourceEffect, SourceModelText, SourceResponse, SourceResult, SourceRule, SourceText, SourceTool,
    },
};

/// How soon a timer may fire.
const TIMER_SOONEST: Duration = Duration::from_secs(1);

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
    let phase = fields.get("phase").and_then(|node| phase(node, faults)).unwrap_or(RulePhase::AfterExtraction);
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
    let late = |effect: &SourceEffect| {
        matches!(effect, SourceEffect::Go(_) | SourceEffect::Intent(_) | SourceEffect::Stage(_) | SourceEffect::Reset)
    };
    if phase == RulePhase::BeforeResponse && then.iter().any(late) {
        let message = "before_response is too late to move, to stage an action or to start over";
        faults.error(
            "bad-value",
            fields.mark,
            message,
            "use an earlier phase, or only set, clear, flag, unflag, remind and forget",
        );
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

fn phase(node: &Node, faults: &mut Faults) -> Option<RulePhase> {
    let said = reader::text(node, "the phase", faults)?;
    let found = RulePhase::parse(&said.value);
    if found.is_none() {
        let known = RulePhase::ALL.map(RulePhase::name);
        let fix = match reader::nearest(&said.value, &known) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("write one of {}", known.join(", ")),
        };
        faults.error("bad-value", &said.mark, format!("there is no phase {:?}", said.value), fix);
    }
    found
}

fn effects(node: &Node, faults: &mut Faults) -> Vec<SourceEffect> {
    let known = ["go", "intent", "set", "clear", "flag", "unflag", "stage", "reset", "remind", "forget"];
    let Some(_) = Fields::of(node, "an effect", &known, faults) else { return Vec::new() };
    let entries = reader::map(node, "an effect", faults).unwrap_or_default();
    let mut effects = Vec::new();
    for (key, node) in entries {
        match key.text.as_str() {
            "go" => effects.extend(reader::place(node, "go", faults).map(SourceEffect::Go)),
            "reset" => {
                if reader::boolean(Some(node), "reset", false, faults) {
                    effects.push(SourceEffect::Reset);
                }
            }
            "remind" => effects.extend(reader::list(node).filter_map(|item| remind(item, faults))),
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
                    "forget" => SourceEffect::Forget,
                    _ => continue,
                };
                effects.extend(reader::references(Some(node), other, faults).into_iter().map(make));
            }
        }
    }
    effects
}

fn remind(node: &Node, faults: &mut Faults) -> Option<SourceEffect> {
    let fields = Fields::of(node, "remind", &["id", "in"], faults)?;
    let id = fields.required("id", "name the timer: remind: {id: nudge, in: 1d}", faults);
    let id = id.and_then(|node| reader::reference(node, "a timer", faults));
    let after = fields.required("in", "say when it fires: remind: {id: nudge, in: 1d}", faults);
    let given = reader::duration(after, "in", faults)?;
    if given < TIMER_SOONEST {
        let mark = after.map_or(fields.mark, |node| &node.mark);
        faults.error("bad-duration", mark, "a timer fires after 1s at the soonest", "write 1s or more");
        return None;
    }
    Some(SourceEffect::Remind(id?, given))
}

pub(super) fn actions(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceAction> {
    let entries = node.and_then(|node| reader::map(node, "actions", faults)).unwrap_or_default();
    entries.iter().filter_map(|(key, node)| action(key, node, faults)).collect()
}

const ACTION_KEYS: [&str; 20] = [
    "description",
    "kind",
    "tool",
    "arguments",
    "read_only",
    "idempotent",
    "timeout",
    "attempts",
    "schema",
    "label",
    "choice",
    "in",
    "priority",
    "slots",
    "confirm",
    "results",
    "on_executed",
    "on_rejected",
    "on_expired",
    "on_failed",
];

fn action(key: &Key, node: &Node, faults: &mut Faults) -> Option<SourceAction> {
    let name = reader::name(&key.text, &key.mark, "an action", false, faults);
    let fields = Fields::of(node, "an action", &ACTION_KEYS, faults)?;
    let kind = fields.required("kind", "write kind: local, or kind: tool", faults);
    let kind = kind.and_then(|node| reader::text(node, "the kind", faults));
    let tool = match kind.as_ref().map(|said| said.value.as_str()) {
        Some("tool") => Some(tool(&fields, faults)?),
        Some("local") | None => {
            for key in ["tool", "arguments", "read_only", "idempotent", "timeout", "attempts", "schema", "on_failed"] {
                if let Some(node) = fields.get(key) {
                    let message = format!("an action of kind local has no {key:?}");
                    faults.error("unknown-key", &node.mark, message, "remove it, or write kind: tool");
                }
            }
            None
        }
        Some(other) => {
            let mark = kind.as_ref().map_or(fields.mark, |said| &said.mark);
            faults.error("bad-value", mark, format!("there is no action kind {other:?}"), "write local or tool");
            None
        }
    };
    let choice = fields.get("choice").into_iter().flat_map(reader::list);
    let choice = choice.filter_map(|item| reader::pattern(item, "choice", faults)).collect();
    let scope = fields.get("in").and_then(|node| reader::scope(node, "in", faults));
    let priority = reader::integer(fields.get("priority"), "the priority", -1000..=1000, faults).unwrap_or(0);
    let label = fields.get("label").and_then(|node| reader::reply(node, "the label", faults));
    let description = fields.get("description").and_then(|node| reader::text(node, "the description", faults));
    let results = fields.get("results").and_then(|node| reader::map(node, "results", faults)).unwrap_or_default();
    let confirm = fields.get("confirm").and_then(|node| confirm(node, faults));
    let mut target = |key: &'static str| reader::place(fields.get(key)?, key, faults);
    let (on_executed, on_rejected) = (target("on_executed"), target("on_rejected"));
    let (on_expired, on_failed) = (target("on_expired"), target("on_failed"));
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
        description: description.map(|said| said.value).unwrap_or_default().into(),
        choice,
        scope,
        priority: i32::try_from(priority).unwrap_or_default(),
        slots: reader::references(fields.get("slots"), "a slot", faults),
        unconfirmed: confirm.is_none() && fields.get("confirm").is_some(),
        confirm,
        tool,
        results: results.iter().filter_map(|(key, node)| result(key, node, faults)).collect(),
        on_executed,
        on_rejected,
        on_expired,
        on_failed,
    })
}

fn tool(fields: &Fields<'_>, faults: &mut Faults) -> Option<SourceTool> {
    let tool = fields.required("tool", "name the tool, as the settings do: tool: orders/cancel", faults);
    let tool = tool.and_then(|node| outside::target(node, "the tool", faults));
    let (patience, has_timeout) = outside::patience(fields, faults);
    Some(SourceTool {
        arguments: outside::arguments(fields.get("arguments"), faults),
        read_only: reader::boolean(fields.get("read_only"), "read_only", false, faults),
        idempotent: reader::boolean(fields.get("idempotent"), "idempotent", false, faults),
        schema: fields.get("schema").and_then(|node| outside::schema(node, faults)),
        tool: tool?,
        patience,
        has_timeout,
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
            let fields = Fields::of(node, "a result", &["reference", "value", "path"], faults)?;
            match (fields.get("reference"), fields.get("value"), fields.get("path")) {
                (Some(node), None, None) => made_reference(node, faults),
                (None, Some(node), None) => reader::text(node, "the value", faults).map(SourceResult::Value),
                (None, None, Some(node)) => {
                    let said = reader::reply(node, "the path", faults);
                    said.map(|said| SourceResult::Given(ResultSource::Path(said.value.into())))
                }
                _ => {
                    let fix =
                        "write executed_at, {reference: {prefix: \"R-\", length: 8}}, {value: text} or {path: a.b}";
                    faults.error("bad-value", fields.mark, "a result comes from one source", fix);
                    None
                }
            }
        }
        _ => {
            let fix = "write executed_at, {reference: {prefix: \"R-\", length: 8}}, {value: text} or {path: a.b}";
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

const TEXTS: [&str; 4] = ["exact", "template", "resume", "model"];

fn response(node: &Node, faults: &mut Faults) -> Option<SourceResponse> {
    let known = ["description", "in", "when", "exact", "template", "resume", "model", "follow_ups"];
    let fields = Fields::of(node, "a response", &known, faults)?;
    let scope = fields.required("in", "say where it is given: in: intent.state, or any", faults);
    let scope = scope.and_then(|node| reader::scope(node, "in", faults));
    let when = reader::condition(fields.get("when"), "when", faults);
    let given: Vec<_> = TEXTS.into_iter().filter_map(|key| Some((key, fields.get(key)?))).collect();
    let [(key, said)] = given.as_slice() else {
        let message = format!("a response has one of {}, but this has {}", TEXTS.join(", "), given.len());
        faults.error("bad-value", fields.mark, message, "write exactly one of exact, template, resume or model");
        return None;
    };
    let text = match *key {
        "model" => SourceText::Model(Box::new(model_text(said, faults)?)),
        _ => {
            let said = reader::reply(said, key, faults)?;
            match *key {
                "exact" => SourceText::Exact(reader::shared(said.value)),
                "template" => SourceText::Template(said),
                _ => SourceText::Resume(said),
            }
        }
    };
    let follow_ups = fields.get("follow_ups").into_iter().flat_map(reader::list);
    let follow_ups = follow_ups.filter_map(|item| reader::reply(item, "a follow-up", faults));
    Some(SourceResponse {
        mark: node.mark.clone(),
        follow_ups: follow_ups.map(|said| reader::shared(said.value)).collect(),
        scope: scope?,
        when,
        text,
    })
}

fn model_text(node: &Node, faults: &mut Faults) -> Option<SourceModelText> {
    let known = ["prompt", "max_chars", "schema", "say", "malformed", "failed"];
    let fields = Fields::of(node, "model", &known, faults)?;
    let prompt = fields.required("prompt", "name one of the prompts: prompt: answer", faults);
    let prompt = prompt.and_then(|node| reader::reference(node, "a prompt", faults));
    let chars = reader::integer(fields.get("max_chars"), "max_chars", 1..=16_384, faults).unwrap_or(2000);
    let schema = fields.get("schema").and_then(|node| outside::schema(node, faults));
    let mut said = |key: &'static str| reader::reply(fields.get(key)?, key, faults);
    let (say, malformed, failed) = (said("say"), said("malformed"), said("failed"));
    if schema.is_none() {
        for (key, given) in [("say", &say), ("malformed", &malformed)] {
            if let Some(given) = given {
                let message = format!("{key} is for answers in JSON, and there is no schema");
                faults.error("bad-value", &given.mark, message, "add schema, or remove it");
            }
        }
    }
    let shared = |said: Option<At<String>>| said.map(|said| reader::shared(said.value));
    Some(SourceModelText {
        prompt: prompt?,
        chars_max: u32::try_from(chars).unwrap_or(2000),
        schema,
        say,
        malformed: shared(malformed),
        failed: shared(failed),
    })
}
