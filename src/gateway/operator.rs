//! `OperatorService`.

use colloquy_actors::{ControlReply, PauseConversation, Runtime, TreeFilter};
use colloquy_proto::v1::{self, operator_service_server::OperatorService};
use colloquy_types::TenantId;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use crate::{convert, deadline, log::Call, status, streams::BoxedStream, traffic, tree_watch, validate::Faults};

/// Rows of a page when the caller does not say.
const PAGE_ROWS_DEFAULT: u32 = 100;

/// The service.
pub(crate) struct Operator {
    runtime: Runtime,
}

impl Operator {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self { runtime }
    }
}

/// What a pause and the end of one are asked with.
struct Asked {
    key: Option<v1::ConversationKey>,
    request_id: String,
    reason: String,
}

impl Operator {
    async fn pause(&self, metadata: &MetadataMap, asked: Asked, paused: bool) -> Result<ControlReply, Status> {
        let deadline = deadline::of_call(metadata, self.runtime.settings());
        let mut faults = Faults::default();
        let key = faults.key(asked.key.as_ref(), metadata);
        let (request_id, reason) = (faults.request_id(&asked.request_id), faults.reason(asked.reason));
        let ((key, request_id), reason) = faults.finish(key.zip(request_id).zip(reason))?;
        let method = if paused { "PauseConversation" } else { "ResumeConversation" };
        let call = Call { method, request_id: request_id.clone(), key: key.clone() };
        let done = self.runtime.pause(PauseConversation { key, request_id, paused, reason, deadline }).await;
        let reply = done.map_err(|error| {
            call.refused(&error);
            status::status(&error, call.key.as_str())
        })?;
        call.operated();
        Ok(reply)
    }
}

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn get_supervision_tree(
        &self,
        request: Request<v1::GetSupervisionTreeRequest>,
    ) -> Result<Response<v1::GetSupervisionTreeResponse>, Status> {
        let message = request.into_inner();
        let mut faults = Faults::default();
        let (kind, rows) = (faults.actor_kind(message.kind), faults.page_size(message.page_size, PAGE_ROWS_DEFAULT));
        let (kind, rows) = faults.finish(kind.zip(rows))?;
        let tenant = Some(message.tenant).filter(|tenant| !tenant.is_empty());
        let filter = TreeFilter { kind: convert::actor_kind(kind), tenant };
        let after = Some(message.page_token.as_str()).filter(|token| !token.is_empty());
        let page = self.runtime.tree(&filter, after, rows);
        Ok(Response::new(v1::GetSupervisionTreeResponse {
            actors: page.rows.into_iter().map(convert::actor).collect(),
            next_page_token: page.next.unwrap_or_default(),
            total: page.total as u64,
        }))
    }

    async fn inspect_actor(
        &self,
        request: Request<v1::InspectActorRequest>,
    ) -> Result<Response<v1::InspectActorResponse>, Status> {
        let inspected = self.runtime.inspect(&request.into_inner().path).await;
        Ok(Response::new(convert::inspection(inspected.map_err(|error| status::status(&error, ""))?)))
    }

    async fn kill_actor(
        &self,
        request: Request<v1::KillActorRequest>,
    ) -> Result<Response<v1::KillActorResponse>, Status> {
        let v1::KillActorRequest { path, reason } = request.into_inner();
        let mut faults = Faults::default();
        let reason = faults.reason_given(reason);
        let reason = faults.finish(reason)?;
        let killed = self.runtime.kill(&path).map_err(|error| status::status(&error, ""))?;
        tracing::warn!(kind = ?killed, %reason, "actor killed by an operator");
        Ok(Response::new(v1::KillActorResponse { kind: convert::kind_of_actor(killed).into() }))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        let v1::DrainRequest { estimate_only, reason } = request.into_inner();
        let mut faults = Faults::default();
        let reason = faults.reason(reason);
        let reason = faults.finish(reason)?;
        let estimate = self.runtime.drain_estimate();
        if !estimate_only {
            tracing::warn!(%reason, in_flight = estimate.in_flight, "an operator ends the server");
            self.runtime.ask_to_end();
        }
        Ok(Response::new(v1::DrainResponse {
            in_flight: estimate.in_flight as u64,
            conversations_active: estimate.conversations_active as u64,
            watchers: estimate.watchers as u64,
            at_most_ms: u64::try_from(estimate.at_most.as_millis()).unwrap_or(u64::MAX),
        }))
    }

    type WatchSupervisionTreeStream = BoxedStream<v1::WatchSupervisionTreeResponse>;

    async fn watch_supervision_tree(
        &self,
        request: Request<v1::WatchSupervisionTreeRequest>,
    ) -> Result<Response<Self::WatchSupervisionTreeStream>, Status> {
        let message = request.into_inner();
        let mut faults = Faults::default();
        let (kind, interval) = (faults.actor_kind(message.kind), faults.interval(message.interval_ms));
        let (kind, interval) = faults.finish(kind.zip(interval))?;
        let tenant = Some(message.tenant).filter(|tenant| !tenant.is_empty());
        let filter = TreeFilter { kind: convert::actor_kind(kind), tenant };
        Ok(Response::new(tree_watch::events(self.runtime.clone(), filter, interval)))
    }

    async fn pause_conversation(
        &self,
        request: Request<v1::PauseConversationRequest>,
    ) -> Result<Response<v1::PauseConversationResponse>, Status> {
        let (metadata, _, v1::PauseConversationRequest { key, request_id, reason }) = request.into_parts();
        let reply = self.pause(&metadata, Asked { key, request_id, reason }, true).await?;
        let head = Some(convert::head(&reply.head));
        Ok(Response::new(v1::PauseConversationResponse { head, replayed: reply.replayed }))
    }

    async fn resume_conversation(
        &self,
        request: Request<v1::ResumeConversationRequest>,
    ) -> Result<Response<v1::ResumeConversationResponse>, Status> {
        let (metadata, _, v1::ResumeConversationRequest { key, request_id, reason }) = request.into_parts();
        let reply = self.pause(&metadata, Asked { key, request_id, reason }, false).await?;
        let head = Some(convert::head(&reply.head));
        Ok(Response::new(v1::ResumeConversationResponse { head, replayed: reply.replayed }))
    }

    async fn pause_traffic(
        &self,
        request: Request<v1::PauseTrafficRequest>,
    ) -> Result<Response<v1::PauseTrafficResponse>, Status> {
        let (metadata, _, v1::PauseTrafficRequest { traffic, request_id, actor, reason }) = request.into_parts();
        let asked = traffic::Asked { traffic, request_id, actor, reason, paused: true };
        let reply = traffic::steer(&self.runtime, &metadata, asked).await?;
        let pause = reply.pause.map(|pause| traffic::pause(&pause));
        Ok(Response::new(v1::PauseTrafficResponse { pause, replayed: reply.replayed }))
    }

    async fn resume_traffic(
        &self,
        request: Request<v1::ResumeTrafficRequest>,
    ) -> Result<Response<v1::ResumeTrafficResponse>, Status> {
        let (metadata, _, v1::ResumeTrafficRequest { traffic, request_id, actor, reason }) = request.into_parts();
        let asked = traffic::Asked { traffic, request_id, actor, reason, paused: false };
        let reply = traffic::steer(&self.runtime, &metadata, asked).await?;
        let pause = reply.pause.as_deref().map(traffic::pause);
        Ok(Response::new(v1::ResumeTrafficResponse { replayed: reply.replayed, pause }))
    }

    async fn list_paused(
        &self,
        request: Request<v1::ListPausedRequest>,
    ) -> Result<Response<v1::ListPausedResponse>, Status> {
        let v1::ListPausedRequest { tenant, page_size, page_token } = request.into_inner();
        let mut faults = Faults::default();
        let rows = faults.page_size(page_size, PAGE_ROWS_DEFAULT);
        let tenant = if tenant.is_empty() { Some(None) } else { faults.tenant(&tenant).map(Some) };
        let (rows, tenant) = faults.finish(rows.zip(tenant))?;
        let after = Some(page_token.as_str()).filter(|token| !token.is_empty());
        let page = self.runtime.paused_traffic(tenant.as_ref().map(TenantId::as_str), after, rows);
        Ok(Response::new(v1::ListPausedResponse {
            rows: page.rows.iter().map(|row| traffic::pause(row)).collect(),
            next_page_token: page.next.unwrap_or_default(),
            total: page.total as u64,
        }))
    }

    async fn compact_store(
        &self,
        request: Request<v1::CompactStoreRequest>,
    ) -> Result<Response<v1::CompactStoreResponse>, Status> {
        let deadline = deadline::of_wait(request.metadata(), self.runtime.settings());
        let compacted = self.runtime.compact(deadline).await.map_err(|error| status::status(&error, ""))?;
        let pending = self.runtime.stats().store.erasures_pending;
        Ok(Response::new(convert::compacted(&compacted, pending)))
    }

    async fn list_quarantined(
        &self,
        request: Request<v1::ListQuarantinedRequest>,
    ) -> Result<Response<v1::ListQuarantinedResponse>, Status> {
        let message = request.into_inner();
        let mut faults = Faults::default();
        let rows = faults.page_size(message.page_size, PAGE_ROWS_DEFAULT);
        let tenant = if message.tenant.is_empty() { Some(None) } else { faults.tenant(&message.tenant).map(Some) };
        let (rows, tenant) = faults.finish(rows.zip(tenant))?;
        let after = Some(message.page_token.as_str()).filter(|token| !token.is_empty());
        let page = self.runtime.quarantined(tenant.as_ref().map(TenantId::as_str), after, rows);
        Ok(Response::new(v1::ListQuarantinedResponse {
            rows: page.rows.iter().map(|row| convert::quarantined(row)).collect(),
            next_page_token: page.next.unwrap_or_default(),
            total: page.total as u64,
        }))
    }

    async fn release_conversation(
        &self,
        request: Request<v1::ReleaseConversationRequest>,
    ) -> Result<Response<v1::ReleaseConversationResponse>, Status> {
        let mut faults = Faults::default();
        let key = faults.key(request.get_ref().key.as_ref(), request.metadata());
        let released = self.runtime.release(&faults.finish(key)?);
        Ok(Response::new(v1::ReleaseConversationResponse { released }))
    }

    async fn passivate_conversation(
        &self,
        request: Request<v1::PassivateConversationRequest>,
    ) -> Result<Response<v1::PassivateConversationResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let mut faults = Faults::default();
        let key = faults.key(request.get_ref().key.as_ref(), request.metadata());
        let key = faults.finish(key)?;
        let passivated = self.runtime.passivate(&key, deadline).await;
        let was_active = passivated.map_err(|error| status::status(&error, key.as_str()))?;
        Ok(Response::new(v1::PassivateConversationResponse { was_active }))
    }

    async fn get_runtime(&self, _: Request<v1::GetRuntimeRequest>) -> Result<Response<v1::GetRuntimeResponse>, Status> {
        Ok(Response::new(convert::runtime(self.runtime.stats(), env!("CARGO_PKG_VERSION"))))
    }
}
