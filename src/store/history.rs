//! What every engine does with the records it has read: walk chains, collect turns and pages of history,
//! assemble `Opened`.

use colloquy_types::{ConversationKey, ConversationUid, Head, TurnSeq};

use crate::{
    port::{Erasure, HistoryPage, HistoryRecord, Lease, Opened, ReadError, Verified},
    record::{BadRecord, DecodedRecord, RecordHeader, RecordKind, StoredRecord, decode_record},
};

/// About how much [`crate::ConversationStore::turns`] and `history` give at a time.
pub(crate) const PAGE_BYTES_MAX: usize = 4 << 20;

pub(crate) fn corrupt(bad: &BadRecord) -> ReadError {
    ReadError::Corrupt { reason: bad.to_string() }
}

/// The records in `bytes`, one after another, each with the bytes it was decoded from.
pub(crate) fn decode_all(mut bytes: &[u8]) -> impl Iterator<Item = Result<(DecodedRecord, &[u8]), BadRecord>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let decoded = decode_record(bytes);
        let len = decoded.as_ref().map_or(bytes.len(), |decoded| decoded.len.min(bytes.len()));
        let (stored, rest) = bytes.split_at(len);
        bytes = rest;
        Some(decoded.map(|decoded| (decoded, stored)))
    })
}

/// Collects what `open` returns and checks that the chain leads from the snapshot to the head.
pub(crate) struct Tail {
    reached: Head,
    records: Vec<StoredRecord>,
}

impl Tail {
    /// Begins after `snapshot`, or at the very beginning.
    pub(crate) fn after(snapshot: Option<&StoredRecord>) -> Self {
        Self { reached: snapshot.map(|record| record.header.head()).unwrap_or_default(), records: Vec::new() }
    }

    /// Takes the next record; snapshots and what the snapshot covers are passed over.
    pub(crate) fn push(&mut self, record: StoredRecord) -> Result<(), ReadError> {
        if !record.header.kind.is_chained() || record.header.record_no <= self.reached.record_no {
            return Ok(());
        }
        record.header.follows(&self.reached).map_err(|bad| corrupt(&bad))?;
        if record.header.erased {
            let reason =
                format!("the body of record {} is gone, and no snapshot stands behind it", record.header.record_no);
            return Err(ReadError::Corrupt { reason });
        }
        self.reached = record.header.head();
        self.records.push(record);
        Ok(())
    }

    /// Checks that `head` was reached.
    pub(crate) fn finish(
        self,
        lease: Lease,
        head: Head,
        created: Option<StoredRecord>,
        snapshot: Option<StoredRecord>,
    ) -> Result<Opened, ReadError> {
        if (self.reached.record_no, self.reached.hash) != (head.record_no, head.hash) {
            let reason = format!("the chain ends at record {}, the head is {}", self.reached.record_no, head.record_no);
            return Err(ReadError::Corrupt { reason });
        }
        let created = created.or_else(|| self.records.first().cloned());
        Ok(Opened { lease, head, created, snapshot, tail: self.records })
    }
}

/// Collects turns in order, within the limits, and checks that none is missing between them. Those whose
/// bodies were erased are passed over.
pub(crate) struct Turns {
    next: TurnSeq,
    limit: usize,
    bytes: usize,
    turns: Vec<StoredRecord>,
}

impl Turns {
    pub(crate) fn new(from: TurnSeq, limit: usize) -> Self {
        Self { next: from.max(TurnSeq::new(1)), limit, bytes: 0, turns: Vec::new() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.turns.len() >= self.limit || self.bytes >= PAGE_BYTES_MAX
    }

    pub(crate) fn push(&mut self, record: StoredRecord) -> Result<(), ReadError> {
        let seq = record.header.turn_seq;
        if record.header.kind != RecordKind::Turn || seq < self.next || self.is_full() {
            return Ok(());
        }
        if seq > self.next {
            return Err(ReadError::Corrupt { reason: format!("turn {} is missing", self.next) });
        }
        self.next = seq.next();
        if !record.header.erased {
            self.bytes += record.payload.len();
            self.turns.push(record);
        }
        Ok(())
    }

    /// The turns; `head` tells whether more should have been found.
    pub(crate) fn finish(self, head: &Head) -> Result<Vec<StoredRecord>, ReadError> {
        if !self.is_full() && self.next <= head.turn_seq {
            return Err(ReadError::Corrupt { reason: format!("turn {} is missing", self.next) });
        }
        Ok(self.turns)
    }
}

/// Collects one page of a history.
pub(crate) struct Page {
    limit: usize,
    bytes: usize,
    reached: Head,
    records: Vec<HistoryRecord>,
    is_full: bool,
}

impl Page {
    /// Begins behind `after`.
    pub(crate) fn new(after: Head, limit: usize) -> Self {
        Self { limit: limit.max(1), bytes: 0, reached: after, records: Vec::new(), is_full: false }
    }

