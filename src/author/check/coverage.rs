//! Every state has something to say, and what is collected can be found.

use std::collections::HashSet;

use colloquy_flow::SlotKind;

use crate::{
    check::view::{View, index},
    fault::Faults,
    source::{SourceEffect, SourceFlow, SourceText},
};

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    responses(view, faults);
    slots(view.source, faults);
}

fn responses(view: &View<'_>, faults: &mut Faults) {
    /// What a position has to say.
    #[derive(Clone, Copy, PartialEq)]
    enum Said {
        Nothing,
        Sometimes,
        Always,
    }
    let mut said = vec![Said::Nothing; view.places.len()];
    let rows = view.source.responses.iter().zip(&view.responses);
    for (row, at) in rows.filter(|(row, _)| !matches!(row.text, SourceText::Resume(_))) {
        for at in at {
            if let Some(said) = said.get_mut(index(*at)).filter(|said| **said != Said::Always) {
                *said = if row.when.is_none() { Said::Always } else { Said::Sometimes };
            }
        }
    }
    let states = view.source.intents.iter().flat_map(|intent| &intent.states);
    for ((state, place), said) in states.zip(&view.places).zip(said) {
        let fix = || format!("add to responses: {{in: {place}, exact: \"…\"}}");
        match said {
            Said::Always => {}
            Said::Nothing => {
                faults.error("no-response", &state.name.mark, format!("{place} has no response"), fix());
            }
            Said::Sometimes => {
                let message =
                    format!("{place} has only responses with conditions; the fallback is said when none holds");
                faults.warn("conditional-response", &state.name.mark, message, fix());
            }
        }
    }
}

/// A slot that is read from what the user says can be found there.
fn slots(source: &SourceFlow, faults: &mut Faults) {
    let collected: HashSet<&str> = collected(source).collect();
    for slot in &source.slots {
        let found = slot.has_extract || slot.by_model || !slot.patterns.is_empty();
        if found || !matches!(slot.kind, SlotKind::Text { .. } | SlotKind::Enumeration(_)) {
            continue;
        }
        let name = &slot.name.value;
        if collected.contains(name.as_ref()) {
            let message = format!("slot {name:?} is collected, but no pattern finds it");
            faults.error("slot-without-pattern", &slot.name.mark, message, "add extract: ['\\b(?P<value>…)\\b']");
        }
    }
}

/// Slots that are read from what the user says: those a state collects, and what an action needs where it waits
/// for its confirmation, unless a rule or another action writes it.
pub(super) fn collected(source: &SourceFlow) -> impl Iterator<Item = &str> {
    let written: HashSet<&str> = written(source).collect();
    let intents = source.intents.iter();
    let collected =
        intents.flat_map(|intent| intent.collect.iter().chain(intent.states.iter().flat_map(|state| &state.collect)));
    let needed = source.actions.iter().flat_map(|action| &action.slots);
    let needed = needed.filter(move |slot| !written.contains(slot.value.as_ref()));
    collected.chain(needed).map(|slot| slot.value.as_ref())
}

/// Slots that rules set and actions return.
pub(super) fn written(source: &SourceFlow) -> impl Iterator<Item = &str> {
    let set = source.rules.iter().flat_map(|rule| &rule.then).filter_map(|effect| match effect {
        SourceEffect::Set(slot, _) => Some(slot.value.as_ref()),
        _ => None,
    });
    set.chain(source.actions.iter().flat_map(|action| &action.results).map(|(slot, _)| slot.value.as_ref()))
}
