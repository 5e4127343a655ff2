//! Structured values from outside and in slots: JSON without floats, keys ordered, size and depth bounded.
//!
//! Stored: the order of variants is the format.

mod stored;

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use crate::value::{Decimal, SlotValue};

/// How deep a value may nest.
pub const JSON_NESTING_MAX: usize = 16;
/// Most values in one value, itself included.
pub const JSON_NODES_MAX: usize = 10_000;

/// A JSON value. Numbers are exact: whole, or with at most six digits after the point.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a point.
    Decimal(Decimal),
    /// A text.
    Text(Arc<str>),
    /// A list.
    List(Vec<Json>),
    /// Entries ordered by key, each key once.
    Object(Vec<(Arc<str>, Json)>),
}

/// Why a text is no value we take. It never carries the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON, or a number in it cannot be held exactly, or a key stands twice.
    #[error("it is not valid JSON, or has a number that cannot be held exactly, or a key twice")]
    Malformed,
    /// It nests deeper than [`JSON_NESTING_MAX`] or has more than [`JSON_NODES_MAX`] values.
    #[error("it nests deeper than {JSON_NESTING_MAX} levels or has more than {JSON_NODES_MAX} values")]
    TooLarge,
}

impl Json {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`JsonError`] tells what is wrong without repeating the text.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let Parsed(value) = serde_json::from_str(text).map_err(|_| JsonError::Malformed)?;
        let mut nodes = 0;
        if value.fits(0, &mut nodes) { Ok(value) } else { Err(JsonError::TooLarge) }
    }

    /// Makes an object; the last of equal keys wins.
    pub fn object(entries: impl IntoIterator<Item = (Arc<str>, Self)>) -> Self {
        let mut ordered: Vec<(Arc<str>, Self)> = Vec::new();
        for (key, value) in entries {
            match ordered.binary_search_by(|(held, _)| held.cmp(&key)) {
                Ok(place) => {
                    if let Some((_, held)) = ordered.get_mut(place) {
                        *held = value;
                    }
                }
                Err(place) => ordered.insert(place, (key, value)),
            }
        }
        Self::Object(ordered)
    }

    fn fits(&self, depth: usize, nodes: &mut usize) -> bool {
        *nodes += 1;
        if depth >= JSON_NESTING_MAX || *nodes > JSON_NODES_MAX {
            return false;
        }
        match self {
            Self::List(items) => items.iter().all(|item| item.fits(depth + 1, nodes)),
            Self::Object(entries) => entries.iter().all(|(_, value)| value.fits(depth + 1, nodes)),
            _ => true,
        }
    }

    /// The member of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(entries) = self else { return None };
        let place = entries.binary_search_by(|(held, _)| held.as_ref().cmp(key)).ok()?;
        entries.get(place).map(|(_, value)| value)
    }

    /// The value at `path`: keys of objects and numbers of list items, separated by points.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, step| match value {
            Self::Object(_) => value.get(step),
            Self::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The value as slots and templates write it: texts bare, everything else as JSON.
    pub fn plain(&self) -> String {
        self.as_text().map_or_else(|| self.to_string(), str::to_owned)
    }
}

impl From<&SlotValue> for Json {
    fn from(value: &SlotValue) -> Self {
        match value {
            SlotValue::Text(text) => Self::Text(Arc::clone(text)),
            SlotValue::Integer(number) => Self::Integer(*number),
            SlotValue::Decimal(number) => Self::Decimal(*number),
            SlotValue::Boolean(truth) => Self::Boolean(*truth),
            SlotValue::Date(date) => Self::Text(date.to_string().into()),
            SlotValue::List(items) => Self::List(items.clone()),
            SlotValue::Object(object) => object.clone(),
        }
    }
}

/// Writes canonical JSON: keys ordered, no blanks.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(truth) => truth.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Decimal(number) => number.fmt(f),
            Self::Text(text) => write_text(text, f),
            Self::List(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Object(entries) => {
                f.write_str("{")?;
                for (place, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    write_text(key, f)?;
                    f.write_str(":")?;
                    value.fmt(f)?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_text(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    serde_json::to_string(text).map_err(|_| fmt::Error).and_then(|quoted| f.write_str(&quoted))
}

/// A value as a parser of self-describing text gives it; bincode uses the derived form of [`Json`].
struct Parsed(Json);

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParsedVisitor).map(Self)
    }
}

struct ParsedVisitor;

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        i64::try_from(value).map(Json::Integer).map_err(|_| E::custom("a number is out of range"))
    }

    /// The shortest text that reads back as the same number is what was written, up to 15 digits.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        let number = Decimal::parse(&value.to_string()).ok_or_else(|| E::custom("a number cannot be held exactly"))?;
        Ok(Json::Decimal(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(Parsed(item)) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries: Vec<(Arc<str>, Json)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let Parsed(value) = map.next_value()?;
            entries.push((key.into(), value));
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        if entries.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
            return Err(de::Error::custom("a key stands twice"));
        }
        Ok(Json::Object(entries))
    }
}
