//! Stage 1: refuses input the flow does not take.

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::Progress,
    work::Work,
};

pub(super) fn run(work: &mut Work) -> Progress {
    match objection(work) {
        Some(reason) => {
            work.event(Stage::Guard, StageResult::Blocked, reason, Detail::None);
            work.refuse();
        }
        None => work.event(Stage::Guard, StageResult::Passed, Reason::None, Detail::None),
    }
    Progress::Next
}

fn objection(work: &Work) -> Option<Reason> {
    let text = &work.input.text;
    let chars_max = usize::try_from(work.flow.limits().text_chars).unwrap_or(usize::MAX);
    if !work.known_position {
        return Some(Reason::UnknownPosition);
    }
    // Bytes bound characters, so most texts need no counting.
    if text.len() > chars_max && text.chars().count() > chars_max {
        return Some(Reason::TooLong);
    }
    if text.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\t')) {
        return Some(Reason::ForbiddenCharacter);
    }
    text.trim().is_empty().then_some(Reason::Blank)
}
