//! What comes from outside: enrichments, prompts, and how both are bounded.

use colloquy_flow::{HistoryWindow, Json, Name, Patience, Pattern, Purpose, Schema, SummaryPart};

use crate::{
    fault::{At, Faults},
    node::{Key, Node, Value},
    read::planners,
    reader::{self, Fields},
    source::{SourceArgument, SourceEnrichment, SourceProgress, SourcePrompt},
};

/// Stages that may wait for something outside.
pub(crate) const WAITING: [&str; 8] =
    ["dialogue_act", "intent", "enrich", "extract", "plan", "act", "respond", "summarise"];

const ENRICHMENT_KEYS: [&str; 9] =
    ["description", "source", "in", "when", "arguments", "timeout", "attempts", "default", "keep"];

pub(super) fn enrichments(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceEnrichment> {
    let entries = node.and_then(|node| reader::map(node, "enrichments", faults)).unwrap_or_default();
    entries.iter().filter_map(|(key, node)| enrichment(key, node, faults)).collect()
}

fn enrichment(key: &Key, node: &Node, faults: &mut Faults) -> Option<SourceEnrichment> {
    let name = declared(key, "an enrichment", faults);
    let fields = Fields::of(node, "an enrichment", &ENRICHMENT_KEYS, faults)?;
    let source = fields.required("source", "name the source, as the settings do: source: crm", faults);
    let source = source.and_then(|node| target(node, "the source", faults));
    let scope = fields.required("in", "say where it is fetched: in: intent.state, or any", faults);
    let scope = scope.and_then(|node| reader::scope(node, "in", faults));
    let (patience, has_timeout) = patience(&fields, faults);
    let keep = match fields.get("keep").and_then(|node| reader::text(node, "keep", faults)) {
        None => false,
        Some(said) if said.value == "turn" => false,
        Some(said) if said.value == "conversation" => true,
        Some(said) => {
            let message = format!("there is no such time as {:?}", said.value);
            faults.error("bad-value", &said.mark, message, "write keep: turn, or keep: conversation");
            false
        }
    };
    Some(SourceEnrichment {
        name: name?,
        source: source?,
        scope: scope?,
        when: reader::condition(fields.get("when"), "when", faults),
        arguments: arguments(fields.get("arguments"), faults),
        patience,
        has_timeout,
        default: fields.get("default").and_then(|node| json(node, "default", faults)),
        keep,
    })
}

pub(super) fn declared(key: &Key, what: &str, faults: &mut Faults) -> Option<At<Name>> {
    let value = reader::name(&key.text, &key.mark, what, false, faults)?;
    Some(At { value, mark: key.mark.clone() })
}

/// The name of a source or tool of the settings.
pub(super) fn target(node: &Node, what: &str, faults: &mut Faults) -> Option<Name> {
    let said = reader::text(node, what, faults)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    if !said.value.is_empty() && said.value.len() <= 128 && said.value.bytes().all(fits) {
        return Some(said.value.into());
    }
    let fix = "use 1 to 128 letters, digits, \"_\", \"-\", \".\" and \"/\"";
    faults.error("bad-name", &said.mark, format!("{what} is {:?}", said.value), fix);
    None
}

/// `timeout` and `attempts`, and whether the first was written.
pub(super) fn patience(fields: &Fields<'_>, faults: &mut Faults) -> (Patience, bool) {
    let default = Patience::default();
    let timeout = reader::duration(fields.get("timeout"), "timeout", faults);
    let attempts = reader::integer(fields.get("attempts"), "attempts", 1..=10, faults);
    let patience = Patience {
        timeout: timeout.unwrap_or(default.timeout),
        attempts: attempts.and_then(|attempts| u8::try_from(attempts).ok()).unwrap_or(default.attempts),
    };
    (patience, fields.get("timeout").is_some())
}

/// A value of any shape.
pub(crate) fn json(node: &Node, what: &str, faults: &mut Faults) -> Option<Json> {
    let value = node.to_json();
    if value.is_none() {
        let fix = "use at most 16 levels and 10,000 values, and numbers with at most six digits after the point";
        faults.error("bad-value", &node.mark, format!("{what} cannot be held"), fix);
    }
    value
}

/// A JSON Schema.
pub(super) fn schema(node: &Node, faults: &mut Faults) -> Option<Schema> {
    let value = json(node, "the schema", faults)?;
    match Schema::compile(&value) {
        Ok(schema) => Some(schema),
        Err(error) => {
            let fix = format!("schemas may use {}", colloquy_flow::schema::KEYWORDS.join(", "));
            faults.error("bad-schema", &node.mark, format!("the schema is not valid {error}"), fix);
            None
        }
    }
}

pub(super) fn arguments(node: Option<&Node>, faults: &mut Faults) -> Vec<(Name, SourceArgument)> {
    let entries = node.and_then(|node| reader::map(node, "arguments", faults)).unwrap_or_default();
    let mut arguments = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let name = reader::name(&key.text, &key.mark, "an argument", true, faults);
        let argument = argument(node, faults);
        arguments.extend(name.zip(argument));
    }
    arguments
}

