//! Regular expressions with bounded size. The engine is linear in the text, so none can blow up.

use std::{borrow::Cow, fmt};

use regex::{Regex, RegexBuilder};
use regex_automata::{Input, MatchKind, meta, nfa::thompson::WhichCaptures, util::syntax};
use regex_syntax::hir::{Hir, HirKind};

/// Longest source of a pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// Bound of one compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// What is larger when compiled than this many bytes is slow to search for.
pub const COMPILED_BYTES_LIGHT: usize = 256 << 10;
/// The first size that is tried; then twice that, and so on: the engine tells whether a pattern fits, not how
/// large it is.
const COMPILED_BYTES_MIN: usize = 8 << 10;
/// Bound of the patterns that are compiled together for one position, in bytes.
const SET_BYTES_MAX: usize = 32 << 20;
/// How deep groups may nest.
const NESTING_MAX: u32 = 32;

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The source is longer than [`PATTERN_BYTES_MAX`].
    #[error("the pattern has {len} bytes, at most {PATTERN_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes it has.
        len: usize,
    },
    /// Compiled, it would be too large: a repetition of something large, as a rule.
    #[error("the pattern compiles to more than 1 MiB")]
    TooLarge,
    /// It matches the empty text, so it would match always.
    #[error("the pattern matches the empty text")]
    MatchesEmpty,
    /// It is no regular expression.
    #[error("{0}")]
    Syntax(String),
}

/// One compiled pattern; case does not matter unless it says `(?-i)`.
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
    bytes_max: usize,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.regex.as_str())
    }
}

fn build(source: &str, bytes_max: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source)
        .case_insensitive(true)
        .size_limit(bytes_max)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build()
}

impl Pattern {
    /// Compiles `source`.
    ///
    /// # Errors
    /// [`PatternError`] tells what is wrong.
    pub fn compile(source: &str) -> Result<Self, PatternError> {
        if source.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { len: source.len() });
        }
        let mut bytes_max = COMPILED_BYTES_MIN;
        let mut built = build(source, bytes_max);
        while bytes_max < COMPILED_BYTES_MAX && matches!(built, Err(regex::Error::CompiledTooBig(_))) {
            bytes_max *= 2;
            built = build(source, bytes_max);
        }
        match built {
            Ok(regex) if regex.is_match("") => Err(PatternError::MatchesEmpty),
            Ok(regex) => Ok(Self { regex, bytes_max }),
            Err(regex::Error::CompiledTooBig(_)) => Err(PatternError::TooLarge),
            // The engine draws the pattern and an arrow over several lines; its last line says what is wrong.
            Err(error) => {
                let drawn = error.to_string();
                let said = drawn.lines().last().unwrap_or_default();
                Err(PatternError::Syntax(said.trim_start_matches("error: ").to_owned()))
            }
        }
    }

    /// The source.
    pub fn source(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether the pattern has a group named `name`.
    pub fn has_group(&self, name: &str) -> bool {
        self.regex.capture_names().flatten().any(|group| group == name)
    }

    /// Whether the pattern matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Whether it is larger than [`COMPILED_BYTES_LIGHT`] when compiled: slow to search for, though never
    /// more than linear in the text.
    pub const fn is_heavy(&self) -> bool {
        self.bytes_max > COMPILED_BYTES_LIGHT
    }

    /// The size that it does not exceed when compiled, in bytes: a power of two.
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether it repeats without end what already repeats without end, with nothing in between that must
    /// be there: `(?:\w+\s*)+`. There are countless ways to match the same text.
    pub fn repeats_repetition(&self) -> bool {
        regex_syntax::parse(self.source()).is_ok_and(|parsed| repeats_repetition(&parsed))
    }

    /// The text with every match replaced.
    pub(crate) fn replace_all<'t>(&self, text: &'t str, with: &str) -> Cow<'t, str> {
        self.regex.replace_all(text, regex::NoExpand(with))
    }

    /// Every match in `text`: what the group `value` matched, or all of it.
    pub(crate) fn values<'t>(&'t self, text: &'t str) -> impl Iterator<Item = &'t str> + 't {
        self.regex
            .captures_iter(text)
            .filter_map(|captures| captures.name("value").or_else(|| captures.get(0)).map(|found| found.as_str()))
    }
}

