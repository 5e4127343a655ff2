//! Planners, and the arguments of calls that a model chooses.

use colloquy_flow::{
    Chosen,
    planner::{PLANNER_CALLS_MAX, PLANNER_TOOLS_MAX},
};

use crate::{
    fault::Faults,
    node::{Key, Node},
    read::{outside, structure},
    reader::{self, Fields},
    source::SourcePlanner,
};

/// Calls of a planner that does not say how many it may make.
const CALLS_DEFAULT: u8 = 4;

const PLANNER_KEYS: [&str; 6] = ["description", "in", "when", "prompt", "tools", "calls"];

pub(super) fn planners(node: Option<&Node>, faults: &mut Faults) -> Vec<SourcePlanner> {
    let entries = node.and_then(|node| reader::map(node, "planners", faults)).unwrap_or_default();
    entries.iter().filter_map(|(key, node)| planner(key, node, faults)).collect()
}

fn planner(key: &Key, node: &Node, faults: &mut Faults) -> Option<SourcePlanner> {
    let name = outside::declared(key, "a planner", faults);
    let fields = Fields::of(node, "a planner", &PLANNER_KEYS, faults)?;
    let scope = fields.required("in", "say where it works: in: intent.state, or any", faults);
    let scope = scope.and_then(|node| reader::scope(node, "in", faults));
    let prompt = fields.required("prompt", "name one of the prompts: prompt: choose_tool", faults);
    let prompt = prompt.and_then(|node| reader::reference(node, "a prompt", faults));
    let tools = fields.required("tools", "name the actions it may call: tools: [find_item]", faults);
    let tools = reader::references(tools, "an action", faults);
    if tools.len() > PLANNER_TOOLS_MAX {
        let message = format!("the planner lists {} tools, at most {PLANNER_TOOLS_MAX} are allowed", tools.len());
        faults.error("out-of-range", fields.mark, message, "list fewer: a model chooses better among few");
    }
    let bounds = 1..=i64::from(PLANNER_CALLS_MAX);
    let calls = reader::integer(fields.get("calls"), "calls", bounds, faults);
    Some(SourcePlanner {
        name: name?,
        scope: scope?,
        when: reader::condition(fields.get("when"), "when", faults),
        prompt: prompt?,
        tools,
        calls: calls.and_then(|calls| u8::try_from(calls).ok()).unwrap_or(CALLS_DEFAULT),
    })
}

const CHOSEN_KEYS: [&str; 8] = ["description", "type", "values", "normalise", "min", "max", "min_chars", "max_chars"];

/// The type and bounds of what a model chooses.
pub(super) fn chosen(node: &Node, faults: &mut Faults) -> Option<Chosen> {
    let fields = Fields::of(node, "chosen", &CHOSEN_KEYS, faults)?;
    let description = fields.get("description").and_then(|node| reader::text(node, "the description", faults));
    let kind = structure::single(&fields, "what a model chooses is no list or object", faults)?;
    Some(Chosen { description: description.map(|said| said.value).unwrap_or_default().into(), kind })
}
