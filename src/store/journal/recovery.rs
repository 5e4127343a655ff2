//! Opening what a process left behind: read what the index does not cover, tell torn from damaged, make
//! what was read back durable, raise the epoch.
//!
//! The mark is the highest position that anything on the disk knows to have been synced. What is bad
//! before the mark is damage: its conversation is quarantined and the others are served. What is bad
//! after it is a torn write that nobody was told of. What is whole after it may exist in the page cache
//! only: it is copied into a new segment and synced, and the old segment is sealed at the mark, before
//! anything is answered. Doing all of it twice changes nothing. What is intact and of a newer version is neither: then
//! nothing is touched, and the store is not opened.

mod find;
#[cfg(test)]
pub(crate) mod mutants;
mod overlay;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    sync::Arc,
    thread,
};

use colloquy_types::{Clock, ConversationKey, Entropy, Epoch};
use crossbeam_channel::{Receiver, Sender, bounded};

pub(crate) use self::find::{Found, find};
use self::overlay::Overlay;
use super::{
    bytes::to_usize,
    disk::{Disk, read_vec},
    error::OpenError,
    group::{GROUP_BYTES, GroupHeader, Position, StoreUuid},
    index::{Covered, Index, IndexError},
    row::Place,
    scan::{self, Item, Scan, Stretch},
    segment::{SEGMENT_HEADER_BYTES, Segment, file_name, footer_bytes},
    table::{Run, Table},
    writer::{Active, Start},
};
use crate::record::{RecordHeader, RecordKind, epoch_record};

/// Largest first segment of a process, unless more is needed.
const FIRST_SEGMENT_BYTES: u64 = 16 << 20;
/// Conversations that earlier starts quarantined and that are named in the log; more are counted.
const QUARANTINED_TOLD_MAX: usize = 100;
/// Groups whose rows are looked up at once.
const STRETCHES_PER_FETCH: usize = 512;

/// A record of a whole group after the mark.
struct Survivor {
    header: RecordHeader,
    names: Option<ConversationKey>,
    place: Place,
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
    let (mark, ends) = found.synced();
    let mut replay = Replay {
        overlay: Overlay::new(index, rows_max),
        tables: BTreeMap::new(),
        survivors: Vec::new(),
        blank: BTreeSet::new(),
        mark: covered.map(|covered| covered.synced).unwrap_or_default().max(mark),
        epoch: covered.map(|covered| covered.epoch).unwrap_or_default().max(found.epoch),
    };
    let first = covered.map_or(0, |covered| covered.segment);
    let is_wanted = |id: u64| id >= first || found.unsealed.contains_key(&id);
    let wanted: Vec<_> = found.segments.values().filter(|segment| is_wanted(segment.id)).collect();
    thread::scope(|scope| {
        // Reads one segment while the one before it is taken in, and another waits.
        let (sender, scans) = bounded(1);
        let sealed: Vec<_> = wanted.iter().copied().filter(|segment| segment.trailer().is_some()).collect();
        if !sealed.is_empty() {
            let read = move || read_sealed(&sealed, uuid, &sender);
            thread::Builder::new().name("journal-scan".to_owned()).spawn_scoped(scope, read)?;
        }
        for (number, segment) in wanted.iter().enumerate() {
            replay.segment(found, segment, &ends, &scans)?;
            tracing::info!(segment = segment.id, read = number + 1, total = wanted.len(), "journal segment read");
        }
        Ok(replay)
    })
}

/// Reads what stands in each of the segments, one after the other, until nobody wants more.
fn read_sealed(sealed: &[&Segment], uuid: StoreUuid, to: &Sender<io::Result<Scan>>) {
    for segment in sealed {
        let len = segment.trailer().map_or(segment.size, |trailer| trailer.valid_len);
        if to.send(scan::scan_file(segment.file.as_ref(), to_usize(len), segment.id, uuid)).is_err() {
            return;
        }
    }
}

