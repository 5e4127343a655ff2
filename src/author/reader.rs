//! Typed access to nodes. Whatever does not fit becomes a fault, and reading goes on.

use std::{sync::Arc, time::Duration};

use colloquy_flow::{Condition, Name, Pattern, Place, Scope, pattern::COMPILED_BYTES_LIGHT};

use crate::{
    fault::{At, Faults, Mark},
    node::{Key, Node, Value},
};

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Longest duration a flow may name.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The entries of a map whose keys are known.
pub(crate) struct Fields<'n> {
    pub(crate) mark: &'n Mark,
    what: &'static str,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// Reads `node` as a map with these keys; every other key is a fault.
    pub(crate) fn of(node: &'n Node, what: &'static str, known: &[&str], faults: &mut Faults) -> Option<Self> {
        let entries = map(node, what, faults)?;
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                let fix = match nearest(&key.text, known) {
                    Some(meant) => format!("did you mean {meant:?}? the keys here are {}", known.join(", ")),
                    None => format!("remove it; the keys here are {}", known.join(", ")),
                };
                faults.error("unknown-key", &key.mark, format!("{what} has no key {:?}", key.text), fix);
            }
        }
        Some(Self { mark: &node.mark, what, entries })
    }

    /// The node under `key`; an empty one counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        let found = self.entries.iter().find(|(held, _)| held.text == key).map(|(_, node)| node);
        found.filter(|node| !matches!(node.value, Value::Null))
    }

    /// The node under `key`, which must be there.
    pub(crate) fn required(&self, key: &str, fix: &str, faults: &mut Faults) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            faults.error("missing-key", self.mark, format!("{} needs {key:?}", self.what), fix);
        }
        found
    }
}

/// The entries of a map with free keys; nothing at all is an empty map.
pub(crate) fn map<'n>(node: &'n Node, what: &str, faults: &mut Faults) -> Option<&'n [(Key, Node)]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        Value::Null => Some(&[]),
        _ => {
            wrong_type(node, what, "a map", faults);
            None
        }
    }
}

/// The items of a list; a single value is a list of one.
pub(crate) fn list<'n>(node: &'n Node) -> impl Iterator<Item = &'n Node> {
    let (one, many): (Option<&'n Node>, &'n [Node]) = match &node.value {
        Value::List(items) => (None, items),
        Value::Null => (None, &[]),
        _ => (Some(node), &[]),
    };
    one.into_iter().chain(many)
}

fn wrong_type(node: &Node, what: &str, wanted: &str, faults: &mut Faults) {
    let message = format!("{what} must be {wanted}, but is {}", node.kind());
    faults.error("wrong-type", &node.mark, message, format!("write {wanted} here"));
}

