//! What a flow is assembled from: everything by name, its patterns, conditions and templates compiled.

use std::{fmt, sync::Arc, time::Duration};

use colloquy_types::{FlowName, Revision};

use crate::{
    classify::{ActPatterns, Signal},
    condition::Condition,
    slot::Slot,
    template::{TemplateRef, Templates},
    transition::ByMask,
    upgrade::UpgradePart,
    value::SlotValue,
};

/// A name within a flow.
pub type Name = Arc<str>;

/// A position by name, written `intent.state`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The intent.
    pub intent: Name,
    /// The state.
    pub state: Name,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.intent, self.state)
    }
}

/// Where something applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At every position.
    Everywhere,
    /// At these positions.
    At(Vec<Place>),
}

/// Bounds of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How often the rules may run over in one turn.
    pub rule_passes: u8,
    /// How many interrupted positions are remembered.
    pub digression_depth: u8,
    /// How many actions may wait for a confirmation.
    pub pending_actions: u8,
    /// Longest input, in characters.
    pub text_chars: u32,
    /// What a turn may take when its client sets no deadline.
    pub turn_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rule_passes: 8,
            digression_depth: 3,
            pending_actions: 4,
            text_chars: 4000,
            turn_deadline: Duration::from_secs(10),
        }
    }
}

/// An intent.
#[derive(Debug)]
pub struct IntentPart {
    /// Its name.
    pub name: Name,
    /// Higher wins when several are recognised.
    pub priority: i32,
    /// What it is recognised by.
    pub signals: Vec<Signal>,
    /// The state it begins in.
    pub initial: Name,
    /// Whether it interrupts another intent and returns to it.
    pub digression: bool,
    /// Slots read from the text in each of its states.
    pub collect: Vec<Name>,
    /// Slots kept while it is the current or an interrupted intent, besides those it collects.
    pub keep: Vec<Name>,
    /// Its states.
    pub states: Vec<StatePart>,
}

/// A state of an intent.
#[derive(Debug)]
pub struct StatePart {
    /// Its name.
    pub name: Name,
    /// Whether nothing is underway here: a digression that reaches it returns.
    pub terminal: bool,
    /// Whether a conversation may move to another revision here, though it is not terminal.
    pub boundary: bool,
    /// Slots read from the text here, besides those of its intent.
    pub collect: Vec<Name>,
}

/// A declared transition.
#[derive(Debug)]
pub struct TransitionPart {
    /// From where.
    pub from: Scope,
    /// To where.
    pub to: Place,
    /// Who may propose it.
    pub by: ByMask,
}

/// When a rule runs, within the rules stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RulePhase {
    /// First: flags and slots that later rules rely on.
    Prepare,
    /// Then: where to go and what to stage.
    Decide,
    /// Last: what depends on where the turn goes.
    Conclude,
}

/// A rule.
#[derive(Debug)]
pub struct RulePart {
    /// Its id.
    pub id: Name,
    /// When it runs.
    pub phase: RulePhase,
    /// Higher runs first within its phase.
    pub priority: i32,
    /// Where it applies.
    pub scope: Scope,
    /// Its condition; none holds always.
    pub when: Option<Condition>,
    /// What it does, in order.
    pub then: Vec<RuleEffectPart>,
}

/// One effect of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleEffectPart {
    /// Proposes a position.
    Go(Place),
    /// Proposes the initial state of an intent.
    Intent(Name),
    /// Fills a slot.
    Set(Name, SlotValue),
    /// Empties a slot.
    Clear(Name),
    /// Raises a flag.
    Flag(Name),
    /// Lowers a flag.
    Unflag(Name),
    /// Stages an action.
    Stage(Name),
}

/// An action.
#[derive(Debug)]
pub struct ActionPart {
    /// Its name.
    pub name: Name,
    /// What users know it as.
    pub label: Name,
    /// Slots it needs.
    pub slots: Vec<Name>,
    /// How it is confirmed; none runs it as soon as it is staged.
    pub confirm: Option<ConfirmPart>,
    /// What it writes, where.
    pub results: Vec<(Name, ResultSource)>,
    /// Where the conversation goes when it ran.
    pub on_executed: Option<Place>,
    /// Where the conversation goes when the user refuses.
    pub on_rejected: Option<Place>,
    /// Where the conversation goes when it waited too long.
    pub on_expired: Option<Place>,
}

/// How long an action waits for its confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmPart {
    /// Turns after the one that staged it in which it may be confirmed.
    pub expires_turns: u32,
    /// How long it may be confirmed.
    pub expires_after: Duration,
}

/// What a local action writes into a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultSource {
    /// A reference made of a fresh identifier: the prefix, then this many letters and digits (4 to 24).
    Reference {
        /// What it begins with.
        prefix: Name,
        /// Letters and digits after the prefix.
        length: u8,
    },
    /// When the action ran: a day for a date slot, else an RFC 3339 time in UTC.
    ExecutedAt,
    /// A fixed value.
    Value(SlotValue),
}

/// A text of a response.
#[derive(Clone, Debug)]
pub enum ResponseText {
    /// Said as it stands.
    Exact(Name),
    /// Rendered.
    Template(TemplateRef),
}

/// A response.
#[derive(Debug)]
pub struct ResponsePart {
    /// Where it applies.
    pub scope: Scope,
    /// Its condition; none holds always.
    pub when: Option<Condition>,
    /// Whether it is said when an interrupted position is taken up again, instead of in reply.
    pub resume: bool,
    /// What is said.
    pub text: ResponseText,
}

/// Everything a flow is assembled from.
#[derive(Debug)]
pub struct FlowParts {
    /// The flow's name.
    pub name: FlowName,
    /// Hash of format version and normalised source.
    pub revision: Revision,
    /// Where conversations begin.
    pub start: Place,
    /// Bounds.
    pub limits: Limits,
    /// Patterns of the dialogue acts.
    pub acts: ActPatterns,
    /// Slots.
    pub slots: Vec<Slot>,
    /// Declared flags.
    pub flags: Vec<Name>,
    /// Intents, in declared order.
    pub intents: Vec<IntentPart>,
    /// Transitions.
    pub transitions: Vec<TransitionPart>,
    /// Rules, in declared order.
    pub rules: Vec<RulePart>,
    /// Actions.
    pub actions: Vec<ActionPart>,
    /// Responses, in declared order.
    pub responses: Vec<ResponsePart>,
    /// How conversations of older revisions move to this one; the first that applies holds.
    pub upgrades: Vec<UpgradePart>,
    /// Said when nothing else can be.
    pub fallback: Name,
    /// Asks which of several pending actions is meant; may use `options`.
    pub clarify: ResponseText,
    /// The templates the responses refer to.
    pub templates: Templates,
}
