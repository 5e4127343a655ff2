//! What a flow declares, read from its YAML without the loader, and whether a turn keeps to it.

use colloquy_turn::{Change, ConversationState, Detail, Stage, StageEvent, StageResult, TurnRecord};

/// Transitions as the YAML declares them, read without the loader: `from`, `to`, `by`.
pub(super) struct Declared {
    rows: Vec<(String, String, Vec<String>)>,
    start: String,
}

impl Declared {
    /// Reads lines of the form `- {from: …, to: …, by: …}`, where `by` may be a list.
    pub(super) fn read(source: &str) -> Self {
        let mut rows = Vec::new();
        let mut start = String::new();
        for line in source.lines() {
            if let Some(place) = line.strip_prefix("start: ") {
                start = place.trim().to_owned();
            }
            let Some(row) = line.trim().strip_prefix("- {from: ") else { continue };
            let (from, row) = row.split_once(", to: ").expect("a transition has a target");
            let (to, by) = row.split_once(", by: ").expect("a transition has proposers");
            let by = by.trim_end_matches('}').trim_matches(['[', ']']).split(", ").map(str::to_owned).collect();
            rows.push((from.trim_matches('"').to_owned(), to.to_owned(), by));
        }
        assert!(!rows.is_empty() && !start.is_empty(), "the source declares transitions and a start");
        Self { rows, start }
    }

    pub(super) fn allows(&self, from: &str, to: &str, by: &str) -> bool {
        let declares = |(f, t, b): &(String, String, Vec<String>)| {
            (f == "*" || f == from) && t == to && b.iter().any(|who| who == by)
        };
        self.rows.iter().any(declares)
    }

    /// Follows every move of a turn; each must be declared, a reset to the start, or a digression's return.
    pub(super) fn judge(&self, before: &ConversationState, record: &TurnRecord) -> Result<(), String> {
        let proposals: Vec<_> = (record.stages.iter())
            .filter(|event| event.stage == Stage::Transition && event.result == StageResult::Moved)
            .filter_map(|event| match &event.detail {
                Detail::Proposal(proposal) => Some(proposal.as_ref()),
                _ => None,
            })
            .collect();
        let mut proposals = proposals.into_iter();
        let mut at = before.position().to_string();
        let mut interrupted: Vec<String> = before.interrupted().iter().map(ToString::to_string).collect();
        let mut popped: Vec<String> = Vec::new();
        let starts_over = |event: &StageEvent| {
            event.stage == Stage::Transition && matches!(&event.detail, Detail::Name(to) if **to == *self.start)
        };
        let reset = record.stages.iter().any(starts_over);
        for change in &record.changes {
            match change {
                Change::DigressionPushed(from) => {
                    (from.to_string() == at).then_some(()).ok_or("pushed where it was not")?;
                    interrupted.push(from.to_string());
                }
                Change::DigressionsDropped => interrupted.clear(),
                Change::DigressionPopped => popped.extend(interrupted.pop()),
                Change::Moved(to) => {
                    let to = to.to_string();
                    let returned = popped.last() == Some(&to);
                    if !(returned || reset && to == self.start) {
                        let proposal = proposals.next().ok_or_else(|| format!("{at} -> {to} was never proposed"))?;
                        let by = proposal.by.name();
                        if (proposal.from.as_ref(), proposal.to.as_ref()) != (at.as_str(), to.as_str()) {
                            return Err(format!("{at} -> {to} is not what {by} proposed"));
                        }
                        if !self.allows(&at, &to, by) {
                            return Err(format!("{at} -> {to} is not declared for {by}"));
                        }
                    }
                    at = to;
                }
                _ => {}
            }
        }
        let after = format!("{}.{}", record.intent, record.state);
        if at == after { Ok(()) } else { Err(format!("the moves lead to {at}, the record says {after}")) }
    }
}
