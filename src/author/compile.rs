//! From a checked, written flow to the compiled one: texts, templates, then the index.

mod texts;

use std::sync::Arc;

use colloquy_flow::{
    ActPatterns, ActionPart, Argument, Consequence, EnrichmentPart, FlagPart, Flow, FlowParts, Guard, IntentPart, Name,
    Place, PlannerPart, Policy, ProgressPart, Redaction, ResponsePart, RuleEffectPart, RulePart, Scope, Scripts, Slot,
    StatePart, Steering, ToolPart, TransitionPart, Understanding, UntilPart, UpgradePart, template::TemplateRef,
};
use colloquy_types::Revision;

pub(crate) use self::texts::{Texts, texts};
use crate::{
    fault::{At, Faults},
    reader,
    source::{
        SourceAction, SourceArgument, SourceConsequence, SourceEffect, SourceFlow, SourceGuard, SourceResult,
        SourceText, SourceTool,
    },
};

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
    let mut called = texts.arguments.into_iter();
    let mut arguments = |written: &[(Name, SourceArgument)]| {
        let made = written
            .iter()
            .filter_map(|(name, argument)| Some((Arc::clone(name), argument_part(argument, &mut called)?)));
        made.collect::<Vec<_>>()
    };
    // In the order in which the texts of arguments were compiled.
    let enrichments: Vec<EnrichmentPart> = source
        .enrichments
        .iter()
        .map(|enrichment| EnrichmentPart {
            name: Arc::clone(&enrichment.name.value),
            source: Arc::clone(&enrichment.source),
            scope: reader::resolve(&enrichment.scope, &every),
            when: None,
            arguments: arguments(&enrichment.arguments),
            patience: enrichment.patience,
            default: enrichment.default.clone(),
            keep: enrichment.keep,
        })
        .collect();
    let actions: Vec<ActionPart> =
        source.actions.iter().map(|action| action_part(&source, action, &every, &mut arguments)).collect();
    let conditions = source.enrichments.into_iter().map(|enrichment| enrichment.when.map(|when| when.value));
    let enrichments = enrichments.into_iter().zip(conditions).map(|(part, when)| EnrichmentPart { when, ..part });
    let names = |list: Vec<At<Name>>| list.into_iter().map(|name| name.value).collect::<Vec<Name>>();
    let planners = source.planners.into_iter().map(|planner| PlannerPart {
        name: planner.name.value,
        scope: reader::resolve(&planner.scope, &every),
        when: planner.when.map(|when| when.value),
        prompt: planner.prompt.value,
        tools: names(planner.tools),
        calls: planner.calls,
    });
    let mut intents = Vec::with_capacity(source.intents.len());
    for intent in source.intents {
        let states = intent.states.into_iter().map(|state| StatePart {
            name: state.name.value,
            terminal: state.terminal,
            boundary: state.boundary,
            collect: names(state.collect),
            until: state.until.map(|until| UntilPart { when: until.when.map(|when| when.value), go: until.go.value }),
        });
        intents.push(IntentPart {
            name: intent.name.value,
            priority: intent.priority,
            signals: intent.signals,
            initial: intent.initial?.value,
            digression: intent.digression,
            reset: intent.reset,
            label: intent.label,
            description: intent.description,
            choice: intent.choice,
            sticky: intent.sticky,
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
        follow_ups: row.follow_ups,
    });
    let redaction = Redaction::new(&source.secret_keys, source.secret_patterns);
    let slots = source.slots.into_iter().map(|slot| Slot {
        secret: slot.secret || redaction.is_secret(&slot.name.value),
        name: slot.name.value,
        description: slot.description,
        kind: slot.kind,
        patterns: slot.patterns,
        scope: slot.scope,
        asked_only: slot.asked_only,
        by_model: slot.by_model,
    });
    let flags = source.flags.into_iter().map(|flag| FlagPart {
        name: flag.name.value,
        one_turn: flag.one_turn,
        reset: flag.reset,
    });
    let progress = source.progress.into_iter().map(|row| ProgressPart {
        stage: row.stage,
        scope: reader::resolve(&row.scope, &every),
        text: row.text,
    });
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
        guard: guard_part(source.guard)?,
        acts: ActPatterns::new(&source.acts).ok()?,
        act_model: source.act_model.map(|model| model.value),
        understanding: Understanding {
            likeness: source.understanding.likeness,
            collision: texts.collision,
            model: source.understanding.model.map(|model| model.value),
            sticky: source.understanding.sticky,
            let_go: source.understanding.let_go,
        },
        flags: flags.collect(),
        slots: slots.collect(),
        extract_prompt: source.extract_prompt.map(|prompt| prompt.value),
        intents,
        transitions: transitions.collect(),
        rules: rules.collect(),
        enrichments: enrichments.collect(),
        actions,
        planners: planners.collect(),
        responses: responses.collect(),
        prompts: texts.prompts,
        redaction,
        summary: source.summary.map(|summary| summary.value),
        scripts: Scripts(source.scripted.into_iter().map(|scripted| scripted.rule).collect()),
        progress: progress.collect(),
        upgrades: upgrades.collect(),
        busy: source.busy,
        fallback: source.fallback?,
        clarify: texts.clarify?,
        templates: texts.templates,
    })
}

