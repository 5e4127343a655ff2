//! Playing a scenario on the machine alone, without runtime, store or wire.

use std::{fmt, sync::Arc};

use colloquy_flow::Flow;
use colloquy_turn::{ConversationState, InputKind, Outcome, SnapshotRecord, StageEvent, open_conversation};
use colloquy_types::codec;

use super::{
    Scenario, ScriptedWorld,
    compare::{Mismatch, check, check_calls, check_outcome, check_slots},
};
use crate::{fault::Faults, read, replay};

/// A turn of a played scenario that did not come out as promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The scenario.
    pub scenario: String,
    /// The turn, from 1.
    pub turn: usize,
    /// What differs.
    pub mismatch: Mismatch,
    /// What each stage of that turn did; empty when the turn was not decided.
    pub stages: Box<[StageEvent]>,
}

impl Failure {
    /// What each stage of the turn did, a line each.
    pub fn stage_lines(&self) -> impl Iterator<Item = String> {
        self.stages.iter().map(replay::stage_line)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {:?}, turn {}: {}", self.scenario, self.turn, self.mismatch)
    }
}

/// Plays a scenario on `flow`, under its limits where it has some. Time and identifiers are scripted: the same
/// scenario always gives the same outcomes.
///
/// # Errors
/// The first [`Failure`].
pub fn play(flow: &Arc<Flow>, scenario: &Scenario) -> Result<Vec<Outcome>, Failure> {
    let flow = &limited(flow, scenario);
    let mut state = open_conversation(flow);
    let mut world = ScriptedWorld::default();
    let mut outcomes = Vec::with_capacity(scenario.turns.len());
    for (place, turn) in scenario.turns.iter().enumerate() {
        let failed = |mismatch, stages: &[StageEvent]| Failure {
            scenario: scenario.name.clone(),
            turn: place + 1,
            mismatch,
            stages: stages.into(),
        };
        world.now = world.now.plus(turn.after);
        world.follow(&turn.script, &scenario.script);
        if turn.restart {
            state = stored(flow, &world, state).map_err(|error| {
                let lost = Mismatch::new("restart", "a state that can be stored and read", error.to_string());
                failed(lost, &[])
            })?;
        }
        if turn.input == InputKind::Timer {
            due(&state, &turn.say, &world).map_err(|mismatch| failed(mismatch, &[]))?;
        }
        let outcome = world.decide(flow, state, turn.input, &turn.say);
        let record = &outcome.record;
        check(turn, &record.intent, &record.state, &record.reply.text)
            .and_then(|()| check_slots(turn, &outcome.state))
            .and_then(|()| check_outcome(turn, record.outcome))
            .and_then(|()| check_calls(turn, &world))
            .and_then(|()| turn.promises.check(&outcome, &world))
            .map_err(|mismatch| failed(mismatch, &record.stages))?;
        state = outcome.state.clone();
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// A timer fires when it is set and its time has come, and not otherwise.
fn due(state: &ConversationState, id: &str, world: &ScriptedWorld) -> Result<(), Mismatch> {
    let found = match state.timers().iter().find(|timer| *timer.id == *id) {
        Some(timer) if timer.due_at <= world.now => return Ok(()),
        Some(timer) => format!("due {:?} later", timer.due_at.since(world.now)),
        None => "not set".to_owned(),
    };
    Err(Mismatch::new("timer", format!("{id} to be due"), found))
}

fn limited(flow: &Arc<Flow>, scenario: &Scenario) -> Arc<Flow> {
    // Faults were told when the scenario was read.
    let bounded = |node| read::limits(*flow.limits(), Some(node), &mut Faults::default());
    scenario.limits.as_ref().map_or_else(|| Arc::clone(flow), |node| Arc::new(flow.with_limits(bounded(node))))
}

/// The state as it comes back from the bytes a store would hold.
fn stored(flow: &Flow, world: &ScriptedWorld, state: ConversationState) -> Result<ConversationState, codec::Error> {
    let snapshot = SnapshotRecord {
        state,
        flow: flow.name().clone(),
        flow_tenant: String::new(),
        revision: flow.revision(),
        created_at: world.now,
        turns_remembered: Vec::new(),
        open_accepted: None,
    };
    Ok(SnapshotRecord::decode(&snapshot.encode()?)?.state)
}
