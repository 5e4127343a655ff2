//! Stage 4: chooses the intent among those the position declares a way to: what structured input names,
//! what the user chose when asked, patterns, keywords and examples, then a model.

use std::sync::Arc;

use colloquy_flow::{Act, By, Flow, IntentIx, MatchKind, Name, SlotScope, Words};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::{Progress, asking},
    state::{Change, Question},
    work::{Course, Work},
};

/// An intent, and how it was found.
struct Found {
    intent: IntentIx,
    reason: Reason,
    by: &'static str,
    confidence: u8,
    equals: Vec<IntentIx>,
    proposer: By,
}

impl Found {
    const fn sure(intent: IntentIx, reason: Reason, by: &'static str) -> Self {
        Self { intent, reason, by, confidence: 100, equals: Vec::new(), proposer: By::Intent }
    }
}

pub(super) fn run(work: &mut Work) -> Progress {
    match work.course {
        Course::Open if work.reset.is_none() => {}
        Course::Blocked => return Progress::Next,
        _ => {
            work.event(Stage::Intent, StageResult::Skipped, Reason::Decided, Detail::None);
            return Progress::Next;
        }
    }
    let flow = Arc::clone(&work.flow);
    let named = named(work, &flow).or_else(|| chosen(work, &flow));
    let found = named.or_else(|| recognised(work, &flow));
    let sure = found.as_ref().map_or(0, |found| found.confidence);
    let model = flow.intent_model().filter(|model| sure < model.below && !work.said().trim().is_empty());
    let found = match model {
        None => found,
        Some(model) => {
            let allowed: Vec<(Name, Name)> = flow
                .model_intents(work.candidate)
                .into_iter()
                .map(|intent| (Arc::clone(&flow.intent(intent).name), Arc::clone(&flow.intent(intent).description)))
                .collect();
            match asking::choice(work, &flow, model, "intent", &allowed) {
                None => return Progress::Need,
                Some(Ok(None)) => found,
                Some(Ok(Some((name, confidence)))) => match flow.find_intent(&name) {
                    Some(intent) => {
                        let found = Found::sure(intent, Reason::Model, "model");
                        Some(Found { confidence, proposer: By::Model, ..found })
                    }
                    None => {
                        work.degrade(Stage::Intent, Reason::Malformed, &model.prompt);
                        found
                    }
                },
                Some(Err(reason)) => {
                    work.degrade(Stage::Intent, reason, &model.prompt);
                    found
                }
            }
        }
    };
    work.released = flow.lets_go(work.said());
    if work.released {
        let held = Detail::Name(Arc::clone(&flow.state(work.candidate).intent_name));
        work.event(Stage::Intent, StageResult::Dropped, Reason::Released, held);
    }
    match found {
        Some(found) => decide(work, &flow, &found),
        None => work.event(Stage::Intent, StageResult::NoMatch, Reason::Current, Detail::None),
    }
    Progress::Next
}

/// What structured input names.
fn named(work: &Work, flow: &Flow) -> Option<Found> {
    let intent = work.structured.as_ref()?.intent.as_ref()?;
    Some(Found::sure(flow.find_intent(intent)?, Reason::Input, "input"))
}

/// What the user chose, if the last turn asked which intent is meant.
fn chosen(work: &Work, flow: &Flow) -> Option<Found> {
    let Some(Question::Intents(names)) = work.state().question() else { return None };
    let options: Vec<IntentIx> = names.iter().filter_map(|name| flow.find_intent(name)).collect();
    let mut named = options.iter().filter(|option| flow.intent(**option).chosen_by(work.said()));
    match (named.next(), named.next()) {
        (Some(intent), None) => Some(Found::sure(*intent, Reason::Choice, "choice")),
        _ => None,
    }
}

fn recognised(work: &Work, flow: &Flow) -> Option<Found> {
    let words = Words::of(work.said());
    let found = flow.classify(work.candidate, work.said(), &words)?;
    let (reason, by) = match found.kind {
        MatchKind::Pattern => (Reason::Pattern, "pattern"),
        MatchKind::Keywords(_) => (Reason::Keywords, "keywords"),
        MatchKind::Example(_) => (Reason::Example, "example"),
    };
    let confidence = found.kind.confidence();
    Some(Found { intent: found.intent, reason, by, confidence, equals: found.equals, proposer: By::Intent })
}

