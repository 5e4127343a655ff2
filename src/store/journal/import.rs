//! Bringing exports into a store: the records as they were written, under the random name they had.
//!
//! The chain stays what it was, so an import can be held against what clients saw. A conversation that is there already
//! is left alone when the export holds nothing more, and goes on when it holds what follows: an import that was
//! interrupted is simply made again. One that was erased here does not come back.

use std::io::BufRead;

use colloquy_types::{ConversationKey, ConversationUid, Epoch, Head};
use tokio::sync::oneshot;

use super::{JournalStore, command::Command};
use crate::{
    export::{ExportError, ExportReader, Item},
    port::{AppendError, ConversationStore as _, HistoryRecord, Lease, ReadError},
    record::{BATCH_BYTES_MAX, Batch},
};

/// Records are appended in batches of about this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// What came of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The conversation.
    pub key: ConversationKey,
    /// Records that were appended.
    pub records: u64,
    /// Whether all of it was there before.
    pub was_there: bool,
}

/// What an export says when it is read to its end without being brought in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records, snapshots included.
    pub records: u64,
    /// The epoch of the last of them: a store must be opened with a higher one
    /// ([`JournalOptions::epoch_min`](super::JournalOptions::epoch_min)).
    pub epoch: Epoch,
}

/// Why an export was not brought in. Displays with its fix on a line of its own.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The export cannot be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Another history of the conversation is there.
    #[error("{0} is there with another history\n  fix: erase it first, if the export is the one to keep")]
    OtherHistory(ConversationKey),
    /// The conversation was erased here.
    #[error("{0} was erased from this store and does not come back\n  fix: leave it out")]
    Erased(ConversationKey),
    /// The export holds headers without bodies before its last snapshot was made, and none after.
    #[error(
        "{0} cannot be opened from this export: bodies are missing that no snapshot stands for\n  fix: leave it out"
    )]
    Bodies(ConversationKey),
    /// The store cannot be read.
    #[error("{key} cannot be read: {error}\n  fix: `colloquy store verify` tells what is wrong with the store")]
    Read {
        /// The conversation.
        key: ConversationKey,
        /// What is wrong.
        #[source]
        error: ReadError,
    },
    /// The store does not take the records.
    #[error("{key} cannot be stored: {error}\n  fix: make room on the disk, and import again; it goes on where it was")]
    Append {
        /// The conversation.
        key: ConversationKey,
        /// What is wrong.
        #[source]
        error: AppendError,
    },
}

/// Reads an export to its end and checks it.
///
/// # Errors
/// [`ImportError::Export`] and [`ImportError::Bodies`].
pub fn check<R: BufRead>(mut export: ExportReader<R>) -> Result<Checked, ImportError> {
    let (mut checked, mut is_open) = (Checked::default(), true);
    while let Some(item) = export.next_item()? {
        let Item::Record(record) = item else { continue };
        let header = &record.record.header;
        checked.records += 1;
        checked.epoch = checked.epoch.max(header.epoch);
        // What stands before a snapshot is not needed to open the conversation.
        is_open = !header.kind.is_chained() || (is_open && !header.erased);
    }
    if is_open { Ok(checked) } else { Err(ImportError::Bodies(export.header().key.clone())) }
}

/// Brings in an export that [`check`] has passed.
///
/// # Errors
/// [`ImportError`]. What was brought in before stays, and is passed over the next time.
pub async fn import<R: BufRead>(store: &JournalStore, mut export: ExportReader<R>) -> Result<Imported, ImportError> {
    let (key, uid) = (export.header().key.clone(), export.header().uid);
    let (lease, there) = lease(store, &key, uid).await?;
    let mut importing =
        Importing { store, key, lease, head: Head::default(), there, batch: Vec::new(), bytes: 0, records: 0 };
    while let Some(item) = export.next_item()? {
        if let Item::Record(record) = item {
            importing.take(*record).await?;
        }
    }
    importing.append().await?;
    store.release(&importing.lease);
    let Importing { key, records, there, head, .. } = importing;
    if there.record_no > head.record_no && store.history(&key, head, 1).await.is_err() {
        return Err(ImportError::OtherHistory(key));
    }
    Ok(Imported { key, records, was_there: records == 0 })
}

/// The right to append, and where the history stands that is there already.
async fn lease(
    store: &JournalStore,
    key: &ConversationKey,
    uid: ConversationUid,
) -> Result<(Lease, Head), ImportError> {
    let unreadable = |error| ImportError::Read { key: key.clone(), error };
    match store.history(key, Head::default(), 1).await {
        Err(ReadError::Absent) => {}
        Err(error) => return Err(unreadable(error)),
        Ok(page) if page.uid != uid => return Err(ImportError::OtherHistory(key.clone())),
        Ok(_) => {
            let opened = store.open(key).await.map_err(unreadable)?;
            return Ok((opened.lease, opened.head));
        }
    }
    match store.erasure(uid).await {
        Err(ReadError::Absent) => {}
        Err(error) => return Err(unreadable(error)),
        Ok(_) => return Err(ImportError::Erased(key.clone())),
    }
    let (reply, answer) = oneshot::channel();
    let adopted = store.send(Command::Adopt { key: key.clone(), uid, reply }, answer).await;
    Ok((adopted.map_err(unreadable)?, Head::default()))
}

struct Importing<'a> {
    store: &'a JournalStore,
    key: ConversationKey,
    lease: Lease,
    /// Where what is stored and what waits ends.
    head: Head,
    /// Where the history ended that was there before.
    there: Head,
    batch: Vec<HistoryRecord>,
    bytes: usize,
    records: u64,
}

impl Importing<'_> {
    async fn take(&mut self, record: HistoryRecord) -> Result<(), ImportError> {
        let header = &record.record.header;
        let is_there = header.record_no <= self.there.record_no;
        if header.kind.is_chained() && header.record_no == self.there.record_no && header.hash != self.there.hash {
            return Err(ImportError::OtherHistory(self.key.clone()));
        }
        if is_there {
            if header.kind.is_chained() {
                self.head = header.head();
            }
            return Ok(());
        }
        // A snapshot stays with the record it represents.
        if header.kind.is_chained() && self.bytes + record.stored.len() > BATCH_BYTES {
            self.append().await?;
        }
        debug_assert!(record.stored.len() <= BATCH_BYTES_MAX, "a record is smaller than a batch");
        self.bytes += record.stored.len();
        self.batch.push(record);
        Ok(())
    }

    async fn append(&mut self) -> Result<(), ImportError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = Batch::adopted(&self.lease, &self.head, &self.batch);
        self.records += self.batch.len() as u64;
        self.batch.clear();
        self.bytes = 0;
        let (reply, answer) = oneshot::channel();
        self.store.append(&self.lease, batch, Box::new(move |ending| drop(reply.send(ending))));
        let ending = answer.await.unwrap_or(Err(AppendError::Unknown));
        self.head = ending.map_err(|error| ImportError::Append { key: self.key.clone(), error })?;
        Ok(())
    }
}
