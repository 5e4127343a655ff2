//! Which slots are filled wherever a conversation stands, whatever was said before.
//!
//! A slot is filled in a position when every way into that position needs it, sets it, or comes from a
//! position where it is filled; when the position keeps it; and when no rule ever clears it. It is assumed
//! everywhere and taken back where that fails, until nothing changes.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use colloquy_flow::{Place, ResultSource, SlotScope, condition::Shape, transition::By};

use crate::{
    check::view::{At, View, index},
    fault::At as Placed,
    source::{SourceAction, SourceEffect, SourceResult, SourceState},
};

/// Most positions that are looked at; beyond that nothing is known.
const STEPS_MAX: usize = 5_000_000;

/// A way into a position that a rule, an until or an action may take.
struct Entry {
    to: At,
    from: From,
    /// Slots that are filled once it is taken.
    ensures: BTreeSet<String>,
}

/// Where a way begins.
enum From {
    /// Where this rule applies.
    Rule(usize),
    /// In this position.
    One(At),
    /// Wherever an action ends.
    Action,
}

pub(super) struct Filled<'v, 's> {
    view: &'v View<'s>,
    entries: Vec<Entry>,
    /// Where anything may be empty: the start, and where intents begin.
    open: Vec<At>,
    cleared: HashSet<&'s str>,
    steps: usize,
}

impl<'v, 's> Filled<'v, 's> {
    pub(super) fn of(view: &'v View<'s>) -> Self {
        let effects = view.source.rules.iter().flat_map(|rule| &rule.then);
        let cleared = effects.filter_map(|effect| match effect {
            SourceEffect::Clear(slot) => Some(slot.value.as_ref()),
            _ => None,
        });
        let mut filled = Self { view, entries: Vec::new(), open: open(view), cleared: cleared.collect(), steps: 0 };
        filled.of_rules();
        filled.of_states();
        filled.of_actions();
        filled
    }

    fn of_rules(&mut self) {
        for (place, rule) in self.view.source.rules.iter().enumerate() {
            let Some(to) = self.view.target(&rule.then) else { continue };
            let mut ensures = rule.when.as_ref().map(|when| ensured(&when.value.shape())).unwrap_or_default();
            ensures.extend(rule.then.iter().filter_map(|effect| match effect {
                SourceEffect::Set(slot, _) => Some(slot.value.to_string()),
                _ => None,
            }));
            self.entries.push(Entry { to, from: From::Rule(place), ensures });
        }
    }

    fn of_states(&mut self) {
        for intent in &self.view.source.intents {
            for state in &intent.states {
                let place = Place { intent: Arc::clone(&intent.name.value), state: Arc::clone(&state.name.value) };
                let Some((from, until)) = self.view.find(&place).zip(state.until.as_ref()) else { continue };
                let Some(to) = self.view.find(&until.go.value) else { continue };
                let ensures = match &until.when {
                    Some(when) => ensured(&when.value.shape()),
                    None => asked(&intent.collect, state),
                };
                self.entries.push(Entry { to, from: From::One(from), ensures });
            }
        }
    }

    /// An action runs, and waits, only with its slots filled.
    fn of_actions(&mut self) {
        for action in &self.view.source.actions {
            let needs: BTreeSet<String> = action.slots.iter().map(|slot| slot.value.to_string()).collect();
            let mut executed = needs.clone();
            // What a tool returns may lack the path.
            let made = action
                .results
                .iter()
                .filter(|(_, result)| !matches!(result, SourceResult::Given(ResultSource::Path(_))));
            executed.extend(made.map(|(slot, _)| slot.value.to_string()));
            self.outcome(&action.on_executed, executed);
            for target in others(action) {
                self.outcome(target, needs.clone());
            }
        }
    }

    fn outcome(&mut self, target: &Option<Placed<Place>>, ensures: BTreeSet<String>) {
        if let Some(to) = target.as_ref().and_then(|target| self.view.find(&target.value)) {
            self.entries.push(Entry { to, from: From::Action, ensures });
        }
    }

