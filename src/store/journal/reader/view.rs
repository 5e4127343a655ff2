//! One job's view of the segments: which file of each it reads, and where records stand in it.
//!
//! Compaction may put another file in a segment's place at any time. A view keeps to the file it saw first, so that
//! runs, offsets and bytes of one job belong together. What it takes from a row is a hint: compaction moves records
//! inside their segment, and a place that does not hold exactly the record expected is found again by the footer.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use colloquy_types::{RecordNo, TurnSeq};

use super::{ReadPlan, Reader, io_error};
use crate::{
    history::{corrupt, decode_all},
    journal::{
        bytes::to_usize,
        disk::read_vec,
        group::Position,
        row::{Place, SnapshotPlace},
        scan,
        segment::Segment,
        table::Run,
    },
    port::ReadError,
    record::{DecodedRecord, HEADER_BYTES, RecordHeader, RecordKind, StoredRecord, decode_header, decode_record},
};

/// What is done with each record and its bytes; `false` when no more is wanted.
pub(super) type Take<'a> = dyn FnMut(DecodedRecord, &[u8]) -> Result<bool, ReadError> + 'a;

/// A record that a row names, and where it stood when it was written.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) place: Place,
    pub(super) kind: RecordKind,
    pub(super) record_no: RecordNo,
}

impl From<SnapshotPlace> for Wanted {
    fn from(snapshot: SnapshotPlace) -> Self {
        Self { place: snapshot.place, kind: RecordKind::Snapshot, record_no: snapshot.record_no }
    }
}

impl Wanted {
    fn is(&self, header: &RecordHeader) -> bool {
        (header.kind, header.record_no) == (self.kind, self.record_no)
    }
}

/// A record that was found, and where.
pub(super) struct Found {
    pub(super) record: StoredRecord,
    pub(super) place: Place,
}

