//! Calls of `FlowService`, and feedback.

use tonic::Request;

use crate::{Client, ClientError, Key, route, v1};

impl Client {
    /// Tells what is wrong with sources.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn lint_flow(&self, sources: v1::FlowSources) -> Result<v1::LintFlowResponse, ClientError> {
        let request = self.request(v1::LintFlowRequest { sources: Some(sources) }, None);
        Ok(self.flows.clone().lint_flow(request).await?.into_inner())
    }

    /// Keeps a revision of a flow.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn publish_flow(&self, message: v1::PublishFlowRequest) -> Result<v1::PublishFlowResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.flows.clone().publish_flow(request).await?.into_inner())
    }

    /// Makes a published revision the one that the tenant's conversations run.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn promote_flow(&self, message: v1::PromoteFlowRequest) -> Result<v1::PromoteFlowResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.flows.clone().promote_flow(request).await?.into_inner())
    }

    /// One page of a tenant's published revisions.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revisions(&self, message: v1::ListRevisionsRequest) -> Result<v1::ListRevisionsResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.flows.clone().list_revisions(request).await?.into_inner())
    }

    /// One page of a tenant's promotions.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn promotions(
        &self,
        message: v1::ListPromotionsRequest,
    ) -> Result<v1::ListPromotionsResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.flows.clone().list_promotions(request).await?.into_inner())
    }

    /// The states of a flow and the declared transitions between them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn transition_graph(
        &self,
        message: v1::GetTransitionGraphRequest,
    ) -> Result<v1::GetTransitionGraphResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.flows.clone().get_transition_graph(request).await?.into_inner())
    }

    /// Plays scenarios on a revision.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn run_scenarios(
        &self,
        message: v1::RunScenariosRequest,
    ) -> Result<v1::RunScenariosResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.flows.clone().run_scenarios(request).await?.into_inner())
    }

    /// One page of the conversations that run an older revision.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pinned(&self, message: v1::ListPinnedRequest) -> Result<v1::ListPinnedResponse, ClientError> {
        let request = self.request(message, None);
        Ok(self.flows.clone().list_pinned(request).await?.into_inner())
    }

    /// Decides a conversation's turns again: on their own revisions, or on another.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn replay(
        &self,
        key: &Key,
        against_revision: Option<String>,
    ) -> Result<v1::ReplayConversationResponse, ClientError> {
        let message = v1::ReplayConversationRequest { key: key.wire(), against_revision };
        let request = self.request(message, Some(key));
        Ok(self.flows.clone().replay_conversation(request).await?.into_inner())
    }

    /// Keeps what someone thought of a turn; the message's key is set to `key`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn record_feedback(
        &self,
        key: &Key,
        message: v1::RecordFeedbackRequest,
    ) -> Result<v1::RecordFeedbackResponse, ClientError> {
        let request = self.request(v1::RecordFeedbackRequest { key: key.wire(), ..message }, Some(key));
        Ok(self.conversations.clone().record_feedback(request).await?.into_inner())
    }

    /// One page of what was thought of a conversation's turns.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn feedback(
        &self,
        key: &Key,
        page_size: u32,
        page_token: &str,
    ) -> Result<v1::ListFeedbackResponse, ClientError> {
        let message = v1::ListFeedbackRequest { key: key.wire(), page_size, page_token: page_token.to_owned() };
        let mut request: Request<_> = self.request(message, None);
        route(&mut request, Some(key));
        Ok(self.conversations.clone().list_feedback(request).await?.into_inner())
    }
}
