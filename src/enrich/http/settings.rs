//! What the settings say of a source over HTTP.

use std::{fmt, sync::Arc};

use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use colloquy_flow::Json;

use crate::error::{ArgumentFault, SettingsError};

/// Largest answer that settings may allow, in bytes.
pub(crate) const ANSWER_BYTES_LIMIT: usize = 1 << 20;
/// Largest answer by default, in bytes: what the record of an effect holds.
const ANSWER_BYTES_DEFAULT: usize = 64 << 10;

/// The method of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpMethod {
    /// `GET`.
    #[default]
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
}

impl HttpMethod {
    /// Whether a request without content says so, rather than having no body at all.
    pub(super) const fn usually_has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

impl From<HttpMethod> for Method {
    fn from(method: HttpMethod) -> Self {
        match method {
            HttpMethod::Get => Self::GET,
            HttpMethod::Post => Self::POST,
            HttpMethod::Put => Self::PUT,
            HttpMethod::Patch => Self::PATCH,
            HttpMethod::Delete => Self::DELETE,
        }
    }
}

/// What a request carries besides its URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BodyFrom {
    /// Nothing.
    #[default]
    Nothing,
    /// All arguments, as a JSON object.
    All,
    /// These arguments, as a JSON object; those that are not given are left out.
    Chosen(Vec<Arc<str>>),
}

impl BodyFrom {
    /// The body's text.
    pub(super) fn text(&self, arguments: &Json) -> Result<Option<String>, ArgumentFault> {
        let Json::Object(entries) = arguments else { return Err(ArgumentFault::NotAnObject) };
        Ok(match self {
            Self::Nothing => None,
            Self::All => Some(arguments.to_string()),
            Self::Chosen(names) => {
                let chosen = entries.iter().filter(|(name, _)| names.contains(name)).cloned();
                Some(Json::object(chosen).to_string())
            }
        })
    }
}

/// What becomes the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AnswerFrom {
    /// The whole body.
    #[default]
    Whole,
    /// An object of these names, each with the JSON Pointer (RFC 6901) of its value. A name whose pointer leads
    /// nowhere is left out, and the answer is partial.
    Parts(Vec<(Arc<str>, String)>),
}

/// The settings of a source over HTTP.
#[derive(Clone)]
pub struct HttpSettings {
    /// The URL, with `{argument}` where an argument belongs: in the path or the query. Its value is percent-encoded.
    pub url: String,
    /// The method.
    pub method: HttpMethod,
    /// Headers sent with every request. Values may be secrets.
    pub headers: Vec<(String, SecretString)>,
    /// What is sent as body.
    pub body: BodyFrom,
    /// What becomes the value.
    pub answer: AnswerFrom,
    /// Statuses that mean "there is nothing", such as 404: they answer with null.
    pub empty_statuses: Vec<u16>,
    /// Largest answer in bytes; default 64 KiB, at most 1 MiB.
    pub bytes_max: usize,
    /// Content types that are read, without parameters; `+json` at the end of one is read as well when
    /// `application/json` is listed, which it is by default.
    pub content_types: Vec<String>,
    /// The header that carries the idempotency key; default `Idempotency-Key`, none sends none.
    pub key_header: Option<String>,
    /// The URL a check gets; it must answer with success. Without one, a check only connects.
    pub check: Option<String>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            method: HttpMethod::default(),
            headers: Vec::new(),
            body: BodyFrom::default(),
            answer: AnswerFrom::default(),
            empty_statuses: Vec::new(),
            bytes_max: ANSWER_BYTES_DEFAULT,
            content_types: vec!["application/json".to_owned()],
            key_header: Some("Idempotency-Key".to_owned()),
            check: None,
        }
    }
}

/// Shows no URL and no header's value.
impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        let mut shown = f.debug_struct("HttpSettings");
        shown.field("method", &self.method).field("headers", &names).finish_non_exhaustive()
    }
}

impl HttpSettings {
    /// The headers of every request, and whether the name of the key's header can be one.
    pub(super) fn header_map(&self) -> Result<HeaderMap, SettingsError> {
        if self.key_header.as_ref().is_some_and(|name| name.parse::<HeaderName>().is_err()) {
            return Err(SettingsError::new("key_header", "it is no header name"));
        }
        header_map(&self.headers)
    }
}

/// Headers from settings; every value is marked as sensitive.
pub(crate) fn header_map(headers: &[(String, SecretString)]) -> Result<HeaderMap, SettingsError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let known: HeaderName =
            name.parse().map_err(|_| SettingsError::new("headers", format!("{name:?} is no header name")))?;
        let mut value = HeaderValue::from_str(value.expose_secret())
            .map_err(|_| SettingsError::new("headers", format!("the value of {name:?} cannot be a header's")))?;
        value.set_sensitive(true);
        map.append(known, value);
    }
    Ok(map)
}

/// A URL without placeholders.
pub(crate) fn plain_url(field: &'static str, text: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(text).map_err(|error| SettingsError::new(field, error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(SettingsError::new(field, "it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SettingsError::new(field, "credentials belong in a header"));
    }
    if url.fragment().is_some() {
        return Err(SettingsError::new(field, "a fragment is never sent"));
    }
    Ok(url)
}
