//! Conditions compare like with like, and with values that can occur.
//!
//! Types of slots and variables are known, so a comparison that can never be what it was meant to be is an
//! error. What comes from outside has no known type and is left alone.

use std::collections::HashSet;

use colloquy_flow::{
    Act, Date, SlotKind,
    condition::{Comparison, Shape},
};

use crate::{
    fault::{Faults, Mark},
    reader,
    source::SourceFlow,
};

/// What a value is, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Decimal,
    Boolean,
    List,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Decimal => "a decimal",
            Self::Boolean => "true or false",
            Self::List => "a list",
        }
    }
}

/// What a flow's conditions can name.
pub(super) struct Names<'s> {
    source: &'s SourceFlow,
    states: HashSet<&'s str>,
}

impl<'s> Names<'s> {
    pub(super) fn of(source: &'s SourceFlow) -> Self {
        let states = source.intents.iter().flat_map(|intent| &intent.states);
        Self { source, states: states.map(|state| state.name.value.as_ref()).collect() }
    }

    /// Whether a variable can be this text; also when that is not known.
    fn can_be(&self, variable: &str, text: &str) -> bool {
        match variable {
            "intent" => self.source.intent(text).is_some(),
            "state" => self.states.contains(text),
            "next_slot" => text.is_empty() || self.source.slot(text).is_some(),
            "timer" => text.is_empty() || self.source.timers().contains_key(text),
            _ => fixed_values(variable).is_none_or(|values| values.contains(&text)),
        }
    }

    /// Whether a list of names can hold this one; also when that is not known.
    fn can_hold(&self, variable: &str, name: &str) -> bool {
        match variable {
            "filled" | "missing" => self.source.slot(name).is_some(),
            "pending" => self.source.action(name).is_some(),
            "failed" => self.source.action(name).is_some() || self.source.enrichment(name).is_some(),
            _ => true,
        }
    }

    /// What a variable can be or hold, for a fix.
    fn candidates(&self, variable: &str) -> Vec<&'s str> {
        let source = self.source;
        let actions = source.actions.iter().map(|action| action.name.value.as_ref());
        match variable {
            "intent" => source.intents.iter().map(|intent| intent.name.value.as_ref()).collect(),
            "state" => {
                let mut states: Vec<&str> = self.states.iter().copied().collect();
                states.sort_unstable();
                states
            }
            "next_slot" | "filled" | "missing" => source.slots.iter().map(|slot| slot.name.value.as_ref()).collect(),
            "pending" => actions.collect(),
            "timer" => source.timers().keys().map(AsRef::as_ref).collect(),
            "failed" => {
                let enrichments = source.enrichments.iter().map(|enrichment| enrichment.name.value.as_ref());
                actions.chain(enrichments).collect()
            }
            _ => fixed_values(variable).unwrap_or_default(),
        }
    }
}

/// The values of a variable that are the same in every flow.
fn fixed_values(variable: &str) -> Option<Vec<&'static str>> {
    Some(match variable {
        "act" => Act::ALL.iter().map(|act| act.name()).chain([""]).collect(),
        "by" => vec!["pattern", "keywords", "example", "model", "choice", "input", ""],
        "ended" => vec!["executed", "rejected", "expired", "failed", "unknown", ""],
        "input" => vec!["text", "json", "event", "timer"],
        _ => return None,
    })
}

pub(super) fn check(names: &Names<'_>, shape: &Shape, mark: &Mark, faults: &mut Faults) {
    let mut types = Types { names, source: names.source, mark, faults };
    types.truth(shape);
    shape.walk(&mut |part| types.part(part));
}

struct Types<'c, 's, 'f> {
    names: &'c Names<'s>,
    source: &'s SourceFlow,
    mark: &'c Mark,
    faults: &'f mut Faults,
}

