//! A flow as it was written: everything by name and with its place, patterns and conditions compiled.

use std::sync::Arc;

use colloquy_flow::{
    Condition, Limits, Name, Pattern, Place, RulePhase, Signal, SlotKind, SlotValue,
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
    pub(crate) fallback: Option<Arc<str>>,
    pub(crate) clarify: Option<At<String>>,
    pub(crate) limits: Limits,
    pub(crate) affirm: Vec<Pattern>,
    pub(crate) negate: Vec<Pattern>,
    pub(crate) reset: Vec<Pattern>,
    pub(crate) flags: Vec<At<Name>>,
    pub(crate) slots: Vec<SourceSlot>,
    pub(crate) intents: Vec<SourceIntent>,
    pub(crate) transitions: Vec<SourceTransition>,
    pub(crate) rules: Vec<SourceRule>,
    pub(crate) actions: Vec<SourceAction>,
    pub(crate) responses: Vec<SourceResponse>,
    pub(crate) upgrades: Vec<SourceUpgrade>,
    /// Where the flow as a whole stands.
    pub(crate) mark: Mark,
}

#[derive(Debug)]
pub(crate) struct SourceSlot {
    pub(crate) name: At<Name>,
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
}

#[derive(Debug)]
pub(crate) struct SourceAction {
    pub(crate) name: At<Name>,
    pub(crate) label: Arc<str>,
    pub(crate) slots: Vec<At<Name>>,
    pub(crate) confirm: Option<ConfirmPart>,
    pub(crate) results: Vec<(At<Name>, SourceResult)>,
    pub(crate) on_executed: Option<At<Place>>,
    pub(crate) on_rejected: Option<At<Place>>,
    pub(crate) on_expired: Option<At<Place>>,
}

#[derive(Debug)]
pub(crate) enum SourceResult {
    Given(ResultSource),
    Value(At<String>),
}

#[derive(Debug)]
pub(crate) struct SourceResponse {
    pub(crate) scope: Written,
    pub(crate) when: Option<At<Condition>>,
    pub(crate) text: SourceText,
}

#[derive(Debug)]
pub(crate) enum SourceText {
    Exact(Arc<str>),
    Template(At<String>),
    Resume(At<String>),
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

    pub(crate) fn slot(&self, name: &str) -> Option<&SourceSlot> {
        self.slots.iter().find(|slot| slot.name.value.as_ref() == name)
    }

    pub(crate) fn intent(&self, name: &str) -> Option<&SourceIntent> {
        self.intents.iter().find(|intent| intent.name.value.as_ref() == name)
    }

    pub(crate) fn action(&self, name: &str) -> Option<&SourceAction> {
        self.actions.iter().find(|action| action.name.value.as_ref() == name)
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
