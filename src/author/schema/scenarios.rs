//! Scenarios.

use serde_json::{Value, json};

use super::{Definitions, anything, closed, either, many, one_of, open, reference, text_of_author, whole, words};

pub(super) fn shape() -> Value {
    let scenarios = many(reference("scenario"));
    closed("Conversations with a flow.", &["scenarios"], vec![("scenarios", "The conversations.", scenarios)])
}

pub(super) fn definitions() -> Definitions {
    vec![("scenario", scenario()), ("turn", turn()), ("effects", effects()), ("answer", answer())]
}

fn scenario() -> Value {
    closed(
        "A conversation.",
        &["name", "turns"],
        vec![
            ("name", "Its name, unique within the file.", reference("text")),
            text_of_author(),
            (
                "effects",
                "What models, sources and tools answer when a turn does not say otherwise.",
                reference("effects"),
            ),
            ("turns", "Its turns in order.", many(reference("turn"))),
        ],
    )
}

fn turn() -> Value {
    let mut shape = closed(
        "A turn, and what must come of it.",
        &[],
        vec![
            ("say", "What the user says.", reference("text")),
            ("input", "Structured input instead.", anything()),
            ("effects", "What models, sources and tools answer.", reference("effects")),
            ("calls", "How often prompts, enrichments and actions are asked.", open(whole(0, 100))),
            ("outcome", "How the turn ends.", words(["complete", "degraded", "blocked"])),
            ("reply", "The reply, exactly.", reference("text")),
            ("reply_pattern", "A pattern somewhere in the reply.", reference("pattern")),
            ("intent", "The intent after the turn.", reference("text")),
            ("state", "The state after the turn.", reference("text")),
            (
                "slots",
                "Slots after the turn; one written null is empty.",
                open(either(vec![reference("text"), json!({ "type": "null" })])),
            ),
            ("after", "Time that passes before the turn.", reference("duration")),
        ],
    );
    if let Value::Object(shape) = &mut shape {
        let one = |key: &str| json!({ "required": [key] });
        shape.insert("oneOf".to_owned(), json!([one("say"), one("input")]));
        shape.insert("anyOf".to_owned(), json!([one("reply"), one("reply_pattern")]));
    }
    shape
}

/// By name one answer, or several that are given one after the other.
fn effects() -> Value {
    let several = closed(
        "Answers one after the other, the last again and again.",
        &["then"],
        vec![("then", "The answers.", many(reference("answer")))],
    );
    open(either(vec![reference("answer"), several]))
}

fn answer() -> Value {
    let faults = ["timeout", "unavailable", "refused", "cancelled", "malformed_json", "illegal_transition", "unknown"];
    let written = one_of(
        "An answer.",
        vec![
            ("text", "What a model writes.", reference("text")),
            ("value", "What a model answers in JSON, or a source or tool returns.", anything()),
            ("partial", "Some of what a source or tool returns.", anything()),
            ("fault", "A fault in place of an answer.", words(faults)),
        ],
    );
    either(vec![json!({ "type": "string" }), written])
}
