//! How a tenant, or a revision that its conversations run, is paused and resumed: checked, written as one record,
//! taken up, answered.

use std::sync::Arc;

use colloquy_store::RecordKind;
use colloquy_turn::Remembered;
use colloquy_types::{RequestId, TenantId};
use tokio::time::Instant;

use super::{Keeper, State, in_time};
use crate::{
    admission::Caller,
    conversation::{EndingKind, Known, hash16},
    error::Error,
    flows::{
        open::encode,
        pauses::{PausedRevision, TrafficPause},
        record::{PauseDecision, PromotionRecord},
        workshop::Place,
    },
};

/// A pause, or the end of one, on its way to the log.
#[derive(Debug)]
pub(crate) struct Pause {
    pub(crate) tenant: TenantId,
    /// Of which revision; none for all of the tenant.
    pub(crate) revision: Option<PausedRevision>,
    pub(crate) paused: bool,
    pub(crate) by: String,
    pub(crate) reason: String,
    pub(crate) request_id: RequestId,
    pub(crate) request_digest: [u8; 16],
    pub(crate) deadline: Instant,
    pub(crate) caller: Caller<Result<Steered, Error>, Place>,
}

/// What a pause, or the end of one, came to: what is paused now, and whether it was so before.
pub(crate) type Steered = (Option<Arc<TrafficPause>>, bool);

impl Keeper {
    pub(super) async fn pause(&self, state: &mut State, pause: &Pause) -> Result<Steered, Error> {
        let Pause { tenant, revision, paused, by, reason, request_id, request_digest, deadline, .. } = pause;
        in_time(*deadline)?;
        self.stream(state, tenant, *deadline).await?;
        let pauses = self.shared.flows.pauses();
        let held = pauses.exactly(tenant, revision.as_ref());
        let ending = if *paused { EndingKind::Paused } else { EndingKind::Resumed };
        let request_hash = hash16(request_id.as_str().as_bytes());
        match pauses.known(tenant, &request_hash, request_digest) {
            Known::Ended { kind, .. } if kind == ending => {
                self.shared.metrics.duplicates.inc();
                return Ok((held, true));
            }
            Known::Ended { .. } | Known::Reused => return Err(Error::RequestIdReused),
            Known::No => {}
        }
        // What is so already need not be written; but the request must not do it later either.
        if held.is_some() == *paused {
            pauses.remember(
                tenant,
                Remembered { request_hash, request_digest: *request_digest, turn_seq: 0, kind: ending.to_byte() },
            );
            return Ok((held, true));
        }
        // The next start must read the stream before it takes a turn of the tenant.
        self.list(state, tenant, *deadline).await?;
        let record = PromotionRecord::PauseV1 {
            paused: *paused,
            revision: revision.as_ref().map(|of| (of.flow.to_string(), of.revision)),
            by: by.clone(),
            reason: reason.clone(),
            request_id: request_id.as_str().to_owned(),
            request_digest: *request_digest,
        };
        let payload = encode(&record)?;
        let (number, at) = self.append(state, tenant, (RecordKind::Promotion, &payload), *deadline).await?;
        let decision = PauseDecision {
            number,
            at,
            paused: *paused,
            revision: revision.clone(),
            by: by.clone(),
            reason: reason.clone(),
            request_id: request_id.as_str().to_owned(),
            request_digest: *request_digest,
        };
        let held = self.shared.flows.decide_pause(tenant, decision);
        if !paused {
            self.try_timers(tenant);
        }
        let (flow, of) = (revision.as_ref().map(|of| &of.flow), revision.as_ref().map(|of| of.revision.to_string()));
        tracing::info!(%tenant, flow = flow.map(tracing::field::display), revision = of, paused, "traffic steered");
        Ok((held, false))
    }
}
