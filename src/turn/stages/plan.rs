//! Between extraction and actions: a model chooses which read-only tools are called, one after the other.
//!
//! A round asks the model, calls what it chose and keeps what came of it; the next round sees that. It ends when the
//! model has seen enough, when what it chose may not be called, or where the planner has no say any more. Rounds are
//! as many as the planner's calls, and one. A planner proposes no move: what an action leads to, it leads to here too.

mod choice;

use std::sync::Arc;

use colloquy_flow::{ActionIx, Flow, Json, Name, Planner, PlannerIx};

use self::choice::Choice;
use crate::{
    event::{Detail, Reason, Stage, StageResult},
    plan::Planned,
    stages::{
        Progress,
        act::{self, Ran},
        enrich::arguments,
    },
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    let flow = Arc::clone(&work.flow);
    if work.course == Course::Blocked || flow.state(work.candidate).planners.is_empty() {
        return leave(work, &flow);
    }
    if work.course != Course::Open || work.reset.is_some() {
        work.event(Stage::Plan, StageResult::Skipped, Reason::Decided, Detail::None);
        return Progress::Next;
    }
    match at_work(work, &flow) {
        Some(index) => round(work, &flow, index),
        None => leave(work, &flow),
    }
}

/// The planner that has its say: the one that began, or the first whose condition holds.
fn at_work(work: &mut Work, flow: &Flow) -> Option<PlannerIx> {
    let here = flow.state(work.candidate).planners.iter().copied();
    let open: Vec<PlannerIx> = here.filter(|index| work.plan.planner.is_none_or(|begun| begun == *index)).collect();
    open.into_iter().find(|index| {
        let planner = flow.planner(*index);
        let holds = planner.when.as_ref().map_or(Ok(true), |when| when.holds(&work.facts(work.candidate)));
        holds.unwrap_or_else(|_| {
            // Rounds and their questions come by here again and again.
            work.degrade_once(Stage::Plan, Reason::Condition, &planner.name);
            false
        })
    })
}

/// Ends where no planner has its say. One that never began says so only where it is declared.
fn leave(work: &mut Work, flow: &Flow) -> Progress {
    match work.plan.planner {
        Some(begun) => end(work, flow.planner(begun), Reason::None),
        None if work.course == Course::Blocked || flow.state(work.candidate).planners.is_empty() => {}
        None => work.event(Stage::Plan, StageResult::NoMatch, Reason::None, Detail::None),
    }
    Progress::Next
}

fn end(work: &mut Work, planner: &Planner, reason: Reason) {
    work.event(Stage::Plan, StageResult::Done, reason, Detail::Name(Arc::clone(&planner.name)));
}

/// One question, and the call it leads to.
fn round(work: &mut Work, flow: &Flow, index: PlannerIx) -> Progress {
    let planner = flow.planner(index);
    let offered = offered(work, flow, planner);
    if offered.is_empty() {
        end(work, planner, Reason::OutOfScope);
        return Progress::Next;
    }
    let Some(choice) = choice::ask(work, flow, planner, &offered) else { return Progress::Need };
    let (tool, chosen) = match choice {
        Ok(Choice::Tool(tool, chosen)) => (tool, chosen),
        Ok(Choice::Enough) => {
            end(work, planner, Reason::Model);
            return Progress::Next;
        }
        Ok(Choice::Other(named)) => {
            // What is no name of this flow is the model's own text and is not recorded here.
            let name = named.map_or(&planner.name, |action| &flow.action(action).name);
            work.degrade(Stage::Plan, Reason::OutOfScope, name);
            return Progress::Next;
        }
        Err(reason) => {
            work.degrade(Stage::Plan, reason, &planner.prompt);
            return Progress::Next;
        }
    };
    call(work, flow, index, tool, &chosen)
}

/// Tools that may be called now: in their place, with every slot they need.
fn offered(work: &Work, flow: &Flow, planner: &Planner) -> Vec<ActionIx> {
    let may_run = |index: &ActionIx| {
        let action = flow.action(*index);
        action.in_scope(work.candidate) && act::missing_slot(work, action).is_none()
    };
    planner.tools.iter().copied().filter(may_run).collect()
}

/// Calls what was chosen, unless it may not be.
fn call(work: &mut Work, flow: &Flow, planner: PlannerIx, tool: ActionIx, chosen: &[(Name, Json)]) -> Progress {
    let action = flow.action(tool);
    let declared = action.tool.as_ref().filter(|_| may_be_planned(flow, tool));
    let made = declared.map(|tool| arguments(work, flow, &tool.arguments, chosen));
    let refused = match &made {
        None => Some(Reason::OutOfScope),
        Some(None) => Some(Reason::SlotMissing),
        Some(Some(arguments)) if work.plan.has_made(tool, arguments) => Some(Reason::Repeated),
        Some(Some(_)) => capped(work, flow, flow.planner(planner)).then_some(Reason::CallCap),
    };
    let arguments = match (refused, made.flatten()) {
        (None, Some(arguments)) => arguments,
        (refused, _) => {
            work.degrade(Stage::Plan, refused.unwrap_or(Reason::SlotMissing), &action.name);
            return Progress::Next;
        }
    };
    if let Some(undeclared) = act::undeclared_outcome(work, flow, std::iter::once(action)) {
        work.blocked(&undeclared);
        return Progress::Next;
    }
    let Some(answer) = act::ask(work, flow, action, chosen) else { return Progress::Need };

    // From here on things change.
    work.event(Stage::Plan, StageResult::Matched, Reason::Model, Detail::Name(Arc::clone(&action.name)));
    let ran = match answer {
        Ok(ran) => ran,
        Err(reason) => {
            work.degrade(Stage::Plan, reason, &action.name);
            return Progress::Next;
        }
    };
    work.calls = work.calls.saturating_add(1);
    work.plan.planner = Some(planner);
    work.plan.calls.push(planned(tool, &action.name, arguments, chosen, &ran));
    act::settle(work, flow, action, ran, None);
    Progress::Again
}

/// Whether a planner may call the action at all, whatever the flow lists.
fn may_be_planned(flow: &Flow, tool: ActionIx) -> bool {
    let action = flow.action(tool);
    action.confirm.is_none() && action.tool.as_ref().is_some_and(|tool| tool.read_only)
}

fn capped(work: &Work, flow: &Flow, planner: &Planner) -> bool {
    work.plan.calls.len() >= usize::from(planner.calls) || work.calls >= flow.limits().action_calls
}

fn planned(action: ActionIx, name: &Name, arguments: Json, chosen: &[(Name, Json)], ran: &Ran) -> Planned {
    let (outcome, result) = ran.told();
    Planned {
        action,
        name: Arc::clone(name),
        arguments,
        chosen: Json::object(chosen.iter().cloned()),
        outcome,
        result: result.cloned(),
    }
}
