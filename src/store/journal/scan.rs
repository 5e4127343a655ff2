//! Reading a segment's bytes back: groups, records inside them, and what lies between when something
//! is damaged. Decides nothing.

use std::{collections::BTreeMap, io, ops::Range};

use colloquy_types::{ConversationKey, ConversationUid, Epoch};

use super::{
    bytes::to_usize,
    disk::{DiskFile, read_into},
    error::OpenError,
    group::{GROUP_BYTES, GroupHeader, Position, StoreUuid},
    segment::SEGMENT_HEADER_BYTES,
};
use crate::record::{
    BadRecord, FORMAT_VERSION, HEADER_BYTES, RecordHeader, RecordKind, SALT_BYTES, checked_body, decode_header,
    possible_uid, split_envelope,
};

/// What is read of a file at once, unless a group is larger; little in tests, whose segments are small.
const WINDOW_BYTES: usize = if cfg!(test) { 2 << 10 } else { 1 << 20 };

/// One stretch of a segment.
#[derive(Debug, PartialEq)]
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
#[derive(Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) found: Result<RecordHeader, Damage>,
    /// The key that a first record names, whatever else is wrong with it.
    pub(crate) names: Option<ConversationKey>,
}

impl Item {
    /// What tells that a newer build wrote this record: its header is intact, and not of this build. Only where one must
    /// begin is it one: what stands between records may be what somebody said.
    fn newer(&self) -> Option<Newer> {
        match &self.found.as_ref().err()?.bad {
            BadRecord::NewerVersion(version) if *version > FORMAT_VERSION => Some(Newer::Version((*version).into())),
            bad @ (BadRecord::UnknownKind(_) | BadRecord::UnknownFlags(_)) => Some(Newer::Record(bad.clone())),
            _ => None,
        }
    }
}

/// What is wrong, and whose record it probably was.
#[derive(Debug, PartialEq)]
pub(crate) struct Damage {
    pub(crate) bad: BadRecord,
    pub(crate) uid: Option<ConversationUid>,
}

/// The first record of a group that a newer build wrote. Behind a header that is damaged it is not looked for: where
/// records begin there is a guess.
fn newer_record(items: &[Item]) -> Option<Newer> {
    let is_placed = |item: &&Item| matches!(&item.found, Ok(_) | Err(Damage { bad: BadRecord::BodyChecksum, .. }));
    items.iter().find(|item| !is_placed(item)).and_then(Item::newer)
}

/// What is intact and of a newer build.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Newer {
    /// A group or a record has this version.
    Version(u32),
    /// A record has this version of records and is of a kind, or has flags, that this build does not know.
    Record(BadRecord),
}

/// A segment as it was read.
#[derive(Debug, PartialEq)]
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
    /// The first of a group, or of a record in one.
    pub(crate) newer: Option<Newer>,
}

impl Scan {
    fn new() -> Self {
        let (stretches, ends) = (Vec::new(), BTreeMap::new());
        let (synced, epoch) = (Position::default(), Epoch::default());
        Self { stretches, synced, ends, epoch, end: SEGMENT_HEADER_BYTES, newer: None }
    }

    /// Whether this build knows everything that was read.
    ///
    /// # Errors
    /// [`OpenError::NewerVersion`] and [`OpenError::NewerRecord`].
    pub(crate) fn refuse_newer(&self) -> Result<(), OpenError> {
        match &self.newer {
            None => Ok(()),
            Some(Newer::Version(version)) => Err(OpenError::NewerVersion { version: *version }),
            Some(Newer::Record(record)) => Err(OpenError::NewerRecord { record: record.clone() }),
        }
    }

    /// Takes the group whose body is `body`, and whose header stands at `start`.
    fn group(&mut self, header: GroupHeader, start: usize, body: &[u8]) {
        let items = records(body, start + GROUP_BYTES);
        self.newer = self.newer.take().or_else(|| newer_record(&items));
        self.stretches.push(Stretch { start, group: Some(header), items });
        self.synced = self.synced.max(header.synced);
        let known = self.ends.entry(header.synced.segment).or_default();
        *known = header.synced.offset.max(*known);
        self.epoch = self.epoch.max(header.epoch);
        self.end = start + GROUP_BYTES + body.len();
    }

    /// Takes the groups that follow each other without a gap from the first byte on; how many bytes they are.
    fn groups(&mut self, bytes: &[u8], ground: Ground) -> usize {
        let mut at = 0;
        while let Some(header) = ground.header(bytes, at) {
            let end = at + GROUP_BYTES + to_usize(header.body_len);
            self.group(header, ground.base + at, bytes.get(at + GROUP_BYTES..end).unwrap_or_default());
            at = end;
        }
        at
    }

    /// Takes all that follows: groups, and what lies between them and behind them.
    fn rest(&mut self, bytes: &[u8], ground: Ground) {
        let mut at = self.groups(bytes, ground);
        while let Some(next) = (at + 8..bytes.len()).step_by(8).find(|next| ground.header(bytes, *next).is_some()) {
            self.gap(bytes, at..next, ground);
            at = next + self.groups(bytes.get(next..).unwrap_or_default(), ground.after(next));
        }
        // What follows the last group holds nothing, or what a torn write left.
        if bytes.get(at..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
            self.gap(bytes, at..bytes.len(), ground);
        }
    }

