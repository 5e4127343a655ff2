//! How the catalogue is made at the start: from what the process was given, and from what tenants have stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use colloquy_flow::Flow;
use colloquy_store::{ConversationStore, RecordKind, StoredRecord};
use colloquy_types::{Clock, Entropy, TenantId, codec};
use tokio::time::Instant;

use super::{
    author::{FlowAuthor, FlowFile, FlowSources},
    catalogue::FlowCatalogue,
    record::{self, Decision, RevisionRecord, StoredRevision, TenantRecord},
    revision::{FlowRevision, Promotion},
    stream::{self, Ports, Stream},
    workshop::Workshop,
};
use crate::error::Error;

/// How long one tenant's stream may take to be read, compiled and completed.
const TENANT_DEADLINE: Duration = Duration::from_secs(300);

/// A flow that the process was given: built in, or of a folder.
#[derive(Clone, Debug)]
pub struct GivenFlow {
    /// The tenant whose it is.
    pub tenant: TenantId,
    /// The compiled flow.
    pub flow: Arc<Flow>,
    /// Its source, normalised.
    pub source: String,
}

/// Why the catalogue cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the flows of tenant {tenant} cannot be read from the store")]
pub struct OpenFlowsError {
    /// Whose they are; `_` also for the list of tenants.
    pub tenant: TenantId,
    /// Why.
    #[source]
    pub source: Error,
}

impl FlowCatalogue {
    /// Makes the catalogue: stores the given flows that are not stored yet, and takes up every revision, promotion and
    /// pause that tenants have stored.
    ///
    /// # Errors
    /// [`OpenFlowsError`] when a stream cannot be read or written, or holds what this build does not know. A revision
    /// that this build cannot compile is logged, and kept.
    pub async fn open(
        store: &dyn ConversationStore,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
        author: &Arc<dyn FlowAuthor>,
        given: &[GivenFlow],
    ) -> Result<Self, OpenFlowsError> {
        let catalogue = Self::new();
        let opening = Opening { ports: Ports { store, clock, entropy }, author, catalogue: &catalogue };
        let shared = TenantId::shared();
        let listed = opening.tenants(given).await;
        for tenant in listed.map_err(|source| OpenFlowsError { tenant: shared, source })? {
            let opened = opening.tenant(&tenant, given).await;
            opened.map_err(|source| OpenFlowsError { tenant, source })?;
        }
        Ok(catalogue)
    }
}

struct Opening<'a> {
    ports: Ports<'a>,
    author: &'a Arc<dyn FlowAuthor>,
    catalogue: &'a FlowCatalogue,
}

impl Opening<'_> {
    /// Every tenant that has flows; those that were given some are remembered for the next start.
    async fn tenants(&self, given: &[GivenFlow]) -> Result<BTreeSet<TenantId>, Error> {
        let deadline = Instant::now() + TENANT_DEADLINE;
        let (mut stream, records) = Stream::open(self.ports, &stream::tenants_key(), deadline).await?;
        let mut tenants = listed_tenants(&records)?;
        let shared = TenantId::shared();
        for owner in given.iter().map(|given| &given.tenant).filter(|owner| **owner != shared) {
            if tenants.insert(owner.clone()) {
                list_tenant(&mut stream, self.ports, owner, deadline).await?;
            }
        }
        stream.release(self.ports.store);
        tenants.insert(shared);
        Ok(tenants)
    }

    async fn tenant(&self, tenant: &TenantId, given: &[GivenFlow]) -> Result<(), Error> {
        let deadline = Instant::now() + TENANT_DEADLINE;
        let (mut stream, records) = Stream::open(self.ports, &stream::flows_key(tenant), deadline).await?;
        let known: Vec<_> = given.iter().filter(|given| given.tenant == *tenant).collect();
        known.iter().for_each(|given| self.catalogue.insert(tenant.as_str(), Arc::clone(&given.flow)));
        restore(self.catalogue, self.author, &Workshop::default(), tenant, &records, deadline).await?;
        for given in known {
            let revision = given.flow.revision();
            if self.catalogue.published(tenant.as_str(), revision).is_some() {
                continue;
            }
            let (name, source) = (given.flow.name(), given.source.as_str());
            let payload = encode(&RevisionRecord::V1 { name: name.to_string(), revision, source: source.to_owned() })?;
            let (number, published_at) = stream.append(self.ports, RecordKind::Revision, &payload, deadline).await?;
            let published = FlowRevision {
                number,
                name: name.clone(),
                revision,
                source: source.into(),
                scenarios: "".into(),
                faults: Vec::new(),
                flow: Some(Arc::clone(&given.flow)),
                published_at,
                published_by: String::new(),
                note: String::new(),
            };
            self.catalogue.publish(tenant.as_str(), Arc::new(published));
        }
        stream.release(self.ports.store);
        Ok(())
    }
}