/// `{slot: name}`, `{template: text}`, `{value: anything}`, `{chosen: {type: …}}`, or a plain value.
fn argument(node: &Node, faults: &mut Faults) -> Option<SourceArgument> {
    let Value::Map(_) = node.value else { return json(node, "an argument", faults).map(SourceArgument::Value) };
    let fields = Fields::of(node, "an argument", &["slot", "template", "value", "chosen"], faults)?;
    match (fields.get("slot"), fields.get("template"), fields.get("value"), fields.get("chosen")) {
        (Some(node), None, None, None) => reader::reference(node, "a slot", faults).map(SourceArgument::Slot),
        (None, Some(node), None, None) => reader::reply(node, "the template", faults).map(SourceArgument::Template),
        (None, None, Some(node), None) => json(node, "the value", faults).map(SourceArgument::Value),
        (None, None, None, Some(said)) => {
            let value = planners::chosen(said, faults)?;
            Some(SourceArgument::Chosen(At { value, mark: said.mark.clone() }))
        }
        _ => {
            let fix = "write {slot: name}, {template: \"…\"}, {value: …} or {chosen: {type: string}}";
            faults.error("bad-value", fields.mark, "an argument comes from one source", fix);
            None
        }
    }
}

const PROMPT_KEYS: [&str; 9] =
    ["description", "purpose", "system", "user", "variables", "history", "timeout", "attempts", "max_tokens"];

pub(super) fn prompts(node: Option<&Node>, faults: &mut Faults) -> Vec<SourcePrompt> {
    let entries = node.and_then(|node| reader::map(node, "prompts", faults)).unwrap_or_default();
    entries.iter().filter_map(|(key, node)| prompt(key, node, faults)).collect()
}

fn prompt(key: &Key, node: &Node, faults: &mut Faults) -> Option<SourcePrompt> {
    let name = declared(key, "a prompt", faults);
    let fields = Fields::of(node, "a prompt", &PROMPT_KEYS, faults)?;
    let purpose = fields.required("purpose", "write purpose: respond, classify, extract or summarise", faults);
    let purpose = purpose.and_then(|node| purpose_of(node, faults));
    let user = fields.required("user", "say what is asked: user: \"{{ text }}\"", faults);
    let user = user.and_then(|node| reader::reply(node, "user", faults));
    let variables = fields.get("variables").into_iter().flat_map(reader::list);
    let variables: Vec<At<Name>> = variables.filter_map(|item| variable(item, faults)).collect();
    let (patience, _) = patience(&fields, faults);
    let tokens = reader::integer(fields.get("max_tokens"), "max_tokens", 1..=32_768, faults).unwrap_or(512);
    Some(SourcePrompt {
        name: name?,
        purpose: purpose?,
        system: fields.get("system").and_then(|node| reader::reply(node, "system", faults)),
        user: user?,
        variables,
        history: history(fields.get("history"), faults),
        patience,
        tokens_max: u32::try_from(tokens).unwrap_or(512),
    })
}

pub(super) fn purpose_of(node: &Node, faults: &mut Faults) -> Option<Purpose> {
    let said = reader::text(node, "the purpose", faults)?;
    let found = Purpose::parse(&said.value);
    if found.is_none() {
        let message = format!("there is no purpose {:?}", said.value);
        faults.error("bad-value", &said.mark, message, "write respond, classify, extract or summarise");
    }
    found
}

