//! Stage 9: the only place where a conversation's position changes.
//!
//! Every link of the chain of proposals must be declared for its proposer. One that is not refuses the
//! whole turn: nothing changes, the fallback is said, and the event tells who proposed what. Two moves need
//! no declaration, because they lead to nowhere new: a reset to the start, and a digression's return.

use std::sync::Arc;

use colloquy_flow::{By, Flow, StateIx};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::Progress,
    state::{Change, ConversationState, PendingEnding, PositionName},
    timer::TimerEnding,
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    if work.course == Course::Blocked {
        return Progress::Next;
    }
    if let Some(reason) = work.reset {
        start_over(work, reason);
        return Progress::Next;
    }
    if work.proposals.is_empty() && !work.resumed {
        work.event(Stage::Transition, StageResult::Stayed, Reason::None, Detail::None);
        return Progress::Next;
    }
    let flow = Arc::clone(&work.flow);
    let proposals = std::mem::take(&mut work.proposals);
    if let Some(refused) = proposals.iter().find(|link| !flow.allows(link.from, link.to, link.by)) {
        work.blocked(refused);
        return Progress::Next;
    }
    if work.resumed {
        take_up(work, Reason::Resumed);
    }
    for link in &proposals {
        match link.by {
            By::Digression if !flow.state(link.from).terminal => {
                work.change(Change::DigressionPushed(name_of(&flow, link.from)));
            }
            By::Intent | By::Model if !work.state().interrupted().is_empty() => work.change(Change::DigressionsDropped),
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
    let here = work.flow.find_state(work.state().intent(), work.state().state())?;
    if !work.flow.state(here).terminal {
        return None;
    }
    take_up(work, Reason::Return)
}

fn take_up(work: &mut Work, reason: Reason) -> Option<StateIx> {
    let flow = Arc::clone(&work.flow);
    while let Some(position) = work.state().interrupted().last().cloned() {
        work.change(Change::DigressionPopped);
        if let Some(taken_up) = flow.find_state(&position.intent, &position.state) {
            let name = Detail::Name(Arc::clone(&flow.state(taken_up).full_name));
            work.change(Change::Moved(position));
            work.event(Stage::Transition, StageResult::Moved, reason, name);
            return Some(taken_up);
        }
    }
    None
}

fn start_over(work: &mut Work, reason: Reason) {
    let flow = Arc::clone(&work.flow);
    for change in reset(&flow, work.state()) {
        work.change(change);
    }
    work.head_for(flow.start_state());
    let name = Detail::Name(Arc::clone(&flow.state(flow.start_state()).full_name));
    work.event(Stage::Transition, StageResult::Moved, reason, name);
}

fn name_of(flow: &Flow, state: StateIx) -> PositionName {
    let state = flow.state(state);
    PositionName { intent: Arc::clone(&state.intent_name), state: Arc::clone(&state.name) }
}

/// The changes that clear `state`, close what is pending, drop its timers and lead back to the start. The count of turns stays.
pub fn reset(flow: &Flow, state: &ConversationState) -> Vec<Change> {
    let waiting = state.pending().iter();
    let closed = waiting.map(|pending| Change::PendingClosed { id: pending.id, ending: PendingEnding::Reset });
    let slots = state.slots().iter().map(|(slot, _)| Change::SlotCleared { slot: Arc::clone(slot) });
    let flags = state.flags().iter().map(|flag| Change::FlagCleared { flag: Arc::clone(flag) });
    let failed = state.failed().iter().map(|name| Change::FailureCleared { name: Arc::clone(name) });
    let data = state.data().iter().map(|(name, _)| Change::DataCleared { name: Arc::clone(name) });
    let timers = state.timers().iter();
    let timers = timers.map(|timer| Change::TimerEnded { id: Arc::clone(&timer.id), ending: TimerEnding::Reset });
    let mut changes: Vec<Change> = closed.chain(slots).chain(flags).chain(failed).chain(data).chain(timers).collect();
    if state.question().is_some() {
        changes.push(Change::QuestionDropped);
    }
    if !state.history().is_empty() || state.summary().is_some() {
        changes.push(Change::HistoryDropped);
    }
    if !state.interrupted().is_empty() {
        changes.push(Change::DigressionsDropped);
    }
    let start = name_of(flow, flow.start_state());
    if *state.position() != start {
        changes.push(Change::Moved(start));
    }
    changes
}
