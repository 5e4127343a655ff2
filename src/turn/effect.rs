//! What the machine asks the world for, and what it is told.
//!
//! Requests are not stored, only their digests: running the machine again makes them again. Results are
//! stored: the order of their variants is the format.

use std::{sync::Arc, time::Duration};

use colloquy_flow::{Json, Patience, Purpose};
use colloquy_types::Timestamp;
use serde::{Deserialize, Serialize};

/// What is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// The current wall-clock time.
    Time,
    /// Sixteen fresh random bytes.
    Identifier,
    /// An answer of a model.
    Model(Arc<ModelRequest>),
    /// Something a source knows; asking twice does no harm.
    Fetch(Arc<CallRequest>),
    /// Something a tool does.
    Act(Arc<CallRequest>),
}

impl EffectKind {
    /// The kind's name as traces and scenarios write it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Identifier => "identifier",
            Self::Model(_) => "model",
            Self::Fetch(_) => "fetch",
            Self::Act(_) => "act",
        }
    }

    /// What is recorded of the request; nothing for time and identifiers.
    pub(crate) fn trace(&self, step: u16) -> Option<RequestTrace> {
        let (kind, name, variables, digest) = match self {
            Self::Time | Self::Identifier => return None,
            Self::Model(request) => (RequestKind::Model, &request.prompt, request.variables.clone(), request.digest()),
            Self::Fetch(request) => (RequestKind::Fetch, &request.name, Vec::new(), request.digest()),
            Self::Act(request) => (RequestKind::Act, &request.name, Vec::new(), request.digest()),
        };
        Some(RequestTrace { step, kind, name: Arc::clone(name), variables, digest })
    }
}

/// Who speaks in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The instructions.
    System,
    /// The user.
    User,
    /// The assistant.
    Assistant,
}

impl Role {
    /// The role's name as model APIs write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said, redacted.
    pub text: String,
}

/// A question to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRequest {
    /// The prompt's name.
    pub prompt: Arc<str>,
    /// What it is for: which model it goes to is a matter of settings.
    pub purpose: Purpose,
    /// The rendered prompt.
    pub messages: Vec<ModelMessage>,
    /// The JSON Schema the answer must fit; none asks for text.
    pub schema: Option<Arc<str>>,
    /// Whether the user may see the answer while it is being written.
    pub stream: bool,
    /// How long and how often it is tried.
    pub patience: Patience,
    /// Longest answer, in tokens.
    pub tokens_max: u32,
    /// The variables that went into the prompt.
    pub variables: Vec<Arc<str>>,
}

impl ModelRequest {
    fn digest(&self) -> [u8; 16] {
        let mut hash = Digest::default();
        hash.part(self.purpose.name().as_bytes());
        for message in &self.messages {
            hash.part(message.role.name().as_bytes()).part(message.text.as_bytes());
        }
        hash.part(self.schema.as_deref().unwrap_or_default().as_bytes()).part(&self.tokens_max.to_le_bytes());
        hash.finish()
    }
}

/// A call of a source or a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// The enrichment's or action's name.
    pub name: Arc<str>,
    /// The source or tool, as the settings name it.
    pub target: Arc<str>,
    /// What it is asked with.
    pub arguments: Json,
    /// Whether it changes nothing in the world.
    pub read_only: bool,
    /// Whether calling it twice with one key acts once.
    pub idempotent: bool,
    /// How long and how often it is tried.
    pub patience: Patience,
}

impl CallRequest {
    /// Hash of target and arguments.
    pub fn digest(&self) -> [u8; 16] {
        let mut hash = Digest::default();
        hash.part(self.target.as_bytes()).part(self.arguments.to_string().as_bytes());
        hash.finish()
    }
}

/// Parts hashed with their lengths, so that moving a border changes the digest.
#[derive(Default)]
struct Digest(blake3::Hasher);

impl Digest {
    fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes()).update(bytes);
        self
    }

    fn finish(&self) -> [u8; 16] {
        let mut digest = [0; 16];
        digest.copy_from_slice(self.0.finalize().as_bytes().split_at(16).0);
        digest
    }
}

/// One request to the world. Those given out together are independent and may run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The effect's number within its turn, from 0; with the turn id it is the effect's stable key.
    pub step: u16,
    /// What is needed.
    pub kind: EffectKind,
}

/// Why an effect has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// It did not end in time.
    TimedOut,
    /// It could not be reached, or said that it cannot answer now.
    Unavailable,
    /// It said no: the request is wrong, or not allowed.
    Refused,
    /// It answered with something that cannot be read.
    Malformed,
    /// It was given up because the turn was.
    Cancelled,
}