fn is_endless(node: &Hir) -> bool {
    matches!(node.kind(), HirKind::Repetition(repetition) if repetition.max.is_none())
}

/// Groups nest at most [`NESTING_MAX`] deep, so this recursion is bounded.
fn repeats_repetition(node: &Hir) -> bool {
    match node.kind() {
        HirKind::Repetition(repetition) => {
            (repetition.max.is_none() && may_be_repetition(&repetition.sub)) || repeats_repetition(&repetition.sub)
        }
        HirKind::Capture(capture) => repeats_repetition(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(repeats_repetition),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

/// Whether an endless repetition may be all there is of it.
fn may_be_repetition(node: &Hir) -> bool {
    let optional = |part: &Hir| part.properties().minimum_len() == Some(0);
    match node.kind() {
        HirKind::Repetition(_) => is_endless(node),
        HirKind::Capture(capture) => may_be_repetition(&capture.sub),
        HirKind::Alternation(parts) => parts.iter().any(may_be_repetition),
        HirKind::Concat(parts) => parts.iter().enumerate().any(|(place, part)| {
            let mut others = parts.iter().enumerate().filter(|(other, _)| *other != place);
            may_be_repetition(part) && others.all(|(_, other)| optional(other))
        }),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

/// Patterns searched together in one pass.
#[derive(Clone, Debug)]
pub(crate) struct PatternSet(meta::Regex);

/// Up to this many patterns the engine looks for literals first; beyond, finding them takes it time that grows
/// with the square of their number.
const PREFILTERED_MAX: usize = 64;

/// A lazily built automaton that must forget its states is slower than none, and one whose cache is too small for a
/// few large states is not built at all: then every character costs microseconds. Each state may have to remember a
/// place in every pattern, and as many as the patterns are long.
fn cache_bytes(sources: &[&str]) -> usize {
    let written: usize = sources.iter().map(|source| source.len()).sum();
    (sources.len() * (16 << 10)).max(written * 512).clamp(2 << 20, SET_BYTES_MAX)
}

impl PatternSet {
    /// Compiles patterns that were accepted one by one.
    pub(crate) fn compile<'p>(patterns: impl Iterator<Item = &'p Pattern>) -> Result<Self, PatternError> {
        let sources: Vec<&str> = patterns.map(Pattern::source).collect();
        let config = meta::Config::new()
            .nfa_size_limit(Some(SET_BYTES_MAX))
            .match_kind(MatchKind::All)
            .dfa(false)
            .hybrid_cache_capacity(cache_bytes(&sources))
            .onepass(false)
            .which_captures(WhichCaptures::None)
            .auto_prefilter(sources.len() <= PREFILTERED_MAX);
        let built = meta::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().case_insensitive(true).nest_limit(NESTING_MAX))
            .build_many(&sources);
        built.map(Self).map_err(|_| PatternError::TooLarge)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.pattern_len() == 0
    }

    /// The places of the patterns that match, ascending.
    pub(crate) fn matches(&self, text: &str) -> impl Iterator<Item = usize> {
        let mut found = regex_automata::PatternSet::new(self.0.pattern_len());
        if !self.is_empty() {
            self.0.which_overlapping_matches(&Input::new(text), &mut found);
        }
        let places: Vec<usize> = found.iter().map(|pattern| pattern.as_usize()).collect();
        places.into_iter()
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn what_is_slow_is_told_from_what_only_looks_so() {
        let compile = |source: &str| Pattern::compile(source).expect("it compiles");
        for source in [r"(?:\w+\s*)+!", "x(a*)*", r"(?:\d|[a-z]+)+x", "(?P<value>(?:a+)+)"] {
            assert!(compile(source).repeats_repetition(), "{source}");
        }
        for source in [r"[a-z]+(?:\.[a-z]+)+", r"\bcancel(?:lation)?\b", r"(?:ab)+c*", r"(?:a{2,4})+", r"\w+\s+\w+"] {
            assert!(!compile(source).repeats_repetition(), "{source}");
        }
        assert!(compile(r"\w{10}").is_heavy());
        assert!(!compile(r"\b[a-z]{30}\b").is_heavy());
    }
}
