//! Pauses of a whole tenant, or of a revision that its conversations run.

use std::sync::Arc;

use colloquy_types::{RequestId, SHARED_TENANT, TenantId};
use tokio::time::Instant;

use super::{
    Runtime,
    flows::{Attribution, answered},
};
use crate::{
    admission::Caller,
    conversation::traffic_digest,
    error::Error,
    flows::{
        PausedRevision, TrafficPause,
        keeper::{Message, Pause},
    },
};

/// A published revision as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionChoice {
    /// The flow's name.
    pub flow: String,
    /// All hexadecimal digits of the revision, or the first of them.
    pub digits: String,
}

/// A pause of a tenant or of a revision, or the end of one, as a caller asks for it.
#[derive(Clone, Debug)]
pub struct PauseTraffic {
    /// Whose turns are meant.
    pub tenant: TenantId,
    /// Those of conversations that run this revision, the tenant's or a shared one; none for all of the tenant's turns.
    pub revision: Option<RevisionChoice>,
    /// The caller's idempotency key, of which the tenant's stream remembers the last 1,000.
    pub request_id: RequestId,
    /// Whether turns are to be refused, or taken again.
    pub paused: bool,
    /// Who pauses, and why; refusals tell why.
    pub attribution: Attribution,
    /// When the caller no longer wants an answer.
    pub deadline: Instant,
}

/// What a pause, or the end of one, came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficReply {
    /// The pause that holds now; none when there is none.
    pub pause: Option<Arc<TrafficPause>>,
    /// Whether nothing was written: it was so already, or the request was done before.
    pub replayed: bool,
}

/// A part of what is paused.
#[derive(Clone, Debug, Default)]
pub struct PausedPage {
    /// It, in the order of [`TrafficPause::place`].
    pub rows: Vec<Arc<TrafficPause>>,
    /// Behind which place the next page begins; none when this is the last.
    pub next: Option<String>,
    /// How many pauses of all tenants hold.
    pub total: usize,
}

impl Runtime {
    /// Has turns of a tenant, or of its conversations that run a revision, refused from here on, or taken again. Turns
    /// that run are let end; those that wait are refused when they would begin. Conversations may leave a paused
    /// revision, and none moves to it. It survives restarts; everything but turns goes on.
    ///
    /// # Errors
    /// [`Error`]; with [`crate::DeadlineOutcome::Unknown`] the same request id tells whether it was done.
    pub async fn pause_traffic(&self, pause: PauseTraffic) -> Result<TrafficReply, Error> {
        let place = self.flow_work()?;
        let PauseTraffic { tenant, revision, request_id, paused, attribution, deadline } = pause;
        let revision = revision.map(|choice| self.chosen_revision(&tenant, &choice)).transpose()?;
        let Attribution { by, note: reason } = attribution;
        let of = revision.as_ref().map(|of| (of.flow.as_str(), of.revision.0.as_slice()));
        let request_digest = traffic_digest(paused, of, &by, &reason);
        let (caller, answer) = Caller::new(place);
        let message = Pause { tenant, revision, paused, by, reason, request_id, request_digest, deadline, caller };
        self.tell_keeper(Message::Pause(Box::new(message)))?;
        let (pause, replayed) = answered(deadline, answer).await?;
        Ok(TrafficReply { pause, replayed })
    }

    /// What is paused, of `tenant` or of all, behind the place `after`. Conversations that were paused one by one are
    /// not told.
    pub fn paused_traffic(&self, tenant: Option<&str>, after: Option<&str>, limit: usize) -> PausedPage {
        let pauses = self.shared.flows.pauses();
        let mut rows = pauses.list(tenant, after, limit.saturating_add(1));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(|row| row.place()) } else { None };
        PausedPage { rows, next, total: pauses.len() }
    }

    /// The revision that is meant: the tenant's own, or else a shared one.
    fn chosen_revision(&self, tenant: &TenantId, choice: &RevisionChoice) -> Result<PausedRevision, Error> {
        let RevisionChoice { flow, digits } = choice;
        let resolve = |owner: &str| self.shared.flows.resolve(owner, flow, digits);
        let found = match resolve(tenant.as_str()) {
            Err(Error::RevisionAbsent { .. }) => resolve(SHARED_TENANT),
            found => found,
        }?;
        Ok(PausedRevision { flow: found.name.clone(), revision: found.revision })
    }
}
