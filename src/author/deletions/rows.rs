//! What of a flow's tree is a row, and the tree without one.

use super::{Deletion, Noticed};
use crate::{
    fault::Mark,
    node::{Key, Node, Value},
};

/// What is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// Items of lists and entries of tables: what an author adds one by one.
    #[default]
    Rows,
    /// Optional keys too, such as `when` and `priority`.
    RowsAndKeys,
}

/// Maps whose keys the author chooses, or of which each entry says something of its own.
const TABLES: [&str; 12] = [
    "acts",
    "actions",
    "arguments",
    "enrichments",
    "intents",
    "planners",
    "prompts",
    "results",
    "set",
    "slots",
    "states",
    "then",
];
/// Keys that are a row by themselves.
const ROW_KEYS: [&str; 2] = ["summary", "until"];
/// Lists that may be written as a single value, which is then their only row.
const SHORT_LISTS: [&str; 13] = [
    "choice",
    "collect",
    "examples",
    "extract",
    "flags",
    "follow_ups",
    "keep",
    "keys",
    "let_go",
    "patterns",
    "slots",
    "tools",
    "variables",
];
/// What is said to people who read the flow, not to those who talk with it.
const DOCUMENTATION: [&str; 2] = ["description", "label"];
/// Values that are data of the author's own, and the scripted model: scenarios script their own.
const DATA: [&str; 5] = ["default", "reference", "schema", "scripted", "value"];
/// Most letters of a row that are shown.
const TEXT_CHARS_MAX: usize = 80;

/// A row of a flow's tree.
pub(super) struct Row<'t> {
    /// The places of its ancestors and itself, each among its siblings.
    path: Vec<usize>,
    /// Where it is, for people.
    name: String,
    mark: &'t Mark,
    node: &'t Node,
    /// Whether it is an optional key, not a row.
    pub(super) is_key: bool,
}

impl Row<'_> {
    pub(super) fn deletion(&self, noticed: Option<Noticed>) -> Deletion {
        Deletion {
            row: self.name.clone(),
            text: shortened(self.node),
            file: self.mark.file.to_string(),
            line: self.mark.line,
            column: self.mark.column,
            noticed,
        }
    }

    /// The tree without the row.
    pub(super) fn deleted_from(&self, tree: &Node) -> Node {
        let mut tree = tree.clone();
        delete(&mut tree, &self.path);
        tree
    }
}

fn delete(node: &mut Node, path: &[usize]) {
    let Some((place, deeper)) = path.split_first() else { return };
    if deeper.is_empty() {
        match &mut node.value {
            Value::List(items) if *place < items.len() => drop(items.remove(*place)),
            Value::Map(entries) if *place < entries.len() => drop(entries.remove(*place)),
            _ => {}
        }
        return;
    }
    let child = match &mut node.value {
        Value::List(items) => items.get_mut(*place),
        Value::Map(entries) => entries.get_mut(*place).map(|(_, child)| child),
        _ => None,
    };
    if let Some(child) = child {
        delete(child, deeper);
    }
}

/// Every row of a flow.
pub(super) fn rows(tree: &Node, which: Which) -> Vec<Row<'_>> {
    let mut walk = Walk { which, rows: Vec::new(), path: Vec::new() };
    walk.children(tree, "", "");
    walk.rows
}

struct Walk<'t> {
    which: Which,
    rows: Vec<Row<'t>>,
    path: Vec<usize>,
}

impl<'t> Walk<'t> {
    /// The rows below a node that stands under `key` and is called `name`.
    fn children(&mut self, node: &'t Node, key: &str, name: &str) {
        match &node.value {
            Value::List(items) => {
                for (place, item) in items.iter().enumerate() {
                    // The only word of a set of keywords is the set.
                    let nested = matches!(&item.value, Value::List(inner) if inner.len() == 1);
                    let name = format!("{name}[{}]", item_name(item, place));
                    self.path.push(place);
                    self.row(item, &item.mark, name.clone(), false);
                    if !nested {
                        self.children(item, key, &name);
                    }
                    self.path.pop();
                }
            }
            Value::Map(entries) => {
                // The only effect of a rule's item is the item itself.
                let single = entries.len() == 1 && ["then", "set"].contains(&key);
                let table = TABLES.contains(&key) && !single;
                for (place, (entry, child)) in entries.iter().enumerate() {
                    self.path.push(place);
                    self.entry(entry, child, (key, table), name);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    /// An entry of a map that stands under `key` and may be a table.
    fn entry(&mut self, entry: &'t Key, child: &'t Node, (key, table): (&str, bool), name: &str) {
        let below = entry.text.as_str();
        let name = if name.is_empty() { below.to_owned() } else { format!("{name}.{below}") };
        // What stands in a table is called by the author: the name says nothing of what is below.
        let chosen = table && key != "then";
        let scalar = !matches!(child.value, Value::List(_) | Value::Map(_));
        let is_row = table || ROW_KEYS.contains(&below) || (scalar && SHORT_LISTS.contains(&below));
        let is_key = self.which == Which::RowsAndKeys && !DOCUMENTATION.contains(&below) && !holds_rows(child);
        if is_row || is_key {
            self.row(child, &entry.mark, name.clone(), !is_row);
        }
        if !DATA.contains(&below) || chosen {
            self.children(child, if chosen { "" } else { below }, &name);
        }
    }

    fn row(&mut self, node: &'t Node, mark: &'t Mark, name: String, is_key: bool) {
        self.rows.push(Row { path: self.path.clone(), name, mark, node, is_key });
    }
}

/// Whether a key holds rows, so that deleting it deletes several.
fn holds_rows(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => entries.len() > 1,
        _ => false,
    }
}

/// What an item of a list is called: by its id, its name, itself, or its place from 1.
fn item_name(item: &Node, place: usize) -> String {
    let named = item.get("id").or_else(|| item.get("name")).unwrap_or(item);
    match &named.value {
        Value::Text(text) => clipped(text, 40),
        _ => (place + 1).to_string(),
    }
}

fn shortened(node: &Node) -> String {
    let mut json = String::new();
    node.write_json(&mut json);
    clipped(&json, TEXT_CHARS_MAX)
}

fn clipped(text: &str, chars_max: usize) -> String {
    let mut letters = text.chars();
    let mut clipped: String = letters.by_ref().take(chars_max).collect();
    if letters.next().is_some() {
        clipped.push('…');
    }
    clipped
}
