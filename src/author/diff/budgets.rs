//! What bounds time, size or number, wherever it is written.

use serde_json::Value as Shown;

use super::{Change, Detail, sign_of, tree};
use crate::node::{Node, Value};

/// Where budgets are written; `*` is any name or row.
const BUDGETS: [&[&str]; 20] = [
    &["limits", "*"],
    &["enrichments", "*", "timeout"],
    &["enrichments", "*", "attempts"],
    &["actions", "*", "timeout"],
    &["actions", "*", "attempts"],
    &["actions", "*", "arguments", "*", "chosen", "max_chars"],
    &["planners", "*", "calls"],
    &["actions", "*", "confirm", "expires_turns"],
    &["actions", "*", "confirm", "expires_after"],
    &["prompts", "*", "timeout"],
    &["prompts", "*", "attempts"],
    &["prompts", "*", "max_tokens"],
    &["prompts", "*", "history", "turns"],
    &["prompts", "*", "history", "tokens"],
    &["slots", "*", "max_chars"],
    &["slots", "*", "max_items"],
    &["understanding", "collision", "max_chars"],
    &["summary", "every_turns"],
    &["summary", "max_chars"],
    &["guard", "policies", "*", "longer_than"],
];

/// A budget: its path, and its value.
type Budget = (String, Shown);

/// Takes the budgets of a flow out of its tree. Those of rows without a name stay where they are: a row that
/// moves would seem to change them.
pub(super) fn taken(node: &mut Node) -> Vec<Budget> {
    let mut budgets = Vec::new();
    for path in BUDGETS {
        take(node, path, String::new(), &mut budgets);
    }
    budgets
}

fn take(node: &mut Node, path: &[&str], at: String, budgets: &mut Vec<Budget>) {
    let Some((step, rest)) = path.split_first() else { return };
    let joined = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match &mut node.value {
        Value::Map(entries) => {
            let fits = |name: &str| *step == "*" || *step == name;
            if rest.is_empty() {
                let (own, others) = std::mem::take(entries).into_iter().partition(|(key, _)| fits(&key.text));
                *entries = others;
                let own: Vec<_> = own;
                budgets.extend(own.iter().map(|(key, value)| (joined(&key.text), tree::shown(value))));
                return;
            }
            for (key, value) in entries.iter_mut().filter(|(key, _)| fits(&key.text)) {
                take(value, rest, joined(&key.text), budgets);
            }
        }
        Value::List(items) if *step == "*" => {
            for (place, item) in items.iter_mut().enumerate() {
                let name = tree::identity(item).unwrap_or_else(|| format!("#{}", place + 1));
                take(item, rest, joined(&name), budgets);
            }
        }
        _ => {}
    }
}

pub(super) fn changes(was: Vec<Budget>, is: Vec<Budget>) -> Vec<Change> {
    let value = |of: &[Budget], name: &str| of.iter().find(|(held, _)| held == name).map(|(_, value)| value.clone());
    let gone = was.iter().filter(|(name, _)| value(&is, name).is_none());
    let gone = gone.map(|(name, was)| (name, Some(was.clone()), None));
    let now = is.iter().map(|(name, is)| (name, value(&was, name), Some(is.clone())));
    let differ = gone.chain(now).filter(|(_, was, is)| was != is);
    differ
        .map(|(name, was, is)| Change {
            kind: "budgets",
            name: name.clone(),
            sign: sign_of(was.is_some(), is.is_some()),
            details: vec![Detail { at: String::new(), was, is }],
        })
        .collect()
}
