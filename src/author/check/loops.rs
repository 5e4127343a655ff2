//! Rules that lead round in a circle.
//!
//! Only what is certain is reported: at each position of the circle the rule that leads on is the first that
//! can, because it has no condition or the same as all others, and nothing on the way changes what that
//! condition reads. Each rule fires once in a turn and passes are bounded, so such a circle ends, but not
//! where anybody meant it to.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

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
#[derive(Clone, Copy)]
struct Step<'s> {
    to: At,
    /// The rule; `None` for a state that leads on.
    rule: Option<&'s SourceRule>,
    mark: &'s Mark,
    /// What is decided first: by priority, then in declared order.
    rank: (Reverse<i32>, usize),
}

/// The first step of each position, of one phase and one condition.
type Steps<'s> = HashMap<At, Step<'s>>;

/// What leads somewhere under one condition: rules by place, and the steps of states.
#[derive(Default)]
struct Leading<'s> {
    rules: Vec<usize>,
    untils: Vec<(At, Step<'s>)>,
}

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    for phase in RulePhase::ALL {
        let leading = leading(view, phase);
        let always = leading.get(ALWAYS).map(|leading| steps(view, leading)).unwrap_or_default();
        for (condition, leading) in &leading {
            if *condition == ALWAYS {
                circles(view, condition, &always, &always, faults);
            } else {
                // Steps are made for one condition at a time: all of them together would be large.
                circles(view, condition, &steps(view, leading), &always, faults);
            }
        }
    }
}

/// What leads somewhere, by condition. A condition that reads where the turn is heading is left out.
fn leading<'s>(view: &View<'s>, phase: RulePhase) -> BTreeMap<&'s str, Leading<'s>> {
    let mut leading: BTreeMap<&str, Leading<'_>> = BTreeMap::new();
    for (place, rule) in view.source.rules.iter().enumerate().filter(|(_, rule)| rule.phase == phase) {
        if view.target(&rule.then).is_some()
            && let Some(condition) = condition_of(rule.when.as_ref())
        {
            leading.entry(condition).or_default().rules.push(place);
        }
    }
    if matches!(phase, RulePhase::AfterExtraction | RulePhase::AfterAction) {
        for (from, condition, step) in untils(view) {
            leading.entry(condition).or_default().untils.push((from, step));
        }
    }
    leading
}

fn steps<'s>(view: &View<'s>, leading: &Leading<'s>) -> Steps<'s> {
    let mut steps = Steps::new();
    for place in &leading.rules {
        let (Some(rule), Some(at)) = (view.source.rules.get(*place), view.rules.get(*place)) else { continue };
        let Some(to) = view.target(&rule.then) else { continue };
        let step = Step { to, rule: Some(rule), mark: &rule.id.mark, rank: (Reverse(rule.priority), *place) };
        for from in at.iter().filter(|from| **from != to) {
            enter(&mut steps, *from, step);
        }
    }
    for (from, step) in &leading.untils {
        enter(&mut steps, *from, *step);
    }
    steps
}

fn enter<'s>(steps: &mut Steps<'s>, from: At, step: Step<'s>) {
    let held = steps.entry(from).or_insert(step);
    if step.rank < held.rank {
        *held = step;
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
        let rank = (Reverse(i32::MIN), usize::MAX);
        Some((from, condition, Step { to, rule: None, mark: &until.go.mark, rank }))
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
        (Some(own), Some(always)) => Some(if own.rank <= always.rank { own } else { always }),
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
            if its_own && !circle.iter().any(|(_, step)| disturbs(step, condition)) {
                report(view, condition, &circle, faults);
            }
        }
    }
}

fn is(held: Option<&Step<'_>>, step: &Step<'_>) -> bool {
    held.is_some_and(|held| std::ptr::eq(held, step))
}

/// Whether an effect changes what the condition reads.
fn disturbs(step: &Step<'_>, condition: &str) -> bool {
    let reads = |kind: &str, name: &str| condition.contains(&format!("{kind}.{name}"));
    let mut then = step.rule.into_iter().flat_map(|rule| &rule.then);
    then.any(|effect| match effect {
        SourceEffect::Set(slot, _) | SourceEffect::Clear(slot) => reads("slots", &slot.value),
        SourceEffect::Flag(flag) | SourceEffect::Unflag(flag) => reads("flags", &flag.value),
        SourceEffect::Stage(_) => condition.contains("pending"),
        SourceEffect::Reset => true,
        SourceEffect::Go(_) | SourceEffect::Intent(_) | SourceEffect::Remind(..) | SourceEffect::Forget(_) => false,
    })
}

fn who(step: &Step<'_>) -> String {
    step.rule.map_or_else(|| "until".to_owned(), |rule| format!("rule {}", rule.id.value))
}

fn report(view: &View<'_>, condition: &str, circle: &[(At, &Step<'_>)], faults: &mut Faults) {
    let Some((start, first)) = circle.first() else { return };
    let mut path = vec![view.name(*start)];
    path.extend(circle.iter().map(|(_, step)| format!("{} ({})", view.name(step.to), who(step))));
    let when = if condition == ALWAYS { "always".to_owned() } else { format!("when {condition}") };
    let message = format!("{when}, the rules lead from {} back to it", view.name(*start));
    let fix = "give one of them a condition that no longer holds once the circle has begun, or another target";
    faults.on_path("rule-loop", first.mark, message, path, fix);
}
