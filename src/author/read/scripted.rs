//! What a scripted model answers: rules by prompt, purpose and what the user said.

use std::time::Duration;

use colloquy_flow::{ScriptedAnswer, ScriptedFault, ScriptedRule};

use super::outside;
use crate::{
    fault::Faults,
    node::Node,
    reader::{self, Fields},
    source::SourceScripted,
};

const KEYS: [&str; 8] = ["description", "prompt", "purpose", "when", "say", "json", "fail", "delay"];

pub(super) fn rules(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceScripted> {
    node.into_iter().flat_map(reader::list).filter_map(|item| rule(item, faults)).collect()
}

fn rule(node: &Node, faults: &mut Faults) -> Option<SourceScripted> {
    let fields = Fields::of(node, "a scripted rule", &KEYS, faults)?;
    let prompt = fields.get("prompt").and_then(|node| reader::reference(node, "a prompt", faults));
    let purpose = fields.get("purpose").map(|node| outside::purpose_of(node, faults));
    let when = fields.get("when").into_iter().flat_map(reader::list);
    let when = when.filter_map(|item| reader::pattern(item, "a pattern", faults)).collect();
    let delay = reader::duration(fields.get("delay"), "delay", faults).unwrap_or(Duration::ZERO);
    let answer = answer(&fields, faults)?;
    let rule = ScriptedRule {
        prompt: prompt.as_ref().map(|prompt| prompt.value.clone()),
        purpose: purpose.map_or(Some(None), |known| known.map(Some))?,
        when,
        answer,
        delay,
    };
    Some(SourceScripted { prompt, rule })
}

fn answer(fields: &Fields<'_>, faults: &mut Faults) -> Option<ScriptedAnswer> {
    match (fields.get("say"), fields.get("json"), fields.get("fail")) {
        (Some(node), None, None) => {
            reader::reply(node, "say", faults).map(|said| ScriptedAnswer::Say(said.value.into()))
        }
        (None, Some(node), None) => outside::json(node, "json", faults).map(ScriptedAnswer::Json),
        (None, None, Some(node)) => fault(node, faults).map(ScriptedAnswer::Fail),
        _ => {
            let fix = "write say: \"text\", json: {…} or fail: timed_out";
            faults.error("bad-value", fields.mark, "a scripted rule has one of say, json and fail", fix);
            None
        }
    }
}

fn fault(node: &Node, faults: &mut Faults) -> Option<ScriptedFault> {
    let said = reader::text(node, "fail", faults)?;
    let found = ScriptedFault::parse(&said.value);
    if found.is_none() {
        let names = ScriptedFault::ALL.map(ScriptedFault::name).join(", ");
        faults.error("bad-value", &said.mark, format!("no model fails as {:?}", said.value), format!("write {names}"));
    }
    found
}
