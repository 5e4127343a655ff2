//! Segment files: made of zeros ahead of need, written once, sealed with a footer, never written again.
//! Compaction puts another file in a sealed one's place, written whole before it gets the name.
//!
//! ```text
//! header (64 bytes)                            trailer (the last 64 bytes, once sealed)
//!   0 magic "CQSEGM01"                           0 magic "CQFOOT01"
//!   8 version u32, 12 crc u32                    8 version u32, 12 crc u32
//!  16 store uuid [16]                           16 store uuid [16]
//!  32 segment id u64                            32 segment id u64
//!  40 size u64                                  40 valid length u64: the footer begins there
//!  48 epoch u64                                 48 runs u32, 52 crc of the runs u32
//!  56 rewritten: valid length u64               56 records u64
//! groups
//! footer: the runs, sorted by uid and offset
//! ```
//!
//! The header of a segment as it was first written has version 1 and zeros at 56; that of one that compaction wrote
//! has version 2, so that a build that knows no stubs refuses it.

use std::{
    io,
    ops::Range,
    sync::{Arc, OnceLock},
};

use colloquy_types::{ConversationUid, Epoch};

use super::{
    bytes::{header_crc, put, take, take_u32, take_u64, to_usize},
    disk::{Disk, DiskFile, read_vec},
    error::OpenError,
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
/// Bytes of a footer that are written at once, about.
const FOOTER_PIECE_BYTES: usize = 64 << 10;
/// Entries of a footer that are read at once: 8 KiB.
const WINDOW: u32 = 256;
/// The version of trailers, and of the headers of segments as they were first written.
const VERSION: u32 = 1;
/// The version of the headers of segments that compaction wrote.
const VERSION_REWRITTEN: u32 = 2;

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) uuid: StoreUuid,
    pub(crate) id: u64,
    pub(crate) size: u64,
    pub(crate) epoch: Epoch,
    /// Where the groups end, when compaction wrote it.
    pub(crate) rewritten: Option<u64>,
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

fn check(bytes: &[u8], magic: [u8; 8], newest: u32) -> Result<u32, BadHeader> {
    let crc = take_u32(bytes, 12).ok_or(BadHeader::Damaged)?;
    if !bytes.starts_with(&magic) || crc != header_crc(bytes, 12, 0) {
        return Err(BadHeader::Damaged);
    }
    match take_u32(bytes, 8) {
        Some(version) if (VERSION..=newest).contains(&version) => Ok(version),
        Some(newer) => Err(BadHeader::Newer(newer)),
        None => Err(BadHeader::Damaged),
    }
}

