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

/// A turn to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The conversation.
    pub key: Key,
    /// The idempotency key: the same one gives the same ending.
    pub request_id: String,
    /// Creates the conversation with this flow if it is absent; empty for one that exists.
    pub flow: String,
    /// What the user says: 1 byte to 16 KiB.
    pub text: String,
    /// The turn that must be the last one.
    pub expected_seq: Option<u64>,
    /// Whether to be refused rather than wait behind another turn.
    pub reject_if_busy: bool,
    /// Whether the reply tells what each stage did.
    pub include_stages: bool,
}

impl Turn {
    /// A turn that waits for its place.
    pub fn new(key: Key, request_id: impl Into<String>, flow: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            key,
            request_id: request_id.into(),
            flow: flow.into(),
            text: text.into(),
            expected_seq: None,
            reject_if_busy: false,
            include_stages: false,
        }
    }

    pub(crate) fn wire(&self) -> v1::SubmitTurnRequest {
        let policy = if self.reject_if_busy { v1::BusyPolicy::Reject } else { v1::BusyPolicy::Enqueue };
        v1::SubmitTurnRequest {
            key: self.key.wire(),
            request_id: self.request_id.clone(),
            flow: self.flow.clone(),
            input: Some(v1::TurnInput { input: Some(v1::turn_input::Input::Text(self.text.clone())) }),
            expected_seq: self.expected_seq,
            busy_policy: policy.into(),
            include_stages: self.include_stages,
        }
    }
}
