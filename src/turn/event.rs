//! What each stage did and why. Stored in the turn's record: the order of variants is the format.

use std::{fmt, sync::Arc};

use colloquy_flow::By;
use serde::{Deserialize, Serialize};

/// A named step of a turn, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Checks the input's size and characters.
    Guard,
    /// Recognises affirmation, negation and reset.
    DialogueAct,
    /// Confirms, drops, edits or expires what waits for a confirmation.
    Pending,
    /// Chooses the intent.
    Intent,
    /// Fetches what the position declares.
    Enrich,
    /// Reads slots from the text.
    Extract,
    /// Evaluates rules.
    Rules,
    /// Runs confirmed actions.
    Act,
    /// Checks proposals against the declared transitions and moves.
    Transition,
    /// Evicts what the new position does not keep.
    Retain,
    /// Writes the reply.
    Respond,
}

impl Stage {
    /// The stage's name as traces and clients show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::DialogueAct => "dialogue_act",
            Self::Pending => "pending",
            Self::Intent => "intent",
            Self::Enrich => "enrich",
            Self::Extract => "extract",
            Self::Rules => "rules",
            Self::Act => "act",
            Self::Transition => "transition",
            Self::Retain => "retain",
            Self::Respond => "respond",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What came of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StageResult {
    /// It had nothing to do.
    Skipped,
    /// It found nothing to object to.
    Passed,
    /// It recognised something.
    Matched,
    /// It recognised nothing.
    NoMatch,
    /// Several were equal; the first in declared order was taken.
    Collided,
    /// It did what it is for.
    Done,
    /// Something was given up.
    Dropped,
    /// Something outlived its time or its turns.
    Expired,
    /// A pending action's slots changed in place.
    Edited,
    /// The user has to choose.
    Asked,
    /// The position changed.
    Moved,
    /// The position did not change.
    Stayed,
    /// Something was refused.
    Blocked,
    /// A bound stopped it.
    Capped,
    /// It failed, and the turn went on without it.
    Failed,
}

impl StageResult {
    /// The result's name as traces and clients show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Matched => "matched",
            Self::NoMatch => "no_match",
            Self::Collided => "collided",
            Self::Done => "done",
            Self::Dropped => "dropped",
            Self::Expired => "expired",
            Self::Edited => "edited",
            Self::Asked => "asked",
            Self::Moved => "moved",
            Self::Stayed => "stayed",
            Self::Blocked => "blocked",
            Self::Capped => "capped",
            Self::Failed => "failed",
        }
    }
}

/// Why a stage came to its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The result says all.
    None,
    /// Nothing of this kind is declared at the position.
    NotDeclared,
    /// The turn was already decided by an earlier stage.
    Decided,
    /// The text is longer than the flow allows.
    TooLong,
    /// The text has a character that is not allowed.
    ForbiddenCharacter,
    /// The text is blank.
    Blank,
    /// A pattern matched.
    Pattern,
    /// Keywords matched.
    Keywords,
    /// The user affirmed.
    Affirmed,
    /// The user negated.
    Negated,
    /// The user asked to start over.
    Reset,
    /// The number of turns ran out.
    Turns,
    /// The time ran out.
    Time,
    /// The user gave another value.
    Correction,
    /// More than one was eligible.
    Ambiguous,
    /// The intent is the current one.
    Current,
    /// The intent interrupts the current one.
    Digression,
    /// The interrupted position was taken up again.
    Return,
    /// The stack of interrupted positions is full.
    StackFull,
    /// The transition is not declared: `transition_blocked`.
    TransitionBlocked,
    /// The target position does not exist in this revision.
    UnknownPosition,
    /// The limit of rule passes was reached.
    RulePasses,
    /// A condition could not be evaluated.
    Condition,
    /// A template could not be rendered.
    Template,
    /// A value did not fit its slot.
    SlotType,
    /// A slot the action needs is empty.
    SlotMissing,
    /// No response is declared for the position.
    NoResponse,
    /// A fixed text.
    Exact,
    /// The target does not keep it.
    NotKept,
    /// The intent it belongs to was left.
    Abandoned,
    /// The limit of actions waiting for confirmation was reached.
    PendingFull,
}

