//! Stage 6: reads slots from the text. A correction of a pending action's slot patches it in place.

use std::sync::Arc;

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::{Progress, pending},
    state::Change,
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    match work.course {
        Course::Open | Course::Corrected => {}
        Course::Blocked => return Progress::Next,
        Course::Decided | Course::Clarify => {
            work.event(Stage::Extract, StageResult::Skipped, Reason::Decided, Detail::None);
            return Progress::Next;
        }
    }
    let flow = Arc::clone(&work.flow);
    let heading = flow.state(work.candidate);
    let same_intent = heading.intent == flow.state(work.origin).intent;
    let waiting = if same_intent { pending::eligible(work, &flow) } else { Vec::new() };
    let wanted = waiting.iter().flat_map(|(_, action)| &flow.action(*action).slots);
    let mut looked_for = heading.collect.clone();
    looked_for.extend(wanted);
    looked_for.sort_unstable();
    looked_for.dedup();
    if looked_for.is_empty() {
        work.event(Stage::Extract, StageResult::Skipped, Reason::NotDeclared, Detail::None);
        return Progress::Next;
    }
    let mut corrected = false;
    for index in looked_for {
        let slot = flow.slot(index);
        let Some(value) = slot.read(&work.input.text) else { continue };
        work.filled.push(Arc::clone(&slot.name));
        if work.state().slot(&slot.name) == Some(&value) {
            continue;
        }
        work.change(Change::SlotSet { slot: Arc::clone(&slot.name), value });
        for (pending, action) in &waiting {
            if flow.action(*action).slots.contains(&index) {
                corrected = true;
                work.change(Change::PendingRenewed { id: pending.id, at: work.now });
            }
        }
    }
    let names = Detail::names(work.filled.clone());
    match (corrected, work.filled.is_empty()) {
        (true, _) => work.event(Stage::Extract, StageResult::Edited, Reason::Correction, names),
        (false, false) => work.event(Stage::Extract, StageResult::Done, Reason::Pattern, names),
        (false, true) => work.event(Stage::Extract, StageResult::NoMatch, Reason::None, Detail::None),
    }
    Progress::Next
}
