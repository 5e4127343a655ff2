//! A flow as it was written: everything by name and with its place, patterns and conditions compiled.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use colloquy_flow::{
    ActPattern, BusyPolicy, Chosen, Condition, HistoryWindow, Json, Likeness, Limits, ModelChoice, Name, Patience,
    Pattern, Place, Purpose, RulePhase, Schema, ScriptedRule, Signal, SlotKind, SlotScope, SlotValue, SteeringSign,
    SummaryPart, Trigger,
    parts::{ConfirmPart, ResultSource},
    transition::ByMask,
    upgrade::UpgradeFrom,
};
use colloquy_types::FlowName;

use crate::{
    fault::{At, Mark},
    reader::Written,
};

/// The written flow.
#[derive(Debug)]
pub(crate) struct SourceFlow {
    pub(crate) name: Option<FlowName>,
    pub(crate) start: Option<At<Place>>,
    pub(crate) busy: BusyPolicy,
    pub(crate) fallback: Option<Arc<str>>,
    pub(crate) clarify: Option<At<String>>,
    pub(crate) limits: Limits,
    pub(crate) guard: SourceGuard,
    pub(crate) acts: Vec<ActPattern>,
    pub(crate) act_model: Option<At<ModelChoice>>,
    pub(crate) understanding: SourceUnderstanding,
    pub(crate) flags: Vec<SourceFlag>,
    pub(crate) slots: Vec<SourceSlot>,
    pub(crate) extract_prompt: Option<At<Name>>,
    pub(crate) intents: Vec<SourceIntent>,
    pub(crate) transitions: Vec<SourceTransition>,
    pub(crate) rules: Vec<SourceRule>,
    pub(crate) enrichments: Vec<SourceEnrichment>,
    pub(crate) actions: Vec<SourceAction>,
    pub(crate) planners: Vec<SourcePlanner>,
    pub(crate) responses: Vec<SourceResponse>,
    pub(crate) upgrades: Vec<SourceUpgrade>,
    pub(crate) prompts: Vec<SourcePrompt>,
    pub(crate) secret_keys: Vec<String>,
    pub(crate) secret_patterns: Vec<Pattern>,
    pub(crate) summary: Option<At<SummaryPart>>,
    pub(crate) progress: Vec<SourceProgress>,
    pub(crate) scripted: Vec<SourceScripted>,
    /// Where the flow as a whole stands.
    pub(crate) mark: Mark,
    /// Where each name stands in its table; made by [`SourceFlow::index`].
    pub(crate) names: SourceNames,
}

/// Places by name. Of what is declared twice, the first.
#[derive(Debug, Default)]
pub(crate) struct SourceNames {
    slots: HashMap<Name, usize>,
    intents: HashMap<Name, usize>,
    enrichments: HashMap<Name, usize>,
    actions: HashMap<Name, usize>,
    prompts: HashMap<Name, usize>,
    flags: HashMap<Name, usize>,
    timers: BTreeMap<Name, Mark>,
}

fn places<'s>(names: impl Iterator<Item = &'s At<Name>>) -> HashMap<Name, usize> {
    let mut places = HashMap::new();
    for (place, name) in names.enumerate() {
        places.entry(Arc::clone(&name.value)).or_insert(place);
    }
    places
}

#[derive(Debug, Default)]
pub(crate) struct SourceGuard {
    pub(crate) policies: Vec<SourcePolicy>,
    pub(crate) steering: Option<SourceSteering>,
}

#[derive(Debug)]
pub(crate) struct SourcePolicy {
    pub(crate) id: At<Name>,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) consequence: SourceConsequence,
}

#[derive(Debug)]
pub(crate) enum SourceConsequence {
    Block(Name),
    Flag(At<Name>),
}

#[derive(Debug)]
pub(crate) struct SourceSteering {
    pub(crate) signs: Vec<SteeringSign>,
    pub(crate) flag_at: Option<(u8, At<Name>)>,
    pub(crate) block_at: Option<(u8, Name)>,
}

#[derive(Debug, Default)]
pub(crate) struct SourceUnderstanding {
    pub(crate) likeness: Likeness,
    pub(crate) collision: Option<SourceText>,
    pub(crate) model: Option<At<ModelChoice>>,
    pub(crate) sticky: Option<u8>,
    pub(crate) let_go: Vec<Pattern>,
}

#[derive(Debug)]
pub(crate) struct SourceFlag {
    pub(crate) name: At<Name>,
    pub(crate) one_turn: bool,
    pub(crate) reset: bool,
}

#[derive(Debug)]
pub(crate) struct SourceEnrichment {
    pub(crate) name: At<Name>,
    pub(crate) source: Name,
    pub(crate) scope: Written,
    pub(crate) when: Option<At<Condition>>,
    pub(crate) arguments: Vec<(Name, SourceArgument)>,
    pub(crate) patience: Patience,
    /// Whether the time it may take was written down.
    pub(crate) has_timeout: bool,
    pub(crate) default: Option<Json>,
    pub(crate) keep: bool,
}

