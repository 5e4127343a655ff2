//! A source that is an API over HTTP: one request for each call.

mod answer;
mod body;
mod settings;
#[cfg(test)]
mod tests;
mod url;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use reqwest::{
    Client, Request, Response, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use tokio::time::{Instant, timeout_at};

use colloquy_flow::Json;

use crate::{
    error::{ArgumentFault, Error, SettingsError},
    outbound::{Outbound, error_of},
    port::{Answer, Call, Checked, Source, Trace},
};

use self::{answer::AnswerReader, body::TrackedBody, url::UrlTemplate};

pub use self::settings::{AnswerFrom, BodyFrom, HttpMethod, HttpSettings};
pub(crate) use self::{
    answer::parse,
    settings::{ANSWER_BYTES_LIMIT, header_map, plain_url},
};

/// Longest body of a request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Longest time a source may ask to be left alone; longer ones are cut.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// A source over HTTP.
pub struct HttpSource {
    client: Client,
    outbound: Outbound,
    url: UrlTemplate,
    check: Option<Url>,
    settings: HttpSettings,
    headers: HeaderMap,
    reader: AnswerReader,
}

/// Shows no URL and no header.
impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource").field("method", &self.settings.method).finish_non_exhaustive()
    }
}

impl HttpSource {
    /// Makes a source.
    ///
    /// # Errors
    /// [`SettingsError`] names the field, and why it cannot be used; a place that `outbound` does not allow is one.
    pub fn new(settings: HttpSettings, outbound: Outbound) -> Result<Self, SettingsError> {
        let url = UrlTemplate::parse(&settings.url)?;
        let check = settings.check.as_deref().map(|text| settings::plain_url("check", text)).transpose()?;
        for (field, place) in [("url", Some(url.example())), ("check", check.as_ref())] {
            let denied = place.and_then(|place| outbound.check(place).err());
            if let Some(denied) = denied {
                return Err(SettingsError::new(field, denied.to_string()));
            }
        }
        let reader = AnswerReader::new(&settings)?;
        Ok(Self { client: outbound.client()?, headers: settings.header_map()?, outbound, url, check, settings, reader })
    }

    async fn exchange(&self, call: &Call, sent: &Arc<AtomicBool>) -> Result<Answer, Error> {
        if !call.tool.is_empty() {
            return Err(Error::NoSuchTool);
        }
        let request = self.request(call, sent)?;
        let answered = self.client.execute(request).await;
        let response = answered.map_err(|error| error_of(&error, sent.load(Ordering::Acquire)))?;
        self.judge(response).await
    }

    fn request(&self, call: &Call, sent: &Arc<AtomicBool>) -> Result<Request, Error> {
        let url = self.url.fill(&call.arguments).map_err(Error::Arguments)?;
        let mut request = Request::new(self.settings.method.into(), url);
        let body = self.settings.body.text(&call.arguments).map_err(Error::Arguments)?;
        if body.as_ref().is_some_and(|body| body.len() > REQUEST_BYTES_MAX) {
            return Err(Error::Arguments(ArgumentFault::TooLong(REQUEST_BYTES_MAX)));
        }
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        if body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some((key, name)) = call.key.as_deref().zip(self.settings.key_header.as_deref()) {
            insert(request.headers_mut(), name, key);
        }
        add_trace(request.headers_mut(), &call.trace);
        let body = body.or_else(|| self.settings.method.usually_has_body().then(String::new));
        *request.body_mut() = Some(TrackedBody::new(body, Arc::clone(sent)).into());
        Ok(request)
    }

    /// What a response means.
    async fn judge(&self, response: Response) -> Result<Answer, Error> {
        let status = response.status();
        if self.settings.empty_statuses.contains(&status.as_u16()) {
            return Ok(Answer { value: Json::Null, partial: false });
        }
        if status.is_success() {
            return self.reader.read(response).await;
        }
        Err(refusal(&response))
    }

    async fn look(&self, deadline: Instant) -> Result<Checked, Error> {
        let began = Instant::now();
        let found = async {
            let Some(url) = &self.check else { return self.outbound.knock(self.url.example()).await };
            let mut request = Request::new(reqwest::Method::GET, url.clone());
            *request.headers_mut() = self.headers.clone();
            let answered = self.client.execute(request).await;
            let response = answered.map_err(|error| error_of(&error, !error.is_connect()))?;
            if response.status().is_success() { Ok(()) } else { Err(refusal(&response)) }
        };
        timeout_at(deadline, found).await.map_err(|_| Error::TimedOut { sent: false })??;
        Ok(Checked { latency: began.elapsed(), tools: Vec::new() })
    }
}

impl Source for HttpSource {
    fn call(&self, call: Call, deadline: Instant) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            let sent = Arc::new(AtomicBool::new(false));
            let ended = timeout_at(deadline, self.exchange(&call, &sent)).await;
            ended.unwrap_or_else(|_| Err(Error::TimedOut { sent: sent.load(Ordering::Acquire) }))
        })
    }

    fn check(&self, deadline: Instant) -> BoxFuture<'_, Result<Checked, Error>> {
        Box::pin(self.look(deadline))
    }
}

/// What a response that is no success means.
fn refusal(response: &Response) -> Error {
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| seconds_of(value.to_str().ok()?));
    refusal_of(response.status().as_u16(), retry_after)
}

/// What a status that is no success means.
pub(crate) fn refusal_of(status: u16, retry_after: Option<Duration>) -> Error {
    let code = Some(i32::from(status));
    match status {
        300..=399 => Error::Redirected { status },
        // It did not get or did not want the request now: it says so instead of carrying it out.
        408 | 425 | 429 => Error::Busy { code, retry_after },
        400..=499 => Error::Refused { code },
        _ => Error::Failed { code, retry_after },
    }
}

/// The seconds of a `Retry-After`. A date is passed over: it would need this machine's clock to agree with the
/// source's.
pub(crate) fn seconds_of(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn add_trace(headers: &mut HeaderMap, trace: &Trace) {
    for (name, value) in [("traceparent", &trace.parent), ("tracestate", &trace.state)] {
        if let Some(value) = value {
            insert(headers, name, value);
        }
    }
}

/// Sets a header; one that cannot be written is left out.
fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}