fn decide(work: &mut Work, flow: &Flow, found: &Found) {
    let here = flow.state(work.candidate);
    let mut intent_ix = found.intent;
    if !found.equals.is_empty() {
        if !here.terminal && found.equals.contains(&here.intent) {
            // One of the equals is underway: that one goes on.
            intent_ix = here.intent;
        } else if flow.collision().is_some() && !matches!(work.state().question(), Some(Question::Intents(_))) {
            return ask(work, flow, found);
        }
    }
    let intent = flow.intent(intent_ix);
    work.recognised = true;
    work.recognised_by = (found.by, found.confidence);
    if intent_ix == here.intent && !here.terminal {
        work.event(Stage::Intent, StageResult::Stayed, Reason::Current, Detail::Name(Arc::clone(&intent.name)));
        return;
    }
    if holds_on(work, flow, found) {
        let names = vec![Arc::clone(&here.intent_name), Arc::clone(&intent.name)];
        work.recognised = false;
        return work.event(Stage::Intent, StageResult::Stayed, Reason::Sticky, Detail::Names(names));
    }
    if intent.reset {
        work.reset = Some(found.reason);
        work.course = Course::Decided;
        return work.event(Stage::Intent, StageResult::Matched, found.reason, Detail::Name(Arc::clone(&intent.name)));
    }
    enter(work, flow, found, intent_ix);
}

/// Whether the current intent holds on: it is sticky, and the other is not sure enough to take over.
fn holds_on(work: &Work, flow: &Flow, found: &Found) -> bool {
    let here = flow.state(work.candidate);
    let sticky = flow.intent(here.intent).sticky.filter(|_| !here.terminal);
    let asked_for = matches!(found.reason, Reason::Input | Reason::Choice) || work.act == Some(Act::NewRequest);
    sticky.is_some_and(|least| found.confidence < least) && !work.released && !asked_for
}

fn enter(work: &mut Work, flow: &Flow, found: &Found, intent_ix: IntentIx) {
    let here = flow.state(work.candidate);
    let intent = flow.intent(intent_ix);
    let mask = flow.by_mask(work.candidate, intent.initial);
    let from_model = found.proposer == By::Model;
    let interrupts = intent.digression && intent_ix != here.intent && !here.terminal && mask.allows(By::Digression);
    // A model may interrupt only where the flow lets a model choose.
    let interrupts = interrupts && (!from_model || mask.allows(By::Model));
    if interrupts && work.state().interrupted().len() >= usize::from(flow.limits().digression_depth) {
        let name = Detail::Name(Arc::clone(&intent.name));
        return work.event(Stage::Intent, StageResult::Blocked, Reason::StackFull, name);
    }
    let names = std::iter::once(&intent_ix).chain(&found.equals).map(|intent| Arc::clone(&flow.intent(*intent).name));
    let result = if found.equals.is_empty() { StageResult::Matched } else { StageResult::Collided };
    work.event(Stage::Intent, result, found.reason, Detail::names(names.collect()));
    if intent_ix == here.intent {
        // The intent begins anew: what it collected the last time does not answer for this time.
        for slot in &intent.collected {
            let SlotScope::Intent = flow.slot(*slot).scope else { continue };
            let slot = &flow.slot(*slot).name;
            if work.state().slot(slot).is_some() {
                work.change(Change::SlotCleared { slot: Arc::clone(slot) });
            }
        }
    }
    let by = if interrupts || (!from_model && !mask.allows(By::Intent) && mask.allows(By::Digression)) {
        By::Digression
    } else {
        found.proposer
    };
    work.propose(by, &intent.name, intent.initial);
}

/// Several are equal: the user says which. Asked once in a row; then the first is taken.
fn ask(work: &mut Work, flow: &Flow, found: &Found) {
    work.choices = std::iter::once(&found.intent).chain(&found.equals).copied().collect();
    work.course = Course::Clarify;
    let names = work.choices.iter().map(|intent| Arc::clone(&flow.intent(*intent).name)).collect();
    work.event(Stage::Intent, StageResult::Asked, Reason::Ambiguous, Detail::Names(names));
}
