//! Matching what has a name by its name, and rows that have none by where they apply.

use super::{Change, Detail, KINDS, Sign, nothing, sign_of, take, tree};
use crate::node::{Key, Node, Value};

/// Something with a name.
type Entry = (String, Node);

/// Compares two flows whose transitions and budgets were taken out.
pub(super) fn compare(mut was: Node, mut is: Node, changes: &mut Vec<Change>) {
    let states = (take_states(&mut was), take_states(&mut is));
    matched("states", states.0, states.1, changes);
    let policies = (take_within(&mut was, "guard", "policies"), take_within(&mut is, "guard", "policies"));
    matched("guard", named_rows(policies.0), named_rows(policies.1), changes);
    for kind in KINDS {
        let (was, is) = (take(&mut was, kind), take(&mut is, kind));
        match kind {
            "intents" | "enrichments" | "actions" | "planners" | "prompts" | "slots" | "acts" | "understanding"
            | "guard" => {
                matched(kind, members(was), members(is), changes);
            }
            "rules" | "flags" => matched(kind, named_rows(was), named_rows(is), changes),
            "responses" | "progress" => rows(kind, was, is, changes),
            _ => matched(kind, whole(kind, was), whole(kind, is), changes),
        }
    }
    // Whatever else stands at the top: the name, the start, the fallback.
    matched("flow", members(was), members(is), changes);
}

/// The states of every intent, as `intent.state`.
fn take_states(flow: &mut Node) -> Vec<Entry> {
    let mut states = Vec::new();
    let intents = entry_mut(flow, "intents").map(|intents| &mut intents.value);
    if let Some(Value::Map(intents)) = intents {
        for (intent, node) in intents {
            let own = members(take(node, "states"));
            states.extend(own.into_iter().map(|(state, node)| (format!("{}.{state}", intent.text), node)));
        }
    }
    states
}

fn take_within(flow: &mut Node, outer: &str, inner: &str) -> Node {
    entry_mut(flow, outer).map_or_else(nothing, |node| take(node, inner))
}

fn entry_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    let Value::Map(entries) = &mut node.value else { return None };
    entries.iter_mut().find(|(held, _)| held.text == key).map(|(_, node)| node)
}

/// The entries of a map.
fn members(node: Node) -> Vec<Entry> {
    match node.value {
        Value::Map(entries) => entries.into_iter().map(|(Key { text, .. }, node)| (text, node)).collect(),
        Value::Null => Vec::new(),
        _ => whole("", node),
    }
}

/// The rows of a list by their ids or names.
fn named_rows(node: Node) -> Vec<Entry> {
    match node.value {
        Value::List(items) => {
            let named = items.into_iter().enumerate();
            named
                .map(|(place, item)| (tree::identity(&item).unwrap_or_else(|| format!("#{}", place + 1)), item))
                .collect()
        }
        Value::Null => Vec::new(),
        _ => vec![(tree::identity(&node).unwrap_or_default(), node)],
    }
}

fn whole(name: &str, node: Node) -> Vec<Entry> {
    if matches!(node.value, Value::Null) { Vec::new() } else { vec![(name.to_owned(), node)] }
}

/// Compares entries by name. Those that come after others than before are one more change: order decides ties.
fn matched(kind: &'static str, was: Vec<Entry>, is: Vec<Entry>, changes: &mut Vec<Change>) {
    let find = |of: &'_ [Entry], name: &str| of.iter().position(|(held, _)| held == name);
    for (name, node) in was.iter().filter(|(name, _)| find(&is, name).is_none()) {
        changes.extend(changed(kind, name, Some(node), None));
    }
    for (name, node) in &is {
        let before = find(&was, name).and_then(|place| was.get(place));
        changes.extend(changed(kind, name, before.map(|(_, node)| node), Some(node)));
    }
    let common = |of: &[Entry], other: &[Entry]| -> Vec<String> {
        of.iter().filter(|(name, _)| find(other, name).is_some()).map(|(name, _)| name.clone()).collect()
    };
    if ORDERED.contains(&kind) && common(&was, &is) != common(&is, &was) {
        changes.push(Change::of("order", format!("{kind} stand in another order"), Sign::Changed));
    }
}

/// What is read in order: it breaks ties, or says what is asked first.
const ORDERED: [&str; 7] = ["intents", "states", "rules", "enrichments", "actions", "planners", "slots"];

