//! A typed client of `colloquy.v1`, for the command line, tests, the load tool, and users.
//!
//! It sets the routing metadata, deadlines and message limits, and decodes the rich error model into
//! [`ClientError`]. A [`Client`] is cheap to clone; clones share one connection.

mod error;

use std::time::Duration;

use colloquy_proto::{
    CONVERSATION_KEY_METADATA, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX,
    v1::{
        self, conversation_service_client::ConversationServiceClient, operator_service_client::OperatorServiceClient,
    },
};
use tonic::{
    Request, Streaming,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

pub use self::error::{ClientError, ConnectError};

/// How long a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// First pause before a retry; doubled each time.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause before a retry.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

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

    fn wire(&self) -> Option<v1::ConversationKey> {
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
    /// What the user says.
    pub text: String,
    /// The turn that must be the last one.
    pub expected_seq: Option<u64>,
    /// Whether to be refused rather than wait behind another turn.
    pub reject_if_busy: bool,
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
        }
    }

    fn wire(&self) -> v1::SubmitTurnRequest {
        let policy = if self.reject_if_busy { v1::BusyPolicy::Reject } else { v1::BusyPolicy::Enqueue };
        v1::SubmitTurnRequest {
            key: self.key.wire(),
            request_id: self.request_id.clone(),
            flow: self.flow.clone(),
            input: Some(v1::TurnInput { input: Some(v1::turn_input::Input::Text(self.text.clone())) }),
            expected_seq: self.expected_seq,
            busy_policy: policy.into(),
        }
    }
}

/// A connection to a server.
#[derive(Clone, Debug)]
pub struct Client {
    conversations: ConversationServiceClient<Channel>,
    operator: OperatorServiceClient<Channel>,
    deadline: Duration,
}

impl Client {
    /// Connects to `address`, `host:port` or a URL; every call gets `deadline`.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(address: &str, deadline: Duration) -> Result<Self, ConnectError> {
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let refused = |source| ConnectError { address: address.to_owned(), source };
        let endpoint = Endpoint::from_shared(url).map_err(refused)?.connect_timeout(CONNECT_DEADLINE).tcp_nodelay(true);
        Ok(Self::on(endpoint.connect().await.map_err(refused)?, deadline))
    }

    /// A client on a channel of the caller's own.
    pub fn on(channel: Channel, deadline: Duration) -> Self {
        Self {
            conversations: ConversationServiceClient::new(channel.clone())
                .max_encoding_message_size(REQUEST_BYTES_MAX)
                .max_decoding_message_size(RESPONSE_BYTES_MAX),
            operator: OperatorServiceClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX),
            deadline,
        }
    }

    fn request<T>(&self, message: T, key: Option<&Key>) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        route(&mut request, key);
        request
    }

    /// Sends a turn and waits for its reply.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit(&self, turn: &Turn) -> Result<v1::SubmitTurnResponse, ClientError> {
        let request = self.request(turn.wire(), Some(&turn.key));
        Ok(self.conversations.clone().submit_turn(request).await?.into_inner())
    }

    /// As [`Client::submit`], sent again under the same request id while the server says that it helps
    /// and `within` lasts. Cancel safe: the same request id tells how it ended.
    ///
    /// # Errors
    /// The last [`ClientError`].
    pub async fn submit_with_retry(
        &self,
        turn: &Turn,
        within: Duration,
    ) -> Result<v1::SubmitTurnResponse, ClientError> {
        let end = tokio::time::Instant::now() + within;
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let error = match self.submit(turn).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let next = tokio::time::Instant::now() + error.retry_after().unwrap_or_default().max(pause);
            if !error.is_retryable() || next >= end {
                return Err(error);
            }
            tokio::time::sleep_until(next).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Sends a turn and tells what happens as it happens.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stream(&self, turn: &Turn) -> Result<Streaming<v1::StreamTurnResponse>, ClientError> {
        let request = self.request(v1::StreamTurnRequest { turn: Some(turn.wire()) }, Some(&turn.key));
        Ok(self.conversations.clone().stream_turn(request).await?.into_inner())
    }

    /// A conversation as it was last committed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn conversation(&self, key: &Key) -> Result<v1::Conversation, ClientError> {
        let request = self.request(v1::GetConversationRequest { key: key.wire() }, Some(key));
        let response = self.conversations.clone().get_conversation(request).await?.into_inner();
        Ok(response.conversation.unwrap_or_default())
    }

    /// One page of a tenant's conversations.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn conversations(
        &self,
        tenant: &str,
        page_size: u32,
        page_token: &str,
    ) -> Result<v1::ListConversationsResponse, ClientError> {
        let (tenant, page_token) = (tenant.to_owned(), page_token.to_owned());
        let request = self.request(v1::ListConversationsRequest { tenant, page_size, page_token }, None);
        Ok(self.conversations.clone().list_conversations(request).await?.into_inner())
    }

    /// One page of a conversation's turns.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn turns(&self, key: &Key, from_seq: u64, page_size: u32) -> Result<v1::ListTurnsResponse, ClientError> {
        let request = self.request(v1::ListTurnsRequest { key: key.wire(), from_seq, page_size }, Some(key));
        Ok(self.conversations.clone().list_turns(request).await?.into_inner())
    }

    /// Every turn of a conversation from a number on, or from behind a head. Has no deadline.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch(
        &self,
        key: &Key,
        from_seq: u64,
        after: Option<v1::Head>,
    ) -> Result<Streaming<v1::WatchConversationResponse>, ClientError> {
        let mut request = Request::new(v1::WatchConversationRequest { key: key.wire(), from_seq, after });
        route(&mut request, Some(key));
        Ok(self.conversations.clone().watch_conversation(request).await?.into_inner())
    }

    /// Clears a conversation's state.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reset(
        &self,
        key: &Key,
        request_id: &str,
        reason: &str,
    ) -> Result<v1::ResetConversationResponse, ClientError> {
        let message = v1::ResetConversationRequest {
            key: key.wire(),
            request_id: request_id.to_owned(),
            reason: reason.to_owned(),
            expected_seq: None,
        };
        let request = self.request(message, Some(key));
        Ok(self.conversations.clone().reset_conversation(request).await?.into_inner())
    }

    /// Figures of the server.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn runtime(&self) -> Result<v1::GetRuntimeResponse, ClientError> {
        let request = self.request(v1::GetRuntimeRequest {}, None);
        Ok(self.operator.clone().get_runtime(request).await?.into_inner())
    }

    /// One page of the supervision tree.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tree(
        &self,
        message: v1::GetSupervisionTreeRequest,
    ) -> Result<v1::GetSupervisionTreeResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.operator.clone().get_supervision_tree(request).await?.into_inner())
    }
}

/// Lets a proxy route by conversation. A key that cannot stand in metadata is left to the server to refuse.
fn route<T>(request: &mut Request<T>, key: Option<&Key>) {
    let value = key.map(|key| MetadataValue::try_from(format!("{}/{}", key.tenant, key.conversation)));
    if let Some(Ok(value)) = value {
        request.metadata_mut().insert(CONVERSATION_KEY_METADATA, value);
    }
}
