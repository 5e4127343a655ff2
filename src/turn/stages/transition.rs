//! Stage 9: the only place where a conversation's position changes.
//!
//! Every link of the chain of proposals must be declared for its proposer. One that is not refuses the
//! whole turn: nothing changes, the fallback is said, and the event tells who proposed what. Two moves need
//! no declaration, because they lead to nowhere new: a reset to the start, and a digression's return.

use std::sync::Arc;

use colloquy_flow::{By, Flow, StateIx};

use crate::{
    event::{Detail, DialogueAct, Reason, Stage, StageResult},
    stages::Progress,
    state::{Change, ConversationState, PendingEnding, PositionName},
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    if work.course == Course::Blocked {
        return Progress::Next;
    }
    if work.act == DialogueAct::Reset {
        start_over(work);
        return Progress::Next;
    }
    if work.proposals.is_empty() {
        work.event(Stage::Transition, StageResult::Stayed, Reason::None, Detail::None);
        return Progress::Next;
    }
    let flow = Arc::clone(&work.flow);
    let proposals = std::mem::take(&mut work.proposals);
    if let Some(refused) = proposals.iter().find(|link| !flow.allows(link.from, link.to, link.by)) {
        let detail = work.shown(refused);
        work.event(Stage::Transition, StageResult::Blocked, Reason::TransitionBlocked, detail);
        work.refuse();
        return Progress::Next;
    }
    for link in &proposals {
        match link.by {
            By::Digression if !flow.state(link.from).terminal => {
                work.change(Change::DigressionPushed(name_of(&flow, link.from)));
            }
            By::Intent if !work.state().interrupted().is_empty() => work.change(Change::DigressionsDropped),
            _ => {}
        }
        work.change(Change::Moved(name_of(&flow, link.to)));
        let detail = work.shown(link);
        work.event(Stage::Transition, StageResult::Moved, Reason::None, detail);
    }
    Progress::Next
}

/// Takes up the position that was interrupted last, if the conversation stands at the end of a digression
/// and this revision still knows one. The position that was left and the one taken up are returned.
pub(super) fn return_from_digression(work: &mut Work) -> Option<StateIx> {
    let flow = Arc::clone(&work.flow);
    let here = flow.find_state(work.state().intent(), work.state().state())?;
    if !flow.state(here).terminal {
        return None;
    }
    while let Some(position) = work.state().interrupted().last().cloned() {
        work.change(Change::DigressionPopped);
        if let Some(taken_up) = flow.find_state(&position.intent, &position.state) {
            let name = Detail::Name(Arc::clone(&flow.state(taken_up).full_name));
            work.change(Change::Moved(position));
            work.event(Stage::Transition, StageResult::Moved, Reason::Return, name);
            return Some(taken_up);
        }
    }
    None
}

fn start_over(work: &mut Work) {
    let flow = Arc::clone(&work.flow);
    for change in reset(&flow, work.state()) {
        work.change(change);
    }
    work.candidate = flow.start_state();
    work.moved = true;
    let name = Detail::Name(Arc::clone(&flow.state(flow.start_state()).full_name));
    work.event(Stage::Transition, StageResult::Moved, Reason::Reset, name);
}

fn name_of(flow: &Flow, state: StateIx) -> PositionName {
    let state = flow.state(state);
    PositionName { intent: Arc::clone(&state.intent_name), state: Arc::clone(&state.name) }
}

/// The changes that clear `state`, close what is pending and lead back to the start. The count of turns stays.
pub fn reset(flow: &Flow, state: &ConversationState) -> Vec<Change> {
    let waiting = state.pending().iter();
    let closed = waiting.map(|pending| Change::PendingClosed { id: pending.id, ending: PendingEnding::Reset });
    let slots = state.slots().iter().map(|(slot, _)| Change::SlotCleared { slot: Arc::clone(slot) });
    let flags = state.flags().iter().map(|flag| Change::FlagCleared { flag: Arc::clone(flag) });
    let mut changes: Vec<Change> = closed.chain(slots).chain(flags).collect();
    if !state.interrupted().is_empty() {
        changes.push(Change::DigressionsDropped);
    }
    let start = name_of(flow, flow.start_state());
    if *state.position() != start {
        changes.push(Change::Moved(start));
    }
    changes
}
