//! How one turn runs: a sans-I/O machine that decides, and records that replay to the same decisions.
//!
//! [`start`] runs the stages until the turn ends or needs something from the world; the caller performs
//! the [`Effect`]s and calls [`Machine::resume`]. The machine sees no clock, socket or random source:
//! what it learned from outside is in the [`TurnRecord`], so [`replay()`] is running it again. State changes
//! only through [`ConversationState::apply`], whose [`Change`]s the record carries.
//!
//! Neighbours: `colloquy-flow` holds what may happen, the conversation actor performs effects and commits.

pub mod effect;
pub mod event;
pub mod input;
pub mod machine;
mod plan;
pub mod record;
pub mod replay;
mod stages;
pub mod state;
pub mod timer;
pub mod upgrade;
mod work;

pub use effect::{
    CallOutcome, CallRequest, Effect, EffectKind, EffectResult, EffectValue, Effort, Failure, ModelMessage,
    ModelOutput, ModelRequest, RequestKind, RequestTrace, Role, Usage,
};
pub use event::{Degradation, Detail, Proposal, Proposer, Reason, Stage, StageEvent, StageResult};
pub use input::{InputFault, InputMember, canonical_input};
pub use machine::{MACHINE_VERSION, Machine, Outcome, Step, TurnInput, open_conversation, start};
pub use record::{
    AcceptedRecord, ClosedReason, ControlRecord, CreatedRecord, EffectsRecord, ErasedRecord, ErasureCause, InputKind,
    Intent, Origin, PinnedRevision, Rating, Remembered, Reply, ReplyKind, SnapshotRecord, TurnClosedRecord,
    TurnOutcome, TurnRecord,
};
pub use replay::{ReplayDifference, Rerun, difference, replay, rerun};
pub use stages::transition::reset;
pub use state::{Change, ConversationState, Exchange, PendingAction, PendingEnding, PendingId, PositionName, Question};
pub use timer::{TIMER_REQUESTS, TIMERS_MAX, Timer, TimerEnding};
pub use upgrade::{Obstacle, at_boundary, upgrade};

#[cfg(test)]
mod tests;