fn finish(mut bytes: [u8; 64], magic: [u8; 8], version: u32, uuid: StoreUuid) -> [u8; 64] {
    put(&mut bytes, 0, &magic);
    put(&mut bytes, 8, &version.to_le_bytes());
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
        put(&mut bytes, 56, &self.rewritten.unwrap_or_default().to_le_bytes());
        let version = if self.rewritten.is_some() { VERSION_REWRITTEN } else { VERSION };
        finish(bytes, MAGIC, version, self.uuid)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES).ok_or(BadHeader::Damaged)?;
        let version = check(bytes, MAGIC, VERSION_REWRITTEN)?;
        let fields = || {
            Some(Self {
                uuid: take(bytes, 16)?,
                id: take_u64(bytes, 32)?,
                size: take_u64(bytes, 40)?,
                epoch: Epoch::new(take_u64(bytes, 48)?),
                rewritten: (version == VERSION_REWRITTEN).then(|| take_u64(bytes, 56)).flatten(),
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
        finish(bytes, TRAILER_MAGIC, VERSION, self.uuid)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes.get(..TRAILER_BYTES).ok_or(BadHeader::Damaged)?;
        check(bytes, TRAILER_MAGIC, VERSION)?;
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

    /// Bytes of the whole file.
    pub(crate) fn file_len(&self) -> u64 {
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

/// The name of the file that is to take a segment's place, until it does.
pub(crate) fn new_file_name(id: u64) -> String {
    format!("{id:016x}{NEW_FILE_SUFFIX}")
}

/// What compaction's files end in until they take their places.
pub(crate) const NEW_FILE_SUFFIX: &str = ".compacted";

/// Bytes that sealing adds behind the groups.
pub(crate) fn footer_bytes(runs: usize) -> u64 {
    (runs * ENTRY_BYTES + TRAILER_BYTES) as u64
}

/// A segment's file.
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) size: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// What its header says, if that is intact.
    pub(crate) header: Option<SegmentHeader>,
    sealed: OnceLock<Trailer>,
    /// Whether the footer's checksum fits, once somebody had to know.
    footer_fits: OnceLock<bool>,
}

impl Segment {
    /// Creates a segment: reserves, fills with zeros, writes the header, syncs file and folder. Only
    /// then may it be used. Leaves nothing behind when it fails.
    pub(crate) fn create(disk: &dyn Disk, uuid: StoreUuid, id: u64, size: u64, epoch: Epoch) -> io::Result<Arc<Self>> {
        let name = file_name(id);
        let file = disk.create(&name)?;
        let header = SegmentHeader { uuid, id, size, epoch, rewritten: None };
        let filled = fill(file.as_ref(), &header).and_then(|()| disk.sync_dir());
        match filled {
            Ok(()) => Ok(Arc::new(Self::new(id, size, file, Some(header)))),
            Err(error) => {
                disk.remove(&name).ok();
                Err(error)
            }
        }
    }

    fn new(id: u64, size: u64, file: Arc<dyn DiskFile>, header: Option<SegmentHeader>) -> Self {
        Self { id, size, file, header, sealed: OnceLock::new(), footer_fits: OnceLock::new() }
    }

    /// A segment that exists, with its intact header, and its trailer when it is sealed.
    ///
    /// # Errors
    /// [`OpenError::NewerVersion`] when its trailer is of a newer build, [`OpenError::Io`].
    pub(crate) fn existing(
        id: u64,
        file: Arc<dyn DiskFile>,
        uuid: StoreUuid,
        header: Option<SegmentHeader>,
    ) -> Result<Self, OpenError> {
        let size = file.len()?;
        let segment = Self::new(id, size, file, header);
        if size >= (SEGMENT_HEADER_BYTES + TRAILER_BYTES) as u64 {
            let bytes = read_vec(segment.file.as_ref(), size - TRAILER_BYTES as u64, TRAILER_BYTES)?;
            match Trailer::decode(&bytes) {
                Ok(trailer) if (trailer.uuid, trailer.id, trailer.file_len()) == (uuid, id, size) => {
                    segment.sealed.set(trailer).ok();
                }
                Err(BadHeader::Newer(version)) if take(&bytes, 16) == Some(uuid) => {
                    return Err(OpenError::NewerVersion { version });
                }
                _ => {}
            }
        }
        Ok(segment)
    }

    /// The trailer, once the segment is sealed.
    pub(crate) fn trailer(&self) -> Option<&Trailer> {
        self.sealed.get()
    }

    /// A segment that was written whole and sealed already.
    pub(crate) fn rewritten(file: Arc<dyn DiskFile>, header: SegmentHeader, trailer: Trailer) -> Self {
        let segment = Self::new(header.id, header.size, file, Some(header));
        segment.sealed.set(trailer).ok();
        segment
    }

    /// Whether records may stand elsewhere than where they were first written.
    pub(crate) fn may_have_moved(&self) -> bool {
        self.header.is_none_or(|header| header.rewritten.is_some())
    }

    /// Bytes of its file, as far as known without asking the disk.
    pub(crate) fn file_len(&self) -> u64 {
        self.trailer().map_or(self.size, Trailer::file_len)
    }

    /// Whether the whole footer is as it was written; read once.
    pub(crate) fn footer_fits(&self) -> io::Result<bool> {
        let Some(trailer) = self.trailer() else { return Ok(false) };
        if let Some(fits) = self.footer_fits.get() {
            return Ok(*fits);
        }
        let runs = read_vec(self.file.as_ref(), trailer.valid_len, to_usize(trailer.runs.into()) * ENTRY_BYTES)?;
        Ok(*self.footer_fits.get_or_init(|| crc32c::crc32c(&runs) == trailer.runs_crc))
    }

    /// Ends the segment durably at `valid_len`: writes the footer behind it, syncs, cuts the rest, syncs.
    pub(crate) fn seal(&self, uuid: StoreUuid, valid_len: u64, table: &Table) -> io::Result<()> {
        // In pieces, so that the writer, which shares the memory that direct writes go through, waits for one at most.
        let mut offset = valid_len;
        let trailer = put_footer((uuid, self.id, valid_len), table, &mut |piece| {
            self.file.write_at(piece, offset)?;
            offset += piece.len() as u64;
            Ok::<_, io::Error>(())
        })?;
        self.file.sync_all()?;
        self.file.set_len(trailer.file_len())?;
        self.file.sync_all()?;
        self.sealed.set(trailer).ok();
        Ok(())
    }

    /// The runs of `uid` in a sealed segment, oldest first. Uids are random, so that where one stands among the others
    /// is known well enough for one read of a few KiB to find it, however many there are.
    pub(crate) fn runs_of(&self, uid: ConversationUid) -> io::Result<Vec<Run>> {
        let Some(trailer) = self.trailer() else {
            return Err(io::Error::other("the segment has no footer"));
        };
        let mut first = self.first_of(trailer, uid)?;
        let mut found = Vec::new();
        while first < trailer.runs {
            let window = self.entries(trailer, first..trailer.runs.min(first + WINDOW))?;
            found.extend(window.iter().take_while(|run| run.uid == uid));
            if window.last().is_none_or(|last| last.uid != uid) {
                break;
            }
            first += WINDOW;
        }
        Ok(found)
    }

    /// The first entry whose uid is not below `uid`.
    fn first_of(&self, trailer: &Trailer, uid: ConversationUid) -> io::Result<u32> {
        let (mut low, mut high) = (0, trailer.runs);
        let mut guess = u32::try_from((u128::from(leading(uid)) * u128::from(high)) >> 64).unwrap_or(high);
        while low < high {
            let start = guess.saturating_sub(WINDOW / 2).clamp(low, high - 1);
            let end = high.min(start + WINDOW);
            let window = self.entries(trailer, start..end)?;
            match window.partition_point(|run| run.uid < uid) {
                0 if start > low => high = start,
                inside if inside == window.len() => low = end,
                inside => return Ok(start + u32::try_from(inside).unwrap_or_default()),
            }
            // A conversation with very many runs bends the order of the others: then it is halved.
            guess = low + (high - low) / 2;
        }
        Ok(low)
    }

    fn entries(&self, trailer: &Trailer, range: Range<u32>) -> io::Result<Vec<Run>> {
        let offset = trailer.valid_len + u64::from(range.start) * ENTRY_BYTES as u64;
        let bytes = read_vec(self.file.as_ref(), offset, range.len() * ENTRY_BYTES)?;
        Ok(bytes.chunks_exact(ENTRY_BYTES).filter_map(Run::decode).collect())
    }
}

/// A uid as a number: footers are in the order of their bytes.
fn leading(uid: ConversationUid) -> u64 {
    uid.0.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// The footer and trailer of a segment whose groups end at `valid_len`: their bytes, and the trailer.
pub(crate) fn footer_of(uuid: StoreUuid, id: u64, valid_len: u64, table: &Table) -> (Vec<u8>, Trailer) {
    let mut footer = Vec::with_capacity(to_usize(footer_bytes(table.len())));
    let trailer = put_footer((uuid, id, valid_len), table, &mut |piece| {
        footer.extend_from_slice(piece);
        Ok::<_, std::convert::Infallible>(())
    });
    let Ok(trailer) = trailer;
    (footer, trailer)
}

/// Gives the same in pieces, so that there is never all of it in memory.
fn put_footer<E>(
    (uuid, id, valid_len): (StoreUuid, u64, u64),
    table: &Table,
    put: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<Trailer, E> {
    let (mut piece, mut runs_crc) = (Vec::with_capacity(FOOTER_PIECE_BYTES), 0);
    for run in table.sorted() {
        run.encode(&mut piece);
        if piece.len() >= FOOTER_PIECE_BYTES {
            runs_crc = crc32c::crc32c_append(runs_crc, &piece);
            put(&piece)?;
            piece.clear();
        }
    }
    runs_crc = crc32c::crc32c_append(runs_crc, &piece);
    let runs = u32::try_from(table.len()).unwrap_or(u32::MAX);
    let trailer = Trailer { uuid, id, valid_len, runs, runs_crc, records: table.records() };
    piece.extend_from_slice(&trailer.encode());
    put(&piece)?;
    Ok(trailer)
}

fn fill(file: &dyn DiskFile, header: &SegmentHeader) -> io::Result<()> {
    file.allocate(header.size)?;
    file.fill(header.size)?;
    file.write_at(&header.encode(), 0)?;
    file.sync_all()
}
