//! Stage 2: recognises what kind of thing the user says: patterns first, a model where the flow wants one
//! and they are not sure enough.

use std::sync::Arc;

use colloquy_flow::{Act, Name, Recognised};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::{Progress, asking},
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    if work.course == Course::Blocked {
        return Progress::Next;
    }
    if work.is_timer() {
        // Nothing was said: there is no act, no intent and no value to find.
        work.course = Course::Decided;
        work.event(Stage::DialogueAct, StageResult::Skipped, Reason::Timer, Detail::Name(work.timer().into()));
        return Progress::Next;
    }
    let flow = Arc::clone(&work.flow);
    let recognised = flow.acts().recognise(work.said().trim());
    let confidence = match recognised {
        Recognised::Act(_, confidence) => confidence,
        Recognised::Nothing | Recognised::Torn => 0,
    };
    let model = flow.act_model().filter(|model| confidence < model.below && !work.said().trim().is_empty());
    let chosen = match model {
        None => None,
        Some(model) => {
            let allowed: Vec<(Name, Name)> =
                Act::ALL.into_iter().map(|act| (act.name().into(), meaning(act).into())).collect();
            match asking::choice(work, &flow, model, "act", &allowed) {
                None => return Progress::Need,
                Some(Ok(chosen)) => chosen.and_then(|(name, _)| Act::parse(&name)),
                Some(Err(reason)) => {
                    work.degrade(Stage::DialogueAct, reason, &model.prompt);
                    None
                }
            }
        }
    };
    let (act, result, reason) = match (chosen, recognised) {
        (Some(act), _) => (Some(act), StageResult::Matched, Reason::Model),
        (None, Recognised::Act(act, _)) => (Some(act), StageResult::Matched, reason_of(act)),
        (None, Recognised::Torn) => (None, StageResult::NoMatch, Reason::Ambiguous),
        (None, Recognised::Nothing) => (None, StageResult::NoMatch, Reason::None),
    };
    work.act = act;
    if act == Some(Act::Reset) {
        work.reset = Some(Reason::Reset);
        work.course = Course::Decided;
    }
    let named = act.filter(|_| reason == Reason::Model || reason == Reason::Pattern);
    let detail = named.map_or(Detail::None, |act| Detail::Name(act.name().into()));
    work.event(Stage::DialogueAct, result, reason, detail);
    Progress::Next
}

const fn reason_of(act: Act) -> Reason {
    match act {
        Act::Affirm => Reason::Affirmed,
        Act::Negate => Reason::Negated,
        Act::Reset => Reason::Reset,
        Act::Retry | Act::Edit | Act::NewRequest | Act::Question | Act::Answer => Reason::Pattern,
    }
}

/// What a model is told of an act.
const fn meaning(act: Act) -> &'static str {
    match act {
        Act::Reset => "wants to start over from the beginning",
        Act::Retry => "wants what just failed to be tried again",
        Act::Edit => "wants to change something said before",
        Act::Affirm => "agrees or confirms",
        Act::Negate => "refuses or denies",
        Act::NewRequest => "wants something else than what is underway",
        Act::Question => "asks something",
        Act::Answer => "gives what was asked for",
    }
}
