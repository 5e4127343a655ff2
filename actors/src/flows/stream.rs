//! A tenant's stream of flows, as the one who may write it holds it.

use colloquy_store::{Batch, ConversationStore, Lease, RecordKind, StoredRecord};
use colloquy_types::{Clock, ConversationKey, Entropy, Head, TenantId};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::error::{DeadlineOutcome, Error};

/// The stream of a tenant's revisions and promotions.
pub(crate) fn flows_key(tenant: &TenantId) -> ConversationKey {
    ConversationKey::tenant_stream(tenant, "flows")
}

/// The stream, of the shared tenant, that names every tenant with a stream of flows.
pub(super) fn tenants_key() -> ConversationKey {
    ConversationKey::tenant_stream(&TenantId::shared(), "tenants")
}

/// What writing a stream needs.
#[derive(Clone, Copy)]
pub(super) struct Ports<'a> {
    pub(super) store: &'a dyn ConversationStore,
    pub(super) clock: &'a dyn Clock,
    pub(super) entropy: &'a dyn Entropy,
}

/// An opened stream. After an append that failed it must be opened anew: whether it was written is not known.
#[derive(Debug)]
pub(super) struct Stream {
    lease: Lease,
    head: Head,
}

impl Stream {
    /// Opens a stream and reads all of it. Fences whoever held it before.
    pub(super) async fn open(
        ports: Ports<'_>,
        key: &ConversationKey,
        deadline: Instant,
    ) -> Result<(Self, Vec<StoredRecord>), Error> {
        let late = |_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied };
        let opened = timeout_at(deadline, ports.store.open(key)).await.map_err(late)??;
        Ok((Self { lease: opened.lease, head: opened.head }, opened.tail))
    }

    /// Appends one record and waits until it is synced. Gives the number and the time it has.
    pub(super) async fn append(
        &mut self,
        ports: Ports<'_>,
        kind: RecordKind,
        payload: &[u8],
        deadline: Instant,
    ) -> Result<(u64, colloquy_types::Timestamp), Error> {
        let too_large = |error: colloquy_store::TooLarge| Error::TooLarge { what: error.to_string() };
        let now = ports.clock.now();
        let mut batch = Batch::new(&self.lease, &self.head);
        if self.head.record_no.get() == 0 {
            batch.push_created(now, ports.entropy.bytes16(), &self.lease.key, &[]).map_err(too_large)?;
        }
        batch.push(kind, now, ports.entropy.bytes16(), payload).map_err(too_large)?;
        let (done, ended) = oneshot::channel();
        ports.store.append(&self.lease, batch, Box::new(move |result| drop(done.send(result))));
        let late = |_| Error::DeadlineExceeded { outcome: DeadlineOutcome::Unknown };
        let ended = timeout_at(deadline, ended).await.map_err(late)?;
        self.head = ended.map_err(|_| Error::StoreUnavailable)??;
        Ok((self.head.record_no.get(), now))
    }

    /// Gives the stream up.
    pub(super) fn release(&self, store: &dyn ConversationStore) {
        store.release(&self.lease);
    }
}
