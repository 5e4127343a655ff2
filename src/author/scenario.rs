//! Scenarios: conversations with what must come of each turn. They document a flow and test it.
//!
//! A turn says what the user says and states what must follow: the reply, exactly or by pattern, the
//! position, and slots. What is not stated is not checked.

mod script;
mod world;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use colloquy_flow::{Flow, Pattern};
use colloquy_turn::{ConversationState, InputKind, Outcome, TurnOutcome, open_conversation};

pub use self::{
    script::{Answer, Fault as InjectedFault, Script},
    world::ScriptedWorld,
};
use crate::{
    fault::{Fault, Faults},
    node::{self, Node},
    reader::{self, Fields},
};

/// A conversation.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, unique within the file.
    pub name: String,
    /// What models, sources and tools answer when a turn does not say otherwise.
    pub script: Script,
    /// Its turns in order.
    pub turns: Vec<ScenarioTurn>,
}

impl Scenario {
    /// Whether it needs nothing but what a user says: no passing time, nothing scripted, no structured input.
    pub fn is_plain(&self) -> bool {
        let plain =
            |turn: &ScenarioTurn| turn.after.is_zero() && turn.script.is_empty() && turn.input == InputKind::Text;
        self.script.is_empty() && self.turns.iter().all(plain)
    }
}

/// One turn, and what must come of it.
#[derive(Clone, Debug)]
pub struct ScenarioTurn {
    /// What kind of input it is.
    pub input: InputKind,
    /// What the user says, or the source of structured input.
    pub say: String,
    /// What models, sources and tools answer, by prompt, enrichment or action.
    pub script: Script,
    /// How often prompts, enrichments and actions are asked in this turn.
    pub calls: Vec<(String, usize)>,
    /// How the turn ends.
    pub outcome: Option<TurnOutcome>,
    /// The reply, exactly.
    pub reply: Option<String>,
    /// A pattern somewhere in the reply.
    pub reply_pattern: Option<Pattern>,
    /// The intent after the turn.
    pub intent: Option<String>,
    /// The state after the turn.
    pub state: Option<String>,
    /// Slots after the turn, as text; an empty text means that the slot must be empty.
    pub slots: Vec<(String, String)>,
    /// Time that passes before the turn.
    pub after: Duration,
}

