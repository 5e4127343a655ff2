//! Rules, actions, responses, and what comes from outside.

use colloquy_flow::{Purpose, RulePhase, ScriptedFault, planner::PLANNER_CALLS_MAX};
use serde_json::{Value, json};

use super::{
    Definitions, anything, boolean, closed, either, many, one_of, open, reference, table, text_of_author,
    top::arguments, whole, words,
};
use crate::read::outside::WAITING;

pub(super) fn definitions() -> Definitions {
    vec![
        ("rule", rule()),
        ("action", action()),
        ("planner", planner()),
        ("response", response()),
        ("enrichment", enrichment()),
        ("prompt", prompt()),
        ("progress", progress()),
        ("scripted", scripted()),
        ("upgrade", upgrade()),
    ]
}

fn rule() -> Value {
    let remind = closed(
        "A timer.",
        &["id", "in"],
        vec![
            ("id", "Its id; setting one of the same id replaces it.", reference("name")),
            ("in", "When it fires; 1s to 365d.", reference("duration")),
        ],
    );
    let effect = closed(
        "What a rule does.",
        &[],
        vec![
            ("go", "Proposes a position.", reference("place")),
            ("intent", "Proposes the initial state of an intent.", reference("names")),
            ("set", "Fills slots.", table(reference("text"))),
            ("clear", "Empties slots.", reference("names")),
            ("flag", "Raises flags.", reference("names")),
            ("unflag", "Lowers flags.", reference("names")),
            ("stage", "Stages actions.", reference("names")),
            ("reset", "Starts the conversation over.", boolean()),
            ("remind", "Sets timers, after which the conversation speaks first.", many(remind)),
            ("forget", "Drops timers.", reference("names")),
        ],
    );
    closed(
        "A rule.",
        &["id", "in", "then"],
        vec![
            ("id", "Its id; traces name it.", reference("id")),
            text_of_author(),
            ("phase", "When it runs; after_extraction when not given.", words(RulePhase::ALL.map(RulePhase::name))),
            ("in", "Where it applies.", reference("scope")),
            ("priority", "The higher one runs first within its phase; 0 when not given.", whole(-1000, 1000)),
            ("when", "Its condition; none holds always.", reference("condition")),
            ("then", "What it does, in order.", many(effect)),
        ],
    )
}

fn action() -> Value {
    let confirm = closed(
        "How it is confirmed.",
        &[],
        vec![
            ("required", "Whether it is; true when not given.", boolean()),
            ("expires_turns", "After how many turns it lapses; 3 when not given.", whole(1, 100)),
            ("expires_after", "After how long it lapses; 15m when not given.", reference("duration")),
        ],
    );
    closed(
        "Something the conversation can do.",
        &["kind"],
        vec![
            text_of_author(),
            ("kind", "Whether it only writes its results, or calls a tool.", words(["local", "tool"])),
            ("tool", "The tool, as the settings name it.", target()),
            ("arguments", "What the tool is called with.", arguments()),
            ("read_only", "Whether it changes nothing in the world.", boolean()),
            ("idempotent", "Whether calling it twice with one key acts once.", boolean()),
            ("timeout", "How long one attempt may take.", reference("duration")),
            ("attempts", "How often it is tried.", whole(1, 10)),
            ("schema", "What its result must fit.", reference("schema")),
            ("label", "What users know it as.", reference("text")),
            ("choice", "Patterns that choose it among several.", reference("patterns")),
            ("in", "Where it may run; everywhere when not given.", reference("scope")),
            ("priority", "The higher one is asked about first; 0 when not given.", whole(-1000, 1000)),
            ("slots", "Slots it needs.", reference("names")),
            ("confirm", "How it is confirmed; when not given it runs as soon as it is staged.", confirm),
            ("results", "What it writes, by slot.", table(result())),
            ("on_executed", "Where it leads when it ran.", reference("place")),
            ("on_rejected", "Where it leads when the user refuses.", reference("place")),
            ("on_expired", "Where it leads when it waited too long.", reference("place")),
            ("on_failed", "Where it leads when it failed.", reference("place")),
        ],
    )
}

fn planner() -> Value {
    closed(
        "Where a model chooses which read-only tools are called.",
        &["in", "prompt", "tools"],
        vec![
            text_of_author(),
            ("in", "Where it works.", reference("scope")),
            ("when", "As long as which condition holds; always when not given.", reference("condition")),
            ("prompt", "The prompt the model is asked with, of purpose classify.", reference("name")),
            ("tools", "The actions it may call.", reference("names")),
            ("calls", "How many calls it may make in a turn; 4 when not given.", whole(1, PLANNER_CALLS_MAX.into())),
        ],
    )
}

/// The name of a source or tool of the settings.
fn target() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_./-]{1,128}$" })
}

fn result() -> Value {
    let made = closed(
        "A reference made of a fresh identifier.",
        &[],
        vec![
            ("prefix", "What it begins with.", reference("text")),
            ("length", "How many letters follow; 8 when not given.", whole(4, 24)),
        ],
    );
    either(vec![
        json!({ "const": "executed_at" }),
        one_of(
            "Where a result comes from.",
            vec![
                ("reference", "A reference made of a fresh identifier.", made),
                ("value", "A value as it stands.", reference("text")),
                (
                    "path",
                    "A part of what the tool answers, as keys and numbers separated by points.",
                    reference("text"),
                ),
            ],
        ),
    ])
}

