//! The entries of a flow's tables: what each holds, resolved to indexes.

use std::{collections::HashMap, sync::Arc, time::Duration};

pub use crate::parts::{ConfirmPart as Confirm, FlagPart as Flag, ResponseText as Text};
use crate::{
    calls::{Argument, Patience},
    classify::Classifier,
    condition::Condition,
    index::{ActionIx, EnrichmentIx, IntentIx, PlannerIx, ResponseIx, RuleIx, SlotIx, StateIx},
    json::Json,
    parts::{Name, ResultSource, RulePhase},
    pattern::Pattern,
    planner::Chosen,
    schema::Schema,
    transition::Targets,
    value::SlotValue,
};

/// An intent.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Its name.
    pub name: Name,
    /// The state it begins in.
    pub initial: StateIx,
    /// Whether it interrupts another intent and returns to it.
    pub digression: bool,
    /// Whether recognising it starts the conversation over.
    pub reset: bool,
    /// What users know it as.
    pub label: Name,
    /// What it is for, told to models; empty when not given.
    pub description: Name,
    /// How sure another intent must be to take over from it, in percent; none takes any.
    pub sticky: Option<u8>,
    pub(crate) choice: Vec<Pattern>,
    pub(crate) states: HashMap<Name, StateIx>,
    /// Slots that are read from the text in any of its states.
    pub collected: Vec<SlotIx>,
    /// Names of the slots it keeps, ordered.
    pub(crate) keep: Vec<Name>,
}

impl Intent {
    /// Whether `text` chooses it among several: by its label or a pattern.
    pub fn chosen_by(&self, text: &str) -> bool {
        chosen(&self.label, &self.choice, text)
    }

    /// Whether the slot named `slot` is kept while this intent is current or interrupted.
    pub fn keeps(&self, slot: &str) -> bool {
        self.keep.binary_search_by(|kept| kept.as_ref().cmp(slot)).is_ok()
    }
}

/// A state, with everything that can apply in it.
#[derive(Clone, Debug)]
pub struct State {
    /// Its intent.
    pub intent: IntentIx,
    /// Its intent's name.
    pub intent_name: Name,
    /// Its name.
    pub name: Name,
    /// `intent.state`.
    pub full_name: Name,
    /// Whether nothing is underway here.
    pub terminal: bool,
    /// Whether a conversation may move to another revision here.
    pub boundary: bool,
    /// Slots read from the text here.
    pub collect: Vec<SlotIx>,
    /// The same slots in the order they are asked for.
    pub asks: Vec<SlotIx>,
    /// What it collects until, and where it then leads.
    pub until: Option<Until>,
    /// What is fetched here.
    pub enrichments: Vec<EnrichmentIx>,
    /// Planners that work here, in declared order.
    pub planners: Vec<PlannerIx>,
    /// Recognises the intents that may be proposed here.
    pub(crate) classifier: Arc<Classifier>,
    /// Recognises its own intent, when nothing leads to the beginning of that.
    pub(crate) own_classifier: Option<Arc<Classifier>>,
    pub(crate) rules: [Vec<RuleIx>; RulePhase::ALL.len()],
    pub(crate) responses: Vec<ResponseIx>,
    pub(crate) resumes: Vec<ResponseIx>,
    pub(crate) targets: Targets,
}

/// A state that collects until it is complete, then leads on.
#[derive(Clone, Debug)]
pub struct Until {
    /// When it is complete; none asks for every slot it collects.
    pub when: Option<Condition>,
    /// Where it then leads.
    pub go: StateIx,
}

/// Something fetched from outside before slots are read.
#[derive(Clone, Debug)]
pub struct Enrichment {
    /// Its name.
    pub name: Name,
    /// The source, as the settings name it.
    pub source: Name,
    /// When; none means each turn there.
    pub when: Option<Condition>,
    /// What the source is asked with.
    pub arguments: Vec<(Name, Argument<SlotIx>)>,
    /// How long and how often it is tried.
    pub patience: Patience,
    /// What stands in for it when it is late or fails.
    pub default: Option<Json>,
    /// Whether the result is kept in the conversation instead of being fetched each turn.
    pub keep: bool,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its id.
    pub id: Name,
    /// When it runs.
    pub phase: RulePhase,
    /// Its condition; none holds always.
    pub when: Option<Condition>,
    /// What it does, in order.
    pub then: Vec<RuleEffect>,
}

/// One effect of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleEffect {
    /// Proposes a position.
    Go(StateIx),
    /// Fills a slot.
    Set(SlotIx, SlotValue),
    /// Empties a slot.
    Clear(SlotIx),
    /// Raises a flag.
    Flag(Name),
    /// Lowers a flag.
    Unflag(Name),
    /// Stages an action.
    Stage(ActionIx),
    /// Starts the conversation over.
    Reset,
    /// Sets a timer, by its id, to fire after this long.
    Remind(Name, Duration),
    /// Drops a timer, by its id.
    Forget(Name),
}

/// An action.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its name.
    pub name: Name,
    /// What it is for, told to models that may choose it; empty when not given.
    pub description: Name,
    /// What users know it as.
    pub label: Name,
    /// Slots it needs.
    pub slots: Vec<SlotIx>,
    /// Higher is asked about first when several wait for a confirmation.
    pub priority: i32,
    /// How it is confirmed; none runs it as soon as it is staged.
    pub confirm: Option<Confirm>,
    /// The tool it calls; none only writes its results.
    pub tool: Option<Tool>,
    /// What it writes, where.
    pub results: Vec<(SlotIx, ResultSource)>,
    /// Where the conversation goes when it ran.
    pub on_executed: Option<StateIx>,
    /// Where the conversation goes when the user refuses.
    pub on_rejected: Option<StateIx>,
    /// Where the conversation goes when it waited too long.
    pub on_expired: Option<StateIx>,
    /// Where the conversation goes when it failed.
    pub on_failed: Option<StateIx>,
    pub(crate) choice: Vec<Pattern>,
    /// Where it may run, ordered; none means everywhere.
    pub(crate) scope: Option<Vec<StateIx>>,
}

/// A tool an action calls.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The tool, as the settings name it.
    pub tool: Name,
    /// What it is called with.
    pub arguments: Vec<(Name, Argument<SlotIx>)>,
    /// Whether it changes nothing in the world.
    pub read_only: bool,
    /// Whether calling it twice with one key acts once.
    pub idempotent: bool,
    /// How long and how often it is tried.
    pub patience: Patience,
    /// What its result must fit.
    pub schema: Option<Schema>,
}

impl Tool {
    /// The arguments a model chooses.
    pub fn chosen(&self) -> impl Iterator<Item = (&Name, &Chosen)> {
        self.arguments.iter().filter_map(|(name, argument)| match argument {
            Argument::Chosen(chosen) => Some((name, chosen)),
            _ => None,
        })
    }
}

impl Action {
    /// Whether it may run in a state.
    pub fn in_scope(&self, state: StateIx) -> bool {
        self.scope.as_ref().is_none_or(|states| states.binary_search(&state).is_ok())
    }

    /// Whether `text` chooses it among several: by its label or a pattern.
    pub fn chosen_by(&self, text: &str) -> bool {
        chosen(&self.label, &self.choice, text)
    }
}

fn chosen(label: &str, patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(text)) || text.to_lowercase().contains(&label.to_lowercase())
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its condition; none holds always.
    pub when: Option<Condition>,
    /// What is said.
    pub text: Text,
    /// What a user interface may offer to say next.
    pub follow_ups: Vec<Name>,
}
