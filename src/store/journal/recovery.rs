//! Opening what a process left behind: read what the index does not cover, tell torn from damaged, make
//! what was read back durable, raise the epoch.
//!
//! The mark is the highest position that anything on the disk knows to have been synced. What is bad
//! before the mark is damage: its conversation is quarantined and the others are served. What is bad
//! after it is a torn write that nobody was told of. What is whole after it may exist in the page cache
//! only: it is copied into a new segment and synced, and the old segment is sealed at the mark, before
//! anything is answered. Doing all of it twice changes nothing.

#[cfg(test)]
pub(crate) mod mutants;
mod overlay;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    sync::Arc,
};

use colloquy_types::{Clock, Entropy, Epoch};

use self::overlay::Overlay;
use super::{
    bytes::to_usize,
    disk::{Disk, read_into, read_vec},
    error::OpenError,
    group::{GROUP_BYTES, GroupHeader, Position, StoreUuid},
    index::{Covered, Index, IndexError},
    row::Place,
    scan::{self, Scan, Stretch},
    segment::{
        BadHeader, NEW_FILE_SUFFIX, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, file_id, file_name, footer_bytes,
    },
    table::{Run, Table},
    writer::{Active, Start},
};
use crate::record::{RecordHeader, RecordKind, epoch_record};

/// Largest first segment of a process, unless more is needed.
const FIRST_SEGMENT_BYTES: u64 = 16 << 20;

/// The segments of a store as they were found.
pub(crate) struct Found {
    segments: BTreeMap<u64, Segment>,
    /// Those whose header is not intact.
    headless: BTreeSet<u64>,
    /// The highest epoch that a segment's header names.
    pub(crate) epoch: Epoch,
}

impl Found {
    /// The last segment's id; 0 when there is none.
    pub(crate) fn last_id(&self) -> u64 {
        self.segments.keys().next_back().copied().unwrap_or_default()
    }
}

/// Opens all segments and checks whose they are; removes what an interrupted compaction left.
pub(crate) fn find(disk: &dyn Disk, uuid: StoreUuid) -> Result<Found, OpenError> {
    let mut found = Found { segments: BTreeMap::new(), headless: BTreeSet::new(), epoch: Epoch::default() };
    let names = disk.list()?;
    for name in names.iter().filter(|name| name.ends_with(NEW_FILE_SUFFIX)) {
        // The segment that it was to replace is still there.
        disk.remove(name)?;
    }
    for id in names.iter().filter_map(|name| file_id(name)) {
        let file = disk.open(&file_name(id))?;
        let len = to_usize(file.len()?).min(SEGMENT_HEADER_BYTES);
        let header = match SegmentHeader::decode(&read_vec(file.as_ref(), 0, len)?) {
            Ok(header) if header.uuid != uuid => return Err(OpenError::Foreign { segment: id }),
            Ok(header) => {
                found.epoch = found.epoch.max(header.epoch);
                Some(header)
            }
            Err(BadHeader::Newer(version)) => return Err(OpenError::NewerVersion { version }),
            // One that was being made when the process died, or damage that harms nothing else.
            Err(BadHeader::Damaged) => {
                tracing::warn!(segment = id, "segment has no intact header");
                found.headless.insert(id);
                None
            }
        };
        found.segments.insert(id, Segment::existing(id, file, uuid, header)?);
    }
    Ok(found)
}

/// A whole group after the mark.
struct Survivor {
    records: Vec<(RecordHeader, Vec<u8>)>,
}

/// What was read, before anything is written.
pub(crate) struct Replay<'a> {
    overlay: Overlay<'a>,
    /// The tables of the segments that are not sealed yet, and where each ends.
    tables: BTreeMap<u64, (Table, u64)>,
    survivors: Vec<Survivor>,
    /// Unsealed segments that hold nothing but zeros.
    blank: BTreeSet<u64>,
    mark: Position,
    epoch: Epoch,
}

