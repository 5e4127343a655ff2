//! How well a guard tells attempts to steer the model from what customers write.
//!
//! [`evaluate`] judges labelled texts and counts. A third of them is held out: it is counted apart and never
//! listed, so that who writes signs cannot fit them to it. `docs/guard.md` describes the corpus and has figures.

mod corpus;
mod figures;

use colloquy_flow::{Consequence, Name, PatternError, Steering};
use serde::Serialize;

use crate::read;

pub use colloquy_flow::Guard;
pub use corpus::{
    CORPUS_BYTES_MAX, KIND_BYTES_MAX, Label, Row, TEXT_CHARS_MAX, built_in_corpus, parse_corpus, read_corpus,
};
pub use figures::{Kind, Part, Tally};

/// The signs that come with the program, with the thresholds of a flow that names none.
///
/// # Errors
/// None that a released program shows: a test compiles the signs.
pub fn built_in_guard() -> Result<Guard, PatternError> {
    let signs: Vec<_> = read::built_in_signs().collect();
    let flag_at = Some((read::FLAG_AT, "suspicious".into()));
    let block_at = Some((read::BLOCK_AT, "refused".into()));
    Ok(Guard { policies: Vec::new(), steering: Some(Steering::new(&signs, flag_at, block_at)?) })
}

/// Judges every row as the guard stage of a turn would, its size and characters aside.
pub fn evaluate(guard: &Guard, rows: &[Row]) -> Report {
    let mut report = Report::default();
    for row in rows {
        let judged = Judged::of(guard, &row.text);
        if row.is_held_out() {
            report.held_out.count(row, judged.outcome);
            continue;
        }
        report.open.count(row, judged.outcome);
        if (judged.outcome == Outcome::Passed) == (row.label == Label::Attack) {
            report.misjudged.push(Misjudged { row: row.clone(), judged });
        }
    }
    report
}

/// What came of a corpus.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Counts of the rows that signs may be fitted to.
    pub open: Part,
    /// Counts of the rows that are held out.
    pub held_out: Part,
    /// Open rows that were misjudged: attacks that passed, and benign texts that did not. In the order of the
    /// corpus.
    pub misjudged: Vec<Misjudged>,
}

/// A row that was misjudged.
#[derive(Clone, Debug, Serialize)]
pub struct Misjudged {
    /// The row.
    #[serde(flatten)]
    pub row: Row,
    /// How it was judged.
    #[serde(flatten)]
    pub judged: Judged,
}

/// What follows from a text. Ordered: what is refused was noticed too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing.
    Passed,
    /// A flag is raised and the turn goes on.
    Flagged,
    /// The turn is refused.
    Refused,
}

/// How a text was judged.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// What follows.
    pub outcome: Outcome,
    /// Its score for attempts to steer the model, in percent; 0 when the flow keeps none.
    pub score: u8,
    /// The policies that hit, in declared order, then the signs that were found.
    pub hits: Vec<Name>,
}

impl Judged {
    fn of(guard: &Guard, text: &str) -> Self {
        let (mut outcome, mut hits) = (Outcome::Passed, Vec::new());
        let lowered = text.to_lowercase();
        for policy in guard.policies.iter().filter(|policy| policy.hits(text, &lowered)) {
            hits.push(policy.id.clone());
            outcome = outcome.max(match policy.consequence {
                Consequence::Flag(_) => Outcome::Flagged,
                Consequence::Block(_) => Outcome::Refused,
            });
        }
        let mut score = 0;
        if let Some(steering) = &guard.steering {
            let (reached, signs) = steering.score(text);
            score = reached;
            hits.extend(signs);
            outcome = outcome.max(steered(steering, score));
        }
        Self { outcome, score, hits }
    }
}

fn steered(steering: &Steering, score: u8) -> Outcome {
    let reached = |threshold: &Option<(u8, Name)>| threshold.as_ref().is_some_and(|(at, _)| score >= *at);
    if reached(&steering.block_at) {
        Outcome::Refused
    } else if reached(&steering.flag_at) {
        Outcome::Flagged
    } else {
        Outcome::Passed
    }
}
