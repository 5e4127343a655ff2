//! What is stored of revisions, promotions, pauses and the tenants that have them. The order of variants and fields is the
//! format; `fixtures/` holds golden bytes of every version.

use colloquy_store::StoredRecord;
use colloquy_types::{FlowName, Revision, TenantId, codec};
use serde::{Deserialize, Serialize};

use super::{pauses::PausedRevision, revision::Promotion};
use crate::error::Error;

/// A revision's source.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RevisionRecord {
    /// Without scenarios; of a folder's or a built-in flow.
    V1 { name: String, revision: Revision, source: String },
    /// With scenarios, and with who published it.
    V2 { name: String, revision: Revision, source: String, scenarios: String, published_by: String, note: String },
}

/// What a tenant decided of what its conversations run. A build that knows promotions alone refuses the stream of a
/// tenant that was ever paused, so that it cannot take turns that are to be refused.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PromotionRecord {
    V1 {
        flow: String,
        from: Option<Revision>,
        to: Revision,
        by: String,
        note: String,
    },
    /// All turns of the tenant, or those of one revision, are refused from here on, or taken again.
    PauseV1 {
        paused: bool,
        revision: Option<(String, Revision)>,
        by: String,
        reason: String,
        request_id: String,
        request_digest: [u8; 16],
    },
}

/// A tenant has a stream of flows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TenantRecord {
    V1 { tenant: String },
}

/// A revision as it was stored, not compiled yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredRevision {
    pub(super) number: u64,
    pub(super) at: colloquy_types::Timestamp,
    pub(super) name: FlowName,
    pub(super) revision: Revision,
    pub(super) source: String,
    pub(super) scenarios: String,
    pub(super) published_by: String,
    pub(super) note: String,
}

/// A decision of a tenant as it was stored.
#[derive(Debug)]
pub(crate) enum Decision {
    Promotion(Promotion),
    Pause(PauseDecision),
}

/// Something is paused, or resumed.
#[derive(Debug)]
pub(crate) struct PauseDecision {
    pub(crate) number: u64,
    pub(super) at: colloquy_types::Timestamp,
    pub(crate) paused: bool,
    /// Of which revision; none for all of the tenant.
    pub(super) revision: Option<PausedRevision>,
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) request_id: String,
    pub(super) request_digest: [u8; 16],
}

pub(super) fn revision(stored: &StoredRecord) -> Result<StoredRevision, Error> {
    let undecodable = || undecodable("revision", stored);
    let record: RevisionRecord = codec::decode(&stored.payload).map_err(|_| undecodable())?;
    let (name, revision, source, scenarios, published_by, note) = match record {
        RevisionRecord::V1 { name, revision, source } => {
            (name, revision, source, String::new(), String::new(), String::new())
        }
        RevisionRecord::V2 { name, revision, source, scenarios, published_by, note } => {
            (name, revision, source, scenarios, published_by, note)
        }
    };
    let name = FlowName::parse(&name).map_err(|_| undecodable())?;
    let (number, at) = (stored.header.record_no.get(), stored.header.time);
    Ok(StoredRevision { number, at, name, revision, source, scenarios, published_by, note })
}

pub(crate) fn decision(stored: &StoredRecord) -> Result<Decision, Error> {
    let undecodable = || undecodable("promotion", stored);
    let (number, at) = (stored.header.record_no.get(), stored.header.time);
    let name = |flow: &str| FlowName::parse(flow).map_err(|_| undecodable());
    Ok(match codec::decode(&stored.payload).map_err(|_| undecodable())? {
        PromotionRecord::V1 { flow, from, to, by, note } => {
            Decision::Promotion(Promotion { number, flow: name(&flow)?, from, to, at, by, note })
        }
        PromotionRecord::PauseV1 { paused, revision, by, reason, request_id, request_digest } => {
            let revision = match revision {
                Some((flow, revision)) => Some(PausedRevision { flow: name(&flow)?, revision }),
                None => None,
            };
            Decision::Pause(PauseDecision { number, at, paused, revision, by, reason, request_id, request_digest })
        }
    })
}

pub(super) fn tenant(stored: &StoredRecord) -> Result<TenantId, Error> {
    let TenantRecord::V1 { tenant } = codec::decode(&stored.payload).map_err(|_| undecodable("tenant", stored))?;
    TenantId::parse(&tenant).map_err(|_| undecodable("tenant", stored))
}

fn undecodable(what: &str, stored: &StoredRecord) -> Error {
    Error::Corrupt { reason: format!("{what} record {} of the flows cannot be decoded", stored.header.record_no) }
}
