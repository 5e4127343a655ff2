//! Stage 8: runs confirmed actions, and those that need no confirmation; opens the others for one.
//!
//! An action whose outcome would lead to an undeclared place does not run: the turn is refused first. What
//! an action did to the world is kept even if the turn is refused later.

mod results;

use std::sync::Arc;

use colloquy_flow::{Action, ActionIx, By, Flow, Json, Name, ResultSource};

use self::results::Given;
use crate::{
    effect::{CallOutcome, CallRequest, EffectKind, EffectValue},
    event::{Detail, Reason, Stage, StageResult},
    stages::{
        Progress,
        enrich::{arguments, insert},
    },
    state::{Change, PendingAction, PendingEnding, PendingId},
    work::{Course, Move, Work},
};

/// An action to run, with the confirmation it had.
struct Run {
    action: ActionIx,
    confirmation: Option<PendingAction>,
}

/// What came of a run.
pub(super) enum Ran {
    Done(Given),
    Partly(Given),
    Failed(Reason),
    Unknown,
}

impl Ran {
    /// What came of it in a word, and what it returned.
    pub(super) fn told(&self) -> (&'static str, Option<&Json>) {
        match self {
            Self::Done(given) => ("done", given.result.as_ref()),
            Self::Partly(given) => ("partial", given.result.as_ref()),
            Self::Failed(reason) => (reason.name(), None),
            Self::Unknown => (Reason::Unknown.name(), None),
        }
    }
}

pub(super) fn run(work: &mut Work) -> Progress {
    if work.course == Course::Blocked || work.reset.is_some() {
        return Progress::Next;
    }
    if work.confirmed.is_none() && work.staged.is_empty() {
        // A second round that has nothing to do says nothing.
        if work.calls == 0 {
            work.event(Stage::Act, StageResult::Skipped, Reason::NotDeclared, Detail::None);
        }
        return Progress::Next;
    }
    let flow = Arc::clone(&work.flow);
    let refused = out_of_scope(work, &flow);
    let staged: Vec<ActionIx> = work.staged.iter().copied().filter(|action| !refused.contains(action)).collect();
    let (opens, at_once): (Vec<ActionIx>, Vec<ActionIx>) =
        staged.into_iter().partition(|action| flow.action(*action).confirm.is_some());
    let runs = runs(work, &flow, at_once);
    let runs: Vec<Run> = runs.into_iter().filter(|run| !refused.contains(&run.action)).collect();
    if let Some(undeclared) = undeclared_outcome(work, &flow, runs.iter().map(|run| flow.action(run.action))) {
        work.staged.clear();
        work.blocked(&undeclared);
        return Progress::Next;
    }

    // Everything is asked for before anything changes.
    let room = usize::from(flow.limits().action_calls.saturating_sub(work.calls));
    let answers: Vec<Option<Result<Ran, Reason>>> =
        runs.iter().take(room).map(|run| ask(work, &flow, flow.action(run.action), &[])).collect();
    let identifiers: Vec<Option<[u8; 16]>> = opens.iter().map(|_| ask_identifier(work)).collect();
    if work.waits() {
        return Progress::Need;
    }

    work.staged.clear();
    work.confirmed = None;
    for action in refused {
        work.degrade(Stage::Act, Reason::OutOfScope, &flow.action(action).name);
    }
    for run in runs.iter().skip(room) {
        work.degrade(Stage::Act, Reason::CallCap, &flow.action(run.action).name);
    }
    for (run, answer) in runs.into_iter().zip(answers.into_iter().flatten()) {
        work.calls = work.calls.saturating_add(1);
        let action = flow.action(run.action);
        match answer {
            Ok(ran) => settle(work, &flow, action, ran, run.confirmation.as_ref()),
            Err(reason) => work.degrade(
                Stage::Act,
                reason,
                &missing_slot(work, action).unwrap_or_else(|| Arc::clone(&action.name)),
            ),
        }
    }
    for (action, identifier) in opens.into_iter().zip(identifiers.into_iter().flatten()) {
        open(work, flow.action(action), PendingId(identifier));
    }
    Progress::Next
}

/// Actions that may not run where the turn is heading. One that was confirmed goes on waiting.
fn out_of_scope(work: &Work, flow: &Flow) -> Vec<ActionIx> {
    let confirmed = work.confirmed.as_ref().and_then(|pending| flow.find_action(&pending.action));
    let asked = confirmed.into_iter().chain(work.staged.iter().copied());
    asked.filter(|action| !flow.action(*action).in_scope(work.candidate)).collect()
}

