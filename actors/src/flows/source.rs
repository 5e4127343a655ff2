//! The stored source of a revision, for those who take a conversation elsewhere.

use colloquy_store::{ConversationStore, RecordKind};
use colloquy_types::{Head, Revision, TenantId};

use super::{record, stream::flows_key};
use crate::error::Error;

/// Records of the stream that are read at a time.
const PAGE_RECORDS: usize = 64;

/// The source of a revision that conversations of `tenant` may run: its own, or a shared one.
///
/// Reads the streams from their beginning; a reader of many conversations asks once for each revision.
///
/// # Errors
/// [`Error`] when a stream cannot be read; `None` when none holds the revision.
pub(crate) async fn find_source(
    store: &dyn ConversationStore,
    tenant: TenantId,
    revision: Revision,
) -> Result<Option<String>, Error> {
    for owner in [tenant, TenantId::shared()] {
        match find_in(store, &owner, revision).await {
            Ok(Some(source)) => return Ok(Some(source)),
            Ok(None) | Err(Error::ConversationAbsent) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn find_in(store: &dyn ConversationStore, owner: &TenantId, wanted: Revision) -> Result<Option<String>, Error> {
    let (key, mut reached) = (flows_key(owner), Head::default());
    loop {
        let page = store.history(&key, reached, PAGE_RECORDS).await?;
        for row in page.records.iter().filter(|row| row.record.header.kind == RecordKind::Revision) {
            let stored = record::revision(&row.record)?;
            if stored.revision == wanted {
                return Ok(Some(stored.source));
            }
        }
        if page.reached.record_no >= page.head.record_no {
            return Ok(None);
        }
        reached = page.reached;
    }
}