impl Types<'_, '_, '_> {
    fn wrong(&mut self, message: String, fix: impl Into<String>) {
        self.faults.error("condition-type", self.mark, message, fix);
    }

    fn part(&mut self, part: &Shape) {
        match part {
            Shape::Not(part) => self.truth(part),
            Shape::All(parts) | Shape::Any(parts) => parts.iter().for_each(|part| self.truth(part)),
            Shape::Choice(parts) => {
                let [condition, ..] = parts.as_ref();
                self.truth(condition);
            }
            Shape::Compare(how, sides) => {
                let [one, other] = sides.as_ref();
                self.alike(one, other);
                if matches!(how, Comparison::Equal | Comparison::Differs) {
                    self.occurs(one, other);
                    self.occurs(other, one);
                }
            }
            Shape::In(sides) => {
                let [item, list] = sides.as_ref();
                self.member(item, list);
            }
            Shape::Call(name, parts) => self.call(name, parts),
            _ => {}
        }
    }

    /// What stands where a condition must stand.
    fn truth(&mut self, part: &Shape) {
        if let Some(kind) = self.kind(part).filter(|kind| *kind != Kind::Boolean) {
            let message = format!("{} is {}, and no condition", shown(part), kind.name());
            self.wrong(message, "compare it with something: slots.size == 'large'");
        }
    }

    fn alike(&mut self, one: &Shape, other: &Shape) {
        let (Some(kind), Some(other_kind)) = (self.kind(one), self.kind(other)) else { return };
        if kind == other_kind {
            return;
        }
        let (one, other) = if is_written(one) { (other, one) } else { (one, other) };
        match (kind, other_kind) {
            // Nothing is nothing, also in millionths.
            (Kind::Decimal, Kind::Integer) | (Kind::Integer, Kind::Decimal)
                if [one, other].contains(&&Shape::Integer(0)) => {}
            (Kind::Decimal, Kind::Integer) | (Kind::Integer, Kind::Decimal) => {
                let message = format!("{} and {}: a decimal is compared with a whole number", shown(one), shown(other));
                self.wrong(message, "write decimal('12.50') for a decimal, and a bare number for an integer");
            }
            _ => {
                let (kind, other_kind) = (self.named(one), self.named(other));
                let message = format!("{} is {kind}, but {} is {other_kind}", shown(one), shown(other));
                self.wrong(message, "compare it with a value of its own type");
            }
        }
    }

    fn named(&self, part: &Shape) -> &'static str {
        self.kind(part).map_or("of no type", Kind::name)
    }

    /// Whether a written text is a value that the subject can have.
    fn occurs(&mut self, subject: &Shape, value: &Shape) {
        let Shape::Text(text) = value else { return };
        match subject {
            Shape::Slot(name) => {
                if let Some(kind) = self.source.slot(name).map(|slot| &slot.kind) {
                    self.fits(subject, kind, text);
                }
            }
            Shape::Variable(name) if !self.names.can_be(name, text) => {
                self.never(subject, "is", text, &self.names.candidates(name));
            }
            _ => {}
        }
    }

    fn fits(&mut self, subject: &Shape, kind: &SlotKind, text: &str) {
        match kind {
            SlotKind::Enumeration(values) if !values.iter().any(|value| value.as_ref() == text) => {
                let known: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
                self.never(subject, "is", text, &known);
            }
            SlotKind::Date { .. } if Date::parse(text).is_none() => {
                let message = format!("{} is a date, but {text:?} is none", shown(subject));
                self.wrong(message, "write a day that exists, YYYY-MM-DD");
            }
            _ => {}
        }
    }

    fn never(&mut self, subject: &Shape, verb: &str, text: &str, known: &[&str]) {
        let fix = match reader::nearest(text, known) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("it is one of {}", reader::some_of(known)),
        };
        self.wrong(format!("{} never {verb} {text:?}", shown(subject)), fix);
    }

    fn member(&mut self, item: &Shape, list: &Shape) {
        match list {
            Shape::List(items) => {
                for value in items {
                    self.alike(item, value);
                    self.occurs(item, value);
                }
            }
            Shape::Slot(name) => {
                let kind = self.source.slot(name).map(|slot| &slot.kind);
                if let (Some(SlotKind::List { item: kind, .. }), Shape::Text(text)) = (kind, item) {
                    self.fits(list, kind, text);
                }
            }
            Shape::Variable(name) => {
                let Shape::Text(text) = item else { return };
                if !self.names.can_hold(name, text) {
                    self.never(list, "holds", text, &self.names.candidates(name));
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, name: &str, parts: &[Shape]) {
        let wanted = match name {
            "contains" | "startsWith" | "endsWith" => "a text",
            "size" => "a text or a list",
            _ => return,
        };
        let Some(target) = parts.first() else { return };
        let fits = |kind: Kind| kind == Kind::Text || (name == "size" && kind == Kind::List);
        if let Some(kind) = self.kind(target).filter(|kind| !fits(*kind)) {
            let message = format!("{} is {}, but {name} needs {wanted}", shown(target), kind.name());
            self.wrong(message, format!("call it on {wanted}, or compare with ==, < or >"));
        }
    }

    fn kind(&self, part: &Shape) -> Option<Kind> {
        match part {
            Shape::Text(_) => Some(Kind::Text),
            Shape::Integer(_) => Some(Kind::Integer),
            Shape::Decimal(_) => Some(Kind::Decimal),
            Shape::List(_) => Some(Kind::List),
            Shape::Slot(name) => kind_of(&self.source.slot(name)?.kind),
            Shape::Variable(name) => match name.as_str() {
                "act" | "by" | "ended" | "input" | "intent" | "next_slot" | "state" | "text" | "timer" => {
                    Some(Kind::Text)
                }
                "asked" | "moved" | "recognised" | "released" => Some(Kind::Boolean),
                "confidence" | "interrupted" => Some(Kind::Integer),
                "failed" | "filled" | "missing" | "pending" => Some(Kind::List),
                _ => None,
            },
            Shape::Call(name, _) => match name.as_str() {
                "size" | "int" => Some(Kind::Integer),
                "string" => Some(Kind::Text),
                "contains" | "startsWith" | "endsWith" => Some(Kind::Boolean),
                _ => None,
            },
            Shape::Choice(parts) => {
                let [_, one, other] = parts.as_ref();
                self.kind(one).filter(|kind| self.kind(other) == Some(*kind))
            }
            Shape::Member(..) | Shape::Other => None,
            _ => Some(Kind::Boolean),
        }
    }
}

const fn kind_of(kind: &SlotKind) -> Option<Kind> {
    match kind {
        SlotKind::Text { .. } | SlotKind::Enumeration(_) | SlotKind::Date { .. } => Some(Kind::Text),
        SlotKind::Integer { .. } => Some(Kind::Integer),
        SlotKind::Decimal { .. } => Some(Kind::Decimal),
        SlotKind::Boolean => Some(Kind::Boolean),
        SlotKind::List { .. } => Some(Kind::List),
        SlotKind::Object(_) => None,
    }
}

const fn is_written(part: &Shape) -> bool {
    matches!(part, Shape::Text(_) | Shape::Integer(_) | Shape::Boolean(_) | Shape::Decimal(_))
}

/// The part as it is written, as far as a message needs it.
fn shown(part: &Shape) -> String {
    match part {
        Shape::Text(text) => format!("{text:?}"),
        Shape::Integer(number) => number.to_string(),
        Shape::Boolean(truth) => truth.to_string(),
        Shape::Decimal(text) => format!("decimal('{}')", text.as_deref().unwrap_or("…")),
        Shape::Slot(name) => format!("slots.{name}"),
        Shape::Flag(name) => format!("flags.{name}"),
        Shape::Variable(name) => name.clone(),
        Shape::Call(name, _) if !name.contains('_') => format!("what {name} gives"),
        _ => "a part of it".to_owned(),
    }
}