pub(super) fn encode<T: serde::Serialize>(record: &T) -> Result<Vec<u8>, Error> {
    codec::encode(record).map_err(|error| Error::TooLarge { what: error.to_string() })
}

pub(super) fn listed_tenants(records: &[StoredRecord]) -> Result<BTreeSet<TenantId>, Error> {
    records.iter().filter(|stored| stored.header.kind == RecordKind::Control).map(record::tenant).collect()
}

/// Remembers that a tenant has flows, before it has any: a start reads the streams of those that are listed.
pub(super) async fn list_tenant(
    stream: &mut Stream,
    ports: Ports<'_>,
    tenant: &TenantId,
    deadline: Instant,
) -> Result<(), Error> {
    let payload = encode(&TenantRecord::V1 { tenant: tenant.as_str().to_owned() })?;
    stream.append(ports, RecordKind::Control, &payload, deadline).await.map(drop)
}

/// Takes up what stands in a tenant's stream. What is compiled already is not compiled again.
pub(super) async fn restore(
    catalogue: &FlowCatalogue,
    author: &Arc<dyn FlowAuthor>,
    workshop: &Workshop,
    tenant: &TenantId,
    records: &[StoredRecord],
    deadline: Instant,
) -> Result<(), Error> {
    let mut revisions: BTreeMap<_, StoredRevision> = BTreeMap::new();
    let (mut promotions, mut pauses) = (Vec::new(), Vec::new());
    for stored in records {
        match stored.header.kind {
            RecordKind::Revision => {
                let revision = record::revision(stored)?;
                revisions.insert(revision.revision, revision);
            }
            RecordKind::Promotion => match record::decision(stored)? {
                Decision::Promotion(promotion) => promotions.push(Arc::new(promotion)),
                Decision::Pause(pause) => pauses.push(pause),
            },
            _ => {}
        }
    }
    let promoted: BTreeMap<_, _> = promotions.iter().map(|one: &Arc<Promotion>| (one.flow.clone(), one.to)).collect();
    let mut compiled = Vec::with_capacity(revisions.len());
    for stored in revisions.into_values() {
        let known = catalogue.published(tenant.as_str(), stored.revision);
        if let Some(known) = known.filter(|known| known.number == stored.number) {
            compiled.push(known);
            continue;
        }
        let needed = promoted.get(&stored.name) == Some(&stored.revision);
        compiled.push(Arc::new(compile(catalogue, author, workshop, tenant, stored, needed, deadline).await?));
    }
    compiled.sort_by_key(|revision| revision.number);
    catalogue.restore(tenant, compiled, promotions, pauses);
    Ok(())
}

async fn compile(
    catalogue: &FlowCatalogue,
    author: &Arc<dyn FlowAuthor>,
    workshop: &Workshop,
    tenant: &TenantId,
    stored: StoredRevision,
    needed: bool,
    deadline: Instant,
) -> Result<FlowRevision, Error> {
    let StoredRevision { number, at, name, revision, source, scenarios, published_by, note } = stored;
    let file = FlowFile { name: format!("{name} (stored revision)"), text: source.clone() };
    let sources = FlowSources { files: vec![file], scenarios: scenarios.clone() };
    let author = Arc::clone(author);
    let compiled = workshop.run(deadline, move |_| author.compile(&sources)).await?;
    let same = compiled.source.as_ref().is_some_and(|(found, _)| *found == revision);
    // A revision that was published with errors has none to offer; one that ran must go on.
    if (needed || published_by.is_empty()) && (compiled.flow.is_none() || !same) {
        let faults = compiled.faults.len();
        tracing::error!(%tenant, flow = %name, %revision, faults, "a stored flow revision does not load");
    }
    let held = catalogue.published(tenant.as_str(), revision).and_then(|held| held.flow.clone());
    Ok(FlowRevision {
        number,
        name,
        revision,
        source: source.into(),
        scenarios: scenarios.into(),
        faults: compiled.faults,
        flow: held.or(compiled.flow.filter(|_| same)),
        published_at: at,
        published_by,
        note,
    })
}
