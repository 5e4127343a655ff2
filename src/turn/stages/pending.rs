//! Stage 3: what waits for a confirmation is confirmed, dropped, corrected, tried again or expires.
//!
//! Only actions staged in the current intent are eligible: a "yes" inside a digression does not confirm
//! what was left behind.

use std::sync::Arc;

use colloquy_flow::{Act, ActionIx, By, Flow, Name};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::Progress,
    state::{Change, PendingAction, PendingEnding, Question},
    work::{Course, Work},
};

/// An action that waits and may be confirmed here.
type Eligible = (PendingAction, ActionIx);

pub(super) fn run(work: &mut Work) -> Progress {
    // A timer answers nothing, and what waits too long is told to a user who says something.
    if work.course == Course::Blocked || work.reset.is_some() || work.is_timer() {
        return Progress::Next;
    }
    let flow = Arc::clone(&work.flow);
    // What lapsed is not run on a hint: only what still waits may be tried again.
    expire(work, &flow);
    if retry(work, &flow) {
        return Progress::Next;
    }
    let eligible = eligible(work, &flow);
    if eligible.is_empty() {
        work.event(Stage::Pending, StageResult::Skipped, Reason::NotDeclared, Detail::None);
        return Progress::Next;
    }
    let answer = answer(work, &flow, &eligible);
    match answer {
        Answer::Silent => {
            let name = eligible.first().map_or(Detail::None, |(pending, _)| Detail::Name(Arc::clone(&pending.action)));
            work.event(Stage::Pending, StageResult::Passed, Reason::None, name);
        }
        Answer::Unclear(among) => {
            work.options = among;
            work.course = Course::Clarify;
            work.event(Stage::Pending, StageResult::Asked, Reason::Ambiguous, Detail::None);
        }
        Answer::To { pending, action, affirmed, passed_over } => {
            if corrects(work, &flow, action) {
                work.course = Course::Corrected;
                let name = Detail::Name(Arc::clone(&pending.action));
                work.event(Stage::Pending, StageResult::Edited, Reason::Correction, name);
                return Progress::Next;
            }
            for other in passed_over {
                work.change(Change::PendingClosed { id: other.id, ending: PendingEnding::NotChosen });
                work.event(Stage::Pending, StageResult::Dropped, Reason::Choice, Detail::Name(other.action));
            }
            if affirmed { confirm(work, pending) } else { reject(work, &flow, &pending, action) }
        }
    }
    Progress::Next
}

/// What the turn says about the waiting actions.
enum Answer {
    /// Nothing.
    Silent,
    /// Yes or no, but to which of these?
    Unclear(Vec<ActionIx>),
    /// Yes or no to this one.
    To {
        pending: PendingAction,
        action: ActionIx,
        affirmed: bool,
        /// Those that were asked about together with it.
        passed_over: Vec<PendingAction>,
    },
}

fn answer(work: &Work, flow: &Flow, eligible: &[Eligible]) -> Answer {
    if let Some(name) = work.structured.as_ref().and_then(|input| input.action.as_ref()) {
        let affirmed = work.structured.as_ref().and_then(|input| input.confirm).unwrap_or(true);
        return match eligible.iter().find(|(pending, _)| pending.action == *name) {
            Some((pending, action)) => {
                Answer::To { pending: pending.clone(), action: *action, affirmed, passed_over: Vec::new() }
            }
            None => Answer::Silent,
        };
    }
    let asked = match work.state().question() {
        Some(Question::Actions(names)) => names.as_slice(),
        _ => &[],
    };
    let affirmed = match work.act {
        Some(Act::Affirm) => true,
        Some(Act::Negate) => false,
        // After the question which one is meant, its name alone is the answer.
        None | Some(Act::Answer) if !asked.is_empty() => true,
        _ => return Answer::Silent,
    };
    let top = eligible.iter().map(|(_, action)| flow.action(*action).priority).max();
    let among: Vec<&Eligible> =
        eligible.iter().filter(|(_, action)| Some(flow.action(*action).priority) == top).collect();
    let named: Vec<&Eligible> =
        among.iter().copied().filter(|(_, action)| flow.action(*action).chosen_by(work.said())).collect();
    let silent = work.act.is_none_or(|act| act == Act::Answer);
    let chosen = match (among.as_slice(), named.as_slice()) {
        (_, [one]) => one,
        ([one], _) if !silent => one,
        _ if silent => return Answer::Silent,
        _ => return Answer::Unclear(among.iter().map(|(_, action)| *action).collect()),
    };
    let passed_over =
        among.iter().filter(|(pending, _)| affirmed && was_asked(asked, pending) && pending.id != chosen.0.id);
    Answer::To {
        pending: chosen.0.clone(),
        action: chosen.1,
        affirmed,
        passed_over: passed_over.map(|(pending, _)| pending.clone()).collect(),
    }
}

fn was_asked(asked: &[Name], pending: &PendingAction) -> bool {
    asked.contains(&pending.action)
}

fn confirm(work: &mut Work, pending: PendingAction) {
    let reason = if work.state().has_failed(pending.id) { Reason::Retried } else { Reason::Affirmed };
    let name = Detail::Name(Arc::clone(&pending.action));
    work.course = Course::Decided;
    work.confirmed = Some(pending);
    work.event(Stage::Pending, StageResult::Matched, reason, name);
}

