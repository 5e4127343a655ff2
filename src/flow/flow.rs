//! The compiled flow: tables indexed by intent and state, immutable and shared.

use std::{collections::HashMap, sync::Arc, time::Duration};

use colloquy_types::{FlowName, Revision};

pub use crate::parts::{ConfirmPart as Confirm, ResponseText as Text};
use crate::{
    classify::{ActPatterns, Classifier},
    condition::Condition,
    index::{ActionIx, IntentIx, ResponseIx, RuleIx, SlotIx, StateIx},
    parts::{Limits, Name, ResultSource, RulePhase},
    slot::Slot,
    template::Templates,
    transition::{By, ByMask, Targets},
    upgrade::Upgrade,
    value::SlotValue,
};

/// A compiled, immutable flow.
#[derive(Debug)]
pub struct Flow {
    pub(crate) name: FlowName,
    pub(crate) revision: Revision,
    pub(crate) start: StateIx,
    pub(crate) limits: Limits,
    pub(crate) acts: ActPatterns,
    pub(crate) slots: Vec<Slot>,
    pub(crate) intents: Vec<Intent>,
    pub(crate) states: Vec<State>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) actions: Vec<Action>,
    pub(crate) responses: Vec<Response>,
    pub(crate) flags: Vec<Name>,
    pub(crate) upgrades: Vec<Upgrade>,
    pub(crate) fallback: Name,
    pub(crate) clarify: Text,
    pub(crate) templates: Templates,
    pub(crate) intents_by_name: HashMap<Name, IntentIx>,
    pub(crate) slots_by_name: HashMap<Name, SlotIx>,
    pub(crate) actions_by_name: HashMap<Name, ActionIx>,
}

/// An intent.
#[derive(Debug)]
pub struct Intent {
    /// Its name.
    pub name: Name,
    /// The state it begins in.
    pub initial: StateIx,
    /// Whether it interrupts another intent and returns to it.
    pub digression: bool,
    pub(crate) states: HashMap<Name, StateIx>,
    /// Slots that are read from the text in any of its states.
    pub collected: Vec<SlotIx>,
    /// Names of the slots it keeps, ordered.
    pub(crate) keep: Vec<Name>,
}

impl Intent {
    /// Whether the slot named `slot` is kept while this intent is current or interrupted.
    pub fn keeps(&self, slot: &str) -> bool {
        self.keep.binary_search_by(|kept| kept.as_ref().cmp(slot)).is_ok()
    }
}

/// A state, with everything that can apply in it.
#[derive(Debug)]
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
    /// Recognises the intents that may be proposed here.
    pub classifier: Arc<Classifier>,
    pub(crate) rules: Vec<RuleIx>,
    pub(crate) responses: Vec<ResponseIx>,
    pub(crate) resumes: Vec<ResponseIx>,
    pub(crate) targets: Targets,
}

/// A rule.
#[derive(Debug)]
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
}

/// An action.
#[derive(Debug)]
pub struct Action {
    /// Its name.
    pub name: Name,
    /// What users know it as.
    pub label: Name,
    /// Slots it needs.
    pub slots: Vec<SlotIx>,
    /// How it is confirmed; none runs it as soon as it is staged.
    pub confirm: Option<Confirm>,
    /// What it writes, where.
    pub results: Vec<(SlotIx, ResultSource)>,
    /// Where the conversation goes when it ran.
    pub on_executed: Option<StateIx>,
    /// Where the conversation goes when the user refuses.
    pub on_rejected: Option<StateIx>,
    /// Where the conversation goes when it waited too long.
    pub on_expired: Option<StateIx>,
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// Its condition; none holds always.
    pub when: Option<Condition>,
    /// What is said.
    pub text: Text,
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
        /// An action.
        action(ActionIx) -> actions: Action;
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

    /// Bounds of one turn.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What a turn may take when its client sets no deadline.
    pub fn turn_deadline(&self) -> Duration {
        self.limits.turn_deadline
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
        self.flags.binary_search_by(|flag| flag.as_ref().cmp(name)).is_ok()
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

    /// The rules that apply in a state, in the order they run.
    pub fn rules_in(&self, state: StateIx) -> impl Iterator<Item = (RuleIx, &Rule)> {
        self.state(state).rules.iter().map(|rule| (*rule, self.rule(*rule)))
    }

    /// The replies of a state: its own in declared order, then those that apply everywhere.
    pub fn responses_in(&self, state: StateIx) -> impl Iterator<Item = &Response> {
        self.state(state).responses.iter().map(|response| self.response(*response))
    }

    /// What is said when a state is taken up again after an interruption.
    pub fn resumes_in(&self, state: StateIx) -> impl Iterator<Item = &Response> {
        self.state(state).resumes.iter().map(|response| self.response(*response))
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
