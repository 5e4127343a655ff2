//! Prompts: what a model is told. They see an allowlist of variables and nothing else.

use std::{
    collections::BTreeMap,
    fmt::{self, Display as _},
    sync::Arc,
};

use minijinja::{
    Value,
    value::{Enumerator, Object, ObjectRepr},
};

use crate::{
    calls::Patience,
    json::Json,
    parts::Name,
    template::{TemplateRef, Templates, Unrenderable},
};

/// What a prompt is for: which model it goes to is a matter of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Choose among what is allowed.
    Classify,
    /// Read values.
    Extract,
    /// Write a reply.
    Respond,
    /// Shorten what was said.
    Summarise,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 4] = [Self::Classify, Self::Extract, Self::Respond, Self::Summarise];

    /// The purpose's name as flows and settings write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Extract => "extract",
            Self::Respond => "respond",
            Self::Summarise => "summarise",
        }
    }

    /// The purpose with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// How much of what was said goes along, the newest first. Both bounds hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryWindow {
    /// Most turns.
    pub turns: u16,
    /// Most tokens, estimated by [`tokens_of`].
    pub tokens: u32,
}

/// A prompt.
#[derive(Clone, Debug)]
pub struct PromptPart {
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub purpose: Purpose,
    /// The instructions.
    pub system: Option<TemplateRef>,
    /// What is asked.
    pub user: TemplateRef,
    /// The variables it may see, ordered: `text`, `slots.name`, `enrich.name`, …
    pub variables: Vec<Name>,
    /// How much of what was said goes along.
    pub history: HistoryWindow,
    /// How long and how often it is tried.
    pub patience: Patience,
    /// Longest answer, in tokens.
    pub tokens_max: u32,
}

/// Variables that a prompt may be allowed to see, besides `slots.<name>`, `enrich.<name>`, `result.<action>`
/// and `data.<name>`.
pub const PROMPT_VARIABLES: [&str; 11] =
    ["act", "allowed", "answer", "called", "flags", "intent", "missing", "options", "state", "summary", "text"];

/// Estimates the tokens of a text: one for each four bytes, rounded up. Tokenisers differ; this never needs
/// the model and never differs between two runs.
pub fn tokens_of(text: &str) -> u32 {
    u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX)
}

impl PromptPart {
    /// Whether the prompt may see a variable.
    pub fn allows(&self, variable: &str) -> bool {
        self.variables.binary_search_by(|allowed| allowed.as_ref().cmp(variable)).is_ok()
    }

    /// Renders system and user text. Only allowed variables of `values` are seen; anything else is undefined.
    ///
    /// # Errors
    /// [`Unrenderable`]: a variable is not allowed or has no value, or the text is too long.
    pub fn render(
        &self,
        templates: &Templates,
        values: impl IntoIterator<Item = (Name, Json)>,
    ) -> Result<(Option<String>, String), Unrenderable> {
        let seen = Arc::new(Seen(values.into_iter().filter(|(name, _)| self.allows(name)).collect()));
        let system = self.system.as_ref().map(|text| templates.render_with(text, Arc::clone(&seen))).transpose()?;
        Ok((system, templates.render_with(&self.user, seen)?))
    }
}

/// Values by dotted name, as a template looks them up.
#[derive(Debug)]
struct Seen(BTreeMap<Name, Json>);

impl Object for Seen {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        look_up(&self.0, key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

/// The value of a name, or an object of the values whose names begin with it and a point.
pub(crate) fn look_up(values: &BTreeMap<Name, Json>, key: &str) -> Option<Value> {
    if let Some(value) = values.get(key) {
        return Some(value_of(value));
    }
    let prefix = format!("{key}.");
    let members: BTreeMap<Name, Json> = values
        .iter()
        .filter_map(|(name, value)| Some((Name::from(name.strip_prefix(&prefix)?), value.clone())))
        .collect();
    (!members.is_empty()).then(|| Value::from_object(Seen(members)))
}

/// A value as templates see it. Decimals are texts, so that none becomes a float; lists and objects can be
/// looked into, and are written as JSON.
pub(crate) fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Boolean(truth) => Value::from(*truth),
        Json::Integer(number) => Value::from(*number),
        Json::Decimal(number) => Value::from(number.to_string()),
        Json::Text(text) => Value::from(Arc::clone(text)),
        Json::List(_) | Json::Object(_) => Value::from_object(Structure(json.clone())),
    }
}

#[derive(Debug)]
struct Structure(Json);

impl Object for Structure {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if matches!(self.0, Json::List(_)) { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match &self.0 {
            Json::List(items) => items.get(key.as_usize()?).map(value_of),
            structure => structure.get(key.as_str()?).map(value_of),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.0 {
            Json::List(items) => Enumerator::Seq(items.len()),
            Json::Object(entries) => {
                Enumerator::Values(entries.iter().map(|(key, _)| Value::from(Arc::clone(key))).collect())
            }
            _ => Enumerator::NonEnumerable,
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
