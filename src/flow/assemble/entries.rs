//! The entries of the tables, made of their parts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{AssembleError, names::Names};
use crate::{
    calls::Argument,
    entries::{Action, Enrichment, Intent, RuleEffect, Tool},
    index::SlotIx,
    parts::{ActionPart, EnrichmentPart, FlowParts, Name, Place, RuleEffectPart, Scope, ToolPart},
    planner::{Planner, PlannerPart},
    upgrade::{Upgrade, UpgradePart},
};

impl Names {
    pub(super) fn intents(&self, parts: &FlowParts) -> Result<Vec<Intent>, AssembleError> {
        let mut intents = Vec::with_capacity(parts.intents.len());
        for intent in &parts.intents {
            let mut states = HashMap::with_capacity(intent.states.len());
            let mut collected: BTreeSet<Name> = intent.collect.iter().cloned().collect();
            for state in &intent.states {
                let place = Place { intent: Arc::clone(&intent.name), state: Arc::clone(&state.name) };
                states.insert(Arc::clone(&state.name), self.state(&place)?);
                collected.extend(state.collect.iter().cloned());
            }
            let keep: BTreeSet<Name> = intent.keep.iter().chain(&collected).cloned().collect();
            keep.iter().try_for_each(|name| self.slot(name).map(drop))?;
            let initial = Place { intent: Arc::clone(&intent.name), state: Arc::clone(&intent.initial) };
            intents.push(Intent {
                name: Arc::clone(&intent.name),
                initial: self.state(&initial)?,
                digression: intent.digression,
                reset: intent.reset,
                label: Arc::clone(&intent.label),
                description: Arc::clone(&intent.description),
                sticky: intent.sticky.or(parts.understanding.sticky),
                choice: intent.choice.clone(),
                states,
                collected: collected.iter().map(|name| self.slot(name)).collect::<Result<_, _>>()?,
                keep: keep.into_iter().collect(),
            });
        }
        Ok(intents)
    }

    pub(super) fn effect(&self, effect: &RuleEffectPart, intents: &[Intent]) -> Result<RuleEffect, AssembleError> {
        Ok(match effect {
            RuleEffectPart::Go(place) => RuleEffect::Go(self.state(place)?),
            RuleEffectPart::Intent(name) => {
                let found = self.intents.get(name).and_then(|intent| intents.get(intent.at()));
                let unknown = || AssembleError::Unknown { kind: "intent", name: name.to_string() };
                RuleEffect::Go(found.ok_or_else(unknown)?.initial)
            }
            RuleEffectPart::Set(slot, value) => RuleEffect::Set(self.slot(slot)?, value.clone()),
            RuleEffectPart::Clear(slot) => RuleEffect::Clear(self.slot(slot)?),
            RuleEffectPart::Flag(flag) => RuleEffect::Flag(Arc::clone(flag)),
            RuleEffectPart::Unflag(flag) => RuleEffect::Unflag(Arc::clone(flag)),
            RuleEffectPart::Stage(action) => RuleEffect::Stage(self.action_named(action)?),
            RuleEffectPart::Reset => RuleEffect::Reset,
            RuleEffectPart::Remind(id, after) => RuleEffect::Remind(Arc::clone(id), *after),
            RuleEffectPart::Forget(id) => RuleEffect::Forget(Arc::clone(id)),
        })
    }

    pub(super) fn planner(&self, part: PlannerPart) -> Result<Planner, AssembleError> {
        let mut scope = self.scope(&part.scope)?;
        scope.sort_unstable();
        Ok(Planner {
            name: part.name,
            when: part.when,
            prompt: part.prompt,
            tools: part.tools.iter().map(|tool| self.action_named(tool)).collect::<Result<_, _>>()?,
            calls: part.calls,
            scope,
        })
    }

    fn arguments(&self, parts: Vec<(Name, Argument<Name>)>) -> Result<Vec<(Name, Argument<SlotIx>)>, AssembleError> {
        let resolved = parts.into_iter().map(|(name, argument)| {
            Ok((
                name,
                match argument {
                    Argument::Value(value) => Argument::Value(value),
                    Argument::Slot(slot) => Argument::Slot(self.slot(&slot)?),
                    Argument::Template(template) => Argument::Template(template),
                    Argument::Chosen(chosen) => Argument::Chosen(chosen),
                },
            ))
        });
        resolved.collect()
    }

    pub(super) fn enrichment(&self, part: EnrichmentPart) -> Result<Enrichment, AssembleError> {
        Ok(Enrichment {
            name: part.name,
            source: part.source,
            when: part.when,
            arguments: self.arguments(part.arguments)?,
            patience: part.patience,
            default: part.default,
            keep: part.keep,
        })
    }

    fn tool(&self, part: ToolPart) -> Result<Tool, AssembleError> {
        Ok(Tool {
            tool: part.tool,
            arguments: self.arguments(part.arguments)?,
            read_only: part.read_only,
            idempotent: part.idempotent,
            patience: part.patience,
            schema: part.schema,
        })
    }

    pub(super) fn upgrade(&self, part: UpgradePart) -> Result<Upgrade, AssembleError> {
        let states = part.states.into_iter().map(|(old, new)| Ok((old, self.state(&new)?)));
        let slots = part.slots.into_iter().map(|(old, new)| {
            let new = new.map(|name| self.slot(&name)).transpose()?;
            Ok((old, new))
        });
        Ok(Upgrade {
            from: part.from,
            states: states.collect::<Result<_, AssembleError>>()?,
            slots: slots.collect::<Result<_, AssembleError>>()?,
            flags: part.flags.into_iter().collect(),
        })
    }

    pub(super) fn action(&self, part: ActionPart) -> Result<Action, AssembleError> {
        let target = |place: &Option<Place>| place.as_ref().map(|place| self.state(place)).transpose();
        let scope = match &part.scope {
            Scope::Everywhere => None,
            Scope::At(_) => {
                let mut states = self.scope(&part.scope)?;
                states.sort_unstable();
                states.dedup();
                Some(states)
            }
        };
        let results = part.results.iter().map(|(slot, source)| Ok((self.slot(slot)?, source.clone())));
        Ok(Action {
            results: results.collect::<Result<_, AssembleError>>()?,
            slots: part.slots.iter().map(|slot| self.slot(slot)).collect::<Result<_, _>>()?,
            on_executed: target(&part.on_executed)?,
            on_rejected: target(&part.on_rejected)?,
            on_expired: target(&part.on_expired)?,
            on_failed: target(&part.on_failed)?,
            tool: part.tool.map(|tool| self.tool(tool)).transpose()?,
            name: part.name,
            description: part.description,
            label: part.label,
            priority: part.priority,
            confirm: part.confirm,
            choice: part.choice,
            scope,
        })
    }
}
