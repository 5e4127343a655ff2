//! URLs with arguments in them: what is filled in can never change where the URL leads.

use std::fmt::Write as _;

use reqwest::Url;

use colloquy_flow::Json;

use crate::error::{ArgumentFault, SettingsError};

use super::settings::plain_url;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 8 << 10;

enum Part {
    Literal(String),
    /// An argument in the path: it may not be empty.
    Path(String),
    /// An argument in the query.
    Query(String),
}

/// A URL with places for arguments, in its path and query only.
pub(super) struct UrlTemplate {
    parts: Vec<Part>,
    example: Url,
}

impl UrlTemplate {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, SettingsError> {
        let fault = |message: &str| SettingsError::new("url", message);
        let after_scheme = text.find("://").map_or(0, |place| place + 3);
        let authority_end =
            text.get(after_scheme..).and_then(|rest| rest.find(['/', '?'])).map_or(text.len(), |at| after_scheme + at);
        let (head, mut rest) = text.split_at_checked(authority_end).unwrap_or((text, ""));
        if head.contains(['{', '}']) {
            return Err(fault("arguments may stand in the path and the query only"));
        }
        let mut parts = vec![Part::Literal(head.to_owned())];
        let mut in_query = false;
        while let Some((literal, tail)) = rest.split_once('{') {
            let (name, tail) = tail.split_once('}').ok_or_else(|| fault("a '{' is not closed"))?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(fault("between '{' and '}' stands an argument's name: letters, digits, '_'"));
            }
            in_query |= literal.contains('?');
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(if in_query { Part::Query(name.to_owned()) } else { Part::Path(name.to_owned()) });
            rest = tail;
        }
        if rest.contains('}') || text.contains('\\') {
            return Err(fault("a '}' or a '\\' stands where none belongs"));
        }
        parts.push(Part::Literal(rest.to_owned()));
        let mut template = Self { parts, example: plain_url("url", head)? };
        // Dots would be resolved away; what they would be beside an argument is not left to chance.
        let filled = template.expand(|_| Ok("x".to_owned())).map_err(|_| fault("it cannot be filled in"))?;
        template.example = plain_url("url", &filled)?;
        if !keeps_shape(&template.example, &filled) {
            return Err(fault("its path must be written as it is sent: no '.' or '..' segments, all percent-encoded"));
        }
        Ok(template)
    }

    /// The template with a letter for every argument: it leads to the same place.
    pub(super) fn example(&self) -> &Url {
        &self.example
    }

    /// Fills in arguments.
    pub(super) fn fill(&self, arguments: &Json) -> Result<Url, ArgumentFault> {
        if !matches!(arguments, Json::Object(_)) {
            return Err(ArgumentFault::NotAnObject);
        }
        let text = self.expand(|name| {
            let value = arguments.get(name).ok_or_else(|| ArgumentFault::Missing(name.to_owned()))?;
            match value {
                Json::Text(_) | Json::Integer(_) | Json::Decimal(_) | Json::Boolean(_) => Ok(value.plain()),
                Json::Null | Json::List(_) | Json::Object(_) => Err(ArgumentFault::NotForUrl(name.to_owned())),
            }
        })?;
        // The encoder leaves nothing that could end the path, but a segment of dots is resolved even when encoded.
        match Url::parse(&text) {
            Ok(url) if keeps_shape(&url, &text) && url.origin() == self.example.origin() => Ok(url),
            _ => Err(ArgumentFault::NotForUrl(self.first_path_argument().to_owned())),
        }
    }

    fn first_path_argument(&self) -> &str {
        let mut names =
            self.parts.iter().filter_map(|part| if let Part::Path(name) = part { Some(name) } else { None });
        names.next().map_or("", String::as_str)
    }

    fn expand(&self, value: impl Fn(&str) -> Result<String, ArgumentFault>) -> Result<String, ArgumentFault> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Path(name) => {
                    let value = value(name)?;
                    if value.is_empty() {
                        return Err(ArgumentFault::NotForUrl(name.clone()));
                    }
                    encode(&value, &mut text);
                }
                Part::Query(name) => encode(&value(name)?, &mut text),
            }
            if text.len() > URL_BYTES_MAX {
                return Err(ArgumentFault::TooLong(URL_BYTES_MAX));
            }
        }
        Ok(text)
    }
}

/// Whether parsing changed nothing in the path.
fn keeps_shape(url: &Url, text: &str) -> bool {
    let after_scheme = text.find("://").map_or(0, |place| place + 3);
    let rest = text.get(after_scheme..).unwrap_or_default();
    let path = rest.find(['/', '?']).and_then(|place| rest.get(place..)).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    url.path() == if path.is_empty() { "/" } else { path }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
fn encode(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}
