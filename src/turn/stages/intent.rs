//! Stage 4: chooses the intent among those the position declares a way to.

use std::sync::Arc;

use colloquy_flow::{By, Classification, MatchKind, Words};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::Progress,
    state::Change,
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    match work.course {
        Course::Open => {}
        Course::Blocked => return Progress::Next,
        Course::Decided | Course::Corrected | Course::Clarify => {
            work.event(Stage::Intent, StageResult::Skipped, Reason::Decided, Detail::None);
            return Progress::Next;
        }
    }
    let flow = Arc::clone(&work.flow);
    let words = Words::of(&work.input.text);
    match flow.state(work.candidate).classifier.classify(&work.input.text, &words) {
        Some(found) => choose(work, &found),
        None => work.event(Stage::Intent, StageResult::NoMatch, Reason::Current, Detail::None),
    }
    Progress::Next
}

fn choose(work: &mut Work, found: &Classification) {
    work.recognised = true;
    let flow = Arc::clone(&work.flow);
    let here = flow.state(work.candidate);
    let intent = flow.intent(found.intent);
    if found.intent == here.intent && !here.terminal {
        work.event(Stage::Intent, StageResult::Stayed, Reason::Current, Detail::Name(Arc::clone(&intent.name)));
        return;
    }
    let mask = flow.by_mask(work.candidate, intent.initial);
    let interrupts = intent.digression && found.intent != here.intent && !here.terminal && mask.allows(By::Digression);
    if interrupts && work.state().interrupted().len() >= usize::from(flow.limits().digression_depth) {
        let name = Detail::Name(Arc::clone(&intent.name));
        work.event(Stage::Intent, StageResult::Blocked, Reason::StackFull, name);
        return;
    }
    report(work, found);
    if found.intent == here.intent {
        // The intent begins anew: what it collected the last time does not answer for this time.
        for slot in &intent.collected {
            let slot = &flow.slot(*slot).name;
            if work.state().slot(slot).is_some() {
                work.change(Change::SlotCleared { slot: Arc::clone(slot) });
            }
        }
    }
    let by = if interrupts || !mask.allows(By::Intent) { By::Digression } else { By::Intent };
    work.propose(by, &intent.name, intent.initial);
}

fn report(work: &mut Work, found: &Classification) {
    let reason = match found.kind {
        MatchKind::Pattern => Reason::Pattern,
        MatchKind::Keywords(_) => Reason::Keywords,
    };
    let named = std::iter::once(&found.intent).chain(&found.equals);
    let names = named.map(|intent| Arc::clone(&work.flow.intent(*intent).name)).collect();
    let result = if found.equals.is_empty() { StageResult::Matched } else { StageResult::Collided };
    work.event(Stage::Intent, result, reason, Detail::names(names));
}