/// The segments as one job sees them.
pub(super) struct View<'a> {
    reader: &'a Reader,
    pub(super) plan: &'a ReadPlan,
    seen: RefCell<BTreeMap<u64, Arc<Segment>>>,
    /// Whether footers are held against their checksums: reading them whole is only worth it once something is missing.
    doubts: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(reader: &'a Reader, plan: &'a ReadPlan, doubts: bool) -> Self {
        let seen = plan.recent.iter().map(|(segment, _)| (segment.id, Arc::clone(segment))).collect();
        Self { reader, plan, seen: RefCell::new(seen), doubts }
    }

    /// Where the conversation's records begin: its first segment, in which the first may have moved.
    pub(super) fn begin(&self) -> Position {
        Position { segment: self.plan.row.created.at.segment, offset: 0 }
    }

    fn segment(&self, id: u64) -> Result<Arc<Segment>, ReadError> {
        let mut seen = self.seen.borrow_mut();
        if let Some(segment) = seen.get(&id) {
            return Ok(Arc::clone(segment));
        }
        let segments = self.reader.segments.read().unwrap_or_else(PoisonError::into_inner);
        let missing = || ReadError::Corrupt { reason: format!("segment {id} is missing") };
        let segment = segments.get(&id).cloned().ok_or_else(missing)?;
        seen.insert(id, Arc::clone(&segment));
        Ok(segment)
    }

    /// The record that the row names.
    pub(super) fn find(&self, wanted: Wanted) -> Result<Found, ReadError> {
        let segment = self.segment(wanted.place.at.segment)?;
        match self.record_at(&segment, wanted) {
            Ok(found) => Ok(found),
            Err(_) if segment.may_have_moved() => self.search(&segment, wanted),
            Err(error) => Err(error),
        }
    }

    fn record_at(&self, segment: &Segment, wanted: Wanted) -> Result<Found, ReadError> {
        let place = wanted.place;
        let bytes = read_vec(segment.file.as_ref(), place.at.offset, to_usize(place.len.into()));
        let record = decode_record(&bytes.map_err(|error| io_error(&error))?).map_err(|bad| corrupt(&bad))?.record;
        self.check_owner(&record)?;
        if !wanted.is(&record.header) {
            return Err(ReadError::Corrupt { reason: "another record stands in its place".to_owned() });
        }
        Ok(Found { record, place })
    }

    /// Looks for a record that compaction moved, in the conversation's runs. The first record begins one; of
    /// snapshots the last that fits is the newest.
    fn search(&self, segment: &Segment, wanted: Wanted) -> Result<Found, ReadError> {
        let runs = self.footer_runs(segment)?;
        let found = match wanted.kind {
            RecordKind::Created => runs.iter().find_map(|run| self.at_front(segment, run, wanted).transpose()),
            _ => runs.iter().rev().find_map(|run| self.last_in(segment, run, wanted).transpose()),
        };
        let reason = || format!("its record {} is not in segment {}", wanted.record_no, segment.id);
        found.unwrap_or_else(|| Err(ReadError::Corrupt { reason: reason() }))
    }

    /// The first record of a run, when it is the one.
    fn at_front(&self, segment: &Segment, run: &Run, wanted: Wanted) -> Result<Option<Found>, ReadError> {
        let header = read_vec(segment.file.as_ref(), run.offset.into(), HEADER_BYTES);
        let header = decode_header(&header.map_err(|error| io_error(&error))?).map_err(|bad| corrupt(&bad))?;
        if !wanted.is(&header) {
            return Ok(None);
        }
        let at = Position { segment: segment.id, offset: run.offset.into() };
        let len = u32::try_from(header.record_len()).unwrap_or(u32::MAX);
        self.record_at(segment, Wanted { place: Place { at, len }, ..wanted }).map(Some)
    }

    /// The last record of a run that is the one.
    fn last_in(&self, segment: &Segment, run: &Run, wanted: Wanted) -> Result<Option<Found>, ReadError> {
        let mut at = Position { segment: segment.id, offset: run.offset.into() };
        let mut found = None;
        self.each_in(segment, std::iter::once(run), &mut |decoded, _| {
            let place = Place { at, len: u32::try_from(decoded.len).unwrap_or(u32::MAX) };
            at.offset += decoded.len as u64;
            if wanted.is(&decoded.record.header) {
                found = Some(Found { record: decoded.record, place });
            }
            Ok(true)
        })?;
        Ok(found)
    }

    /// Gives the records behind the snapshot, which ends at `from`, to `take`.
    pub(super) fn tail(&self, from: Position, take: &mut Take<'_>) -> Result<(), ReadError> {
        let known = self.plan.row.tail.as_ref().filter(|_| !self.doubts);
        let sealed = match known {
            Some(tail) => tail.iter().copied().filter(|id| *id < self.plan.indexed_below).collect(),
            None => self.sealed(from.segment),
        };
        self.each_of(sealed, from, TurnSeq::default(), take)
    }

    /// Gives the records from `from` on to `take`, oldest first, until it answers `false`. Runs whose
    /// turns all stand before `turn` are passed over.
    pub(super) fn each(&self, from: Position, turn: TurnSeq, take: &mut Take<'_>) -> Result<(), ReadError> {
        self.each_of(self.sealed(from.segment), from, turn, take)
    }

    fn each_of(&self, sealed: Vec<u64>, from: Position, turn: TurnSeq, take: &mut Take<'_>) -> Result<(), ReadError> {
        let plan = self.plan;
        let wanted = |segment: u64, run: &Run| {
            run.last_turn >= turn && (segment > from.segment || (segment == from.segment && run.end() > from.offset))
        };
        for id in sealed {
            let segment = self.segment(id)?;
            let runs = self.footer_runs(&segment)?;
            if !self.each_in(&segment, runs.iter().filter(|run| wanted(id, run)), take)? {
                return Ok(());
            }
        }
        for (segment, runs) in &plan.recent {
            if !self.each_in(segment, runs.iter().filter(|run| wanted(segment.id, run)), take)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The segments from `from` on whose tables the writer does not keep any more.
    fn sealed(&self, from: u64) -> Vec<u64> {
        let segments = self.reader.segments.read().unwrap_or_else(PoisonError::into_inner);
        let sealed = segments.range(from..self.plan.indexed_below.max(from));
        sealed.filter(|(_, segment)| segment.trailer().is_some()).map(|(id, _)| *id).collect()
    }

    /// The runs of the conversation by the segment's footer or, where footers are doubted and this one is damaged, by
    /// reading the whole segment.
    fn footer_runs(&self, segment: &Segment) -> Result<Vec<Run>, ReadError> {
        let uid = self.plan.row.uid;
        if !self.doubts || segment.footer_fits().map_err(|error| io_error(&error))? {
            return segment.runs_of(uid).map_err(|error| io_error(&error));
        }
        tracing::warn!(segment = segment.id, "the footer is damaged; reading all of the segment");
        let len = segment.trailer().map_or(segment.size, |trailer| trailer.valid_len);
        let bytes = read_vec(segment.file.as_ref(), 0, to_usize(len)).map_err(|error| io_error(&error))?;
        let scanned = scan::scan(&bytes, segment.id, self.reader.uuid);
        let runs = scanned.stretches.into_iter().flat_map(|stretch| stretch.items).filter_map(|item| {
            let header = item.found.ok().filter(|header| header.uid == uid)?;
            Some(Run {
                uid: header.uid,
                offset: u32::try_from(item.offset).ok()?,
                len: u32::try_from(item.len).ok()?,
                last_turn: header.turn_seq,
            })
        });
        Ok(runs.collect())
    }

    fn each_in<'b>(
        &self,
        segment: &Segment,
        runs: impl Iterator<Item = &'b Run>,
        take: &mut Take<'_>,
    ) -> Result<bool, ReadError> {
        for run in runs {
            let bytes = read_vec(segment.file.as_ref(), run.offset.into(), to_usize(run.len.into()));
            for decoded in decode_all(&bytes.map_err(|error| io_error(&error))?) {
                let (decoded, stored) = decoded.map_err(|bad| ReadError::Corrupt {
                    reason: format!("{bad}, in the records at byte {} of segment {}", run.offset, segment.id),
                })?;
                self.check_owner(&decoded.record)?;
                if !take(decoded, stored)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn check_owner(&self, record: &StoredRecord) -> Result<(), ReadError> {
        if record.header.uid == self.plan.row.uid {
            return Ok(());
        }
        Err(ReadError::Corrupt { reason: "a record of another conversation stands in its place".to_owned() })
    }
}