/// What a turn used of models, as they count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Tokens read that the model had in its cache.
    pub tokens_cached: u64,
    /// What it cost, in millionths of the settings' currency.
    pub cost_micros: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            tokens_in: self.tokens_in.saturating_add(other.tokens_in),
            tokens_out: self.tokens_out.saturating_add(other.tokens_out),
            tokens_cached: self.tokens_cached.saturating_add(other.tokens_cached),
            cost_micros: self.cost_micros.saturating_add(other.cost_micros),
        }
    }
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelOutput {
    /// The text; JSON when a schema was given.
    pub text: Arc<str>,
    /// The model that answered.
    pub model: Arc<str>,
    /// What it used.
    pub usage: Usage,
    /// Whether it stopped because of the token limit.
    pub truncated: bool,
}

/// What a call returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallOutcome {
    /// All of it.
    Done(Json),
    /// Some of it; the rest is missing.
    Partial(Json),
    /// Nothing, and nothing happened.
    Failed(Failure),
    /// Nobody knows whether it happened.
    Unknown,
}

/// What an effect returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EffectValue {
    /// Answers [`EffectKind::Time`].
    Time(Timestamp),
    /// Answers [`EffectKind::Identifier`].
    Identifier([u8; 16]),
    /// Answers [`EffectKind::Model`].
    Model(Result<ModelOutput, Failure>),
    /// Answers [`EffectKind::Fetch`].
    Fetch(CallOutcome),
    /// Answers [`EffectKind::Act`].
    Act(CallOutcome),
    /// Answers every call: the turn ends here. Holds what of the reply had been shown by then, or nothing where another
    /// answer of the turn does.
    Interrupted(Arc<str>),
}

impl EffectValue {
    /// The name of the kind it answers.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Time(_) => "time",
            Self::Identifier(_) => "identifier",
            Self::Model(_) => "model",
            Self::Fetch(_) => "fetch",
            Self::Act(_) => "act",
            Self::Interrupted(_) => "interrupted",
        }
    }

    /// Whether this is an answer to `kind`.
    pub const fn answers(&self, kind: &EffectKind) -> bool {
        matches!(
            (self, kind),
            (Self::Time(_), EffectKind::Time)
                | (Self::Identifier(_), EffectKind::Identifier)
                | (Self::Model(_), EffectKind::Model(_))
                | (Self::Fetch(_), EffectKind::Fetch(_))
                | (Self::Act(_), EffectKind::Act(_))
                | (Self::Interrupted(_), EffectKind::Model(_) | EffectKind::Fetch(_) | EffectKind::Act(_))
        )
    }

    /// The answer to `kind` when it could not be had. Time and identifiers have none.
    pub fn failed(kind: &EffectKind, failure: Failure) -> Option<Self> {
        match kind {
            EffectKind::Time | EffectKind::Identifier => None,
            EffectKind::Model(_) => Some(Self::Model(Err(failure))),
            EffectKind::Fetch(_) => Some(Self::Fetch(CallOutcome::Failed(failure))),
            EffectKind::Act(_) => Some(Self::Act(CallOutcome::Failed(failure))),
        }
    }
}

/// What an effect took beside what it returned. Decides nothing; degradations and usage tell of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Effort {
    /// Milliseconds from its beginning to its end, all attempts and the waits before them included; 0 for what is
    /// answered at once.
    pub elapsed_ms: u32,
    /// What attempts used that gave no answer, as far as it is known.
    pub lost: Usage,
}

/// The result of one [`Effect`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EffectResult {
    /// The number of the effect it answers.
    pub step: u16,
    /// The value.
    pub value: EffectValue,
    /// What it took.
    pub effort: Effort,
}

impl EffectResult {
    /// A result that took nothing.
    pub fn at_once(step: u16, value: EffectValue) -> Self {
        Self { step, value, effort: Effort::default() }
    }

    /// What the effect used of models.
    pub fn usage(&self) -> Usage {
        match &self.value {
            EffectValue::Model(Ok(output)) => output.usage.plus(self.effort.lost),
            _ => self.effort.lost,
        }
    }
}

/// What kind of request it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RequestKind {
    /// A question to a model.
    Model,
    /// A question to a source.
    Fetch,
    /// A call of a tool.
    Act,
}

/// What is recorded of a request: enough to see that running the turn again makes the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestTrace {
    /// The effect's number.
    pub step: u16,
    /// What kind of request.
    pub kind: RequestKind,
    /// The prompt's, enrichment's or action's name.
    pub name: Arc<str>,
    /// The variables a prompt was made of.
    pub variables: Vec<Arc<str>>,
    /// Hash of the rendered prompt, or of target and arguments.
    pub digest: [u8; 16],
}

impl Effect {
    /// How long the effect may take at most; the turn's remaining budget may be shorter. None for what is
    /// answered at once.
    pub fn timeout(&self) -> Option<Duration> {
        match &self.kind {
            EffectKind::Time | EffectKind::Identifier => None,
            EffectKind::Model(request) => Some(request.patience.timeout),
            EffectKind::Fetch(request) | EffectKind::Act(request) => Some(request.patience.timeout),
        }
    }
}
