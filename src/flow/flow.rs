//! The compiled flow: tables indexed by intent and state, immutable and shared.

use std::{collections::HashMap, sync::Arc, time::Duration};

use colloquy_types::{FlowName, Revision};

pub use crate::parts::{ConfirmPart as Confirm, FlagPart as Flag, ResponseText as Text};
use crate::{
    acts::ActPatterns,
    calls::{Argument, Patience},
    classify::{Classification, Classifier, Likeness, Words, better},
    condition::Condition,
    guard::Guard,
    index::{ActionIx, EnrichmentIx, IntentIx, PlannerIx, ResponseIx, RuleIx, SlotIx, StateIx},
    json::Json,
    parts::{Limits, ModelChoice, Name, ResultSource, RulePhase, SummaryPart},
    pattern::{Pattern, PatternSet},
    planner::{Chosen, Planner},
    prompt::PromptPart,
    redact::Redaction,
    schema::Schema,
    scripted::Scripts,
    slot::Slot,
    template::Templates,
    transition::{By, ByMask, Targets},
    upgrade::Upgrade,
    value::SlotValue,
};

/// A compiled, immutable flow.
#[derive(Clone, Debug)]
pub struct Flow {
    pub(crate) name: FlowName,
    pub(crate) revision: Revision,
    pub(crate) start: StateIx,
    pub(crate) limits: Limits,
    pub(crate) guard: Guard,
    pub(crate) acts: ActPatterns,
    pub(crate) act_model: Option<ModelChoice>,
    pub(crate) intent_model: Option<ModelChoice>,
    pub(crate) collision: Option<Text>,
    pub(crate) let_go: PatternSet,
    pub(crate) likeness: Likeness,
    pub(crate) flags: HashMap<Name, Flag>,
    pub(crate) turn_flags: Vec<Name>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) extract_prompt: Option<Name>,
    pub(crate) intents: Vec<Intent>,
    pub(crate) states: Vec<State>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) enrichments: Vec<Enrichment>,
    pub(crate) actions: Vec<Action>,
    pub(crate) planners: Vec<Planner>,
    pub(crate) responses: Vec<Response>,
    pub(crate) prompts: HashMap<Name, PromptPart>,
    pub(crate) redaction: Redaction,
    pub(crate) summary: Option<SummaryPart>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) progress: Vec<(Name, Vec<StateIx>, Name)>,
    pub(crate) history: (u16, u32),
    pub(crate) upgrades: Vec<Upgrade>,
    pub(crate) fallback: Name,
    pub(crate) clarify: Text,
    pub(crate) templates: Templates,
    pub(crate) intents_by_name: HashMap<Name, IntentIx>,
    pub(crate) slots_by_name: HashMap<Name, SlotIx>,
    pub(crate) actions_by_name: HashMap<Name, ActionIx>,
}

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

