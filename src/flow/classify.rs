//! Recognising intents and dialogue acts: patterns in one pass, keywords by index.

use std::{collections::HashMap, sync::Arc};

use crate::{
    index::IntentIx,
    pattern::{Pattern, PatternError, PatternSet},
};

/// The lower-cased words of a text: runs of letters, digits and apostrophes.
#[derive(Clone, Debug, Default)]
pub struct Words {
    lowered: String,
    spans: Vec<(usize, usize)>,
}

impl Words {
    /// Splits `text`.
    pub fn of(text: &str) -> Self {
        let lowered = text.to_lowercase();
        let mut spans = Vec::with_capacity(8);
        let mut begin = None;
        for (place, letter) in lowered.char_indices() {
            match (begin, letter.is_alphanumeric() || letter == '\'') {
                (None, true) => begin = Some(place),
                (Some(from), false) => {
                    spans.push((from, place));
                    begin = None;
                }
                _ => {}
            }
        }
        if let Some(from) = begin {
            spans.push((from, lowered.len()));
        }
        Self { lowered, spans }
    }

    /// The words in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.spans.iter().filter_map(|(from, to)| self.lowered.get(*from..*to))
    }
}

/// What an intent is recognised by.
#[derive(Clone, Debug)]
pub enum Signal {
    /// A pattern that matches anywhere in the text.
    Pattern(Pattern),
    /// Words that must all occur, in any order. Lower case.
    Keywords(Vec<Arc<str>>),
}

/// How an intent was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchKind {
    /// By this many keywords.
    Keywords(usize),
    /// By a pattern, which beats any keywords of the same priority.
    Pattern,
}

/// What a text was recognised as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    /// The intent that won.
    pub intent: IntentIx,
    /// How it was recognised.
    pub kind: MatchKind,
    /// Intents of equal rank that lost only by being declared later, in declared order.
    pub equals: Vec<IntentIx>,
}

/// Recognises the intents that are allowed at some position.
#[derive(Debug)]
pub struct Classifier {
    patterns: PatternSet,
    /// For each pattern, the candidate it belongs to.
    pattern_owner: Vec<u16>,
    /// For each word, the keyword sets it occurs in.
    keyword_sets: HashMap<Arc<str>, Vec<u16>>,
    /// For each keyword set, its size and the candidate it belongs to.
    sets: Vec<(u16, u16)>,
    /// Intent and priority, in declared order.
    candidates: Vec<(IntentIx, i32)>,
}

impl Classifier {
    pub(crate) fn build<'s>(
        candidates: impl Iterator<Item = (IntentIx, i32, &'s [Signal])>,
    ) -> Result<Self, PatternError> {
        let mut patterns = Vec::new();
        let mut pattern_owner = Vec::new();
        let mut keyword_sets: HashMap<Arc<str>, Vec<u16>> = HashMap::new();
        let mut sets = Vec::new();
        let mut known = Vec::new();
        for (intent, priority, signals) in candidates {
            let owner = number(known.len());
            known.push((intent, priority));
            for signal in signals {
                match signal {
                    Signal::Pattern(pattern) => {
                        patterns.push(pattern);
                        pattern_owner.push(owner);
                    }
                    Signal::Keywords(words) => {
                        let mut distinct = words.clone();
                        distinct.sort();
                        distinct.dedup();
                        for word in &distinct {
                            keyword_sets.entry(Arc::clone(word)).or_default().push(number(sets.len()));
                        }
                        sets.push((number(distinct.len()), owner));
                    }
                }
            }
        }
        let patterns = PatternSet::compile(patterns.into_iter())?;
        Ok(Self { patterns, pattern_owner, keyword_sets, sets, candidates: known })
    }

    /// The intent `text` is about, if any is recognised: the highest priority, then a pattern before
    /// keywords, then more keywords before fewer, then the order of declaration.
    pub fn classify(&self, text: &str, words: &Words) -> Option<Classification> {
        let mut ranks: Vec<(u16, MatchKind)> = Vec::new();
        if !self.patterns.is_empty() {
            for place in self.patterns.matches(text) {
                ranks.extend(self.pattern_owner.get(place).map(|owner| (*owner, MatchKind::Pattern)));
            }
        }
        self.match_keywords(words, &mut ranks);
        let rank_of = |(owner, kind): &(u16, MatchKind)| {
            self.candidates.get(usize::from(*owner)).map(|(_, priority)| (*priority, *kind))
        };
        let best = ranks.iter().filter_map(rank_of).max()?;
        let mut winners: Vec<u16> =
            ranks.iter().filter(|rank| rank_of(rank) == Some(best)).map(|(owner, _)| *owner).collect();
        winners.sort_unstable();
        winners.dedup();
        let mut intents =
            winners.iter().filter_map(|owner| self.candidates.get(usize::from(*owner)).map(|(intent, _)| *intent));
        Some(Classification { intent: intents.next()?, kind: best.1, equals: intents.collect() })
    }

    fn match_keywords(&self, words: &Words, ranks: &mut Vec<(u16, MatchKind)>) {
        if self.keyword_sets.is_empty() {
            return;
        }
        // Sets that were hit, with the words still missing; a text touches few, so a scan is cheapest.
        let mut hits: Vec<(u16, u16)> = Vec::new();
        for (place, word) in words.iter().enumerate() {
            let Some(sets) = self.keyword_sets.get(word) else { continue };
            if words.iter().take(place).any(|earlier| earlier == word) {
                continue;
            }
            for set in sets {
                match hits.iter_mut().find(|(hit, _)| hit == set) {
                    Some((_, found)) => *found += 1,
                    None => hits.push((*set, 1)),
                }
            }
        }
        for (set, found) in hits {
            if let Some((size, owner)) = self.sets.get(usize::from(set))
                && *size == found
            {
                ranks.push((*owner, MatchKind::Keywords(usize::from(found))));
            }
        }
    }
}

/// Tables are bounded well below this by [`crate::assemble`].
pub(crate) fn number(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}

/// The patterns of the dialogue acts.
#[derive(Debug)]
pub struct ActPatterns {
    affirm: PatternSet,
    negate: PatternSet,
    reset: PatternSet,
}

impl ActPatterns {
    /// Compiles the patterns of each act.
    ///
    /// # Errors
    /// [`PatternError::TooLarge`] when they are too large together.
    pub fn new(affirm: &[Pattern], negate: &[Pattern], reset: &[Pattern]) -> Result<Self, PatternError> {
        Ok(Self {
            affirm: PatternSet::compile(affirm.iter())?,
            negate: PatternSet::compile(negate.iter())?,
            reset: PatternSet::compile(reset.iter())?,
        })
    }

    /// Whether `text` affirms.
    pub fn affirms(&self, text: &str) -> bool {
        self.affirm.is_match(text)
    }

    /// Whether `text` negates.
    pub fn negates(&self, text: &str) -> bool {
        self.negate.is_match(text)
    }

    /// Whether `text` asks to start over.
    pub fn resets(&self, text: &str) -> bool {
        self.reset.is_match(text)
    }
}
