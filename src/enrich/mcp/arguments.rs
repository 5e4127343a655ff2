//! Arguments of a tool: checked against its schema, and made into what the protocol carries.

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use colloquy_flow::{Json, Schema};

use crate::error::ArgumentFault;

/// Longest arguments, in bytes.
const ARGUMENTS_BYTES_MAX: usize = 64 << 10;
/// Longest schema that is read, in bytes.
const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Largest compiled pattern of a schema, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A compiled schema of arguments.
#[derive(Debug)]
pub(super) enum ArgumentCheck {
    /// One that flows could use as well.
    Own(Schema),
    /// Any other.
    Full(Box<Validator>),
}

impl ArgumentCheck {
    /// Compiles a schema; none when it cannot be checked with bounded work.
    pub(super) fn compile(schema: &Map<String, Value>) -> Option<Self> {
        let text = serde_json::to_string(schema).ok().filter(|text| text.len() <= SCHEMA_BYTES_MAX)?;
        let own = Json::parse(&text).ok().filter(says_what_is_open).and_then(|schema| Schema::compile(&schema).ok());
        if let Some(schema) = own {
            return Some(Self::Own(schema));
        }
        let schema = Value::Object(schema.clone());
        if refers(&schema) {
            return None;
        }
        // The engine whose time is linear in the text; look-around and back-references are not for it.
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let built = jsonschema::options().with_pattern_options(patterns).build(&schema).ok()?;
        Some(Self::Full(Box::new(built)))
    }

    /// Checks arguments and makes them what is sent.
    pub(super) fn admit(&self, arguments: &Json) -> Result<Map<String, Value>, ArgumentFault> {
        if !matches!(arguments, Json::Object(_)) {
            return Err(ArgumentFault::NotAnObject);
        }
        let text = arguments.to_string();
        if text.len() > ARGUMENTS_BYTES_MAX {
            return Err(ArgumentFault::TooLong(ARGUMENTS_BYTES_MAX));
        }
        let value = carried(&text, arguments).ok_or(ArgumentFault::Inexact)?;
        let misfit = |keyword: &str| ArgumentFault::Misfit { keyword: keyword.to_owned() };
        match self {
            Self::Own(schema) => schema.check(arguments).map_err(|error| misfit(error.rule))?,
            Self::Full(validator) => validator.validate(&value).map_err(|error| misfit(error.kind().keyword()))?,
        }
        match value {
            Value::Object(members) => Ok(members),
            _ => Err(ArgumentFault::NotAnObject),
        }
    }
}

/// The library carries numbers as floats: what would be another number afterwards is refused.
fn carried(text: &str, arguments: &Json) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    let back = serde_json::to_string(&value).ok()?;
    (Json::parse(&back).ok()? == *arguments).then_some(value)
}

/// Whether every schema in it that takes objects says whether other members may stand in them. Flows read silence as
/// a no, JSON Schema as a yes.
fn says_what_is_open(schema: &Json) -> bool {
    let takes_objects = match schema.get("type") {
        None => schema.get("enum").or_else(|| schema.get("const")).is_none(),
        Some(Json::List(types)) => types.iter().any(|one| one.as_text() == Some("object")),
        Some(one) => one.as_text() == Some("object"),
    };
    let says = !takes_objects || matches!(schema.get("additionalProperties"), Some(Json::Boolean(_)));
    let members = match schema.get("properties") {
        Some(Json::Object(members)) => members.iter().all(|(_, member)| says_what_is_open(member)),
        _ => true,
    };
    says && members && schema.get("items").is_none_or(says_what_is_open)
}

/// Whether a schema refers to itself in a circle, or elsewhere: checking it might not end.
fn refers(schema: &Value) -> bool {
    let mut open = Vec::new();
    circles(schema, schema, &mut open, &mut 0)
}

/// Most schemas looked at while references are followed.
const FOLLOWED_MAX: usize = 10_000;

fn circles<'a>(root: &'a Value, part: &'a Value, open: &mut Vec<&'a str>, looked: &mut usize) -> bool {
    *looked += 1;
    if *looked > FOLLOWED_MAX {
        return true;
    }
    match part {
        Value::Array(items) => items.iter().any(|item| circles(root, item, open, looked)),
        Value::Object(members) => members.iter().any(|(key, member)| match (key.as_str(), member) {
            ("$ref", Value::String(target)) => {
                let Some(inside) = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) else {
                    return true;
                };
                if open.contains(&target.as_str()) {
                    return true;
                }
                open.push(target);
                let circle = circles(root, inside, open, looked);
                open.pop();
                circle
            }
            ("$dynamicRef" | "$recursiveRef" | "$id" | "$anchor" | "$dynamicAnchor", _) => true,
            // At the root these hold schemas that count only where they are referred to.
            ("$defs" | "definitions", _) if std::ptr::eq(part, root) => false,
            _ => circles(root, member, open, looked),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
