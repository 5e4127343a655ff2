//! What a flow is assembled from: everything by name, its patterns, conditions and templates compiled.

use std::{fmt, sync::Arc, time::Duration};

use colloquy_types::{FlowName, Revision};

use crate::{
    acts::ActPatterns,
    busy::BusyPolicy,
    calls::{Argument, Patience},
    classify::{Likeness, Signal},
    condition::Condition,
    guard::Guard,
    json::Json,
    pattern::Pattern,
    planner::PlannerPart,
    prompt::PromptPart,
    redact::Redaction,
    schema::Schema,
    scripted::Scripts,
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
    /// How many actions may run in one turn.
    pub action_calls: u8,
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
            action_calls: 8,
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
    /// Whether recognising it starts the conversation over.
    pub reset: bool,
    /// What users know it as.
    pub label: Name,
    /// What it is for, told to models; empty when not given.
    pub description: Name,
    /// Patterns by which it is chosen among several, besides its label.
    pub choice: Vec<Pattern>,
    /// How sure another intent must be to take over from it, in percent; none leaves it to the flow.
    pub sticky: Option<u8>,
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
    /// What it collects until, and where it then leads.
    pub until: Option<UntilPart>,
}

/// A state that collects until it is complete, then leads on.
#[derive(Debug)]
pub struct UntilPart {
    /// When it is complete; none asks for every slot it collects.
    pub when: Option<Condition>,
    /// Where it then leads.
    pub go: Place,
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

/// When a rule runs, in the order of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RulePhase {
    /// Once the dialogue act is known.
    AfterDialogueAct,
    /// Once the intent is chosen.
    AfterIntent,
    /// Once enrichments are there.
    AfterEnrichment,
    /// Once slots are read: where most rules belong.
    AfterExtraction,
    /// Before staged actions run.
    BeforeAction,
    /// Once actions ran; what is staged here runs in the same turn.
    AfterAction,
    /// Once the conversation moved; may change slots and flags, but neither move nor act.
    BeforeResponse,
}

impl RulePhase {
    /// Every phase in order.
    pub const ALL: [Self; 7] = [
        Self::AfterDialogueAct,
        Self::AfterIntent,
        Self::AfterEnrichment,
        Self::AfterExtraction,
        Self::BeforeAction,
        Self::AfterAction,
        Self::BeforeResponse,
    ];

    /// The phase's name as flows write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfterDialogueAct => "after_dialogue_act",
            Self::AfterIntent => "after_intent",
            Self::AfterEnrichment => "after_enrichment",
            Self::AfterExtraction => "after_extraction",
            Self::BeforeAction => "before_action",
            Self::AfterAction => "after_action",
            Self::BeforeResponse => "before_response",
        }
    }

    /// The phase with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
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
    /// Starts the conversation over.
    Reset,
    /// Sets a timer, by its id, to fire after this long.
    Remind(Name, Duration),
    /// Drops a timer, by its id.
    Forget(Name),
}

/// A declared flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagPart {
    /// Its name.
    pub name: Name,
    /// Whether it is lowered again when the turn ends.
    pub one_turn: bool,
    /// Whether raising it starts the conversation over.
    pub reset: bool,
}

/// What is fetched from outside before slots are read.
#[derive(Debug)]
pub struct EnrichmentPart {
    /// Its name; conditions see it as `enrich.<name>`.
    pub name: Name,
    /// The source, as the settings name it.
    pub source: Name,
    /// Where it is fetched.
    pub scope: Scope,
    /// When; none means each turn there.
    pub when: Option<Condition>,
    /// What the source is asked with.
    pub arguments: Vec<(Name, Argument<Name>)>,
    /// How long and how often it is tried.
    pub patience: Patience,
    /// What stands in for it when it is late or fails.
    pub default: Option<Json>,
    /// Whether the result is kept in the conversation, as `data.<name>`, instead of being fetched each turn.
    pub keep: bool,
}

/// An action.
#[derive(Debug)]
pub struct ActionPart {
    /// Its name.
    pub name: Name,
    /// What it is for, told to models that may choose it; empty when not given.
    pub description: Name,
    /// What users know it as.
    pub label: Name,
    /// Patterns by which it is chosen among several, besides its label.
    pub choice: Vec<Pattern>,
    /// Where it may run.
    pub scope: Scope,
    /// Higher is asked about first when several wait for a confirmation.
    pub priority: i32,
    /// Slots it needs.
    pub slots: Vec<Name>,
    /// How it is confirmed; none runs it as soon as it is staged.
    pub confirm: Option<ConfirmPart>,
    /// The tool it calls; none only writes its results.
    pub tool: Option<ToolPart>,
    /// What it writes, where.
    pub results: Vec<(Name, ResultSource)>,
    /// Where the conversation goes when it ran.
    pub on_executed: Option<Place>,
    /// Where the conversation goes when the user refuses.
    pub on_rejected: Option<Place>,
    /// Where the conversation goes when it waited too long.
    pub on_expired: Option<Place>,
    /// Where the conversation goes when it failed.
    pub on_failed: Option<Place>,
}