fn response() -> Value {
    let model = closed(
        "A reply a model writes.",
        &["prompt"],
        vec![
            ("prompt", "The prompt.", reference("name")),
            ("max_chars", "The longest reply; 2000 when not given.", whole(1, 16_384)),
            ("schema", "What its answer in JSON must fit.", reference("schema")),
            ("say", "A template that makes the reply of the answer in JSON.", reference("text")),
            ("malformed", "Said when its answer does not fit.", reference("text")),
            ("failed", "Said when it gives none.", reference("text")),
        ],
    );
    let mut shape = closed(
        "Something said.",
        &["in"],
        vec![
            text_of_author(),
            ("in", "Where it is said.", reference("scope")),
            ("when", "Its condition; none holds always.", reference("condition")),
            ("exact", "Said word for word.", reference("text")),
            ("template", "A text with variables.", reference("text")),
            ("resume", "Said when the position is taken up again after an interruption.", reference("text")),
            ("model", "A reply a model writes.", model),
            ("follow_ups", "What a user interface may offer to say next.", reference("texts")),
        ],
    );
    if let Value::Object(shape) = &mut shape {
        let texts = ["exact", "template", "resume", "model"].map(|key| json!({ "required": [key] }));
        shape.insert("oneOf".to_owned(), texts.to_vec().into());
    }
    shape
}

fn enrichment() -> Value {
    closed(
        "Something fetched from outside.",
        &["source", "in"],
        vec![
            text_of_author(),
            ("source", "The source, as the settings name it.", target()),
            ("in", "Where it is fetched.", reference("scope")),
            ("when", "When it is fetched; each turn there if not given.", reference("condition")),
            ("arguments", "What the source is asked with.", arguments()),
            ("timeout", "How long one attempt may take.", reference("duration")),
            ("attempts", "How often it is tried.", whole(1, 10)),
            ("default", "What stands in for it when it is late or fails.", anything()),
            ("keep", "How long the result is kept; for the turn when not given.", words(["turn", "conversation"])),
        ],
    )
}

fn prompt() -> Value {
    let variable = "^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)?$";
    let history = closed(
        "How much of what was said it sees.",
        &[],
        vec![
            ("turns", "How many turns; 6 when not given.", whole(0, 50)),
            ("tokens", "How many estimated tokens; 1000 when not given.", whole(0, 16_384)),
        ],
    );
    closed(
        "What a model is asked.",
        &["purpose", "user"],
        vec![
            text_of_author(),
            ("purpose", "What it is for.", words(Purpose::ALL.map(Purpose::name))),
            ("system", "What the model is told of its task.", reference("text")),
            ("user", "What it is asked.", reference("text")),
            (
                "variables",
                "What it may see: text, slots.name, …",
                many(json!({ "type": "string", "pattern": variable })),
            ),
            ("history", "How much of what was said it sees; nothing when not given.", history),
            ("timeout", "How long one attempt may take.", reference("duration")),
            ("attempts", "How often it is tried.", whole(1, 10)),
            ("max_tokens", "The longest answer; 512 when not given.", whole(1, 32_768)),
        ],
    )
}

fn progress() -> Value {
    closed(
        "What is shown while a stage waits.",
        &["stage", "text"],
        vec![
            ("stage", "The stage.", words(WAITING)),
            ("in", "Where it is shown; everywhere when not given.", reference("scope")),
            ("text", "What is shown.", reference("text")),
        ],
    )
}

fn scripted() -> Value {
    let mut shape = closed(
        "What a scripted model answers.",
        &[],
        vec![
            text_of_author(),
            ("prompt", "The prompt it is for; every prompt when not given.", reference("name")),
            ("purpose", "The purpose it is for; every purpose when not given.", words(Purpose::ALL.map(Purpose::name))),
            ("when", "Patterns, one of which the last message of the user must match.", reference("patterns")),
            ("say", "The text it answers.", reference("text")),
            ("json", "The value it answers.", anything()),
            ("fail", "How it fails.", words(ScriptedFault::ALL.map(ScriptedFault::name))),
            ("delay", "How long it takes before it begins.", reference("duration")),
        ],
    );
    if let Value::Object(shape) = &mut shape {
        let answers = ["say", "json", "fail"].map(|key| json!({ "required": [key] }));
        shape.insert("oneOf".to_owned(), answers.to_vec().into());
    }
    shape
}

fn upgrade() -> Value {
    let renamed = || open(either(vec![reference("name"), json!({ "type": "null" })]));
    closed(
        "How conversations of older revisions move to this one.",
        &["from"],
        vec![
            (
                "from",
                "Older revisions: \"*\", or the first digits of each.",
                many(json!({ "type": "string", "pattern": "^(\\*|[0-9A-Fa-f]{8,64})$" })),
            ),
            ("states", "What positions became.", open(reference("place"))),
            ("slots", "What slots became; null lets go of their values.", renamed()),
            ("flags", "What flags became; null lowers them.", renamed()),
        ],
    )
}
