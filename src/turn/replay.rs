//! Running a recorded turn again.

use std::sync::Arc;

use colloquy_flow::Flow;

use crate::{
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

/// Runs a recorded turn again on the state before it, with the recorded results.
///
/// # Errors
/// The first [`ReplayDifference`], in the order in which the turn was decided.
pub fn replay(flow: Arc<Flow>, before: ConversationState, record: &TurnRecord) -> Result<Outcome, ReplayDifference> {
    let input = TurnInput {
        turn_id: record.turn_id,
        request_id: record.request_id.clone(),
        request_digest: record.request_digest,
        input: record.input,
        text: record.text.clone(),
        accepted_at: record.accepted_at,
    };
    let mut step = start(flow, before, input, record.now);
    loop {
        match step {
            Step::Done(outcome) => return compare(record, *outcome),
            Step::Perform(machine, effects) => {
                let mut results = Vec::with_capacity(effects.len());
                for effect in &effects {
                    let recorded = record
                        .effects
                        .iter()
                        .find(|result| result.step == effect.step && result.value.answers(&effect.kind))
                        .ok_or(ReplayDifference::EffectMissing { step: effect.step })?;
                    results.push(recorded.clone());
                }
                step = machine.resume(results);
            }
        }
    }
}

fn compare(recorded: &TurnRecord, outcome: Outcome) -> Result<Outcome, ReplayDifference> {
    let replayed = &outcome.record;
    macro_rules! same {
        ($($field:ident),+) => {
            $(if recorded.$field != replayed.$field {
                return Err(ReplayDifference::Field {
                    field: stringify!($field),
                    recorded: format!("{:?}", recorded.$field),
                    replayed: format!("{:?}", replayed.$field),
                });
            })+
        };
    }
    same!(machine_version, revision, intent_before, state_before, stages);
    if let Some(unused) = recorded.effects.iter().find(|result| !replayed.effects.contains(result)) {
        return Err(ReplayDifference::EffectUnused { step: unused.step });
    }
    same!(requests, effects, changes, intent, state, outcome, degradations, reply, usage);
    same!(turn_id, request_id, request_digest, accepted_at, now);
    Ok(outcome)
}
