//! Running a recorded turn again: on the flow that decided it, where everything must come out the same, or on
//! another, where the differences are what is asked for.

use std::sync::Arc;

use colloquy_flow::Flow;

use crate::{
    effect::{Effect, EffectResult, EffectValue},
    event::StageEvent,
    machine::{Outcome, Step, TurnInput, start},
    record::TurnRecord,
    state::ConversationState,
};

/// The first difference between a recorded turn and running it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayDifference {
    /// The machine asked for something the record does not hold.
    #[error("effect {step} was asked for, but is not in the record")]
    EffectMissing {
        /// The effect's number.
        step: u16,
    },
    /// The record holds something the machine did not ask for.
    #[error("effect {step} is in the record, but was not asked for")]
    EffectUnused {
        /// The effect's number.
        step: u16,
    },
    /// A stage did something else, or did not run, or ran once more.
    #[error("stage event {} differs from what was recorded", place + 1)]
    Stage {
        /// The place of the event among the turn's, from 0.
        place: usize,
        /// What was recorded, if anything was there.
        recorded: Option<Box<StageEvent>>,
        /// What came of running it again, if anything did.
        replayed: Option<Box<StageEvent>>,
    },
    /// A field differs. The values are for reports to authors; they may hold what the user said, so the
    /// message leaves them out.
    #[error("{field} differs from what was recorded")]
    Field {
        /// The field of [`TurnRecord`].
        field: &'static str,
        /// What was recorded.
        recorded: String,
        /// What came of running it again.
        replayed: String,
    },
}

/// A recorded turn that was decided once more.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// What was decided now.
    pub outcome: Outcome,
    /// What the machine asked for and the record does not hold, in the order of their steps.
    pub supplied: Vec<Effect>,
    /// What the record holds and the machine did not ask for, in the order of their steps.
    pub unused: Vec<EffectResult>,
}

/// Runs a recorded turn again on the state before it, with the recorded results.
///
/// # Errors
/// The first [`ReplayDifference`], in the order in which the turn was decided.
pub fn replay(flow: Arc<Flow>, before: ConversationState, record: &TurnRecord) -> Result<Outcome, ReplayDifference> {
    let missing = |effect: Effect| ReplayDifference::EffectMissing { step: effect.step };
    let rerun = rerun(flow, before, record, |_| None).map_err(missing)?;
    match difference(record, &rerun) {
        Some(difference) => Err(difference),
        None => Ok(rerun.outcome),
    }
}

/// Runs the input of a recorded turn on any flow and state.
///
/// An effect gets the recorded result of the same step and kind; one that has none gets what `supply` gives.
///
/// # Errors
/// The effect that `supply` had nothing for: without it the turn cannot be decided.
pub fn rerun(
    flow: Arc<Flow>,
    before: ConversationState,
    record: &TurnRecord,
    mut supply: impl FnMut(&Effect) -> Option<EffectValue>,
) -> Result<Rerun, Effect> {
    let mut supplied = Vec::new();
    let mut step = start(flow, before, input(record), record.now);
    loop {
        match step {
            Step::Done(outcome) => {
                let asked = &outcome.record.effects;
                let is_unused = |result: &&EffectResult| !asked.contains(result);
                let unused = record.effects.iter().filter(is_unused).cloned().collect();
                return Ok(Rerun { outcome: *outcome, supplied, unused });
            }
            Step::Perform(machine, effects) => {
                let mut results = Vec::with_capacity(effects.len());
                for effect in effects {
                    let recorded = recorded_result(record, &effect);
                    let result = match recorded {
                        Some(result) => result,
                        None => {
                            let Some(value) = supply(&effect) else { return Err(effect) };
                            let step = effect.step;
                            supplied.push(effect);
                            EffectResult::at_once(step, value)
                        }
                    };
                    results.push(result);
                }
                step = machine.resume(results);
            }
        }
    }
}

fn input(record: &TurnRecord) -> TurnInput {
    TurnInput {
        turn_id: record.turn_id,
        request_id: record.request_id.clone(),
        request_digest: record.request_digest,
        input: record.input,
        text: record.text.clone(),
        accepted_at: record.accepted_at,
    }
}

fn recorded_result(record: &TurnRecord, effect: &Effect) -> Option<EffectResult> {
    record.effects.iter().find(|result| result.step == effect.step && result.value.answers(&effect.kind)).cloned()
}

/// The first difference between a recorded turn and running it again, in the order in which it was decided.
///
/// The machine's version is told last: another one that decides the same is the least of differences.
pub fn difference(recorded: &TurnRecord, rerun: &Rerun) -> Option<ReplayDifference> {
    let replayed = &rerun.outcome.record;
    macro_rules! same {
        ($($field:ident),+) => {
            $(if recorded.$field != replayed.$field {
                return Some(field(stringify!($field), &recorded.$field, &replayed.$field));
            })+
        };
    }
    same!(revision, intent_before, state_before);
    if let Some(stage) = stage_difference(&recorded.stages, &replayed.stages) {
        return Some(stage);
    }
    if let Some(unused) = rerun.unused.first() {
        return Some(ReplayDifference::EffectUnused { step: unused.step });
    }
    same!(requests, effects, changes, intent, state, outcome, degradations, reply, usage);
    same!(turn_id, request_id, request_digest, input, text, accepted_at, now);
    // What a later version of the record adds is compared here until it is named above.
    let version = recorded.machine_version;
    if version == replayed.machine_version {
        return (recorded != replayed).then(|| field("record", recorded, replayed));
    }
    let replayed_as_recorded = TurnRecord { machine_version: version, ..replayed.clone() };
    if *recorded != replayed_as_recorded {
        return Some(field("record", recorded, replayed));
    }
    Some(field("machine_version", &version, &replayed.machine_version))
}

fn field(field: &'static str, recorded: &impl std::fmt::Debug, replayed: &impl std::fmt::Debug) -> ReplayDifference {
    ReplayDifference::Field { field, recorded: format!("{recorded:?}"), replayed: format!("{replayed:?}") }
}

fn stage_difference(recorded: &[StageEvent], replayed: &[StageEvent]) -> Option<ReplayDifference> {
    let longest = recorded.len().max(replayed.len());
    let place = (0..longest).find(|place| recorded.get(*place) != replayed.get(*place))?;
    let at = |events: &[StageEvent]| events.get(place).cloned().map(Box::new);
    Some(ReplayDifference::Stage { place, recorded: at(recorded), replayed: at(replayed) })
}
