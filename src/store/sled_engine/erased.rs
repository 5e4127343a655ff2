//! What the `sled` engine keeps of erased conversations, and how it erases them.

use colloquy_types::{ConversationUid, codec};
use serde::{Deserialize, Serialize};

use super::core::{Core, Row, batch_key, io, put_chunks};
use crate::{
    history::{ErasureWalk, corrupt},
    port::{AppendError, Compacted, Erasure, NotApplied, ReadError},
    record::erase_bodies,
};

const PREFIX: &[u8] = b"x";

/// The stored form of an erased conversation's row.
#[derive(Serialize, Deserialize)]
enum StoredErased {
    V1 {
        row: Row,
        /// Whether it still has bodies.
        pending: bool,
    },
}

fn erased_key(uid: ConversationUid) -> Vec<u8> {
    [PREFIX, &uid.0].concat()
}

/// How many erased conversations still have bodies.
pub(super) fn pending(db: &sled::Db) -> Result<u64, sled::Error> {
    let mut count = 0;
    for value in db.scan_prefix(PREFIX).values() {
        let is_pending = |value: &[u8]| matches!(codec::decode(value), Ok(StoredErased::V1 { pending: true, .. }));
        count += u64::from(is_pending(&value?));
    }
    Ok(count)
}

impl Core {
    /// Adds the row of a conversation that ends.
    pub(super) fn put_erased(&self, write: &mut sled::Batch, row: &Row) -> Result<(), AppendError> {
        let stored = codec::encode(&StoredErased::V1 { row: *row, pending: true });
        let stored = stored.map_err(|_| AppendError::NotApplied(NotApplied::Closed))?;
        write.insert(erased_key(row.uid), stored);
        Ok(())
    }

    /// Erases what is pending, batch by batch.
    pub(super) fn compact(&mut self) -> Result<Compacted, ReadError> {
        let mut compacted = Compacted::default();
        for value in self.db.scan_prefix(PREFIX).values() {
            let StoredErased::V1 { row, pending } =
                codec::decode(&value.map_err(|error| io(&error))?).map_err(|error| io(&error))?;
            if pending {
                self.erase(&row, &mut compacted)?;
            }
        }
        self.db.flush().map_err(|error| io(&error))?;
        self.log.sync_data().map_err(|error| io(&error))?;
        self.stats.erasures_pending = 0;
        Ok(compacted)
    }

    fn erase(&self, row: &Row, compacted: &mut Compacted) -> Result<(), ReadError> {
        for batch in 0..row.batches {
            let (mut bytes, mut write) = (Vec::new(), sled::Batch::default());
            for chunk in self.db.scan_prefix(batch_key(row.uid, batch)) {
                let (key, chunk) = chunk.map_err(|error| io(&error))?;
                bytes.extend_from_slice(&chunk);
                write.remove(key);
            }
            let left = erase_bodies(&bytes).map_err(|bad| corrupt(&bad))?;
            put_chunks(&mut write, (row.uid, batch), &left.bytes);
            self.db.apply_batch(write).map_err(|error| io(&error))?;
            compacted.add(&Compacted {
                segments_read: 1,
                segments_rewritten: 1,
                bytes_before: bytes.len() as u64,
                bytes_after: left.bytes.len() as u64,
                bodies_erased: left.bodies,
                snapshots_dropped: left.snapshots,
            });
        }
        let done = codec::encode(&StoredErased::V1 { row: *row, pending: false }).map_err(|error| io(&error))?;
        self.db.insert(erased_key(row.uid), done).map_err(|error| io(&error))?;
        Ok(())
    }

    pub(super) fn erasure(&self, uid: ConversationUid) -> Result<Erasure, ReadError> {
        let value = self.db.get(erased_key(uid)).map_err(|error| io(&error))?.ok_or(ReadError::Absent)?;
        let StoredErased::V1 { row, .. } = codec::decode(&value).map_err(|error| io(&error))?;
        let mut walk = ErasureWalk::default();
        self.each(&row, 0, |decoded, _| {
            walk.push(&decoded.record.header);
            Ok(true)
        })?;
        Ok(walk.finish())
    }
}
