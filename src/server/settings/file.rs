//! A settings file as a tree in which every value knows where it stands.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Fault;

/// What stands in a file.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A text.
    Text(String),
    /// A number, a boolean or a date, as it is written.
    Plain(String),
    /// A list.
    List(Vec<Placed>),
    /// A table.
    Table(BTreeMap<String, Placed>),
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    /// `file:line:column`.
    pub(super) place: String,
    /// The value.
    pub(super) value: Value,
}

impl Placed {
    /// What kind of value it is, when another was wanted.
    pub(super) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) | Value::Plain(_) => "a single value",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Turns offsets into places.
struct Places<'f> {
    name: &'f str,
    text: &'f str,
}

impl Places<'_> {
    fn of(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.name)
    }
}

/// Reads a file.
///
/// # Errors
/// Where it is no TOML.
pub(super) fn parse(name: &str, text: &str) -> Result<BTreeMap<String, Placed>, Fault> {
    let places = Places { name, text };
    match DeTable::parse(text) {
        Ok(table) => Ok(entries(table.into_inner(), &places)),
        Err(error) => Err(Fault {
            place: places.of(error.span().map_or(0, |span| span.start)),
            key: "file".to_owned(),
            problem: error.message().replace('\n', " "),
            fix: "write `[section]` and `key = \"value\"`".to_owned(),
        }),
    }
}

fn entries(table: DeTable<'_>, places: &Places<'_>) -> BTreeMap<String, Placed> {
    table.into_iter().map(|(name, value)| (name.into_inner().into_owned(), placed(value, places))).collect()
}

fn placed(value: Spanned<DeValue<'_>>, places: &Places<'_>) -> Placed {
    let place = places.of(value.span().start);
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Plain(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Value::Plain(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Value::Plain(flag.to_string()),
        DeValue::Datetime(when) => Value::Plain(when.to_string()),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| placed(item, places)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, places)),
    };
    Placed { place, value }
}
