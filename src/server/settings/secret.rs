//! Secrets: named in the file, never in it. They come from the environment or from files of their own.

use std::{fs::File, io::Read as _};

use secrecy::{ExposeSecret as _, SecretString};

use colloquy_flow::Redaction;

use super::{
    fault::Report,
    file::{Placed, Value},
    sources::Environment,
    table::{self, Entry, Shape, Table},
};

/// What is wrong with a secret that stands in the file.
pub(super) const INLINE: &str = "is a secret, and secrets do not belong into this file";
/// What to write instead of a key.
pub(super) const FIX_KEY: &str =
    "put it into an environment variable or a file, and write `key_env = \"NAME\"` or `key_file = \"/path\"`";
/// What to write instead of the value of a header or of a program's variable.
const FIX_VALUE: &str =
    "put it into an environment variable or a file, and write `{ env = \"NAME\" }` or `{ file = \"/path\" }`";

/// Longest file of a secret, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// Where variables of secrets may not be: every one of these is a setting.
const SETTINGS_PREFIX: &str = "COLLOQUY_";

/// What a name of a variable may be.
pub(super) const VARIABLE: &str = "the name of an environment variable that is no setting of ours";
/// What a file of a secret may be.
pub(super) const FILE: &str = "the path of a file of at most 16 KiB";

/// A header's or variable's value that is a secret.
pub(super) static VALUE: Shape = Shape {
    entries: &[
        Entry::may("env", "CRM_TOKEN", VARIABLE, "the environment variable that holds the value"),
        Entry::may("file", "/run/secrets/crm", FILE, "the file that holds the value, instead"),
        Entry::is("prefix", "", "a text that is no secret itself", "what stands before it, such as `Bearer `"),
    ],
    tables: &[],
};

/// The secret that `name_env` or `name_file` leads to.
pub(super) fn read(
    table: &mut Table,
    report: &mut Report,
    (env, file): (&'static str, &'static str),
    environment: Environment,
) -> Option<SecretString> {
    let variable = table.read(report, env, variable);
    let path = table.read(report, file, |text| (!text.is_empty()).then(|| text.to_owned()));
    match (variable, path) {
        (Some(_), Some(_)) => {
            table.fault(report, file, format!("stands beside {env}"), "take one of the two away");
            None
        }
        (Some(name), None) => match found((environment.0)(&name)) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                let problem = format!("environment variable `{name}` {problem}");
                table.fault(report, env, problem, format!("set `{name}`, or name another variable"));
                None
            }
        },
        (None, Some(path)) => match contents(&path) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                table.fault(report, file, format!("`{path}` {problem}"), format!("name {FILE}"));
                None
            }
        },
        (None, None) => None,
    }
}

/// The name of a variable that can hold a secret.
fn variable(text: &str) -> Option<String> {
    let named = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (named && !text.starts_with(SETTINGS_PREFIX)).then(|| text.to_owned())
}

fn found(value: Option<String>) -> Result<SecretString, &'static str> {
    match value.as_deref().map(str::trim_end) {
        None => Err("is not set"),
        Some("") => Err("is empty"),
        Some(value) => Ok(value.into()),
    }
}

fn contents(path: &str) -> Result<SecretString, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(bytes) if u64::try_from(bytes).is_ok_and(|bytes| bytes > FILE_BYTES_MAX) => {
            Err("has more than 16 KiB".to_owned())
        }
        Ok(_) => found(Some(text)).map_err(str::to_owned),
    }
}

/// Whether a text that stands under this name is a secret, as far as can be told.
pub(super) fn looks_secret(name: &str, value: &str) -> bool {
    let redaction = Redaction::default();
    redaction.is_secret(name) || redaction.text(value) != value
}

/// What in a URL is a secret, as far as can be told: whoever is in front of the host, or a part of the query.
pub(super) fn in_url(url: &str) -> Option<String> {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("the user".to_owned());
    }
    let (_, query) = url.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    // An argument's place holds nothing yet.
    let secret = pairs.find(|(name, value)| !value.starts_with('{') && !value.is_empty() && looks_secret(name, value));
    secret.map(|(name, _)| format!("`{name}`"))
}

/// Reads names with values, some of which are secrets: headers, or a program's variables.
pub(super) fn values(
    parent: &mut Table,
    report: &mut Report,
    name: &'static str,
    environment: Environment,
) -> Vec<(String, SecretString)> {
    let path = format!("{}.{name}", parent.path);
    let mut values = Vec::new();
    for (name, placed) in parent.named(report, name) {
        let full = format!("{path}.{}", table::key(&name));
        let value = match placed.value {
            Value::Text(text) | Value::Plain(text) if looks_secret(&name, &text) => {
                report.fault(placed.place, full, INLINE, FIX_VALUE);
                None
            }
            Value::Text(text) | Value::Plain(text) => {
                report.holds(&path, &format!("{} = {}", table::key(&name), table::text(&text)), &placed.place);
                Some(text.into())
            }
            _ => secret_value(report, full, placed, environment),
        };
        values.extend(value.map(|value| (name, value)));
    }
    values
}

fn secret_value(report: &mut Report, path: String, placed: Placed, environment: Environment) -> Option<SecretString> {
    let mut table = Table::open(report, path, placed, &VALUE)?;
    let given = table.gives("env") || table.gives("file");
    let secret = read(&mut table, report, ("env", "file"), environment);
    let plain = |text: &str| (!looks_secret("", text)).then(|| text.to_owned());
    let prefix = table.read(report, "prefix", plain).unwrap_or_default();
    if !given {
        report.fault(table.place.clone(), table.path.clone(), "names neither `env` nor `file`", FIX_VALUE);
    }
    table.finish(report);
    Some(SecretString::from(format!("{prefix}{}", secret?.expose_secret())))
}