    /// Whether there is no room for another record.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Takes the next record; what stands before the page is passed over.
    pub(crate) fn push(&mut self, decoded: DecodedRecord, stored: &[u8]) -> Result<(), ReadError> {
        let header = &decoded.record.header;
        if header.kind.is_chained() {
            if header.record_no <= self.reached.record_no {
                return Ok(());
            }
            // A snapshot belongs to the record before it, so only a chained one closes the page.
            self.is_full = self.records.len() >= self.limit || self.bytes >= PAGE_BYTES_MAX;
            if self.is_full {
                return Ok(());
            }
            header.follows(&self.reached).map_err(|bad| corrupt(&bad))?;
            self.reached = header.head();
        } else if self.records.is_empty() || header.record_no < self.reached.record_no {
            return Ok(());
        } else if (header.record_no, header.hash) != (self.reached.record_no, self.reached.hash) {
            return Err(corrupt(&BadRecord::Chain(header.record_no)));
        }
        self.bytes += stored.len();
        self.records.push(HistoryRecord { record: decoded.record, stored: stored.to_vec() });
        Ok(())
    }

    /// The page; `head` tells whether more should have been found.
    pub(crate) fn finish(self, uid: ConversationUid, head: Head) -> Result<HistoryPage, ReadError> {
        let Self { reached, records, is_full, .. } = self;
        let ends_early = !is_full && (reached.record_no, reached.hash) != (head.record_no, head.hash);
        if ends_early || reached.record_no > head.record_no {
            let reason = format!("the chain ends at record {}, the head is {}", reached.record_no, head.record_no);
            return Err(ReadError::Corrupt { reason });
        }
        Ok(HistoryPage { uid, head, records, reached })
    }
}

/// Walks a whole chain.
#[derive(Default)]
pub(crate) struct Walk {
    reached: Head,
    turns: u64,
}

impl Walk {
    /// Takes the next record of the conversation `key`; one that was already passed is skipped.
    pub(crate) fn push(&mut self, decoded: &DecodedRecord, key: Option<&ConversationKey>) -> Result<(), ReadError> {
        let header = &decoded.record.header;
        if !header.kind.is_chained() {
            let fits = header.record_no != self.reached.record_no || header.hash == self.reached.hash;
            return if fits { Ok(()) } else { Err(corrupt(&BadRecord::Chain(header.record_no))) };
        }
        if header.record_no <= self.reached.record_no {
            return Ok(());
        }
        header.follows(&self.reached).map_err(|bad| corrupt(&bad))?;
        if decoded.key.as_ref().is_some_and(|named| Some(named) != key) {
            return Err(corrupt(&BadRecord::Key));
        }
        self.reached = header.head();
        self.turns += u64::from(header.kind == RecordKind::Turn);
        Ok(())
    }

    /// Checks that the chain ends in `head`.
    pub(crate) fn finish(self, head: &Head) -> Result<Verified, ReadError> {
        if self.reached != *head {
            let reason = format!("the chain ends at record {}, the head is {}", self.reached.record_no, head.record_no);
            return Err(ReadError::Corrupt { reason });
        }
        Ok(Verified { records: self.reached.record_no.get(), turns: self.turns, head: self.reached })
    }
}

/// Walks what is left of an erased conversation.
#[derive(Default)]
pub(crate) struct ErasureWalk {
    reached: Head,
    last: Option<RecordKind>,
    is_broken: bool,
    found: Erasure,
}

impl ErasureWalk {
    /// Takes the next record; one that is there twice is counted for its body only.
    pub(crate) fn push(&mut self, header: &RecordHeader) {
        if !header.kind.is_chained() {
            self.found.snapshots += 1;
            return;
        }
        self.found.bodies += u64::from(!header.erased && header.kind != RecordKind::Erased);
        if header.record_no <= self.reached.record_no {
            return;
        }
        self.found.records += 1;
        self.is_broken |= header.follows(&self.reached).is_err();
        if !self.is_broken {
            self.reached = header.head();
            self.last = Some(header.kind);
        }
    }

    /// What was found.
    pub(crate) fn finish(self) -> Erasure {
        let chain_holds = !self.is_broken && self.last == Some(RecordKind::Erased);
        Erasure { chain_holds, head: self.reached, ..self.found }
    }
}
