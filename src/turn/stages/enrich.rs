//! Stage 5: fetches what the position declares, all of it at once. What is late or fails leaves its
//! declared default and a degradation.

use std::sync::Arc;

use colloquy_flow::{Argument, Enrichment, Flow, Json, Name, SlotIx};

use crate::{
    effect::{CallOutcome, CallRequest, EffectKind, EffectValue},
    event::{Detail, Reason, Stage, StageResult},
    stages::Progress,
    state::Change,
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    match work.course {
        Course::Blocked | Course::Interrupted => return Progress::Next,
        Course::Clarify => {
            work.event(Stage::Enrich, StageResult::Skipped, Reason::Decided, Detail::None);
            return Progress::Next;
        }
        Course::Open | Course::Decided | Course::Corrected => {}
    }
    let flow = Arc::clone(&work.flow);
    let heading = flow.state(work.candidate);
    if heading.enrichments.is_empty() || work.reset.is_some() {
        work.event(Stage::Enrich, StageResult::Skipped, Reason::NotDeclared, Detail::None);
        return Progress::Next;
    }
    // Nothing changes before everything is there, so what is decided here is decided again the same way.
    let mut fetched = Vec::new();
    let mut unevaluable = Vec::new();
    for index in &heading.enrichments {
        let enrichment = flow.enrichment(*index);
        match wanted(work, enrichment) {
            Ok(false) => {}
            Ok(true) => {
                let Some(arguments) = arguments(work, &flow, &enrichment.arguments, &[]) else { continue };
                let answer = work.ask(EffectKind::Fetch(Arc::new(CallRequest {
                    name: Arc::clone(&enrichment.name),
                    target: Arc::clone(&enrichment.source),
                    arguments,
                    read_only: true,
                    idempotent: true,
                    patience: enrichment.patience,
                })));
                fetched.extend(answer.map(|answer| (enrichment, answer)));
            }
            Err(()) => unevaluable.push(Arc::clone(&enrichment.name)),
        }
    }
    if work.waits() {
        return Progress::Need;
    }
    for name in &unevaluable {
        work.degrade(Stage::Enrich, Reason::Condition, name);
    }
    if fetched.is_empty() {
        work.event(Stage::Enrich, StageResult::NoMatch, Reason::None, Detail::None);
    }
    for (enrichment, answer) in fetched {
        take(work, enrichment, answer);
    }
    Progress::Next
}

fn wanted(work: &Work, enrichment: &Enrichment) -> Result<bool, ()> {
    let held = work.state().data().iter().any(|(name, _)| *name == enrichment.name);
    if enrichment.keep && held {
        return Ok(false);
    }
    enrichment.when.as_ref().map_or(Ok(true), |when| when.holds(&work.facts(work.candidate)).map_err(|_| ()))
}

fn take(work: &mut Work, enrichment: &Enrichment, answer: EffectValue) {
    let EffectValue::Fetch(outcome) = answer else { return };
    let name = &enrichment.name;
    let (value, trouble) = match outcome {
        CallOutcome::Done(value) => (Some(value), None),
        CallOutcome::Partial(value) => (Some(value), Some(Reason::Partial)),
        CallOutcome::Failed(failure) => (None, Some(failure.into())),
        CallOutcome::Unknown => (None, Some(Reason::Unknown)),
    };
    match trouble {
        None => work.event(Stage::Enrich, StageResult::Done, Reason::None, Detail::Name(Arc::clone(name))),
        Some(reason) => {
            work.degrade(Stage::Enrich, reason, name);
            work.note_failed(name);
        }
    }
    // A default stands in for one turn only: the next one asks again.
    if let Some(value) = value.as_ref().filter(|_| enrichment.keep && trouble.is_none()) {
        work.change(Change::DataSet { name: Arc::clone(name), value: value.clone() });
    }
    if let Some(value) = value.or_else(|| enrichment.default.clone()) {
        insert(&mut work.enrich, name, value);
    }
}

/// Enters a value into a list ordered by name.
pub(super) fn insert(values: &mut Vec<(Name, Json)>, name: &Name, value: Json) {
    match values.binary_search_by(|(held, _)| held.cmp(name)) {
        Ok(place) => {
            if let Some((_, held)) = values.get_mut(place) {
                *held = value;
            }
        }
        Err(place) => values.insert(place, (Arc::clone(name), value)),
    }
}

/// The arguments of a call; `None` while a slot they need is empty, a text cannot be made, or nothing was `chosen`
/// for what a model chooses.
pub(super) fn arguments(
    work: &Work,
    flow: &Flow,
    written: &[(Name, Argument<SlotIx>)],
    chosen: &[(Name, Json)],
) -> Option<Json> {
    let made: Option<Vec<(Name, Json)>> = written
        .iter()
        .map(|(name, argument)| {
            let value = match argument {
                Argument::Value(value) => value.clone(),
                Argument::Slot(slot) => Json::from(work.state().slot(&flow.slot(*slot).name)?),
                Argument::Template(template) => {
                    let variables = Arc::new(work.variables(work.candidate, []));
                    Json::Text(flow.templates().render(template, &variables).ok()?.into())
                }
                Argument::Chosen(_) => chosen.iter().find(|(held, _)| held == name)?.1.clone(),
            };
            Some((Arc::clone(name), value))
        })
        .collect();
    made.map(Json::object)
}
