//! JSON Schemas (draft 2020-12) of flow files and scenario files, for editors.
//!
//! They say what may stand where, with which bounds, and what it means. Whether references lead somewhere,
//! patterns compile and conditions hold is told by `colloquy flow lint` alone.

mod behaviour;
mod scenarios;
mod structure;
mod top;

use serde_json::{Map, Value, json};

/// The dialect both schemas are written in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a flow's file. A flow may be spread over several, so that no key is required in each.
pub fn of_flows() -> Value {
    let mut definitions = shared();
    definitions.extend(structure::definitions());
    definitions.extend(behaviour::definitions());
    root("A flow, or a part of one", top::shape(), definitions)
}

/// The schema of a file of scenarios.
pub fn of_scenarios() -> Value {
    let mut definitions = shared();
    definitions.extend(scenarios::definitions());
    root("Conversations with a flow, and what must come of them", scenarios::shape(), definitions)
}

/// A schema as it is kept in files.
pub fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

type Definitions = Vec<(&'static str, Value)>;

fn root(title: &str, shape: Value, definitions: Definitions) -> Value {
    let definitions: Map<String, Value> =
        definitions.into_iter().map(|(name, definition)| (name.to_owned(), definition)).collect();
    let mut root = json!({ "$schema": DIALECT, "title": title, "$defs": definitions });
    if let (Value::Object(root), Value::Object(shape)) = (&mut root, shape) {
        root.extend(shape);
    }
    root
}

/// What several shapes are made of.
fn shared() -> Definitions {
    let name = "[A-Za-z_][A-Za-z0-9_]{0,63}";
    vec![
        // A number or a truth is taken as it is written.
        ("text", json!({ "type": ["string", "number", "boolean"] })),
        ("name", json!({ "type": "string", "pattern": format!("^{name}$") })),
        ("id", json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$" })),
        ("place", json!({ "type": "string", "pattern": format!("^{name}\\.{name}$") })),
        ("scope", many(json!({ "type": "string", "pattern": format!("^(any|\\*|{name}\\.(\\*|{name}))$") }))),
        ("duration", json!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$" })),
        ("percent", whole(1, 100)),
        ("pattern", json!({ "type": "string", "minLength": 1, "maxLength": 1024 })),
        ("condition", json!({ "type": ["string", "boolean"], "maxLength": 1024 })),
        ("names", many(reference("name"))),
        ("patterns", many(reference("pattern"))),
        ("texts", many(reference("text"))),
    ]
}

/// A map with these keys and no others: each with what it means and what it holds.
fn closed(what: &str, required: &[&str], keys: Vec<(&str, &str, Value)>) -> Value {
    let mut properties = Map::new();
    for (key, meaning, mut holds) in keys {
        if let (Value::Object(holds), false) = (&mut holds, meaning.is_empty()) {
            holds.insert("description".to_owned(), meaning.into());
        }
        properties.insert(key.to_owned(), holds);
    }
    json!({
        "description": what,
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// Like [`closed`], with exactly one of the keys.
fn one_of(what: &str, keys: Vec<(&str, &str, Value)>) -> Value {
    let mut shape = closed(what, &[], keys);
    if let Value::Object(shape) = &mut shape {
        shape.insert("minProperties".to_owned(), 1.into());
        shape.insert("maxProperties".to_owned(), 1.into());
    }
    shape
}

/// A map of free names.
fn table(of: Value) -> Value {
    json!({ "type": "object", "propertyNames": reference("name"), "additionalProperties": of })
}

/// A map of free keys.
fn open(of: Value) -> Value {
    json!({ "type": "object", "additionalProperties": of })
}

/// One, or a list.
fn many(of: Value) -> Value {
    json!({ "anyOf": [of, { "type": "array", "items": of }] })
}

/// One of several forms.
fn either(forms: Vec<Value>) -> Value {
    json!({ "anyOf": forms })
}

fn reference(definition: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{definition}") })
}

fn whole(min: i64, max: i64) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max })
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}

fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Value {
    json!({ "enum": words.into_iter().collect::<Vec<_>>() })
}

fn text_of_author() -> (&'static str, &'static str, Value) {
    ("description", "What it is for.", reference("text"))
}

/// Anything: a value of JSON.
fn anything() -> Value {
    json!({})
}
