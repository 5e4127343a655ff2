//! Flipping bits of records that the disk itself knows to have been synced.
//!
//! Only there is damage to be told from a write that the power cut off, so only there may it be asked for.

use super::{
    disk::FaultDisk,
    life::UUID,
    model::{Conversation, Model, Sent},
    random::Random,
};
use crate::{
    journal::{
        bytes::to_usize,
        group::{GROUP_BYTES, GroupHeader, Position},
        segment::{SEGMENT_HEADER_BYTES, TRAILER_BYTES, Trailer, file_id},
    },
    record::{HEADER_BYTES, RecordHeader, RecordKind, decode_header},
};

/// A record in a segment.
struct Found {
    file: String,
    at: Position,
    header: RecordHeader,
}

/// Flips one bit of a record below the mark and marks its conversation as damaged; `false` when there is none.
pub(super) fn flip_one(disk: &FaultDisk, model: &mut Model, random: &mut Random) -> bool {
    let records = synced_records(disk);
    let is_target = |found: &&Found| {
        // Without its first record a conversation has no name; the journal's own tests look at that.
        found.header.kind != RecordKind::Created
            && model
                .conversations
                .iter()
                .any(|conversation| conversation.uid == Some(found.header.uid) && is_hit(conversation, &found.header))
    };
    let targets: Vec<_> = records.iter().filter(is_target).collect();
    let Some(found) = random.pick(&targets) else { return false };
    let len = HEADER_BYTES + to_usize(found.header.body_len.into());
    let bit = u8::try_from(random.below(8)).unwrap_or_default();
    disk.flip(&found.file, to_usize(found.at.offset) + random.below(len), bit);
    if let Some(hit) = model.conversations.iter_mut().find(|hit| hit.uid == Some(found.header.uid)) {
        hit.is_damaged = true;
        hit.lease(None);
    }
    true
}

/// Whether damage of this record is to be noticed: compaction may remove a snapshot that another superseded.
fn is_hit(conversation: &Conversation, header: &RecordHeader) -> bool {
    let newest = conversation.certain.iter().rfind(|record| !record.header.kind.is_chained());
    let is_newest = newest.is_some_and(|newest| newest.header == *header) && conversation.unknown.is_empty();
    // Nor does it matter in one that may be erased.
    let may_be_erased = conversation.unknown.iter().any(Sent::erases);
    !conversation.is_damaged && !may_be_erased && (header.kind.is_chained() || is_newest)
}

/// The records before the highest position that anything on the disk knows to have been synced.
fn synced_records(disk: &FaultDisk) -> Vec<Found> {
    let (mut mark, mut records) = (Position::default(), Vec::new());
    for (file, bytes) in disk.files() {
        let Some(segment) = file_id(&file) else { continue };
        if let Some(trailer) = trailer(&bytes, segment) {
            mark = mark.max(Position { segment, offset: trailer.valid_len });
        }
        let mut at = SEGMENT_HEADER_BYTES;
        while let Some(group) = group(&bytes, Position { segment, offset: at as u64 }) {
            mark = mark.max(group.synced);
            let end = at + GROUP_BYTES + to_usize(group.body_len);
            at += GROUP_BYTES;
            while let Ok(header) = decode_header(bytes.get(at..end).unwrap_or_default()) {
                let here = Position { segment, offset: at as u64 };
                at += header.record_len();
                records.push(Found { file: file.clone(), at: here, header });
            }
            at = end;
        }
    }
    records.retain(|found| found.at < mark);
    records
}

fn trailer(bytes: &[u8], segment: u64) -> Option<Trailer> {
    let trailer = Trailer::decode(bytes.get(bytes.len().checked_sub(TRAILER_BYTES)?..)?).ok()?;
    (trailer.uuid == UUID && trailer.id == segment).then_some(trailer)
}

fn group(bytes: &[u8], at: Position) -> Option<GroupHeader> {
    let group = GroupHeader::decode(bytes.get(to_usize(at.offset)..)?, at, UUID)?;
    let end = to_usize(at.offset) + GROUP_BYTES + to_usize(group.body_len);
    (end <= bytes.len()).then_some(group)
}