fn runs(work: &Work, flow: &Flow, at_once: Vec<ActionIx>) -> Vec<Run> {
    let confirmed = work.confirmed.clone().and_then(|pending| {
        let action = flow.find_action(&pending.action)?;
        Some(Run { action, confirmation: Some(pending) })
    });
    confirmed.into_iter().chain(at_once.into_iter().map(|action| Run { action, confirmation: None })).collect()
}

/// The first move that some outcome of the actions, one after the other, would propose though it is undeclared.
pub(super) fn undeclared_outcome<'a>(
    work: &Work,
    flow: &Flow,
    actions: impl Iterator<Item = &'a Action>,
) -> Option<Move> {
    let mut reached = vec![work.candidate];
    for action in actions {
        let outcomes = action.on_executed.into_iter().chain(action.on_failed);
        for to in outcomes.clone() {
            if let Some(from) = reached.iter().copied().find(|from| !flow.allows(*from, to, By::Action)) {
                return Some(Move { by: By::Action, name: Arc::clone(&action.name), from, to });
            }
        }
        reached.extend(outcomes);
    }
    None
}

/// Asks for what the action needs, with what a model chose. An action that lacks a slot is not run, nor is one whose
/// arguments a model was to choose when none did.
pub(super) fn ask(
    work: &mut Work,
    flow: &Flow,
    action: &Action,
    chosen: &[(Name, Json)],
) -> Option<Result<Ran, Reason>> {
    if missing_slot(work, action).is_some() {
        return Some(Err(Reason::SlotMissing));
    }
    let call = match &action.tool {
        None => None,
        Some(tool) => {
            let Some(arguments) = arguments(work, flow, &tool.arguments, chosen) else {
                return Some(Err(Reason::SlotMissing));
            };
            Some(EffectKind::Act(Arc::new(CallRequest {
                name: Arc::clone(&action.name),
                target: Arc::clone(&tool.tool),
                arguments,
                read_only: tool.read_only,
                idempotent: tool.idempotent,
                patience: tool.patience,
            })))
        }
    };
    let wants = |source: fn(&ResultSource) -> bool| action.results.iter().any(|(_, result)| source(result));
    let timed = wants(|source| matches!(source, ResultSource::ExecutedAt));
    let numbered = wants(|source| matches!(source, ResultSource::Reference { .. }));
    let time = timed.then(|| work.ask(EffectKind::Time));
    let identifier = numbered.then(|| ask_identifier(work));
    let result = call.map(|call| work.ask(call));
    // `None` inside means that the answer is awaited.
    let time = match time {
        Some(None) => return None,
        Some(Some(EffectValue::Time(time))) => Some(time),
        _ => None,
    };
    let identifier = match identifier {
        Some(None) => return None,
        Some(identifier) => identifier,
        None => None,
    };
    let given = Given { time, identifier, result: None };
    Some(Ok(match result {
        None => Ran::Done(given),
        Some(None) => return None,
        Some(Some(EffectValue::Act(outcome))) => ran(outcome, given, action),
        Some(Some(_)) => Ran::Unknown,
    }))
}

fn ran(outcome: CallOutcome, given: Given, action: &Action) -> Ran {
    let fits = |value: &Json| {
        action.tool.as_ref().and_then(|tool| tool.schema.as_ref()).is_none_or(|schema| schema.check(value).is_ok())
    };
    match outcome {
        CallOutcome::Done(value) if fits(&value) => Ran::Done(Given { result: Some(value), ..given }),
        // It happened, whatever it says.
        CallOutcome::Done(_) => Ran::Partly(given),
        CallOutcome::Partial(value) => Ran::Partly(Given { result: Some(value), ..given }),
        CallOutcome::Failed(failure) => Ran::Failed(failure.into()),
        // What changes nothing has failed when nobody knows its end.
        CallOutcome::Unknown if action.tool.as_ref().is_some_and(|tool| tool.read_only) => Ran::Failed(Reason::Unknown),
        CallOutcome::Unknown => Ran::Unknown,
    }
}

fn ask_identifier(work: &mut Work) -> Option<[u8; 16]> {
    match work.ask(EffectKind::Identifier) {
        Some(EffectValue::Identifier(identifier)) => Some(identifier),
        _ => None,
    }
}

