//! Scenarios.

use serde_json::{Value, json};

use super::{
    Definitions, anything, closed, either, many, one_of, open, reference, text_of_author, top::limits, whole, words,
};

pub(super) fn shape() -> Value {
    let scenarios = many(reference("scenario"));
    closed("Conversations with a flow.", &["scenarios"], vec![("scenarios", "The conversations.", scenarios)])
}

pub(super) fn definitions() -> Definitions {
    vec![
        ("scenario", scenario()),
        ("turn", turn()),
        ("effects", effects()),
        ("answer", answer()),
        ("limits", limits()),
        ("stages", stages()),
        ("stage_event", stage_event()),
    ]
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
            ("limits", "Limits in place of the flow's own.", reference("limits")),
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
            ("timer", "The id of a timer that is due, instead: nobody says anything.", reference("name")),
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
            (
                "restart",
                "Whether the conversation is stored and loaded again before the turn.",
                json!({ "type": "boolean" }),
            ),
            ("flags", "Exactly the flags raised after the turn.", reference("texts")),
            ("pending", "Exactly the actions that wait after the turn.", reference("texts")),
            ("follow_ups", "Exactly what is offered to say next.", reference("texts")),
            ("degradations", "Exactly what the turn had to do without, by name.", reference("texts")),
            ("stages", "Events that stages leave.", reference("stages")),
            ("prompt", "What must and must not stand in prompts.", open(prompt())),
            ("arguments", "What enrichments and actions are asked with, exactly.", open(anything())),
            ("progress", "Exactly what is shown while the turn waits, in order.", reference("texts")),
            ("not", "What must not happen.", never()),
        ],
    );
    if let Value::Object(shape) = &mut shape {
        let one = |key: &str| json!({ "required": [key] });
        shape.insert("oneOf".to_owned(), json!([one("say"), one("input"), one("timer")]));
        shape.insert("anyOf".to_owned(), json!([one("reply"), one("reply_pattern")]));
    }
    shape
}

fn stages() -> Value {
    open(many(either(vec![reference("text"), reference("stage_event")])))
}

fn stage_event() -> Value {
    closed(
        "An event of a stage.",
        &[],
        vec![
            ("result", "What came of it.", reference("text")),
            ("reason", "Why.", reference("text")),
            ("name", "What it is about.", reference("text")),
            ("by", "Who proposed the move it tells of.", reference("text")),
        ],
    )
}

fn prompt() -> Value {
    closed(
        "What stands in a prompt.",
        &[],
        vec![
            ("contains", "Texts that stand in it.", reference("texts")),
            ("lacks", "Texts that do not.", reference("texts")),
        ],
    )
}

fn never() -> Value {
    closed(
        "What must not happen.",
        &[],
        vec![
            ("reply_pattern", "A pattern nowhere in the reply.", reference("pattern")),
            ("intent", "An intent the turn must not lead to.", reference("text")),
            ("state", "A state the turn must not lead to.", reference("text")),
            ("slots", "Slots that stay empty.", reference("texts")),
            ("stages", "Events that must not be left.", many(either(vec![reference("text"), reference("stages")]))),
        ],
    )
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
            (
                "partial",
                "Some of what a source or tool returns; what a model wrote before its token limit stopped it.",
                anything(),
            ),
            ("fault", "A fault in place of an answer.", words(faults)),
        ],
    );
    either(vec![json!({ "type": "string" }), written])
}