    /// Where the slot is filled, by position; `None` when that is too dear to find out.
    pub(super) fn at(&mut self, slot: &str) -> Option<Vec<bool>> {
        let mut filled = self.kept(slot);
        if self.cleared.contains(slot) {
            filled.fill(false);
        }
        for at in &self.open {
            set_empty(&mut filled, *at);
        }
        loop {
            let mut changed = false;
            for entry in &self.entries {
                let from = match &entry.from {
                    From::Rule(place) => self.view.rules.get(*place).map(Vec::as_slice).unwrap_or_default(),
                    From::One(at) => std::slice::from_ref(at),
                    From::Action => &[],
                };
                self.steps += 1 + from.len();
                let holds = |at: &At| *at == entry.to || filled.get(index(*at)).copied().unwrap_or(true);
                let safe = entry.ensures.contains(slot) || (!from.is_empty() && from.iter().all(holds));
                changed |= !safe && set_empty(&mut filled, entry.to);
            }
            if self.steps > STEPS_MAX {
                return None;
            }
            if !changed {
                return Some(filled);
            }
        }
    }

    /// Where the slot is not emptied when a conversation gets there.
    fn kept(&mut self, slot: &str) -> Vec<bool> {
        self.steps += self.view.places.len();
        let lasts = self.view.source.slot(slot).is_some_and(|slot| slot.scope == SlotScope::Conversation);
        let intents = self.view.source.intents.iter();
        intents.flat_map(|intent| std::iter::repeat_n(lasts || intent.keeps(slot), intent.states.len())).collect()
    }
}

/// Whether that changed anything.
fn set_empty(filled: &mut [bool], at: At) -> bool {
    filled.get_mut(index(at)).is_some_and(|held| std::mem::replace(held, false))
}

fn others(action: &SourceAction) -> [&Option<Placed<Place>>; 3] {
    [&action.on_failed, &action.on_rejected, &action.on_expired]
}

fn asked(of_intent: &[Placed<colloquy_flow::Name>], state: &SourceState) -> BTreeSet<String> {
    of_intent.iter().chain(&state.collect).map(|slot| slot.value.to_string()).collect()
}

/// The start, and every position where an intent begins and a transition lets it.
fn open(view: &View<'_>) -> Vec<At> {
    let mut recognised: HashMap<At, bool> = HashMap::new();
    for row in &view.source.transitions {
        let by = [By::Intent, By::Digression, By::Model].into_iter().any(|by| row.by.allows(by));
        if let Some(to) = view.find(&row.to.value) {
            *recognised.entry(to).or_default() |= by;
        }
    }
    let begins = view.source.intents.iter().filter_map(|intent| view.initial(&intent.name.value));
    begins.filter(|at| recognised.get(at).copied().unwrap_or_default()).chain(view.start()).collect()
}

/// Slots without which the condition does not hold.
fn ensured(shape: &Shape) -> BTreeSet<String> {
    match shape {
        Shape::Slot(slot) => BTreeSet::from([slot.clone()]),
        Shape::Has(part) => ensured(part),
        Shape::All(parts) => parts.iter().flat_map(ensured).collect(),
        Shape::Any(parts) => {
            let mut sets = parts.iter().map(ensured);
            let first = sets.next().unwrap_or_default();
            sets.fold(first, |held, set| held.intersection(&set).cloned().collect())
        }
        // A comparison that cannot be evaluated does not hold when it is negated either.
        Shape::Not(part) => match part.as_ref() {
            Shape::Has(_) | Shape::All(_) | Shape::Any(_) | Shape::Not(_) | Shape::Choice(_) => BTreeSet::new(),
            part => ensured(part),
        },
        Shape::In(sides) => match sides.as_ref() {
            [Shape::Text(slot), Shape::Variable(list)] if list == "filled" => BTreeSet::from([slot.clone()]),
            sides => sides.iter().flat_map(value).collect(),
        },
        Shape::Compare(_, sides) => sides.iter().flat_map(value).collect(),
        Shape::Call(_, parts) => parts.iter().flat_map(value).collect(),
        Shape::Member(_, part) => value(part),
        _ => BTreeSet::new(),
    }
}

/// Slots without which a part of a comparison has no value.
fn value(shape: &Shape) -> BTreeSet<String> {
    match shape {
        Shape::Slot(_) | Shape::Call(..) | Shape::Member(..) => ensured(shape),
        _ => BTreeSet::new(),
    }
}
