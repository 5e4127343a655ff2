//! What a flow refuses or flags before it looks at what is meant: policies, and a score for attempts to
//! steer the model.

use crate::{
    parts::Name,
    pattern::{Pattern, PatternError, PatternSet},
};

/// Highest score, in percent.
pub const SCORE_MAX: u8 = 100;

/// What a policy looks for.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// A pattern that matches anywhere.
    Pattern(Pattern),
    /// A text that occurs anywhere, without regard to case. Lower case.
    Contains(Name),
    /// A text that the input begins with, without regard to case. Lower case.
    Prefix(Name),
    /// More characters than this.
    LongerThan(u32),
}

/// What follows when a policy or the score is hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The turn is refused with this reply.
    Block(Name),
    /// This flag is raised and the turn goes on.
    Flag(Name),
}

/// A declared policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its id.
    pub id: Name,
    /// Any of these hits.
    pub triggers: Vec<Trigger>,
    /// What follows.
    pub consequence: Consequence,
}

/// A sign of an attempt to steer the model: injected instructions, a jailbreak.
#[derive(Clone, Debug)]
pub struct SteeringSign {
    /// Its id.
    pub id: Name,
    /// What it looks like.
    pub pattern: Pattern,
    /// What it adds to the score, 1 to 100.
    pub weight: u8,
}

/// How the score is made and what follows from it.
#[derive(Clone, Debug)]
pub struct Steering {
    set: PatternSet,
    signs: Vec<(Name, u8)>,
    /// From this score on the flag is raised.
    pub flag_at: Option<(u8, Name)>,
    /// From this score on the turn is refused with this reply.
    pub block_at: Option<(u8, Name)>,
}

impl Steering {
    /// Compiles the signs.
    ///
    /// # Errors
    /// [`PatternError::TooLarge`] when they are too large together.
    pub fn new(
        signs: &[SteeringSign],
        flag_at: Option<(u8, Name)>,
        block_at: Option<(u8, Name)>,
    ) -> Result<Self, PatternError> {
        Ok(Self {
            set: PatternSet::compile(signs.iter().map(|sign| &sign.pattern))?,
            signs: signs.iter().map(|sign| (sign.id.clone(), sign.weight)).collect(),
            flag_at,
            block_at,
        })
    }

    /// The score of `text` in percent, and the signs it is made of: their weights added, at most
    /// [`SCORE_MAX`].
    pub fn score(&self, text: &str) -> (u8, Vec<Name>) {
        let mut score = 0_u8;
        let mut found = Vec::new();
        for (id, weight) in self.set.matches(text).filter_map(|place| self.signs.get(place)) {
            score = score.saturating_add(*weight).min(SCORE_MAX);
            found.push(id.clone());
        }
        (score, found)
    }
}

/// Everything the guard stage checks beyond size and characters.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The policies that are switched on, in declared order.
    pub policies: Vec<Policy>,
    /// The score, if the flow wants one.
    pub steering: Option<Steering>,
}

impl Policy {
    /// Whether the policy hits `text`; `lowered` is the text in lower case.
    pub fn hits(&self, text: &str, lowered: &str) -> bool {
        self.triggers.iter().any(|trigger| match trigger {
            Trigger::Pattern(pattern) => pattern.is_match(text),
            Trigger::Contains(part) => lowered.contains(part.as_ref()),
            Trigger::Prefix(begin) => lowered.trim_start().starts_with(begin.as_ref()),
            Trigger::LongerThan(chars) => {
                let most = usize::try_from(*chars).unwrap_or(usize::MAX);
                text.len() > most && text.chars().count() > most
            }
        })
    }
}
