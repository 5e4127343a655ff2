//! What differs between two revisions of a flow.
//!
//! The normalised sources are compared as trees, so that nothing an author can write is forgotten; entries are
//! matched by their names or ids, rows without one by where they apply. Transitions are compared as what they
//! declare, however they are written, and budgets (whatever bounds time, size or number) stand apart from what
//! they belong to: those two are what a review looks at first.

mod budgets;
mod entries;
mod print;
mod tree;

use serde::Serialize;
use serde_json::Value as Shown;

use crate::{
    fault::{Faults, Mark},
    graph::Graph,
    load::LoadedFlow,
    node::{self, Node, Value},
};

/// What changed about something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is not as it was.
    Changed,
}

/// A part of something that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The key, as a path: `confirm.required`, `then[1].go`; empty for the whole.
    pub at: String,
    /// What it was; none when it was not there.
    pub was: Option<Shown>,
    /// What it is; none when it is gone.
    pub is: Option<Shown>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `transitions`, `budgets`, `rules`, …: one of [`KINDS`].
    pub kind: &'static str,
    /// Its name, id or place.
    pub name: String,
    /// Whether it is new, gone, or not as it was.
    pub sign: Sign,
    /// What about it changed.
    pub details: Vec<Detail>,
}

/// The kinds of changes, in the order they are told.
pub const KINDS: [&str; 21] = [
    "transitions",
    "budgets",
    "flow",
    "guard",
    "acts",
    "understanding",
    "intents",
    "states",
    "rules",
    "enrichments",
    "actions",
    "planners",
    "responses",
    "prompts",
    "slots",
    "extract",
    "flags",
    "redact",
    "summary",
    "progress",
    "order",
];

/// What differs between two revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Name and revision of the first.
    pub was: (String, String),
    /// Name and revision of the second.
    pub is: (String, String),
    /// What changed, by kind.
    pub changes: Vec<Change>,
}

impl Diff {
    /// Compares two revisions.
    pub fn of(was: &LoadedFlow, is: &LoadedFlow) -> Self {
        let named = |loaded: &LoadedFlow| (loaded.flow.name().to_string(), loaded.flow.revision().to_string());
        let moves = transitions(&Graph::of(&was.flow), &Graph::of(&is.flow));
        let mut changes = match (source(was), source(is)) {
            (Some(was), Some(is)) => sources(was, is, moves),
            // A normalised source was read before; it can be read again.
            _ => moves,
        };
        let (was, is) = (named(was), named(is));
        if changes.is_empty() && was.1 != is.1 {
            changes.push(Change::of("order", "keys stand in another order", Sign::Changed));
        }
        Self { was, is, changes }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Change {
    fn of(kind: &'static str, name: impl Into<String>, sign: Sign) -> Self {
        Self { kind, name: name.into(), sign, details: Vec::new() }
    }
}

fn source(loaded: &LoadedFlow) -> Option<Node> {
    node::parse(&"source".into(), &loaded.source, &mut Faults::default())
}

/// Compares two trees; `moves` is what is known of their transitions.
pub(crate) fn sources(mut was: Node, mut is: Node, moves: Vec<Change>) -> Vec<Change> {
    let mut changes = moves;
    let rows = (take(&mut was, "transitions"), take(&mut is, "transitions"));
    if changes.is_empty() && !tree::same(&rows.0, &rows.1) {
        let name = "they are written in another way and declare the same";
        changes.push(Change::of("transitions", name, Sign::Changed));
    }
    changes.extend(budgets::changes(budgets::taken(&mut was), budgets::taken(&mut is)));
    // There are only budgets in the limits.
    for flow in [&mut was, &mut is] {
        take(flow, "limits");
    }
    entries::compare(was, is, &mut changes);
    changes.sort_by_key(|change| KINDS.iter().position(|kind| *kind == change.kind));
    changes
}

/// Compares what two flows declare, by the names of both ends.
fn transitions(was: &Graph, is: &Graph) -> Vec<Change> {
    let named = |graph: &Graph| {
        let edges = graph.edges.iter();
        let named = edges
            .map(|edge| (format!("{} -> {}", graph.name_of(edge.from), graph.name_of(Some(edge.to))), edge.label()));
        named.collect::<Vec<(String, String)>>()
    };
    let (was, is) = (named(was), named(is));
    let label =
        |of: &[(String, String)], name: &str| of.iter().find(|(held, _)| held == name).map(|(_, by)| by.clone());
    let gone =
        was.iter().filter(|(name, _)| label(&is, name).is_none()).map(|(name, by)| (name, Some(by.clone()), None));
    let now = is.iter().map(|(name, by)| (name, label(&was, name), Some(by.clone())));
    let mut changes = Vec::new();
    for (name, was, is) in gone.chain(now).filter(|(_, was, is)| was != is) {
        changes.push(Change {
            kind: "transitions",
            name: name.clone(),
            sign: sign_of(was.is_some(), is.is_some()),
            details: vec![Detail { at: "by".to_owned(), was: was.map(Shown::from), is: is.map(Shown::from) }],
        });
    }
    changes
}

fn sign_of(was: bool, is: bool) -> Sign {
    match (was, is) {
        (true, true) => Sign::Changed,
        (true, false) => Sign::Removed,
        (false, _) => Sign::Added,
    }
}

/// Takes an entry out of a map.
fn take(node: &mut Node, key: &str) -> Node {
    let nothing = Node { mark: node.mark.clone(), value: Value::Null };
    let Value::Map(entries) = &mut node.value else { return nothing };
    let place = entries.iter().position(|(held, _)| held.text == key);
    place.map_or(nothing, |place| entries.remove(place).1)
}

/// A node of nothing.
fn nothing() -> Node {
    Node { mark: Mark::file(&"source".into()), value: Value::Null }
}
