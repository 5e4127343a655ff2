//! Stage 10: evicts what neither the current intent nor an interrupted one keeps.

use std::sync::Arc;

use colloquy_flow::SlotScope;

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::Progress,
    state::{Change, PendingAction, PendingEnding},
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    if work.course != Course::Blocked && work.reset.is_none() {
        evict(work);
    }
    Progress::Next
}

/// Evicts slots that are not kept, and gives up actions that wait in an intent the conversation has left.
pub(super) fn evict(work: &mut Work) {
    let flow = Arc::clone(&work.flow);
    let state = work.state();
    let live = || std::iter::once(state.position()).chain(state.interrupted());
    let lasting =
        |slot: &str| flow.find_slot(slot).is_some_and(|slot| flow.slot(slot).scope == SlotScope::Conversation);
    let keeps = |slot: &str| {
        lasting(slot) || live().any(|at| flow.find_intent(&at.intent).is_some_and(|at| flow.intent(at).keeps(slot)))
    };
    let dropped: Vec<Arc<str>> =
        state.slots().iter().filter(|(slot, _)| !keeps(slot)).map(|(slot, _)| Arc::clone(slot)).collect();
    let here = state.position();
    let at_rest = flow.find_state(&here.intent, &here.state).is_some_and(|here| flow.state(here).terminal);
    // A conversation that came to rest has nothing underway any more.
    let over = |pending: &PendingAction| {
        at_rest && work.moved && pending.intent == here.intent && !work.has_opened(pending.id)
    };
    let left = state.pending().iter().filter(|pending| over(pending) || !live().any(|at| at.intent == pending.intent));
    let abandoned: Vec<_> = left.map(|pending| (pending.id, Arc::clone(&pending.action))).collect();
    if dropped.is_empty() && abandoned.is_empty() {
        work.event(Stage::Retain, StageResult::Passed, Reason::None, Detail::None);
        return;
    }
    for slot in &dropped {
        work.change(Change::SlotCleared { slot: Arc::clone(slot) });
    }
    if !dropped.is_empty() {
        work.event(Stage::Retain, StageResult::Dropped, Reason::NotKept, Detail::names(dropped));
    }
    for (id, action) in abandoned {
        work.change(Change::PendingClosed { id, ending: PendingEnding::Abandoned });
        work.event(Stage::Retain, StageResult::Dropped, Reason::Abandoned, Detail::Name(action));
    }
}
