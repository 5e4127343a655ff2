//! What is stored of revisions, promotions and the tenants that have them. The order of variants and fields is the
//! format; `fixtures/` holds golden bytes of every version.

use colloquy_store::StoredRecord;
use colloquy_types::{FlowName, Revision, TenantId, codec};
use serde::{Deserialize, Serialize};

use super::revision::Promotion;
use crate::error::Error;

/// A revision's source.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RevisionRecord {
    /// Without scenarios; of a folder's or a built-in flow.
    V1 { name: String, revision: Revision, source: String },
    /// With scenarios, and with who published it.
    V2 { name: String, revision: Revision, source: String, scenarios: String, published_by: String, note: String },
}

/// A promotion.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PromotionRecord {
    V1 { flow: String, from: Option<Revision>, to: Revision, by: String, note: String },
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

pub(super) fn promotion(stored: &StoredRecord) -> Result<Promotion, Error> {
    let undecodable = || undecodable("promotion", stored);
    let PromotionRecord::V1 { flow, from, to, by, note } = codec::decode(&stored.payload).map_err(|_| undecodable())?;
    let flow = FlowName::parse(&flow).map_err(|_| undecodable())?;
    let (number, at) = (stored.header.record_no.get(), stored.header.time);
    Ok(Promotion { number, flow, from, to, at, by, note })
}

pub(super) fn tenant(stored: &StoredRecord) -> Result<TenantId, Error> {
    let TenantRecord::V1 { tenant } = codec::decode(&stored.payload).map_err(|_| undecodable("tenant", stored))?;
    TenantId::parse(&tenant).map_err(|_| undecodable("tenant", stored))
}

fn undecodable(what: &str, stored: &StoredRecord) -> Error {
    Error::Corrupt { reason: format!("{what} record {} of the flows cannot be decoded", stored.header.record_no) }
}
