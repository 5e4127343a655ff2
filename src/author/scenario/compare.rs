//! What a turn promises, compared with what came.

use std::collections::BTreeMap;

use colloquy_turn::{ConversationState, TurnOutcome};

use super::{ScenarioTurn, ScriptedWorld};

/// What differs from what a turn promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {got:?}, expected {expected:?}")]
pub struct Mismatch {
    /// `reply`, `intent`, `state`, `slot <name>` and so on.
    pub what: String,
    /// What was promised.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl Mismatch {
    pub(super) fn new(what: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { what: what.into(), expected: expected.into(), got: got.into() }
    }
}

/// Compares one turn's ending with what is promised, slots aside: that is all a client of the wire may see.
///
/// # Errors
/// The first [`Mismatch`].
pub fn check(turn: &ScenarioTurn, intent: &str, state: &str, reply: &str) -> Result<(), Mismatch> {
    if let Some(expected) = turn.reply.as_deref().filter(|expected| *expected != reply) {
        return Err(Mismatch::new("reply", expected, reply));
    }
    if let Some(pattern) = turn.reply_pattern.as_ref().filter(|pattern| !pattern.is_match(reply)) {
        return Err(Mismatch::new("reply", pattern.source(), reply));
    }
    if let Some(expected) = turn.intent.as_deref().filter(|expected| *expected != intent) {
        return Err(Mismatch::new("intent", expected, intent));
    }
    match turn.state.as_deref() {
        Some(expected) if expected != state => Err(Mismatch::new("state", expected, state)),
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
            return Err(Mismatch::new(format!("slot {slot}"), expected, got));
        }
    }
    Ok(())
}

pub(super) fn check_outcome(turn: &ScenarioTurn, got: TurnOutcome) -> Result<(), Mismatch> {
    match turn.outcome {
        Some(expected) if expected != got => {
            let name = |outcome| format!("{outcome:?}").to_lowercase();
            Err(Mismatch::new("outcome", name(expected), name(got)))
        }
        _ => Ok(()),
    }
}

/// Every effect had an answer, and those that are counted were asked for as often as promised.
pub(super) fn check_calls(turn: &ScenarioTurn, world: &ScriptedWorld) -> Result<(), Mismatch> {
    if let Some(unanswered) = world.unanswered().first() {
        let expected = format!("an answer of {unanswered}");
        return Err(Mismatch::new("effects", expected, "nothing is scripted for it"));
    }
    let asked: &BTreeMap<String, usize> = world.calls();
    for (name, expected) in &turn.calls {
        let got = asked.get(name).copied().unwrap_or_default();
        if got != *expected {
            return Err(Mismatch::new(format!("calls of {name}"), expected.to_string(), got.to_string()));
        }
    }
    Ok(())
}
