//! YAML as a tree of nodes that know their place, read within budgets against hostile input.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use colloquy_flow::Json;

use crate::fault::{Faults, Mark};

/// Largest source file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// How deep nodes may nest.
const DEPTH_MAX: usize = 24;
/// Most nodes in one file.
const NODES_MAX: usize = 100_000;
/// Most aliases in one file, and most events they may replay.
const ALIASES_MAX: usize = 256;
const REPLAYED_EVENTS_MAX: usize = 20_000;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A number with a point, as YAML read it.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) mark: Mark,
    pub(crate) text: String,
}

/// Parses one file. A syntax error is one fault; there is then no node.
pub(crate) fn parse(file: &Arc<str>, text: &str, faults: &mut Faults) -> Option<Node> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes, at most {FILE_BYTES_MAX} are allowed", text.len());
        faults.error("file-too-large", &Mark::file(file), message, "split the flow over several files");
        return None;
    }
    match read(text, DuplicateKeyPolicy::Error) {
        Ok(raw) => Some(place(raw, file)),
        Err(error) => {
            let location = error.location();
            let mark = location.map_or_else(
                || Mark { file: Arc::clone(file), line: 1, column: 1 },
                |at| Mark { file: Arc::clone(file), line: at.line(), column: at.column() },
            );
            let bare = error.without_snippet();
            let duplicate = matches!(bare, serde_saphyr::Error::DuplicateMappingKey { .. });
            let (id, fix) = if duplicate {
                ("duplicate-name", "give each entry a name of its own")
            } else {
                ("yaml", "correct the YAML at this place: indentation, quotes, brackets or an alias")
            };
            faults.error(id, &mark, one_line(&bare.to_string()), fix);
            // What else is wrong can still be told when only a key stands twice.
            if duplicate { read(text, DuplicateKeyPolicy::FirstWins).ok().map(|raw| place(raw, file)) } else { None }
        }
    }
}

fn one_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}

fn read(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Spanned<Raw>, serde_saphyr::Error> {
    let budget = serde_saphyr::budget! {
        max_depth: DEPTH_MAX,
        max_nodes: NODES_MAX,
        max_events: NODES_MAX * 3,
        max_aliases: ALIASES_MAX,
        max_anchors: ALIASES_MAX,
        max_documents: 1,
    };
    let mut options = serde_saphyr::options! {
        budget: budget,
        duplicate_keys: duplicate_keys,
        strict_booleans: true,
        with_snippet: false,
    };
    options.alias_limits.max_total_replayed_events = REPLAYED_EVENTS_MAX;
    options.alias_limits.max_replay_stack_depth = 8;
    serde_saphyr::from_str_with_options(text, options)
}

/// A node as YAML gives it; the file's name is added afterwards.
#[derive(Debug)]
enum Raw {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(i64::try_from(value).map_or_else(|_| Raw::Number(value.to_string()), Raw::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Raw::Map(entries))
    }
}

fn mark<T>(spanned: &Spanned<T>, file: &Arc<str>) -> Mark {
    Mark { file: Arc::clone(file), line: spanned.referenced.line(), column: spanned.referenced.column() }
}

fn place(raw: Spanned<Raw>, file: &Arc<str>) -> Node {
    let mark_of_node = mark(&raw, file);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Boolean(value) => Value::Boolean(value),
        Raw::Integer(value) => Value::Integer(value),
        Raw::Number(text) => Value::Number(text),
        Raw::Text(text) => Value::Text(text),
        Raw::List(items) => Value::List(items.into_iter().map(|item| place(item, file)).collect()),
        Raw::Map(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let mark = mark(&key, file);
                (Key { mark, text: key.value }, place(value, file))
            });
            Value::Map(entries.collect())
        }
    };
    Node { mark: mark_of_node, value }
}

impl Node {
    /// What the node is, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Boolean(_) => "a boolean",
            Value::Integer(_) | Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The node under `key` of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(held, _)| held.text == key).map(|(_, node)| node)
    }

    /// The node as a value; `None` when it nests too deep, is too large, or has a number that cannot be held.
    pub(crate) fn to_json(&self) -> Option<Json> {
        let mut json = String::new();
        self.write_exact(&mut json);
        Json::parse(&json).ok()
    }

    /// Like [`Node::write_json`], but numbers stay numbers.
    fn write_exact(&self, json: &mut String) {
        match &self.value {
            Value::Number(text) => json.push_str(text),
            Value::List(items) => {
                json.push('[');
                for (place, item) in items.iter().enumerate() {
                    json.push_str(if place == 0 { "" } else { "," });
                    item.write_exact(json);
                }
                json.push(']');
            }
            Value::Map(entries) => {
                json.push('{');
                for (place, (key, value)) in entries.iter().enumerate() {
                    json.push_str(if place == 0 { "" } else { "," });
                    write_json_text(&key.text, json);
                    json.push(':');
                    value.write_exact(json);
                }
                json.push('}');
            }
            _ => self.write_json(json),
        }
    }

    /// Appends the node as canonical JSON, which is YAML too: no comments, no layout, the order kept.
    pub(crate) fn write_json(&self, json: &mut String) {
        match &self.value {
            Value::Null => json.push_str("null"),
            Value::Boolean(value) => json.push_str(if *value { "true" } else { "false" }),
            Value::Integer(value) => json.push_str(&value.to_string()),
            Value::Number(text) | Value::Text(text) => write_json_text(text, json),
            Value::List(items) => {
                json.push('[');
                for (place, item) in items.iter().enumerate() {
                    json.push_str(if place == 0 { "" } else { "," });
                    item.write_json(json);
                }
                json.push(']');
            }
            Value::Map(entries) => {
                json.push('{');
                for (place, (key, value)) in entries.iter().enumerate() {
                    json.push_str(if place == 0 { "" } else { "," });
                    write_json_text(&key.text, json);
                    json.push(':');
                    value.write_json(json);
                }
                json.push('}');
            }
        }
    }
}

fn write_json_text(text: &str, json: &mut String) {
    json.push_str(&serde_json::Value::from(text).to_string());
}
