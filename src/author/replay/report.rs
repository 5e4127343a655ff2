//! What came of many conversations.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeSeq as _};

use super::{
    compare::{Changed, Comparison},
    verify::Verified,
};

/// Examples told of each changed transition.
pub const EXAMPLES_MAX: usize = 3;
/// Kinds of changed transitions that are told apart; those met first win, the others are counted as one.
const TRANSITIONS_MAX: usize = 1000;

/// How a conversation came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As recorded.
    Identical,
    /// Otherwise.
    Different,
    /// Not looked at: it runs a flow of another name.
    PassedOver,
}

/// One conversation that was replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayedConversation {
    /// On its own revisions.
    Verified(Verified),
    /// On another flow.
    Compared(Comparison),
}

impl ReplayedConversation {
    /// How it came out.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Verified(Verified { difference: None, .. }) => Verdict::Identical,
            Self::Compared(comparison) if comparison.passed_over => Verdict::PassedOver,
            Self::Compared(comparison) if comparison.is_identical() => Verdict::Identical,
            Self::Verified(_) | Self::Compared(_) => Verdict::Different,
        }
    }
}

/// All conversations together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Conversations that came out as recorded.
    pub identical: u64,
    /// Conversations that did not.
    pub different: u64,
    /// Conversations that could not be read.
    pub unreadable: u64,
    /// Conversations of flows of another name, which were not looked at.
    pub passed_over: u64,
    /// Turns that were decided again.
    pub turns: u64,
    /// Turns that came out as recorded although another version of the machine had decided them.
    pub turns_of_other_machines: u64,
    /// Turns that came out otherwise.
    pub turns_changed: u64,
    /// Turns by kind of change: `transition`, `reply`, `outcome`, `effect`; and `undecided`.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Changed transitions, with how often and where.
    pub transitions: Transitions,
}

/// One changed transition over all conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TransitionRow<'a> {
    /// The two moves.
    #[serde(flatten)]
    pub changed: &'a Changed,
    /// Turns in which it is so.
    pub turns: u64,
    /// Some of them: the conversation, and its first such turn.
    pub examples: &'a [(String, u64)],
}

/// Changed transitions, with how often and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transitions {
    rows: BTreeMap<Changed, (u64, Vec<(String, u64)>)>,
    /// Turns of transitions that were not told apart.
    untold: u64,
}

impl Transitions {
    /// The changed transitions, the most frequent first.
    pub fn most_frequent(&self) -> Vec<TransitionRow<'_>> {
        let rows = self.rows.iter();
        let mut rows: Vec<_> =
            rows.map(|(changed, (turns, examples))| TransitionRow { changed, turns: *turns, examples }).collect();
        rows.sort_by(|a, b| b.turns.cmp(&a.turns).then_with(|| a.changed.cmp(b.changed)));
        rows
    }

    /// Turns of further transitions that were only counted.
    pub fn untold(&self) -> u64 {
        self.untold
    }

    fn add(&mut self, conversation: &str, transitions: &BTreeMap<Changed, (u64, u64)>) {
        for (changed, (turns, first)) in transitions {
            if !self.rows.contains_key(changed) && self.rows.len() >= TRANSITIONS_MAX {
                self.untold += turns;
                continue;
            }
            let (count, examples) = self.rows.entry(changed.clone()).or_default();
            *count += turns;
            if examples.len() < EXAMPLES_MAX {
                examples.push((conversation.to_owned(), *first));
            }
        }
    }
}

impl Serialize for Transitions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.most_frequent();
        let mut list = serializer.serialize_seq(Some(rows.len()))?;
        for row in &rows {
            list.serialize_element(row)?;
        }
        list.end()
    }
}

impl Summary {
    /// Adds a conversation that was replayed.
    pub fn add(&mut self, conversation: &str, replayed: &ReplayedConversation) {
        match replayed.verdict() {
            Verdict::Identical => self.identical += 1,
            Verdict::Different => self.different += 1,
            Verdict::PassedOver => self.passed_over += 1,
        }
        match replayed {
            ReplayedConversation::Verified(verified) => {
                let changed = u64::from(verified.difference.is_some());
                self.turns += verified.turns;
                self.turns_changed += changed;
                self.turns_of_other_machines += verified.turns_of_other_machines;
            }
            ReplayedConversation::Compared(comparison) => self.add_comparison(conversation, comparison),
        }
    }

    /// Adds a conversation that could not be read.
    pub fn add_unreadable(&mut self) {
        self.unreadable += 1;
    }

    fn add_comparison(&mut self, conversation: &str, comparison: &Comparison) {
        self.turns += comparison.turns;
        self.turns_changed += comparison.turns_changed;
        for (kind, turns) in &comparison.kinds {
            *self.kinds.entry(kind).or_default() += turns;
        }
        if let Some(undecided) = &comparison.undecided {
            *self.kinds.entry("undecided").or_default() += undecided.turns;
        }
        self.transitions.add(conversation, &comparison.transitions);
    }
}
