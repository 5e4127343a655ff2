//! Asking a model: renders the prompt from what it may see, and reads what comes back.

use std::sync::Arc;

use colloquy_flow::{Flow, Json, ModelChoice, Name, PromptPart, Redaction, Schema};

use crate::{
    effect::{EffectKind, EffectValue, ModelMessage, ModelOutput, ModelRequest, Role},
    event::Reason,
    work::Work,
};

/// Something a model was asked. `None` while the answer is awaited.
pub(super) type Asked<T> = Option<Result<T, Reason>>;

/// What a prompt is asked with, besides what the turn holds.
#[derive(Default)]
pub(super) struct Extra {
    /// More variables.
    pub(super) values: Vec<(Name, Json)>,
    /// The schema of the answer.
    pub(super) schema: Option<Schema>,
    /// Whether the user may see the answer while it is being written.
    pub(super) stream: bool,
}

/// Asks for a text.
pub(super) fn text(work: &mut Work, prompt: &PromptPart, extra: &Extra) -> Asked<ModelOutput> {
    match request(work, prompt, extra) {
        Ok(request) => send(work, request),
        Err(reason) => Some(Err(reason)),
    }
}

/// Asks for JSON. An answer that `check` refuses is sent back once with what is wrong with it.
pub(super) fn json<T>(
    work: &mut Work,
    prompt: &PromptPart,
    extra: &Extra,
    check: impl Fn(&Json) -> Result<T, String>,
) -> Asked<T> {
    repaired(work, prompt, extra, |output| {
        let value = Json::parse(bare(&output.text)).map_err(|error| {
            let cut = if output.truncated { "it is too long and was cut off; " } else { "" };
            format!("{cut}{error}")
        })?;
        if let Some(schema) = &extra.schema {
            schema.check(&value).map_err(|misfit| misfit.to_string())?;
        }
        check(&value)
    })
}

/// Asks for an answer that `check` takes. One that it refuses is sent back once with what is wrong with it.
pub(super) fn repaired<T>(
    work: &mut Work,
    prompt: &PromptPart,
    extra: &Extra,
    check: impl Fn(&ModelOutput) -> Result<T, String>,
) -> Asked<T> {
    let first = match request(work, prompt, extra) {
        Ok(request) => request,
        Err(reason) => return Some(Err(reason)),
    };
    let output = match send(work, first.clone())? {
        Ok(output) => output,
        Err(reason) => return Some(Err(reason)),
    };
    let fault = match check(&output) {
        Ok(value) => return Some(Ok(value)),
        Err(fault) => fault,
    };
    let mut again = first;
    let shown = work.redaction().text(&output.text).into_owned();
    again.messages.push(ModelMessage { role: Role::Assistant, text: shown });
    again.messages.push(ModelMessage {
        role: Role::User,
        text: format!("That answer cannot be used: {fault}. Answer again, with nothing but the corrected answer."),
    });
    again.stream = false;
    match send(work, again)? {
        Ok(output) => Some(check(&output).map_err(|_| Reason::Malformed)),
        Err(reason) => Some(Err(reason)),
    }
}

fn send(work: &mut Work, request: ModelRequest) -> Asked<ModelOutput> {
    match work.ask(EffectKind::Model(Arc::new(request)))? {
        EffectValue::Model(Ok(output)) => Some(Ok(output)),
        EffectValue::Model(Err(failure)) => Some(Err(failure.into())),
        _ => Some(Err(Reason::Malformed)),
    }
}

/// Models like to wrap JSON in a fence, whatever they are told.
pub(super) fn bare(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    inner.and_then(|inner| inner.strip_suffix("```")).map_or(text, str::trim)
}

fn request(work: &Work, prompt: &PromptPart, extra: &Extra) -> Result<ModelRequest, Reason> {
    let flow = &work.flow;
    let redaction = work.redaction();
    let seen = visible(work).into_iter().chain(extra.values.iter().cloned());
    let redacted = seen.filter(|(name, _)| prompt.allows(name)).map(|(name, value)| {
        let last = name.rsplit('.').next().unwrap_or_default();
        let value = redaction.value(last, &value);
        (name, value)
    });
    let values: Vec<(Name, Json)> = redacted.collect();
    let variables = values.iter().map(|(name, _)| Arc::clone(name)).collect();
    let (system, user) = prompt.render(flow.templates(), values).map_err(|_| Reason::Prompt)?;
    let mut messages = Vec::new();
    messages.extend(system.map(|text| ModelMessage { role: Role::System, text }));
    messages.extend(history(work, prompt, &redaction));
    messages.push(ModelMessage { role: Role::User, text: user });
    Ok(ModelRequest {
        prompt: Arc::clone(&prompt.name),
        purpose: prompt.purpose,
        messages,
        schema: extra.schema.as_ref().map(|schema| Arc::clone(schema.source())),
        stream: extra.stream,
        patience: prompt.patience,
        tokens_max: prompt.tokens_max,
        variables,
    })
}

