//! What planners may do in a turn, whatever models answer.

use std::collections::HashSet;

use colloquy_flow::{Flow, RuleEffect, RulePhase};
use colloquy_turn::{Detail, RequestKind, Stage, StageResult, TurnRecord};
use proptest::prelude::*;

/// The names of what planners called, in order.
pub(super) fn calls(record: &TurnRecord) -> impl Iterator<Item = &str> {
    record.stages.iter().filter_map(|event| match &event.detail {
        Detail::Name(name) if (event.stage, event.result) == (Stage::Plan, StageResult::Matched) => Some(name.as_ref()),
        _ => None,
    })
}

/// Actions that some rule stages.
fn staged(flow: &Flow) -> HashSet<&str> {
    let rules = flow.states().flat_map(|(state, _)| RulePhase::ALL.map(|phase| (state, phase)));
    let rules = rules.flat_map(|(state, phase)| flow.rules_in(state, phase));
    let effects = rules.flat_map(|(_, rule)| &rule.then);
    let staged = effects.filter_map(|effect| match effect {
        RuleEffect::Stage(action) => Some(flow.action(*action).name.as_ref()),
        _ => None,
    });
    staged.collect()
}

/// CE-001: only what is listed and reads only is called, no more often than the planner and the turn may, and never
/// twice with the same.
pub(super) fn within_bounds(flow: &Flow, record: &TurnRecord) -> Result<(), TestCaseError> {
    let calls: Vec<&str> = calls(record).collect();
    let lists = |name: &str, planner: &&colloquy_flow::Planner| {
        planner.tools.iter().any(|tool| *flow.action(*tool).name == *name)
    };
    let one = flow
        .planners()
        .iter()
        .find(|planner| calls.iter().all(|name| lists(name, planner)) && calls.len() <= usize::from(planner.calls));
    prop_assert!(calls.is_empty() || one.is_some(), "no planner may call {:?}", calls);
    for name in &calls {
        let action = flow.find_action(name).map(|action| flow.action(action));
        prop_assert!(action.is_some_and(|action| action.confirm.is_none()), "{}", name);
        prop_assert!(action.and_then(|action| action.tool.as_ref()).is_some_and(|tool| tool.read_only), "{}", name);
    }
    let staged = staged(flow);
    let acts: Vec<_> = record.requests.iter().filter(|request| request.kind == RequestKind::Act).collect();
    prop_assert!(acts.len() <= usize::from(flow.limits().action_calls));
    for act in &acts {
        let may_be_called = staged.contains(act.name.as_ref()) || calls.contains(&act.name.as_ref());
        prop_assert!(may_be_called, "nothing may call {}", act.name);
        if !staged.contains(act.name.as_ref()) {
            let same = acts.iter().filter(|other| (&other.name, other.digest) == (&act.name, act.digest));
            prop_assert_eq!(same.count(), 1, "{} is called twice with the same", act.name);
        }
    }
    Ok(())
}
