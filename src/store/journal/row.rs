//! What the index knows of one conversation, and where in the journal the rest stands.

use colloquy_types::{ConversationUid, Head, RecordNo, Timestamp, codec};
use serde::{Deserialize, Serialize};

use super::group::Position;

/// One record's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Where it begins.
    pub(crate) at: Position,
    /// Its bytes, padding included.
    pub(crate) len: u32,
}

/// A snapshot's place, and the record it represents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotPlace {
    pub(crate) place: Place,
    pub(crate) record_no: RecordNo,
}

/// One conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) uid: ConversationUid,
    pub(crate) head: Head,
    pub(crate) updated_at: Timestamp,
    /// Where its first record stood when it was written: a hint once compaction has moved it.
    pub(crate) created: Place,
    /// Where its newest snapshot stood when it was written: a hint too.
    pub(crate) snapshot: Option<SnapshotPlace>,
    /// Why it is quarantined, if it is.
    pub(crate) damage: Option<String>,
    /// The segment that its last record stands in, when the conversation was erased.
    pub(crate) erased_in: Option<u64>,
    /// The segments of the records that follow the snapshot, or of all when there is none, in order; `None` when they
    /// are not known. A hint: what is missing makes a gap.
    pub(crate) tail: Option<Vec<u64>>,
}

/// More segments than this are not kept.
const TAIL_SEGMENTS_MAX: usize = 32;

/// A row as it was before conversations could be erased.
#[derive(Serialize, Deserialize)]
struct RowV1 {
    uid: ConversationUid,
    head: Head,
    updated_at: Timestamp,
    created: Place,
    snapshot: Option<SnapshotPlace>,
    damage: Option<String>,
}

impl From<RowV1> for Row {
    fn from(row: RowV1) -> Self {
        let RowV1 { uid, head, updated_at, created, snapshot, damage } = row;
        Self { uid, head, updated_at, created, snapshot, damage, erased_in: None, tail: None }
    }
}

/// The newest version of a row.
pub(crate) const VERSION: u32 = 2;
/// What a row of that version begins with: the number of its variant.
const NEWEST: u8 = 1;

/// A row as stored; variants and fields are the format.
#[derive(Serialize, Deserialize)]
enum StoredRow {
    V1(RowV1),
    V2(Row),
}

impl Row {
    /// The row of a conversation that nothing is stored of.
    pub(crate) fn unborn(uid: ConversationUid) -> Self {
        Self {
            uid,
            head: Head::default(),
            updated_at: Timestamp::default(),
            created: Place::default(),
            snapshot: None,
            damage: None,
            erased_in: None,
            tail: Some(Vec::new()),
        }
    }

    /// Notes that a record which follows the snapshot stands in `segment`.
    pub(crate) fn follows_in(&mut self, segment: u64) {
        let Some(tail) = &mut self.tail else { return };
        if tail.last() != Some(&segment) {
            tail.push(segment);
        }
        if tail.len() > TAIL_SEGMENTS_MAX {
            self.tail = None;
        }
    }

    /// Notes that nothing follows the snapshot.
    pub(crate) fn ends_in_snapshot(&mut self) {
        self.tail = Some(Vec::new());
    }

    /// Whether anything is stored of it.
    pub(crate) fn is_born(&self) -> bool {
        self.head.record_no > RecordNo::default() || self.damage.is_some()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, codec::Error> {
        codec::encode(&StoredRow::V2(self.clone()))
    }

    #[cfg(test)]
    pub(crate) fn encode_as_version_1(&self) -> Vec<u8> {
        let Self { uid, head, updated_at, created, snapshot, damage, .. } = self.clone();
        codec::encode(&StoredRow::V1(RowV1 { uid, head, updated_at, created, snapshot, damage })).unwrap()
    }

    /// Whether bytes that are a row are one of the version that is written now.
    pub(crate) fn is_newest(bytes: &[u8]) -> bool {
        bytes.first() == Some(&NEWEST)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        Ok(match codec::decode(bytes)? {
            StoredRow::V1(row) => row.into(),
            StoredRow::V2(row) => row,
        })
    }

    /// Where the records begin that follow the snapshot, or all of them.
    pub(crate) fn tail_from(&self) -> Position {
        self.snapshot.map_or(self.created.at, |snapshot| snapshot.place.at)
    }
}
