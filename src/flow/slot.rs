//! Slots: typed values read from what the user says.

use std::sync::Arc;

use crate::{
    json::Json,
    pattern::Pattern,
    schema::Schema,
    value::{Date, Decimal, SlotValue},
};

/// Longest text a slot holds unless it says otherwise, in characters.
pub const TEXT_CHARS_DEFAULT: usize = 256;
/// Longest text a slot may hold at all, in characters.
pub const TEXT_CHARS_MAX: usize = 4096;

/// Most items a list may hold at all.
pub const LIST_ITEMS_MAX: usize = 100;

/// How a text slot's letters are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// As they were said.
    #[default]
    AsIs,
    /// Upper case.
    Upper,
    /// Lower case.
    Lower,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A text of `chars_min` to `chars_max` characters.
    Text {
        /// Fewest characters.
        chars_min: usize,
        /// Most characters.
        chars_max: usize,
        /// How its letters are normalised.
        case: Case,
    },
    /// A whole number within bounds, both included.
    Integer {
        /// Lowest value.
        min: Option<i64>,
        /// Highest value.
        max: Option<i64>,
    },
    /// A fixed-point number within bounds, both included.
    Decimal {
        /// Lowest value.
        min: Option<Decimal>,
        /// Highest value.
        max: Option<Decimal>,
    },
    /// True or false.
    Boolean,
    /// A calendar day within bounds, both included.
    Date {
        /// First day.
        min: Option<Date>,
        /// Last day.
        max: Option<Date>,
    },
    /// One of these, compared without regard to case.
    Enumeration(Vec<Arc<str>>),
    /// Several values of one type, each once, in the order they were said.
    List {
        /// What each item is; no list and no object.
        item: Box<SlotKind>,
        /// Most items.
        items_max: usize,
    },
    /// A structured value that fits a schema.
    Object(Schema),
}