/// A text; numbers and booleans are taken as they are written.
pub(crate) fn text(node: &Node, what: &str, faults: &mut Faults) -> Option<At<String>> {
    let value = match &node.value {
        Value::Text(text) | Value::Number(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Null | Value::List(_) | Value::Map(_) => {
            wrong_type(node, what, "a text", faults);
            return None;
        }
    };
    Some(At { value, mark: node.mark.clone() })
}

/// A reply: a text without blanks at its end.
pub(crate) fn reply(node: &Node, what: &str, faults: &mut Faults) -> Option<At<String>> {
    let mut said = text(node, what, faults)?;
    said.value.truncate(said.value.trim_end().len());
    if said.value.is_empty() {
        faults.error("bad-value", &node.mark, format!("{what} is empty"), "write what is to be said");
        return None;
    }
    if said.value.len() > colloquy_flow::template::TEMPLATE_BYTES_MAX {
        let message = format!("{what} has {} bytes, at most 16 KiB are allowed", said.value.len());
        faults.error("out-of-range", &node.mark, message, "shorten it");
        return None;
    }
    Some(said)
}

/// Checks a name: a letter or `_`, then letters, digits and `_`; with `dashes`, also `-`.
pub(crate) fn name(said: &str, mark: &Mark, what: &str, dashes: bool, faults: &mut Faults) -> Option<Name> {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (dashes && byte == b'-');
    let first = said.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && said.bytes().all(rest) && said.len() <= NAME_BYTES_MAX {
        return Some(said.into());
    }
    let allowed = if dashes { "letters, digits, \"_\" and \"-\"" } else { "letters, digits and \"_\"" };
    let fix = format!("use 1 to {NAME_BYTES_MAX} {allowed}, beginning with a letter");
    faults.error("bad-name", mark, format!("{said:?} is no name for {what}"), fix);
    None
}

/// A reference to something named.
pub(crate) fn reference(node: &Node, what: &str, faults: &mut Faults) -> Option<At<Name>> {
    let said = text(node, what, faults)?;
    let name = name(&said.value, &said.mark, what, false, faults)?;
    Some(At { value: name, mark: said.mark })
}

/// References in a list, or a single one.
pub(crate) fn references(node: Option<&Node>, what: &str, faults: &mut Faults) -> Vec<At<Name>> {
    node.map(|node| list(node).filter_map(|item| reference(item, what, faults)).collect()).unwrap_or_default()
}

/// A boolean.
pub(crate) fn boolean(node: Option<&Node>, what: &str, default: bool, faults: &mut Faults) -> bool {
    match node.map(|node| (node, &node.value)) {
        None => default,
        Some((_, Value::Boolean(value))) => *value,
        Some((node, _)) => {
            wrong_type(node, what, "true or false", faults);
            default
        }
    }
}

/// A whole number within bounds.
pub(crate) fn integer(
    node: Option<&Node>,
    what: &str,
    bounds: std::ops::RangeInclusive<i64>,
    faults: &mut Faults,
) -> Option<i64> {
    let node = node?;
    let Value::Integer(number) = node.value else {
        wrong_type(node, what, "a whole number", faults);
        return None;
    };
    if bounds.contains(&number) {
        return Some(number);
    }
    let message = format!("{what} is {number}, but must be {} to {}", bounds.start(), bounds.end());
    faults.error("out-of-range", &node.mark, message, "choose a number within the bounds");
    None
}

/// A percentage, 1 to 100.
pub(crate) fn percent(node: Option<&Node>, what: &str, faults: &mut Faults) -> Option<u8> {
    integer(node, what, 1..=100, faults).and_then(|number| u8::try_from(number).ok())
}

/// A duration such as `250ms`, `10s`, `15m`, `2h` or `1d`: more than nothing, at most a year.
pub(crate) fn duration(node: Option<&Node>, what: &str, faults: &mut Faults) -> Option<Duration> {
    let said = text(node?, what, faults)?;
    let digits = said.value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = said.value.split_at(digits);
    let millis_each = match unit.trim() {
        "ms" => Some(1_u64),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let millis = millis_each.and_then(|each| number.parse::<u64>().ok()?.checked_mul(each));
    match millis.map(Duration::from_millis) {
        Some(duration) if !duration.is_zero() && duration <= DURATION_MAX => Some(duration),
        _ => {
            let message = format!("{what} is {:?}, which is no duration of 1ms to 365d", said.value);
            faults.error("bad-duration", &said.mark, message, "write a number and a unit: 250ms, 10s, 15m, 2h, 1d");
            None
        }
    }
}

/// A position, `intent.state`.
pub(crate) fn place(node: &Node, what: &str, faults: &mut Faults) -> Option<At<Place>> {
    let said = text(node, what, faults)?;
    let Some((intent, state)) = said.value.split_once('.') else {
        let message = format!("{what} is {:?}, which is no position", said.value);
        faults.error("bad-value", &said.mark, message, "write intent.state");
        return None;
    };
    let intent = name(intent, &said.mark, "an intent", false, faults)?;
    let state = name(state, &said.mark, "a state", false, faults)?;
    Some(At { value: Place { intent, state }, mark: said.mark })
}

/// Where something applies, as written: `any` or `"*"`, positions, or `intent.*`.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    Everywhere,
    At(Vec<WrittenPlace>),
}

#[derive(Clone, Debug)]
pub(crate) enum WrittenPlace {
    One(At<Place>),
    AllOf(At<Name>),
}

pub(crate) fn scope(node: &Node, what: &str, faults: &mut Faults) -> Option<Written> {
    let mut places = Vec::new();
    for item in list(node) {
        let Some(said) = text(item, what, faults) else { continue };
        if matches!(said.value.as_str(), "any" | "*") {
            return Some(Written::Everywhere);
        }
        match said.value.strip_suffix(".*") {
            Some(intent) => {
                let intent = name(intent, &said.mark, "an intent", false, faults);
                places.extend(intent.map(|value| WrittenPlace::AllOf(At { value, mark: said.mark })));
            }
            None => places.extend(place(item, what, faults).map(WrittenPlace::One)),
        }
    }
    if places.is_empty() {
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            faults.error("bad-value", &node.mark, format!("{what} names no position"), "write intent.state, or any");
        }
        return None;
    }
    Some(Written::At(places))
}

