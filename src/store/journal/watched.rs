//! Looking at the segments of a store that another process may be writing.
//!
//! Sealed segments change only by being replaced whole. Others grow up to the size they have from the start, are cut when
//! they are sealed, and vanish when they were not needed: whoever reads one looks again when it ends too early.

use std::io;

use super::{
    bytes::to_usize,
    disk::{Disk as _, read_vec},
    error::OpenError,
    group::StoreUuid,
    real_disk::RealDisk,
    segment::{BadHeader, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, file_id, file_name},
};

/// How often a segment is looked at again because it was cut in the meantime.
const LOOKS_MAX: u32 = 10;

/// The segments that are there, in order.
pub(crate) fn ids(disk: &RealDisk) -> io::Result<Vec<u64>> {
    let mut ids: Vec<u64> = disk.list()?.iter().filter_map(|name| file_id(name)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// A segment as it is now, and what is wrong with its header; `None` when it is gone.
pub(crate) fn look(disk: &RealDisk, id: u64, uuid: StoreUuid) -> Result<Option<(Segment, bool)>, OpenError> {
    again(|| {
        let file = match disk.open(&file_name(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let len = to_usize(file.len()?).min(SEGMENT_HEADER_BYTES);
        let header = match SegmentHeader::decode(&read_vec(file.as_ref(), 0, len)?) {
            Err(BadHeader::Newer(version)) => return Err(OpenError::NewerVersion { version }),
            Ok(header) if header.uuid != uuid => return Err(OpenError::Foreign { segment: id }),
            header => header.ok(),
        };
        let is_intact = header.is_some();
        Ok(Some((Segment::existing(id, file, uuid, header)?, is_intact)))
    })
}

/// A segment as it is now and all of its groups; `None` when it is gone.
pub(crate) fn read(disk: &RealDisk, id: u64, uuid: StoreUuid) -> Result<Option<Read>, OpenError> {
    again(|| {
        let Some((segment, is_intact)) = look(disk, id, uuid)? else { return Ok(None) };
        let len = segment.trailer().map_or(segment.size, |trailer| trailer.valid_len);
        let bytes = read_vec(segment.file.as_ref(), 0, to_usize(len))?;
        Ok(Some(Read { segment, is_intact, bytes }))
    })
}

/// A segment that was read.
pub(crate) struct Read {
    pub(crate) segment: Segment,
    /// Whether its header is intact.
    pub(crate) is_intact: bool,
    /// Header and groups.
    pub(crate) bytes: Vec<u8>,
}

fn again<T>(look: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let mut looks = 1;
    loop {
        match look() {
            Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof && looks < LOOKS_MAX => {
                looks += 1
            }
            found => return found,
        }
    }
}
