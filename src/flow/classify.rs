//! Recognising intents: patterns in one pass, keywords and examples by index.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

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

    /// How many different words there are.
    pub fn distinct(&self) -> usize {
        self.iter()
            .enumerate()
            .filter(|(place, word)| !self.iter().take(*place).any(|earlier| earlier == *word))
            .count()
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
    /// A sentence that means it, as its words. Lower case.
    Example(Vec<Arc<str>>),
}

/// How an intent was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchKind {
    /// By words shared with an example: this many percent alike.
    Example(u8),
    /// By this many keywords, which beat any example of the same priority.
    Keywords(usize),
    /// By a pattern, which beats any keywords of the same priority.
    Pattern,
}

impl MatchKind {
    /// How sure it makes, in percent: what stickiness and the model's threshold are compared with.
    pub const fn confidence(self) -> u8 {
        match self {
            Self::Example(alike) => alike,
            Self::Keywords(_) => 90,
            Self::Pattern => 100,
        }
    }
}

/// How alike a text and an example must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// Least percent that counts.
    pub min: u8,
    /// Examples of several intents this close to the best, in percent points, count as equal.
    pub margin: u8,
}

impl Default for Likeness {
    fn default() -> Self {
        Self { min: 60, margin: 5 }
    }
}

/// What a text was recognised as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    /// The intent that won.
    pub intent: IntentIx,
    /// How it was recognised.
    pub kind: MatchKind,
    /// Its priority.
    pub priority: i32,
    /// Intents of equal rank that lost only by being declared later, in declared order.
    pub equals: Vec<IntentIx>,
}

impl Classification {
    /// The better of two, or both as equals when they are of equal rank.
    fn or(self, other: Self, likeness: Likeness) -> Self {
        let alike = match (self.kind, other.kind) {
            (MatchKind::Example(one), MatchKind::Example(two)) => one.abs_diff(two) <= likeness.margin,
            (one, two) => one == two,
        };
        let (mut best, second) = match (self.priority, self.kind).cmp(&(other.priority, other.kind)) {
            Ordering::Less => (other, self),
            Ordering::Greater => (self, other),
            Ordering::Equal if other.intent < self.intent => (other, self),
            Ordering::Equal => (self, other),
        };
        if best.priority == second.priority && alike {
            best.equals.push(second.intent);
            best.equals.extend(second.equals);
        }
        best
    }
}

/// The better of what two classifiers found.
pub(crate) fn better(
    one: Option<Classification>,
    other: Option<Classification>,
    likeness: Likeness,
) -> Option<Classification> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.or(other, likeness)),
        (one, other) => one.or(other),
    }
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
    /// For each word, the examples it occurs in.
    example_sets: HashMap<Arc<str>, Vec<u16>>,
    /// For each example, its size and the candidate it belongs to.
    examples: Vec<(u16, u16)>,
    likeness: Likeness,
    /// Intent and priority, in declared order.
    candidates: Vec<(IntentIx, i32)>,
}

