//! The part of JSON Schema (draft 2020-12) that flows may use: what can be checked with bounded work and
//! without a network. What is not named here is refused when a flow is loaded.
//!
//! Objects take only the properties they name unless `additionalProperties` is `true`: what a model adds of
//! its own is refused, not ignored.

use std::sync::Arc;

use crate::{
    json::{JSON_NESTING_MAX, Json},
    pattern::Pattern,
    value::Decimal,
};

/// Longest source of a schema, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 16 << 10;

/// Keywords a schema may use.
pub const KEYWORDS: [&str; 16] = [
    "$schema",
    "additionalProperties",
    "const",
    "description",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
];

const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Why a schema was refused: where in it, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {at}: {message}")]
pub struct SchemaError {
    /// The place, as a path from the root: `#/properties/name`.
    pub at: String,
    /// What is wrong.
    pub message: String,
}

/// Where a value does not fit, without the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {at}: {rule}")]
pub struct Misfit {
    /// The place, as a path from the root: `#/name`.
    pub at: String,
    /// The keyword that does not hold.
    pub rule: &'static str,
}

/// A compiled schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema {
    node: Arc<Node>,
    source: Arc<str>,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Schema {}

#[derive(Debug, Default)]
struct Node {
    types: Vec<&'static str>,
    values: Option<Vec<Json>>,
    properties: Vec<(Arc<str>, Node)>,
    required: Vec<Arc<str>>,
    open: bool,
    items: Option<Box<Node>>,
    items_min: usize,
    items_max: Option<usize>,
    chars_min: usize,
    chars_max: Option<usize>,
    minimum: Option<Decimal>,
    maximum: Option<Decimal>,
    pattern: Option<Pattern>,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// [`SchemaError`] names the place and the fault.
    pub fn compile(schema: &Json) -> Result<Self, SchemaError> {
        let source = schema.to_string();
        if source.len() > SCHEMA_BYTES_MAX {
            let message = format!("it has {} bytes, at most {SCHEMA_BYTES_MAX} are allowed", source.len());
            return Err(SchemaError { at: "#".to_owned(), message });
        }
        Ok(Self { node: Arc::new(Node::compile(schema, "#", 0)?), source: source.into() })
    }

    /// The schema as canonical JSON.
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// Checks a value.
    ///
    /// # Errors
    /// The first [`Misfit`], which names the place but not the value.
    pub fn check(&self, value: &Json) -> Result<(), Misfit> {
        self.node.check(value, "#")
    }

    /// The names of the properties of the root.
    pub fn properties(&self) -> impl Iterator<Item = &Arc<str>> {
        self.node.properties.iter().map(|(name, _)| name)
    }
}

impl Node {
    fn compile(schema: &Json, at: &str, depth: usize) -> Result<Self, SchemaError> {
        let fault = |message: String| SchemaError { at: at.to_owned(), message };
        let Json::Object(entries) = schema else { return Err(fault("a schema is a map".to_owned())) };
        if depth >= JSON_NESTING_MAX {
            return Err(fault(format!("it nests deeper than {JSON_NESTING_MAX} levels")));
        }
        let mut node = Self::default();
        for (key, value) in entries {
            node.keyword(key, value, at, depth)?;
        }
        if let Some(missing) = node.required.iter().find(|name| node.property(name).is_none()) {
            return Err(fault(format!("required names {missing:?}, which is no property")));
        }
        Ok(node)
    }

