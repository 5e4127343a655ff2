//! Slots, intents, states and transitions.

use std::{collections::HashSet, sync::LazyLock};

use colloquy_flow::{
    Case, Date, Decimal, Name, Pattern, Signal, SlotKind, SlotScope, Words,
    slot::{LIST_ITEMS_MAX, TEXT_CHARS_DEFAULT, TEXT_CHARS_MAX},
    transition::{By, ByMask},
};

use crate::{
    fault::{At, Faults, Mark},
    node::{Key, Node, Value},
    read::{label_of, outside},
    reader::{self, Fields},
    source::{SourceFlag, SourceIntent, SourceSlot, SourceState, SourceTransition, SourceUntil},
};

fn declared(key: &Key, what: &str, faults: &mut Faults) -> Option<At<Name>> {
    let value = reader::name(&key.text, &key.mark, what, false, faults)?;
    Some(At { value, mark: key.mark.clone() })
}

pub(super) fn slots(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceSlot> {
    let entries = node.and_then(|node| reader::map(node, "slots", faults)).unwrap_or_default();
    entries.iter().filter_map(|(key, node)| slot(key, node, faults)).collect()
}

/// Flags by name, or with how long they live and whether they start the conversation over.
pub(super) fn flags(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceFlag> {
    node.into_iter().flat_map(reader::list).filter_map(|item| flag(item, faults)).collect()
}

fn flag(node: &Node, faults: &mut Faults) -> Option<SourceFlag> {
    let Value::Map(_) = node.value else {
        let name = reader::reference(node, "a flag", faults)?;
        return Some(SourceFlag { name, one_turn: false, reset: false });
    };
    let fields = Fields::of(node, "a flag", &["name", "lives", "reset"], faults)?;
    let name = fields.required("name", "name the flag", faults);
    let name = name.and_then(|node| reader::reference(node, "a flag", faults));
    let one_turn = match fields.get("lives").and_then(|node| reader::text(node, "lives", faults)) {
        None => false,
        Some(said) => lives_one_turn(&said, faults),
    };
    let reset = reader::boolean(fields.get("reset"), "reset", false, faults);
    Some(SourceFlag { name: name?, one_turn, reset })
}

fn lives_one_turn(said: &At<String>, faults: &mut Faults) -> bool {
    if !matches!(said.value.as_str(), "turn" | "conversation") {
        let message = format!("a flag does not live for {:?}", said.value);
        faults.error("bad-value", &said.mark, message, "write lives: turn, or lives: conversation");
    }
    said.value == "turn"
}

const SLOT_KEYS: [&str; 16] = [
    "description",
    "type",
    "values",
    "items",
    "max_items",
    "schema",
    "extract",
    "normalise",
    "min",
    "max",
    "min_chars",
    "max_chars",
    "scope",
    "asked_only",
    "by_model",
    "secret",
];

fn slot(key: &Key, node: &Node, faults: &mut Faults) -> Option<SourceSlot> {
    let name = declared(key, "a slot", faults);
    let fields = Fields::of(node, "a slot", &SLOT_KEYS, faults)?;
    let written: Option<Vec<Pattern>> = fields
        .get("extract")
        .map(|node| reader::list(node).filter_map(|item| reader::pattern(item, "extract", faults)).collect());
    let known = kind(&fields, faults);
    // A slot whose type is wrong is still a slot: what refers to it is not wrong too.
    let has_extract = written.is_some() || known.is_none();
    let kind = known.unwrap_or(SlotKind::Text { chars_min: 1, chars_max: TEXT_CHARS_MAX, case: Case::AsIs });
    let patterns = written.unwrap_or_else(|| default_patterns(&kind, fields.mark, faults));
    let description = fields.get("description").and_then(|node| reader::text(node, "the description", faults));
    let scope = match fields.get("scope").and_then(|node| reader::text(node, "the scope", faults)) {
        Some(said) if said.value == "conversation" => SlotScope::Conversation,
        Some(said) if said.value != "intent" => {
            let message = format!("there is no scope {:?}", said.value);
            faults.error("bad-value", &said.mark, message, "write scope: intent, or scope: conversation");
            SlotScope::Intent
        }
        _ => SlotScope::Intent,
    };
    Some(SourceSlot {
        name: name?,
        description: description.map(|said| said.value).unwrap_or_default().into(),
        scope,
        asked_only: reader::boolean(fields.get("asked_only"), "asked_only", false, faults),
        by_model: reader::boolean(fields.get("by_model"), "by_model", false, faults),
        secret: reader::boolean(fields.get("secret"), "secret", false, faults),
        kind,
        patterns,
        has_extract,
    })
}

fn kind(fields: &Fields<'_>, faults: &mut Faults) -> Option<SlotKind> {
    let fix = "add type: string, integer, decimal, boolean, date, enum, list or object";
    let said = reader::text(fields.required("type", fix, faults)?, "the type", faults)?;
    let applies: &[&str] = match said.value.as_str() {
        "string" => &["normalise", "min_chars", "max_chars"],
        "integer" | "decimal" | "date" => &["min", "max"],
        "boolean" => &[],
        "enum" => &["values"],
        "list" => &["items", "max_items"],
        "object" => &["schema"],
        other => {
            let known = ["string", "integer", "decimal", "boolean", "date", "enum", "list", "object"];
            let fix = reader::nearest(other, &known)
                .map_or_else(|| fix.to_owned(), |meant| format!("did you mean {meant:?}?"));
            faults.error("bad-value", &said.mark, format!("there is no slot type {other:?}"), fix);
            return None;
        }
    };
    for key in ["normalise", "min_chars", "max_chars", "min", "max", "values", "items", "max_items", "schema"] {
        if let Some(node) = fields.get(key).filter(|_| !applies.contains(&key)) {
            faults.error(
                "unknown-key",
                &node.mark,
                format!("a slot of type {} has no {key:?}", said.value),
                "remove it",
            );
        }
    }
    match said.value.as_str() {
        "string" => Some(text_kind(fields, faults)),
        "integer" => {
            let parse = |text: &str| text.parse::<i64>().ok();
            let (min, max) = bounds(fields, "a whole number", parse, faults);
            Some(SlotKind::Integer { min, max })
        }
        "decimal" => {
            let (min, max) =
                bounds(fields, "a decimal with at most six digits after the point", Decimal::parse, faults);
            Some(SlotKind::Decimal { min, max })
        }
        "date" => {
            let (min, max) = bounds(fields, "a date, YYYY-MM-DD", Date::parse, faults);
            Some(SlotKind::Date { min, max })
        }
        "boolean" => Some(SlotKind::Boolean),
        "list" => list(fields, faults),
        "object" => {
            let schema = fields.required("schema", "add the JSON Schema of the value", faults)?;
            outside::schema(schema, faults).map(SlotKind::Object)
        }
        _ => enumeration(fields, &said, faults),
    }
}

const ITEM_KEYS: [&str; 7] = ["type", "values", "normalise", "min", "max", "min_chars", "max_chars"];

fn list(fields: &Fields<'_>, faults: &mut Faults) -> Option<SlotKind> {
    let most = i64::try_from(LIST_ITEMS_MAX).unwrap_or(i64::MAX);
    let items_max = reader::integer(fields.get("max_items"), "max_items", 1..=most, faults).unwrap_or(20);
    let items = fields.required("items", "say what the items are: items: {type: string}", faults)?;
    let fields = Fields::of(items, "items", &ITEM_KEYS, faults)?;
    let item = single(&fields, "the items of a list are no lists or objects", faults)?;
    Some(SlotKind::List { item: Box::new(item), items_max: usize::try_from(items_max).unwrap_or(20) })
}

/// A type that is no list and no object; `otherwise` says so where it is.
pub(super) fn single(fields: &Fields<'_>, otherwise: &str, faults: &mut Faults) -> Option<SlotKind> {
    let kind = kind(fields, faults)?;
    if matches!(kind, SlotKind::List { .. } | SlotKind::Object(_)) {
        let fix = "use another type, or an object slot";
        faults.error("bad-value", fields.mark, otherwise, fix);
        return None;
    }
    Some(kind)
}

fn text_kind(fields: &Fields<'_>, faults: &mut Faults) -> SlotKind {
    let most = i64::try_from(TEXT_CHARS_MAX).unwrap_or(i64::MAX);
    let mut count = |key: &'static str| {
        reader::integer(fields.get(key), key, 1..=most, faults).and_then(|count| usize::try_from(count).ok())
    };
    let chars_min = count("min_chars").unwrap_or(1);
    let chars_max = count("max_chars").unwrap_or(TEXT_CHARS_DEFAULT.max(chars_min));
    if chars_min > chars_max {
        faults.error("out-of-range", fields.mark, "min_chars is above max_chars", "raise max_chars or lower min_chars");
    }
    let case = match fields.get("normalise").and_then(|node| reader::text(node, "normalise", faults)) {
        None => Case::AsIs,
        Some(said) => match said.value.as_str() {
            "upper" => Case::Upper,
            "lower" => Case::Lower,
            "trim" => Case::AsIs,
            other => {
                let message = format!("there is no normalisation {other:?}");
                faults.error("bad-value", &said.mark, message, "write upper, lower or trim (which always happens)");
                Case::AsIs
            }
        },
    };
    SlotKind::Text { chars_min, chars_max, case }
}

fn bounds<T: PartialOrd>(
    fields: &Fields<'_>,
    wanted: &str,
    parse: impl Fn(&str) -> Option<T>,
    faults: &mut Faults,
) -> (Option<T>, Option<T>) {
    let mut bound = |key: &str| {
        let said = reader::text(fields.get(key)?, key, faults)?;
        let value = parse(&said.value);
        if value.is_none() {
            faults.error("bad-value", &said.mark, format!("{key} is {:?}", said.value), format!("write {wanted}"));
        }
        value
    };
    let (min, max) = (bound("min"), bound("max"));
    if min.is_some() && max.is_some() && min > max {
        faults.error("out-of-range", fields.mark, "min is above max: no value fits", "raise max or lower min");
    }
    (min, max)
}

fn enumeration(fields: &Fields<'_>, kind: &At<String>, faults: &mut Faults) -> Option<SlotKind> {
    let values: Vec<At<String>> = fields
        .get("values")
        .map(|node| reader::list(node).filter_map(|item| reader::text(item, "a value", faults)).collect())
        .unwrap_or_default();
    if values.is_empty() {
        faults.error("enum-without-values", &kind.mark, "an enum needs values", "add values: [one, another]");
        return None;
    }
    let mut folded = HashSet::with_capacity(values.len());
    for value in &values {
        let lower = value.value.trim().to_lowercase();
        if lower.is_empty() || !folded.insert(lower) {
            let message = format!("the value {:?} is empty or stands twice", value.value);
            faults.error("duplicate-name", &value.mark, message, "remove it; case does not tell values apart");
        }
    }
    Some(SlotKind::Enumeration(values.into_iter().map(|value| value.value.trim().into()).collect()))
}

/// Where values of a type are looked for when no pattern is given; texts have no such pattern.
fn default_patterns(kind: &SlotKind, mark: &Mark, faults: &mut Faults) -> Vec<Pattern> {
    match kind {
        SlotKind::Text { .. } | SlotKind::Object(_) => Vec::new(),
        SlotKind::List { item, .. } => default_patterns(item, mark, faults),
        SlotKind::Integer { .. } => INTEGER.iter().cloned().collect(),
        SlotKind::Decimal { .. } => DECIMAL.iter().cloned().collect(),
        SlotKind::Boolean => BOOLEAN.iter().cloned().collect(),
        SlotKind::Date { .. } => DATE.iter().cloned().collect(),
        SlotKind::Enumeration(values) => {
            // Longer values first, so that one which begins like another is not cut short.
            let mut longest: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
            longest.sort_by_key(|value| std::cmp::Reverse(value.len()));
            let alternatives = longest.iter().map(|value| regex::escape(value)).collect::<Vec<_>>().join("|");
            let source = format!(r"(?:^|\W)(?P<value>{alternatives})(?:$|\W)");
            let pattern = Pattern::compile(&source).ok().filter(|_| !faults.has_patterns_enough());
            pattern.filter(|pattern| faults.admits_pattern(pattern.bytes_max(), mark)).into_iter().collect()
        }
    }
}

/// A pattern that many slots share: compiled once, cheap to clone.
type Shared = LazyLock<Option<Pattern>>;

static INTEGER: Shared = LazyLock::new(|| Pattern::compile(r"(?:^|[^\w.])(?P<value>[-+]?\d{1,19})\b").ok());
static DECIMAL: Shared =
    LazyLock::new(|| Pattern::compile(r"(?:^|[^\w.])(?P<value>[-+]?\d{1,12}(?:\.\d{1,6})?)\b").ok());
static BOOLEAN: Shared = LazyLock::new(|| Pattern::compile(r"\b(?P<value>yes|no|true|false)\b").ok());
static DATE: Shared = LazyLock::new(|| Pattern::compile(r"\b(?P<value>\d{4}-\d{2}-\d{2})\b").ok());

pub(super) fn intents(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceIntent> {
    let entries = node.and_then(|node| reader::map(node, "intents", faults)).unwrap_or_default();
    entries.iter().filter_map(|(key, node)| intent(key, node, faults)).collect()
}

const INTENT_KEYS: [&str; 12] = [
    "description",
    "label",
    "priority",
    "classify",
    "choice",
    "sticky",
    "reset",
    "initial",
    "digression",
    "collect",
    "keep",
    "states",
];

fn intent(key: &Key, node: &Node, faults: &mut Faults) -> Option<SourceIntent> {
    let name = declared(key, "an intent", faults);
    let fields = Fields::of(node, "an intent", &INTENT_KEYS, faults)?;
    let priority = reader::integer(fields.get("priority"), "the priority", -1000..=1000, faults).unwrap_or(0);
    let initial = fields.required("initial", "name the state the intent begins in: initial: ask", faults);
    let states = fields.required("states", "declare at least one state", faults);
    let label = fields.get("label").and_then(|node| reader::reply(node, "the label", faults));
    let description = fields.get("description").and_then(|node| reader::text(node, "the description", faults));
    let choice = fields.get("choice").into_iter().flat_map(reader::list);
    let choice = choice.filter_map(|item| reader::pattern(item, "choice", faults)).collect();
    let name = name?;
    Some(SourceIntent {
        label: label.map_or_else(|| label_of(&name.value), |said| reader::shared(said.value)),
        description: description.map(|said| said.value).unwrap_or_default().into(),
        choice,
        sticky: reader::percent(fields.get("sticky"), "sticky", faults),
        reset: reader::boolean(fields.get("reset"), "reset", false, faults),
        name,
        priority: i32::try_from(priority).unwrap_or_default(),
        signals: signals(fields.get("classify"), faults),
        initial: initial.and_then(|node| reader::reference(node, "initial", faults)),
        digression: reader::boolean(fields.get("digression"), "digression", false, faults),
        collect: reader::references(fields.get("collect"), "a slot", faults),
        keep: reader::references(fields.get("keep"), "a slot", faults),
        states: self::states(states, faults),
    })
}

fn states(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceState> {
    let entries = node.and_then(|node| reader::map(node, "states", faults)).unwrap_or_default();
    let mut states = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let name = declared(key, "a state", faults);
        let known = ["description", "terminal", "boundary", "collect", "until"];
        let Some(fields) = Fields::of(node, "a state", &known, faults) else { continue };
        let Some(name) = name else { continue };
        states.push(SourceState {
            name,
            terminal: reader::boolean(fields.get("terminal"), "terminal", false, faults),
            boundary: reader::boolean(fields.get("boundary"), "boundary", false, faults),
            collect: reader::references(fields.get("collect"), "a slot", faults),
            until: fields.get("until").and_then(|node| until(node, faults)),
        });
    }
    states
}

/// A position it leads on to once everything is there, or with a condition of its own.
fn until(node: &Node, faults: &mut Faults) -> Option<SourceUntil> {
    let Value::Map(_) = node.value else {
        return Some(SourceUntil { when: None, go: reader::place(node, "until", faults)? });
    };
    let fields = Fields::of(node, "until", &["when", "go"], faults)?;
    let go = fields.required("go", "name the position it leads on to", faults);
    let go = go.and_then(|node| reader::place(node, "go", faults));
    let when = reader::condition(fields.get("when"), "when", faults);
    Some(SourceUntil { when, go: go? })
}

fn signals(node: Option<&Node>, faults: &mut Faults) -> Vec<Signal> {
    let known = ["patterns", "keywords", "examples"];
    let Some(fields) = node.and_then(|node| Fields::of(node, "classify", &known, faults)) else {
        return Vec::new();
    };
    let mut signals = Vec::new();
    if let Some(node) = fields.get("patterns") {
        signals.extend(
            reader::list(node).filter_map(|item| reader::pattern(item, "a pattern", faults)).map(Signal::Pattern),
        );
    }
    for set in fields.get("keywords").into_iter().flat_map(reader::list) {
        let mut words = Vec::new();
        for item in reader::list(set) {
            let Some(said) = reader::text(item, "a keyword", faults) else { continue };
            let word = said.value.trim().to_lowercase();
            if word.is_empty() || !word.chars().all(|letter| letter.is_alphanumeric() || letter == '\'') {
                let fix = "write one word of letters, digits and apostrophes, or use a pattern";
                faults.error("bad-value", &said.mark, format!("{:?} is no single word", said.value), fix);
                continue;
            }
            words.push(word.into());
        }
        if !words.is_empty() {
            signals.push(Signal::Keywords(words));
        }
    }
    for item in fields.get("examples").into_iter().flat_map(reader::list) {
        let Some(said) = reader::text(item, "an example", faults) else { continue };
        let words: Vec<Name> = Words::of(&said.value).iter().map(Name::from).collect();
        if words.len() < 2 {
            let fix = "write a sentence of at least two words, or use keywords";
            faults.error("bad-value", &said.mark, format!("{:?} is no example", said.value), fix);
            continue;
        }
        signals.push(Signal::Example(words));
    }
    signals
}

pub(super) fn transitions(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceTransition> {
    let mut transitions = Vec::new();
    for item in node.into_iter().flat_map(reader::list) {
        let Some(fields) = Fields::of(item, "a transition", &["from", "to", "by"], faults) else { continue };
        let from = fields.required("from", "name positions, or \"*\"", faults);
        let to = fields.required("to", "name the position it leads to", faults);
        let by =
            fields.required("by", "say who may propose it: intent, rule, action, pending, digression or model", faults);
        let from = from.and_then(|node| reader::scope(node, "from", faults));
        let to = to.and_then(|node| reader::place(node, "to", faults));
        let by = by.map(|node| proposers(node, faults));
        if let (Some(from), Some(to), Some(by)) = (from, to, by) {
            transitions.push(SourceTransition { from, to, by });
        }
    }
    transitions
}

fn proposers(node: &Node, faults: &mut Faults) -> ByMask {
    let mut mask = ByMask::NONE;
    for item in reader::list(node) {
        let Some(said) = reader::text(item, "by", faults) else { continue };
        match By::parse(&said.value) {
            Some(by) => mask = mask.with(by),
            None => {
                let known = By::ALL.map(By::name);
                let fix = match reader::nearest(&said.value, &known) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => format!("write one or more of {}", known.join(", ")),
                };
                faults.error("bad-value", &said.mark, format!("nobody is called {:?}", said.value), fix);
            }
        }
    }
    mask
}