impl Replay<'_> {
    /// How many conversations and records were found damaged.
    #[cfg(test)]
    pub(crate) fn damages(&self) -> u64 {
        self.overlay.damages()
    }

    fn segment(
        &mut self,
        found: &Found,
        segment: &Segment,
        ends: &BTreeMap<u64, u64>,
        sealed: &Receiver<io::Result<Scan>>,
    ) -> Result<(), OpenError> {
        if let Some(scan) = found.unsealed.get(&segment.id) {
            let known_end = ends.get(&segment.id).copied().unwrap_or_default();
            let rewritten = segment.header.and_then(|header| header.rewritten);
            return Ok(self.unsealed(segment.id, scan, (known_end, rewritten))?);
        }
        let scan = sealed.recv().map_err(|_| io::Error::other("the thread that reads segments ended"))??;
        scan.refuse_newer()?;
        let valid_len = segment.trailer().map_or(segment.size, |trailer| trailer.valid_len);
        Ok(self.sealed(segment.id, &scan, valid_len)?)
    }

    fn sealed(&mut self, id: u64, scan: &Scan, valid_len: u64) -> Result<(), IndexError> {
        self.epoch = self.epoch.max(scan.epoch);
        let mut table = Table::default();
        self.before_mark(id, &scan.stretches, valid_len, &mut table)?;
        // There may be very many of these; none is kept in memory.
        self.overlay.index().erasures_are_due_in(id, &table)
    }

    fn unsealed(&mut self, id: u64, scan: &Scan, (known_end, rewritten): (u64, Option<u64>)) -> Result<(), IndexError> {
        self.epoch = self.epoch.max(scan.epoch);
        let synced_to = match id.cmp(&self.mark.segment) {
            // Only its trailer is damaged: it was synced whole before it got its name.
            _ if rewritten.is_some() => rewritten.unwrap_or_default(),
            std::cmp::Ordering::Less => known_end.max(scan.end as u64),
            std::cmp::Ordering::Equal => self.mark.offset,
            std::cmp::Ordering::Greater => 0,
        };
        let mut table = Table::default();
        let synced = scan.stretches.partition_point(|stretch| (stretch.start as u64) < synced_to);
        let (before, after) = scan.stretches.split_at(synced);
        self.before_mark(id, before, synced_to, &mut table)?;
        for stretch in after {
            if stretch.is_whole() {
                self.survives(id, stretch);
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
        stretches: &[Stretch],
        synced_to: u64,
        table: &mut Table,
    ) -> Result<(), IndexError> {
        for some in stretches.chunks(STRETCHES_PER_FETCH) {
            let items = some.iter().flat_map(|stretch| &stretch.items);
            self.overlay.fetch(items.filter_map(|item| item.found.as_ref().ok()))?;
            for stretch in some {
                if stretch.group.is_none() {
                    tracing::error!(segment = id, offset = stretch.start, "no intact group where one was synced");
                }
                for item in stretch.items.iter().filter(|item| (item.offset as u64) < synced_to) {
                    self.item(id, item, table)?;
                }
                self.overlay.spill()?;
            }
        }
        Ok(())
    }

    fn item(&mut self, id: u64, item: &Item, table: &mut Table) -> Result<(), IndexError> {
        match &item.found {
            Ok(header) => {
                let place = place(id, item);
                self.overlay.record(header, item.names.as_ref(), place)?;
                push_run(table, header, place);
                Ok(())
            }
            Err(damage) => {
                let place = format!("{} at byte {} of segment {id}", damage.bad, item.offset);
                self.overlay.damaged(damage.uid, item.names.as_ref(), place)
            }
        }
    }

    fn survives(&mut self, id: u64, stretch: &Stretch) {
        let records = stretch.items.iter().filter_map(|item| {
            let header = item.found.as_ref().ok().filter(|header| header.kind != RecordKind::Epoch)?;
            Some(Survivor { header: header.clone(), names: item.names.clone(), place: place(id, item) })
        });
        self.survivors.extend(records);
    }
}

fn place(segment: u64, item: &Item) -> Place {
    let at = Position { segment, offset: item.offset as u64 };
    Place { at, len: u32::try_from(item.len).unwrap_or(u32::MAX) }
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
    for survivor in std::mem::take(&mut replay.survivors) {
        let Survivor { header, place: old, .. } = &survivor;
        // A recovery that was cut short leaves them where they were, and a copy.
        if !taken.insert((header.uid, header.record_no, header.kind, header.digest)) {
            continue;
        }
        let Some(segment) = found.segments.get(&old.at.segment) else { continue };
        let bytes = read_vec(segment.file.as_ref(), old.at.offset, to_usize(old.len.into()))?;
        let offset = (SEGMENT_HEADER_BYTES + GROUP_BYTES + body.len()) as u64;
        let place = Place { at: Position { segment: id, offset }, len: old.len };
        body.extend_from_slice(&bytes);
        placed.push(Survivor { place, ..survivor });
    }
    body.extend(epoch_record(with.uuid, epoch, with.clock.now(), with.entropy.bytes16()));
    let records = u32::try_from(placed.len() + 1).unwrap_or(u32::MAX);
    let active = first_group(id, epoch, records, &body, replay.mark, with)?;
    let mut active = Active { end: active.1, ..Active::new(active.0) };
    for Survivor { header, names, place } in &placed {
        replay.overlay.record(header, names.as_ref(), *place)?;
        push_run(&mut active.table, header, *place);
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

    for key in overlay.index().damaged(QUARANTINED_TOLD_MAX)? {
        tracing::error!(conversation = %key, "stored history was found damaged before; the conversation is quarantined");
    }
    let index = overlay.finish()?;
    let damaged = index.damaged_len()? + overlay.unattributed();
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
