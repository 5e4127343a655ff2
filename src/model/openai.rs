//! Chat completions, as OpenAI, llama.cpp, vLLM and Ollama serve them.

mod ask;
mod wire;

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use reqwest::{
    Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::{
    answer::Answer,
    collect::Collected,
    error::Error,
    http::{self, EVENTS, Http, JSON, SettingsError},
    pace::Pace,
    port::{Features, JsonMode, Limits, Model},
    request::Request,
};

/// How the longest answer is named: newer models of OpenAI refuse the older name, other servers know no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokensKey {
    /// `max_tokens`.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// One provider.
#[derive(Clone, Debug)]
pub struct OpenAiSettings {
    /// The adapter's name, for logs and metrics.
    pub name: Arc<str>,
    /// Where it is, its version among it: `https://api.openai.com/v1`.
    pub base_url: String,
    /// The model that is asked unless a request names another.
    pub model: Arc<str>,
    /// The key; servers of one's own may need none.
    pub api_key: Option<SecretString>,
    /// How JSON is asked for.
    pub json: JsonMode,
    /// How the longest answer is named.
    pub tokens_key: TokensKey,
    /// The sampling temperature; none leaves it to the provider, as models that reason demand.
    pub temperature: Option<f32>,
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct OpenAi {
    http: Http,
    settings: OpenAiSettings,
    completions: Url,
    models: Url,
    headers: HeaderMap,
}

impl OpenAi {
    /// Makes the adapter of one provider.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(http: Http, settings: OpenAiSettings) -> Result<Self, SettingsError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Some(key) = &settings.api_key {
            headers.insert(AUTHORIZATION, http::key_header("Bearer ", key)?);
        }
        let completions = http::endpoint(&settings.base_url, "chat/completions")?;
        let models = http::endpoint(&settings.base_url, "models")?;
        Ok(Self { http, settings, completions, models, headers })
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
        let body = ask::body(&self.settings, request, model, streamed)?;
        let headers = http::headers(request, &self.headers, if streamed { EVENTS } else { JSON });
        let post = self.http.post(&self.completions, headers, body);
        if streamed {
            let body = http::send(post, EVENTS, Pace::streamed(limits)).await?;
            body.events(|event, pace| wire::event(&mut collected, &event.data, pace)).await?;
        } else {
            let body = http::send(post, JSON, Pace::whole(limits)).await?;
            wire::whole(&mut collected, &body.whole().await?)?;
        }
        collected.into_answer(limits.deadline).await
    }
}

impl Model for OpenAi {
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
