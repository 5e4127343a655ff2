//! Slots, flags, intents, states and transitions.

use colloquy_flow::{
    By,
    schema::KEYWORDS,
    slot::{LIST_ITEMS_MAX, TEXT_CHARS_MAX},
};
use serde_json::{Value, json};

use super::{Definitions, boolean, closed, either, many, reference, table, text_of_author, whole, words};

pub(super) fn definitions() -> Definitions {
    vec![
        ("schema", schema()),
        ("slot", slot()),
        ("chosen", chosen()),
        ("flag", flag()),
        ("intent", intent()),
        ("state", state()),
        ("transition", transition()),
    ]
}

/// A schema within a flow: JSON Schema, of which only these keywords are taken.
fn schema() -> Value {
    json!({ "type": "object", "propertyNames": words(KEYWORDS), "description": "The JSON Schema of a value." })
}

fn most(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What says which values fit, of slots and of items.
fn fitting() -> Vec<(&'static str, &'static str, Value)> {
    let chars = || whole(1, most(TEXT_CHARS_MAX));
    vec![
        ("values", "The values of an enum; case does not tell them apart.", reference("texts")),
        (
            "normalise",
            "Of a string: upper or lower case; blanks at both ends always go.",
            words(["upper", "lower", "trim"]),
        ),
        ("min", "The least integer, decimal or date.", reference("text")),
        ("max", "The greatest integer, decimal or date.", reference("text")),
        ("min_chars", "The shortest string; 1 when not given.", chars()),
        ("max_chars", "The longest string; 256 when not given.", chars()),
    ]
}

fn slot() -> Value {
    let items_type = words(["string", "integer", "decimal", "boolean", "date", "enum"]);
    let mut items = vec![("type", "The type of each item.", items_type)];
    items.extend(fitting());
    let kinds = words(["string", "integer", "decimal", "boolean", "date", "enum", "list", "object"]);
    let mut keys = vec![
        text_of_author(),
        ("type", "The type of its value.", kinds),
        ("items", "What the items of a list are.", closed("What the items of a list are.", &["type"], items)),
        ("max_items", "The longest list; 20 when not given.", whole(1, most(LIST_ITEMS_MAX))),
        ("schema", "What an object must fit.", reference("schema")),
        ("extract", "Patterns it is read by; the group named value, or else the whole match.", reference("patterns")),
        ("scope", "How long it is kept; with its intent when not given.", words(["intent", "conversation"])),
        ("asked_only", "Whether it is read only when it was asked for.", boolean()),
        ("by_model", "Whether a model may read it too.", boolean()),
        ("secret", "Whether it never reaches a prompt.", boolean()),
    ];
    keys.extend(fitting());
    closed("A typed value the conversation collects.", &["type"], keys)
}

fn chosen() -> Value {
    let types = words(["string", "integer", "decimal", "boolean", "date", "enum"]);
    let mut keys = vec![text_of_author(), ("type", "The type of the value.", types)];
    keys.extend(fitting());
    closed("What a model chooses.", &["type"], keys)
}

fn flag() -> Value {
    closed(
        "A flag.",
        &["name"],
        vec![
            ("name", "Its name.", reference("name")),
            ("lives", "How long it stays raised; the conversation when not given.", words(["turn", "conversation"])),
            ("reset", "Whether raising it starts the conversation over.", boolean()),
        ],
    )
}

fn intent() -> Value {
    closed(
        "Something users may want.",
        &["initial", "states"],
        vec![
            text_of_author(),
            ("label", "What users know it as.", reference("text")),
            ("priority", "The higher one wins; 0 when not given.", whole(-1000, 1000)),
            ("classify", "What it is recognised by.", classify()),
            ("choice", "Patterns that choose it among several.", reference("patterns")),
            ("sticky", "How sure another intent must be to take over from it, in percent.", reference("percent")),
            ("reset", "Whether recognising it starts the conversation over.", boolean()),
            ("initial", "The state it begins in.", reference("name")),
            ("digression", "Whether it interrupts another intent and returns to it.", boolean()),
            ("collect", "Slots that are read in each of its states.", reference("names")),
            ("keep", "Slots that are kept as well while it is current or interrupted.", reference("names")),
            ("states", "Its states.", table(either(vec![reference("state"), json!({ "type": "null" })]))),
        ],
    )
}

fn classify() -> Value {
    closed(
        "What an intent is recognised by.",
        &[],
        vec![
            ("patterns", "Patterns.", reference("patterns")),
            ("keywords", "Lists of words, all of one of which must be there, in any order.", many(reference("texts"))),
            ("examples", "Sentences it is like, of two words or more.", reference("texts")),
        ],
    )
}

fn state() -> Value {
    let until = closed(
        "What it collects until.",
        &["go"],
        vec![
            ("when", "When it is complete; when every slot is there if not given.", reference("condition")),
            ("go", "Where it then leads.", reference("place")),
        ],
    );
    closed(
        "A state.",
        &[],
        vec![
            text_of_author(),
            ("terminal", "Whether nothing is underway here.", boolean()),
            ("boundary", "Whether a conversation may move to another revision here.", boolean()),
            ("collect", "Slots that are read here, beside those of the intent.", reference("names")),
            ("until", "Where it leads once everything is there.", either(vec![reference("place"), until])),
        ],
    )
}

fn transition() -> Value {
    closed(
        "A declared move.",
        &["from", "to", "by"],
        vec![
            ("from", "Positions, intent.* or \"*\".", reference("scope")),
            ("to", "Where it leads.", reference("place")),
            ("by", "Who may propose it.", many(words(By::ALL.map(By::name)))),
        ],
    )
}
