//! A typed client of `colloquy.v1`, for the command line, tests, the load tool, and users.
//!
//! It sets the routing metadata, deadlines and message limits, and decodes the rich error model into
//! [`ClientError`]. A [`Client`] is cheap to clone; clones share one connection.

mod error;
mod events;
mod flows;
mod options;
mod request;
mod retry;
#[cfg(test)]
mod tests;
mod traffic;

use std::time::Duration;

use colloquy_proto::{
    CONVERSATION_KEY_METADATA, FLOW_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX,
    v1::{
        conversation_service_client::ConversationServiceClient, flow_service_client::FlowServiceClient,
        operator_service_client::OperatorServiceClient,
    },
};
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use crate::retry::Pauses;

/// The contract's messages, which the methods give back.
pub use colloquy_proto::v1;

pub use crate::{
    error::{ClientError, ConnectError},
    events::Events,
    options::ClientOptions,
    request::{Input, Key, Turn},
    traffic::Steer,
};

/// A connection to a server.
#[derive(Clone, Debug)]
pub struct Client {
    conversations: ConversationServiceClient<Channel>,
    flows: FlowServiceClient<Channel>,
    operator: OperatorServiceClient<Channel>,
    deadline: Duration,
}

impl Client {
    /// Connects to `address`, `host:port` or a URL. `options` may be a deadline for every call.
    ///
    /// A connection that breaks later is made anew by the next call.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(address: &str, options: impl Into<ClientOptions>) -> Result<Self, ConnectError> {
        let options = options.into();
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let refused = |source| ConnectError { address: address.to_owned(), source };
        let endpoint = Endpoint::from_shared(url)
            .map_err(refused)?
            .connect_timeout(options.connect_deadline)
            .http2_keep_alive_interval(options.keepalive_interval)
            .keep_alive_timeout(options.keepalive_timeout)
            .tcp_nodelay(true);
        Ok(Self::on(endpoint.connect().await.map_err(refused)?, options.deadline))
    }

    /// A client on a channel of the caller's own; every call gets `deadline`.
    pub fn on(channel: Channel, deadline: Duration) -> Self {
        Self {
            conversations: ConversationServiceClient::new(channel.clone())
                .max_encoding_message_size(REQUEST_BYTES_MAX)
                .max_decoding_message_size(RESPONSE_BYTES_MAX),
            flows: FlowServiceClient::new(channel.clone())
                .max_encoding_message_size(FLOW_REQUEST_BYTES_MAX)
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
        let mut pauses = Pauses::within(within);
        loop {
            let mut request = self.request(turn.wire(), Some(&turn.key));
            request.set_timeout(self.deadline.min(pauses.left()));
            let error = match self.conversations.clone().submit_turn(request).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => ClientError::from(status),
            };
            match pauses.next(&error) {
                Some(at) => tokio::time::sleep_until(at).await,
                None => return Err(error),
            }
        }
    }

    /// Sends a turn and tells what happens as it happens.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stream(&self, turn: &Turn) -> Result<Events<v1::StreamTurnResponse>, ClientError> {
        self.stream_after(turn, None).await
    }

    /// Follows a turn that was sent before, from behind the event with the offset `after`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stream_after(
        &self,
        turn: &Turn,
        after: Option<v1::EventOffset>,
    ) -> Result<Events<v1::StreamTurnResponse>, ClientError> {
        let request = self.request(v1::StreamTurnRequest { turn: Some(turn.wire()), after }, Some(&turn.key));
        Ok(Events::new(self.conversations.clone().stream_turn(request).await?.into_inner()))
    }

    /// Ends the turn with this request id and tells how it ended; none when it left nothing.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cancel(&self, key: &Key, request_id: &str) -> Result<Option<v1::Turn>, ClientError> {
        let message = v1::CancelTurnRequest { key: key.wire(), request_id: request_id.to_owned() };
        let request = self.request(message, Some(key));
        Ok(self.conversations.clone().cancel_turn(request).await?.into_inner().turn)
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
    ) -> Result<Events<v1::WatchConversationResponse>, ClientError> {
        let mut request = Request::new(v1::WatchConversationRequest { key: key.wire(), from_seq, after });
        route(&mut request, Some(key));
        Ok(Events::new(self.conversations.clone().watch_conversation(request).await?.into_inner()))
    }

    /// A conversation's whole history as it is stored. Sources of `known_revisions` are left out. Has no
    /// deadline; each event must be waited for with one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export(
        &self,
        key: &Key,
        known_revisions: Vec<String>,
    ) -> Result<Events<v1::ExportConversationResponse>, ClientError> {
        let mut request = Request::new(v1::ExportConversationRequest { key: key.wire(), known_revisions });
        route(&mut request, Some(key));
        Ok(Events::new(self.conversations.clone().export_conversation(request).await?.into_inner()))
    }

    /// Clears a conversation's state, whatever turn it is at.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reset(
        &self,
        key: &Key,
        request_id: &str,
        reason: &str,
    ) -> Result<v1::ResetConversationResponse, ClientError> {
        let (request_id, reason) = (request_id.to_owned(), reason.to_owned());
        self.reset_with(key, v1::ResetConversationRequest { request_id, reason, ..Default::default() }).await
    }

    /// Clears a conversation's state as `message` says; its key is set to `key`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reset_with(
        &self,
        key: &Key,
        message: v1::ResetConversationRequest,
    ) -> Result<v1::ResetConversationResponse, ClientError> {
        let request = self.request(v1::ResetConversationRequest { key: key.wire(), ..message }, Some(key));
        Ok(self.conversations.clone().reset_conversation(request).await?.into_inner())
    }

    /// Begins the conversation `name` with what `key` was after turn `at_seq`, or is now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fork(
        &self,
        key: &Key,
        at_seq: Option<u64>,
        name: &str,
        request_id: &str,
    ) -> Result<v1::ForkConversationResponse, ClientError> {
        let (conversation, request_id) = (name.to_owned(), request_id.to_owned());
        let message = v1::ForkConversationRequest { key: key.wire(), at_seq, conversation, request_id };
        let request = self.request(message, Some(key));
        Ok(self.conversations.clone().fork_conversation(request).await?.into_inner())
    }

    /// Has a conversation refuse turns; whether it did already.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pause(&self, key: &Key, request_id: &str, reason: &str) -> Result<bool, ClientError> {
        let (request_id, reason) = (request_id.to_owned(), reason.to_owned());
        let request = self.request(v1::PauseConversationRequest { key: key.wire(), request_id, reason }, Some(key));
        Ok(self.operator.clone().pause_conversation(request).await?.into_inner().replayed)
    }

    /// Has a paused conversation take turns again; whether it did already.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resume(&self, key: &Key, request_id: &str, reason: &str) -> Result<bool, ClientError> {
        let (request_id, reason) = (request_id.to_owned(), reason.to_owned());
        let request = self.request(v1::ResumeConversationRequest { key: key.wire(), request_id, reason }, Some(key));
        Ok(self.operator.clone().resume_conversation(request).await?.into_inner().replayed)
    }

    /// Erases a conversation. With `uid` only if it is that one, which makes it safe to ask again.
    ///
    /// # Errors
    /// [`ClientError`]; NOT_FOUND when it was erased before.
    pub async fn erase(
        &self,
        key: &Key,
        request_id: &str,
        uid: Option<&str>,
        reason: &str,
    ) -> Result<v1::ErasureReceipt, ClientError> {
        let message = v1::EraseConversationRequest {
            key: key.wire(),
            request_id: request_id.to_owned(),
            reason: reason.to_owned(),
            uid: uid.unwrap_or_default().to_owned(),
        };
        let request = self.request(message, Some(key));
        let response = self.conversations.clone().erase_conversation(request).await?.into_inner();
        Ok(response.receipt.unwrap_or_default())
    }

    /// Has the server make a whole pass of compaction, and waits for it at most `patience`. It goes on when the wait
    /// ends.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn compact(&self, patience: Duration) -> Result<v1::CompactStoreResponse, ClientError> {
        let mut request = Request::new(v1::CompactStoreRequest {});
        request.set_timeout(patience);
        Ok(self.operator.clone().compact_store(request).await?.into_inner())
    }

    /// One page of the conversations that are quarantined.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn quarantined(
        &self,
        message: v1::ListQuarantinedRequest,
    ) -> Result<v1::ListQuarantinedResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.operator.clone().list_quarantined(request).await?.into_inner())
    }

    /// Releases a conversation from its quarantine; whether it was quarantined.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn release(&self, key: &Key) -> Result<bool, ClientError> {
        let message = v1::ReleaseConversationRequest { key: key.wire() };
        let request = self.request(message, Some(key));
        Ok(self.operator.clone().release_conversation(request).await?.into_inner().released)
    }

    /// Puts a conversation to rest; whether it was in memory.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn passivate(&self, key: &Key) -> Result<bool, ClientError> {
        let message = v1::PassivateConversationRequest { key: key.wire() };
        let request = self.request(message, Some(key));
        Ok(self.operator.clone().passivate_conversation(request).await?.into_inner().was_active)
    }

    /// One page of the supervision tree, as `filter` asks for it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tree_page(
        &self,
        filter: v1::GetSupervisionTreeRequest,
    ) -> Result<v1::GetSupervisionTreeResponse, ClientError> {
        let request = self.request(filter, None);
        Ok(self.operator.clone().get_supervision_tree(request).await?.into_inner())
    }

    /// The supervision tree as it changes. Has no deadline.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch_tree(
        &self,
        filter: v1::WatchSupervisionTreeRequest,
    ) -> Result<Events<v1::WatchSupervisionTreeResponse>, ClientError> {
        Ok(Events::new(self.operator.clone().watch_supervision_tree(filter).await?.into_inner()))
    }

    /// One actor, looked at closely.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn inspect(&self, path: &str) -> Result<v1::InspectActorResponse, ClientError> {
        let request = self.request(v1::InspectActorRequest { path: path.to_owned() }, None);
        Ok(self.operator.clone().inspect_actor(request).await?.into_inner())
    }

    /// Kills an actor, within the server's budget.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn kill(&self, path: &str, reason: &str) -> Result<v1::ActorKind, ClientError> {
        let message = v1::KillActorRequest { path: path.to_owned(), reason: reason.to_owned() };
        Ok(self.operator.clone().kill_actor(self.request(message, None)).await?.into_inner().kind())
    }

    /// Ends the server, or tells what that would wait for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drain(&self, estimate_only: bool, reason: &str) -> Result<v1::DrainResponse, ClientError> {
        let message = v1::DrainRequest { estimate_only, reason: reason.to_owned() };
        Ok(self.operator.clone().drain(self.request(message, None)).await?.into_inner())
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
