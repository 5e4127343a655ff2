//! Stored records as the records that replays take.

use colloquy_author::replay::{Entry, EntryKind, Place};
use colloquy_store::{RecordHeader, RecordKind, StoredRecord};
use colloquy_types::codec;

/// What an exported file is called.
pub(crate) const EXTENSION: &str = "jsonl";

fn kind(kind: RecordKind) -> EntryKind {
    match kind {
        RecordKind::Created => EntryKind::Created,
        RecordKind::Accepted => EntryKind::Accepted,
        RecordKind::Turn => EntryKind::Turn,
        RecordKind::TurnClosed => EntryKind::TurnClosed,
        RecordKind::Control => EntryKind::Control,
        RecordKind::Snapshot => EntryKind::Snapshot,
        RecordKind::EffectIntent
        | RecordKind::EffectResult
        | RecordKind::Erased
        | RecordKind::Revision
        | RecordKind::Promotion
        | RecordKind::Epoch => EntryKind::Other,
    }
}

/// The record, decoded.
///
/// # Errors
/// [`codec::Error`] when its payload is not what its kind says.
pub(crate) fn entry(record: &StoredRecord) -> Result<Entry, codec::Error> {
    // Of a record whose body retention dropped nothing can be decided.
    let kind = if record.header.erased { EntryKind::Other } else { kind(record.header.kind) };
    Entry::decode(kind, &record.payload)
}

/// Where the record stands.
pub(crate) fn place(header: &RecordHeader) -> Place {
    Place { record_no: header.record_no.get(), turn_seq: header.turn_seq.get() }
}
