//! What every name of the parts stands for.

use std::{collections::HashMap, sync::Arc};

use super::AssembleError;
use crate::{
    classify::number,
    index::{ActionIx, IntentIx, SlotIx, StateIx},
    parts::{FlowParts, Name, Place, Scope},
};

/// The index of every name.
pub(super) struct Names {
    pub(super) intents: HashMap<Name, IntentIx>,
    pub(super) slots: HashMap<Name, SlotIx>,
    pub(super) actions: HashMap<Name, ActionIx>,
    pub(super) states: HashMap<Place, StateIx>,
    /// Every state in declared order.
    pub(super) places: Vec<Place>,
}

fn table<'n, Ix>(
    kind: &'static str,
    names: impl Iterator<Item = &'n Name>,
    index: impl Fn(u16) -> Ix,
) -> Result<HashMap<Name, Ix>, AssembleError> {
    let mut table = HashMap::new();
    for (place, name) in names.enumerate() {
        if table.insert(Arc::clone(name), index(number(place))).is_some() {
            return Err(AssembleError::Duplicate { kind, name: name.to_string() });
        }
    }
    Ok(table)
}

impl Names {
    pub(super) fn collect(parts: &FlowParts) -> Result<Self, AssembleError> {
        let mut places = Vec::new();
        let mut states = HashMap::new();
        for intent in &parts.intents {
            for state in &intent.states {
                let place = Place { intent: Arc::clone(&intent.name), state: Arc::clone(&state.name) };
                if states.insert(place.clone(), StateIx(number(places.len()))).is_some() {
                    return Err(AssembleError::Duplicate { kind: "state", name: place.to_string() });
                }
                places.push(place);
            }
        }
        Ok(Self {
            intents: table("intent", parts.intents.iter().map(|intent| &intent.name), IntentIx)?,
            slots: table("slot", parts.slots.iter().map(|slot| &slot.name), SlotIx)?,
            actions: table("action", parts.actions.iter().map(|action| &action.name), ActionIx)?,
            states,
            places,
        })
    }

    pub(super) fn state(&self, place: &Place) -> Result<StateIx, AssembleError> {
        let found = self.states.get(place).copied();
        found.ok_or_else(|| AssembleError::Unknown { kind: "state", name: place.to_string() })
    }

    pub(super) fn slot(&self, name: &Name) -> Result<SlotIx, AssembleError> {
        let found = self.slots.get(name).copied();
        found.ok_or_else(|| AssembleError::Unknown { kind: "slot", name: name.to_string() })
    }

    pub(super) fn scope(&self, scope: &Scope) -> Result<Vec<StateIx>, AssembleError> {
        match scope {
            Scope::Everywhere => Ok((0..self.places.len()).map(|place| StateIx(number(place))).collect()),
            Scope::At(places) => places.iter().map(|place| self.state(place)).collect(),
        }
    }

    pub(super) fn action_named(&self, name: &Name) -> Result<ActionIx, AssembleError> {
        let found = self.actions.get(name).copied();
        found.ok_or_else(|| AssembleError::Unknown { kind: "action", name: name.to_string() })
    }
}