/// The first slot the action needs that is empty.
pub(super) fn missing_slot(work: &Work, action: &Action) -> Option<Name> {
    let names = action.slots.iter().map(|slot| &work.flow.slot(*slot).name);
    names.into_iter().find(|name| work.state().slot(name).is_none()).cloned()
}

/// Takes what came of an action.
pub(super) fn settle(work: &mut Work, flow: &Flow, action: &Action, ran: Ran, confirmation: Option<&PendingAction>) {
    let name = &action.name;
    match ran {
        Ran::Done(given) => executed(work, flow, action, &given, confirmation),
        Ran::Partly(given) => {
            let reason = if given.result.is_some() { Reason::Partial } else { Reason::Malformed };
            executed(work, flow, action, &given, confirmation);
            work.degrade(Stage::Act, reason, name);
        }
        Ran::Failed(reason) => {
            if let Some(pending) = confirmation {
                work.change(Change::PendingFailed { id: pending.id });
                work.change(Change::PendingRenewed { id: pending.id, at: work.now });
            }
            // What only a planner may call cannot be tried again on a hint.
            if !is_planned(action) {
                work.change(Change::FailureNoted { name: Arc::clone(name) });
            }
            work.note_failed(name);
            work.ended = "failed";
            work.degrade(Stage::Act, reason, name);
            if let Some(target) = action.on_failed {
                work.propose(By::Action, name, target);
            }
        }
        Ran::Unknown => {
            if let Some(pending) = confirmation {
                work.change(Change::PendingClosed { id: pending.id, ending: PendingEnding::Unknown });
            }
            work.ended = "unknown";
            work.degrade(Stage::Act, Reason::Unknown, name);
            work.keep();
        }
    }
}

fn executed(work: &mut Work, flow: &Flow, action: &Action, given: &Given, confirmation: Option<&PendingAction>) {
    if let Some(pending) = confirmation {
        work.change(Change::PendingClosed { id: pending.id, ending: PendingEnding::Executed });
    }
    let noted = work.state().failed().contains(&action.name);
    if noted {
        work.change(Change::FailureCleared { name: Arc::clone(&action.name) });
    }
    if noted || is_planned(action) {
        work.failed.retain(|failed| *failed != action.name);
    }
    work.ended = "executed";
    for (slot, source) in &action.results {
        let slot = flow.slot(*slot);
        match results::value(source, &slot.kind, given) {
            Some(value) => work.change(Change::SlotSet { slot: Arc::clone(&slot.name), value }),
            None => work.degrade(Stage::Act, Reason::SlotType, &slot.name),
        }
    }
    if let Some(result) = &given.result {
        insert(&mut work.result, &action.name, result.clone());
    }
    work.event(Stage::Act, StageResult::Done, Reason::None, Detail::Name(Arc::clone(&action.name)));
    if action.tool.as_ref().is_some_and(|tool| !tool.read_only) {
        work.keep();
    }
    if let Some(target) = action.on_executed {
        work.propose(By::Action, &action.name, target);
    }
}

/// Whether only a planner may call the action: a model chooses some of its arguments.
fn is_planned(action: &Action) -> bool {
    action.tool.as_ref().is_some_and(|tool| tool.chosen().next().is_some())
}

fn open(work: &mut Work, action: &Action, id: PendingId) {
    if let Some(slot) = missing_slot(work, action) {
        work.degrade(Stage::Act, Reason::SlotMissing, &slot);
        return;
    }
    let replaced =
        work.state().pending().iter().find(|pending| pending.action == action.name).map(|pending| pending.id);
    if let Some(id) = replaced {
        work.change(Change::PendingClosed { id, ending: PendingEnding::Replaced });
    }
    if work.state().pending().len() >= usize::from(work.flow.limits().pending_actions) {
        work.degrade(Stage::Act, Reason::PendingFull, &action.name);
        return;
    }
    let intent = Arc::clone(&work.flow.state(work.candidate).intent_name);
    let pending = PendingAction {
        id,
        action: Arc::clone(&action.name),
        intent,
        staged_at: work.now,
        staged_turn: work.state().turns(),
    };
    work.change(Change::PendingOpened(pending));
    work.event(Stage::Act, StageResult::Asked, Reason::None, Detail::Name(Arc::clone(&action.name)));
}