fn changed(kind: &'static str, name: &str, was: Option<&Node>, is: Option<&Node>) -> Option<Change> {
    let details = match (was, is) {
        (Some(was), Some(is)) => tree::details(was, is),
        (was, is) => vec![Detail { at: String::new(), was: was.map(tree::shown), is: is.map(tree::shown) }],
    };
    let sign = sign_of(was.is_some(), is.is_some());
    (sign != Sign::Changed || !details.is_empty()).then(|| Change { kind, name: name.to_owned(), sign, details })
}

/// A row, where it applies, and its place in the list, from 1.
type Row = (String, usize, Node);

/// Compares rows that have no name: those of one scope with each other, in order. What is equal at the
/// beginning and at the end is left out; the rest is matched one by one.
fn rows(kind: &'static str, was: Node, is: Node, changes: &mut Vec<Change>) {
    let (was, is) = (scoped(was), scoped(is));
    let mut scopes: Vec<&String> = Vec::new();
    for (scope, _, _) in was.iter().chain(&is) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    let mut pairs = Vec::new();
    for scope in scopes {
        let own = |of: &'_ [Row]| -> Vec<usize> {
            of.iter().enumerate().filter(|(_, row)| row.0 == *scope).map(|(place, _)| place).collect()
        };
        aligned(&own(&was), &own(&is), |one, other| equal(was.get(one), is.get(other)), &mut pairs);
    }
    for (one, other) in &pairs {
        let (one, other) = (one.and_then(|place| was.get(place)), other.and_then(|place| is.get(place)));
        let Some((scope, place, _)) = other.or(one) else { continue };
        let name = format!("#{place} in {scope}");
        changes.extend(changed(kind, &name, one.map(|row| &row.2), other.map(|row| &row.2)));
    }
    let mut kept: Vec<(usize, usize)> = pairs.iter().filter_map(|(one, other)| (*one).zip(*other)).collect();
    kept.sort_unstable();
    if !kept.is_sorted_by_key(|(_, other)| *other) {
        changes.push(Change::of("order", format!("{kind} stand in another order"), Sign::Changed));
    }
}

fn equal(one: Option<&Row>, other: Option<&Row>) -> bool {
    one.zip(other).is_some_and(|(one, other)| tree::same(&one.2, &other.2))
}

/// Pairs the places of two lists.
fn aligned(
    was: &[usize],
    is: &[usize],
    equal: impl Fn(usize, usize) -> bool,
    pairs: &mut Vec<(Option<usize>, Option<usize>)>,
) {
    let agreeing = |was: &mut dyn Iterator<Item = &usize>, is: &mut dyn Iterator<Item = &usize>| {
        was.zip(is).take_while(|(one, other)| equal(**one, **other)).count()
    };
    let head = agreeing(&mut was.iter(), &mut is.iter());
    let (was_rest, is_rest) = (was.get(head..).unwrap_or_default(), is.get(head..).unwrap_or_default());
    let tail = agreeing(&mut was_rest.iter().rev(), &mut is_rest.iter().rev());
    let middles = (was_rest.len() - tail, is_rest.len() - tail);
    for place in 0..was.len().max(is.len()) {
        let (one, other) = if place < head {
            (was.get(place), is.get(place))
        } else {
            let within = place - head;
            (was_rest.get(within).filter(|_| within < middles.0), is_rest.get(within).filter(|_| within < middles.1))
        };
        if one.is_some() || other.is_some() {
            pairs.push((one.copied(), other.copied()));
        }
    }
    let ends = was_rest.iter().skip(middles.0).zip(is_rest.iter().skip(middles.1));
    pairs.extend(ends.map(|(one, other)| (Some(*one), Some(*other))));
}

fn scoped(node: Node) -> Vec<Row> {
    let items = match node.value {
        Value::List(items) => items,
        Value::Null => Vec::new(),
        _ => vec![node],
    };
    items.into_iter().enumerate().map(|(place, item)| (scope(&item), place + 1, item)).collect()
}

/// Where a row applies, as one text.
fn scope(row: &Node) -> String {
    let Value::Map(entries) = &row.value else { return "any".to_owned() };
    let written = entries.iter().find(|(key, _)| key.text == "in").map(|(_, node)| &node.value);
    let text = |node: &Node| tree::identity(node).unwrap_or_default();
    match written {
        Some(Value::Text(place)) if place != "*" => place.clone(),
        Some(Value::List(places)) => places.iter().map(text).collect::<Vec<_>>().join(", "),
        _ => "any".to_owned(),
    }
}
