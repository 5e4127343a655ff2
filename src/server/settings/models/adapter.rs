//! What speaks to a provider, made from its table.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;

use colloquy_model::{
    Anthropic, Http, HttpOptions, JsonMode, Model, OpenAi, Scripted, SettingsError,
    anthropic::AnthropicSettings,
    openai::{OpenAiSettings, TokensKey},
};

use crate::settings::{fault::Report, secret, sources::Environment, table::Table, units};

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// Chat completions.
    ChatCompletions,
    /// Messages.
    Messages,
    /// Nothing: flows script its answers.
    Scripted,
}

impl Api {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::ChatCompletions, Self::Messages, Self::Scripted].into_iter().find(|api| api.name() == text.trim())
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Messages => "messages",
            Self::Scripted => "scripted",
        }
    }
}

/// What an adapter over HTTP is made of.
struct Remote {
    name: Arc<str>,
    http: Http,
    base_url: String,
    api_key: Option<SecretString>,
    json: JsonMode,
    tokens_key: TokensKey,
    temperature: Option<f32>,
}

/// Makes a provider's adapter.
pub(super) fn make(
    table: &mut Table,
    report: &mut Report,
    (name, api): (&str, Api),
    environment: Environment,
) -> Option<Arc<dyn Model>> {
    if api == Api::Scripted {
        return Some(Arc::new(Scripted::new(name.into())));
    }
    let remote = remote(table, report, (name, api), environment)?;
    let made: Result<Arc<dyn Model>, SettingsError> = match api {
        Api::Messages => messages(remote).map(|adapter| Arc::new(adapter) as Arc<dyn Model>),
        Api::ChatCompletions | Api::Scripted => {
            chat_completions(remote).map(|adapter| Arc::new(adapter) as Arc<dyn Model>)
        }
    };
    made.map_err(|error| refused(table, report, &error)).ok()
}

fn remote(
    table: &mut Table,
    report: &mut Report,
    (name, api): (&str, Api),
    environment: Environment,
) -> Option<Remote> {
    let (ten_ms, second) = (Duration::from_millis(10), Duration::from_secs(1));
    let base_url = url(table, report, "url");
    let keyed = table.gives("key_env") || table.gives("key_file");
    let api_key = secret::read(table, report, ("key_env", "key_file"), environment);
    let connect_timeout = table.read(report, "connect_timeout", units::within(ten_ms..=second * 60));
    let idle_timeout = table.read(report, "idle_timeout", units::within(second..=second * 3600));
    let idle_max = table.read(report, "idle_connections", units::number(0..=1024));
    let json = table.read(report, "json", |text| {
        [JsonMode::Native, JsonMode::Instruct].into_iter().find(|mode| mode.name() == text.trim())
    });
    let tokens_key = match api {
        Api::ChatCompletions => table.read(report, "tokens_key", tokens_key),
        Api::Messages | Api::Scripted => Some(TokensKey::default()),
    };
    let temperature = table.read(report, "temperature", |text| {
        text.trim().parse().ok().filter(|temperature: &f32| (0.0..=2.0).contains(temperature))
    });
    let options = HttpOptions { connect_timeout: connect_timeout?, idle_timeout: idle_timeout?, idle_max: idle_max? };
    // A provider whose key is missing would refuse every question.
    if keyed && api_key.is_none() {
        return None;
    }
    let http = Http::new(options).map_err(|error| refused(table, report, &error)).ok()?;
    let name = name.into();
    Some(Remote { name, http, base_url: base_url?, api_key, json: json?, tokens_key: tokens_key?, temperature })
}

/// A URL; one with credentials in it is not repeated in the fault.
pub(in crate::settings) fn url(table: &mut Table, report: &mut Report, name: &'static str) -> Option<String> {
    if let Some(found) = table.secret_in_url(name) {
        table.take(name);
        let problem = format!("{found} in it {}", secret::INLINE);
        table.fault(report, name, problem, "name the secret where keys and headers are set");
        return None;
    }
    table.read(report, name, |text| (!text.trim().is_empty()).then(|| text.trim().to_owned()))
}

fn tokens_key(text: &str) -> Option<TokensKey> {
    match text.trim() {
        "max_tokens" => Some(TokensKey::MaxTokens),
        "max_completion_tokens" => Some(TokensKey::MaxCompletionTokens),
        _ => None,
    }
}

/// The model that an adapter asks when a question names none. Here each does.
fn named_by_question() -> Arc<str> {
    Arc::from("")
}

fn chat_completions(remote: Remote) -> Result<OpenAi, SettingsError> {
    let Remote { name, http, base_url, api_key, json, tokens_key, temperature } = remote;
    let model = named_by_question();
    OpenAi::new(http, OpenAiSettings { name, base_url, model, api_key, json, tokens_key, temperature })
}

fn messages(remote: Remote) -> Result<Anthropic, SettingsError> {
    let Remote { name, http, base_url, api_key, json, temperature, .. } = remote;
    let model = named_by_question();
    Anthropic::new(http, AnthropicSettings { name, base_url, model, api_key, json, temperature })
}

/// Tells what an adapter refused, at the key it refused.
fn refused(table: &Table, report: &mut Report, error: &SettingsError) {
    let (name, fix) = match error {
        SettingsError::BaseUrl => ("url", "write for example `http://127.0.0.1:8080/v1`"),
        SettingsError::ApiKey if table.gives("key_file") => ("key_file", "look for line breaks and other characters"),
        SettingsError::ApiKey => ("key_env", "look for line breaks and other characters that no header can hold"),
        SettingsError::Tls => ("url", "install the system's certificates, such as the package `ca-certificates`"),
    };
    table.fault(report, name, error.to_string(), fix);
}
