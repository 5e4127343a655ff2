//! Segment files: made of zeros ahead of need, written once, sealed with a footer, never written again.
//!
//! ```text
//! header (64 bytes)                            trailer (the last 64 bytes, once sealed)
//!   0 magic "CQSEGM01"                           0 magic "CQFOOT01"
//!   8 version u32, 12 crc u32                    8 version u32, 12 crc u32
//!  16 store uuid [16]                           16 store uuid [16]
//!  32 segment id u64                            32 segment id u64
//!  40 size u64                                  40 valid length u64: the footer begins there
//!  48 epoch u64, 56 reserved u64                48 runs u32, 52 crc of the runs u32
//! groups                                        56 records u64
//! footer: the runs, sorted by uid and offset
//! ```

use std::{
    io,
    sync::{Arc, OnceLock},
};

use colloquy_types::{ConversationUid, Epoch};

use super::{
    bytes::{header_crc, put, take, take_u32, take_u64, to_usize},
    disk::{Disk, DiskFile, read_vec},
    group::StoreUuid,
    table::{ENTRY_BYTES, Run, Table},
};

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes of a sealed segment's trailer.
pub(crate) const TRAILER_BYTES: usize = 64;
/// Largest segment: offsets within one are 32 bits wide.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;
const MAGIC: [u8; 8] = *b"CQSEGM01";
const TRAILER_MAGIC: [u8; 8] = *b"CQFOOT01";
/// The version of header, trailer and footer that this build writes.
pub(crate) const SEGMENT_VERSION: u32 = 1;

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) uuid: StoreUuid,
    pub(crate) id: u64,
    pub(crate) size: u64,
    pub(crate) epoch: Epoch,
}

/// What a sealed segment's trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) uuid: StoreUuid,
    pub(crate) id: u64,
    pub(crate) valid_len: u64,
    pub(crate) runs: u32,
    pub(crate) runs_crc: u32,
    pub(crate) records: u64,
}

/// Why a header or trailer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Not intact.
    Damaged,
    /// Of a newer version.
    Newer(u32),
}

fn check(bytes: &[u8], magic: [u8; 8]) -> Result<(), BadHeader> {
    let crc = take_u32(bytes, 12).ok_or(BadHeader::Damaged)?;
    if !bytes.starts_with(&magic) || crc != header_crc(bytes, 12, 0) {
        return Err(BadHeader::Damaged);
    }
    match take_u32(bytes, 8) {
        Some(SEGMENT_VERSION) => Ok(()),
        Some(newer) => Err(BadHeader::Newer(newer)),
        None => Err(BadHeader::Damaged),
    }
}

fn finish(mut bytes: [u8; 64], magic: [u8; 8], uuid: StoreUuid) -> [u8; 64] {
    put(&mut bytes, 0, &magic);
    put(&mut bytes, 8, &SEGMENT_VERSION.to_le_bytes());
    put(&mut bytes, 16, &uuid);
    let crc = header_crc(&bytes, 12, 0);
    put(&mut bytes, 12, &crc.to_le_bytes());
    bytes
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        put(&mut bytes, 32, &self.id.to_le_bytes());
        put(&mut bytes, 40, &self.size.to_le_bytes());
        put(&mut bytes, 48, &self.epoch.get().to_le_bytes());
        finish(bytes, MAGIC, self.uuid)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES).ok_or(BadHeader::Damaged)?;
        check(bytes, MAGIC)?;
        let fields = || {
            Some(Self {
                uuid: take(bytes, 16)?,
                id: take_u64(bytes, 32)?,
                size: take_u64(bytes, 40)?,
                epoch: Epoch::new(take_u64(bytes, 48)?),
            })
        };
        fields().ok_or(BadHeader::Damaged)
    }
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        put(&mut bytes, 32, &self.id.to_le_bytes());
        put(&mut bytes, 40, &self.valid_len.to_le_bytes());
        put(&mut bytes, 48, &self.runs.to_le_bytes());
        put(&mut bytes, 52, &self.runs_crc.to_le_bytes());
        put(&mut bytes, 56, &self.records.to_le_bytes());
        finish(bytes, TRAILER_MAGIC, self.uuid)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes.get(..TRAILER_BYTES).ok_or(BadHeader::Damaged)?;
        check(bytes, TRAILER_MAGIC)?;
        let fields = || {
            Some(Self {
                uuid: take(bytes, 16)?,
                id: take_u64(bytes, 32)?,
                valid_len: take_u64(bytes, 40)?,
                runs: take_u32(bytes, 48)?,
                runs_crc: take_u32(bytes, 52)?,
                records: take_u64(bytes, 56)?,
            })
        };
        fields().ok_or(BadHeader::Damaged)
    }

    fn file_len(&self) -> u64 {
        self.valid_len + u64::from(self.runs) * ENTRY_BYTES as u64 + TRAILER_BYTES as u64
    }
}

