//! What is asked of a server, and its wire form.

use colloquy_proto::v1;

/// A conversation's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The tenant.
    pub tenant: String,
    /// The conversation within it.
    pub conversation: String,
}

impl Key {
    /// Makes one; the server checks it.
    pub fn new(tenant: impl Into<String>, conversation: impl Into<String>) -> Self {
        Self { tenant: tenant.into(), conversation: conversation.into() }
    }

    pub(crate) fn wire(&self) -> Option<v1::ConversationKey> {
        Some(v1::ConversationKey { tenant: self.tenant.clone(), conversation: self.conversation.clone() })
    }
}

/// What a turn says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// What the user says: 1 byte to 16 KiB.
    Text(String),
    /// Structured input: a JSON object that names an intent, slots or an action, at most 16 KiB.
    Json(String),
}

impl Input {
    fn wire(&self) -> v1::TurnInput {
        let input = match self {
            Self::Text(text) => v1::turn_input::Input::Text(text.clone()),
            Self::Json(json) => v1::turn_input::Input::Json(json.clone()),
        };
        v1::TurnInput { input: Some(input) }
    }
}

/// A turn to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The conversation.
    pub key: Key,
    /// The idempotency key: the same one gives the same ending.
    pub request_id: String,
    /// Creates the conversation with this flow if it is absent; empty for one that exists.
    pub flow: String,
    /// Whom a conversation that it creates is about; empty for nobody, or for one that exists.
    pub subject: String,
    /// What it says.
    pub input: Input,
    /// The turn that must be the last one.
    pub expected_seq: Option<u64>,
    /// What to do when another turn runs; unspecified for what the flow says.
    pub busy: v1::BusyPolicy,
    /// Whether the reply tells what each stage did.
    pub include_stages: bool,
}

impl Turn {
    /// A turn of text that waits for its place.
    pub fn new(key: Key, request_id: impl Into<String>, flow: impl Into<String>, text: impl Into<String>) -> Self {
        Self::with(key, request_id.into(), flow.into(), Input::Text(text.into()))
    }

    /// A turn of structured input that waits for its place.
    pub fn structured(
        key: Key,
        request_id: impl Into<String>,
        flow: impl Into<String>,
        json: impl Into<String>,
    ) -> Self {
        Self::with(key, request_id.into(), flow.into(), Input::Json(json.into()))
    }

    fn with(key: Key, request_id: String, flow: String, input: Input) -> Self {
        Self {
            key,
            request_id,
            flow,
            subject: String::new(),
            input,
            expected_seq: None,
            busy: v1::BusyPolicy::Unspecified,
            include_stages: false,
        }
    }

    pub(crate) fn wire(&self) -> v1::SubmitTurnRequest {
        v1::SubmitTurnRequest {
            key: self.key.wire(),
            request_id: self.request_id.clone(),
            flow: self.flow.clone(),
            subject: self.subject.clone(),
            input: Some(self.input.wire()),
            expected_seq: self.expected_seq,
            busy_policy: self.busy.into(),
            include_stages: self.include_stages,
        }
    }
}
