//! Reading scenario files.

mod promises;

use colloquy_flow::Limits;
use colloquy_turn::{InputKind, TurnOutcome};

use super::{Scenario, ScenarioTurn, script};
use crate::{
    fault::{Fault, Faults},
    node::{self, Key, Node},
    read,
    reader::{self, Fields},
};

/// The keys of a scenario.
pub(crate) const SCENARIO_KEYS: [&str; 5] = ["name", "description", "limits", "effects", "turns"];
/// The keys of a turn.
pub(crate) const TURN_KEYS: [&str; 22] = [
    "say",
    "input",
    "timer",
    "after",
    "restart",
    "effects",
    "calls",
    "outcome",
    "reply",
    "reply_pattern",
    "intent",
    "state",
    "slots",
    "flags",
    "pending",
    "follow_ups",
    "degradations",
    "stages",
    "prompt",
    "arguments",
    "progress",
    "not",
];

/// Loads scenarios from one source; `file` is the name faults report.
///
/// # Errors
/// Every fault, ordered by place.
pub fn load_scenarios(file: &str, text: &str) -> Result<Vec<Scenario>, Vec<Fault>> {
    let mut faults = Faults::default();
    let scenarios = node::parse(&file.into(), text, &mut faults).map(|node| scenarios(&node, &mut faults));
    match scenarios {
        Some(scenarios) if !faults.has_errors() => Ok(scenarios),
        _ => Err(faults.into_sorted()),
    }
}

fn scenarios(node: &Node, faults: &mut Faults) -> Vec<Scenario> {
    let Some(fields) = Fields::of(node, "a scenario file", &["scenarios"], faults) else { return Vec::new() };
    let list = fields.required("scenarios", "add scenarios: [{name: …, turns: [{say: …, reply: …}]}]", faults);
    let mut scenarios: Vec<Scenario> = Vec::new();
    for item in list.into_iter().flat_map(reader::list) {
        let Some(fields) = Fields::of(item, "a scenario", &SCENARIO_KEYS, faults) else { continue };
        let name = fields.required("name", "name the scenario", faults);
        let turns = fields.required("turns", "add turns: [{say: …, reply: …}]", faults);
        let turns: Vec<_> = turns.into_iter().flat_map(reader::list).filter_map(|item| turn(item, faults)).collect();
        let limits = fields.get("limits");
        // Which flow they bound is known when the scenario is played; whether they are bounds is known now.
        read::limits(Limits::default(), limits, faults);
        let Some(name) = name.and_then(|node| reader::text(node, "the name", faults)) else { continue };
        if scenarios.iter().any(|known| known.name == name.value) {
            let message = format!("scenario {:?} is declared twice", name.value);
            faults.error("duplicate-name", &name.mark, message, "give each scenario a name of its own");
        }
        let script = script::read(fields.get("effects"), faults);
        scenarios.push(Scenario { name: name.value, limits: limits.cloned(), script, turns });
    }
    scenarios
}

fn turn(node: &Node, faults: &mut Faults) -> Option<ScenarioTurn> {
    let fields = Fields::of(node, "a turn", &TURN_KEYS, faults)?;
    let (input, say) = match (fields.get("say"), fields.get("input"), fields.get("timer")) {
        (Some(node), None, None) => (InputKind::Text, reader::text(node, "say", faults)?.value),
        (None, Some(node), None) => (InputKind::Json, node.to_json()?.to_string()),
        (None, None, Some(node)) => (InputKind::Timer, reader::reference(node, "a timer", faults)?.value.to_string()),
        _ => {
            let fix = "write say: \"what the user says\", input: {intent: …, slots: …}, or timer: its id";
            faults.error("bad-value", fields.mark, "a turn has one of say, input and timer", fix);
            return None;
        }
    };
    let mut text = |key: &'static str| reader::text(fields.get(key)?, key, faults).map(|said| said.value);
    let (reply, intent, state) = (text("reply"), text("intent"), text("state"));
    let reply_pattern = fields.get("reply_pattern").and_then(|node| reader::pattern(node, "reply_pattern", faults));
    if reply.is_none() && reply_pattern.is_none() {
        faults.error("missing-key", fields.mark, "a turn promises a reply", "add reply or reply_pattern");
    }
    Some(ScenarioTurn {
        input,
        say,
        script: script::read(fields.get("effects"), faults),
        calls: counts(fields.get("calls"), faults),
        outcome: fields.get("outcome").and_then(|node| outcome(node, faults)),
        reply,
        reply_pattern,
        intent,
        state,
        slots: slots(fields.get("slots"), faults),
        after: reader::duration(fields.get("after"), "after", faults).unwrap_or_default(),
        restart: reader::boolean(fields.get("restart"), "restart", false, faults),
        promises: promises::read(&fields, faults),
    })
}

fn slots(node: Option<&Node>, faults: &mut Faults) -> Vec<(String, String)> {
    let mut slots = Vec::new();
    for (key, node) in node.and_then(|node| reader::map(node, "slots", faults)).unwrap_or_default() {
        let value = match node.value {
            node::Value::Null => Some(String::new()),
            _ => reader::text(node, "a slot's value", faults).map(|said| said.value),
        };
        slots.extend(value.map(|value| (key.text.clone(), value)));
    }
    slots
}

fn counts(node: Option<&Node>, faults: &mut Faults) -> Vec<(String, usize)> {
    let entries = node.and_then(|node| reader::map(node, "calls", faults)).unwrap_or_default();
    let count = |(key, node): &(Key, Node), faults: &mut Faults| {
        let count = reader::integer(Some(node), "a number of calls", 0..=100, faults)?;
        Some((key.text.clone(), usize::try_from(count).ok()?))
    };
    entries.iter().filter_map(|entry| count(entry, faults)).collect()
}

fn outcome(node: &Node, faults: &mut Faults) -> Option<TurnOutcome> {
    let said = reader::text(node, "the outcome", faults)?;
    match said.value.as_str() {
        "complete" => Some(TurnOutcome::Complete),
        "degraded" => Some(TurnOutcome::Degraded),
        "blocked" => Some(TurnOutcome::Blocked),
        other => {
            let message = format!("there is no outcome {other:?}");
            faults.error("bad-value", &said.mark, message, "write complete, degraded or blocked");
            None
        }
    }
}