macro_rules! table {
    ($($(#[$doc:meta])* $method:ident($index:ty) -> $field:ident: $item:ty;)+) => {
        $(
            $(#[$doc])*
            #[expect(clippy::indexing_slicing, reason = "an index is only made by the flow whose table it points into")]
            pub fn $method(&self, index: $index) -> &$item {
                &self.$field[index.at()]
            }
        )+
    };
}

impl Flow {
    table! {
        /// An intent. Like every index, it must come from this flow.
        intent(IntentIx) -> intents: Intent;
        /// A state.
        state(StateIx) -> states: State;
        /// A slot.
        slot(SlotIx) -> slots: Slot;
        /// A rule.
        rule(RuleIx) -> rules: Rule;
        /// An enrichment.
        enrichment(EnrichmentIx) -> enrichments: Enrichment;
        /// An action.
        action(ActionIx) -> actions: Action;
        /// A planner.
        planner(PlannerIx) -> planners: Planner;
        /// A response.
        response(ResponseIx) -> responses: Response;
    }

    /// The flow's name.
    pub fn name(&self) -> &FlowName {
        &self.name
    }

    /// Hash of format version and normalised source.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The state conversations begin in.
    pub fn start_state(&self) -> StateIx {
        self.start
    }

    /// Names of the intent and state conversations begin in.
    pub fn start(&self) -> (&Name, &Name) {
        let state = self.state(self.start);
        (&state.intent_name, &state.name)
    }

    /// The same flow with these bounds. Everything else is copied.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// Bounds of one turn.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What a turn may take when its client sets no deadline.
    pub fn turn_deadline(&self) -> Duration {
        self.limits.turn_deadline
    }

    /// What is refused or flagged.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Asks a model for the dialogue act when patterns are not sure enough.
    pub fn act_model(&self) -> Option<&ModelChoice> {
        self.act_model.as_ref()
    }

    /// Asks a model for the intent when nothing else is sure enough.
    pub fn intent_model(&self) -> Option<&ModelChoice> {
        self.intent_model.as_ref()
    }

    /// Asks which of several equal intents is meant; none takes the one declared first.
    pub fn collision(&self) -> Option<&Text> {
        self.collision.as_ref()
    }

    /// Whether `text` lets go of the current intent.
    pub fn lets_go(&self, text: &str) -> bool {
        !self.let_go.is_empty() && self.let_go.is_match(text)
    }

    /// A flag.
    pub fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.get(name)
    }

    /// The flags that are lowered again when a turn ends, ordered.
    pub fn turn_flags(&self) -> &[Name] {
        &self.turn_flags
    }

    /// A prompt.
    pub fn prompt(&self, name: &str) -> Option<&PromptPart> {
        self.prompts.get(name)
    }

    /// The prompt by which a model reads slots.
    pub fn extract_prompt(&self) -> Option<&PromptPart> {
        self.extract_prompt.as_ref().and_then(|name| self.prompts.get(name))
    }

    /// What never reaches a prompt.
    pub fn redaction(&self) -> &Redaction {
        &self.redaction
    }

    /// The running summary.
    pub fn summary(&self) -> Option<&SummaryPart> {
        self.summary.as_ref()
    }

    /// How many turns and estimated tokens of what was said any prompt wants; both 0 when none does.
    pub fn history(&self) -> (u16, u32) {
        self.history
    }

    /// What a scripted model answers.
    pub const fn scripts(&self) -> &Arc<Scripts> {
        &self.scripts
    }

    /// What a user interface shows while a stage waits in a state; the most particular message wins.
    pub fn progress(&self, stage: &str, state: StateIx) -> Option<&Name> {
        let shown = self
            .progress
            .iter()
            .filter(|(named, states, _)| named.as_ref() == stage && states.binary_search(&state).is_ok());
        shown.min_by_key(|(_, states, _)| states.len()).map(|(_, _, text)| text)
    }

    /// The intent `text` is about, of those that may be proposed in a state and its own: the highest priority,
    /// then a pattern before keywords before examples, then more keywords before fewer and the closer example,
    /// then the order of declaration.
    pub fn classify(&self, state: StateIx, text: &str, words: &Words) -> Option<Classification> {
        let state = self.state(state);
        let reached = state.classifier.classify(text, words);
        match &state.own_classifier {
            None => reached,
            Some(own) => better(reached, own.classify(text, words), self.likeness),
        }
    }

    /// The intents a model may choose in a state, the current one included, by the order of their states.
    pub fn model_intents(&self, state: StateIx) -> Vec<IntentIx> {
        let here = self.state(state);
        let reached = here
            .targets
            .iter()
            .filter(|(to, by)| by.allows(By::Model) && self.intent(self.state(*to).intent).initial == *to);
        let mut intents: Vec<IntentIx> = reached.map(|(to, _)| self.state(to).intent).collect();
        intents.push(here.intent);
        intents.sort_unstable();
        intents.dedup();
        intents
    }

    /// Patterns of the dialogue acts.
    pub fn acts(&self) -> &ActPatterns {
        &self.acts
    }

    /// Said when nothing else can be.
    pub fn fallback(&self) -> &Name {
        &self.fallback
    }

    /// Asks which of several pending actions is meant.
    pub fn clarify(&self) -> &Text {
        &self.clarify
    }

    /// The flow's templates.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The state named `intent.state`, if this revision has it.
    pub fn find_state(&self, intent: &str, state: &str) -> Option<StateIx> {
        self.intent(*self.intents_by_name.get(intent)?).states.get(state).copied()
    }

    /// The slot with this name.
    pub fn find_slot(&self, name: &str) -> Option<SlotIx> {
        self.slots_by_name.get(name).copied()
    }

    /// The intent with this name.
    pub fn find_intent(&self, name: &str) -> Option<IntentIx> {
        self.intents_by_name.get(name).copied()
    }

    /// The action with this name.
    pub fn find_action(&self, name: &str) -> Option<ActionIx> {
        self.actions_by_name.get(name).copied()
    }

    /// Whether this revision declares the flag.
    pub fn has_flag(&self, name: &str) -> bool {
        self.flags.contains_key(name)
    }

    /// Whether what an enrichment of this name fetched is kept from turn to turn.
    pub fn keeps_data(&self, name: &str) -> bool {
        self.enrichments.iter().any(|enrichment| enrichment.name.as_ref() == name && enrichment.keep)
    }

    /// The declared mapping for conversations of `revision`; the first that applies.
    pub fn upgrade_from(&self, revision: Revision) -> Option<&Upgrade> {
        self.upgrades.iter().find(|upgrade| upgrade.from.applies(revision))
    }

    /// Whether a move is declared for this proposer. A state is always allowed to stay as it is.
    pub fn allows(&self, from: StateIx, to: StateIx, by: By) -> bool {
        from == to || self.by_mask(from, to).allows(by)
    }

    /// Who may propose the move between two states.
    pub fn by_mask(&self, from: StateIx, to: StateIx) -> ByMask {
        self.state(from).targets.mask(to)
    }

    /// The rules of a phase that apply in a state, in the order they run.
    pub fn rules_in(&self, state: StateIx, phase: RulePhase) -> impl Iterator<Item = (RuleIx, &Rule)> {
        let rules = self.state(state).rules.get(phase as usize).map(Vec::as_slice).unwrap_or_default();
        rules.iter().map(|rule| (*rule, self.rule(*rule)))
    }

    /// The replies of a state: its own in declared order, then those that apply everywhere.
    pub fn responses_in(&self, state: StateIx) -> impl Iterator<Item = &Response> {
        self.state(state).responses.iter().map(|response| self.response(*response))
    }

    /// What is said when a state is taken up again after an interruption.
    pub fn resumes_in(&self, state: StateIx) -> impl Iterator<Item = &Response> {
        self.state(state).resumes.iter().map(|response| self.response(*response))
    }

    /// All intents, in declared order.
    pub fn intents(&self) -> impl Iterator<Item = (IntentIx, &Intent)> {
        self.intents.iter().enumerate().map(|(place, intent)| (IntentIx(crate::classify::number(place)), intent))
    }

    /// All actions, in declared order.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// All planners, in declared order.
    pub fn planners(&self) -> &[Planner] {
        &self.planners
    }

    /// All slots, in declared order.
    pub fn slots(&self) -> impl Iterator<Item = (SlotIx, &Slot)> {
        self.slots.iter().enumerate().map(|(place, slot)| (SlotIx(crate::classify::number(place)), slot))
    }

    /// All states, in declared order.
    pub fn states(&self) -> impl Iterator<Item = (StateIx, &State)> {
        self.states.iter().enumerate().map(|(place, state)| (StateIx(crate::classify::number(place)), state))
    }

    /// All declared transitions, ordered by the states' declaration.
    pub fn transitions(&self) -> impl Iterator<Item = (StateIx, StateIx, ByMask)> + '_ {
        self.states().flat_map(|(from, state)| state.targets.iter().map(move |(to, by)| (from, to, by)))
    }
}
