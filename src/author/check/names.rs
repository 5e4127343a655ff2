//! Every name refers to something, and is declared once.

use std::collections::HashMap;

use colloquy_flow::{Condition, Name, Place, Purpose, ResultSource};
use colloquy_turn::TIMERS_MAX;

use crate::{
    fault::{At, Faults, Mark},
    reader::{self, Written, WrittenPlace},
    source::{SourceArgument, SourceConsequence, SourceEffect, SourceFlow, SourceIntent, SourceResult, SourceText},
};

pub(super) fn check(source: &SourceFlow, faults: &mut Faults) {
    let mut check = Check { source, faults };
    check.once("flag", source.flags.iter().map(|flag| &flag.name));
    check.once("policy", source.guard.policies.iter().map(|policy| &policy.id));
    check.prompts();
    check.once("rule", source.rules.iter().map(|rule| &rule.id));
    check.structure();
    check.behaviour();
    check.timers();
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
        if self.faults.is_full() {
            return self.faults.error(id, mark, "", "");
        }
        let fix = match reader::nearest(name, known) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None if known.is_empty() => format!("declare the {what}"),
            None => format!("declare the {what}, or use one of {}", reader::some_of(known)),
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
        if !self.source.has_flag(name) {
            let known: Vec<&str> = self.source.flags.iter().map(|flag| flag.name.value.as_ref()).collect();
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
        for (variable, member) in condition.value.outside() {
            self.member(variable, member, &condition.mark);
        }
    }

    /// What a condition sees of the outside: enrichments, those that are kept, actions that call tools.
    fn member(&mut self, variable: &str, member: &str, mark: &Mark) {
        let source = self.source;
        let enrichment = source.enrichment(member);
        let there = match variable {
            "enrich" => enrichment.is_some(),
            "data" => enrichment.is_some_and(|enrichment| enrichment.keep),
            _ => source.action(member).is_some_and(|action| action.tool.is_some()),
        };
        if !there {
            let enrichments = source.enrichments.iter().filter(|enrichment| enrichment.keep || variable == "enrich");
            let known: Vec<&str> = match variable {
                "enrich" | "data" => enrichments.map(|enrichment| enrichment.name.value.as_ref()).collect(),
                _ => {
                    let actions = source.actions.iter().filter(|action| action.tool.is_some());
                    actions.map(|action| action.name.value.as_ref()).collect()
                }
            };
            let (id, what) = match variable {
                "enrich" => ("unknown-enrichment", "enrichment called"),
                "data" => ("unknown-enrichment", "enrichment that is kept called"),
                _ => ("unknown-action", "action that calls a tool called"),
            };
            self.unknown(id, what, member, mark, &known);
        }
    }

    fn prompt(&mut self, name: &str, mark: &Mark, purposes: &[Purpose]) {
        let Some(prompt) = self.source.prompt(name) else {
            let known: Vec<&str> = self.source.prompts.iter().map(|prompt| prompt.name.value.as_ref()).collect();
            return self.unknown("unknown-prompt", "prompt", name, mark, &known);
        };
        if !purposes.contains(&prompt.purpose) {
            let wanted: Vec<&str> = purposes.iter().map(|purpose| purpose.name()).collect();
            let message = format!("prompt {name:?} is for {}, not for {}", prompt.purpose.name(), wanted.join(" or "));
            self.faults.error("bad-value", mark, message, format!("name one of purpose {}", wanted.join(" or ")));
        }
    }

    fn prompts(&mut self) {
        let source = self.source;
        let choices = source.act_model.iter().chain(&source.understanding.model);
        for choice in choices {
            self.prompt(&choice.value.prompt, &choice.mark, &[Purpose::Classify]);
        }
        if let Some(prompt) = &source.extract_prompt {
            self.prompt(&prompt.value, &prompt.mark, &[Purpose::Extract]);
        }
        if let Some(summary) = &source.summary {
            self.prompt(&summary.value.prompt, &summary.mark, &[Purpose::Summarise]);
        }
        let texts = source.responses.iter().map(|row| &row.text).chain(&source.understanding.collision);
        for text in texts {
            if let SourceText::Model(model) = text {
                self.prompt(&model.prompt.value, &model.prompt.mark, &[Purpose::Respond]);
            }
        }
        for prompt in source.scripted.iter().filter_map(|scripted| scripted.prompt.as_ref()) {
            self.prompt(&prompt.value, &prompt.mark, &Purpose::ALL);
        }
        for planner in &source.planners {
            self.prompt(&planner.prompt.value, &planner.prompt.mark, &[Purpose::Classify]);
        }
        for progress in &source.progress {
            self.scope(&progress.scope);
        }
    }

    fn arguments(&mut self, arguments: &'s [(Name, SourceArgument)]) {
        for (_, argument) in arguments {
            if let SourceArgument::Slot(slot) = argument {
                self.slot(slot);
            }
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
            for until in intent.states.iter().filter_map(|state| state.until.as_ref()) {
                self.condition(until.when.as_ref());
                self.place(&until.go);
            }
        }
        let flags = self.source.guard.policies.iter().filter_map(|policy| match &policy.consequence {
            SourceConsequence::Flag(flag) => Some(flag),
            SourceConsequence::Block(_) => None,
        });
        let steering = self.source.guard.steering.as_ref().and_then(|steering| steering.flag_at.as_ref());
        for flag in flags.chain(steering.map(|(_, flag)| flag)) {
            self.flag(&flag.value, &flag.mark);
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
        for enrichment in &self.source.enrichments {
            self.scope(&enrichment.scope);
            self.condition(enrichment.when.as_ref());
            self.arguments(&enrichment.arguments);
        }
        for action in &self.source.actions {
            if let Some(scope) = &action.scope {
                self.scope(scope);
            }
            if let Some(tool) = &action.tool {
                self.arguments(&tool.arguments);
            }
            for slot in action.slots.iter().chain(action.results.iter().map(|(slot, _)| slot)) {
                self.slot(slot);
            }
            for (slot, result) in &action.results {
                match result {
                    SourceResult::Value(written) => self.value(&slot.value, written),
                    SourceResult::Given(ResultSource::Path(_)) if action.tool.is_none() => {
                        let message = format!("action {:?} calls no tool, so it has no result", action.name.value);
                        self.faults.error("bad-value", &slot.mark, message, "write kind: tool, or another source");
                    }
                    SourceResult::Given(_) => {}
                }
            }
            let targets = [&action.on_executed, &action.on_rejected, &action.on_expired, &action.on_failed];
            for target in targets.into_iter().flatten() {
                self.place(target);
            }
        }
        for planner in &self.source.planners {
            self.scope(&planner.scope);
            self.condition(planner.when.as_ref());
            self.once("tool", planner.tools.iter());
            planner.tools.iter().for_each(|tool| self.action(tool));
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
            SourceEffect::Reset | SourceEffect::Remind(..) => {}
            SourceEffect::Forget(timer) => self.timer(timer),
            SourceEffect::Flag(flag) | SourceEffect::Unflag(flag) => self.flag(&flag.value, &flag.mark),
            SourceEffect::Stage(action) => self.action(action),
        }
    }

    /// A conversation has room for as many timers as its flow may name.
    fn timers(&mut self) {
        let timers = self.source.timers();
        let Some((id, mark)) = timers.iter().nth(TIMERS_MAX) else { return };
        let message = format!("rules set {} timers, {id:?} among them, but at most {TIMERS_MAX} fit", timers.len());
        self.faults.error("too-large", mark, message, "let several rules set the same timer, or remove some");
    }

    fn timer(&mut self, timer: &At<Name>) {
        if !self.source.timers().contains_key(&timer.value) {
            let known: Vec<&str> = self.source.timers().keys().map(AsRef::as_ref).collect();
            self.unknown("unknown-timer", "timer", &timer.value, &timer.mark, &known);
        }
    }

    fn action(&mut self, action: &At<Name>) {
        if self.source.action(&action.value).is_none() {
            let known: Vec<&str> = self.source.actions.iter().map(|action| action.name.value.as_ref()).collect();
            self.unknown("unknown-action", "action", &action.value, &action.mark, &known);
        }
    }
}
