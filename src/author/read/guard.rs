//! Policies, and the score for attempts to steer the model.

mod signs;

use colloquy_flow::{SteeringSign, Trigger};

use crate::{
    fault::{At, Faults},
    node::Node,
    reader::{self, Fields},
    source::{SourceConsequence, SourceGuard, SourcePolicy, SourceSteering},
};

#[cfg(test)]
pub(crate) use signs::BUILT_IN_SIGNS;
pub(crate) use signs::built_in_signs;

pub(super) fn guard(node: Option<&Node>, faults: &mut Faults) -> SourceGuard {
    let Some(fields) = node.and_then(|node| Fields::of(node, "guard", &["policies", "steering"], faults)) else {
        return SourceGuard::default();
    };
    let policies = fields.get("policies").into_iter().flat_map(reader::list);
    SourceGuard {
        policies: policies.filter_map(|item| policy(item, faults)).collect(),
        steering: fields.get("steering").and_then(|node| steering(node, faults)),
    }
}

const POLICY_KEYS: [&str; 9] =
    ["id", "description", "enabled", "patterns", "contains", "prefix", "longer_than", "block", "flag"];

fn policy(node: &Node, faults: &mut Faults) -> Option<SourcePolicy> {
    let fields = Fields::of(node, "a policy", &POLICY_KEYS, faults)?;
    let id = fields.required("id", "give the policy an id: traces name it", faults).and_then(|node| id(node, faults));
    let mut triggers = Vec::new();
    for item in fields.get("patterns").into_iter().flat_map(reader::list) {
        triggers.extend(reader::pattern(item, "a pattern", faults).map(Trigger::Pattern));
    }
    for (key, trigger) in [("contains", Trigger::Contains as fn(_) -> _), ("prefix", Trigger::Prefix)] {
        for item in fields.get(key).into_iter().flat_map(reader::list) {
            let said = reader::reply(item, key, faults);
            triggers.extend(said.map(|said| trigger(said.value.to_lowercase().into())));
        }
    }
    let longest = reader::integer(fields.get("longer_than"), "longer_than", 1..=16_384, faults);
    triggers.extend(longest.and_then(|chars| u32::try_from(chars).ok()).map(Trigger::LongerThan));
    if triggers.is_empty() {
        let fix = "add patterns, contains, prefix or longer_than";
        faults.error("missing-key", fields.mark, "the policy looks for nothing", fix);
    }
    let consequence = consequence(&fields, faults);
    let policy = SourcePolicy { id: id?, triggers, consequence: consequence? };
    // A policy that is switched off is still checked.
    reader::boolean(fields.get("enabled"), "enabled", true, faults).then_some(policy)
}

fn consequence(fields: &Fields<'_>, faults: &mut Faults) -> Option<SourceConsequence> {
    match (fields.get("block"), fields.get("flag")) {
        (Some(node), None) => {
            reader::reply(node, "block", faults).map(|said| SourceConsequence::Block(said.value.into()))
        }
        (None, Some(node)) => reader::reference(node, "a flag", faults).map(SourceConsequence::Flag),
        _ => {
            let fix = "write block: \"what is said\", or flag: name";
            faults.error("bad-value", fields.mark, "a policy has one of block and flag", fix);
            None
        }
    }
}

fn id(node: &Node, faults: &mut Faults) -> Option<At<colloquy_flow::Name>> {
    let said = reader::text(node, "the id", faults)?;
    Some(At { value: reader::name(&said.value, &said.mark, "an id", true, faults)?, mark: said.mark })
}

/// From this score on the flag is raised when the flow does not say, in percent.
pub(crate) const FLAG_AT: u8 = 40;
/// From this score on the turn is refused when the flow does not say, in percent.
pub(crate) const BLOCK_AT: u8 = 70;

const STEERING_KEYS: [&str; 7] = ["enabled", "builtin", "signs", "flag_at", "flag", "block_at", "block"];

fn steering(node: &Node, faults: &mut Faults) -> Option<SourceSteering> {
    let fields = Fields::of(node, "steering", &STEERING_KEYS, faults)?;
    let mut signs = Vec::new();
    if reader::boolean(fields.get("builtin"), "builtin", true, faults) {
        signs.extend(built_in_signs());
    }
    for item in fields.get("signs").into_iter().flat_map(reader::list) {
        signs.extend(sign(item, faults));
    }
    let flag = fields.get("flag").and_then(|node| reader::reference(node, "a flag", faults));
    let block = fields.get("block").and_then(|node| reader::reply(node, "block", faults));
    let flag_at = reader::percent(fields.get("flag_at"), "flag_at", faults);
    let block_at = reader::percent(fields.get("block_at"), "block_at", faults);
    if flag.is_none() && block.is_none() {
        let fix = "add block_at and block, or flag_at and flag";
        faults.error("missing-key", fields.mark, "nothing follows from the score", fix);
    }
    let steering = SourceSteering {
        signs,
        flag_at: flag.map(|flag| (flag_at.unwrap_or(FLAG_AT), flag)),
        block_at: block.map(|block| (block_at.unwrap_or(BLOCK_AT), block.value.into())),
    };
    reader::boolean(fields.get("enabled"), "enabled", true, faults).then_some(steering)
}

fn sign(node: &Node, faults: &mut Faults) -> Option<SteeringSign> {
    let fields = Fields::of(node, "a sign", &["id", "pattern", "weight"], faults)?;
    let id = fields.required("id", "give the sign an id: traces name it", faults).and_then(|node| id(node, faults));
    let pattern = fields.required("pattern", "write pattern: '…'", faults);
    let pattern = pattern.and_then(|node| reader::pattern(node, "the pattern", faults));
    let weight = reader::percent(fields.get("weight"), "the weight", faults).unwrap_or(50);
    Some(SteeringSign { id: id?.value, pattern: pattern?, weight })
}
