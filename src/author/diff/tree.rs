//! Comparing nodes, wherever they stand.

use serde_json::{Map, Value as Shown};

use super::Detail;
use crate::node::{Node, Value};

/// Whether two nodes say the same, the order of keys included.
pub(super) fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|((key, one), (again, other))| key.text == again.text && same(one, other))
        }
        _ => shown(one) == shown(other),
    }
}

/// A node as a value of JSON.
pub(super) fn shown(node: &Node) -> Shown {
    match &node.value {
        Value::Null => Shown::Null,
        Value::Boolean(truth) => (*truth).into(),
        Value::Integer(number) => (*number).into(),
        Value::Number(text) | Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(shown).collect(),
        Value::Map(entries) => {
            let entries: Map<String, Shown> =
                entries.iter().map(|(key, value)| (key.text.clone(), shown(value))).collect();
            Shown::Object(entries)
        }
    }
}

/// What names a row of a list: the text itself, or its `id` or `name`.
pub(super) fn identity(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Map(entries) => {
            let named = entries.iter().find(|(key, _)| key.text == "id" || key.text == "name");
            named.and_then(|(_, value)| shown(value).as_str().map(str::to_owned))
        }
        _ => None,
    }
}

/// Every part of `is` that differs from `was`.
pub(super) fn details(was: &Node, is: &Node) -> Vec<Detail> {
    let mut details = Vec::new();
    compare(Some(was), Some(is), String::new(), &mut details);
    details
}

fn compare(was: Option<&Node>, is: Option<&Node>, at: String, details: &mut Vec<Detail>) {
    let pair = match (was, is) {
        (Some(was), Some(is)) if same(was, is) => return,
        (Some(was), Some(is)) => Some((&was.value, &is.value)),
        _ => None,
    };
    match pair {
        Some((Value::Map(was), Value::Map(is))) => {
            let get = |of: &'_ [(crate::node::Key, Node)], key: &str| of.iter().position(|(held, _)| held.text == key);
            let before = details.len();
            let gone = was.iter().filter(|(key, _)| get(is, &key.text).is_none());
            for (key, _) in is.iter().chain(gone) {
                let held = |of| get(of, &key.text);
                let was = held(was).and_then(|place| was.get(place)).map(|(_, node)| node);
                let is = held(is).and_then(|place| is.get(place)).map(|(_, node)| node);
                compare(was, is, member(&at, &key.text), details);
            }
            if details.len() == before {
                let keys = |of: &[(crate::node::Key, Node)]| -> Shown {
                    of.iter().map(|(key, _)| Shown::from(key.text.as_str())).collect()
                };
                let (was, is) = (Some(keys(was)), Some(keys(is)));
                details.push(Detail { at: member(&at, "(order)"), was, is });
            }
        }
        Some((Value::List(was), Value::List(is))) if was.len() == is.len() && was.iter().chain(is).all(is_map) => {
            for (place, (was, is)) in was.iter().zip(is).enumerate() {
                compare(Some(was), Some(is), format!("{at}[{place}]"), details);
            }
        }
        _ => details.push(Detail { at, was: was.map(shown), is: is.map(shown) }),
    }
}

fn is_map(node: &Node) -> bool {
    matches!(node.value, Value::Map(_))
}

fn member(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}