impl Classifier {
    pub(crate) fn build<'s>(
        candidates: impl Iterator<Item = (IntentIx, i32, &'s [Signal])>,
        likeness: Likeness,
    ) -> Result<Self, PatternError> {
        let mut patterns = Vec::new();
        let mut pattern_owner = Vec::new();
        let (mut keyword_sets, mut sets) = (HashMap::new(), Vec::new());
        let (mut example_sets, mut examples) = (HashMap::new(), Vec::new());
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
                    Signal::Keywords(words) => index_words(words, owner, &mut keyword_sets, &mut sets),
                    Signal::Example(words) => index_words(words, owner, &mut example_sets, &mut examples),
                }
            }
        }
        let patterns = PatternSet::compile(patterns.into_iter())?;
        Ok(Self { patterns, pattern_owner, keyword_sets, sets, example_sets, examples, likeness, candidates: known })
    }

    /// The intent `text` is about, if any is recognised: the highest priority, then a pattern before
    /// keywords before examples, then more keywords before fewer and the closer example, then the order of
    /// declaration.
    pub fn classify(&self, text: &str, words: &Words) -> Option<Classification> {
        let mut ranks: Vec<(u16, MatchKind)> = Vec::new();
        if !self.patterns.is_empty() {
            for place in self.patterns.matches(text) {
                ranks.extend(self.pattern_owner.get(place).map(|owner| (*owner, MatchKind::Pattern)));
            }
        }
        self.match_keywords(words, &mut ranks);
        self.match_examples(words, &mut ranks);
        let rank_of = |(owner, kind): &(u16, MatchKind)| {
            self.candidates.get(usize::from(*owner)).map(|(_, priority)| (*priority, *kind))
        };
        let best = ranks.iter().filter_map(rank_of).max()?;
        let wins = |rank: &&(u16, MatchKind)| match (rank_of(rank), best) {
            (Some((priority, MatchKind::Example(alike))), (top, MatchKind::Example(closest))) => {
                priority == top && alike.saturating_add(self.likeness.margin) >= closest
            }
            (rank, best) => rank == Some(best),
        };
        let mut winners: Vec<&(u16, MatchKind)> = ranks.iter().filter(wins).collect();
        // The closest first, then in declared order; each once.
        winners.sort_unstable_by_key(|(owner, kind)| (std::cmp::Reverse(*kind), *owner));
        let mut seen = vec![false; self.candidates.len()];
        let mut intents: Vec<IntentIx> = Vec::with_capacity(winners.len());
        for (owner, _) in winners {
            let owner = usize::from(*owner);
            if let (Some((intent, _)), Some(seen)) = (self.candidates.get(owner), seen.get_mut(owner))
                && !std::mem::replace(seen, true)
            {
                intents.push(*intent);
            }
        }
        let first = *intents.first()?;
        intents.remove(0);
        Some(Classification { intent: first, kind: best.1, priority: best.0, equals: intents })
    }

    fn match_keywords(&self, words: &Words, ranks: &mut Vec<(u16, MatchKind)>) {
        for (set, found) in hits(words, &self.keyword_sets) {
            if let Some((size, owner)) = self.sets.get(usize::from(set))
                && *size == found
            {
                ranks.push((*owner, MatchKind::Keywords(usize::from(found))));
            }
        }
    }

    /// Likeness is twice the number of shared words over the number of words of both, each word once
    /// (the coefficient of Dice and Sorensen), in percent.
    fn match_examples(&self, words: &Words, ranks: &mut Vec<(u16, MatchKind)>) {
        if self.examples.is_empty() {
            return;
        }
        let said = words.distinct();
        for (example, shared) in hits(words, &self.example_sets) {
            let Some((size, owner)) = self.examples.get(usize::from(example)) else { continue };
            let alike = usize::from(shared) * 200 / (said + usize::from(*size)).max(1);
            let alike = u8::try_from(alike).unwrap_or(100);
            if alike >= self.likeness.min {
                ranks.push((*owner, MatchKind::Example(alike)));
            }
        }
    }
}

/// Enters a set of words, each once, into an index from words to sets.
fn index_words(words: &[Arc<str>], owner: u16, index: &mut HashMap<Arc<str>, Vec<u16>>, sets: &mut Vec<(u16, u16)>) {
    let mut distinct = words.to_vec();
    distinct.sort();
    distinct.dedup();
    for word in &distinct {
        index.entry(Arc::clone(word)).or_default().push(number(sets.len()));
    }
    sets.push((number(distinct.len()), owner));
}

/// The sets that share words with a text, and how many.
fn hits(words: &Words, index: &HashMap<Arc<str>, Vec<u16>>) -> Vec<(u16, u16)> {
    if index.is_empty() {
        return Vec::new();
    }
    let mut touched: Vec<u16> = Vec::new();
    for (place, word) in words.iter().enumerate() {
        if let Some(sets) = index.get(word)
            && !words.iter().take(place).any(|earlier| earlier == word)
        {
            touched.extend_from_slice(sets);
        }
    }
    touched.sort_unstable();
    touched.chunk_by(|one, other| one == other).filter_map(|run| Some((*run.first()?, number(run.len())))).collect()
}

/// Tables are bounded well below this by [`crate::assemble`].
pub(crate) fn number(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}
