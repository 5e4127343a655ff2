//! How well the score for attempts to steer a model tells attacks from what customers write.
//!
//! [`evaluate`] judges labelled texts and counts. A third of them is held out: it is counted apart and never
//! listed, so that who writes signs cannot fit them to it. Figures are whole numbers per mille, rounded down.

mod corpus;

use std::collections::BTreeMap;

use colloquy_flow::{PatternError, Steering};
use serde::Serialize;

use crate::read;

pub use corpus::{
    CORPUS_BYTES_MAX, KIND_BYTES_MAX, Label, Row, TEXT_CHARS_MAX, built_in_corpus, parse_corpus,
};

/// The signs that come with the program, with the thresholds a flow has when it says nothing else.
///
/// # Errors
/// None that a released program shows: a test compiles the signs.
pub fn built_in_steering() -> Result<Steering, PatternError> {
    let signs: Vec<_> = read::built_in_signs().collect();
    Steering::new(&signs, Some((read::FLAG_AT, "suspicious".into())), Some((read::BLOCK_AT, "blocked".into())))
}

/// Judges every row by its score.
pub fn evaluate(steering: &Steering, rows: &[Row]) -> Report {
    let flag_at = steering.flag_at.as_ref().map(|(at, _)| *at);
    let block_at = steering.block_at.as_ref().map(|(at, _)| *at);
    let mut report = Report { open: Part::new(flag_at, block_at), ..Report::default() };
    report.held_out = report.open.clone();
    for row in rows {
        let (score, signs) = steering.score(&row.text);
        if row.is_held_out() {
            report.held_out.count(row, score);
            continue;
        }
        report.open.count(row, score);
        let outcome = Outcome::of(score, flag_at, block_at);
        if (outcome == Outcome::Passed) == (row.label == Label::Attack) {
            let signs = signs.iter().map(ToString::to_string).collect();
            report.misjudged.push(Misjudged { row: row.clone(), score, outcome, signs });
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

/// Counts of one part of a corpus.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Part {
    /// Attacks in it.
    pub attacks: u64,
    /// Benign texts in it.
    pub benign: u64,
    /// How the flag's threshold judges, if there is one.
    pub flag: Option<Tally>,
    /// How the threshold of refusal judges, if there is one.
    pub block: Option<Tally>,
    /// Counts by label and kind, as in `attack/injection`.
    pub kinds: BTreeMap<String, Kind>,
}

impl Part {
    fn new(flag_at: Option<u8>, block_at: Option<u8>) -> Self {
        Self { flag: flag_at.map(Tally::new), block: block_at.map(Tally::new), ..Self::default() }
    }

    fn count(&mut self, row: &Row, score: u8) {
        match row.label {
            Label::Attack => self.attacks += 1,
            Label::Benign => self.benign += 1,
        }
        let kind = self.kinds.entry(format!("{}/{}", row.label.name(), row.kind)).or_default();
        kind.rows += 1;
        for (tally, reached) in [(&mut self.flag, &mut kind.flagged), (&mut self.block, &mut kind.blocked)] {
            *reached += u64::from(tally.as_mut().is_some_and(|tally| tally.count(row.label, score)));
        }
    }
}

/// Counts of one kind of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// Texts of the kind.
    pub rows: u64,
    /// Those that reach the flag's threshold.
    pub flagged: u64,
    /// Those that reach the threshold of refusal.
    pub blocked: u64,
}

/// How one threshold judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The score from which it hits, in percent.
    pub at: u8,
    /// Attacks that it hits.
    pub hit: u64,
    /// Attacks that it misses.
    pub missed: u64,
    /// Benign texts that it hits.
    pub wrongly_hit: u64,
    /// Benign texts that it lets pass.
    pub passed: u64,
}

impl Tally {
    const fn new(at: u8) -> Self {
        Self { at, hit: 0, missed: 0, wrongly_hit: 0, passed: 0 }
    }

    /// Counts one text; whether it is hit.
    fn count(&mut self, label: Label, score: u8) -> bool {
        let hit = score >= self.at;
        let counter = match (label, hit) {
            (Label::Attack, true) => &mut self.hit,
            (Label::Attack, false) => &mut self.missed,
            (Label::Benign, true) => &mut self.wrongly_hit,
            (Label::Benign, false) => &mut self.passed,
        };
        *counter += 1;
        hit
    }

    /// How many of the texts it hits are attacks, per mille; none when it hits nothing.
    pub fn precision(&self) -> Option<u64> {
        per_mille(self.hit, self.hit + self.wrongly_hit)
    }

    /// How many of the attacks it hits, per mille; none when there are none.
    pub fn recall(&self) -> Option<u64> {
        per_mille(self.hit, self.hit + self.missed)
    }

    /// The harmonic mean of precision and recall, per mille; none when there is no attack and no hit.
    pub fn f1(&self) -> Option<u64> {
        per_mille(2 * self.hit, 2 * self.hit + self.wrongly_hit + self.missed)
    }
}

impl Serialize for Tally {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut written = serializer.serialize_struct("Tally", 8)?;
        written.serialize_field("at", &self.at)?;
        written.serialize_field("hit", &self.hit)?;
        written.serialize_field("missed", &self.missed)?;
        written.serialize_field("wrongly_hit", &self.wrongly_hit)?;
        written.serialize_field("passed", &self.passed)?;
        written.serialize_field("precision_per_mille", &self.precision())?;
        written.serialize_field("recall_per_mille", &self.recall())?;
        written.serialize_field("f1_per_mille", &self.f1())?;
        written.end()
    }
}

fn per_mille(part: u64, whole: u64) -> Option<u64> {
    (part * 1000).checked_div(whole)
}

/// What follows from a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing.
    Passed,
    /// The flag is raised.
    Flagged,
    /// The turn is refused.
    Blocked,
}

impl Outcome {
    fn of(score: u8, flag_at: Option<u8>, block_at: Option<u8>) -> Self {
        let reached = |at: Option<u8>| at.is_some_and(|at| score >= at);
        if reached(block_at) {
            Self::Blocked
        } else if reached(flag_at) {
            Self::Flagged
        } else {
            Self::Passed
        }
    }
}

/// A row that was misjudged.
#[derive(Clone, Debug, Serialize)]
pub struct Misjudged {
    /// The row.
    #[serde(flatten)]
    pub row: Row,
    /// Its score, in percent.
    pub score: u8,
    /// What follows from it.
    pub outcome: Outcome,
    /// The signs it is made of.
    pub signs: Vec<String>,
}
