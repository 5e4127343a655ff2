//! Asking a model which tool is called next, and with what.

use std::sync::Arc;

use colloquy_flow::{ActionIx, Flow, Json, Name, Planner, Schema, Tool};

use crate::{
    event::Reason,
    stages::asking::{self, Asked, Extra},
    work::Work,
};

/// What a model answers when it has seen enough.
const ENOUGH: &str = "none";

/// What a model chose.
pub(super) enum Choice {
    /// To call this, with these values for what it may choose.
    Tool(ActionIx, Vec<(Name, Json)>),
    /// To call nothing more.
    Enough,
    /// What was not offered; the action, if the flow has one of that name.
    Other(Option<ActionIx>),
}

/// Asks which of `offered` is called next. The answer is sent back once when it does not fit.
pub(super) fn ask(work: &mut Work, flow: &Flow, planner: &Planner, offered: &[ActionIx]) -> Asked<Choice> {
    let Some(prompt) = flow.prompt(&planner.prompt) else { return Some(Err(Reason::Prompt)) };
    let extra = Extra {
        values: vec![("allowed".into(), allowed(flow, offered))],
        schema: schema(flow, offered),
        stream: false,
    };
    // The schema tells the model what it may choose. What it chose all the same is not sent back: it is refused, so
    // that the attempt is recorded.
    asking::repaired(work, prompt, &extra, |output| read(flow, offered, &output.text))
}

fn read(flow: &Flow, offered: &[ActionIx], text: &str) -> Result<Choice, String> {
    let value = Json::parse(asking::bare(text)).map_err(|error| error.to_string())?;
    let Json::Object(members) = &value else { return Err("it must be an object".to_owned()) };
    if let Some((key, _)) = members.iter().find(|(key, _)| !["tool", "arguments"].contains(&key.as_ref())) {
        return Err(format!("{key:?} was not asked for"));
    }
    let name = value.get("tool").and_then(Json::as_text).ok_or("it must have \"tool\", a text")?;
    if name == ENOUGH {
        return Ok(Choice::Enough);
    }
    let named = flow.find_action(name);
    let Some(index) = named.filter(|action| offered.contains(action)) else { return Ok(Choice::Other(named)) };
    let given = match value.get("arguments") {
        None | Some(Json::Null) => &[],
        Some(Json::Object(given)) => given.as_slice(),
        Some(_) => return Err("\"arguments\" must be an object".to_owned()),
    };
    let chosen = flow.action(index).tool.as_ref().map_or_else(|| Ok(Vec::new()), |tool| chosen(tool, given));
    Ok(Choice::Tool(index, chosen?))
}

/// The value of each argument the model chooses; nothing else may be given.
fn chosen(tool: &Tool, given: &[(Name, Json)]) -> Result<Vec<(Name, Json)>, String> {
    // A model that must name every argument of every tool writes null for those of others.
    let given: Vec<&(Name, Json)> = given.iter().filter(|(_, value)| *value != Json::Null).collect();
    if let Some((other, _)) = given.iter().find(|(name, _)| !tool.chosen().any(|(known, _)| known == name)) {
        return Err(format!("the argument {other:?} was not asked for"));
    }
    let values = tool.chosen().map(|(name, chosen)| {
        let (_, value) =
            given.iter().find(|(held, _)| held == name).ok_or_else(|| format!("the argument {name:?} is missing"))?;
        let value = chosen.kind.accept(value);
        let value = value.ok_or_else(|| format!("the argument {name:?} does not fit its type or bounds"))?;
        Ok((Arc::clone(name), Json::from(&value)))
    });
    values.collect()
}

/// What may be chosen, as a prompt sees it.
fn allowed(flow: &Flow, offered: &[ActionIx]) -> Json {
    let rows = offered.iter().map(|index| {
        let action = flow.action(*index);
        let meaning = if action.description.is_empty() { &action.label } else { &action.description };
        Json::object([
            ("name".into(), Json::Text(Arc::clone(&action.name))),
            ("meaning".into(), Json::Text(Arc::clone(meaning))),
            ("arguments".into(), Json::object(action.tool.iter().flat_map(properties))),
        ])
    });
    Json::List(rows.collect())
}

/// The schema of an answer. It knows no alternatives, so it has the arguments of every tool and requires none; which
/// of them belong together is checked when the answer is read.
fn schema(flow: &Flow, offered: &[ActionIx]) -> Option<Schema> {
    let text = |value: &str| Json::Text(value.into());
    let actions = || offered.iter().map(|index| flow.action(*index));
    let mut members: Vec<(Name, Json)> = Vec::new();
    for (name, schema) in actions().filter_map(|action| action.tool.as_ref()).flat_map(properties) {
        match members.iter_mut().find(|(held, _)| *held == name) {
            None => members.push((name, schema)),
            // Two tools that mean different things by one name leave it open.
            Some((_, held)) if *held != schema => *held = Json::object([]),
            Some(_) => {}
        }
    }
    let names = actions().map(|action| Json::Text(Arc::clone(&action.name))).chain([text(ENOUGH)]);
    let tool = Json::object([("type".into(), text("string")), ("enum".into(), Json::List(names.collect()))]);
    let arguments = Json::object([("type".into(), text("object")), ("properties".into(), Json::object(members))]);
    Schema::compile(&Json::object([
        ("type".into(), text("object")),
        ("properties".into(), Json::object([("tool".into(), tool), ("arguments".into(), arguments)])),
        ("required".into(), Json::List(vec![text("tool")])),
    ]))
    .ok()
}

/// The schemas of a tool's arguments that a model chooses.
fn properties(tool: &Tool) -> Vec<(Name, Json)> {
    let described = tool.chosen().map(|(name, chosen)| {
        let mut schema = chosen.kind.schema();
        if let (Json::Object(members), false) = (&schema, chosen.description.is_empty()) {
            let description = ("description".into(), Json::Text(Arc::clone(&chosen.description)));
            schema = Json::object(members.iter().cloned().chain([description]));
        }
        (Arc::clone(name), schema)
    });
    described.collect()
}