/// What was said, the newest that fits the prompt's window, oldest first.
fn history(work: &Work, prompt: &PromptPart, redaction: &Redaction) -> Vec<ModelMessage> {
    let mut left = prompt.history.tokens;
    let mut messages = Vec::new();
    for exchange in work.state().history().iter().rev().take(usize::from(prompt.history.turns)) {
        let tokens = colloquy_flow::tokens_of(&exchange.user) + colloquy_flow::tokens_of(&exchange.assistant);
        if tokens > left {
            break;
        }
        left -= tokens;
        // Newest first here; turned round below.
        let said = |role, text: &str| ModelMessage { role, text: redaction.text(text).into_owned() };
        messages.push(said(Role::Assistant, &exchange.assistant));
        // Where a timer spoke, nobody had said anything.
        if !exchange.user.is_empty() {
            messages.push(said(Role::User, &exchange.user));
        }
    }
    messages.reverse();
    messages
}

/// Everything the turn holds, by the names prompts use; the allowlist picks from it.
fn visible(work: &Work) -> Vec<(Name, Json)> {
    let flow = &work.flow;
    let heading = flow.state(work.candidate);
    let text = |value: &str| Json::Text(value.into());
    let names = |names: &[Name]| Json::List(names.iter().map(|name| Json::Text(Arc::clone(name))).collect());
    let mut values: Vec<(Name, Json)> = vec![
        ("text".into(), text(work.said())),
        ("act".into(), text(work.act_name())),
        ("intent".into(), Json::Text(Arc::clone(&heading.intent_name))),
        ("state".into(), Json::Text(Arc::clone(&heading.name))),
        ("flags".into(), names(work.state().flags())),
        ("missing".into(), names(&work.missing)),
        ("summary".into(), text(work.state().summary().unwrap_or_default())),
        ("called".into(), work.plan.called()),
    ];
    for (slot, value) in work.state().slots() {
        let secret = flow.find_slot(slot).is_none_or(|slot| flow.slot(slot).secret);
        let value = if secret { text(colloquy_flow::redact::REDACTED) } else { Json::from(value) };
        values.push((format!("slots.{slot}").into(), value));
    }
    for (kind, held) in [("enrich", &work.enrich), ("result", &work.result)] {
        values.extend(held.iter().map(|(name, value)| (format!("{kind}.{name}").into(), value.clone())));
    }
    let kept = work.state().data().iter();
    values.extend(kept.map(|(name, value)| (format!("data.{name}").into(), value.clone())));
    values
}

/// Asks a model to choose one of `allowed`, each with what it means. Gives the name it chose, which need
/// not be one of them, and how sure it is; no name when it chose none or is not sure enough.
pub(super) fn choice(
    work: &mut Work,
    flow: &Flow,
    settings: &ModelChoice,
    key: &str,
    allowed: &[(Name, Name)],
) -> Asked<Option<(String, u8)>> {
    let Some(prompt) = flow.prompt(&settings.prompt) else { return Some(Err(Reason::Prompt)) };
    let rows = allowed.iter().map(|(name, meaning)| {
        Json::object([
            (Name::from("name"), Json::Text(Arc::clone(name))),
            (Name::from("meaning"), Json::Text(Arc::clone(meaning))),
        ])
    });
    let names = allowed.iter().map(|(name, _)| Json::Text(Arc::clone(name)));
    let names = names.chain([Json::Text("none".into())]).collect();
    let extra = Extra {
        values: vec![("allowed".into(), Json::List(rows.collect()))],
        schema: choice_schema(key, names),
        stream: false,
    };
    // The schema tells the model what it may choose. What it chose all the same is for the transition
    // stage to refuse, so that the attempt is recorded.
    let threshold = settings.threshold;
    let answer = repaired(work, prompt, &extra, |output| {
        let value = Json::parse(bare(&output.text)).map_err(|error| error.to_string())?;
        match (value.get(key).and_then(Json::as_text), value.get("confidence")) {
            (Some(name), Some(Json::Integer(sure))) => match u8::try_from(*sure) {
                Ok(sure) if sure <= 100 => Ok((name.to_owned(), sure)),
                _ => Err("confidence is 0 to 100".to_owned()),
            },
            _ => Err(format!("it must be an object with {key:?}, a text, and \"confidence\", a whole number")),
        }
    });
    answer.map(|answer| answer.map(|(name, sure)| (name != "none" && sure >= threshold).then_some((name, sure))))
}

fn choice_schema(key: &str, names: Vec<Json>) -> Option<Schema> {
    let text = |value: &str| Json::Text(value.into());
    let object = |entries: Vec<(&str, Json)>| Json::object(entries.into_iter().map(|(key, value)| (key.into(), value)));
    let confidence = vec![("type", text("integer")), ("minimum", Json::Integer(0)), ("maximum", Json::Integer(100))];
    let chosen = object(vec![("type", text("string")), ("enum", Json::List(names))]);
    let properties = object(vec![(key, chosen), ("confidence", object(confidence))]);
    let required = Json::List(vec![text(key), text("confidence")]);
    let schema = vec![("type", text("object")), ("properties", properties), ("required", required)];
    Schema::compile(&object(schema)).ok()
}
