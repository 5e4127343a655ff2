//! Every name refers to something, and is declared once.

use std::collections::HashMap;

use colloquy_flow::{Condition, Name, Place};

use crate::{
    fault::{At, Faults, Mark},
    reader::{self, Written, WrittenPlace},
    source::{SourceEffect, SourceFlow, SourceIntent, SourceResult},
};

pub(super) fn check(source: &SourceFlow, faults: &mut Faults) {
    let mut check = Check { source, faults };
    check.once("flag", source.flags.iter());
    check.once("rule", source.rules.iter().map(|rule| &rule.id));
    check.structure();
    check.behaviour();
}

struct Check<'s, 'f> {
    source: &'s SourceFlow,
    faults: &'f mut Faults,
}

impl<'s> Check<'s, '_> {
    fn once(&mut self, what: &str, names: impl Iterator<Item = &'s At<Name>>) {
        let mut seen: HashMap<&str, &Mark> = HashMap::new();
        for name in names {
            if let Some(first) = seen.insert(&name.value, &name.mark) {
                let message = format!("{what} {:?} is declared twice, first at line {}", name.value, first.line);
                self.faults.error("duplicate-name", &name.mark, message, "give each a name of its own");
            }
        }
    }

    fn unknown(&mut self, id: &'static str, what: &str, name: &str, mark: &Mark, known: &[&str]) {
        let fix = match reader::nearest(name, known) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None if known.is_empty() => format!("declare the {what}"),
            None => format!("declare the {what}, or use one of {}", known.join(", ")),
        };
        self.faults.error(id, mark, format!("there is no {what} {name:?}"), fix);
    }

    fn slot(&mut self, name: &At<Name>) {
        self.slot_named(&name.value, &name.mark);
    }

    fn slot_named(&mut self, name: &str, mark: &Mark) {
        if self.source.slot(name).is_none() {
            let known: Vec<&str> = self.source.slots.iter().map(|slot| slot.name.value.as_ref()).collect();
            self.unknown("unknown-slot", "slot", name, mark, &known);
        }
    }

    fn flag(&mut self, name: &str, mark: &Mark) {
        let known: Vec<&str> = self.source.flags.iter().map(|flag| flag.value.as_ref()).collect();
        if !known.contains(&name) {
            self.unknown("unknown-flag", "flag", name, mark, &known);
        }
    }

    fn intent(&mut self, name: &str, mark: &Mark) -> Option<&'s SourceIntent> {
        let found = self.source.intent(name);
        if found.is_none() {
            let known: Vec<&str> = self.source.intents.iter().map(|intent| intent.name.value.as_ref()).collect();
            self.unknown("unknown-intent", "intent", name, mark, &known);
        }
        found
    }

    fn place(&mut self, place: &At<Place>) {
        let Some(intent) = self.intent(&place.value.intent, &place.mark) else { return };
        let known: Vec<&str> = intent.states.iter().map(|state| state.name.value.as_ref()).collect();
        if !known.contains(&place.value.state.as_ref()) {
            let what = format!("state in intent {:?} called", place.value.intent);
            self.unknown("unknown-state", &what, &place.value.state, &place.mark, &known);
        }
    }

    fn scope(&mut self, scope: &Written) {
        let Written::At(places) = scope else { return };
        for place in places {
            match place {
                WrittenPlace::One(place) => self.place(place),
                WrittenPlace::AllOf(intent) => drop(self.intent(&intent.value, &intent.mark)),
            }
        }
    }

    fn condition(&mut self, condition: Option<&At<Condition>>) {
        let Some(condition) = condition else { return };
        for slot in condition.value.slots() {
            self.slot_named(slot, &condition.mark);
        }
        for flag in condition.value.flags() {
            self.flag(flag, &condition.mark);
        }
    }

    fn value(&mut self, slot: &str, written: &At<String>) {
        let Some(kind) = self.source.slot(slot).map(|slot| &slot.kind) else { return };
        if kind.parse(&written.value).is_none() {
            let message = format!("{:?} is no value of slot {slot:?}, which is of type {}", written.value, kind.name());
            self.faults.error(
                "bad-value",
                &written.mark,
                message,
                "write a value of the slot's type, within its bounds",
            );
        }
    }

    fn structure(&mut self) {
        if let Some(place) = &self.source.start {
            self.place(place);
        }
        for intent in &self.source.intents {
            let states: Vec<&str> = intent.states.iter().map(|state| state.name.value.as_ref()).collect();
            if states.is_empty() {
                let message = format!("intent {:?} has no state", intent.name.value);
                self.faults.error("missing-key", &intent.name.mark, message, "declare at least one state");
            }
            if let Some(initial) = intent.initial.as_ref().filter(|initial| !states.contains(&initial.value.as_ref())) {
                let what = format!("state in intent {:?} called", intent.name.value);
                self.unknown("unknown-state", &what, &initial.value, &initial.mark, &states);
            }
            let collected = intent.states.iter().flat_map(|state| &state.collect);
            for slot in intent.collect.iter().chain(&intent.keep).chain(collected) {
                self.slot(slot);
            }
        }
        for transition in &self.source.transitions {
            self.scope(&transition.from);
            self.place(&transition.to);
        }
    }

    fn behaviour(&mut self) {
        for rule in &self.source.rules {
            self.scope(&rule.scope);
            self.condition(rule.when.as_ref());
            for effect in &rule.then {
                self.effect(effect);
            }
        }
        for action in &self.source.actions {
            for slot in action.slots.iter().chain(action.results.iter().map(|(slot, _)| slot)) {
                self.slot(slot);
            }
            for (slot, result) in &action.results {
                if let SourceResult::Value(written) = result {
                    self.value(&slot.value, written);
                }
            }
            for target in [&action.on_executed, &action.on_rejected, &action.on_expired].into_iter().flatten() {
                self.place(target);
            }
        }
        for response in &self.source.responses {
            self.scope(&response.scope);
            self.condition(response.when.as_ref());
        }
    }

    fn effect(&mut self, effect: &SourceEffect) {
        match effect {
            SourceEffect::Go(place) => self.place(place),
            SourceEffect::Intent(name) => drop(self.intent(&name.value, &name.mark)),
            SourceEffect::Set(slot, written) => {
                self.slot(slot);
                self.value(&slot.value, written);
            }
            SourceEffect::Clear(slot) => self.slot(slot),
            SourceEffect::Flag(flag) | SourceEffect::Unflag(flag) => self.flag(&flag.value, &flag.mark),
            SourceEffect::Stage(action) => {
                if self.source.action(&action.value).is_none() {
                    let known: Vec<&str> =
                        self.source.actions.iter().map(|action| action.name.value.as_ref()).collect();
                    self.unknown("unknown-action", "action", &action.value, &action.mark, &known);
                }
            }
        }
    }
}
