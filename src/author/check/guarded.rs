//! Conditions that read slots which may be empty.
//!
//! Such a condition cannot be evaluated: it counts as false, and degrades the turn each time. A slot is safe
//! when the same condition asks for it with `has`, or when no conversation gets to the position without it.

use std::collections::{BTreeSet, HashMap};

use colloquy_flow::condition::Shape;

use crate::{
    check::{
        filled::Filled,
        view::{At, View},
    },
    fault::{Faults, Mark},
};

/// Checks conditions one after the other; what is known of slots is worked out once.
pub(super) struct Guarded<'v, 's> {
    view: &'v View<'s>,
    filled: Filled<'v, 's>,
    known: HashMap<String, Option<Vec<bool>>>,
}

impl<'v, 's> Guarded<'v, 's> {
    pub(super) fn of(view: &'v View<'s>) -> Self {
        Self { view, filled: Filled::of(view), known: HashMap::new() }
    }

    /// Reports what the condition reads unguarded in any of these positions.
    pub(super) fn check(&mut self, shape: &Shape, at: &[At], mark: &Mark, faults: &mut Faults) {
        let (mut read, mut guarded) = (BTreeSet::new(), BTreeSet::new());
        gather(shape, &mut read, &mut guarded);
        for slot in read.difference(&guarded) {
            if self.view.source.slot(slot).is_none() || faults.is_full() {
                continue;
            }
            let filled = self.known.entry((*slot).to_owned()).or_insert_with(|| self.filled.at(slot));
            // Where that is too dear to find out, nothing is said.
            let Some(filled) = filled else { continue };
            let empty = |at: &&At| !filled.get(super::view::index(**at)).copied().unwrap_or(true);
            if let Some(at) = at.iter().find(empty) {
                let message =
                    format!("slots.{slot} is read without has(), and may be empty in {}", self.view.name(*at));
                let fix = format!("write has(slots.{slot}) && …");
                faults.warn("slot-unguarded", mark, message, fix);
            }
        }
    }
}

/// Slots that are read, and slots that are asked for first.
fn gather<'c>(shape: &'c Shape, read: &mut BTreeSet<&'c str>, guarded: &mut BTreeSet<&'c str>) {
    match shape {
        Shape::Slot(slot) => drop(read.insert(slot)),
        Shape::Has(part) => match part.as_ref() {
            Shape::Slot(slot) => drop(guarded.insert(slot)),
            part => gather(part, read, guarded),
        },
        Shape::In(sides) => {
            if let [Shape::Text(slot), Shape::Variable(list)] = sides.as_ref()
                && matches!(list.as_str(), "filled" | "missing")
            {
                guarded.insert(slot);
            }
            sides.iter().for_each(|part| gather(part, read, guarded));
        }
        _ => shape.parts().iter().for_each(|part| gather(part, read, guarded)),
    }
}