#[derive(Debug)]
pub(crate) enum SourceArgument {
    Value(Json),
    Slot(At<Name>),
    Template(At<String>),
    Chosen(At<Chosen>),
}

#[derive(Debug)]
pub(crate) struct SourcePrompt {
    pub(crate) name: At<Name>,
    pub(crate) purpose: Purpose,
    pub(crate) system: Option<At<String>>,
    pub(crate) user: At<String>,
    pub(crate) variables: Vec<At<Name>>,
    pub(crate) history: HistoryWindow,
    pub(crate) patience: Patience,
    pub(crate) tokens_max: u32,
}

#[derive(Debug)]
pub(crate) struct SourceProgress {
    pub(crate) stage: Name,
    pub(crate) scope: Written,
    pub(crate) text: Name,
}

/// A rule of a scripted model; its prompt is checked by the mark, the rest is as it will be.
#[derive(Debug)]
pub(crate) struct SourceScripted {
    pub(crate) prompt: Option<At<Name>>,
    pub(crate) rule: ScriptedRule,
}

#[derive(Debug)]
pub(crate) struct SourceSlot {
    pub(crate) name: At<Name>,
    pub(crate) description: Name,
    pub(crate) scope: SlotScope,
    pub(crate) asked_only: bool,
    pub(crate) by_model: bool,
    pub(crate) secret: bool,
    pub(crate) kind: SlotKind,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) has_extract: bool,
}

#[derive(Debug)]
pub(crate) struct SourceIntent {
    pub(crate) name: At<Name>,
    pub(crate) priority: i32,
    pub(crate) signals: Vec<Signal>,
    pub(crate) initial: Option<At<Name>>,
    pub(crate) digression: bool,
    pub(crate) reset: bool,
    pub(crate) label: Name,
    pub(crate) description: Name,
    pub(crate) choice: Vec<Pattern>,
    pub(crate) sticky: Option<u8>,
    pub(crate) collect: Vec<At<Name>>,
    pub(crate) keep: Vec<At<Name>>,
    pub(crate) states: Vec<SourceState>,
}

#[derive(Debug)]
pub(crate) struct SourceState {
    pub(crate) name: At<Name>,
    pub(crate) terminal: bool,
    pub(crate) boundary: bool,
    pub(crate) collect: Vec<At<Name>>,
    pub(crate) until: Option<SourceUntil>,
}

#[derive(Debug)]
pub(crate) struct SourceUntil {
    pub(crate) when: Option<At<Condition>>,
    pub(crate) go: At<Place>,
}

#[derive(Debug)]
pub(crate) struct SourceTransition {
    pub(crate) from: Written,
    pub(crate) to: At<Place>,
    pub(crate) by: ByMask,
}

#[derive(Debug)]
pub(crate) struct SourceRule {
    pub(crate) id: At<Name>,
    pub(crate) phase: RulePhase,
    pub(crate) priority: i32,
    pub(crate) scope: Written,
    pub(crate) when: Option<At<Condition>>,
    pub(crate) then: Vec<SourceEffect>,
}

#[derive(Debug)]
pub(crate) enum SourceEffect {
    Go(At<Place>),
    Intent(At<Name>),
    Set(At<Name>, At<String>),
    Clear(At<Name>),
    Flag(At<Name>),
    Unflag(At<Name>),
    Stage(At<Name>),
    Reset,
    Remind(At<Name>, Duration),
    Forget(At<Name>),
}

#[derive(Debug)]
pub(crate) struct SourceAction {
    pub(crate) name: At<Name>,
    pub(crate) description: Name,
    pub(crate) label: Arc<str>,
    pub(crate) choice: Vec<Pattern>,
    pub(crate) scope: Option<Written>,
    pub(crate) priority: i32,
    pub(crate) slots: Vec<At<Name>>,
    pub(crate) confirm: Option<ConfirmPart>,
    /// Whether it is written that it needs no confirmation.
    pub(crate) unconfirmed: bool,
    pub(crate) tool: Option<SourceTool>,
    pub(crate) results: Vec<(At<Name>, SourceResult)>,
    pub(crate) on_executed: Option<At<Place>>,
    pub(crate) on_rejected: Option<At<Place>>,
    pub(crate) on_expired: Option<At<Place>>,
    pub(crate) on_failed: Option<At<Place>>,
}

#[derive(Debug)]
pub(crate) struct SourceTool {
    pub(crate) tool: Name,
    pub(crate) arguments: Vec<(Name, SourceArgument)>,
    pub(crate) read_only: bool,
    pub(crate) idempotent: bool,
    pub(crate) patience: Patience,
    pub(crate) has_timeout: bool,
    pub(crate) schema: Option<Schema>,
}

#[derive(Debug)]
pub(crate) struct SourcePlanner {
    pub(crate) name: At<Name>,
    pub(crate) scope: Written,
    pub(crate) when: Option<At<Condition>>,
    pub(crate) prompt: At<Name>,
    pub(crate) tools: Vec<At<Name>>,
    pub(crate) calls: u8,
}

