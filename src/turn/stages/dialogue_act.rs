//! Stage 2: recognises affirmation, negation and the wish to start over.

use crate::{
    event::{Detail, DialogueAct, Reason, Stage, StageResult},
    stages::Progress,
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    if work.course == Course::Blocked {
        return Progress::Next;
    }
    let text = work.input.text.trim();
    let acts = work.flow.acts();
    let (act, result, reason) = if acts.resets(text) {
        (DialogueAct::Reset, StageResult::Matched, Reason::Reset)
    } else {
        match (acts.affirms(text), acts.negates(text)) {
            (true, false) => (DialogueAct::Affirm, StageResult::Matched, Reason::Affirmed),
            (false, true) => (DialogueAct::Negate, StageResult::Matched, Reason::Negated),
            // "No, yes" says neither.
            (true, true) => (DialogueAct::None, StageResult::NoMatch, Reason::Ambiguous),
            (false, false) => (DialogueAct::None, StageResult::NoMatch, Reason::None),
        }
    };
    work.act = act;
    if act == DialogueAct::Reset {
        work.course = Course::Decided;
    }
    work.event(Stage::DialogueAct, result, reason, Detail::None);
    Progress::Next
}
