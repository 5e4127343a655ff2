//! Rules that lead round in a circle.
//!
//! Only what is certain is reported: at each position of the circle the rule that leads on is the first that
//! can, because it has no condition or the same as all others, and nothing on the way changes what that
//! condition reads. Each rule fires once in a turn and passes are bounded, so such a circle ends, but not
//! where anybody meant it to.

use std::collections::{HashMap, HashSet};

use colloquy_flow::{Condition, RulePhase};

use crate::{
    check::view::{At, View},
    fault::{At as Placed, Faults, Mark},
    source::{SourceEffect, SourceRule},
};

/// Longest circle that is looked for. A turn never makes more passes than 32.
const STEPS_MAX: usize = 32;

/// What has no condition.
const ALWAYS: &str = "";

/// A step from one position to another.
struct Step<'s> {
    to: At,
    priority: i32,
    order: usize,
    who: String,
    mark: &'s Mark,
    then: &'s [SourceEffect],
}

/// Steps by position, of one phase and one condition.
type Steps<'s> = HashMap<At, Step<'s>>;

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    for phase in RulePhase::ALL {
        let steps = steps(view, phase);
        let none = Steps::new();
        let always = steps.get(ALWAYS).unwrap_or(&none);
        let mut conditions: Vec<&&str> = steps.keys().collect();
        conditions.sort_unstable();
        for condition in conditions {
            if let Some(own) = steps.get(*condition) {
                circles(view, condition, own, always, faults);
            }
        }
    }
}

/// The first step of each position, by condition. A condition that reads where the turn is heading is left out.
fn steps<'s>(view: &View<'s>, phase: RulePhase) -> HashMap<&'s str, Steps<'s>> {
    let mut steps: HashMap<&str, Steps<'_>> = HashMap::new();
    let rules = view.source.rules.iter().zip(&view.rules).enumerate();
    for (order, (rule, at)) in rules.filter(|(_, (rule, _))| rule.phase == phase) {
        let (Some(to), Some(condition)) = (view.target(&rule.then), condition_of(rule.when.as_ref())) else { continue };
        for from in at.iter().filter(|from| **from != to) {
            enter(steps.entry(condition).or_default(), *from, step_of(rule, to, order));
        }
    }
    if matches!(phase, RulePhase::AfterExtraction | RulePhase::AfterAction) {
        for (from, condition, step) in untils(view) {
            enter(steps.entry(condition).or_default(), from, step);
        }
    }
    steps
}

fn step_of<'s>(rule: &'s SourceRule, to: At, order: usize) -> Step<'s> {
    let who = format!("rule {}", rule.id.value);
    Step { to, priority: rule.priority, order, who, mark: &rule.id.mark, then: &rule.then }
}

fn enter<'s>(steps: &mut Steps<'s>, from: At, step: Step<'s>) {
    let rank = |step: &Step<'_>| (std::cmp::Reverse(step.priority), step.order);
    match steps.get(&from) {
        Some(held) if rank(held) <= rank(&step) => {}
        _ => drop(steps.insert(from, step)),
    }
}

/// States that lead on when they are complete, after every rule. One without a condition waits for its slots,
/// so only one that asks for nothing is certain to lead on.
fn untils<'s>(view: &View<'s>) -> Vec<(At, &'s str, Step<'s>)> {
    let intents = view.source.intents.iter();
    let states = intents.flat_map(|intent| intent.states.iter().map(move |state| (intent, state)));
    let led = (0..).zip(states).filter_map(|(from, (intent, state))| {
        let until = state.until.as_ref()?;
        let to = view.find(&until.go.value).filter(|to| *to != from)?;
        let condition = match &until.when {
            None if intent.collect.is_empty() && state.collect.is_empty() => ALWAYS,
            None => return None,
            when => condition_of(when.as_ref())?,
        };
        let who = "until".to_owned();
        Some((
            from,
            condition,
            Step { to, priority: i32::MIN, order: usize::MAX, who, mark: &until.go.mark, then: &[] },
        ))
    });
    led.collect()
}

/// The source of a condition; `None` for one that reads what every step changes.
fn condition_of(when: Option<&Placed<Condition>>) -> Option<&str> {
    let Some(when) = when else { return Some(ALWAYS) };
    let shape = when.value.shape();
    let changing = ["intent", "state", "moved", "missing", "next_slot"];
    (!changing.iter().any(|variable| shape.reads(variable))).then(|| when.value.source().trim())
}

/// Follows the steps of `condition`, and those that need none, from every position with such a step.
fn circles<'s>(view: &View<'s>, condition: &str, own: &Steps<'s>, always: &Steps<'s>, faults: &mut Faults) {
    let next = |at: At| match (own.get(&at), always.get(&at)) {
        (Some(own), Some(always)) => {
            let rank = |step: &Step<'_>| (std::cmp::Reverse(step.priority), step.order);
            Some(if rank(own) <= rank(always) { own } else { always })
        }
        (own, always) => own.or(always),
    };
    let mut done: HashSet<At> = HashSet::new();
    let mut starts: Vec<At> = own.keys().copied().collect();
    starts.sort_unstable();
    for start in starts {
        if faults.is_full() || done.contains(&start) {
            continue;
        }
        let mut circle = Vec::new();
        let mut at = start;
        while let Some(step) = next(at) {
            circle.push((at, step));
            at = step.to;
            if at == start || circle.len() >= STEPS_MAX {
                break;
            }
        }
        let closed = at == start && !circle.is_empty();
        if closed {
            done.extend(circle.iter().map(|(at, _)| *at));
            // A circle that needs no condition is found once, and not again with every condition.
            let its_own = condition == ALWAYS || circle.iter().any(|(at, step)| is(own.get(at), step));
            if its_own && !circle.iter().any(|(_, step)| disturbs(step.then, condition)) {
                report(view, condition, &circle, faults);
            }
        }
    }
}

fn is(held: Option<&Step<'_>>, step: &Step<'_>) -> bool {
    held.is_some_and(|held| std::ptr::eq(held, step))
}

/// Whether an effect changes what the condition reads.
fn disturbs(then: &[SourceEffect], condition: &str) -> bool {
    let reads = |kind: &str, name: &str| condition.contains(&format!("{kind}.{name}"));
    then.iter().any(|effect| match effect {
        SourceEffect::Set(slot, _) | SourceEffect::Clear(slot) => reads("slots", &slot.value),
        SourceEffect::Flag(flag) | SourceEffect::Unflag(flag) => reads("flags", &flag.value),
        SourceEffect::Stage(_) => condition.contains("pending"),
        SourceEffect::Reset => true,
        SourceEffect::Go(_) | SourceEffect::Intent(_) => false,
    })
}

fn report(view: &View<'_>, condition: &str, circle: &[(At, &Step<'_>)], faults: &mut Faults) {
    let Some((start, first)) = circle.first() else { return };
    let mut path = vec![view.name(*start)];
    path.extend(circle.iter().map(|(_, step)| format!("{} ({})", view.name(step.to), step.who)));
    let when = if condition == ALWAYS { "always".to_owned() } else { format!("when {condition}") };
    let message = format!("{when}, the rules lead from {} back to it", view.name(*start));
    let fix = "give one of them a condition that no longer holds once the circle has begun, or another target";
    faults.on_path("rule-loop", first.mark, message, path, fix);
}
