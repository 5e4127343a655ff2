//! A conversation's whole history, read from the store page by page, with the sources of the flows it ran.
//!
//! It goes beside the conversation's actor: what is read is synced, and a conversation that is hot, broken or
//! not activated is exported like any other. One page is in memory at a time; how many exports may be
//! open is bounded.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use colloquy_store::{ConversationStore, HistoryPage, HistoryRecord, ReadError, RecordKind};
use colloquy_turn::{ControlRecord, CreatedRecord, TurnRecord};
use colloquy_types::{ConversationKey, ConversationUid, FlowName, Head, Revision};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{
    error::{DeadlineOutcome, Error, LimitKind},
    flows::find_source,
};

/// Exports that may be open at once.
pub(crate) const EXPORTS_MAX: usize = 8;
/// When to try again once they are.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Records read from the store at a time.
const PAGE_RECORDS: usize = 256;

/// The error of a caller for whom there is no place.
pub(crate) const fn overloaded() -> Error {
    Error::Overloaded { limit: LimitKind::Global, bound: EXPORTS_MAX, retry_after: RETRY_AFTER }
}

/// What an export consists of, in this order; a revision comes before the first record that needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportEvent {
    /// Which conversation it is, and as far as where it is exported.
    Begun {
        /// The conversation.
        key: ConversationKey,
        /// Its random name inside the store.
        uid: ConversationUid,
        /// How it began.
        created: CreatedRecord,
        /// The head that the records lead to.
        head: Head,
    },
    /// The source of a flow revision.
    Revision {
        /// The revision.
        revision: Revision,
        /// Its normalised source.
        source: String,
    },
    /// A record.
    Record(Box<HistoryRecord>),
    /// That was all.
    Ended {
        /// Records given out, snapshots included.
        records: u64,
    },
}

/// An open export. [`Export::next`] is not cancel safe: what was read is lost.
pub struct Export {
    store: Arc<dyn ConversationStore>,
    key: ConversationKey,
    flow: FlowName,
    /// Revisions whose source was given out, or need not be.
    known: HashSet<Revision>,
    read_deadline: Duration,
    head: Head,
    reached: Head,
    page: VecDeque<HistoryRecord>,
    ready: VecDeque<ExportEvent>,
    records: u64,
    has_ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("records", &self.records).finish_non_exhaustive()
    }
}

impl Export {
    /// Reads the first page. `read_deadline` bounds each later read.
    pub(crate) async fn open(
        store: Arc<dyn ConversationStore>,
        key: &ConversationKey,
        known: HashSet<Revision>,
        read_deadline: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let HistoryPage { uid, head, records, reached } = store.history(key, Head::default(), PAGE_RECORDS).await?;
        let first = records.first().filter(|row| row.record.header.kind == RecordKind::Created);
        let created = first.and_then(|row| CreatedRecord::decode(&row.record.payload).ok());
        let created = created.ok_or_else(|| Error::Corrupt { reason: "record 1 cannot be decoded".to_owned() })?;
        let flow = created.flow.clone();
        let begun = ExportEvent::Begun { key: key.clone(), uid, created, head };
        Ok(Self {
            store,
            key: key.clone(),
            flow,
            known,
            read_deadline,
            head,
            reached,
            page: records.into(),
            ready: VecDeque::from([begun]),
            records: 0,
            has_ended: false,
            _permit: permit,
        })
    }

    /// The next part; `None` after [`ExportEvent::Ended`].
    ///
    /// # Errors
    /// [`Error`]; the export is over then. [`Error::RevisionUnavailable`] when the store holds no source of a
    /// revision that the conversation ran.
    pub async fn next(&mut self) -> Result<Option<ExportEvent>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.page.pop_front() {
                // What came after the beginning belongs to a later export.
                Some(row) if row.record.header.record_no > self.head.record_no => self.end(),
                Some(row) => self.take(row).await?,
                None if self.reached.record_no >= self.head.record_no => self.end(),
                None => self.read().await?,
            }
        }
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.page.clear();
        self.ready.push_back(ExportEvent::Ended { records: self.records });
    }

    async fn read(&mut self) -> Result<(), Error> {
        let reading = self.store.history(&self.key, self.reached, PAGE_RECORDS);
        let page = match timeout(self.read_deadline, reading).await.map_err(|_| too_late())? {
            Err(ReadError::Absent) => return Err(Error::ConversationErased),
            page => page?,
        };
        self.reached = page.reached;
        self.page = page.records.into();
        Ok(())
    }

    async fn take(&mut self, row: HistoryRecord) -> Result<(), Error> {
        if let Some(revision) = revision_of(&row)?
            && self.known.insert(revision)
        {
            let source = self.source(revision).await?;
            self.ready.push_back(ExportEvent::Revision { revision, source });
        }
        self.records += 1;
        self.ready.push_back(ExportEvent::Record(Box::new(row)));
        Ok(())
    }

    async fn source(&self, revision: Revision) -> Result<String, Error> {
        let finding = find_source(self.store.as_ref(), self.key.tenant_id(), revision);
        let found = timeout(self.read_deadline, finding).await.map_err(|_| too_late())??;
        let unavailable = || Error::RevisionUnavailable { flow: self.flow.to_string(), revision: revision.to_string() };
        found.ok_or_else(unavailable)
    }
}

const fn too_late() -> Error {
    Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied }
}

/// The revision that a record needs to be understood.
fn revision_of(row: &HistoryRecord) -> Result<Option<Revision>, Error> {
    let header = &row.record.header;
    if header.erased {
        return Ok(None);
    }
    let revision = match header.kind {
        RecordKind::Created => CreatedRecord::decode(&row.record.payload).map(|record| Some(record.revision)),
        RecordKind::Turn => TurnRecord::decode(&row.record.payload).map(|record| Some(record.revision)),
        RecordKind::Control => ControlRecord::decode(&row.record.payload).map(|record| match record {
            ControlRecord::Upgraded { to, .. } => Some(to.revision),
            _ => None,
        }),
        _ => Ok(None),
    };
    revision.map_err(|_| Error::Corrupt {
        reason: format!("record {} ({:?}) cannot be decoded", header.record_no, header.kind),
    })
}
