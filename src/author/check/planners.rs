//! What planners may call, and what only they may call.

use std::collections::HashSet;

use colloquy_flow::Name;

use crate::{
    check::view::{At, View, index},
    fault::{At as Placed, Faults},
    source::{SourceAction, SourceArgument, SourceEffect, SourceFlow, SourcePlanner},
};

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    for (planner, at) in view.source.planners.iter().zip(&view.planners) {
        calls(view.source, planner, faults);
        for tool in &planner.tools {
            if let Some(action) = view.source.action(&tool.value) {
                self::tool(view, planner, (tool, action), at, faults);
            }
        }
    }
    chosen(view.source, faults);
}

/// More calls than a turn may make are never made.
fn calls(source: &SourceFlow, planner: &SourcePlanner, faults: &mut Faults) {
    let most = source.limits.action_calls;
    if planner.calls > most {
        let message = format!(
            "planner {:?} may make {} calls, but a turn makes at most {most}",
            planner.name.value, planner.calls
        );
        faults.error("out-of-range", &planner.name.mark, message, "lower its calls, or raise limits.action_calls");
    }
}

/// A planner calls what changes nothing, asks nobody, and may run where the planner works.
fn tool(
    view: &View<'_>,
    planner: &SourcePlanner,
    (named, action): (&Placed<Name>, &SourceAction),
    at: &[At],
    faults: &mut Faults,
) {
    let (tool, name) = (action.tool.as_ref(), &planner.name.value);
    let place = action.scope.as_ref().map(|scope| view.positions(scope));
    let runs = |at: &At| place.as_ref().is_none_or(|place| place.binary_search(at).is_ok());
    let (why, fix) = if named.value.as_ref() == "none" {
        ("has the name by which a model says that it has seen enough", "give it another name")
    } else if tool.is_none() {
        ("calls no tool", "list actions of kind tool")
    } else if tool.is_some_and(|tool| !tool.read_only) {
        ("may change the world", "list only what is read_only: true")
    } else if action.confirm.is_some() {
        ("waits for a confirmation", "remove confirm from the action, or the action from the planner")
    } else if !at.is_empty() && !at.iter().any(runs) {
        ("may run nowhere the planner works", "widen in of the action, or remove it from the planner")
    } else {
        return;
    };
    let message = format!("planner {name:?} lists action {:?}, which {why}", named.value);
    faults.error("planner-tool", &named.mark, message, fix);
}

/// Arguments that a model chooses stand only where one does.
fn chosen(source: &SourceFlow, faults: &mut Faults) {
    for enrichment in &source.enrichments {
        let written = enrichment.arguments.iter().find_map(|(_, argument)| match argument {
            SourceArgument::Chosen(chosen) => Some(chosen),
            _ => None,
        });
        if let Some(chosen) = written {
            let message = format!("no model chooses what enrichment {:?} asks for", enrichment.name.value);
            faults.error("bad-value", &chosen.mark, message, "use slot, template or value, or a planner's tool");
        }
    }
    for effect in source.rules.iter().flat_map(|rule| &rule.then) {
        let SourceEffect::Stage(name) = effect else { continue };
        let tool = source.action(&name.value).and_then(|action| action.tool.as_ref());
        if tool.is_some_and(|tool| tool.chosen().is_some()) {
            let message = format!("only a planner can call action {:?}: a model chooses its arguments", name.value);
            faults.error("bad-value", &name.mark, message, "stage another action, or list this one in a planner");
        }
    }
}

/// Planners of which an earlier one always works wherever they do.
pub(super) fn doubts(view: &View<'_>, faults: &mut Faults) {
    let mut taken: HashSet<usize> = HashSet::new();
    for (planner, at) in view.source.planners.iter().zip(&view.planners) {
        if !at.is_empty() && at.iter().all(|at| taken.contains(&index(*at))) {
            let message = format!("wherever planner {:?} works, an earlier one always does", planner.name.value);
            let fix = "put it first, give the other a condition, or remove it";
            faults.warn("planner-never-works", &planner.name.mark, message, fix);
        }
        if planner.when.is_none() {
            taken.extend(at.iter().map(|at| index(*at)));
        }
    }
}