/// The file name of a segment.
pub(crate) fn file_name(id: u64) -> String {
    format!("{id:016x}.segment")
}

/// The id in a file name.
pub(crate) fn file_id(name: &str) -> Option<u64> {
    let id = name.strip_suffix(".segment").filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(id, 16).ok()
}

/// Bytes that sealing adds behind the groups.
pub(crate) fn footer_bytes(runs: usize) -> u64 {
    (runs * ENTRY_BYTES + TRAILER_BYTES) as u64
}

/// A segment's file.
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) size: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    sealed: OnceLock<Trailer>,
}

impl Segment {
    /// Creates a segment: reserves, fills with zeros, writes the header, syncs file and folder. Only
    /// then may it be used. Leaves nothing behind when it fails.
    pub(crate) fn create(disk: &dyn Disk, uuid: StoreUuid, id: u64, size: u64, epoch: Epoch) -> io::Result<Arc<Self>> {
        let name = file_name(id);
        let file = disk.create(&name)?;
        let filled = fill(file.as_ref(), &SegmentHeader { uuid, id, size, epoch }).and_then(|()| disk.sync_dir());
        match filled {
            Ok(()) => Ok(Arc::new(Self { id, size, file, sealed: OnceLock::new() })),
            Err(error) => {
                disk.remove(&name).ok();
                Err(error)
            }
        }
    }

    /// A segment that exists, and its trailer when it is sealed.
    pub(crate) fn existing(id: u64, file: Arc<dyn DiskFile>, uuid: StoreUuid) -> io::Result<Self> {
        let size = file.len()?;
        let segment = Self { id, size, file, sealed: OnceLock::new() };
        if size >= (SEGMENT_HEADER_BYTES + TRAILER_BYTES) as u64 {
            let bytes = read_vec(segment.file.as_ref(), size - TRAILER_BYTES as u64, TRAILER_BYTES)?;
            if let Ok(trailer) = Trailer::decode(&bytes)
                && (trailer.uuid, trailer.id, trailer.file_len()) == (uuid, id, size)
            {
                segment.sealed.set(trailer).ok();
            }
        }
        Ok(segment)
    }

    /// The trailer, once the segment is sealed.
    pub(crate) fn trailer(&self) -> Option<&Trailer> {
        self.sealed.get()
    }

    /// Ends the segment durably at `valid_len`: writes the footer behind it, syncs, cuts the rest, syncs.
    pub(crate) fn seal(&self, uuid: StoreUuid, valid_len: u64, table: &Table) -> io::Result<()> {
        let runs = table.sorted();
        let mut footer = Vec::with_capacity(to_usize(footer_bytes(runs.len())));
        for run in &runs {
            run.encode(&mut footer);
        }
        let trailer = Trailer {
            uuid,
            id: self.id,
            valid_len,
            runs: u32::try_from(runs.len()).unwrap_or(u32::MAX),
            runs_crc: crc32c::crc32c(&footer),
            records: table.records(),
        };
        footer.extend_from_slice(&trailer.encode());
        self.file.write_at(&footer, valid_len)?;
        self.file.sync_all()?;
        self.file.set_len(trailer.file_len())?;
        self.file.sync_all()?;
        self.sealed.set(trailer).ok();
        Ok(())
    }

    /// The runs of `uid` in a sealed segment, oldest first, found by bisection with reads of one entry.
    pub(crate) fn runs_of(&self, uid: ConversationUid) -> io::Result<Vec<Run>> {
        let Some(trailer) = self.trailer() else {
            return Err(io::Error::other("the segment has no footer"));
        };
        let mut entry = [0; ENTRY_BYTES];
        let mut run_at = |index: u32| {
            let offset = trailer.valid_len + u64::from(index) * ENTRY_BYTES as u64;
            self.file.read_at(&mut entry, offset)?;
            Run::decode(&entry).ok_or_else(|| io::Error::other("an entry of the footer is cut off"))
        };
        let (mut low, mut high) = (0, trailer.runs);
        while low < high {
            let middle = low + (high - low) / 2;
            if run_at(middle)?.uid < uid { low = middle + 1 } else { high = middle }
        }
        let mut found = Vec::new();
        for index in low..trailer.runs {
            let run = run_at(index)?;
            if run.uid != uid {
                break;
            }
            found.push(run);
        }
        Ok(found)
    }
}

fn fill(file: &dyn DiskFile, header: &SegmentHeader) -> io::Result<()> {
    file.allocate(header.size)?;
    file.fill(header.size)?;
    file.write_at(&header.encode(), 0)?;
    file.sync_all()
}
