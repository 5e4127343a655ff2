//! What a caller hands to a store: records already encoded, summed, hashed and chained.
//!
//! The writer copies the bytes and adds nothing, so the work of a commit is done by many callers and
//! not by the one writer.

use std::ops::Range;

use colloquy_types::{ConversationKey, ConversationUid, Hash, Head, RecordNo, Timestamp};

use super::{
    BATCH_BYTES_MAX, EFFECT_RESULT_BYTES_MAX, HEADER_BYTES, RECORD_BYTES_MAX, RecordHeader, RecordKind, SALT_BYTES,
    SNAPSHOT_BYTES_MAX, codec,
};
use crate::port::{Expect, HistoryRecord, Lease};

/// A limit was passed; nothing was added to the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// A record, header and padding included.
    #[error("a record of {bytes} bytes is larger than {RECORD_BYTES_MAX}")]
    Record {
        /// Its bytes.
        bytes: usize,
    },
    /// A snapshot's payload.
    #[error("a snapshot of {bytes} bytes is larger than {SNAPSHOT_BYTES_MAX}")]
    Snapshot {
        /// Its bytes.
        bytes: usize,
    },
    /// The payload of an effect's result.
    #[error("an effect's result of {bytes} bytes is larger than {EFFECT_RESULT_BYTES_MAX}")]
    EffectResult {
        /// Its bytes.
        bytes: usize,
    },
    /// All records of the batch together.
    #[error("a batch of {bytes} bytes is larger than {BATCH_BYTES_MAX}")]
    Batch {
        /// Its bytes.
        bytes: usize,
    },
}

/// Records of one conversation that become durable together or not at all.
///
/// The first batch of a conversation begins with [`Batch::push_created`]; no later one contains it.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    uid: ConversationUid,
    expect: Expect,
    head: Head,
    records: u32,
    created: Option<ConversationKey>,
    created_len: usize,
    snapshot: Option<(Range<usize>, RecordNo)>,
    erases: bool,
    /// Whether anything stands behind the record of an erasure.
    goes_on: bool,
    time: Timestamp,
}

impl Batch {
    /// An empty batch that expects `lease` to be the owner's and `head` to be where history stands. The first record makes
    /// room for itself: most batches hold no other.
    pub fn new(lease: &Lease, head: &Head) -> Self {
        Self::with_capacity(lease, head, 0)
    }