    /// Takes what stands where a group should begin.
    fn gap(&mut self, bytes: &[u8], range: Range<usize>, ground: Ground) {
        let from = (range.start + GROUP_BYTES).min(range.end);
        let items = records(bytes.get(from..range.end).unwrap_or_default(), ground.base + from);
        self.newer = self.newer.take().or_else(|| range.clone().step_by(8).find_map(|at| ground.newer(bytes, at)));
        self.stretches.push(Stretch { start: ground.base + range.start, group: None, items });
    }
}

/// Where bytes of a segment come from.
#[derive(Clone, Copy)]
struct Ground {
    segment: u64,
    uuid: StoreUuid,
    /// Where the first of them stands.
    base: usize,
}

impl Ground {
    fn after(self, len: usize) -> Self {
        Self { base: self.base + len, ..self }
    }

    /// The intact header at `at`, when all of its group is there.
    fn header(self, bytes: &[u8], at: usize) -> Option<GroupHeader> {
        let here = bytes.get(at..)?;
        let header = self.any_header(here, at)?;
        (header.body_len <= (here.len() - GROUP_BYTES) as u64).then_some(header)
    }

    fn any_header(self, here: &[u8], at: usize) -> Option<GroupHeader> {
        GroupHeader::decode(here, self.position(at), self.uuid)
    }

    /// The version of the header at `at`, when it is of a newer build.
    fn newer(self, bytes: &[u8], at: usize) -> Option<Newer> {
        let version = GroupHeader::newer(bytes.get(at..)?, self.position(at), self.uuid)?;
        Some(Newer::Version(version.into()))
    }

    fn position(self, at: usize) -> Position {
        Position { segment: self.segment, offset: (self.base + at) as u64 }
    }
}

/// Reads the groups of `bytes`, a segment from its first byte on.
pub(crate) fn scan(bytes: &[u8], segment: u64, uuid: StoreUuid) -> Scan {
    let mut scan = Scan::new();
    let ground = Ground { segment, uuid, base: SEGMENT_HEADER_BYTES };
    scan.rest(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default(), ground);
    scan
}

/// Reads the first `len` bytes of a segment as [`scan`] does, and a part after the other while they are as they were
/// written: memory that is used for the first time costs more than reading into it.
pub(crate) fn scan_file(file: &dyn DiskFile, len: usize, segment: u64, uuid: StoreUuid) -> io::Result<Scan> {
    let mut scan = Scan::new();
    let mut buffer = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while at < len {
        let ground = Ground { segment, uuid, base: at };
        let bytes = read_into(file, at, WINDOW_BYTES.min(len - at), &mut buffer)?;
        let mut taken = scan.groups(bytes, ground);
        if taken == 0 {
            let whole = ground.any_header(bytes, 0).map(|header| to_usize(header.whole_len()));
            match whole.filter(|whole| *whole <= len - at) {
                Some(whole) => taken = scan.groups(read_into(file, at, whole, &mut buffer)?, ground),
                None if is_blank(file, at..len, &mut buffer)? => return Ok(scan),
                None => {
                    scan.rest(read_into(file, at, len - at, &mut buffer)?, ground);
                    return Ok(scan);
                }
            }
        }
        at += taken;
    }
    Ok(scan)
}

fn is_blank(file: &dyn DiskFile, range: Range<usize>, buffer: &mut Vec<u8>) -> io::Result<bool> {
    for at in range.clone().step_by(WINDOW_BYTES) {
        let bytes = read_into(file, at, WINDOW_BYTES.min(range.end - at), buffer)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The records in `bytes`, which stand at `base`; where none begins, one damage and then the next that does.
fn records(bytes: &[u8], base: usize) -> Vec<Item> {
    let (mut items, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let here = bytes.get(at..).unwrap_or_default();
        let offset = base + at;
        match decode_header(here) {
            Ok(header) => {
                let uid = Some(header.uid);
                let len = header.record_len().min(here.len());
                let found = checked_body(&header, here).map(|_| header).map_err(|bad| Damage { bad, uid });
                items.push(Item { offset, len, found, names: named(here.get(..len).unwrap_or_default()) });
                at += len;
            }
            Err(bad) => {
                let mut following = (8..here.len()).step_by(8);
                let next = following.find(|next| decode_header(here.get(*next..).unwrap_or_default()).is_ok());
                let gap = here.get(..next.unwrap_or(here.len())).unwrap_or_default();
                if gap.len() >= HEADER_BYTES || gap.iter().any(|byte| *byte != 0) {
                    let found = Err(Damage { bad, uid: possible_uid(here) });
                    items.push(Item { offset, len: gap.len(), found, names: named(gap) });
                }
                at += gap.len();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_record_is_looked_for_where_records_are_known_to_begin() {
        let newest = |found: [BadRecord; 2]| {
            let damaged = |bad| Item { offset: 0, len: 8, found: Err(Damage { bad, uid: None }), names: None };
            newer_record(&found.map(damaged))
        };
        let newer = BadRecord::UnknownKind(200);
        assert_eq!(newest([BadRecord::BodyChecksum, newer.clone()]), Some(Newer::Record(newer.clone())));
        assert_eq!(newest([BadRecord::HeaderChecksum, newer.clone()]), None, "it may be what somebody said");
        assert_eq!(newest([BadRecord::NewerVersion(2), newer]), Some(Newer::Version(2)));
    }
}
