//! `FlowService`.

mod convert;

use std::sync::Arc;

use colloquy_actors::{Attribution, FlowChoice, PromoteFlow, PublishFlow, Runtime};
use colloquy_proto::{
    RESPONSE_BYTES_MAX, encoded_len,
    v1::{self, flow_service_server::FlowService},
};
use colloquy_telemetry::Metrics;
use tonic::{Request, Response, Status};
use tracing::debug;

use crate::{deadline, status, validate::Faults};

/// Rows of a page when the caller does not say.
const PAGE_ROWS_DEFAULT: u32 = 50;

/// The service.
pub(crate) struct Flows {
    runtime: Runtime,
    metrics: Arc<Metrics>,
}

impl Flows {
    pub(crate) fn new(runtime: Runtime, metrics: Arc<Metrics>) -> Self {
        Self { runtime, metrics }
    }

    fn refuse(&self, status: Status) -> Status {
        self.metrics.calls_refused.inc();
        status
    }

    fn error(&self, method: &'static str, error: &colloquy_actors::Error) -> Status {
        debug!(method, reason = status::reason(error), "call refused");
        self.refuse(status::status(error, ""))
    }

    /// Which rows of which flows are asked for: the tenant, the flow, how many rows, below which number.
    fn page(
        &self,
        tenant: &str,
        flow: String,
        page_size: u32,
        token: &str,
    ) -> Result<(colloquy_types::TenantId, String, usize, u64), Status> {
        let mut faults = Faults::default();
        let (tenant, flow) = (faults.tenant(tenant), faults.flow_filter(flow));
        let (rows, below) = (faults.page_size(page_size, PAGE_ROWS_DEFAULT), faults.page_number(token, u64::MAX));
        let asked = (|| Some((tenant?, flow?, rows?, below?)))();
        faults.finish(asked).map_err(|status| self.refuse(status))
    }
}

fn choice(faults: &mut Faults, tenant: &str, flow: &str, revision: &str) -> Option<FlowChoice> {
    let (tenant, flow) = (faults.tenant(tenant), faults.flow_name(flow));
    let revision = faults.digits("revision", revision, true);
    Some(FlowChoice { tenant: tenant?, flow: flow?, revision: revision? })
}

/// Cuts a page that was read with one row too many; gives the token of the next.
fn next<T>(rows: &mut Vec<T>, limit: usize, number: impl Fn(&T) -> u64) -> String {
    let more = rows.len() > limit;
    rows.truncate(limit);
    rows.last().filter(|_| more).map(|last| number(last).to_string()).unwrap_or_default()
}

