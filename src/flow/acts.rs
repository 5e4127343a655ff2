//! Recognising dialogue acts: what kind of thing the user says, whatever it is about.

use crate::pattern::{Pattern, PatternError, PatternSet};

/// A kind of dialogue act, in the order in which they win against one another at equal confidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// Start over.
    Reset,
    /// Do again what failed.
    Retry,
    /// Change something that was said.
    Edit,
    /// Yes.
    Affirm,
    /// No.
    Negate,
    /// Something else is wanted.
    NewRequest,
    /// A question.
    Question,
    /// What was asked for.
    Answer,
}

impl Act {
    /// Every act.
    pub const ALL: [Self; 8] = [
        Self::Reset,
        Self::Retry,
        Self::Edit,
        Self::Affirm,
        Self::Negate,
        Self::NewRequest,
        Self::Question,
        Self::Answer,
    ];

    /// The act's name as flows, conditions and traces write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Retry => "retry",
            Self::Edit => "edit",
            Self::Affirm => "affirm",
            Self::Negate => "negate",
            Self::NewRequest => "new_request",
            Self::Question => "question",
            Self::Answer => "answer",
        }
    }

    /// The act with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == name)
    }
}

/// A pattern of an act, and how sure it makes of it.
#[derive(Clone, Debug)]
pub struct ActPattern {
    /// The act.
    pub act: Act,
    /// The pattern.
    pub pattern: Pattern,
    /// Percent, 1 to 100.
    pub confidence: u8,
}

/// What a text was recognised as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// No pattern matched.
    Nothing,
    /// Yes and no, equally sure: it says neither.
    Torn,
    /// This act, with this confidence in percent.
    Act(Act, u8),
}

/// The patterns of the dialogue acts, searched in one pass.
#[derive(Clone, Debug)]
pub struct ActPatterns {
    set: PatternSet,
    rows: Vec<(Act, u8)>,
}

impl ActPatterns {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`PatternError::TooLarge`] when they are too large together.
    pub fn new(patterns: &[ActPattern]) -> Result<Self, PatternError> {
        Ok(Self {
            set: PatternSet::compile(patterns.iter().map(|row| &row.pattern))?,
            rows: patterns.iter().map(|row| (row.act, row.confidence)).collect(),
        })
    }

    /// The act of `text`: the surest one, at equal confidence the first in the order of [`Act`].
    pub fn recognise(&self, text: &str) -> Recognised {
        let mut best: Option<(u8, Act)> = None;
        let mut sure_of = [0_u8; Act::ALL.len()];
        for place in self.set.matches(text) {
            let Some((act, confidence)) = self.rows.get(place).copied() else { continue };
            if let Some(held) = sure_of.get_mut(act as usize) {
                *held = (*held).max(confidence);
            }
            if best.is_none_or(|(held, winner)| confidence > held || (confidence == held && act < winner)) {
                best = Some((confidence, act));
            }
        }
        let sure = |act: Act| sure_of.get(act as usize).copied().unwrap_or_default();
        match best {
            None => Recognised::Nothing,
            Some((_, Act::Affirm)) if sure(Act::Affirm) == sure(Act::Negate) => Recognised::Torn,
            Some((confidence, act)) => Recognised::Act(act, confidence),
        }
    }
}
