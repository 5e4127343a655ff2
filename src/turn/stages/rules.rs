//! Stage 7: evaluates the rules of the position the turn is heading for, phase by phase.
//!
//! A rule fires at most once per turn. When one proposes another position, the rules there have their say
//! from the first phase on; the number of passes is capped.

use std::sync::Arc;

use colloquy_flow::{By, Rule, RuleEffect, RuleIx};

use crate::{
    event::{Detail, DialogueAct, Reason, Stage, StageResult},
    stages::Progress,
    state::Change,
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    if work.course == Course::Blocked {
        return Progress::Next;
    }
    if work.course == Course::Clarify || work.act == DialogueAct::Reset {
        work.event(Stage::Rules, StageResult::Skipped, Reason::Decided, Detail::None);
        return Progress::Next;
    }
    let mut settled: Vec<RuleIx> = Vec::new();
    let mut fired = Vec::new();
    let mut at_rest = false;
    for _ in 0..work.flow.limits().rule_passes {
        if !pass(work, &mut settled, &mut fired) {
            at_rest = true;
            break;
        }
    }
    if !at_rest {
        let name = Arc::clone(&work.flow.state(work.candidate).full_name);
        work.degrade(Stage::Rules, Reason::RulePasses, &name);
    }
    let none_here = settled.is_empty() && work.flow.rules_in(work.candidate).next().is_none();
    match (fired.is_empty(), none_here) {
        (false, _) => work.event(Stage::Rules, StageResult::Done, Reason::None, Detail::names(fired)),
        (true, true) => work.event(Stage::Rules, StageResult::Skipped, Reason::NotDeclared, Detail::None),
        (true, false) => work.event(Stage::Rules, StageResult::NoMatch, Reason::None, Detail::None),
    }
    Progress::Next
}

/// Runs over the rules once; whether any fired.
fn pass(work: &mut Work, settled: &mut Vec<RuleIx>, fired: &mut Vec<Arc<str>>) -> bool {
    let flow = Arc::clone(&work.flow);
    let here = work.candidate;
    let mut any = false;
    for (index, rule) in flow.rules_in(here) {
        if settled.contains(&index) {
            continue;
        }
        match rule.when.as_ref().map_or(Ok(true), |condition| condition.holds(&work.facts(here))) {
            Ok(false) => continue,
            Ok(true) => {
                settled.push(index);
                fired.push(Arc::clone(&rule.id));
                fire(work, rule);
                any = true;
            }
            Err(_) => {
                settled.push(index);
                work.degrade(Stage::Rules, Reason::Condition, &rule.id);
            }
        }
        if work.candidate != here {
            break;
        }
    }
    any
}

fn fire(work: &mut Work, rule: &Rule) {
    let flow = Arc::clone(&work.flow);
    for effect in &rule.then {
        match effect {
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
            RuleEffect::Flag(flag) => {
                if !work.state().flags().contains(flag) {
                    work.change(Change::FlagSet { flag: Arc::clone(flag) });
                }
            }
            RuleEffect::Unflag(flag) => {
                if work.state().flags().contains(flag) {
                    work.change(Change::FlagCleared { flag: Arc::clone(flag) });
                }
            }
            RuleEffect::Stage(action) => work.stage_action(*action),
        }
    }
}