impl SourceTool {
    /// The first of its arguments that a model chooses: only a planner may call it then.
    pub(crate) fn chosen(&self) -> Option<&At<Chosen>> {
        self.arguments.iter().find_map(|(_, argument)| match argument {
            SourceArgument::Chosen(chosen) => Some(chosen),
            _ => None,
        })
    }
}

#[derive(Debug)]
pub(crate) enum SourceResult {
    Given(ResultSource),
    Value(At<String>),
}

#[derive(Debug)]
pub(crate) struct SourceResponse {
    pub(crate) mark: Mark,
    pub(crate) scope: Written,
    pub(crate) when: Option<At<Condition>>,
    pub(crate) text: SourceText,
    pub(crate) follow_ups: Vec<Name>,
}

#[derive(Debug)]
pub(crate) enum SourceText {
    Exact(Arc<str>),
    Template(At<String>),
    Resume(At<String>),
    Model(Box<SourceModelText>),
}

#[derive(Debug)]
pub(crate) struct SourceModelText {
    pub(crate) prompt: At<Name>,
    pub(crate) chars_max: u32,
    pub(crate) schema: Option<Schema>,
    pub(crate) say: Option<At<String>>,
    pub(crate) malformed: Option<Name>,
    pub(crate) failed: Option<Name>,
}

/// One entry of `upgrades`. The old names are another revision's: only the new ones can be checked.
#[derive(Debug)]
pub(crate) struct SourceUpgrade {
    pub(crate) from: UpgradeFrom,
    pub(crate) states: Vec<(Place, At<Place>)>,
    pub(crate) slots: Vec<(Name, Option<At<Name>>)>,
    pub(crate) flags: Vec<(Name, Option<At<Name>>)>,
    pub(crate) mark: Mark,
}

impl SourceFlow {
    /// Every position, in declared order.
    pub(crate) fn places(&self) -> Vec<Place> {
        let states = self.intents.iter().flat_map(|intent| intent.states.iter().map(move |state| (intent, state)));
        states
            .map(|(intent, state)| Place {
                intent: Arc::clone(&intent.name.value),
                state: Arc::clone(&state.name.value),
            })
            .collect()
    }

    /// Enters every name in the tables that the lookups below use.
    pub(crate) fn index(mut self) -> Self {
        self.names = SourceNames {
            slots: places(self.slots.iter().map(|slot| &slot.name)),
            intents: places(self.intents.iter().map(|intent| &intent.name)),
            enrichments: places(self.enrichments.iter().map(|enrichment| &enrichment.name)),
            actions: places(self.actions.iter().map(|action| &action.name)),
            prompts: places(self.prompts.iter().map(|prompt| &prompt.name)),
            flags: places(self.flags.iter().map(|flag| &flag.name)),
            timers: self.reminders().map(|id| (Arc::clone(&id.value), id.mark.clone())).rev().collect(),
        };
        self
    }

    pub(crate) fn slot(&self, name: &str) -> Option<&SourceSlot> {
        self.names.slots.get(name).and_then(|place| self.slots.get(*place))
    }

    pub(crate) fn intent(&self, name: &str) -> Option<&SourceIntent> {
        self.names.intents.get(name).and_then(|place| self.intents.get(*place))
    }

    pub(crate) fn enrichment(&self, name: &str) -> Option<&SourceEnrichment> {
        self.names.enrichments.get(name).and_then(|place| self.enrichments.get(*place))
    }

    pub(crate) fn prompt(&self, name: &str) -> Option<&SourcePrompt> {
        self.names.prompts.get(name).and_then(|place| self.prompts.get(*place))
    }

    pub(crate) fn action(&self, name: &str) -> Option<&SourceAction> {
        self.names.actions.get(name).and_then(|place| self.actions.get(*place))
    }

    pub(crate) fn has_flag(&self, name: &str) -> bool {
        self.names.flags.contains_key(name)
    }

    /// The ids of the timers that rules set, each as often as they do.
    fn reminders(&self) -> impl DoubleEndedIterator<Item = &At<Name>> {
        self.rules.iter().flat_map(|rule| &rule.then).filter_map(|effect| match effect {
            SourceEffect::Remind(id, _) => Some(id),
            _ => None,
        })
    }

    /// The timers that rules set, ordered by id, and where each is set first.
    pub(crate) fn timers(&self) -> &BTreeMap<Name, Mark> {
        &self.names.timers
    }

    /// The value a slot would hold, read from what was written.
    pub(crate) fn value_of(&self, slot: &str, written: &str) -> Option<SlotValue> {
        self.slot(slot)?.kind.parse(written)
    }
}

impl SourceIntent {
    /// Whether the slot survives while this intent is current.
    pub(crate) fn keeps(&self, slot: &str) -> bool {
        let collected = self.states.iter().flat_map(|state| &state.collect);
        self.keep.iter().chain(&self.collect).chain(collected).any(|kept| kept.value.as_ref() == slot)
    }
}
