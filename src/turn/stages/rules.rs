//! Stage 7 and what belongs to it: rules of the position the turn is heading for, in the phase that has come.
//!
//! A rule fires at most once per turn. When one proposes another position, the rules of the phase there have
//! their say; the number of passes is capped. A state that collects until it is complete leads on here.

use std::{sync::Arc, time::Duration};

use colloquy_flow::{By, Rule, RuleEffect, RulePhase};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::Progress,
    state::Change,
    timer::{TIMERS_MAX, Timer, TimerEnding},
    work::{Course, Work},
};

pub(super) fn after_dialogue_act(work: &mut Work) -> Progress {
    run(work, RulePhase::AfterDialogueAct)
}

pub(super) fn after_intent(work: &mut Work) -> Progress {
    run(work, RulePhase::AfterIntent)
}

pub(super) fn after_enrichment(work: &mut Work) -> Progress {
    run(work, RulePhase::AfterEnrichment)
}

pub(super) fn after_extraction(work: &mut Work) -> Progress {
    run(work, RulePhase::AfterExtraction)
}

pub(super) fn before_action(work: &mut Work) -> Progress {
    run(work, RulePhase::BeforeAction)
}

pub(super) fn after_action(work: &mut Work) -> Progress {
    run(work, RulePhase::AfterAction);
    let more = !work.staged.is_empty() && work.course != Course::Blocked && work.reset.is_none();
    if more { Progress::Back } else { Progress::Next }
}

pub(super) fn before_response(work: &mut Work) -> Progress {
    run(work, RulePhase::BeforeResponse)
}

fn run(work: &mut Work, phase: RulePhase) -> Progress {
    if work.course == Course::Blocked {
        return Progress::Next;
    }
    // The phase where most rules belong always leaves an event; the others only when they have rules here.
    let always = phase == RulePhase::AfterExtraction;
    if work.course == Course::Clarify || (work.reset.is_some() && phase != RulePhase::BeforeResponse) {
        if always {
            work.event(Stage::Rules, StageResult::Skipped, Reason::Decided, Detail::None);
        }
        return Progress::Next;
    }
    let leads_on = matches!(phase, RulePhase::AfterExtraction | RulePhase::AfterAction);
    let declared = work.flow.rules_in(work.candidate, phase).next().is_some();
    let until = leads_on && work.flow.state(work.candidate).until.is_some();
    if !declared && !until {
        if always {
            work.event(Stage::Rules, StageResult::Skipped, Reason::NotDeclared, Detail::None);
        }
        return Progress::Next;
    }
    let mut fired = Vec::new();
    let mut at_rest = false;
    for _ in 0..work.flow.limits().rule_passes {
        let goes_on = pass(work, phase, &mut fired) || (leads_on && lead_on(work));
        if !goes_on {
            at_rest = true;
            break;
        }
    }
    if !at_rest {
        let name = Arc::clone(&work.flow.state(work.candidate).full_name);
        work.degrade(Stage::Rules, Reason::RulePasses, &name);
    }
    if fired.is_empty() {
        work.event(Stage::Rules, StageResult::NoMatch, phase.into(), Detail::None);
    } else {
        work.event(Stage::Rules, StageResult::Done, phase.into(), Detail::names(fired));
    }
    Progress::Next
}

/// Runs over the rules once; whether any fired.
fn pass(work: &mut Work, phase: RulePhase, fired: &mut Vec<Arc<str>>) -> bool {
    let flow = Arc::clone(&work.flow);
    let here = work.candidate;
    let mut any = false;
    for (index, rule) in flow.rules_in(here, phase) {
        if work.settled.contains(&index) {
            continue;
        }
        match rule.when.as_ref().map_or(Ok(true), |condition| condition.holds(&work.facts(here))) {
            Ok(false) => continue,
            Ok(true) => {
                work.settled.push(index);
                fired.push(Arc::clone(&rule.id));
                fire(work, rule, phase);
                any = true;
            }
            Err(_) => {
                work.settled.push(index);
                work.degrade(Stage::Rules, Reason::Condition, &rule.id);
            }
        }
        if work.candidate != here || work.reset.is_some() {
            break;
        }
    }
    any && work.reset.is_none()
}

/// Leads on from a state that is complete; whether it does.
fn lead_on(work: &mut Work) -> bool {
    let flow = Arc::clone(&work.flow);
    let here = flow.state(work.candidate);
    let Some(until) = &here.until else { return false };
    let complete = match &until.when {
        None => work.missing.is_empty(),
        Some(when) => match when.holds(&work.facts(work.candidate)) {
            Ok(complete) => complete,
            Err(_) => {
                work.degrade_once(Stage::Rules, Reason::Condition, &here.full_name);
                false
            }
        },
    };
    if complete {
        work.event(Stage::Rules, StageResult::Done, Reason::Complete, Detail::Name(Arc::clone(&here.full_name)));
        work.propose(By::Rule, &here.full_name, until.go);
    }
    complete
}

fn fire(work: &mut Work, rule: &Rule, phase: RulePhase) {
    let flow = Arc::clone(&work.flow);
    // The conversation has moved and acted: what is left to change are slots, flags and timers.
    let late = phase == RulePhase::BeforeResponse;
    for effect in &rule.then {
        match effect {
            RuleEffect::Go(_) | RuleEffect::Stage(_) | RuleEffect::Reset if late => {
                work.degrade(Stage::Rules, Reason::OutOfScope, &rule.id);
            }
            RuleEffect::Go(target) => work.propose(By::Rule, &rule.id, *target),
            RuleEffect::Set(slot, value) => {
                work.change(Change::SlotSet { slot: Arc::clone(&flow.slot(*slot).name), value: value.clone() });
            }
            RuleEffect::Clear(slot) => {
                let slot = &flow.slot(*slot).name;
                if work.state().slot(slot).is_some() {
                    work.change(Change::SlotCleared { slot: Arc::clone(slot) });
                }
            }
            RuleEffect::Flag(flag) => raise(work, flag, late),
            RuleEffect::Unflag(flag) => {
                if work.state().flags().contains(flag) {
                    work.change(Change::FlagCleared { flag: Arc::clone(flag) });
                }
            }
            RuleEffect::Stage(action) => work.stage_action(*action),
            RuleEffect::Reset => work.reset = Some(Reason::Reset),
            RuleEffect::Remind(id, after) => remind(work, id, *after),
            RuleEffect::Forget(id) => forget(work, id),
        }
    }
}

/// Sets a timer, in place of one of its id.
fn remind(work: &mut Work, id: &Arc<str>, after: Duration) {
    let set = work.state().timers();
    if set.len() >= TIMERS_MAX && !set.iter().any(|timer| timer.id == *id) {
        return work.degrade(Stage::Rules, Reason::TimersFull, id);
    }
    let timer = Timer::after(id, work.now, after, work.state().turns());
    work.change(Change::TimerSet(timer));
}

/// Drops a timer, if it is set.
fn forget(work: &mut Work, id: &Arc<str>) {
    if work.state().timers().iter().any(|timer| timer.id == *id) {
        work.change(Change::TimerEnded { id: Arc::clone(id), ending: TimerEnding::Forgotten });
    }
}

/// Raises a flag; one that is declared to starts the conversation over.
fn raise(work: &mut Work, flag: &Arc<str>, late: bool) {
    if !work.state().flags().contains(flag) {
        work.change(Change::FlagSet { flag: Arc::clone(flag) });
    }
    if !late && work.flow.flag(flag).is_some_and(|flag| flag.reset) {
        work.reset = Some(Reason::Reset);
    }
}
