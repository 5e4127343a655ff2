//! Slots: typed values read from what the user says.

use std::sync::Arc;

use crate::{
    pattern::Pattern,
    value::{Date, Decimal, SlotValue},
};

/// Longest text a slot holds unless it says otherwise, in characters.
pub const TEXT_CHARS_DEFAULT: usize = 256;
/// Longest text a slot may hold at all, in characters.
pub const TEXT_CHARS_MAX: usize = 4096;

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
        }
    }
}

fn within<T: Ord>(value: &T, min: Option<&T>, max: Option<&T>) -> bool {
    min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max)
}

/// A declared slot.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name.
    pub name: Arc<str>,
    /// What it holds.
    pub kind: SlotKind,
    /// Where it is found in a text; the first match that fits wins.
    pub patterns: Vec<Pattern>,
}

impl Slot {
    /// The first value in `text` that a pattern finds and the type accepts.
    pub fn read(&self, text: &str) -> Option<SlotValue> {
        self.patterns.iter().find_map(|pattern| pattern.values(text).find_map(|raw| self.kind.parse(raw)))
    }
}
