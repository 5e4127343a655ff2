//! What outlives a process of the `memory` engine: encoded records by conversation.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use colloquy_types::{ConversationKey, ConversationUid, Epoch, Head, Timestamp, TurnSeq};

use crate::{
    history::{ErasureWalk, Page, Tail, Turns, Walk, corrupt, decode_all},
    port::{Compacted, Erasure, HistoryPage, Lease, Listed, Opened, ReadError, Verified},
    record::{Batch, StoredRecord, decode_record, erase_bodies},
};

#[derive(Debug, Default)]
struct Conversation {
    head: Head,
    updated_at: Timestamp,
    bytes: Vec<u8>,
    snapshot: Option<Range<usize>>,
}

/// Everything that was written.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    keys: BTreeMap<String, ConversationUid>,
    conversations: HashMap<ConversationUid, Conversation>,
    /// What is left of erased ones, and whether it still holds bodies.
    erased: HashMap<ConversationUid, (Vec<u8>, bool)>,
    epoch: Epoch,
}

impl Shelf {
    pub(super) fn raise_epoch(&mut self) -> Epoch {
        self.epoch = self.epoch.next();
        self.epoch
    }

    pub(super) fn find(&self, key: &ConversationKey) -> Option<(ConversationUid, Head)> {
        let uid = self.keys.get(key.as_str())?;
        Some((*uid, self.conversations.get(uid)?.head))
    }

    fn stored(&self, key: &ConversationKey) -> Result<&Conversation, ReadError> {
        let uid = self.keys.get(key.as_str());
        uid.and_then(|uid| self.conversations.get(uid)).ok_or(ReadError::Absent)
    }

    pub(super) fn opened(&self, lease: Lease) -> Result<Opened, ReadError> {
        let Some(stored) = self.conversations.get(&lease.uid) else {
            return Tail::after(None).finish(lease, Head::default(), None, None);
        };
        let read_at = |range: Range<usize>| {
            let decoded = decode_record(stored.bytes.get(range).unwrap_or_default());
            decoded.map(|decoded| decoded.record).map_err(|bad| corrupt(&bad))
        };
        let snapshot = stored.snapshot.clone().map(read_at).transpose()?;
        let created = read_at(0..stored.bytes.len())?;
        let mut tail = Tail::after(snapshot.as_ref());
        let behind = stored.snapshot.as_ref().map_or(0, |range| range.end);
        for decoded in decode_all(stored.bytes.get(behind..).unwrap_or_default()) {
            tail.push(decoded.map_err(|bad| corrupt(&bad))?.0.record)?;
        }
        tail.finish(lease, stored.head, Some(created), snapshot)
    }

    pub(super) fn append(&mut self, key: &ConversationKey, batch: &Batch) {
        if batch.created().is_some() {
            self.keys.insert(key.as_str().to_owned(), batch.uid());
        }
        let stored = self.conversations.entry(batch.uid()).or_default();
        let start = stored.bytes.len();
        stored.bytes.extend_from_slice(batch.bytes());
        if let Some(range) = batch.snapshot() {
            stored.snapshot = Some(start + range.start..start + range.end);
        }
        stored.head = batch.head_after();
        stored.updated_at = batch.time();
        if batch.erases() {
            self.keys.remove(key.as_str());
            if let Some(ended) = self.conversations.remove(&batch.uid()) {
                self.erased.insert(batch.uid(), (ended.bytes, true));
            }
        }
    }

    /// Erases the bodies of erased conversations.
    pub(super) fn compact(&mut self) -> Result<Compacted, ReadError> {
        let mut compacted = Compacted::default();
        for (bytes, pending) in self.erased.values_mut() {
            compacted.segments_read += 1;
            compacted.bytes_before += bytes.len() as u64;
            if std::mem::take(pending) {
                let left = erase_bodies(bytes).map_err(|bad| corrupt(&bad))?;
                compacted.segments_rewritten += 1;
                compacted.bodies_erased += left.bodies;
                compacted.snapshots_dropped += left.snapshots;
                *bytes = left.bytes;
            }
            compacted.bytes_after += bytes.len() as u64;
        }
        Ok(compacted)
    }

    pub(super) fn erasures_pending(&self) -> u64 {
        self.erased.values().filter(|(_, pending)| *pending).count() as u64
    }

    pub(super) fn erasure(&self, uid: ConversationUid) -> Result<Erasure, ReadError> {
        let (bytes, _) = self.erased.get(&uid).ok_or(ReadError::Absent)?;
        let mut walk = ErasureWalk::default();
        for decoded in decode_all(bytes) {
            walk.push(&decoded.map_err(|bad| corrupt(&bad))?.0.record.header);
        }
        Ok(walk.finish())
    }

    pub(super) fn turns(
        &self,
        key: &ConversationKey,
        from: TurnSeq,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let stored = self.stored(key)?;
        let mut turns = Turns::new(from, limit);
        for decoded in decode_all(&stored.bytes) {
            turns.push(decoded.map_err(|bad| corrupt(&bad))?.0.record)?;
            if turns.is_full() {
                break;
            }
        }
        turns.finish(&stored.head)
    }

    pub(super) fn history(&self, key: &ConversationKey, after: Head, limit: usize) -> Result<HistoryPage, ReadError> {
        let uid = self.keys.get(key.as_str()).ok_or(ReadError::Absent)?;
        let stored = self.stored(key)?;
        let mut page = Page::new(after, limit);
        for decoded in decode_all(&stored.bytes) {
            let (decoded, bytes) = decoded.map_err(|bad| corrupt(&bad))?;
            page.push(decoded, bytes)?;
            if page.is_full() {
                break;
            }
        }
        page.finish(*uid, stored.head)
    }

    pub(super) fn list(&self, tenant: &str, after: Option<&str>, limit: usize) -> Vec<Listed> {
        let start = format!("{tenant}/{}", after.unwrap_or_default());
        let rows = self.keys.range(start..).map_while(|(text, uid)| {
            let conversation = text.strip_prefix(tenant)?.strip_prefix('/')?;
            Some((conversation, uid))
        });
        let listed = rows.filter_map(|(conversation, uid)| {
            let stored = self.conversations.get(uid)?;
            let wanted = !conversation.starts_with('@') && after.is_none_or(|after| conversation > after);
            let key = ConversationKey::from_stored(tenant, conversation).filter(|_| wanted)?;
            Some(Listed { key, uid: *uid, head: stored.head, updated_at: stored.updated_at })
        });
        listed.take(limit).collect()
    }

    pub(super) fn verify(&self, key: &ConversationKey) -> Result<Verified, ReadError> {
        let stored = self.stored(key)?;
        let mut walk = Walk::default();
        for decoded in decode_all(&stored.bytes) {
            walk.push(&decoded.map_err(|bad| corrupt(&bad))?.0, Some(key))?;
        }
        walk.finish(&stored.head)
    }
}