/// Reads what the index does not cover. Writes nothing but rows of synced records into the index.
pub(crate) fn replay<'a>(
    found: &Found,
    uuid: StoreUuid,
    index: &'a Index,
    covered: Option<Covered>,
    rows_max: usize,
) -> Result<Replay<'a>, OpenError> {
    let mut unsealed: BTreeMap<u64, Scan> = BTreeMap::new();
    let mut buffer = Vec::new();
    let mut mark = covered.map(|covered| covered.synced).unwrap_or_default();
    let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
    for (id, segment) in &found.segments {
        if let Some(trailer) = segment.trailer() {
            mark = mark.max(Position { segment: *id, offset: trailer.valid_len });
            continue;
        }
        let bytes = read_into(segment.file.as_ref(), to_usize(segment.size), &mut buffer)?;
        let scan = scan::scan(bytes, *id, uuid);
        mark = mark.max(scan.synced);
        for (segment, end) in &scan.ends {
            let known = ends.entry(*segment).or_default();
            *known = (*end).max(*known);
        }
        unsealed.insert(*id, scan);
    }
    let epoch = covered.map(|covered| covered.epoch).unwrap_or_default().max(found.epoch);
    let mut replay = Replay {
        overlay: Overlay::new(index, rows_max),
        tables: BTreeMap::new(),
        survivors: Vec::new(),
        blank: BTreeSet::new(),
        mark,
        epoch,
    };
    let first = covered.map_or(0, |covered| covered.segment);
    let total = found.segments.len();
    for (number, (id, segment)) in found.segments.iter().enumerate() {
        if let Some(scan) = unsealed.remove(id) {
            // Read once more, as there is room for one at a time; the page cache has it.
            let bytes = read_into(segment.file.as_ref(), to_usize(segment.size), &mut buffer)?;
            let known_end = ends.get(id).copied().unwrap_or_default();
            let rewritten = segment.header.and_then(|header| header.rewritten);
            replay.unsealed(*id, bytes, scan, (known_end, rewritten))?;
        } else if let Some(trailer) = segment.trailer().filter(|_| *id >= first) {
            let bytes = read_into(segment.file.as_ref(), to_usize(trailer.valid_len), &mut buffer)?;
            let scan = scan::scan(bytes, *id, uuid);
            replay.sealed(*id, bytes, scan, trailer.valid_len)?;
        } else {
            continue;
        }
        tracing::info!(segment = id, read = number + 1, total, "journal segment read");
    }
    Ok(replay)
}

impl Replay<'_> {
    /// How many conversations and records were found damaged.
    #[cfg(test)]
    pub(crate) fn damages(&self) -> u64 {
        self.overlay.damages()
    }

    fn sealed(&mut self, id: u64, bytes: &[u8], scan: Scan, valid_len: u64) -> Result<(), IndexError> {
        self.epoch = self.epoch.max(scan.epoch);
        let mut table = Table::default();
        for stretch in &scan.stretches {
            self.before_mark(id, bytes, stretch, valid_len, &mut table)?;
        }
        // There may be very many of these; none is kept in memory.
        self.overlay.index().erasures_are_due_in(id, &table)
    }

    fn unsealed(
        &mut self,
        id: u64,
        bytes: &[u8],
        scan: Scan,
        (known_end, rewritten): (u64, Option<u64>),
    ) -> Result<(), IndexError> {
        self.epoch = self.epoch.max(scan.epoch);
        let synced_to = match id.cmp(&self.mark.segment) {
            // Only its trailer is damaged: it was synced whole before it got its name.
            _ if rewritten.is_some() => rewritten.unwrap_or_default(),
            std::cmp::Ordering::Less => known_end.max(scan.end as u64),
            std::cmp::Ordering::Equal => self.mark.offset,
            std::cmp::Ordering::Greater => 0,
        };
        let mut table = Table::default();
        for stretch in &scan.stretches {
            if (stretch.start as u64) < synced_to {
                self.before_mark(id, bytes, stretch, synced_to, &mut table)?;
            } else if stretch.is_whole() {
                self.survives(bytes, stretch);
            } else {
                tracing::warn!(segment = id, offset = stretch.start, "torn write at the end; nobody was told of it");
            }
        }
        if scan.stretches.is_empty() {
            self.blank.insert(id);
        }
        self.tables.insert(id, (table, synced_to));
        Ok(())
    }

    /// Takes what was synced: whole records into rows and table, damage to its conversation.
    fn before_mark(
        &mut self,
        id: u64,
        bytes: &[u8],
        stretch: &Stretch,
        synced_to: u64,
        table: &mut Table,
    ) -> Result<(), IndexError> {
        if stretch.group.is_none() {
            tracing::error!(segment = id, offset = stretch.start, "no intact group where one was synced");
        }
        for item in stretch.items.iter().filter(|item| (item.offset as u64) < synced_to) {
            let record = bytes.get(item.offset..item.offset + item.len).unwrap_or_default();
            match &item.found {
                Ok(header) => {
                    let at = Position { segment: id, offset: item.offset as u64 };
                    let place = Place { at, len: u32::try_from(item.len).unwrap_or(u32::MAX) };
                    self.overlay.record(header, record, place)?;
                    push_run(table, header, place);
                }
                Err(damage) => {
                    let place = format!("{} at byte {} of segment {id}", damage.bad, item.offset);
                    self.overlay.damaged(damage.uid, record, place)?;
                }
            }
        }
        self.overlay.spill()
    }

    fn survives(&mut self, bytes: &[u8], stretch: &Stretch) {
        let records = stretch.items.iter().filter_map(|item| {
            let header = item.found.as_ref().ok().filter(|header| header.kind != RecordKind::Epoch)?;
            Some((header.clone(), bytes.get(item.offset..item.offset + item.len)?.to_vec()))
        });
        self.survivors.push(Survivor { records: records.collect() });
    }
}

fn push_run(table: &mut Table, header: &RecordHeader, place: Place) {
    if header.kind != RecordKind::Epoch {
        let offset = u32::try_from(place.at.offset).unwrap_or(u32::MAX);
        table.push(Run { uid: header.uid, offset, len: place.len, last_turn: header.turn_seq }, 1);
    }
}

