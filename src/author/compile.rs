//! From a checked, written flow to the compiled one: texts, templates, then the index.

use std::sync::Arc;

use colloquy_flow::{
    ActPatterns, ActionPart, Flow, FlowParts, IntentPart, Name, Place, ResponsePart, ResponseText, RuleEffectPart,
    RulePart, Scope, Slot, StatePart, TransitionPart, UpgradePart,
    template::{TEMPLATE_VARIABLES, Templates},
};
use colloquy_types::Revision;

use crate::{
    fault::{At, Faults},
    reader::{self, Written},
    source::{SourceAction, SourceEffect, SourceFlow, SourceResult, SourceText},
};

/// What clarifying questions say unless the flow says otherwise.
const CLARIFY: &str = "Which one do you mean: {{ options }}?";

/// The texts of a flow, compiled.
pub(crate) struct Texts {
    templates: Templates,
    responses: Vec<ResponseText>,
    clarify: Option<ResponseText>,
}

/// Compiles every text and checks that templates name only what they may see.
pub(crate) fn texts(source: &SourceFlow, faults: &mut Faults) -> Texts {
    let mut templates = Templates::default();
    let every = source.places();
    let mut responses = Vec::with_capacity(source.responses.len());
    for row in &source.responses {
        let text = match &row.text {
            SourceText::Exact(text) => Some(ResponseText::Exact(Arc::clone(text))),
            SourceText::Template(said) | SourceText::Resume(said) => {
                let intents = intents_of(source, &row.scope, &every);
                template(source, &mut templates, said, &intents, false, faults)
            }
        };
        responses.extend(text);
    }
    let default = At { value: CLARIFY.to_owned(), mark: source.mark.clone() };
    let clarify = source.clarify.as_ref().unwrap_or(&default);
    let clarify = template(source, &mut templates, clarify, &[], true, faults);
    Texts { templates, responses, clarify }
}

fn intents_of(source: &SourceFlow, scope: &Written, every: &[Place]) -> Vec<Name> {
    let mut intents: Vec<Name> = match reader::resolve(scope, every) {
        Scope::Everywhere => source.intents.iter().map(|intent| Arc::clone(&intent.name.value)).collect(),
        Scope::At(places) => places.into_iter().map(|place| place.intent).collect(),
    };
    intents.sort();
    intents.dedup();
    intents
}

fn template(
    source: &SourceFlow,
    templates: &mut Templates,
    said: &At<String>,
    intents: &[Name],
    clarifies: bool,
    faults: &mut Faults,
) -> Option<ResponseText> {
    let compiled = match templates.add(&said.value) {
        Ok(compiled) => compiled,
        Err(error) => {
            faults.error(
                "bad-template",
                &said.mark,
                error.to_string(),
                "write {{ slots.name }}, {% if … %} … {% endif %}",
            );
            return None;
        }
    };
    for variable in templates.variables(&compiled) {
        let known = match variable.strip_prefix("slots.") {
            Some(slot) => source.slot(slot).is_some(),
            None => {
                variable != "slots"
                    && TEMPLATE_VARIABLES.contains(&variable.as_str())
                    && (variable != "options" || clarifies)
            }
        };
        if !known {
            let slots: Vec<String> = source.slots.iter().map(|slot| format!("slots.{}", slot.name.value)).collect();
            let fix = format!("use intent, state or one of {}", slots.join(", "));
            faults.error(
                "unknown-variable",
                &said.mark,
                format!("the template names {variable:?}, which it cannot see"),
                fix,
            );
            continue;
        }
        let Some(slot) = variable.strip_prefix("slots.") else { continue };
        let keeps = |intent: &Name| source.intent(intent).is_none_or(|intent| intent.keeps(slot));
        if let Some(intent) = intents.iter().find(|intent| !keeps(intent)) {
            let message =
                format!("the template names slot {slot:?}, which intent {intent:?} neither collects nor keeps");
            faults.error("unknown-variable", &said.mark, message, format!("add {slot} to keep of intent {intent}"));
        }
    }
    Some(ResponseText::Template(compiled))
}

/// Builds the flow. `None` when something is missing that was reported already.
pub(crate) fn flow(source: SourceFlow, texts: Texts, revision: Revision, faults: &mut Faults) -> Option<Flow> {
    let mark = source.mark.clone();
    let parts = parts(source, texts, revision)?;
    match Flow::assemble(parts) {
        Ok(flow) => Some(flow),
        Err(error) => {
            faults.error("too-large", &mark, error.to_string(), "make the flow smaller, or split it in several");
            None
        }
    }
}

