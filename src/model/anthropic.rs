//! The messages API, as Anthropic and llama.cpp serve it.

mod ask;
mod wire;

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use reqwest::{
    Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::SecretString;
use tokio::sync::mpsc;

use self::wire::Stream;
use crate::{
    answer::Answer,
    collect::Collected,
    error::Error,
    http::{self, EVENTS, Http, JSON, SettingsError},
    pace::Pace,
    port::{Features, JsonMode, Limits, Model},
    request::Request,
};

const KEY: HeaderName = HeaderName::from_static("x-api-key");
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// The version of the interface that is spoken here.
const SPOKEN: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The tool whose arguments are the answer, when JSON is asked for natively.
const ANSWER_TOOL: &str = "answer";

/// One provider.
#[derive(Clone, Debug)]
pub struct AnthropicSettings {
    /// The adapter's name, for logs and metrics.
    pub name: Arc<str>,
    /// Where it is, without a version: `https://api.anthropic.com`.
    pub base_url: String,
    /// The model that is asked unless a request names another.
    pub model: Arc<str>,
    /// The key; servers of one's own may need none.
    pub api_key: Option<SecretString>,
    /// How JSON is asked for. Natively it is the argument of a tool that must be called; a schema whose root is no
    /// object, or tools beside it, are asked for by instruction all the same. Servers of one's own whose model knows
    /// no tools ignore them: ask those by instruction.
    pub json: JsonMode,
    /// The sampling temperature; none leaves it to the provider.
    pub temperature: Option<f32>,
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct Anthropic {
    http: Http,
    settings: AnthropicSettings,
    messages: Url,
    models: Url,
    headers: HeaderMap,
}

impl Anthropic {
    /// Makes the adapter of one provider.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(http: Http, settings: AnthropicSettings) -> Result<Self, SettingsError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(VERSION, SPOKEN);
        if let Some(key) = &settings.api_key {
            headers.insert(KEY, http::key_header("", key)?);
        }
        let messages = http::endpoint(&settings.base_url, "v1/messages")?;
        let models = http::endpoint(&settings.base_url, "v1/models")?;
        Ok(Self { http, settings, messages, models, headers })
    }

    async fn ask(
        &self,
        request: &Request,
        limits: Limits,
        deltas: Option<mpsc::Sender<String>>,
    ) -> Result<Answer, Error> {
        let model = request.model.as_ref().unwrap_or(&self.settings.model);
        let streamed = deltas.is_some();
        let mut collected = Collected::new(request, model, deltas)?;
        let asked = ask::body(&self.settings, request, model, streamed)?;
        if asked.by_tool {
            collected = collected.answered_by_tool(ANSWER_TOOL);
        }
        let headers = http::headers(request, &self.headers, if streamed { EVENTS } else { JSON });
        let post = self.http.post(&self.messages, headers, asked.body);
        if streamed {
            let body = http::send(post, EVENTS, Pace::streamed(limits)).await?;
            let mut stream = Stream::new(&mut collected);
            body.events(|event, pace| stream.take(event, pace)).await?;
            stream.ended()?;
        } else {
            let body = http::send(post, JSON, Pace::whole(limits)).await?;
            wire::whole(&mut collected, &body.whole().await?)?;
        }
        collected.into_answer(limits.deadline).await
    }
}

impl Model for Anthropic {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn features(&self) -> Features {
        Features { streams: true, json: self.settings.json == JsonMode::Native, tools: true }
    }

    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        limits: Limits,
        deltas: Option<mpsc::Sender<String>>,
    ) -> BoxFuture<'a, Result<Answer, Error>> {
        self.ask(request, limits, deltas).boxed()
    }

    fn check(&self, limits: Limits) -> BoxFuture<'_, Result<(), Error>> {
        self.http.check(&self.models, &self.headers, limits).boxed()
    }
}
