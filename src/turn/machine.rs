//! The turn machine: runs the stages in order until the turn ends or needs something from the world.

use std::sync::Arc;

use colloquy_flow::Flow;
use colloquy_types::{RequestId, Timestamp, TurnId};

use crate::{
    effect::{Effect, EffectResult},
    event::{Stage, StageEvent},
    record::{InputKind, TurnRecord},
    stages::{self, Progress},
    state::ConversationState,
    work::Work,
};

/// Raised whenever the machine would decide the same input differently.
pub const MACHINE_VERSION: u32 = 3;

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnInput {
    /// Random, one per accepted turn.
    pub turn_id: TurnId,
    /// The client's idempotency key.
    pub request_id: RequestId,
    /// Hash of the request's payload, as the caller computes it; only recorded.
    pub request_digest: [u8; 16],
    /// What kind of input.
    pub input: InputKind,
    /// The input: what the user said, the source of the JSON, or the id of the timer.
    pub text: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

/// A decided turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What to commit.
    pub record: TurnRecord,
    /// The state after the turn.
    pub state: ConversationState,
}

/// What the machine wants next.
#[derive(Debug)]
pub enum Step {
    /// Perform these effects, in any order or together, and resume with their results.
    Perform(Box<Machine>, Vec<Effect>),
    /// The turn is decided.
    Done(Box<Outcome>),
}

/// A turn that waits for the results of its effects.
#[derive(Debug)]
pub struct Machine {
    work: Work,
    stage: usize,
}

/// Begins a turn. `now` is the only time the turn knows, save what effects tell it.
pub fn start(flow: Arc<Flow>, state: ConversationState, input: TurnInput, now: Timestamp) -> Step {
    Machine { work: Work::new(flow, state, input, now), stage: 0 }.run()
}

impl Machine {
    /// Goes on with the results of the effects that were asked for.
    ///
    /// A result that was not asked for, or is of another kind, is ignored; one that is missing is asked
    /// for again. [`crate::EffectValue::Interrupted`] ends the turn where it stands.
    pub fn resume(mut self: Box<Self>, results: Vec<EffectResult>) -> Step {
        self.work.accept(&results);
        match self.work.interrupted() {
            Some(shown) => {
                let stage = stages::ORDER.get(self.stage).map_or(Stage::Respond, |(stage, _)| *stage);
                Step::Done(Box::new(self.work.interrupt(stage, &shown)))
            }
            None => (*self).run(),
        }
    }

    /// What a user interface may show while the effects are performed, and of which stage.
    pub fn progress(&self) -> Option<(Stage, &Arc<str>)> {
        let (stage, _) = stages::ORDER.get(self.stage)?;
        self.work.flow.progress(stage.name(), self.work.candidate).map(|text| (*stage, text))
    }

    /// What the stages did so far.
    pub fn stages(&self) -> &[StageEvent] {
        self.work.stages()
    }

    fn run(mut self) -> Step {
        while let Some((_, stage)) = stages::ORDER.get(self.stage) {
            self.work.enter_stage();
            match stage(&mut self.work) {
                Progress::Next => {
                    self.work.leave_stage();
                    self.stage += 1;
                }
                Progress::Again => self.work.leave_stage(),
                Progress::Back => {
                    self.work.leave_stage();
                    self.stage = stages::BEFORE_ACTION;
                }
                Progress::Need => {
                    let effects = self.work.needed();
                    return Step::Perform(Box::new(self), effects);
                }
            }
        }
        Step::Done(Box::new(self.work.finish()))
    }
}

/// The state a new conversation begins with: at the flow's start, holding nothing.
pub fn open_conversation(flow: &Flow) -> ConversationState {
    let (intent, state) = flow.start();
    ConversationState::new(Arc::clone(intent), Arc::clone(state))
}