fn parts(source: SourceFlow, texts: Texts, revision: Revision) -> Option<FlowParts> {
    let every = source.places();
    let rules =
        source.rules.iter().map(|rule| rule.then.iter().filter_map(|effect| effect_part(&source, effect)).collect());
    let effects: Vec<Vec<RuleEffectPart>> = rules.collect();
    let actions = source.actions.iter().map(|action| action_part(&source, action)).collect();
    let names = |list: Vec<At<Name>>| list.into_iter().map(|name| name.value).collect::<Vec<Name>>();
    let mut intents = Vec::with_capacity(source.intents.len());
    for intent in source.intents {
        let states = intent.states.into_iter().map(|state| StatePart {
            name: state.name.value,
            terminal: state.terminal,
            boundary: state.boundary,
            collect: names(state.collect),
        });
        intents.push(IntentPart {
            name: intent.name.value,
            priority: intent.priority,
            signals: intent.signals,
            initial: intent.initial?.value,
            digression: intent.digression,
            collect: names(intent.collect),
            keep: names(intent.keep),
            states: states.collect(),
        });
    }
    let transitions = source.transitions.into_iter().map(|transition| TransitionPart {
        from: reader::resolve(&transition.from, &every),
        to: transition.to.value,
        by: transition.by,
    });
    let rules = source.rules.into_iter().zip(effects).map(|(rule, then)| RulePart {
        id: rule.id.value,
        phase: rule.phase,
        priority: rule.priority,
        scope: reader::resolve(&rule.scope, &every),
        when: rule.when.map(|when| when.value),
        then,
    });
    let responses = source.responses.into_iter().zip(texts.responses).map(|(row, text)| ResponsePart {
        scope: reader::resolve(&row.scope, &every),
        when: row.when.map(|when| when.value),
        resume: matches!(row.text, SourceText::Resume(_)),
        text,
    });
    let slots =
        source.slots.into_iter().map(|slot| Slot { name: slot.name.value, kind: slot.kind, patterns: slot.patterns });
    let upgrades = source.upgrades.into_iter().map(|upgrade| UpgradePart {
        from: upgrade.from,
        states: upgrade.states.into_iter().map(|(old, new)| (old, new.value)).collect(),
        slots: upgrade.slots.into_iter().map(|(old, new)| (old, new.map(|new| new.value))).collect(),
        flags: upgrade.flags.into_iter().map(|(old, new)| (old, new.map(|new| new.value))).collect(),
    });
    Some(FlowParts {
        name: source.name?,
        revision,
        start: source.start?.value,
        limits: source.limits,
        acts: ActPatterns::new(&source.affirm, &source.negate, &source.reset).ok()?,
        slots: slots.collect(),
        flags: names(source.flags),
        intents,
        transitions: transitions.collect(),
        rules: rules.collect(),
        actions,
        responses: responses.collect(),
        upgrades: upgrades.collect(),
        fallback: source.fallback?,
        clarify: texts.clarify?,
        templates: texts.templates,
    })
}

fn effect_part(source: &SourceFlow, effect: &SourceEffect) -> Option<RuleEffectPart> {
    Some(match effect {
        SourceEffect::Go(place) => RuleEffectPart::Go(place.value.clone()),
        SourceEffect::Intent(name) => RuleEffectPart::Intent(Arc::clone(&name.value)),
        SourceEffect::Set(slot, written) => {
            RuleEffectPart::Set(Arc::clone(&slot.value), source.value_of(&slot.value, &written.value)?)
        }
        SourceEffect::Clear(slot) => RuleEffectPart::Clear(Arc::clone(&slot.value)),
        SourceEffect::Flag(flag) => RuleEffectPart::Flag(Arc::clone(&flag.value)),
        SourceEffect::Unflag(flag) => RuleEffectPart::Unflag(Arc::clone(&flag.value)),
        SourceEffect::Stage(action) => RuleEffectPart::Stage(Arc::clone(&action.value)),
    })
}

fn action_part(source: &SourceFlow, action: &SourceAction) -> ActionPart {
    let results = action.results.iter().filter_map(|(slot, result)| {
        let source = match result {
            SourceResult::Given(given) => given.clone(),
            SourceResult::Value(written) => {
                colloquy_flow::ResultSource::Value(source.value_of(&slot.value, &written.value)?)
            }
        };
        Some((Arc::clone(&slot.value), source))
    });
    let target = |place: &Option<At<Place>>| place.as_ref().map(|place| place.value.clone());
    ActionPart {
        name: Arc::clone(&action.name.value),
        label: Arc::clone(&action.label),
        slots: action.slots.iter().map(|slot| Arc::clone(&slot.value)).collect(),
        confirm: action.confirm,
        results: results.collect(),
        on_executed: target(&action.on_executed),
        on_rejected: target(&action.on_rejected),
        on_expired: target(&action.on_expired),
    }
}
