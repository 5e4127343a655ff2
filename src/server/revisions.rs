//! Keeps the source of every flow revision in the store, so that a conversation stays on the revision it
//! is pinned to when the flow's files have changed.
//!
//! A tenant's revisions are the `revision` records of its own stream, `tenant/@flows`.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, anyhow};
use colloquy_actors::{FLOWS_STREAM, FlowCatalogue, RevisionRecord};
use colloquy_author::load_sources;
use colloquy_store::{Batch, ConversationStore, RecordKind};
use colloquy_types::{Clock, ConversationKey, Entropy, TenantId, codec};
use tokio::sync::oneshot;

use crate::flows::Owned;

/// How long reading or writing the stream may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Stores the revisions that are not stored yet, and adds the older ones to the catalogue.
///
/// # Errors
/// When the store cannot be read or written.
pub(crate) async fn keep(
    store: &dyn ConversationStore,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    flows: &[Owned],
    catalogue: &FlowCatalogue,
) -> anyhow::Result<()> {
    let mut tenants: BTreeMap<&TenantId, Vec<&Owned>> = BTreeMap::new();
    for flow in flows {
        tenants.entry(&flow.tenant).or_default().push(flow);
    }
    for (tenant, flows) in tenants {
        let kept = keep_tenant(store, clock, entropy, tenant, &flows, catalogue);
        tokio::time::timeout(DEADLINE, kept).await.context("the store does not answer")??;
    }
    Ok(())
}

async fn keep_tenant(
    store: &dyn ConversationStore,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    tenant: &TenantId,
    flows: &[&Owned],
    catalogue: &FlowCatalogue,
) -> anyhow::Result<()> {
    let key = ConversationKey::tenant_stream(tenant, FLOWS_STREAM);
    let opened = store.open(&key).await.context("the stream of flow revisions cannot be opened")?;
    let mut stored = Vec::new();
    for record in opened.tail.iter().filter(|record| record.header.kind == RecordKind::Revision) {
        let RevisionRecord::V1 { name, revision, source } =
            codec::decode(&record.payload).context("a stored flow revision cannot be decoded")?;
        stored.push(revision);
        if flows.iter().any(|flow| flow.loaded.flow.revision().0 == revision) {
            continue;
        }
        match load_sources(&name, vec![(format!("{name} (stored revision)"), source)]) {
            Ok(loaded) => catalogue.insert_pinned(tenant.as_str(), loaded.flow),
            Err(faults) => tracing::error!(flow = name, faults = faults.len(), "a stored flow revision does not load"),
        }
    }
    let missing: Vec<_> = flows.iter().filter(|flow| !stored.contains(&flow.loaded.flow.revision().0)).collect();
    if !missing.is_empty() {
        let mut batch = Batch::new(&opened.lease, &opened.head);
        if opened.created.is_none() {
            batch.push_created(clock.now(), entropy.bytes16(), &key, &[])?;
        }
        for flow in missing {
            let record = RevisionRecord::V1 {
                name: flow.loaded.flow.name().to_string(),
                revision: flow.loaded.flow.revision().0,
                source: flow.loaded.source.clone(),
            };
            batch.push(RecordKind::Revision, clock.now(), entropy.bytes16(), &codec::encode(&record)?)?;
        }
        let (done, ended) = oneshot::channel();
        store.append(&opened.lease, batch, Box::new(move |result| drop(done.send(result))));
        ended.await.map_err(|_| anyhow!("the store is gone"))?.context("a flow revision cannot be stored")?;
    }
    store.release(&opened.lease);
    Ok(())
}
