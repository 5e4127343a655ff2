//! What the `sled` engine's writer does with its one tree.

use std::{
    fs::File,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use colloquy_types::{ConversationKey, ConversationUid, Entropy, Epoch, Head, Timestamp, TurnSeq, codec};
use serde::{Deserialize, Serialize};

use super::Append;
use crate::{
    history::{Page, Tail, Turns, Walk, corrupt, decode_all},
    leases::Leases,
    port::{AppendError, HistoryPage, Lease, Listed, NotApplied, Opened, ReadError, StoreStats, Verified},
    record::{Batch, DecodedRecord, RecordKind, StoredRecord},
    sled_files::{self, SledError},
};

/// Larger values go to blob files, which sled never syncs.
const VALUE_BYTES_MAX: usize = 6 << 10;
/// The file sled writes to.
const LOG: &str = "db";
const EPOCH: &str = "epoch";

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) uid: ConversationUid,
    head: Head,
    updated_at: Timestamp,
    pub(super) batches: u64,
    /// The batch with the newest snapshot.
    snapshot: Option<u64>,
}

/// The rows that a group changes; `None` where it frees the key.
type Rows = std::collections::HashMap<String, Option<Row>>;

/// The stored form of a row.
#[derive(Serialize, Deserialize)]
enum StoredRow {
    V1(Row),
}

/// The writer's state.
pub(super) struct Core {
    pub(super) db: sled::Db,
    /// sled's log, to be synced after each flush.
    pub(super) log: File,
    leases: Leases,
    entropy: Arc<dyn Entropy>,
    pub(super) stats: StoreStats,
}

pub(super) fn io(error: &impl std::fmt::Display) -> ReadError {
    ReadError::Io { reason: error.to_string() }
}

fn row_key(key: &str) -> Vec<u8> {
    [b"r", key.as_bytes()].concat()
}

pub(super) fn batch_key(uid: ConversationUid, batch: u64) -> Vec<u8> {
    [b"l".as_slice(), &uid.0, &batch.to_be_bytes()].concat()
}

/// Cuts a batch's bytes into chunks that sled keeps in its log.
pub(super) fn put_chunks(write: &mut sled::Batch, (uid, batch): (ConversationUid, u64), bytes: &[u8]) {
    for (number, chunk) in bytes.chunks(VALUE_BYTES_MAX).enumerate() {
        let mut key = batch_key(uid, batch);
        key.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
        write.insert(key, chunk);
    }
}

fn decode_row(bytes: &[u8]) -> Result<Row, ReadError> {
    codec::decode(bytes).map(|StoredRow::V1(row)| row).map_err(|error| io(&error))
}