fn reject(work: &mut Work, flow: &Flow, pending: &PendingAction, action: ActionIx) {
    work.course = Course::Decided;
    work.ended = "rejected";
    work.change(Change::PendingClosed { id: pending.id, ending: PendingEnding::Rejected });
    let name = Detail::Name(Arc::clone(&pending.action));
    work.event(Stage::Pending, StageResult::Dropped, Reason::Negated, name);
    if let Some(target) = flow.action(action).on_rejected {
        work.propose(By::Pending, &pending.action, target);
    }
}

/// Tries again what failed, and only that. Whether the turn is decided by it.
fn retry(work: &mut Work, flow: &Flow) -> bool {
    if work.act != Some(Act::Retry) {
        return false;
    }
    let failed: Vec<Name> = work.state().failed().to_vec();
    let waiting = eligible(work, flow);
    let mut again = Vec::new();
    for name in failed {
        let Some(action) = flow.find_action(&name) else { continue };
        match waiting.iter().find(|(pending, _)| pending.action == name) {
            Some((pending, _)) if work.confirmed.is_none() => work.confirmed = Some(pending.clone()),
            // A turn runs one confirmed action; the other goes on waiting.
            Some(_) => continue,
            None if may_run_again(work, flow, action) => work.stage_action(action),
            None => continue,
        }
        again.push(name);
    }
    if again.is_empty() {
        return false;
    }
    work.course = Course::Decided;
    work.event(Stage::Pending, StageResult::Matched, Reason::Retried, Detail::names(again));
    true
}

/// Whether an action that failed may be tried again here. What failed where the conversation has left is not
/// for this place, and what changes the world without a confirmation is never run again on a hint.
fn may_run_again(work: &Work, flow: &Flow, action: ActionIx) -> bool {
    let harmless = flow.action(action).tool.as_ref().is_none_or(|tool| tool.read_only || tool.idempotent);
    harmless && belongs_here(work, flow, action)
}

/// Whether an action may run here, and lead on from here whatever comes of it.
fn belongs_here(work: &Work, flow: &Flow, action: ActionIx) -> bool {
    let action = flow.action(action);
    let mut targets = action.on_executed.into_iter().chain(action.on_failed);
    action.in_scope(work.candidate) && targets.all(|to| flow.allows(work.candidate, to, By::Action))
}

/// The waiting actions that may be confirmed here, oldest first.
pub(super) fn eligible(work: &Work, flow: &Flow) -> Vec<Eligible> {
    let here = &flow.state(work.origin).intent_name;
    let waiting = work.state().pending().iter().filter(|pending| pending.intent == *here);
    waiting.filter_map(|pending| Some((pending.clone(), flow.find_action(&pending.action)?))).collect()
}

fn expire(work: &mut Work, flow: &Flow) {
    let turn = work.state().turns();
    let mut expired = Vec::new();
    for pending in work.state().pending() {
        let action = flow.find_action(&pending.action);
        let confirm = action.and_then(|action| flow.action(action).confirm);
        let reason = match confirm {
            None => Some(Reason::NotDeclared),
            Some(confirm) if turn.saturating_sub(pending.staged_turn) > u64::from(confirm.expires_turns) => {
                Some(Reason::Turns)
            }
            Some(confirm) if work.now.since(pending.staged_at) > confirm.expires_after => Some(Reason::Time),
            Some(_) => None,
        };
        expired.extend(reason.map(|reason| (pending.clone(), action, reason)));
    }
    // Of several that lapse at once the first leads on: they all wait in one place, and no way is declared
    // from where one leads to where another does.
    let mut leads = false;
    for (pending, action, reason) in expired {
        work.change(Change::PendingClosed { id: pending.id, ending: PendingEnding::Expired });
        work.event(Stage::Pending, StageResult::Expired, reason, Detail::Name(Arc::clone(&pending.action)));
        let here = pending.intent == flow.state(work.origin).intent_name;
        if here {
            work.ended = "expired";
        }
        let target = action.filter(|_| here && !leads).and_then(|action| flow.action(action).on_expired);
        if let Some(target) = target {
            // Nobody asked for this move. Refusing the turn would let the same thing lapse again in the next.
            if work.candidate != target && !flow.allows(work.candidate, target, By::Pending) {
                work.degrade(Stage::Pending, Reason::TransitionBlocked, &pending.action);
                continue;
            }
            leads = true;
            work.propose(By::Pending, &pending.action, target);
            // A late "yes" or "no" was meant for what expired; anything else is looked at as usual.
            if matches!(work.act, Some(Act::Affirm | Act::Negate)) {
                work.course = Course::Decided;
            }
        }
    }
}

/// Whether the turn gives one of the action's slots another value.
fn corrects(work: &Work, flow: &Flow, action: ActionIx) -> bool {
    let filled_in = work.structured.as_ref().map_or(&[][..], |input| &input.slots);
    flow.action(action).slots.iter().any(|slot| {
        let slot = flow.slot(*slot);
        let given = filled_in.iter().find(|(name, _)| *name == slot.name);
        let said = given.and_then(|(_, value)| slot.kind.accept(value)).or_else(|| slot.read(work.said()));
        said.is_some() && said.as_ref() != work.state().slot(&slot.name)
    })
}