/// What differs from what a turn promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {got:?}, expected {expected:?}")]
pub struct Mismatch {
    /// `reply`, `intent`, `state`, `slot <name>`.
    pub what: String,
    /// What was promised.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// Compares one turn's ending with what is promised, slots aside: that is all a client of the wire may see.
///
/// # Errors
/// The first [`Mismatch`].
pub fn check(turn: &ScenarioTurn, intent: &str, state: &str, reply: &str) -> Result<(), Mismatch> {
    let differs = |what: &str, expected: &str, got: &str| {
        Err(Mismatch { what: what.to_owned(), expected: expected.to_owned(), got: got.to_owned() })
    };
    if let Some(expected) = turn.reply.as_deref().filter(|expected| *expected != reply) {
        return differs("reply", expected, reply);
    }
    if let Some(pattern) = turn.reply_pattern.as_ref().filter(|pattern| !pattern.is_match(reply)) {
        return differs("reply", pattern.source(), reply);
    }
    if let Some(expected) = turn.intent.as_deref().filter(|expected| *expected != intent) {
        return differs("intent", expected, intent);
    }
    match turn.state.as_deref() {
        Some(expected) if expected != state => differs("state", expected, state),
        _ => Ok(()),
    }
}

/// Compares slots with what is promised.
///
/// # Errors
/// The first [`Mismatch`].
pub fn check_slots(turn: &ScenarioTurn, state: &ConversationState) -> Result<(), Mismatch> {
    for (slot, expected) in &turn.slots {
        let got = state.slot(slot).map(ToString::to_string).unwrap_or_default();
        if got != *expected {
            return Err(Mismatch { what: format!("slot {slot}"), expected: expected.clone(), got });
        }
    }
    Ok(())
}

/// Loads scenarios from one source; `file` is the name faults report.
///
/// # Errors
/// Every fault, ordered by place.
pub fn load_scenarios(file: &str, text: &str) -> Result<Vec<Scenario>, Vec<Fault>> {
    let mut faults = Faults::default();
    let scenarios = node::parse(&file.into(), text, &mut faults).map(|node| read(&node, &mut faults));
    match scenarios {
        Some(scenarios) if !faults.has_errors() => Ok(scenarios),
        _ => Err(faults.into_sorted()),
    }
}

fn read(node: &Node, faults: &mut Faults) -> Vec<Scenario> {
    let Some(fields) = Fields::of(node, "a scenario file", &["scenarios"], faults) else { return Vec::new() };
    let list = fields.required("scenarios", "add scenarios: [{name: …, turns: [{say: …, reply: …}]}]", faults);
    let mut scenarios: Vec<Scenario> = Vec::new();
    for item in list.into_iter().flat_map(reader::list) {
        let Some(fields) = Fields::of(item, "a scenario", &["name", "description", "effects", "turns"], faults) else {
            continue;
        };
        let name = fields.required("name", "name the scenario", faults);
        let turns = fields.required("turns", "add turns: [{say: …, reply: …}]", faults);
        let turns: Vec<_> = turns.into_iter().flat_map(reader::list).filter_map(|item| turn(item, faults)).collect();
        let Some(name) = name.and_then(|node| reader::text(node, "the name", faults)) else { continue };
        if scenarios.iter().any(|known| known.name == name.value) {
            let message = format!("scenario {:?} is declared twice", name.value);
            faults.error("duplicate-name", &name.mark, message, "give each scenario a name of its own");
        }
        let script = script::read(fields.get("effects"), faults);
        scenarios.push(Scenario { name: name.value, script, turns });
    }
    scenarios
}

fn turn(node: &Node, faults: &mut Faults) -> Option<ScenarioTurn> {
    let known =
        ["say", "input", "effects", "calls", "outcome", "reply", "reply_pattern", "intent", "state", "slots", "after"];
    let fields = Fields::of(node, "a turn", &known, faults)?;
    let (input, say) = match (fields.get("say"), fields.get("input")) {
        (Some(node), None) => (InputKind::Text, reader::text(node, "say", faults)?.value),
        (None, Some(node)) => (InputKind::Json, node.to_json()?.to_string()),
        _ => {
            let fix = "write say: \"what the user says\", or input: {intent: …, slots: …}";
            faults.error("bad-value", fields.mark, "a turn has one of say and input", fix);
            return None;
        }
    };
    let script = script::read(fields.get("effects"), faults);
    let calls = counts(fields.get("calls"), faults);
    let outcome = fields.get("outcome").and_then(|node| outcome(node, faults));
    let mut text = |key: &'static str| reader::text(fields.get(key)?, key, faults).map(|said| said.value);
    let (reply, intent, state) = (text("reply"), text("intent"), text("state"));
    let reply_pattern = fields.get("reply_pattern").and_then(|node| reader::pattern(node, "reply_pattern", faults));
    let after = reader::duration(fields.get("after"), "after", faults).unwrap_or_default();
    let mut slots = Vec::new();
    for (key, node) in fields.get("slots").and_then(|node| reader::map(node, "slots", faults)).unwrap_or_default() {
        let value = match node.value {
            node::Value::Null => Some(String::new()),
            _ => reader::text(node, "a slot's value", faults).map(|said| said.value),
        };
        slots.extend(value.map(|value| (key.text.clone(), value)));
    }
    if reply.is_none() && reply_pattern.is_none() {
        faults.error("missing-key", fields.mark, "a turn promises a reply", "add reply or reply_pattern");
    }
    Some(ScenarioTurn { input, say, script, calls, outcome, reply, reply_pattern, intent, state, slots, after })
}

fn counts(node: Option<&Node>, faults: &mut Faults) -> Vec<(String, usize)> {
    let entries = node.and_then(|node| reader::map(node, "calls", faults)).unwrap_or_default();
    let count = |(key, node): &(node::Key, Node), faults: &mut Faults| {
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

/// A turn of a played scenario that did not come out as promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The scenario.
    pub scenario: String,
    /// The turn, from 1.
    pub turn: usize,
    /// What differs.
    pub mismatch: Mismatch,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {:?}, turn {}: {}", self.scenario, self.turn, self.mismatch)
    }
}

/// Plays a scenario on the machine alone, without runtime, store or wire. Time and identifiers are
/// scripted: the same scenario always gives the same outcomes.
///
/// # Errors
/// The first [`Failure`].
pub fn play(flow: &Arc<Flow>, scenario: &Scenario) -> Result<Vec<Outcome>, Failure> {
    let mut state = open_conversation(flow);
    let mut world = ScriptedWorld::default();
    let mut outcomes = Vec::with_capacity(scenario.turns.len());
    for (place, turn) in scenario.turns.iter().enumerate() {
        world.now = world.now.plus(turn.after);
        world.follow(&turn.script, &scenario.script);
        let outcome = world.decide(flow, state, turn.input, &turn.say);
        let record = &outcome.record;
        check(turn, &record.intent, &record.state, &record.reply.text)
            .and_then(|()| check_slots(turn, &outcome.state))
            .and_then(|()| check_outcome(turn, record.outcome))
            .and_then(|()| check_calls(turn, &world))
            .map_err(|mismatch| Failure { scenario: scenario.name.clone(), turn: place + 1, mismatch })?;
        state = outcome.state.clone();
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn check_outcome(turn: &ScenarioTurn, got: TurnOutcome) -> Result<(), Mismatch> {
    match turn.outcome {
        Some(expected) if expected != got => {
            let name = |outcome| format!("{outcome:?}").to_lowercase();
            Err(Mismatch { what: "outcome".to_owned(), expected: name(expected), got: name(got) })
        }
        _ => Ok(()),
    }
}

/// Every effect had an answer, and those that are counted were asked for as often as promised.
fn check_calls(turn: &ScenarioTurn, world: &ScriptedWorld) -> Result<(), Mismatch> {
    if let Some(unanswered) = world.unanswered().first() {
        return Err(Mismatch {
            what: "effects".to_owned(),
            expected: format!("an answer of {unanswered}"),
            got: "nothing is scripted for it".to_owned(),
        });
    }
    let asked: &BTreeMap<String, usize> = world.calls();
    for (name, expected) in &turn.calls {
        let got = asked.get(name).copied().unwrap_or_default();
        if got != *expected {
            return Err(Mismatch {
                what: format!("calls of {name}"),
                expected: expected.to_string(),
                got: got.to_string(),
            });
        }
    }
    Ok(())
}