#[tonic::async_trait]
impl FlowService for Flows {
    async fn lint_flow(&self, request: Request<v1::LintFlowRequest>) -> Result<Response<v1::LintFlowResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let mut faults = Faults::default();
        let sources = faults.sources(request.into_inner().sources);
        let sources = faults.finish(sources).map_err(|status| self.refuse(status))?;
        let compiled = self.runtime.lint_flow(sources, deadline).await;
        let compiled = compiled.map_err(|error| self.error("LintFlow", &error))?;
        Ok(Response::new(convert::linted(compiled)))
    }

    async fn publish_flow(
        &self,
        request: Request<v1::PublishFlowRequest>,
    ) -> Result<Response<v1::PublishFlowResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let message = request.into_inner();
        let mut faults = Faults::default();
        let (tenant, sources) = (faults.tenant(&message.tenant), faults.sources(message.sources));
        let (by, note) = (faults.actor(message.actor), faults.note(message.note));
        let publish = (|| {
            let (tenant, sources, attribution) = (tenant?, sources?, Attribution { by: by?, note: note? });
            Some(PublishFlow { tenant, sources, attribution, deadline })
        })();
        let publish = faults.finish(publish).map_err(|status| self.refuse(status))?;
        let tenant = publish.tenant.clone();
        let published = self.runtime.publish_flow(publish).await;
        let published = published.map_err(|error| self.error("PublishFlow", &error))?;
        let revision = &published.revision;
        let promoted = self.runtime.promoted_revision(&tenant, revision.name.as_str());
        Ok(Response::new(v1::PublishFlowResponse {
            revision: Some(convert::revision(revision, promoted)),
            created: published.created,
            faults: convert::faults(&revision.faults),
        }))
    }

    async fn promote_flow(
        &self,
        request: Request<v1::PromoteFlowRequest>,
    ) -> Result<Response<v1::PromoteFlowResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let message = request.into_inner();
        let mut faults = Faults::default();
        let (tenant, flow) = (faults.tenant(&message.tenant), faults.flow_name(&message.flow));
        let revision = faults.digits("revision", &message.revision, false);
        let expected_from = message.expected_from.map(|digits| faults.digits("expected_from", &digits, true));
        let expected_from = expected_from.map(|digits| digits.filter(|digits| !digits.is_empty()));
        let (by, note) = (faults.actor(message.actor), faults.note(message.note));
        let promote = (|| {
            let attribution = Attribution { by: by?, note: note? };
            let (tenant, flow, revision) = (tenant?, flow?, revision?);
            Some(PromoteFlow { tenant, flow, revision, expected_from, attribution, deadline })
        })();
        let promote = faults.finish(promote).map_err(|status| self.refuse(status))?;
        let promoted = self.runtime.promote_flow(promote).await;
        let promoted = promoted.map_err(|error| self.error("PromoteFlow", &error))?;
        let promotion = Some(convert::promotion(&promoted.promotion));
        Ok(Response::new(v1::PromoteFlowResponse { promotion, changed: promoted.changed }))
    }

    async fn list_revisions(
        &self,
        request: Request<v1::ListRevisionsRequest>,
    ) -> Result<Response<v1::ListRevisionsResponse>, Status> {
        let v1::ListRevisionsRequest { tenant, flow, page_size, page_token } = request.into_inner();
        let (tenant, flow, limit, below) = self.page(&tenant, flow, page_size, &page_token)?;
        let mut rows = self.runtime.flow_revisions(&tenant, &flow, below, limit + 1);
        let next_page_token = next(&mut rows, limit, |row| row.number);
        let row = |row: &Arc<colloquy_actors::FlowRevision>| {
            convert::revision(row, self.runtime.promoted_revision(&tenant, row.name.as_str()))
        };
        Ok(Response::new(v1::ListRevisionsResponse { revisions: rows.iter().map(row).collect(), next_page_token }))
    }

    async fn list_promotions(
        &self,
        request: Request<v1::ListPromotionsRequest>,
    ) -> Result<Response<v1::ListPromotionsResponse>, Status> {
        let v1::ListPromotionsRequest { tenant, flow, page_size, page_token } = request.into_inner();
        let (tenant, flow, limit, below) = self.page(&tenant, flow, page_size, &page_token)?;
        let mut rows = self.runtime.flow_promotions(&tenant, &flow, below, limit + 1);
        let next_page_token = next(&mut rows, limit, |row| row.number);
        let promotions = rows.iter().map(|row| convert::promotion(row)).collect();
        Ok(Response::new(v1::ListPromotionsResponse { promotions, next_page_token }))
    }

    async fn get_transition_graph(
        &self,
        request: Request<v1::GetTransitionGraphRequest>,
    ) -> Result<Response<v1::GetTransitionGraphResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let message = request.into_inner();
        let mut faults = Faults::default();
        let choice = choice(&mut faults, &message.tenant, &message.flow, &message.revision);
        let format = faults.graph_format(message.format);
        let (choice, drawing) = faults.finish(choice.zip(format)).map_err(|status| self.refuse(status))?;
        let answer = match drawing {
            None => self.runtime.transition_graph(&choice).map(convert::graph),
            Some(drawing) => self.runtime.draw_transitions(&choice, drawing, deadline).await.map(convert::drawn),
        };
        let answer = answer.map_err(|error| self.error("GetTransitionGraph", &error))?;
        let bytes = encoded_len(&answer);
        if bytes > RESPONSE_BYTES_MAX {
            return Err(self.refuse(status::answer_too_large(bytes, RESPONSE_BYTES_MAX)));
        }
        Ok(Response::new(answer))
    }

    async fn run_scenarios(
        &self,
        request: Request<v1::RunScenariosRequest>,
    ) -> Result<Response<v1::RunScenariosResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let message = request.into_inner();
        let mut faults = Faults::default();
        let choice = choice(&mut faults, &message.tenant, &message.flow, &message.revision);
        let given = message.scenarios.map(|scenarios| faults.scenarios("scenarios", scenarios));
        let choice = faults.finish(choice).map_err(|status| self.refuse(status))?;
        let played = self.runtime.run_scenarios(&choice, given.flatten(), deadline).await;
        let (revision, results) = played.map_err(|error| self.error("RunScenarios", &error))?;
        Ok(Response::new(convert::played(revision, results)))
    }

    async fn list_pinned(
        &self,
        request: Request<v1::ListPinnedRequest>,
    ) -> Result<Response<v1::ListPinnedResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let v1::ListPinnedRequest { tenant, flow, page_size, page_token } = request.into_inner();
        let (tenant, flow, limit, _) = self.page(&tenant, flow, page_size, "")?;
        let after = Some(page_token.as_str()).filter(|token| !token.is_empty());
        let page = self.runtime.list_pinned(&tenant, &flow, after, limit, deadline).await;
        let page = page.map_err(|error| self.error("ListPinned", &error))?;
        Ok(Response::new(v1::ListPinnedResponse {
            conversations: page.rows.into_iter().map(convert::pinned).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn replay_conversation(
        &self,
        request: Request<v1::ReplayConversationRequest>,
    ) -> Result<Response<v1::ReplayConversationResponse>, Status> {
        let deadline = deadline::of_call(request.metadata(), self.runtime.settings());
        let mut faults = Faults::default();
        let key = faults.key(request.get_ref().key.as_ref(), request.metadata());
        let against = request.into_inner().against_revision;
        let against = against.map(|digits| faults.digits("against_revision", &digits, true));
        let key = faults.finish(key).map_err(|status| self.refuse(status))?;
        let replayed = self.runtime.replay_conversation(&key, against.flatten().as_deref(), deadline).await;
        let replayed = replayed.map_err(|error| self.error("ReplayConversation", &error))?;
        Ok(Response::new(convert::replayed(replayed)))
    }
}
