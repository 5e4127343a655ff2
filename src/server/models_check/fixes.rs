//! What to do about an error of a model or source.

use colloquy_actors::ModelSpec;
use colloquy_enrich::{Denied, Error as SourceError, UnreachableKind};
use colloquy_model::{Error as ModelError, Refusal};

/// The provider of a model.
pub(super) fn provider(model: &str) -> &str {
    model.split_once('/').map_or(model, |(provider, _)| provider)
}

/// What to do when a model does not keep to a schema.
pub(super) fn of_json(spec: &ModelSpec) -> String {
    let provider = provider(&spec.name);
    if spec.adapter.features().json {
        format!("set `models.{provider}.json = \"instruct\"`, or choose another model for classify and extract")
    } else {
        format!("try `models.{provider}.json = \"native\"`, or choose another model for classify and extract")
    }
}

/// What to do about an error of a model.
pub(super) fn of_model(error: &ModelError, name: &str) -> String {
    let provider = provider(name);
    let key = |key: &str| format!("models.{provider}.{key}");
    match error {
        ModelError::Dns => format!("correct the host in `{}`, or look at the machine's DNS", key("url")),
        ModelError::Connect(_) => format!("start the server, or correct `{}`", key("url")),
        ModelError::Tls => {
            format!(
                "look whether `{}` should be http, or install the authority that signed the certificate",
                key("url")
            )
        }
        ModelError::TimedOut => format!("raise --timeout-ms, or `{}`", key("timeout")),
        ModelError::FirstTokenLate => format!("raise `{}`", key("first_token")),
        ModelError::Stalled => format!("raise `{}`", key("between_tokens")),
        ModelError::TooLarge { .. } => format!("raise `{}`", key("answer_max")),
        ModelError::Overloaded { .. } => "wait, or give the provider more room".to_owned(),
        ModelError::Reset => "look into the provider's log for why it ended the connection".to_owned(),
        ModelError::Malformed(_) => {
            format!("look whether `{}` and `{}` belong together", key("api"), key("url"))
        }
        ModelError::Status { class, .. } => of_refusal(*class, provider, name),
        ModelError::WrongSchema { .. } | ModelError::Unsendable | ModelError::NotScripted => {
            "choose another model".to_owned()
        }
    }
}

fn of_refusal(class: Refusal, provider: &str, name: &str) -> String {
    match class {
        Refusal::Unauthenticated | Refusal::Forbidden => {
            format!("look at the key that `models.{provider}.key_env` or `key_file` names, and what it may do")
        }
        Refusal::NotFound => format!(
            "look whether the provider has the model of `{name}`, and whether `models.{provider}.url` ends with its \
             version for chat_completions, and without for messages"
        ),
        Refusal::Invalid | Refusal::TooLong | Refusal::Filtered => format!(
            "try another `tokens_key` or `json`, or no `temperature`, in `[models.{provider}]`: the provider does not \
             take the request"
        ),
        Refusal::RateLimited => "wait, or ask the provider for more".to_owned(),
        Refusal::QuotaExhausted => "pay the provider".to_owned(),
        Refusal::Failed => "look into the provider's log, or at its status page".to_owned(),
        Refusal::Unexpected => format!("write the URL that it leads to as `models.{provider}.url`"),
    }
}

/// What to do about an error of a source.
pub(super) fn of_source(error: &SourceError, name: &str) -> String {
    let key = |key: &str| format!("`enrichments.{name}.{key}`");
    match error {
        SourceError::Denied(Denied::Address(kind)) if kind.can_be_allowed() => {
            format!("set {} to true, if the source is meant to be there", key("private_networks"))
        }
        SourceError::Denied(_) => format!("correct {}", key("url")),
        SourceError::Unreachable(UnreachableKind::Name) => {
            format!("correct the host in {}, or look at the machine's DNS", key("url"))
        }
        SourceError::Unreachable(UnreachableKind::Spawn) => {
            format!("install the program of {}, or write its whole path", key("command"))
        }
        SourceError::Unreachable(UnreachableKind::Connect) => format!("start the server, or correct {}", key("url")),
        SourceError::Unreachable(UnreachableKind::Handshake | UnreachableKind::NoSession) => {
            format!("start the server by hand, and look whether it speaks the Model Context Protocol at {}", key("url"))
        }
        SourceError::TimedOut { .. } => "raise --timeout-ms, or find out why the source is slow".to_owned(),
        SourceError::Refused { .. } => format!("look at {} and the secrets in them, and at the URL", key("headers")),
        SourceError::Redirected { .. } => format!("write the URL that it leads to as {}", key("url")),
        SourceError::Busy { .. } => "wait, or give the source more room".to_owned(),
        SourceError::Interrupted | SourceError::Failed { .. } => "look into the source's log".to_owned(),
        SourceError::NoSuchTool
        | SourceError::Arguments(_)
        | SourceError::Malformed(_)
        | SourceError::TooLarge { .. } => format!("look whether {} leads to what it should", key("url")),
    }
}
