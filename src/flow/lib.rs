//! The compiled, immutable form of what a conversation may do.
//!
//! [`Flow`] is assembled once per revision from [`FlowParts`], indexed by intent and state, and shared by
//! `Arc`: a turn looks only at what can apply at its position. The author crate makes the parts from YAML;
//! the turn crate reads the flow. Nothing here performs I/O, reads a clock or draws a random number.

pub mod acts;
pub mod assemble;
mod busy;
pub mod calls;
pub mod classify;
pub mod condition;
pub mod entries;
pub mod flow;
pub mod guard;
pub mod index;
pub mod json;
pub mod parts;
pub mod pattern;
pub mod planner;
pub mod prompt;
pub mod redact;
pub mod schema;
pub mod scripted;
pub mod slot;
pub mod template;
pub mod transition;
pub mod upgrade;
pub mod value;

pub use acts::{Act, ActPattern, ActPatterns, Recognised};
pub use assemble::AssembleError;
pub use busy::BusyPolicy;
pub use calls::{Argument, Patience};
pub use classify::{Classification, Classifier, Likeness, MatchKind, Signal, Words};
pub use condition::{Condition, ConditionError, Facts};
pub use entries::{Action, Confirm, Enrichment, Flag, Intent, Response, Rule, RuleEffect, State, Text, Tool, Until};
pub use flow::Flow;
pub use guard::{Consequence, Guard, Policy, Steering, SteeringSign, Trigger};
pub use index::{ActionIx, EnrichmentIx, IntentIx, PlannerIx, ResponseIx, RuleIx, SlotIx, StateIx};
pub use json::{Json, JsonError};
pub use parts::{
    ActionPart, ConfirmPart, EnrichmentPart, FlagPart, FlowParts, IntentPart, Limits, ModelChoice, ModelText, Name,
    Place, ProgressPart, ResponsePart, ResponseText, ResultSource, RuleEffectPart, RulePart, RulePhase, Scope,
    StatePart, SummaryPart, ToolPart, TransitionPart, Understanding, UntilPart,
};
pub use pattern::{Pattern, PatternError};
pub use planner::{Chosen, Planner, PlannerPart};
pub use prompt::{HistoryWindow, PromptPart, Purpose, tokens_of};
pub use redact::Redaction;
pub use schema::{Schema, SchemaError};
pub use scripted::{ScriptedAnswer, ScriptedFault, ScriptedRule, Scripts};
pub use slot::{Case, Slot, SlotKind, SlotScope};
pub use template::{TemplateError, Variables};
pub use transition::{By, ByMask};
pub use upgrade::{Mapped, Upgrade, UpgradeFrom, UpgradePart};
pub use value::{Date, Decimal, SlotValue};

#[cfg(test)]
mod tests;
