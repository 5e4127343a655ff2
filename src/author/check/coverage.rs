//! Every state has something to say, and every slot is filled and used.

use std::{collections::HashSet, sync::Arc};

use colloquy_flow::{Place, Scope, SlotKind};

use crate::{
    fault::Faults,
    reader,
    source::{SourceEffect, SourceFlow, SourceText},
};

pub(super) fn check(source: &SourceFlow, faults: &mut Faults) {
    responses(source, faults);
    slots(source, faults);
}

fn responses(source: &SourceFlow, faults: &mut Faults) {
    let every = source.places();
    let mut answered: HashSet<Place> = HashSet::new();
    let mut always: HashSet<Place> = HashSet::new();
    for row in source.responses.iter().filter(|row| !matches!(row.text, SourceText::Resume(_))) {
        let places = match reader::resolve(&row.scope, &every) {
            Scope::Everywhere => every.clone(),
            Scope::At(places) => places,
        };
        if row.when.is_none() {
            always.extend(places.iter().cloned());
        }
        answered.extend(places);
    }
    for intent in &source.intents {
        for state in &intent.states {
            let place = Place { intent: Arc::clone(&intent.name.value), state: Arc::clone(&state.name.value) };
            let fix = format!("add to responses: {{in: {place}, exact: \"…\"}}");
            if !answered.contains(&place) {
                faults.error("no-response", &state.name.mark, format!("{place} has no response"), fix);
            } else if !always.contains(&place) {
                let message =
                    format!("{place} has only responses with conditions; the fallback is said when none holds");
                faults.warn("conditional-response", &state.name.mark, message, fix);
            }
        }
    }
}

fn slots(source: &SourceFlow, faults: &mut Faults) {
    let collected = source.intents.iter().flat_map(|intent| {
        intent
            .collect
            .iter()
            .chain(intent.states.iter().flat_map(|state| &state.collect))
            .map(|slot| slot.value.as_ref())
    });
    let needed = source.actions.iter().flat_map(|action| action.slots.iter().map(|slot| slot.value.as_ref()));
    let set = source.rules.iter().flat_map(|rule| &rule.then).filter_map(|effect| match effect {
        SourceEffect::Set(slot, _) => Some(slot.value.as_ref()),
        _ => None,
    });
    let results = source.actions.iter().flat_map(|action| action.results.iter().map(|(slot, _)| slot.value.as_ref()));
    let written: HashSet<&str> = set.chain(results).collect();
    // What an action needs is read from the text where it waits for its confirmation, unless something writes it.
    let read: HashSet<&str> = collected.chain(needed.filter(|slot| !written.contains(slot))).collect();
    let filled: HashSet<&str> = read.union(&written).copied().collect();
    for slot in &source.slots {
        let name = slot.name.value.as_ref();
        if read.contains(name)
            && slot.patterns.is_empty()
            && !slot.has_extract
            && !slot.by_model
            && matches!(slot.kind, SlotKind::Text { .. })
        {
            let message = format!("slot {name:?} is collected, but no pattern finds it");
            faults.error("slot-without-pattern", &slot.name.mark, message, "add extract: ['\\b(?P<value>…)\\b']");
        }
        if !filled.contains(name) {
            let message = format!("slot {name:?} is never filled");
            faults.warn(
                "slot-never-filled",
                &slot.name.mark,
                message,
                "collect it, set it by a rule or an action, or remove it",
            );
        }
    }
    let effects = source.rules.iter().flat_map(|rule| &rule.then);
    let staged: HashSet<&str> = effects
        .filter_map(|effect| match effect {
            SourceEffect::Stage(name) => Some(name.value.as_ref()),
            _ => None,
        })
        .collect();
    for action in &source.actions {
        if !staged.contains(action.name.value.as_ref()) {
            let message = format!("no rule stages action {:?}", action.name.value);
            faults.warn("action-never-staged", &action.name.mark, message, "stage it by a rule, or remove it");
        }
    }
}