fn guard_part(source: SourceGuard) -> Option<Guard> {
    let policies = source.policies.into_iter().map(|policy| Policy {
        id: policy.id.value,
        triggers: policy.triggers,
        consequence: match policy.consequence {
            SourceConsequence::Block(reply) => Consequence::Block(reply),
            SourceConsequence::Flag(flag) => Consequence::Flag(flag.value),
        },
    });
    let steering = source.steering.map(|steering| {
        let flag_at = steering.flag_at.map(|(score, flag)| (score, flag.value));
        Steering::new(&steering.signs, flag_at, steering.block_at)
    });
    Some(Guard { policies: policies.collect(), steering: steering.transpose().ok()? })
}

/// The argument; its text, if it is one, is the next of those that were compiled.
fn argument_part(
    argument: &SourceArgument,
    texts: &mut impl Iterator<Item = Option<TemplateRef>>,
) -> Option<Argument<Name>> {
    Some(match argument {
        SourceArgument::Value(value) => Argument::Value(value.clone()),
        SourceArgument::Slot(slot) => Argument::Slot(Arc::clone(&slot.value)),
        SourceArgument::Template(_) => Argument::Template(texts.next().flatten()?),
        SourceArgument::Chosen(chosen) => Argument::Chosen(chosen.value.clone()),
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
        SourceEffect::Reset => RuleEffectPart::Reset,
        SourceEffect::Remind(id, after) => RuleEffectPart::Remind(Arc::clone(&id.value), *after),
        SourceEffect::Forget(id) => RuleEffectPart::Forget(Arc::clone(&id.value)),
    })
}

fn action_part(
    source: &SourceFlow,
    action: &SourceAction,
    every: &[Place],
    arguments: &mut impl FnMut(&[(Name, SourceArgument)]) -> Vec<(Name, Argument<Name>)>,
) -> ActionPart {
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
    let tool = |tool: &SourceTool| ToolPart {
        tool: Arc::clone(&tool.tool),
        arguments: arguments(&tool.arguments),
        read_only: tool.read_only,
        idempotent: tool.idempotent,
        patience: tool.patience,
        schema: tool.schema.clone(),
    };
    ActionPart {
        name: Arc::clone(&action.name.value),
        description: Arc::clone(&action.description),
        label: Arc::clone(&action.label),
        choice: action.choice.clone(),
        scope: action.scope.as_ref().map_or(Scope::Everywhere, |scope| reader::resolve(scope, every)),
        priority: action.priority,
        slots: action.slots.iter().map(|slot| Arc::clone(&slot.value)).collect(),
        confirm: action.confirm,
        tool: action.tool.as_ref().map(tool),
        results: results.collect(),
        on_executed: target(&action.on_executed),
        on_rejected: target(&action.on_rejected),
        on_expired: target(&action.on_expired),
        on_failed: target(&action.on_failed),
    }
}