impl Core {
    pub(super) fn open(folder: &Path, cache_bytes: u64, entropy: Arc<dyn Entropy>) -> Result<Self, SledError> {
        let db = sled_files::open(folder, cache_bytes)?;
        let before = db.get(EPOCH)?.and_then(|bytes| Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?)));
        let epoch = Epoch::new(before.unwrap_or_default()).next();
        db.insert(EPOCH, &epoch.get().to_be_bytes())?;
        sled_files::sync(&db, folder)?;
        let erasures_pending = super::erased::pending(&db)?;
        let stats = StoreStats { epoch, writable: true, erasures_pending, ..StoreStats::default() };
        let log = File::open(folder.join(LOG))?;
        Ok(Self { db, log, leases: Leases::new(epoch), entropy, stats })
    }

    pub(super) fn stats(&self) -> StoreStats {
        StoreStats { leases: self.leases.len() as u64, ..self.stats }
    }

    /// Commits a group: all batches that pass their fences, one sync, then all endings.
    pub(super) fn commit(&mut self, group: &mut Vec<Append>, stats: &Mutex<StoreStats>) {
        if group.is_empty() {
            return;
        }
        let mut write = sled::Batch::default();
        let mut rows = Rows::new();
        let mut endings = Vec::with_capacity(group.len());
        for append in group.drain(..) {
            let (lease, batch, done) = *append;
            let ending = self.take(&lease, &batch, &mut write, &mut rows);
            endings.push((done, ending));
        }
        for (key, row) in rows {
            match row.map(|row| codec::encode(&StoredRow::V1(row))) {
                None => write.remove(row_key(&key)),
                Some(Ok(bytes)) => write.insert(row_key(&key), bytes),
                Some(Err(_)) => self.stats.writable = false,
            }
        }
        let written = self.stats.writable
            && self.db.apply_batch(write).is_ok()
            && self.db.flush().is_ok()
            && self.log.sync_data().is_ok();
        self.stats.writable &= written;
        self.stats.syncs += 1;
        *stats.lock().unwrap_or_else(PoisonError::into_inner) = self.stats();
        for (done, ending) in endings {
            done.call(ending.and_then(|head| if written { Ok(head) } else { Err(AppendError::Unknown) }));
        }
    }

    fn take(
        &mut self,
        lease: &Lease,
        batch: &Batch,
        write: &mut sled::Batch,
        rows: &mut Rows,
    ) -> Result<Head, AppendError> {
        if !self.stats.writable {
            return Err(AppendError::NotApplied(NotApplied::Closed));
        }
        self.leases.check(lease, batch).map_err(AppendError::NotApplied)?;
        let stored = match rows.get(lease.key.as_str()) {
            Some(row) => *row,
            None => self.row(&lease.key).map_err(|_| AppendError::NotApplied(NotApplied::Closed))?,
        };
        let unborn =
            Row { uid: batch.uid(), head: Head::default(), updated_at: batch.time(), batches: 0, snapshot: None };
        let mut row = stored.unwrap_or(unborn);
        put_chunks(write, (row.uid, row.batches), batch.bytes());
        if batch.snapshot().is_some() {
            row.snapshot = Some(row.batches);
        }
        row.batches += 1;
        (row.head, row.updated_at) = (batch.head_after(), batch.time());
        if batch.erases() {
            self.put_erased(write, &row)?;
            self.stats.erasures_pending += 1;
        }
        rows.insert(lease.key.as_str().to_owned(), (!batch.erases()).then_some(row));
        self.leases.advance(lease, batch);
        self.stats.records += u64::from(batch.records());
        self.stats.bytes += batch.bytes().len() as u64;
        Ok(batch.head_after())
    }

    fn row(&self, key: &ConversationKey) -> Result<Option<Row>, ReadError> {
        let bytes = self.db.get(row_key(key.as_str())).map_err(|error| io(&error))?;
        bytes.map(|bytes| decode_row(&bytes)).transpose()
    }

    /// Gives the records from batch `from` on to `take` until it answers `false`.
    pub(super) fn each(
        &self,
        row: &Row,
        from: u64,
        mut take: impl FnMut(DecodedRecord, &[u8]) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        let mut bytes = Vec::new();
        let mut batch = from;
        while batch < row.batches {
            bytes.clear();
            for chunk in self.db.scan_prefix(batch_key(row.uid, batch)) {
                bytes.extend_from_slice(&chunk.map_err(|error| io(&error))?.1);
            }
            for decoded in decode_all(&bytes) {
                let (decoded, stored) = decoded.map_err(|bad| corrupt(&bad))?;
                if !take(decoded, stored)? {
                    return Ok(());
                }
            }
            batch += 1;
        }
        Ok(())
    }

    pub(super) fn open_conversation(&mut self, key: &ConversationKey) -> Result<Opened, ReadError> {
        let Some(row) = self.row(key)? else {
            let uid = self.leases.unborn(key, self.entropy.as_ref());
            let lease = self.leases.open(key, uid, Head::default());
            return Tail::after(None).finish(lease, Head::default(), None, None);
        };
        let (mut created, mut snapshot) = (None, None);
        self.each(&row, 0, |decoded, _| {
            created = Some(decoded.record);
            Ok(false)
        })?;
        if let Some(from) = row.snapshot {
            self.each(&Row { batches: from + 1, ..row }, from, |decoded, _| {
                if decoded.record.header.kind == RecordKind::Snapshot {
                    snapshot = Some(decoded.record);
                }
                Ok(true)
            })?;
        }
        let mut tail = Tail::after(snapshot.as_ref());
        self.each(&row, row.snapshot.unwrap_or_default(), |decoded, _| tail.push(decoded.record).map(|()| true))?;
        let lease = self.leases.open(key, row.uid, row.head);
        tail.finish(lease, row.head, created, snapshot)
    }

    pub(super) fn release(&mut self, lease: &Lease) {
        self.leases.release(lease);
    }

    pub(super) fn turns(
        &self,
        key: &ConversationKey,
        from: TurnSeq,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let row = self.row(key)?.ok_or(ReadError::Absent)?;
        let mut turns = Turns::new(from, limit);
        self.each(&row, 0, |decoded, _| {
            turns.push(decoded.record)?;
            Ok(!turns.is_full())
        })?;
        turns.finish(&row.head)
    }

    pub(super) fn history(&self, key: &ConversationKey, after: Head, limit: usize) -> Result<HistoryPage, ReadError> {
        let row = self.row(key)?.ok_or(ReadError::Absent)?;
        let mut page = Page::new(after, limit);
        self.each(&row, 0, |decoded, stored| {
            page.push(decoded, stored)?;
            Ok(!page.is_full())
        })?;
        page.finish(row.uid, row.head)
    }

    pub(super) fn list(&self, tenant: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ReadError> {
        let prefix = row_key(&format!("{tenant}/"));
        let from = [prefix.as_slice(), after.unwrap_or_default().as_bytes()].concat();
        let mut listed = Vec::new();
        for entry in self.db.range(from..) {
            let (key, row) = entry.map_err(|error| io(&error))?;
            let Some(conversation) = key.strip_prefix(prefix.as_slice()).filter(|_| listed.len() < limit) else {
                break;
            };
            let conversation = std::str::from_utf8(conversation).map_err(|error| io(&error))?;
            if conversation.starts_with('@') || after.is_some_and(|after| conversation <= after) {
                continue;
            }
            let row = decode_row(&row)?;
            if let Some(key) = ConversationKey::from_stored(tenant, conversation) {
                listed.push(Listed { key, uid: row.uid, head: row.head, updated_at: row.updated_at });
            }
        }
        Ok(listed)
    }

    pub(super) fn verify(&self, key: &ConversationKey) -> Result<Verified, ReadError> {
        let row = self.row(key)?.ok_or(ReadError::Absent)?;
        let mut walk = Walk::default();
        self.each(&row, 0, |decoded, _| walk.push(&decoded, Some(key)).map(|()| true))?;
        walk.finish(&row.head)
    }
}