impl Reason {
    /// The reason's name as traces and clients show it; empty for [`Reason::None`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::NotDeclared => "not_declared",
            Self::Decided => "decided",
            Self::TooLong => "too_long",
            Self::ForbiddenCharacter => "forbidden_character",
            Self::Blank => "blank",
            Self::Pattern => "pattern",
            Self::Keywords => "keywords",
            Self::Affirmed => "affirmed",
            Self::Negated => "negated",
            Self::Reset => "reset",
            Self::Turns => "turns",
            Self::Time => "time",
            Self::Correction => "correction",
            Self::Ambiguous => "ambiguous",
            Self::Current => "current",
            Self::Digression => "digression",
            Self::Return => "return",
            Self::StackFull => "stack_full",
            Self::TransitionBlocked => "transition_blocked",
            Self::UnknownPosition => "unknown_position",
            Self::RulePasses => "rule_passes",
            Self::Condition => "condition",
            Self::Template => "template",
            Self::SlotType => "slot_type",
            Self::SlotMissing => "slot_missing",
            Self::NoResponse => "no_response",
            Self::Exact => "exact",
            Self::NotKept => "not_kept",
            Self::Abandoned => "abandoned",
            Self::PendingFull => "pending_full",
        }
    }
}

/// Who proposed a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Proposer {
    /// The intent stage.
    Intent,
    /// The intent stage, interrupting the current intent.
    Digression,
    /// A rule.
    Rule,
    /// An executed action.
    Action,
    /// A pending action that was rejected or expired.
    Pending,
    /// The user's wish to start over; always allowed, and always to the start.
    Reset,
}

impl Proposer {
    /// The proposer's name as flows and traces write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Digression => "digression",
            Self::Rule => "rule",
            Self::Action => "action",
            Self::Pending => "pending",
            Self::Reset => "reset",
        }
    }
}

impl From<By> for Proposer {
    fn from(by: By) -> Self {
        match by {
            By::Intent => Self::Intent,
            By::Digression => Self::Digression,
            By::Rule => Self::Rule,
            By::Action => Self::Action,
            By::Pending => Self::Pending,
        }
    }
}

/// What kind of thing the user said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DialogueAct {
    /// Nothing in particular.
    #[default]
    None,
    /// Yes.
    Affirm,
    /// No.
    Negate,
    /// Start over.
    Reset,
}

impl DialogueAct {
    /// The act's name as conditions see it; empty for none.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Affirm => "affirm",
            Self::Negate => "negate",
            Self::Reset => "reset",
        }
    }
}

/// What a stage event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detail {
    /// Nothing more to say.
    None,
    /// One name: an intent, slot, rule or action.
    Name(Arc<str>),
    /// Several names.
    Names(Vec<Arc<str>>),
    /// A proposed move.
    Proposal(Box<Proposal>),
}

impl Detail {
    /// The detail for these names: none, one or several.
    pub(crate) fn names(mut names: Vec<Arc<str>>) -> Self {
        match names.len() {
            0 => Self::None,
            1 => names.pop().map_or(Self::None, Self::Name),
            _ => Self::Names(names),
        }
    }
}

/// A proposed move, and who proposed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The kind of proposer.
    pub by: Proposer,
    /// Its name: the rule's id, the action's or the intent's name.
    pub name: Arc<str>,
    /// From where, as `intent.state`.
    pub from: Arc<str>,
    /// To where, as `intent.state`.
    pub to: Arc<str>,
}

/// One stage of one turn: what came of it, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageEvent {
    /// The stage.
    pub stage: Stage,
    /// What came of it.
    pub result: StageResult,
    /// Why.
    pub reason: Reason,
    /// What it is about.
    pub detail: Detail,
}

/// Something the turn had to do without; the reply is less than the flow intends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degradation {
    /// The stage that went without.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// The rule, slot, action or response concerned; empty when there is none.
    pub name: Arc<str>,
}