impl SlotKind {
    /// The type's name as flows write it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Text { .. } => "string",
            Self::Integer { .. } => "integer",
            Self::Decimal { .. } => "decimal",
            Self::Boolean => "boolean",
            Self::Date { .. } => "date",
            Self::Enumeration(_) => "enum",
            Self::List { .. } => "list",
            Self::Object(_) => "object",
        }
    }

    /// Reads a value from `raw`; `None` when it has not the type or is out of bounds.
    pub fn parse(&self, raw: &str) -> Option<SlotValue> {
        let raw = raw.trim();
        match self {
            Self::Text { chars_min, chars_max, case } => {
                let count = raw.chars().count();
                if raw.is_empty() || count < *chars_min || count > *chars_max {
                    return None;
                }
                Some(SlotValue::Text(match case {
                    Case::AsIs => raw.into(),
                    Case::Upper => raw.to_uppercase().into(),
                    Case::Lower => raw.to_lowercase().into(),
                }))
            }
            Self::Integer { min, max } => {
                let number = raw.parse().ok()?;
                within(&number, min.as_ref(), max.as_ref()).then_some(SlotValue::Integer(number))
            }
            Self::Decimal { min, max } => {
                let number = Decimal::parse(raw)?;
                within(&number, min.as_ref(), max.as_ref()).then_some(SlotValue::Decimal(number))
            }
            Self::Boolean => match raw.to_ascii_lowercase().as_str() {
                "true" | "yes" | "y" | "on" | "1" => Some(SlotValue::Boolean(true)),
                "false" | "no" | "n" | "off" | "0" => Some(SlotValue::Boolean(false)),
                _ => None,
            },
            Self::Date { min, max } => {
                let date = Date::parse(raw)?;
                within(&date, min.as_ref(), max.as_ref()).then_some(SlotValue::Date(date))
            }
            Self::Enumeration(values) => {
                let folded = raw.to_lowercase();
                values
                    .iter()
                    .find(|value| value.to_lowercase() == folded)
                    .map(|value| SlotValue::Text(Arc::clone(value)))
            }
            Self::List { item, items_max } => Self::list(raw.split(',').map(|part| item.parse(part)), *items_max),
            Self::Object(_) => self.accept(&Json::parse(raw).ok()?),
        }
    }

    /// Takes a value from outside; `None` when it has not the type or is out of bounds. Texts are read like
    /// what a user says, so `"12.5"` is a decimal.
    pub fn accept(&self, value: &Json) -> Option<SlotValue> {
        match (self, value) {
            (Self::Object(schema), Json::Object(_)) => {
                schema.check(value).ok().map(|()| SlotValue::Object(value.clone()))
            }
            (Self::List { item, items_max }, Json::List(items)) => {
                Self::list(items.iter().map(|part| item.accept(part)), *items_max)
            }
            (Self::Object(_) | Self::List { .. }, _) => None,
            (_, Json::Text(text)) => self.parse(text),
            (Self::Boolean, Json::Boolean(truth)) => Some(SlotValue::Boolean(*truth)),
            (Self::Integer { .. }, Json::Integer(_)) => self.parse(&value.to_string()),
            (Self::Decimal { .. }, Json::Integer(_) | Json::Decimal(_)) => self.parse(&value.to_string()),
            // A number where a text is wanted, such as a postcode: models write either.
            (Self::Text { .. }, Json::Integer(_)) => self.parse(&value.to_string()),
            _ => None,
        }
    }

    /// Each value once, all of them valid, at least one and at most `items_max`.
    fn list(values: impl Iterator<Item = Option<SlotValue>>, items_max: usize) -> Option<SlotValue> {
        let mut items = Vec::new();
        for value in values {
            let value = Json::from(&value?);
            if !items.contains(&value) {
                items.push(value);
            }
        }
        (!items.is_empty() && items.len() <= items_max).then_some(SlotValue::List(items))
    }

    /// The type as JSON Schema, for a model that is to give such a value.
    pub fn schema(&self) -> Json {
        let text = |value: &str| Json::Text(value.into());
        let typed = |name: &str, more: Vec<(&str, Option<Json>)>| {
            let bounds = more.into_iter().filter_map(|(key, bound)| Some((Arc::from(key), bound?)));
            Json::object(bounds.chain([(Arc::from("type"), text(name))]))
        };
        let length = |chars: usize| Some(Json::Integer(i64::try_from(chars).unwrap_or(i64::MAX)));
        match self {
            Self::Text { chars_min, chars_max, .. } => {
                typed("string", vec![("minLength", length(*chars_min)), ("maxLength", length(*chars_max))])
            }
            Self::Integer { min, max } => {
                typed("integer", vec![("minimum", min.map(Json::Integer)), ("maximum", max.map(Json::Integer))])
            }
            Self::Decimal { min, max } => {
                typed("number", vec![("minimum", min.map(Json::Decimal)), ("maximum", max.map(Json::Decimal))])
            }
            Self::Boolean => typed("boolean", Vec::new()),
            // Servers that hold a model to a schema make a grammar of it, and not every one knows `\d` there.
            Self::Date { .. } => typed("string", vec![("pattern", Some(text("^[0-9]{4}-[0-9]{2}-[0-9]{2}$")))]),
            Self::Enumeration(values) => {
                let values = values.iter().map(|value| Json::Text(Arc::clone(value))).collect();
                typed("string", vec![("enum", Some(Json::List(values)))])
            }
            Self::List { item, items_max } => {
                typed("array", vec![("items", Some(item.schema())), ("maxItems", length(*items_max))])
            }
            Self::Object(schema) => Json::parse(schema.source()).unwrap_or(Json::Null),
        }
    }
}

fn within<T: Ord>(value: &T, min: Option<&T>, max: Option<&T>) -> bool {
    min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max)
}

/// How long a slot is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotScope {
    /// As long as an intent that keeps it is current or interrupted.
    #[default]
    Intent,
    /// Until the conversation is reset.
    Conversation,
}

/// A declared slot.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name.
    pub name: Arc<str>,
    /// What it means, for prompts; empty when not given.
    pub description: Arc<str>,
    /// What it holds.
    pub kind: SlotKind,
    /// Where it is found in a text; the first match that fits wins.
    pub patterns: Vec<Pattern>,
    /// How long it is kept.
    pub scope: SlotScope,
    /// Whether it is read only where a state asks for it by name.
    pub asked_only: bool,
    /// Whether a model may read it when no pattern finds it.
    pub by_model: bool,
    /// Whether it never appears in a prompt.
    pub secret: bool,
}

impl Slot {
    /// The first value in `text` that a pattern finds and the type accepts; for a list, every one.
    pub fn read(&self, text: &str) -> Option<SlotValue> {
        if let SlotKind::List { item, items_max } = &self.kind {
            let found = self.patterns.iter().flat_map(|pattern| pattern.values(text));
            return SlotKind::list(found.filter_map(|raw| item.parse(raw)).map(Some), *items_max);
        }
        self.patterns.iter().find_map(|pattern| pattern.values(text).find_map(|raw| self.kind.parse(raw)))
    }
}
