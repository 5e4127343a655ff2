//! Scenarios: conversations with what must come of each turn. They document a flow and test it.
//!
//! A turn says what the user says and states what must follow: the reply, exactly or by pattern, the
//! position, slots, flags, stages and more. What is not stated is not checked. `docs/testing.md` describes
//! the format.

mod compare;
mod play;
mod promise;
mod read;
mod report;
mod script;
mod suite;
mod vocabulary;
mod world;

use std::time::Duration;

use colloquy_flow::Pattern;
use colloquy_turn::{InputKind, TurnOutcome};

#[cfg(test)]
pub(crate) use self::read::{SCENARIO_KEYS, TURN_KEYS};
pub(crate) use self::suite::{in_parallel, some_scenarios};
pub use self::{
    compare::{Mismatch, check, check_slots},
    play::{Failure, play},
    promise::{Never, Promises, PromptPromise, StagePromise},
    read::load_scenarios,
    report::junit,
    script::{Answer, Fault as InjectedFault, Script},
    suite::{Played, Suite, folder_scenarios, play_suites},
    world::ScriptedWorld,
};
use crate::node::Node;

/// A conversation.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, unique within the file.
    pub name: String,
    /// Limits it is played with in place of the flow's own.
    limits: Option<Node>,
    /// What models, sources and tools answer when a turn does not say otherwise.
    pub script: Script,
    /// Its turns in order.
    pub turns: Vec<ScenarioTurn>,
}

impl Scenario {
    /// Whether it needs nothing but what a user says: no passing time, nothing scripted, no structured input, no
    /// limits of its own.
    pub fn is_plain(&self) -> bool {
        let plain =
            |turn: &ScenarioTurn| turn.after.is_zero() && turn.script.is_empty() && turn.input == InputKind::Text;
        self.limits.is_none() && self.script.is_empty() && self.turns.iter().all(plain)
    }
}

/// One turn, and what must come of it.
#[derive(Clone, Debug)]
pub struct ScenarioTurn {
    /// What kind of input it is.
    pub input: InputKind,
    /// What the user says, the source of structured input, or the id of a timer.
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
    /// Whether the conversation is written down and read again before the turn.
    pub restart: bool,
    /// What else must come of it; not seen over the wire.
    pub promises: Promises,
}
