//! The compiled, immutable form of what a conversation may do.
//!
//! [`Flow`] is assembled once per revision from [`FlowParts`], indexed by intent and state, and shared by
//! `Arc`: a turn looks only at what can apply at its position. The author crate makes the parts from YAML;
//! the turn crate reads the flow. Nothing here performs I/O, reads a clock or draws a random number.

pub mod assemble;
pub mod classify;
pub mod condition;
pub mod flow;
pub mod index;
pub mod parts;
pub mod pattern;
pub mod slot;
pub mod template;
pub mod transition;
pub mod upgrade;
pub mod value;

pub use assemble::AssembleError;
pub use classify::{ActPatterns, Classification, Classifier, MatchKind, Signal, Words};
pub use condition::{Condition, ConditionError, Facts};
pub use flow::{Action, Confirm, Flow, Intent, Response, Rule, RuleEffect, State, Text};
pub use index::{ActionIx, IntentIx, ResponseIx, RuleIx, SlotIx, StateIx};
pub use parts::{
    ActionPart, ConfirmPart, FlowParts, IntentPart, Limits, Name, Place, ResponsePart, ResponseText, ResultSource,
    RuleEffectPart, RulePart, RulePhase, Scope, StatePart, TransitionPart,
};
pub use pattern::{Pattern, PatternError};
pub use slot::{Case, Slot, SlotKind};
pub use template::{TemplateError, Variables};
pub use transition::{By, ByMask};
pub use upgrade::{Mapped, Upgrade, UpgradeFrom, UpgradePart};
pub use value::{Date, Decimal, SlotValue};

#[cfg(test)]
mod tests;
