//! Stage 3: what waits for a confirmation is confirmed, dropped, corrected or expires.
//!
//! Only actions staged in the current intent are eligible: a "yes" inside a digression does not confirm
//! what was left behind.

use std::sync::Arc;

use colloquy_flow::{ActionIx, By, Flow};

use crate::{
    event::{Detail, DialogueAct, Reason, Stage, StageResult},
    stages::Progress,
    state::{Change, PendingAction, PendingEnding},
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    if matches!(work.course, Course::Blocked) || work.act == DialogueAct::Reset {
        return Progress::Next;
    }
    if work.state().pending().is_empty() {
        work.event(Stage::Pending, StageResult::Skipped, Reason::NotDeclared, Detail::None);
        return Progress::Next;
    }
    let flow = Arc::clone(&work.flow);
    expire(work, &flow);
    let mut eligible = eligible(work, &flow);
    if eligible.len() > 1 && work.act != DialogueAct::None {
        narrow_by_label(&mut eligible, &flow, &work.input.text);
    }
    let Some((pending, action)) = eligible.first().cloned() else {
        work.event(Stage::Pending, StageResult::Skipped, Reason::NotDeclared, Detail::None);
        return Progress::Next;
    };
    let name = Detail::Name(Arc::clone(&pending.action));
    if work.act == DialogueAct::None {
        work.event(Stage::Pending, StageResult::Passed, Reason::None, name);
    } else if eligible.len() > 1 {
        work.options = eligible.iter().map(|(_, action)| *action).collect();
        work.course = Course::Clarify;
        work.event(Stage::Pending, StageResult::Asked, Reason::Ambiguous, Detail::None);
    } else if corrects(work, &flow, action) {
        work.course = Course::Corrected;
        work.event(Stage::Pending, StageResult::Edited, Reason::Correction, name);
    } else if work.act == DialogueAct::Affirm {
        work.course = Course::Decided;
        work.confirmed = Some(pending);
        work.event(Stage::Pending, StageResult::Matched, Reason::Affirmed, name);
    } else {
        work.course = Course::Decided;
        work.ended = "rejected";
        work.change(Change::PendingClosed { id: pending.id, ending: PendingEnding::Rejected });
        work.event(Stage::Pending, StageResult::Dropped, Reason::Negated, name);
        if let Some(target) = flow.action(action).on_rejected {
            work.propose(By::Pending, &pending.action, target);
        }
    }
    Progress::Next
}

/// The waiting actions that may be confirmed here, oldest first.
pub(super) fn eligible(work: &Work, flow: &Flow) -> Vec<(PendingAction, ActionIx)> {
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
    for (pending, action, reason) in expired {
        work.change(Change::PendingClosed { id: pending.id, ending: PendingEnding::Expired });
        work.event(Stage::Pending, StageResult::Expired, reason, Detail::Name(Arc::clone(&pending.action)));
        let here = pending.intent == flow.state(work.origin).intent_name;
        if here {
            work.ended = "expired";
        }
        if let Some(target) = action.filter(|_| here).and_then(|action| flow.action(action).on_expired) {
            work.propose(By::Pending, &pending.action, target);
            // A late "yes" or "no" was meant for what expired; anything else is looked at as usual.
            if work.act != DialogueAct::None {
                work.course = Course::Decided;
            }
        }
    }
}

fn narrow_by_label(eligible: &mut Vec<(PendingAction, ActionIx)>, flow: &Flow, text: &str) {
    let said = text.to_lowercase();
    let named: Vec<_> = eligible
        .iter()
        .filter(|(_, action)| said.contains(&flow.action(*action).label.to_lowercase()))
        .cloned()
        .collect();
    if named.len() == 1 {
        *eligible = named;
    }
}

/// Whether the text gives one of the action's slots another value.
fn corrects(work: &Work, flow: &Flow, action: ActionIx) -> bool {
    flow.action(action).slots.iter().any(|slot| {
        let slot = flow.slot(*slot);
        let said = slot.read(&work.input.text);
        said.is_some() && said.as_ref() != work.state().slot(&slot.name)
    })
}
