//! The top of a flow's file, and what stands there only once.

use colloquy_flow::{Act, BusyPolicy};
use serde_json::{Value, json};

use super::{boolean, closed, either, many, one_of, open, reference, table, text_of_author, whole, words};
use crate::read::FORMAT;

pub(super) fn shape() -> Value {
    closed(
        "A flow, or a part of one.",
        &[],
        vec![
            ("format", "The format; required in one of the files.", json!({ "const": FORMAT })),
            (
                "name",
                "The flow's name; required.",
                json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$" }),
            ),
            text_of_author(),
            ("start", "The position conversations begin in; required.", reference("place")),
            ("fallback", "Said when nothing else can be; required.", reference("text")),
            ("clarify", "Asks which of several pending actions is meant; a template with options.", reference("text")),
            (
                "busy",
                "What becomes of a turn that finds the conversation busy; enqueue when not given.",
                words(BusyPolicy::ALL.map(BusyPolicy::name)),
            ),
            ("limits", "Bounds of one turn.", limits()),
            ("guard", "What is refused or flagged.", guard()),
            ("acts", "Patterns of the dialogue acts; one that is not given has English defaults.", acts()),
            ("understanding", "How intents are told apart.", understanding()),
            ("flags", "What rules may raise and lower.", many(either(vec![reference("name"), reference("flag")]))),
            ("slots", "Typed values the conversation collects.", table(reference("slot"))),
            ("extract", "Reads slots by a model.", prompted("Reads slots by a model.")),
            ("intents", "What users may want; required.", table(reference("intent"))),
            ("transitions", "Which moves are declared, and for whom.", many(reference("transition"))),
            ("rules", "What follows from what.", many(reference("rule"))),
            ("enrichments", "What is fetched from outside.", table(reference("enrichment"))),
            ("actions", "What the conversation can do.", table(reference("action"))),
            ("planners", "Where a model chooses which tools are called.", table(reference("planner"))),
            ("responses", "What is said; the first row whose condition holds.", many(reference("response"))),
            ("prompts", "What models are asked.", table(reference("prompt"))),
            ("redact", "What never reaches a prompt.", redact()),
            ("summary", "The running summary.", summary()),
            ("progress", "What a user interface shows while a stage waits.", many(reference("progress"))),
            ("scripted", "What a scripted model answers; the first rule that fits.", many(reference("scripted"))),
            ("upgrades", "How conversations of older revisions move to this one.", many(reference("upgrade"))),
        ],
    )
}

pub(super) fn limits() -> Value {
    closed(
        "Bounds of one turn.",
        &[],
        vec![
            ("rule_passes", "How often the rules may run over; 8 when not given.", whole(1, 32)),
            ("digression_depth", "How many interrupted positions are remembered; 3 when not given.", whole(0, 8)),
            ("pending_actions", "How many actions may wait for a confirmation; 4 when not given.", whole(1, 8)),
            ("action_calls", "How many actions may run.", whole(1, 32)),
            ("text_chars", "The longest input; 4000 when not given.", whole(1, 16_384)),
            (
                "turn_deadline",
                "What a turn may take when its client sets no deadline; 10s when not given.",
                reference("duration"),
            ),
        ],
    )
}

fn guard() -> Value {
    closed(
        "What is refused or flagged.",
        &[],
        vec![
            ("policies", "What is looked for, and what follows.", many(policy())),
            ("steering", "The score for attempts to steer a model.", steering()),
        ],
    )
}

fn policy() -> Value {
    closed(
        "A policy: what it looks for, and one of block and flag.",
        &["id"],
        vec![
            ("id", "Its id; traces name it.", reference("id")),
            text_of_author(),
            ("enabled", "Whether it holds; true when not given.", boolean()),
            ("patterns", "Patterns it looks for.", reference("patterns")),
            ("contains", "Texts it looks for anywhere.", reference("texts")),
            ("prefix", "Texts it looks for at the beginning.", reference("texts")),
            ("longer_than", "How many characters are too many.", whole(1, 16_384)),
            ("block", "What is said instead.", reference("text")),
            ("flag", "The flag that is raised.", reference("name")),
        ],
    )
}

