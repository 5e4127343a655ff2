//! What never reaches a prompt: values under keys that look secret, and texts that look like secrets.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use crate::{json::Json, pattern::Pattern};

/// What stands in for something redacted.
pub const REDACTED: &str = "[redacted]";

/// Parts of names that make a value secret, in lower case, without separators.
const SECRET_KEYS: [&str; 18] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "authorisation",
    "credential",
    "cookie",
    "sessionid",
    "cvv",
    "cvc",
    "cardnumber",
    "iban",
    "ssn",
];

/// Texts that look like secrets: keys of common services, bearer and JSON web tokens, private keys, payment
/// cards.
const SECRET_TEXTS: [&str; 7] = [
    r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)?[-_]?[a-z0-9_-]{16,}\b",
    r"\b(?:ghp|gho|ghs|ghu|glpat|xox[abprs])[-_][a-z0-9_-]{16,}\b",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bbearer\s+[a-z0-9._~+/-]{12,}=*",
    r"\beyJ[a-z0-9_-]{8,}\.[a-z0-9_-]{8,}\.[a-z0-9_-]{4,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    r"\b(?:\d[ -]?){12,18}\d\b",
];

static BUILT_IN: LazyLock<Vec<Pattern>> =
    LazyLock::new(|| SECRET_TEXTS.iter().filter_map(|source| Pattern::compile(source).ok()).collect());

/// What a flow redacts, besides what always is.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    keys: Vec<String>,
    patterns: Vec<Pattern>,
    known: Vec<String>,
}

/// Fewest letters of a secret that is looked for by its own text.
const KNOWN_CHARS_MIN: usize = 4;

impl Redaction {
    /// Redacts values under keys with one of `keys` in their name, and matches of `patterns`.
    pub fn new(keys: &[String], patterns: Vec<Pattern>) -> Self {
        Self { keys: keys.iter().map(|key| bare(key)).collect(), patterns, known: Vec::new() }
    }

    /// Whether a value of this name is secret.
    pub fn is_secret(&self, name: &str) -> bool {
        let name = bare(name);
        let declared = self.keys.iter().map(String::as_str);
        SECRET_KEYS.into_iter().chain(declared).any(|part| name.contains(part))
    }

    /// The text without what looks like a secret.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let known = self.known.iter().fold(Cow::Borrowed(text), |text, known| {
            if text.contains(known) { Cow::Owned(text.replace(known, REDACTED)) } else { text }
        });
        BUILT_IN.iter().chain(&self.patterns).fold(known, |text, pattern| match pattern.replace_all(&text, REDACTED) {
            Cow::Borrowed(_) => text,
            Cow::Owned(replaced) => Cow::Owned(replaced),
        })
    }

    /// Redacts these texts wherever they occur, too; those of fewer than four letters would take too much along.
    #[must_use]
    pub fn with_known<'k>(&self, known: impl IntoIterator<Item = &'k str>) -> Self {
        let known = known.into_iter().filter(|text| text.chars().count() >= KNOWN_CHARS_MIN);
        Self { known: known.map(str::to_owned).collect(), ..self.clone() }
    }

    /// The value under `name` without secrets, at any depth.
    pub fn value(&self, name: &str, value: &Json) -> Json {
        if self.is_secret(name) && *value != Json::Null {
            return Json::Text(REDACTED.into());
        }
        match value {
            Json::Text(text) => match self.text(text) {
                Cow::Borrowed(_) => value.clone(),
                Cow::Owned(replaced) => Json::Text(replaced.into()),
            },
            Json::Integer(_) | Json::Decimal(_) => match self.text(&value.to_string()) {
                Cow::Borrowed(_) => value.clone(),
                Cow::Owned(replaced) => Json::Text(replaced.into()),
            },
            Json::List(items) => Json::List(items.iter().map(|item| self.value("", item)).collect()),
            Json::Object(entries) => {
                let redacted = entries.iter().map(|(key, value)| (self.key(key), self.value(key, value)));
                Json::object(redacted)
            }
            Json::Null | Json::Boolean(_) => value.clone(),
        }
    }

    /// The texts and numbers under secret names, at any depth.
    pub fn secrets(&self, name: &str, value: &Json, found: &mut Vec<String>) {
        match value {
            Json::List(items) => items.iter().for_each(|item| self.secrets(name, item, found)),
            Json::Object(entries) => entries.iter().for_each(|(key, value)| {
                let secret = self.is_secret(name);
                self.secrets(if secret { name } else { key }, value, found);
            }),
            Json::Null | Json::Boolean(_) => {}
            _ if self.is_secret(name) => found.push(value.plain()),
            _ => {}
        }
    }

    fn key(&self, key: &Arc<str>) -> Arc<str> {
        match self.text(key) {
            Cow::Borrowed(_) => Arc::clone(key),
            Cow::Owned(replaced) => replaced.into(),
        }
    }
}

/// A name in lower case without separators.
fn bare(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
