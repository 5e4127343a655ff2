//! After the reply: keeps a summary of the conversation for prompts to come. When a new one cannot be had,
//! the old one stays.

use std::sync::Arc;

use colloquy_flow::Json;

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    stages::{
        Progress,
        asking::{self, Extra},
    },
    state::Change,
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    let flow = Arc::clone(&work.flow);
    let Some(summary) = flow.summary().filter(|_| work.course != Course::Blocked && work.reset.is_none()) else {
        return Progress::Next;
    };
    let since = work.state().turns().saturating_sub(work.state().summarised_turn());
    let Some(prompt) = flow.prompt(&summary.prompt).filter(|_| since >= u64::from(summary.every_turns)) else {
        return Progress::Next;
    };
    let said = work.reply.as_ref().map(|reply| reply.text.clone()).unwrap_or_default();
    let extra = Extra { values: vec![("answer".into(), Json::Text(said.into()))], ..Extra::default() };
    match asking::text(work, prompt, &extra) {
        None => return Progress::Need,
        Some(Ok(output)) => {
            let most = usize::try_from(summary.chars_max).unwrap_or(usize::MAX);
            let text = shortened(output.text.trim(), most);
            if text.is_empty() {
                work.event(Stage::Summarise, StageResult::Failed, Reason::Malformed, Detail::None);
            } else {
                work.change(Change::Summarised { text: text.into() });
                work.event(Stage::Summarise, StageResult::Done, Reason::Model, Detail::None);
            }
        }
        // The reply lacks nothing, so the turn is not degraded.
        Some(Err(reason)) => {
            work.event(Stage::Summarise, StageResult::Failed, reason, Detail::Name(Arc::clone(&prompt.name)));
        }
    }
    Progress::Next
}

/// The text up to a number of characters, cut at the end of a word.
fn shortened(text: &str, chars_max: usize) -> &str {
    let Some((end, _)) = text.char_indices().nth(chars_max) else { return text };
    let cut = text.get(..end).unwrap_or_default();
    cut.rfind(char::is_whitespace).and_then(|end| cut.get(..end)).unwrap_or(cut).trim_end()
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_summary_ends_with_a_whole_word() {
        assert_eq!(shortened("one two three", 100), "one two three");
        assert_eq!(shortened("one two three", 9), "one two");
        assert_eq!(shortened("überlang", 4), "über");
    }
}