    /// The same with room for `bytes` of records, headers included.
    pub fn with_capacity(lease: &Lease, head: &Head, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            uid: lease.uid,
            expect: Expect { epoch: lease.epoch, activation: lease.activation, record_no: head.record_no },
            head: *head,
            records: 0,
            created: None,
            created_len: 0,
            snapshot: None,
            erases: false,
            goes_on: false,
            time: Timestamp::default(),
        }
    }

    /// A batch of records as another store wrote them, which follow `head`. The first ones of a conversation begin with
    /// its `Created` record.
    pub(crate) fn adopted(lease: &Lease, head: &Head, records: &[HistoryRecord]) -> Self {
        let mut batch = Self::with_capacity(lease, head, records.iter().map(|record| record.stored.len()).sum());
        for HistoryRecord { record, stored } in records {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(stored);
            match record.header.kind {
                RecordKind::Created => (batch.created, batch.created_len) = (Some(lease.key.clone()), stored.len()),
                RecordKind::Snapshot => batch.snapshot = Some((start..batch.bytes.len(), record.header.record_no)),
                _ => {}
            }
            if record.header.kind.is_chained() {
                batch.head = record.header.head();
            }
            batch.records += 1;
            batch.time = record.header.time;
        }
        batch
    }

    /// Adds a record. `Turn` raises `turn_seq` by one and every chained kind `record_no`; a `Snapshot`
    /// stands outside the chain and represents the head reached so far in this batch.
    ///
    /// An `Erased` record is the conversation's last; a batch in which another follows it is refused.
    ///
    /// `salt` must be unpredictable: it keeps the digest of a short payload from being guessed after
    /// an erasure. `Created` records go through [`Batch::push_created`].
    ///
    /// # Errors
    /// [`TooLarge`]; the batch is then as it was.
    pub fn push(
        &mut self,
        kind: RecordKind,
        time: Timestamp,
        salt: [u8; SALT_BYTES],
        payload: &[u8],
    ) -> Result<(), TooLarge> {
        self.push_with(kind, time, salt, None, payload)
    }

    /// Adds the first record of a conversation: the store's envelope, which names `key`, and `payload`.
    ///
    /// # Errors
    /// [`TooLarge`]; the batch is then as it was.
    pub fn push_created(
        &mut self,
        time: Timestamp,
        salt: [u8; SALT_BYTES],
        key: &ConversationKey,
        payload: &[u8],
    ) -> Result<(), TooLarge> {
        self.push_with(RecordKind::Created, time, salt, Some(key), payload)
    }

    fn push_with(
        &mut self,
        kind: RecordKind,
        time: Timestamp,
        salt: [u8; SALT_BYTES],
        key: Option<&ConversationKey>,
        payload: &[u8],
    ) -> Result<(), TooLarge> {
        let body_len = SALT_BYTES + key.map_or(0, codec::envelope_len) + payload.len();
        let record_len = codec::padded_len(body_len);
        check_limits(kind, payload.len(), record_len, self.bytes.len())?;
        let start = self.bytes.len();
        let body_start = start + HEADER_BYTES;
        self.bytes.reserve(record_len);
        self.bytes.resize(body_start, 0);
        self.bytes.extend_from_slice(&salt);
        if let Some(key) = key {
            codec::put_envelope(&mut self.bytes, key);
        }
        self.bytes.extend_from_slice(payload);
        let body = self.bytes.get(body_start..).unwrap_or_default();
        let (body_crc, digest) = (crc32c::crc32c(body), Hash(*blake3::hash(body).as_bytes()));
        self.bytes.resize(start + record_len, 0);

        let chained = kind.is_chained();
        let previous = self.head.hash;
        if chained {
            self.head.record_no = self.head.record_no.next();
            self.head.epoch = self.expect.epoch;
            if kind == RecordKind::Turn {
                self.head.turn_seq = self.head.turn_seq.next();
            }
        }
        let mut header = codec::encode_header(&RecordHeader {
            kind,
            erased: false,
            // The limits above keep it far below 4 GiB.
            body_len: u32::try_from(body_len).unwrap_or(u32::MAX),
            uid: self.uid,
            epoch: if chained { self.expect.epoch } else { self.head.epoch },
            activation: self.expect.activation,
            record_no: self.head.record_no,
            turn_seq: self.head.turn_seq,
            time,
            body_crc,
            digest,
            hash: previous,
        });
        if chained {
            self.head.hash = codec::chain_hash(&header, previous);
            codec::set_hash_and_crc(&mut header, self.head.hash);
        } else {
            self.snapshot = Some((start..start + record_len, self.head.record_no));
        }
        if let Some(room) = self.bytes.get_mut(start..body_start) {
            room.copy_from_slice(&header);
        }
        if let Some(key) = key {
            self.created = Some(key.clone());
            self.created_len = record_len;
        }
        self.goes_on |= self.erases;
        self.erases |= kind == RecordKind::Erased;
        self.records += 1;
        self.time = time;
        Ok(())
    }

    /// The head once this batch is committed.
    pub fn head_after(&self) -> Head {
        self.head
    }

    /// The fence it is checked against.
    pub fn expect(&self) -> Expect {
        self.expect
    }

    /// Whose records these are.
    pub fn uid(&self) -> ConversationUid {
        self.uid
    }

    /// The encoded records, each padded to 8 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many records it holds.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The key named by its `Created` record, if it has one.
    pub fn created(&self) -> Option<&ConversationKey> {
        self.created.as_ref()
    }

    /// Where in [`Batch::bytes`] its last snapshot stands, if it has one.
    pub fn snapshot(&self) -> Option<Range<usize>> {
        self.snapshot.as_ref().map(|(range, _)| range.clone())
    }

    /// The record that its last snapshot represents.
    pub(crate) fn snapshot_record_no(&self) -> RecordNo {
        self.snapshot.as_ref().map(|(_, record_no)| *record_no).unwrap_or_default()
    }

    /// Where in [`Batch::bytes`] its `Created` record stands: at the front, in a batch that fits.
    pub(crate) fn created_range(&self) -> Option<Range<usize>> {
        self.created.as_ref().map(|_| 0..self.created_len)
    }

    /// Whether it ends its conversation.
    pub fn erases(&self) -> bool {
        self.erases
    }

    /// The time of its last record.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Whether it may stand where its fence says: the first one of a conversation begins with a
    /// `Created` record of `key`, and no other contains one; nothing follows an `Erased` record.
    pub fn fits(&self, key: &ConversationKey) -> bool {
        let first = self.expect.record_no == RecordNo::default();
        if self.goes_on {
            return false;
        }
        match &self.created {
            Some(created) => first && created == key && self.begins_with_created(),
            None => !first || self.is_empty(),
        }
    }

    fn begins_with_created(&self) -> bool {
        self.bytes.get(5) == Some(&(RecordKind::Created as u8))
    }
}

fn check_limits(kind: RecordKind, payload: usize, record: usize, before: usize) -> Result<(), TooLarge> {
    match kind {
        RecordKind::Snapshot if payload > SNAPSHOT_BYTES_MAX => return Err(TooLarge::Snapshot { bytes: payload }),
        RecordKind::EffectResult if payload > EFFECT_RESULT_BYTES_MAX => {
            return Err(TooLarge::EffectResult { bytes: payload });
        }
        _ => {}
    }
    if record > RECORD_BYTES_MAX {
        return Err(TooLarge::Record { bytes: record });
    }
    if before + record > BATCH_BYTES_MAX {
        return Err(TooLarge::Batch { bytes: before + record });
    }
    Ok(())
}