fn steering() -> Value {
    let sign = closed(
        "A sign of an attempt.",
        &["id", "pattern"],
        vec![
            ("id", "Its id; traces name it.", reference("id")),
            ("pattern", "What it looks like.", reference("pattern")),
            ("weight", "What it weighs, in percent; 50 when not given.", reference("percent")),
        ],
    );
    closed(
        "The score for attempts to steer a model.",
        &[],
        vec![
            ("enabled", "Whether it holds; true when not given.", boolean()),
            ("builtin", "Whether the signs that come with the program count; true when not given.", boolean()),
            ("signs", "More signs.", many(sign)),
            ("flag_at", "From which score the flag is raised; 40 when not given.", reference("percent")),
            ("flag", "The flag.", reference("name")),
            ("block_at", "From which score the input is refused; 70 when not given.", reference("percent")),
            ("block", "What is said then.", reference("text")),
        ],
    )
}

fn acts() -> Value {
    let sure = closed(
        "A pattern, and how sure it makes.",
        &["pattern"],
        vec![
            ("pattern", "The pattern.", reference("pattern")),
            ("confidence", "How sure it makes, in percent; 100 when not given.", reference("percent")),
        ],
    );
    let patterns = many(either(vec![reference("pattern"), sure]));
    let mut keys: Vec<_> = Act::ALL.iter().map(|act| (act.name(), "", patterns.clone())).collect();
    keys.push(("model", "Asks a model when patterns are not sure enough.", choice()));
    closed("Patterns of the dialogue acts.", &[], keys)
}

fn choice() -> Value {
    closed(
        "How a model chooses.",
        &["prompt"],
        vec![
            ("prompt", "The prompt it is asked with.", reference("name")),
            ("below", "Asked when nothing else is as sure, in percent.", reference("percent")),
            ("threshold", "How sure it must be, in percent; 60 when not given.", reference("percent")),
        ],
    )
}

fn understanding() -> Value {
    let likeness = closed(
        "How near an input must be to an example.",
        &[],
        vec![
            ("min", "How like it must be, in percent.", reference("percent")),
            ("margin", "How much more than to any other intent, in percent.", whole(0, 50)),
        ],
    );
    let asked = closed(
        "Asks which is meant by a prompt.",
        &["prompt"],
        vec![
            ("prompt", "The prompt.", reference("name")),
            ("max_chars", "The longest question; 400 when not given.", whole(1, 16_384)),
        ],
    );
    closed(
        "How intents are told apart.",
        &[],
        vec![
            ("examples", "How near an input must be to an example.", likeness),
            (
                "collision",
                "Asks which of several equal intents is meant; a template with options, or a prompt.",
                either(vec![reference("text"), asked]),
            ),
            ("model", "Asks a model for the intent when nothing else is sure enough.", choice()),
            ("sticky", "How sure another intent must be to take over, in percent.", reference("percent")),
            ("let_go", "Patterns that let go of the current intent.", reference("patterns")),
        ],
    )
}

fn prompted(what: &str) -> Value {
    closed(what, &["prompt"], vec![("prompt", "The prompt.", reference("name"))])
}

fn redact() -> Value {
    closed(
        "What never reaches a prompt.",
        &[],
        vec![
            ("keys", "Names of keys whose values are secret.", reference("texts")),
            ("patterns", "What secrets look like.", reference("patterns")),
        ],
    )
}

fn summary() -> Value {
    closed(
        "The running summary.",
        &["prompt"],
        vec![
            ("prompt", "The prompt it is written with.", reference("name")),
            ("every_turns", "How many turns come to it; 6 when not given.", whole(1, 1000)),
            ("max_chars", "The longest summary; 1000 when not given.", whole(1, 16_384)),
        ],
    )
}

/// Arguments of a source or a tool.
pub(super) fn arguments() -> Value {
    let written = one_of(
        "Where an argument comes from.",
        vec![
            ("slot", "A slot's value.", reference("name")),
            ("template", "A text with variables.", reference("text")),
            ("value", "A value as it stands.", json!({})),
            ("chosen", "What a model chooses; the action is then a planner's alone.", reference("chosen")),
        ],
    );
    open(either(vec![json!({ "not": { "type": "object" } }), written]))
}
