//! Stage 5: fetches what the position declares. Flows of this format version declare nothing to fetch.

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::Progress,
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    if work.course != Course::Blocked {
        work.event(Stage::Enrich, StageResult::Skipped, Reason::NotDeclared, Detail::None);
    }
    Progress::Next
}
