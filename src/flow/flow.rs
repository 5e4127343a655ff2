//! The compiled flow: tables indexed by intent and state, immutable and shared. What the tables hold is in
//! [`crate::entries`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use colloquy_types::{FlowName, Revision};

use crate::{
    acts::ActPatterns,
    busy::BusyPolicy,
    classify::{Classification, Likeness, Words, better},
    entries::{Action, Enrichment, Flag, Intent, Response, Rule, State, Text},
    guard::Guard,
    index::{ActionIx, EnrichmentIx, IntentIx, PlannerIx, ResponseIx, RuleIx, SlotIx, StateIx},
    parts::{Limits, ModelChoice, Name, RulePhase, SummaryPart},
    pattern::PatternSet,
    planner::Planner,
    prompt::PromptPart,
    redact::Redaction,
    scripted::Scripts,
    slot::Slot,
    template::Templates,
    transition::{By, ByMask},
    upgrade::Upgrade,
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
    pub(crate) timers: Vec<Name>,
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
    pub(crate) busy: BusyPolicy,
    pub(crate) fallback: Name,
    pub(crate) clarify: Text,
    pub(crate) templates: Templates,
    pub(crate) intents_by_name: HashMap<Name, IntentIx>,
    pub(crate) slots_by_name: HashMap<Name, SlotIx>,
    pub(crate) actions_by_name: HashMap<Name, ActionIx>,
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

    /// Whether a rule sets the timer.
    pub fn sets_timer(&self, id: &str) -> bool {
        self.timers.iter().any(|timer| timer.as_ref() == id)
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

    /// What becomes of turns that find the conversation busy, unless their callers say otherwise.
    pub const fn busy(&self) -> BusyPolicy {
        self.busy
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