    fn keyword(&mut self, key: &str, value: &Json, at: &str, depth: usize) -> Result<(), SchemaError> {
        let fault = |message: String| SchemaError { at: format!("{at}/{key}"), message };
        let count = || match value {
            Json::Integer(number) => usize::try_from(*number).map_err(|_| fault("it is negative".to_owned())),
            _ => Err(fault("it must be a whole number".to_owned())),
        };
        match key {
            "type" => {
                let named: Vec<&Json> =
                    if let Json::List(types) = value { types.iter().collect() } else { vec![value] };
                for one in named {
                    let known = one.as_text().and_then(|name| TYPES.into_iter().find(|known| *known == name));
                    self.types.push(known.ok_or_else(|| fault(format!("a type is one of {}", TYPES.join(", "))))?);
                }
            }
            "enum" => match value {
                Json::List(values) if !values.is_empty() => self.values = Some(values.clone()),
                _ => return Err(fault("it must be a list of values".to_owned())),
            },
            "const" => self.values = Some(vec![value.clone()]),
            "properties" => {
                let Json::Object(properties) = value else { return Err(fault("it must be a map".to_owned())) };
                for (name, schema) in properties {
                    let compiled = Self::compile(schema, &format!("{at}/{key}/{name}"), depth + 1)?;
                    self.properties.push((Arc::clone(name), compiled));
                }
            }
            "required" => {
                let Json::List(names) = value else { return Err(fault("it must be a list of names".to_owned())) };
                for name in names {
                    let Json::Text(name) = name else { return Err(fault("it must be a list of names".to_owned())) };
                    self.required.push(Arc::clone(name));
                }
            }
            "additionalProperties" => match value {
                Json::Boolean(open) => self.open = *open,
                _ => return Err(fault("it must be true or false".to_owned())),
            },
            "items" => self.items = Some(Box::new(Self::compile(value, &format!("{at}/{key}"), depth + 1)?)),
            "minItems" => self.items_min = count()?,
            "maxItems" => self.items_max = Some(count()?),
            "minLength" => self.chars_min = count()?,
            "maxLength" => self.chars_max = Some(count()?),
            "minimum" | "maximum" => {
                let bound = number(value).ok_or_else(|| fault("it must be a number".to_owned()))?;
                let slot = if key == "minimum" { &mut self.minimum } else { &mut self.maximum };
                *slot = Some(bound);
            }
            "pattern" => {
                let source = value.as_text().ok_or_else(|| fault("it must be a text".to_owned()))?;
                // Schemas tell case apart, unlike the patterns of flows.
                let pattern = Pattern::compile(&format!("(?-i){source}")).map_err(|error| fault(error.to_string()))?;
                self.pattern = Some(pattern);
            }
            "$schema" | "description" => {}
            _ => return Err(fault(format!("the keywords here are {}", KEYWORDS.join(", ")))),
        }
        Ok(())
    }

    fn property(&self, name: &str) -> Option<&Self> {
        let place = self.properties.binary_search_by(|(held, _)| held.as_ref().cmp(name)).ok()?;
        self.properties.get(place).map(|(_, node)| node)
    }

    fn check(&self, value: &Json, at: &str) -> Result<(), Misfit> {
        let unless = |holds: bool, rule: &'static str| {
            if holds { Ok(()) } else { Err(Misfit { at: at.to_owned(), rule }) }
        };
        unless(self.types.is_empty() || self.types.iter().any(|wanted| has_type(value, wanted)), "type")?;
        unless(self.values.as_ref().is_none_or(|values| values.contains(value)), "enum")?;
        match value {
            Json::Text(text) => {
                if self.chars_min > 0 || self.chars_max.is_some() {
                    let chars = text.chars().count();
                    unless(chars >= self.chars_min, "minLength")?;
                    unless(self.chars_max.is_none_or(|most| chars <= most), "maxLength")?;
                }
                unless(self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text)), "pattern")
            }
            Json::Integer(_) | Json::Decimal(_) => {
                let Some(number) = number(value) else { return unless(self.unbounded(), "maximum") };
                unless(self.minimum.is_none_or(|least| number >= least), "minimum")?;
                unless(self.maximum.is_none_or(|most| number <= most), "maximum")
            }
            Json::List(items) => {
                unless(items.len() >= self.items_min, "minItems")?;
                unless(self.items_max.is_none_or(|most| items.len() <= most), "maxItems")?;
                let Some(schema) = &self.items else { return Ok(()) };
                items.iter().enumerate().try_for_each(|(place, item)| schema.check(item, &format!("{at}/{place}")))
            }
            Json::Object(entries) => {
                unless(self.required.iter().all(|name| value.get(name).is_some()), "required")?;
                for (name, member) in entries {
                    match self.property(name) {
                        Some(schema) => schema.check(member, &format!("{at}/{name}"))?,
                        None => unless(self.open, "additionalProperties")?,
                    }
                }
                Ok(())
            }
            Json::Null | Json::Boolean(_) => Ok(()),
        }
    }

    fn unbounded(&self) -> bool {
        self.minimum.is_none() && self.maximum.is_none()
    }
}

/// A number as a decimal; `None` for whole numbers that are too large to be one.
fn number(value: &Json) -> Option<Decimal> {
    match value {
        Json::Integer(whole) => whole.checked_mul(Decimal::SCALE).map(Decimal::from_micros),
        Json::Decimal(number) => Some(*number),
        _ => None,
    }
}

fn has_type(value: &Json, wanted: &str) -> bool {
    match value {
        Json::Null => wanted == "null",
        Json::Boolean(_) => wanted == "boolean",
        Json::Integer(_) => wanted == "integer" || wanted == "number",
        Json::Decimal(_) => wanted == "number",
        Json::Text(_) => wanted == "string",
        Json::List(_) => wanted == "array",
        Json::Object(_) => wanted == "object",
    }
}
