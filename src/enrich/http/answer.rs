//! Reading an answer: its type, its bytes within the bound, its value, and what of it is wanted.

use std::sync::Arc;

use reqwest::{Response, StatusCode, header::CONTENT_TYPE};

use colloquy_flow::{Json, JsonError};

use crate::{
    error::{Error, MalformedKind, SettingsError},
    port::Answer,
};

use super::settings::{ANSWER_BYTES_LIMIT, AnswerFrom, HttpSettings};

const JSON: &str = "application/json";

/// The steps of a JSON Pointer, unescaped.
type Pointer = Vec<String>;

/// Reads answers as the settings say.
pub(super) struct AnswerReader {
    bytes_max: usize,
    content_types: Vec<String>,
    parts: Option<Vec<(Arc<str>, Pointer)>>,
}

impl AnswerReader {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, SettingsError> {
        if !(1..=ANSWER_BYTES_LIMIT).contains(&settings.bytes_max) {
            return Err(SettingsError::new("bytes_max", format!("it must be from 1 to {ANSWER_BYTES_LIMIT}")));
        }
        let parts = match &settings.answer {
            AnswerFrom::Whole => None,
            AnswerFrom::Parts(parts) => Some(
                parts
                    .iter()
                    .map(|(name, text)| Ok((Arc::clone(name), pointer(text)?)))
                    .collect::<Result<_, SettingsError>>()?,
            ),
        };
        let content_types = settings.content_types.iter().map(|one| one.to_ascii_lowercase()).collect();
        Ok(Self { bytes_max: settings.bytes_max, content_types, parts })
    }

    /// Reads a successful response.
    pub(super) async fn read(&self, mut response: Response) -> Result<Answer, Error> {
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let bytes = self.collect(&mut response).await?;
        if bytes.is_empty() {
            return Ok(self.choose(Json::Null, partial));
        }
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !self.takes(content_type) {
            return Err(Error::Malformed(MalformedKind::ContentType));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::Malformed(MalformedKind::Utf8))?;
        Ok(self.choose(parse(text)?, partial))
    }

    async fn collect(&self, response: &mut Response) -> Result<Vec<u8>, Error> {
        let too_large = Error::TooLarge { bytes_max: self.bytes_max };
        let bound = u64::try_from(self.bytes_max).unwrap_or(u64::MAX);
        if response.content_length().is_some_and(|length| length > bound) {
            return Err(too_large);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Error::Interrupted)? {
            if chunk.len() > self.bytes_max.saturating_sub(bytes.len()) {
                return Err(too_large);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn takes(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let listed = |wanted: &str| self.content_types.iter().any(|known| known == wanted);
        listed(&essence) || (essence.ends_with("+json") && listed(JSON))
    }

    fn choose(&self, whole: Json, partial: bool) -> Answer {
        let Some(parts) = &self.parts else { return Answer { value: whole, partial } };
        let found: Vec<_> =
            parts.iter().filter_map(|(name, steps)| Some((Arc::clone(name), at(&whole, steps)?.clone()))).collect();
        Answer { partial: partial || found.len() < parts.len(), value: Json::object(found) }
    }
}

/// Parses JSON within the bounds of values.
pub(crate) fn parse(text: &str) -> Result<Json, Error> {
    Json::parse(text).map_err(|error| {
        Error::Malformed(match error {
            JsonError::Malformed => MalformedKind::Json,
            JsonError::TooLarge => MalformedKind::Shape,
        })
    })
}

/// Reads a JSON Pointer (RFC 6901).
fn pointer(text: &str) -> Result<Pointer, SettingsError> {
    let mut steps = text.split('/');
    if steps.next() != Some("") {
        return Err(SettingsError::new(
            "answer",
            format!("{text:?} is no JSON Pointer: it must be empty or begin with /"),
        ));
    }
    Ok(steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

fn at<'a>(whole: &'a Json, steps: &[String]) -> Option<&'a Json> {
    steps.iter().try_fold(whole, |value, step| match value {
        Json::Object(_) => value.get(step),
        // A number without leading zeros or sign, as the RFC has it.
        Json::List(items) => {
            let place: usize = step.parse().ok()?;
            items.get(place).filter(|_| place.to_string() == *step)
        }
        _ => None,
    })
}