/// A tool an action calls.
#[derive(Debug)]
pub struct ToolPart {
    /// The tool, as the settings name it.
    pub tool: Name,
    /// What it is called with.
    pub arguments: Vec<(Name, Argument<Name>)>,
    /// Whether it changes nothing in the world.
    pub read_only: bool,
    /// Whether calling it twice with one key acts once.
    pub idempotent: bool,
    /// How long and how often it is tried.
    pub patience: Patience,
    /// What its result must fit.
    pub schema: Option<Schema>,
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
    /// The value at this path of the tool's result; `.` is all of it.
    Path(Name),
}

/// A text of a response.
#[derive(Clone, Debug)]
pub enum ResponseText {
    /// Said as it stands.
    Exact(Name),
    /// Rendered.
    Template(TemplateRef),
    /// Written by a model.
    Model(Box<ModelText>),
}

/// A reply that a model writes.
#[derive(Clone, Debug)]
pub struct ModelText {
    /// The prompt's name.
    pub prompt: Name,
    /// Longest reply, in characters.
    pub chars_max: u32,
    /// What the answer must fit, when it is to be JSON.
    pub schema: Option<Schema>,
    /// Makes the reply of a JSON answer, which it sees as `answer`; none says the member `text`.
    pub say: Option<TemplateRef>,
    /// Said when the answer does not fit, even after one repair; none says what `failed` says.
    pub malformed: Option<Name>,
    /// Said when there is no answer; none says the flow's fallback.
    pub failed: Option<Name>,
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
    /// What a user interface may offer to say next.
    pub follow_ups: Vec<Name>,
}

/// How intents are understood.
#[derive(Debug, Default)]
pub struct Understanding {
    /// How alike a text and an example must be.
    pub likeness: Likeness,
    /// Asks which of several equal intents is meant; none takes the one declared first.
    pub collision: Option<ResponseText>,
    /// Asks a model when nothing else is sure enough.
    pub model: Option<ModelChoice>,
    /// How sure another intent must be to take over from the current one, in percent; none takes any.
    pub sticky: Option<u8>,
    /// Phrases that let another intent take over all the same.
    pub let_go: Vec<Pattern>,
}

/// How a model chooses among what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelChoice {
    /// The prompt's name.
    pub prompt: Name,
    /// The model is asked when patterns are less sure than this, in percent.
    pub below: u8,
    /// The model must be this sure, in percent.
    pub threshold: u8,
}

/// A summary that a model keeps of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryPart {
    /// The prompt's name.
    pub prompt: Name,
    /// It is made anew after this many turns.
    pub every_turns: u32,
    /// Longest summary, in characters.
    pub chars_max: u32,
}

/// What a user interface shows while a stage waits for something outside.
#[derive(Debug)]
pub struct ProgressPart {
    /// The stage's name.
    pub stage: Name,
    /// Where it is shown.
    pub scope: Scope,
    /// The message.
    pub text: Name,
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
    /// What is refused or flagged.
    pub guard: Guard,
    /// Patterns of the dialogue acts.
    pub acts: ActPatterns,
    /// Asks a model for the act when patterns are not sure enough.
    pub act_model: Option<ModelChoice>,
    /// How intents are understood.
    pub understanding: Understanding,
    /// Flags.
    pub flags: Vec<FlagPart>,
    /// Slots.
    pub slots: Vec<Slot>,
    /// The prompt by which a model reads slots.
    pub extract_prompt: Option<Name>,
    /// Intents, in declared order.
    pub intents: Vec<IntentPart>,
    /// Transitions.
    pub transitions: Vec<TransitionPart>,
    /// Rules, in declared order.
    pub rules: Vec<RulePart>,
    /// Enrichments, in declared order.
    pub enrichments: Vec<EnrichmentPart>,
    /// Actions.
    pub actions: Vec<ActionPart>,
    /// Planners, in declared order.
    pub planners: Vec<PlannerPart>,
    /// Responses, in declared order.
    pub responses: Vec<ResponsePart>,
    /// Prompts.
    pub prompts: Vec<PromptPart>,
    /// What never reaches a prompt.
    pub redaction: Redaction,
    /// The running summary.
    pub summary: Option<SummaryPart>,
    /// What a scripted model answers.
    pub scripts: Scripts,
    /// Progress messages.
    pub progress: Vec<ProgressPart>,
    /// How conversations of older revisions move to this one; the first that applies holds.
    pub upgrades: Vec<UpgradePart>,
    /// What becomes of turns that find the conversation busy, unless their callers say otherwise.
    pub busy: BusyPolicy,
    /// Said when nothing else can be.
    pub fallback: Name,
    /// Asks which of several pending actions is meant; may use `options`.
    pub clarify: ResponseText,
    /// The templates that texts and prompts refer to.
    pub templates: Templates,
}
