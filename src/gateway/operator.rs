//! `OperatorService`.

use std::{sync::Arc, time::Duration};

use colloquy_actors::{ActorKind, ControlReply, Error, LimitKind, PauseConversation, Runtime, TreeFilter};
use colloquy_proto::v1::{self, operator_service_server::OperatorService};
use colloquy_types::TenantId;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use crate::{convert, deadline, log::Operation, status, streams::BoxedStream, traffic, tree_watch, validate::Faults};

/// Rows of a page when the caller does not say.
const PAGE_ROWS_DEFAULT: u32 = 100;
/// Watches of the tree that may be open at once: each holds what it told of every actor.
const TREE_WATCHES_MAX: usize = 16;
/// When to try again once they are.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The service.
pub(crate) struct Operator {
    runtime: Runtime,
    tree_watches: Arc<Semaphore>,
}

impl Operator {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self { runtime, tree_watches: Arc::new(Semaphore::new(TREE_WATCHES_MAX)) }
    }

    async fn pause(
        &self,
        metadata: &MetadataMap,
        asked: v1::PauseConversationRequest,
        paused: bool,
    ) -> Result<ControlReply, Status> {
        let deadline = deadline::of_call(metadata, self.runtime.settings());
        let mut faults = Faults::default();
        let key = faults.key(asked.key.as_ref(), metadata);
        let (request_id, reason) = (faults.request_id(&asked.request_id), faults.reason(asked.reason));
        let ((key, request_id), reason) = faults.finish(key.zip(request_id).zip(reason))?;
        let named = key.clone();
        let done = self.runtime.pause(PauseConversation { key, request_id, paused, reason, deadline }).await;
        done.map_err(|error| status::status(&error, named.as_str()))
    }

    fn kill(&self, path: &str, reason: String) -> Result<ActorKind, Status> {
        let mut faults = Faults::default();
        let reason = faults.reason_given(reason);
        faults.finish(reason)?;
        self.runtime.kill(path).map_err(|error| status::status(&error, ""))
    }

    fn release(&self, metadata: &MetadataMap, key: Option<&v1::ConversationKey>) -> Result<bool, Status> {
        let mut faults = Faults::default();
        let key = faults.key(key, metadata);
        Ok(self.runtime.release(&faults.finish(key)?))
    }

    async fn passivate(&self, metadata: &MetadataMap, key: Option<&v1::ConversationKey>) -> Result<bool, Status> {
        let deadline = deadline::of_call(metadata, self.runtime.settings());
        let mut faults = Faults::default();
        let key = faults.key(key, metadata);
        let key = faults.finish(key)?;
        let passivated = self.runtime.passivate(&key, deadline).await;
        passivated.map_err(|error| status::status(&error, key.as_str()))
    }
}

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn get_supervision_tree(
        &self,
        request: Request<v1::GetSupervisionTreeRequest>,
    ) -> Result<Response<v1::GetSupervisionTreeResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let message = request.into_inner();
        let mut faults = Faults::default();
        let (kind, rows) = (faults.actor_kind(message.kind), faults.page_size(message.page_size, PAGE_ROWS_DEFAULT));
        let (kind, rows) = faults.finish(kind.zip(rows))?;
        let tenant = Some(message.tenant).filter(|tenant| !tenant.is_empty());
        let filter = TreeFilter { kind: convert::actor_kind(kind), tenant };
        let after = Some(message.page_token.as_str()).filter(|token| !token.is_empty());
        let page = self.runtime.tree(&filter, after, rows, deadline).await;
        let page = page.map_err(|error| status::status(&error, ""))?;
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
        let operation = Operation::new("KillActor", &request);
        let v1::KillActorRequest { path, reason } = request.into_inner();
        let operation = operation.on(&path).because(&reason);
        let killed = operation.ended(self.kill(&path, reason))?;
        Ok(Response::new(v1::KillActorResponse { kind: convert::kind_of_actor(killed).into() }))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        let operation = Operation::new("Drain", &request);
        let v1::DrainRequest { estimate_only, reason } = request.into_inner();
        let operation = operation.because(&reason);
        let mut faults = Faults::default();
        let reason = faults.reason(reason);
        let checked = faults.finish(reason);
        let estimate = self.runtime.drain_estimate();
        if estimate_only {
            checked?;
        } else {
            operation.ended(checked)?;
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
        let place = Arc::clone(&self.tree_watches).try_acquire_owned();
        let (limit, bound, retry_after) = (LimitKind::Watches, TREE_WATCHES_MAX, RETRY_AFTER);
        let full = |_| status::status(&Error::Overloaded { limit, bound, retry_after }, "");
        Ok(Response::new(tree_watch::events(self.runtime.clone(), filter, interval, place.map_err(full)?)))
    }

    async fn pause_conversation(
        &self,
        request: Request<v1::PauseConversationRequest>,
    ) -> Result<Response<v1::PauseConversationResponse>, Status> {
        let operation = Operation::new("PauseConversation", &request);
        let (metadata, _, asked) = request.into_parts();
        let operation = operation.on_key(asked.key.as_ref()).request(&asked.request_id).because(&asked.reason);
        let reply = operation.ended(self.pause(&metadata, asked, true).await)?;
        let head = Some(convert::head(&reply.head));
        Ok(Response::new(v1::PauseConversationResponse { head, replayed: reply.replayed }))
    }

    async fn resume_conversation(
        &self,
        request: Request<v1::ResumeConversationRequest>,
    ) -> Result<Response<v1::ResumeConversationResponse>, Status> {
        let operation = Operation::new("ResumeConversation", &request);
        let (metadata, _, v1::ResumeConversationRequest { key, request_id, reason }) = request.into_parts();
        let asked = v1::PauseConversationRequest { key, request_id, reason };
        let operation = operation.on_key(asked.key.as_ref()).request(&asked.request_id).because(&asked.reason);
        let reply = operation.ended(self.pause(&metadata, asked, false).await)?;
        let head = Some(convert::head(&reply.head));
        Ok(Response::new(v1::ResumeConversationResponse { head, replayed: reply.replayed }))
    }

    async fn pause_traffic(
        &self,
        request: Request<v1::PauseTrafficRequest>,
    ) -> Result<Response<v1::PauseTrafficResponse>, Status> {
        let operation = Operation::new("PauseTraffic", &request);
        let (metadata, _, v1::PauseTrafficRequest { traffic, request_id, actor, reason }) = request.into_parts();
        let asked = traffic::Asked { traffic, request_id, actor, reason, paused: true };
        let reply = traffic::steer(&self.runtime, &metadata, asked, operation).await?;
        let pause = reply.pause.map(|pause| traffic::pause(&pause));
        Ok(Response::new(v1::PauseTrafficResponse { pause, replayed: reply.replayed }))
    }

    async fn resume_traffic(
        &self,
        request: Request<v1::ResumeTrafficRequest>,
    ) -> Result<Response<v1::ResumeTrafficResponse>, Status> {
        let operation = Operation::new("ResumeTraffic", &request);
        let (metadata, _, v1::ResumeTrafficRequest { traffic, request_id, actor, reason }) = request.into_parts();
        let asked = traffic::Asked { traffic, request_id, actor, reason, paused: false };
        let reply = traffic::steer(&self.runtime, &metadata, asked, operation).await?;
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
        let operation = Operation::new("CompactStore", &request);
        let deadline = deadline::of_wait(request.metadata(), self.runtime.settings());
        let compacted = self.runtime.compact(deadline).await.map_err(|error| status::status(&error, ""));
        let compacted = operation.ended(compacted)?;
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
        let key = request.get_ref().key.as_ref();
        let operation = Operation::new("ReleaseConversation", &request).on_key(key);
        let released = operation.ended(self.release(request.metadata(), key))?;
        Ok(Response::new(v1::ReleaseConversationResponse { released }))
    }

    async fn passivate_conversation(
        &self,
        request: Request<v1::PassivateConversationRequest>,
    ) -> Result<Response<v1::PassivateConversationResponse>, Status> {
        let operation = Operation::new("PassivateConversation", &request).on_key(request.get_ref().key.as_ref());
        let (metadata, _, v1::PassivateConversationRequest { key }) = request.into_parts();
        let was_active = operation.ended(self.passivate(&metadata, key.as_ref()).await)?;
        Ok(Response::new(v1::PassivateConversationResponse { was_active }))
    }

    async fn get_runtime(&self, _: Request<v1::GetRuntimeRequest>) -> Result<Response<v1::GetRuntimeResponse>, Status> {
        Ok(Response::new(convert::runtime(self.runtime.stats(), env!("CARGO_PKG_VERSION"))))
    }
}
