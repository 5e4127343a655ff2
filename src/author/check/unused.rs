//! What is declared and never used: slots nobody fills or reads, flags nobody raises or asks for, actions
//! nobody stages, prompts nobody sends, enrichments nobody looks at.

use std::collections::{BTreeSet, HashSet};

use colloquy_flow::{Condition, condition::Shape};

use crate::{
    check::coverage::{collected, written},
    fault::{At, Faults},
    source::{SourceArgument, SourceConsequence, SourceEffect, SourceFlow, SourceText},
};

/// Every name that anything reads, by kind.
#[derive(Default)]
struct Used<'s> {
    slots: HashSet<&'s str>,
    flags: HashSet<&'s str>,
    enrichments: HashSet<&'s str>,
    /// Names that conditions look for among what failed.
    failed: HashSet<String>,
    /// Whether a text lists all slots, so that each of them is read.
    every_slot: bool,
}

/// Checks a flow whose texts name the variables `named`, dotted.
pub(super) fn check(source: &SourceFlow, named: &BTreeSet<String>, faults: &mut Faults) {
    let mut used = Used::default();
    for condition in conditions(source) {
        used.condition(&condition.value);
    }
    let listed = source.prompts.iter().flat_map(|prompt| &prompt.variables).map(|listed| listed.value.as_ref());
    for variable in named.iter().map(String::as_str).chain(listed) {
        used.variable(variable);
    }
    used.calls(source);
    used.asked(source);
    slots(source, &used, faults);
    actions(source, faults);
    flags(source, &used, faults);
    enrichments(source, &used, faults);
    prompts(source, faults);
}

fn conditions(source: &SourceFlow) -> impl Iterator<Item = &At<Condition>> {
    let states = source.intents.iter().flat_map(|intent| &intent.states);
    let untils = states.filter_map(|state| state.until.as_ref()?.when.as_ref());
    let rules = source.rules.iter().filter_map(|rule| rule.when.as_ref());
    let enrichments = source.enrichments.iter().filter_map(|enrichment| enrichment.when.as_ref());
    let planners = source.planners.iter().filter_map(|planner| planner.when.as_ref());
    let responses = source.responses.iter().filter_map(|row| row.when.as_ref());
    untils.chain(rules).chain(enrichments).chain(planners).chain(responses)
}

impl<'s> Used<'s> {
    fn condition(&mut self, condition: &'s Condition) {
        self.slots.extend(condition.slots());
        self.flags.extend(condition.flags());
        self.enrichments.extend(condition.outside().filter(|(kind, _)| *kind != "result").map(|(_, name)| name));
        condition.shape().walk(&mut |part| {
            if let Shape::In(sides) = part
                && let [Shape::Text(name), Shape::Variable(_)] = sides.as_ref()
            {
                self.failed.insert(name.clone());
            }
        });
    }

    fn variable(&mut self, variable: &'s str) {
        let mut parts = variable.split('.');
        match (parts.next(), parts.next()) {
            (Some("slots"), Some(slot)) => drop(self.slots.insert(slot)),
            (Some("slots"), None) => self.every_slot = true,
            (Some("enrich" | "data"), Some(name)) => drop(self.enrichments.insert(name)),
            _ => {}
        }
    }

    fn calls(&mut self, source: &'s SourceFlow) {
        let enrichments = source.enrichments.iter().flat_map(|enrichment| &enrichment.arguments);
        let tools = source.actions.iter().filter_map(|action| action.tool.as_ref());
        for (_, argument) in enrichments.chain(tools.flat_map(|tool| &tool.arguments)) {
            if let SourceArgument::Slot(slot) = argument {
                self.slots.insert(&slot.value);
            }
        }
        self.slots.extend(source.actions.iter().flat_map(|action| &action.slots).map(|slot| slot.value.as_ref()));
    }

    /// A state that leads on when it is complete reads what it asks for. What an intent keeps is kept for
    /// whoever reads the conversation: applications see its slots.
    fn asked(&mut self, source: &'s SourceFlow) {
        for intent in &source.intents {
            self.slots.extend(intent.keep.iter().map(|slot| slot.value.as_ref()));
            for state in &intent.states {
                if state.until.as_ref().is_some_and(|until| until.when.is_none()) {
                    let asked = intent.collect.iter().chain(&state.collect);
                    self.slots.extend(asked.map(|slot| slot.value.as_ref()));
                }
            }
        }
    }

    fn has_slot(&self, slot: &str) -> bool {
        self.every_slot || self.slots.contains(slot) || self.failed.contains(slot)
    }
}

