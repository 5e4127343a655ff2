//! Every condition, one after the other: its types, whether it can hold, and what it reads.

use std::sync::Arc;

use colloquy_flow::{Condition, Place};

use crate::{
    check::{
        guarded::Guarded,
        truth,
        types::{self, Names},
        view::{At, View},
    },
    fault::{At as Placed, Faults},
};

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    let names = Names::of(view.source);
    let mut guarded = Guarded::of(view);
    let mut check = |when: Option<&Placed<Condition>>, at: &[At]| {
        let Some(when) = when.filter(|_| !faults.is_full()) else { return };
        // Made anew for each condition and dropped: all shapes together would be large.
        let shape = when.value.shape();
        types::check(&names, &shape, &when.mark, faults);
        if let Some(why) = truth::contradiction(&shape) {
            let message = format!("the condition never holds: {why}");
            faults.warn("condition-never-holds", &when.mark, message, "correct it, or remove what depends on it");
        }
        guarded.check(&shape, at, &when.mark, faults);
    };
    for (rule, at) in view.source.rules.iter().zip(&view.rules) {
        check(rule.when.as_ref(), at);
    }
    for (row, at) in view.source.responses.iter().zip(&view.responses) {
        check(row.when.as_ref(), at);
    }
    for enrichment in view.source.enrichments.iter().filter(|enrichment| enrichment.when.is_some()) {
        check(enrichment.when.as_ref(), &view.positions(&enrichment.scope));
    }
    for (planner, at) in view.source.planners.iter().zip(&view.planners) {
        check(planner.when.as_ref(), at);
    }
    for intent in &view.source.intents {
        for state in &intent.states {
            let Some(until) = &state.until else { continue };
            let place = Place { intent: Arc::clone(&intent.name.value), state: Arc::clone(&state.name.value) };
            check(until.when.as_ref(), view.find(&place).as_slice());
        }
    }
}
