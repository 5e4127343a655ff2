//! Writing a segment anew: the same groups in the same order, without what is to go, in a file that takes the old
//! one's name only once it is whole and synced. A crash at any point leaves the one or the other.

use std::{ops::Range, sync::Arc};

use super::{
    CompactError,
    pace::{PIECE_BYTES, Pace},
    rules::{Fate, Rules},
};
use crate::{
    journal::{
        bytes::to_usize,
        disk::{Disk, DiskFile},
        group::{GROUP_BYTES, GroupHeader, Position, StoreUuid},
        scan::{Item, Scan},
        segment::{SEGMENT_HEADER_BYTES, Segment, SegmentHeader, Trailer, file_name, footer_of, new_file_name},
        table::{Run, Table},
    },
    record::{HEADER_BYTES, RecordHeader, RecordKind, decode_header, stub_of},
};

/// How much is written between two syncs, so that none of them holds up the commits for long.
const SYNC_BYTES: usize = 8 << 20;

/// Bytes that stay.
enum Piece {
    /// As they are.
    Whole(Range<usize>),
    /// The header alone.
    Stub(RecordHeader),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Whole(range) => range.len(),
            Self::Stub(_) => HEADER_BYTES,
        }
    }
}

struct Group {
    header: GroupHeader,
    pieces: Vec<Piece>,
}

/// A segment as it will be.
pub(super) struct Layout {
    groups: Vec<Group>,
    table: Table,
    /// Where the groups end.
    valid_len: u64,
    pub(super) bodies: u64,
    pub(super) snapshots: u64,
    /// Bytes that go.
    pub(super) dead: u64,
    /// Whether some of them may not wait.
    pub(super) must: bool,
}

impl Layout {
    /// Decides what stays of a segment that was read.
    pub(super) fn of(
        segment: &Segment,
        bytes: &[u8],
        scan: &Scan,
        rules: &mut Rules<'_>,
    ) -> Result<Self, CompactError> {
        let mut layout = Self {
            groups: Vec::new(),
            table: Table::default(),
            valid_len: SEGMENT_HEADER_BYTES as u64,
            bodies: 0,
            snapshots: 0,
            dead: 0,
            must: false,
        };
        for stretch in &scan.stretches {
            let mut pieces = Vec::new();
            let start = layout.valid_len;
            let mut end = start + GROUP_BYTES as u64;
            for item in &stretch.items {
                let Some((piece, header)) = layout.piece(segment.id, bytes, item, rules)? else { continue };
                if let Some(header) = header {
                    push_run(&mut layout.table, &header, end, piece.len());
                }
                end += piece.len() as u64;
                pieces.push(piece);
            }
            if !pieces.is_empty() {
                let header = group_header(stretch.group, segment, start, end, pieces.len());
                layout.groups.push(Group { header, pieces });
                layout.valid_len = end;
            }
        }
        Ok(layout)
    }

    /// What stays of a record, and its header when it is one.
    fn piece(
        &mut self,
        segment: u64,
        bytes: &[u8],
        item: &Item,
        rules: &mut Rules<'_>,
    ) -> Result<Option<(Piece, Option<RecordHeader>)>, CompactError> {
        let whole = item.offset..item.offset + item.len;
        let header = match &item.found {
            Ok(header) => header.clone(),
            // Only a damaged body of an erased conversation is not left as it is for whoever looks at it.
            Err(damage) => match decode_header(bytes.get(whole.clone()).unwrap_or_default()) {
                Ok(header) if rules.is_erased(header.uid)? => header,
                _ if damage.uid.map_or(Ok(false), |uid| rules.is_erased(uid))? => {
                    (self.dead, self.must) = (self.dead + item.len as u64, true);
                    return Ok(None);
                }
                _ => {
                    let (bad, offset) = (&damage.bad, item.offset);
                    tracing::error!(segment, offset, %bad, "damaged record; compaction leaves its bytes as they are");
                    return Ok(Some((Piece::Whole(whole), None)));
                }
            },
        };
        let verdict = rules.verdict(&header, item.offset)?;
        self.must |= verdict.must;
        Ok(match verdict.fate {
            Fate::Keep => Some((Piece::Whole(whole), Some(header))),
            Fate::Stub => {
                self.bodies += 1;
                self.dead += (item.len - HEADER_BYTES.min(item.len)) as u64;
                let stub = RecordHeader { erased: true, ..header.clone() };
                Some((Piece::Stub(header), Some(stub)))
            }
            Fate::Drop => {
                self.snapshots += 1;
                self.dead += item.len as u64;
                None
            }
        })
    }