fn slots(source: &SourceFlow, used: &Used<'_>, faults: &mut Faults) {
    let filled: HashSet<&str> = collected(source).chain(written(source)).collect();
    for slot in source.slots.iter().filter(|slot| !filled.contains(slot.name.value.as_ref())) {
        let message = format!("slot {:?} is never filled", slot.name.value);
        let fix = "collect it, set it by a rule or an action, or remove it";
        faults.warn("slot-never-filled", &slot.name.mark, message, fix);
    }
    for slot in source.slots.iter().filter(|slot| !used.has_slot(&slot.name.value)) {
        let message = format!("nothing reads slot {:?}", slot.name.value);
        let fix = "read it in a condition, a text or an action, keep it for applications, or remove it";
        faults.warn("slot-never-used", &slot.name.mark, message, fix);
    }
}

fn actions(source: &SourceFlow, faults: &mut Faults) {
    let effects = source.rules.iter().flat_map(|rule| &rule.then);
    let staged = effects.filter_map(|effect| match effect {
        SourceEffect::Stage(name) => Some(name.value.as_ref()),
        _ => None,
    });
    let planned = source.planners.iter().flat_map(|planner| &planner.tools).map(|tool| tool.value.as_ref());
    let staged: HashSet<&str> = staged.chain(planned).collect();
    for action in source.actions.iter().filter(|action| !staged.contains(action.name.value.as_ref())) {
        let message = format!("no rule stages action {:?}, and no planner lists it", action.name.value);
        let fix = "stage it by a rule, let a planner call it, or remove it";
        faults.warn("action-never-staged", &action.name.mark, message, fix);
    }
}

fn flags(source: &SourceFlow, used: &Used<'_>, faults: &mut Faults) {
    let by_rules = source.rules.iter().flat_map(|rule| &rule.then).filter_map(|effect| match effect {
        SourceEffect::Flag(flag) => Some(flag.value.as_ref()),
        _ => None,
    });
    let by_policies = source.guard.policies.iter().filter_map(|policy| match &policy.consequence {
        SourceConsequence::Flag(flag) => Some(flag.value.as_ref()),
        SourceConsequence::Block(_) => None,
    });
    let steering = source.guard.steering.as_ref().and_then(|steering| steering.flag_at.as_ref());
    let by_steering = steering.map(|(_, flag)| flag.value.as_ref());
    let guarded: HashSet<&str> = by_policies.chain(by_steering).collect();
    let raised: HashSet<&str> = by_rules.chain(guarded.iter().copied()).collect();
    for flag in &source.flags {
        let (name, mark) = (flag.name.value.as_ref(), &flag.name.mark);
        if !raised.contains(name) {
            let message = format!("nothing raises flag {name:?}");
            faults.warn("flag-never-raised", mark, message, "raise it by a rule or a policy, or remove it");
        }
        // What the guard saw is there for whoever reads the conversation.
        if !used.flags.contains(name) && !flag.reset && !guarded.contains(name) {
            let message = format!("no condition asks for flag {name:?}");
            faults.warn("flag-never-read", mark, message, "ask for it in a condition, or remove it");
        }
    }
}

fn enrichments(source: &SourceFlow, used: &Used<'_>, faults: &mut Faults) {
    for enrichment in &source.enrichments {
        let (name, mark) = (enrichment.name.value.as_ref(), &enrichment.name.mark);
        if !used.enrichments.contains(name) && !used.failed.contains(name) {
            let message = format!("nothing reads what enrichment {name:?} fetches");
            faults.warn(
                "enrichment-never-used",
                mark,
                message,
                "read it in a condition, a text or a prompt, or remove it",
            );
        }
    }
}

fn prompts(source: &SourceFlow, faults: &mut Faults) {
    let choices = source.act_model.iter().chain(&source.understanding.model).map(|choice| choice.value.prompt.as_ref());
    let texts = source.responses.iter().map(|row| &row.text).chain(&source.understanding.collision);
    let replies = texts.filter_map(|text| match text {
        SourceText::Model(model) => Some(model.prompt.value.as_ref()),
        _ => None,
    });
    let summary = source.summary.iter().map(|summary| summary.value.prompt.as_ref());
    let extract = source.extract_prompt.iter().map(|prompt| prompt.value.as_ref());
    let planners = source.planners.iter().map(|planner| planner.prompt.value.as_ref());
    let used: HashSet<&str> = choices.chain(planners).chain(replies).chain(summary).chain(extract).collect();
    for prompt in source.prompts.iter().filter(|prompt| !used.contains(prompt.name.value.as_ref())) {
        let message = format!("nothing uses prompt {:?}", prompt.name.value);
        faults.warn("prompt-never-used", &prompt.name.mark, message, "name it where a model is asked, or remove it");
    }
}
