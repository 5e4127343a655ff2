//! The record format: a fixed header, a salted body, a chain of hashes. Callers encode; the writer copies.
//!
//! ```text
//!   0 magic u32        "CQR1"           64 turn_seq u64 (turns committed up to and with this record)
//!   4 version u8, kind u8, flags u16    72 time u64 (Unix microseconds)
//!   8 header_crc u32 (crc32c, field 0)  80 body_crc u32, reserved u32
//!  12 body_len u32 (salt + payload)     88 digest [32] = H(salt ‖ payload)
//!  16 uid [16]                         120 hash [32]
//!  32 epoch, 40 activation             152 body: salt [16] ‖ payload, padded with zeros to 8 bytes
//!  48 record_no, 56 reserved u64
//! ```
//!
//! All numbers are little-endian. `hash = H(header with flags, header_crc and hash zeroed ‖ previous
//! hash)` with BLAKE3, so the chain can be verified after a body was erased: what is left then is a stub, the
//! header alone with the flag [`FLAG_ERASED`] set and every other field as it was, `body_len` included.
//! A snapshot stands outside the chain: its `record_no`, `turn_seq` and `hash` are those of the head
//! it represents. No position is stored in a record, so records can be copied anywhere.

mod batch;
mod codec;
mod stub;
#[cfg(test)]
pub(crate) mod tests;

use colloquy_types::{Activation, ConversationUid, Epoch, Hash, Head, RecordNo, Timestamp, TurnSeq};

pub use batch::{Batch, TooLarge};
pub use codec::{BadRecord, DecodedRecord, decode_header, decode_record, padded_len};
pub(crate) use codec::{checked_body, epoch_record, possible_uid, split_envelope};
pub(crate) use stub::{erase_bodies, stub_of};

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 152;
/// Bytes of the salt that precedes each payload.
pub const SALT_BYTES: usize = 16;
/// Largest record, header and padding included.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Largest snapshot payload.
pub const SNAPSHOT_BYTES_MAX: usize = 256 << 10;
/// Largest payload of an effect's result.
pub const EFFECT_RESULT_BYTES_MAX: usize = 64 << 10;
/// Largest batch: all its records together.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// The record format this build writes.
pub const FORMAT_VERSION: u8 = 1;
/// The flag of a stub: the body was erased and does not follow the header.
pub const FLAG_ERASED: u16 = 1;

/// What a record is. The numbers are the format and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// The first record of a conversation; the store's own envelope names the key.
    Created = 1,
    /// A turn was promised before it was decided.
    Accepted = 2,
    /// An action is about to be called.
    EffectIntent = 3,
    /// What an effect returned.
    EffectResult = 4,
    /// A committed turn.
    Turn = 5,
    /// An accepted turn that ended without a committed one.
    TurnClosed = 6,
    /// Pin, pause, reset, fork origin, timer, cancel.
    Control = 7,
    /// A snapshot; outside the chain.
    Snapshot = 8,
    /// The end of a conversation, whose other bodies are to be erased. Its own is kept, so it holds nothing
    /// about a person.
    Erased = 9,
    /// A flow revision's source; of a tenant.
    Revision = 10,
    /// What a tenant decided of what its conversations run: a promotion, or a pause; of a tenant.
    Promotion = 11,
    /// A process opened the store; of the store.
    Epoch = 12,
}

impl RecordKind {
    /// Whether records of this kind are links of the chain; only snapshots are not.
    pub const fn is_chained(self) -> bool {
        !matches!(self, Self::Snapshot)
    }

    /// The kind's name, in files and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Accepted => "accepted",
            Self::EffectIntent => "effect_intent",
            Self::EffectResult => "effect_result",
            Self::Turn => "turn",
            Self::TurnClosed => "turn_closed",
            Self::Control => "control",
            Self::Snapshot => "snapshot",
            Self::Erased => "erased",
            Self::Revision => "revision",
            Self::Promotion => "promotion",
            Self::Epoch => "epoch",
        }
    }

    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Created,
            2 => Self::Accepted,
            3 => Self::EffectIntent,
            4 => Self::EffectResult,
            5 => Self::Turn,
            6 => Self::TurnClosed,
            7 => Self::Control,
            8 => Self::Snapshot,
            9 => Self::Erased,
            10 => Self::Revision,
            11 => Self::Promotion,
            12 => Self::Epoch,
            _ => return None,
        })
    }
}

/// A decoded header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the record is.
    pub kind: RecordKind,
    /// Whether the body was erased, so that the header is all there is.
    pub erased: bool,
    /// Bytes of salt and payload, or those it had before they were erased.
    pub body_len: u32,
    /// Whose record it is.
    pub uid: ConversationUid,
    /// The epoch it was written in.
    pub epoch: Epoch,
    /// The activation it was written by.
    pub activation: Activation,
    /// Its number in the chain; for a snapshot, that of the head it represents.
    pub record_no: RecordNo,
    /// Turns committed up to and with this record.
    pub turn_seq: TurnSeq,
    /// When it was made.
    pub time: Timestamp,
    /// Checksum of the body (crc32c).
    pub body_crc: u32,
    /// Digest of salt and payload.
    pub digest: Hash,
    /// The chain's hash after this record; for a snapshot, that of the head it represents.
    pub hash: Hash,
}

impl RecordHeader {
    /// The head of the conversation right after this record.
    pub fn head(&self) -> Head {
        Head { epoch: self.epoch, turn_seq: self.turn_seq, record_no: self.record_no, hash: self.hash }
    }

    /// Bytes that the record takes, padding included.
    pub fn record_len(&self) -> usize {
        if self.erased {
            return HEADER_BYTES;
        }
        // A decoded header's length is within the limits.
        padded_len(usize::try_from(self.body_len).unwrap_or(usize::MAX / 2))
    }

    /// Checks that this record follows `head` in its conversation's chain.
    ///
    /// # Errors
    /// [`BadRecord::Gap`] or [`BadRecord::Chain`].
    pub fn follows(&self, head: &Head) -> Result<(), BadRecord> {
        codec::check_link(self, head)
    }
}

/// A record as read back, its checksum and digest checked, as far as its body was not erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The header.
    pub header: RecordHeader,
    /// The payload, without its salt; empty when it was erased ([`RecordHeader::erased`]).
    pub payload: Vec<u8>,
}
