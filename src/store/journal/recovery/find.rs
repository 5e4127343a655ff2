//! What can be known of a journal without its index: which segments there are, and what those hold that are not sealed.

use std::collections::{BTreeMap, BTreeSet};

use colloquy_types::Epoch;

use crate::journal::{
    bytes::to_usize,
    disk::{Disk, read_vec},
    error::OpenError,
    group::{Position, StoreUuid},
    scan::{self, Scan},
    segment::{BadHeader, NEW_FILE_SUFFIX, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, file_id, file_name},
};

/// The segments of a store as they were found.
pub(crate) struct Found {
    pub(super) segments: BTreeMap<u64, Segment>,
    /// What stands in those that are not sealed.
    pub(super) unsealed: BTreeMap<u64, Scan>,
    /// Those whose header is not intact.
    pub(super) headless: BTreeSet<u64>,
    /// The highest epoch that a segment's header names.
    pub(crate) epoch: Epoch,
}

impl Found {
    /// The last segment's id; 0 when there is none.
    pub(crate) fn last_id(&self) -> u64 {
        self.segments.keys().next_back().copied().unwrap_or_default()
    }

    /// The highest position that any segment knows to have been synced, and the highest end of each.
    pub(super) fn synced(&self) -> (Position, BTreeMap<u64, u64>) {
        let (mut mark, mut ends) = (Position::default(), BTreeMap::<u64, u64>::new());
        for (id, segment) in &self.segments {
            if let Some(trailer) = segment.trailer() {
                mark = mark.max(Position { segment: *id, offset: trailer.valid_len });
            }
        }
        for scan in self.unsealed.values() {
            mark = mark.max(scan.synced);
            for (segment, end) in &scan.ends {
                let known = ends.entry(*segment).or_default();
                *known = (*end).max(*known);
            }
        }
        (mark, ends)
    }
}

/// Opens all segments and checks whose they are, and that no newer build wrote them; reads those that are not sealed;
/// removes what an interrupted compaction left.
pub(crate) fn find(disk: &dyn Disk, uuid: StoreUuid) -> Result<Found, OpenError> {
    let (segments, unsealed, headless) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let mut found = Found { segments, unsealed, headless, epoch: Epoch::default() };
    let names = disk.list()?;
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
    for (id, segment) in found.segments.iter().filter(|(_, segment)| segment.trailer().is_none()) {
        let scan = scan::scan_file(segment.file.as_ref(), to_usize(segment.size), *id, uuid)?;
        scan.refuse_newer()?;
        found.unsealed.insert(*id, scan);
    }
    for name in names.iter().filter(|name| name.ends_with(NEW_FILE_SUFFIX)) {
        // The segment that it was to replace is still there.
        disk.remove(name)?;
    }
    Ok(found)
}
