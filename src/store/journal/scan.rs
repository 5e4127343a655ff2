//! Reading a segment's bytes back: groups, records inside them, and what lies between when something
//! is damaged. Pure; decides nothing.

use std::collections::BTreeMap;

use colloquy_types::{ConversationKey, ConversationUid, Epoch};

use super::{
    bytes::to_usize,
    group::{GROUP_BYTES, GroupHeader, Position, StoreUuid},
    segment::SEGMENT_HEADER_BYTES,
};
use crate::record::{
    BadRecord, HEADER_BYTES, RecordHeader, RecordKind, SALT_BYTES, checked_body, decode_header, possible_uid,
    split_envelope,
};

/// One stretch of a segment.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Where it begins, header included.
    pub(crate) start: usize,
    /// Its header; `None` when no intact one stands there.
    pub(crate) group: Option<GroupHeader>,
    /// What its bytes hold.
    pub(crate) items: Vec<Item>,
}

impl Stretch {
    /// Whether it is a group with every record it was written with.
    pub(crate) fn is_whole(&self) -> bool {
        self.group.is_some_and(|group| u64::from(group.records) == self.items.len() as u64)
            && self.items.iter().all(|item| item.found.is_ok())
    }
}

/// A record, or bytes where one should be.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) found: Result<RecordHeader, Damage>,
    /// The key that a first record names, whatever else is wrong with it.
    pub(crate) names: Option<ConversationKey>,
}

/// What is wrong, and whose record it probably was.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) bad: BadRecord,
    pub(crate) uid: Option<ConversationUid>,
}

/// A segment as it was read.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) stretches: Vec<Stretch>,
    /// The highest position that any group knew to be synced.
    pub(crate) synced: Position,
    /// The highest end of each segment that any group knew to be synced.
    pub(crate) ends: BTreeMap<u64, u64>,
    /// The highest epoch that any group names.
    pub(crate) epoch: Epoch,
    /// Where the last group ends.
    pub(crate) end: usize,
}

/// Reads the groups of `bytes`, a segment from its first byte on.
pub(crate) fn scan(bytes: &[u8], segment: u64, uuid: StoreUuid) -> Scan {
    let mut scan = Scan {
        stretches: Vec::new(),
        synced: Position::default(),
        ends: BTreeMap::new(),
        epoch: Epoch::default(),
        end: SEGMENT_HEADER_BYTES,
    };
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some((start, header)) = next_group(bytes, at, segment, uuid) {
        if start > at {
            let from = (at + GROUP_BYTES).min(start);
            scan.stretches.push(Stretch { start: at, group: None, items: records(bytes, from, start) });
        }
        let end = start + GROUP_BYTES + to_usize(header.body_len);
        let items = records(bytes, start + GROUP_BYTES, end);
        scan.stretches.push(Stretch { start, group: Some(header), items });
        scan.synced = scan.synced.max(header.synced);
        let known = scan.ends.entry(header.synced.segment).or_default();
        *known = header.synced.offset.max(*known);
        scan.epoch = scan.epoch.max(header.epoch);
        at = end;
        scan.end = end;
    }
    // What follows the last group holds nothing, or what a torn write left.
    if bytes.get(at..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
        let items = records(bytes, (at + GROUP_BYTES).min(bytes.len()), bytes.len());
        scan.stretches.push(Stretch { start: at, group: None, items });
    }
    scan
}

/// The next intact group header at or after `from`, on a multiple of eight bytes, whose body fits.
fn next_group(bytes: &[u8], from: usize, segment: u64, uuid: StoreUuid) -> Option<(usize, GroupHeader)> {
    let mut at = from;
    while at + GROUP_BYTES <= bytes.len() {
        let here = bytes.get(at..)?;
        let position = Position { segment, offset: at as u64 };
        if let Some(header) = GroupHeader::decode(here, position, uuid)
            && header.body_len <= (here.len() - GROUP_BYTES) as u64
        {
            return Some((at, header));
        }
        at += 8;
    }
    None
}

/// The records between `from` and `to`; where none begins, one damage and then the next that does.
fn records(bytes: &[u8], from: usize, to: usize) -> Vec<Item> {
    let (mut items, mut at) = (Vec::new(), from);
    while at < to {
        let here = bytes.get(at..to).unwrap_or_default();
        match decode_header(here) {
            Ok(header) => {
                let uid = Some(header.uid);
                let len = header.record_len().min(here.len());
                let found = checked_body(&header, here).map(|_| header).map_err(|bad| Damage { bad, uid });
                items.push(Item { offset: at, len, found, names: named(here.get(..len).unwrap_or_default()) });
                at += len;
            }
            Err(bad) => {
                let next = (at + 8..to)
                    .step_by(8)
                    .find(|next| decode_header(bytes.get(*next..to).unwrap_or_default()).is_ok());
                let end = next.unwrap_or(to);
                let blank = bytes.get(at..end).is_none_or(|gap| gap.iter().all(|byte| *byte == 0));
                if !blank || end - at >= HEADER_BYTES {
                    let found = Err(Damage { bad, uid: possible_uid(here) });
                    let names = named(bytes.get(at..end).unwrap_or_default());
                    items.push(Item { offset: at, len: end - at, found, names });
                }
                at = end;
            }
        }
    }
    items
}

/// The key in the body of a `Created` record.
fn named(bytes: &[u8]) -> Option<ConversationKey> {
    let kind = bytes.get(5).copied().and_then(RecordKind::from_number);
    let payload = bytes.get(HEADER_BYTES + SALT_BYTES..).filter(|_| kind == Some(RecordKind::Created))?;
    split_envelope(payload).map(|(key, _)| key)
}