    /// Writes the segment and gives it its name. Nothing is left behind when that fails before.
    pub(super) fn write(
        &self,
        (disk, uuid): (&dyn Disk, StoreUuid),
        segment: &Segment,
        bytes: &[u8],
        pace: &Pace<'_>,
    ) -> Result<Arc<Segment>, CompactError> {
        let (id, new) = (segment.id, new_file_name(segment.id));
        let (footer, trailer) = footer_of(uuid, id, self.valid_len, &self.table);
        let epoch = segment.header.map(|header| header.epoch).unwrap_or_default();
        let header = SegmentHeader { uuid, id, size: trailer.file_len(), epoch, rewritten: Some(self.valid_len) };
        // One that could not be removed when it failed.
        disk.remove(&new).ok();
        let file = disk.create(&new)?;
        let written = self.fill(file.as_ref(), (&header, &footer), (uuid, id), bytes, pace);
        if let Err(error) = written {
            disk.remove(&new).ok();
            return Err(error);
        }
        disk.rename(&new, &file_name(id))?;
        disk.sync_dir()?;
        Ok(Arc::new(Segment::rewritten(file, header, trailer)))
    }

    fn fill(
        &self,
        file: &dyn DiskFile,
        (header, footer): (&SegmentHeader, &[u8]),
        (uuid, segment): (StoreUuid, u64),
        bytes: &[u8],
        pace: &Pace<'_>,
    ) -> Result<(), CompactError> {
        // A full disk is found before anything is written.
        file.allocate(header.size)?;
        let mut out = Output { file, pace, buffer: header.encode().to_vec(), offset: 0, unsynced: 0 };
        for group in &self.groups {
            let at = Position { segment, offset: out.end() };
            out.put(&group.header.encode(at, uuid))?;
            for piece in &group.pieces {
                match piece {
                    Piece::Whole(range) => out.put(bytes.get(range.clone()).unwrap_or_default())?,
                    Piece::Stub(header) => out.put(&stub_of(header))?,
                }
            }
        }
        out.put(footer)?;
        out.flush()?;
        Ok(file.sync_all()?)
    }
}

fn push_run(table: &mut Table, header: &RecordHeader, offset: u64, len: usize) {
    if header.kind != RecordKind::Epoch {
        let (offset, len) = (u32::try_from(offset).unwrap_or(u32::MAX), u32::try_from(len).unwrap_or(u32::MAX));
        table.push(Run { uid: header.uid, offset, len, last_turn: header.turn_seq }, 1);
    }
}

/// The header of a group as it will stand from `start` to `end`. It goes on naming what it knew to be synced in
/// earlier segments; in its own everything before it was.
fn group_header(known: Option<GroupHeader>, segment: &Segment, start: u64, end: u64, records: usize) -> GroupHeader {
    let epoch = segment.header.map(|header| header.epoch).unwrap_or_default();
    let here = Position { segment: segment.id, offset: start };
    let (records, body_len) = (u32::try_from(records).unwrap_or(u32::MAX), end - start - GROUP_BYTES as u64);
    let lost = GroupHeader { records, body_len, epoch, number: 0, synced: here };
    match known {
        Some(known) if known.synced.segment < segment.id => GroupHeader { records, body_len, ..known },
        Some(known) => GroupHeader { records, body_len, synced: here, ..known },
        None => lost,
    }
}

/// Writes a file in pieces.
struct Output<'a> {
    file: &'a dyn DiskFile,
    pace: &'a Pace<'a>,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    offset: u64,
    unsynced: usize,
}

impl Output<'_> {
    fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CompactError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), CompactError> {
        self.file.write_at(&self.buffer, self.offset)?;
        self.offset = self.end();
        self.unsynced += self.buffer.len();
        if self.unsynced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        let written = self.buffer.len();
        self.buffer.clear();
        self.pace.spend(written)
    }
}

/// Reads the groups of a sealed segment, from its first byte on, in pieces.
pub(super) fn read(segment: &Segment, trailer: &Trailer, pace: &Pace<'_>) -> Result<Vec<u8>, CompactError> {
    let mut bytes = vec![0; to_usize(trailer.valid_len)];
    let mut offset = 0;
    for piece in bytes.chunks_mut(PIECE_BYTES) {
        segment.file.read_at(piece, offset)?;
        offset += piece.len() as u64;
        pace.spend(piece.len())?;
    }
    Ok(bytes)
}
