//! What each stage did and why. Stored in the turn's record: the order of variants is the format.

use std::{fmt, sync::Arc};

use colloquy_flow::{By, RulePhase};
use serde::{Deserialize, Serialize};

use crate::effect::Failure;

/// A named step of a turn, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Checks the input's size and characters.
    Guard,
    /// Recognises what kind of thing the user says.
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
    /// Not a step of its own: a proposed move was refused, and the turn with it.
    TransitionBlocked,
    /// Keeps a summary of the conversation.
    Summarise,
    /// Has a model choose which read-only tools are called; it runs before the last rules before actions.
    Plan,
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
            Self::TransitionBlocked => "transition_blocked",
            Self::Summarise => "summarise",
            Self::Plan => "plan",
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
    /// Several were equal; the first was taken.
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
    /// A declared policy hit.
    Policy,
    /// The score for attempts to steer the model is too high.
    Steering,
    /// An example is alike.
    Example,
    /// A model decided.
    Model,
    /// Nothing was sure enough.
    Unsure,
    /// The user chose among several.
    Choice,
    /// Structured input said so.
    Input,
    /// The current intent holds; the other was not sure enough.
    Sticky,
    /// A phrase let go of the current intent.
    Released,
    /// The conversation has it already.
    Kept,
    /// It may not run at this position.
    OutOfScope,
    /// The limit of calls in one turn was reached.
    CallCap,
    /// It did not end in time.
    TimedOut,
    /// It could not be reached, or cannot answer now.
    Unavailable,
    /// It said no.
    Refused,
    /// The answer could not be read, or does not fit.
    Malformed,
    /// It was given up.
    Cancelled,
    /// Nobody knows whether it happened.
    Unknown,
    /// Only some of it came.
    Partial,
    /// The prompt could not be made: it names what it may not see, or what is empty.
    Prompt,
    /// What had failed is tried again.
    Retried,
    /// Everything the state asks for is there.
    Complete,
    /// The user answered what had been interrupted.
    Resumed,
    /// Rules once the dialogue act is known.
    AfterDialogueAct,
    /// Rules once the intent is chosen.
    AfterIntent,
    /// Rules once enrichments are there.
    AfterEnrichment,
    /// Rules before actions run.
    BeforeAction,
    /// Rules once actions ran.
    AfterAction,
    /// Rules before the reply.
    BeforeResponse,
    /// The same call was made already in this turn.
    Repeated,
    /// The model stopped at its token limit.
    Truncated,
    /// A timer fired the turn: nobody said anything.
    Timer,
    /// The limit of timers was reached.
    TimersFull,
}

impl Reason {
    /// Whether something outside is to blame.
    pub(crate) const fn is_of_the_outside(self) -> bool {
        matches!(
            self,
            Self::TimedOut
                | Self::Unavailable
                | Self::Refused
                | Self::Malformed
                | Self::Cancelled
                | Self::Unknown
                | Self::Partial
                | Self::Truncated
        )
    }

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
            Self::Policy => "policy",
            Self::Steering => "steering",
            Self::Example => "example",
            Self::Model => "model",
            Self::Unsure => "unsure",
            Self::Choice => "choice",
            Self::Input => "input",
            Self::Sticky => "sticky",
            Self::Released => "released",
            Self::Kept => "kept",
            Self::OutOfScope => "out_of_scope",
            Self::CallCap => "call_cap",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::Partial => "partial",
            Self::Prompt => "prompt",
            Self::Retried => "retried",
            Self::Complete => "complete",
            Self::Resumed => "resumed",
            Self::AfterDialogueAct => "after_dialogue_act",
            Self::AfterIntent => "after_intent",
            Self::AfterEnrichment => "after_enrichment",
            Self::BeforeAction => "before_action",
            Self::AfterAction => "after_action",
            Self::BeforeResponse => "before_response",
            Self::Repeated => "repeated",
            Self::Truncated => "truncated",
            Self::Timer => "timer",
            Self::TimersFull => "timers_full",
        }
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut => Self::TimedOut,
            Failure::Unavailable => Self::Unavailable,
            Failure::Refused => Self::Refused,
            Failure::Malformed => Self::Malformed,
            Failure::Cancelled => Self::Cancelled,
        }
    }
}

impl From<RulePhase> for Reason {
    fn from(phase: RulePhase) -> Self {
        match phase {
            RulePhase::AfterDialogueAct => Self::AfterDialogueAct,
            RulePhase::AfterIntent => Self::AfterIntent,
            RulePhase::AfterEnrichment => Self::AfterEnrichment,
            // Where most rules belong: the stage's name says enough.
            RulePhase::AfterExtraction => Self::None,
            RulePhase::BeforeAction => Self::BeforeAction,
            RulePhase::AfterAction => Self::AfterAction,
            RulePhase::BeforeResponse => Self::BeforeResponse,
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
    /// A model that chose an intent.
    Model,
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
            Self::Model => "model",
        }
    }
}

impl From<By> for Proposer {
    fn from(by: By) -> Self {
        match by {
            By::Intent => Self::Intent,
            By::Digression => Self::Digression,
            By::Model => Self::Model,
            By::Rule => Self::Rule,
            By::Action => Self::Action,
            By::Pending => Self::Pending,
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
    /// Milliseconds that were spent on it in vain; 0 when nothing was waited for.
    pub elapsed_ms: u32,
}

impl Degradation {
    /// Whether both tell of the same, however long it took.
    pub(crate) fn is_like(&self, stage: Stage, reason: Reason, name: &str) -> bool {
        (self.stage, self.reason, &*self.name) == (stage, reason, name)
    }
}