/// A pattern.
pub(crate) fn pattern(node: &Node, what: &str, faults: &mut Faults) -> Option<Pattern> {
    let said = text(node, what, faults)?;
    if faults.has_patterns_enough() {
        return None;
    }
    match Pattern::compile(&said.value) {
        Ok(pattern) => {
            costly(&pattern, what, &said.mark, faults);
            faults.admits_pattern(pattern.bytes_max(), &said.mark).then_some(pattern)
        }
        Err(error) => {
            let fix =
                "write a regular expression of at most 1024 bytes that matches some text; put it in single quotes";
            faults.error("bad-pattern", &said.mark, format!("{what}: {error}"), fix);
            None
        }
    }
}

/// Warns of what is slow to search for. Nothing blows up: the engine is linear in the text.
fn costly(pattern: &Pattern, what: &str, mark: &Mark, faults: &mut Faults) {
    if pattern.is_heavy() {
        let message = format!("{what} compiles to more than {} KiB", COMPILED_BYTES_LIGHT >> 10);
        let fix = "repeat less, or repeat a smaller class: [a-z] instead of \\w";
        faults.warn("regex-costly", mark, message, fix);
    }
    if pattern.repeats_repetition() {
        let message = format!("{what} repeats without end what already repeats without end");
        faults.warn("regex-costly", mark, message, "drop one of the repetitions: \\w+ instead of (?:\\w+)+");
    }
}

/// A condition.
pub(crate) fn condition(node: Option<&Node>, what: &str, faults: &mut Faults) -> Option<At<Condition>> {
    let said = text(node?, what, faults)?;
    match Condition::compile(&said.value) {
        Ok(value) => Some(At { value, mark: said.mark }),
        Err(error) => {
            use colloquy_flow::condition::{FUNCTIONS, VARIABLES};
            let fix = format!("conditions see {} and may call {}", VARIABLES.join(", "), FUNCTIONS.join(", "));
            faults.error("bad-condition", &said.mark, format!("{what}: {error}"), fix);
            None
        }
    }
}

/// Words that are compared with a misspelt one, at most.
const WORDS_COMPARED_MAX: usize = 200;
/// Words that a fix lists, at most.
const WORDS_LISTED_MAX: usize = 20;

/// The known word nearest to what was written, if one is near.
pub(crate) fn nearest<'w>(written: &str, known: &[&'w str]) -> Option<&'w str> {
    let alike = |word: &&&str| word.len().abs_diff(written.len()) <= 8 && word.len() <= NAME_BYTES_MAX;
    let compared = known.iter().filter(alike).take(WORDS_COMPARED_MAX);
    let near = compared.map(|word| (distance(written, word), *word)).min()?;
    (near.0 <= 2 && near.0 < written.len()).then_some(near.1)
}

/// Known words for a fix, not all of them when they are many.
pub(crate) fn some_of(known: &[&str]) -> String {
    let listed = known.get(..WORDS_LISTED_MAX).unwrap_or(known).join(", ");
    if known.len() > WORDS_LISTED_MAX { format!("{listed}, …") } else { listed }
}

/// Letters to insert, remove or replace to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut diagonal = place;
        let mut left = place + 1;
        for (cell, wanted) in row.iter_mut().skip(1).zip(&other) {
            let above = *cell;
            left = (above + 1).min(left + 1).min(diagonal + usize::from(letter != *wanted));
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = place + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The positions a written scope means, given every position of the flow.
pub(crate) fn resolve(written: &Written, every: &[Place]) -> Scope {
    match written {
        Written::Everywhere => Scope::Everywhere,
        Written::At(places) => {
            let mut resolved = Vec::new();
            for place in places {
                match place {
                    WrittenPlace::One(place) => resolved.push(place.value.clone()),
                    WrittenPlace::AllOf(intent) => {
                        resolved.extend(every.iter().filter(|place| place.intent == intent.value).cloned());
                    }
                }
            }
            let mut seen = std::collections::HashSet::new();
            resolved.retain(|place| seen.insert(place.clone()));
            Scope::At(resolved)
        }
    }
}

/// A shared text.
pub(crate) fn shared(text: String) -> Arc<str> {
    text.into()
}
