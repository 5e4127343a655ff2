//! The stored sources of flow revisions: records of their tenant's own stream.

use colloquy_store::{ConversationStore, RecordKind};
use colloquy_types::{ConversationKey, Head, Revision, TenantId, codec};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The name of the stream within its tenant; see [`ConversationKey::tenant_stream`].
pub const FLOWS_STREAM: &str = "flows";
/// Records of the stream that are read at a time.
const PAGE_RECORDS: usize = 64;

/// What is stored of a revision. Variants and fields are the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RevisionRecord {
    /// The first version.
    V1 {
        /// The flow's name.
        name: String,
        /// The revision.
        revision: [u8; 32],
        /// The normalised source.
        source: String,
    },
}

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
        let key = ConversationKey::tenant_stream(&owner, FLOWS_STREAM);
        match find_in(store, &key, revision).await {
            Ok(Some(source)) => return Ok(Some(source)),
            Ok(None) | Err(Error::ConversationAbsent) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn find_in(
    store: &dyn ConversationStore,
    key: &ConversationKey,
    wanted: Revision,
) -> Result<Option<String>, Error> {
    let mut reached = Head::default();
    loop {
        let page = store.history(key, reached, PAGE_RECORDS).await?;
        for row in page.records.iter().filter(|row| row.record.header.kind == RecordKind::Revision) {
            let RevisionRecord::V1 { revision, source, .. } = codec::decode(&row.record.payload)
                .map_err(|_| Error::Corrupt { reason: "a stored flow revision cannot be decoded".to_owned() })?;
            if revision == wanted.0 {
                return Ok(Some(source));
            }
        }
        if page.reached.record_no >= page.head.record_no {
            return Ok(None);
        }
        reached = page.reached;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_revision_is_still_read() {
        // Bytes as the first version wrote them; they are in journals for ever.
        let mut stored = vec![0, 4];
        stored.extend_from_slice(b"desk");
        stored.extend_from_slice(&[7; 32]);
        stored.extend_from_slice(b"\x02{}");
        let record = RevisionRecord::V1 { name: "desk".to_owned(), revision: [7; 32], source: "{}".to_owned() };
        assert_eq!(codec::decode::<RevisionRecord>(&stored).unwrap(), record);
        assert_eq!(codec::encode(&record).unwrap(), stored);
    }
}
