//! Erasing a body: what is left of a record is its header, which the chain still goes through.

use super::{
    BadRecord, HEADER_BYTES, RecordHeader, RecordKind,
    codec::{decode_record, encode_header},
};

/// The stub of the record with this header.
pub(crate) fn stub_of(header: &RecordHeader) -> [u8; HEADER_BYTES] {
    encode_header(&RecordHeader { erased: true, ..header.clone() })
}

/// What is left of an erased conversation's records.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    /// Stubs, and the record of the erasure as it was.
    pub(crate) bytes: Vec<u8>,
    /// How many records lost their bodies.
    pub(crate) bodies: u64,
    /// How many snapshots are gone.
    pub(crate) snapshots: u64,
}

/// Erases the bodies of the records in `bytes`, one after another, all of one erased conversation.
///
/// # Errors
/// [`BadRecord`] for the first that cannot be read.
pub(crate) fn erase_bodies(mut bytes: &[u8]) -> Result<Erased, BadRecord> {
    let mut left = Erased::default();
    while !bytes.is_empty() {
        let decoded = decode_record(bytes)?;
        let (record, rest) = bytes.split_at(decoded.len.min(bytes.len()));
        let header = &decoded.record.header;
        match header.kind {
            RecordKind::Snapshot => left.snapshots += 1,
            RecordKind::Erased => left.bytes.extend_from_slice(record),
            _ if header.erased => left.bytes.extend_from_slice(record),
            _ => {
                left.bytes.extend_from_slice(&stub_of(header));
                left.bodies += 1;
            }
        }
        bytes = rest;
    }
    Ok(left)
}
