//! JSON in what a model wrote: models wrap it in fences and talk around it, whatever they are told.

use colloquy_flow::{Json, Schema, schema::Misfit};

/// Most places in a text that are tried as the beginning of JSON.
const STARTS_MAX: usize = 16;

/// What stands in front of a schema when a model is told to keep to it.
const INSTRUCTION: &str = "Answer with JSON alone: no code fence, no other text. It must fit this JSON Schema:\n";

/// Tells a model to keep to a schema.
pub(crate) fn instruction(schema: &str) -> String {
    format!("{INSTRUCTION}{schema}")
}

/// The JSON in `text`, and where it does not fit `schema`. What fits is preferred to what is merely JSON; a text
/// without any is given back as it is.
pub(crate) fn settle(text: &str, schema: &Schema) -> (String, Option<Misfit>) {
    let mut best: Option<(&str, Misfit)> = None;
    for candidate in std::iter::once(text.trim()).chain(fenced(text)).chain(spans(text)) {
        let Ok(value) = Json::parse(candidate) else { continue };
        match schema.check(&value) {
            Ok(()) => return (candidate.to_owned(), None),
            Err(misfit) => best = best.or(Some((candidate, misfit))),
        }
    }
    let (text, misfit) = best.unwrap_or_else(|| (text.trim(), Misfit { at: "#".to_owned(), rule: "json" }));
    (text.to_owned(), Some(misfit))
}

/// What stands in code fences; a fence's own line may name the language.
fn fenced(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```").skip(1).step_by(2).take(STARTS_MAX);
    blocks.map(|block| {
        block
            .split_once('\n')
            .map_or(
                block,
                |(language, rest)| {
                    if language.trim().bytes().all(|byte| byte.is_ascii_alphanumeric()) { rest } else { block }
                },
            )
            .trim()
    })
}

/// Objects and lists in a text, as far as their brackets tell.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    let found = std::iter::from_fn(move || {
        let (_, from) = rest.split_at(rest.find(['{', '['])?);
        let span = balanced(from);
        // After something whole its inside is not looked into; after something open the next bracket is tried.
        rest = from.get(span.map_or(1, str::len)..)?;
        Some(span)
    });
    found.take(STARTS_MAX).flatten()
}

/// The beginning of `text` up to the bracket that closes its first one.
fn balanced(text: &str) -> Option<&str> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return text.get(..=place);
                }
            }
            _ => {}
        }
    }
    None
}