/// What finishing needs beside what was read.
pub(crate) struct Finish<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) uuid: StoreUuid,
    pub(crate) segment_bytes: u64,
    pub(crate) epoch_min: Epoch,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) entropy: &'a dyn Entropy,
}

/// Raises the epoch, makes durable what survived, seals what a process left open, and brings the index
/// up to all of it.
pub(crate) fn finish(mut replay: Replay<'_>, found: Found, with: &Finish<'_>) -> Result<Start, OpenError> {
    let (id, epoch) = (found.last_id() + 1, replay.epoch.next().max(with.epoch_min));
    let mut body = Vec::new();
    let mut placed = Vec::new();
    let mut taken = HashSet::new();
    for (header, bytes) in replay.survivors.drain(..).flat_map(|survivor| survivor.records) {
        // A recovery that was cut short leaves them where they were, and a copy.
        if !taken.insert((header.uid, header.record_no, header.kind, header.digest)) {
            continue;
        }
        let offset = (SEGMENT_HEADER_BYTES + GROUP_BYTES + body.len()) as u64;
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        placed.push((
            header,
            Place { at: Position { segment: id, offset }, len },
            body.len()..body.len() + bytes.len(),
        ));
        body.extend_from_slice(&bytes);
    }
    body.extend(epoch_record(with.uuid, epoch, with.clock.now(), with.entropy.bytes16()));
    let records = u32::try_from(placed.len() + 1).unwrap_or(u32::MAX);
    let active = first_group(id, epoch, records, &body, replay.mark, with)?;
    let mut active = Active { end: active.1, ..Active::new(active.0) };
    for (header, place, range) in placed {
        replay.overlay.record(&header, body.get(range).unwrap_or_default(), place)?;
        push_run(&mut active.table, &header, place);
    }
    conclude(replay, found, active, epoch, with)
}

/// Seals or removes what is left open beside the `active` segment, and brings the index up to all of it.
fn conclude(
    replay: Replay<'_>,
    found: Found,
    active: Active,
    epoch: Epoch,
    with: &Finish<'_>,
) -> Result<Start, OpenError> {
    let (id, mut overlay) = (active.segment.id, replay.overlay);
    let mut segments = BTreeMap::new();
    for (old, segment) in found.segments {
        if segment.trailer().is_none() {
            match replay.tables.get(&old) {
                Some((table, end)) if *end > SEGMENT_HEADER_BYTES as u64 => segment.seal(with.uuid, *end, table)?,
                // Neither ours for sure nor empty: someone may want to look at it.
                _ if found.headless.contains(&old) && !replay.blank.contains(&old) => {
                    tracing::error!(segment = old, "segment can be neither read nor removed; it is left as it is");
                    continue;
                }
                _ => {
                    with.disk.remove(&file_name(old))?;
                    with.disk.sync_dir()?;
                    continue;
                }
            }
        }
        segments.insert(old, Arc::new(segment));
    }
    segments.insert(id, Arc::clone(&active.segment));

    let index = overlay.finish()?;
    let damaged = overlay.damages();
    for (old, (table, _)) in replay.tables.iter().filter(|(old, _)| segments.contains_key(old)) {
        index.erasures_are_due_in(*old, table)?;
    }
    let synced = Position { segment: id, offset: active.end };
    index.cover(Covered { uuid: with.uuid, segment: id, synced, epoch })?;
    let index_is_empty = index.is_empty();
    let segments = Arc::new(std::sync::RwLock::new(segments));
    Ok(Start {
        uuid: with.uuid,
        epoch,
        segments,
        active,
        next_segment: id + 1,
        group_number: 1,
        index_is_empty,
        damaged,
    })
}

/// Makes the segment of this epoch and syncs its first group.
fn first_group(
    id: u64,
    epoch: Epoch,
    records: u32,
    body: &[u8],
    synced: Position,
    with: &Finish<'_>,
) -> Result<(Arc<Segment>, u64), OpenError> {
    let needed = (SEGMENT_HEADER_BYTES + GROUP_BYTES + body.len()) as u64 + footer_bytes(to_usize(records.into()));
    // Opening waits for this one, so it is not as large as those made ahead of need.
    let size = with.segment_bytes.min(FIRST_SEGMENT_BYTES).max(needed);
    let segment = Segment::create(with.disk, with.uuid, id, size, epoch)?;
    let at = Position { segment: id, offset: SEGMENT_HEADER_BYTES as u64 };
    let header = GroupHeader { records, body_len: body.len() as u64, epoch, number: 1, synced };
    let mut group = header.encode(at, with.uuid).to_vec();
    group.extend_from_slice(body);
    let written = segment.file.write_at(&group, at.offset).and_then(|()| segment.file.sync_data());
    written.map_err(|error: io::Error| OpenError::from(error))?;
    Ok((segment, at.offset + group.len() as u64))
}