/// `text`, `slots.name`, …: a name, perhaps with a member.
fn variable(node: &Node, faults: &mut Faults) -> Option<At<Name>> {
    let said = reader::text(node, "a variable", faults)?;
    for part in said.value.splitn(2, '.') {
        reader::name(part, &said.mark, "a variable", false, faults)?;
    }
    Some(At { value: said.value.into(), mark: said.mark })
}

fn history(node: Option<&Node>, faults: &mut Faults) -> HistoryWindow {
    let Some(fields) = node.and_then(|node| Fields::of(node, "history", &["turns", "tokens"], faults)) else {
        return HistoryWindow::default();
    };
    let turns = reader::integer(fields.get("turns"), "turns", 0..=50, faults).unwrap_or(6);
    let tokens = reader::integer(fields.get("tokens"), "tokens", 0..=16_384, faults).unwrap_or(1000);
    HistoryWindow { turns: u16::try_from(turns).unwrap_or(6), tokens: u32::try_from(tokens).unwrap_or(1000) }
}

/// Keys and patterns that are redacted from prompts.
pub(super) fn redaction(node: Option<&Node>, faults: &mut Faults) -> (Vec<String>, Vec<Pattern>) {
    let Some(fields) = node.and_then(|node| Fields::of(node, "redact", &["keys", "patterns"], faults)) else {
        return Default::default();
    };
    let keys = fields.get("keys").into_iter().flat_map(reader::list);
    let keys = keys.filter_map(|item| reader::reply(item, "a key", faults)).map(|said| said.value).collect();
    let patterns = fields.get("patterns").into_iter().flat_map(reader::list);
    (keys, patterns.filter_map(|item| reader::pattern(item, "a pattern", faults)).collect())
}

/// The prompt by which a model reads slots.
pub(super) fn extract(node: Option<&Node>, faults: &mut Faults) -> Option<At<Name>> {
    let fields = Fields::of(node?, "extract", &["prompt"], faults)?;
    let prompt = fields.required("prompt", "name one of the prompts: prompt: read_slots", faults)?;
    reader::reference(prompt, "a prompt", faults)
}

pub(super) fn summary(node: Option<&Node>, faults: &mut Faults) -> Option<At<SummaryPart>> {
    let fields = Fields::of(node?, "summary", &["prompt", "every_turns", "max_chars"], faults)?;
    let prompt = fields.required("prompt", "name one of the prompts: prompt: summarise", faults);
    let prompt = prompt.and_then(|node| reader::reference(node, "a prompt", faults))?;
    let every = reader::integer(fields.get("every_turns"), "every_turns", 1..=1000, faults).unwrap_or(6);
    let chars = reader::integer(fields.get("max_chars"), "max_chars", 1..=16_384, faults).unwrap_or(1000);
    let summary = SummaryPart {
        prompt: prompt.value,
        every_turns: u32::try_from(every).unwrap_or(6),
        chars_max: u32::try_from(chars).unwrap_or(1000),
    };
    Some(At { value: summary, mark: prompt.mark })
}

pub(super) fn progress(node: Option<&Node>, faults: &mut Faults) -> Vec<SourceProgress> {
    let mut rows = Vec::new();
    for item in node.into_iter().flat_map(reader::list) {
        let Some(fields) = Fields::of(item, "a progress message", &["stage", "in", "text"], faults) else { continue };
        let stage = fields.required("stage", "name the stage that may wait: stage: respond", faults);
        let stage = stage.and_then(|node| reader::text(node, "the stage", faults));
        let scope = match fields.get("in") {
            None => Some(reader::Written::Everywhere),
            Some(node) => reader::scope(node, "in", faults),
        };
        let text = fields.required("text", "write what is shown", faults);
        let text = text.and_then(|node| reader::reply(node, "the text", faults));
        if let Some(said) = stage.as_ref().filter(|said| !WAITING.contains(&said.value.as_str())) {
            let message = format!("the stage {:?} never waits", said.value);
            faults.error("bad-value", &said.mark, message, format!("write one of {}", WAITING.join(", ")));
            continue;
        }
        if let (Some(stage), Some(scope), Some(text)) = (stage, scope, text) {
            rows.push(SourceProgress { stage: stage.value.into(), scope, text: text.value.into() });
        }
    }
    rows
}
