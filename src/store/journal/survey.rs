//! Reading a store's folder without opening it: what is in it, and what is wrong with it.
//!
//! Nothing is written and nothing is locked, so a running store can be surveyed: sealed segments never change but by
//! being replaced whole, and of the others what was synced counts. Every checksum, digest and link of every chain is
//! checked. What [`survey`] holds in memory grows with the number of conversations, about 200 bytes for each.

mod chains;
mod faults;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use colloquy_types::ConversationUid;

use self::chains::Chains;
pub use self::faults::{FAULTS_MAX, Fault, FaultKind, Faults};
use super::{
    bytes::to_usize,
    disk::{Disk as _, read_vec},
    error::OpenError,
    folder::Places,
    group::{Position, StoreUuid},
    real_disk::RealDisk,
    scan::{self, Scan},
    segment::{BadHeader, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, file_id, file_name},
};
use crate::port::Erasure;

/// What a folder holds.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The store's random name.
    pub uuid: [u8; 16],
    /// The highest epoch found: how often a process has opened the store.
    pub epoch: u64,
    /// Segments that hold something.
    pub segments: u64,
    /// Those of them that are sealed.
    pub sealed: u64,
    /// Those of them that compaction wrote.
    pub rewritten: u64,
    /// Bytes of all segment files.
    pub journal_bytes: u64,
    /// Bytes of the index's files.
    pub index_bytes: u64,
    /// Bytes of salts and payloads that are there, snapshots included.
    pub body_bytes: u64,
    /// Bytes of snapshots among them.
    pub snapshot_bytes: u64,
    /// Conversations and tenant streams that are not erased.
    pub conversations: u64,
    /// Conversations that were erased.
    pub erased: u64,
    /// Chained records.
    pub records: u64,
    /// Turns among them.
    pub turns: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Records whose bodies were erased.
    pub stubs: u64,
    /// Bytes of a write that was torn at the end; nobody was told of what they held.
    pub torn_bytes: u64,
    /// What is wrong.
    pub faults: Faults,
}

/// How far a survey is.
#[derive(Clone, Copy, Debug)]
pub struct SurveyProgress {
    /// Segments read.
    pub segments: u64,
    /// Segments there are.
    pub of: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// What is known of a folder before it is read.
struct Listed {
    id: u64,
    segment: Segment,
    header: Result<SegmentHeader, BadHeader>,
}

/// Reads the whole folder. `progress` is called after each segment.
///
/// # Errors
/// [`OpenError`] when the folder is no store, or one of a newer version, or cannot be read at all. What is wrong inside
/// it is told by [`Survey::faults`].
pub fn survey(folder: &Path, progress: &mut dyn FnMut(SurveyProgress)) -> Result<Survey, OpenError> {
    Ok(read(folder, &[], progress)?.0)
}

/// The same, and what is left of some erased conversations, in their order: this is what receipts are held against.
///
/// # Errors
/// As [`survey`].
pub fn survey_erased(
    folder: &Path,
    uids: &[ConversationUid],
    progress: &mut dyn FnMut(SurveyProgress),
) -> Result<(Survey, Vec<Erasure>), OpenError> {
    read(folder, uids, progress)
}

fn read(
    folder: &Path,
    erased: &[ConversationUid],
    progress: &mut dyn FnMut(SurveyProgress),
) -> Result<(Survey, Vec<Erasure>), OpenError> {
    let places = Places::of(folder)?;
    let disk = RealDisk::read_only(&places.journal);
    let listed = list(&disk, places.uuid)?;
    let mark = mark(&listed, places.uuid)?;
    let mut survey = Survey { uuid: places.uuid, index_bytes: bytes_in(&places.index), ..Survey::default() };
    let mut chains = Chains::new(erased);
    let of = listed.len() as u64;
    let mut bytes_read = 0;
    for (number, listed) in listed.into_iter().enumerate() {
        let file_bytes = listed.segment.file_len();
        segment(listed, places.uuid, mark, (&mut survey, &mut chains))?;
        bytes_read += file_bytes;
        progress(SurveyProgress { segments: number as u64 + 1, of, bytes: bytes_read });
    }
    let mut erasures = chains.finish(&mut survey);
    let found = erased.iter().map(|uid| erasures.remove(uid).unwrap_or_default()).collect();
    Ok((survey, found))
}

fn list(disk: &RealDisk, uuid: StoreUuid) -> Result<Vec<Listed>, OpenError> {
    let mut ids: Vec<u64> = disk.list()?.iter().filter_map(|name| file_id(name)).collect();
    ids.sort_unstable();
    let mut listed = Vec::with_capacity(ids.len());
    for id in ids {
        let file = match disk.open(&file_name(id)) {
            // A running store removes what it made ahead of need.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let len = to_usize(file.len()?).min(SEGMENT_HEADER_BYTES);
        let header = SegmentHeader::decode(&read_vec(file.as_ref(), 0, len)?);
        match header {
            Ok(header) if header.uuid != uuid => return Err(OpenError::Foreign { segment: id }),
            Err(BadHeader::Newer(version)) => return Err(OpenError::NewerVersion { version }),
            _ => {}
        }
        listed.push(Listed { id, segment: Segment::existing(id, file, uuid, header.ok())?, header });
    }
    Ok(listed)
}

/// The highest position that anything knows to have been synced.
fn mark(listed: &[Listed], uuid: StoreUuid) -> Result<Position, OpenError> {
    let mut mark = Position::default();
    for Listed { id, segment, .. } in listed {
        mark = mark.max(match segment.trailer() {
            Some(trailer) => Position { segment: *id, offset: trailer.valid_len },
            None => scan::scan(&contents(segment)?, *id, uuid).synced,
        });
    }
    Ok(mark)
}

fn contents(segment: &Segment) -> Result<Vec<u8>, OpenError> {
    let len = segment.trailer().map_or(segment.size, |trailer| trailer.valid_len);
    Ok(read_vec(segment.file.as_ref(), 0, to_usize(len))?)
}

fn segment(
    Listed { id, segment, header }: Listed,
    uuid: StoreUuid,
    mark: Position,
    (survey, chains): (&mut Survey, &mut Chains),
) -> Result<(), OpenError> {
    let bytes = contents(&segment)?;
    let scan = scan::scan(&bytes, id, uuid);
    survey.journal_bytes += segment.file_len();
    survey.epoch = survey.epoch.max(scan.epoch.get());
    if scan.stretches.is_empty() {
        return Ok(());
    }
    survey.segments += 1;
    survey.rewritten += u64::from(header.is_ok_and(|header| header.rewritten.is_some()));
    if header.is_err() {
        survey.faults.add(Fault::of_segment(id, FaultKind::SegmentHeader));
    }
    if segment.trailer().is_some() {
        survey.sealed += 1;
        if !segment.footer_fits()? {
            survey.faults.add(Fault::of_segment(id, FaultKind::Footer));
        }
    }
    stretches(id, (&bytes, &scan), synced_to(&segment, mark), (survey, chains));
    Ok(())
}

/// Up to where everything in the segment must be as it was written.
fn synced_to(segment: &Segment, mark: Position) -> u64 {
    match segment.trailer() {
        Some(trailer) => trailer.valid_len,
        None if segment.id < mark.segment => u64::MAX,
        None if segment.id == mark.segment => mark.offset,
        None => 0,
    }
}

fn stretches(id: u64, (bytes, scan): (&[u8], &Scan), synced_to: u64, (survey, chains): (&mut Survey, &mut Chains)) {
    for (number, stretch) in scan.stretches.iter().enumerate() {
        let is_synced = (stretch.start as u64) < synced_to;
        if !is_synced && !stretch.is_whole() {
            let end = scan.stretches.get(number + 1).map_or(bytes.len(), |next| next.start);
            let torn = bytes.get(stretch.start..end).unwrap_or_default();
            // What was preallocated behind it is not part of the write.
            survey.torn_bytes += torn.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            continue;
        }
        if stretch.group.is_none() {
            survey.faults.add(Fault::at(id, stretch.start, FaultKind::Group));
        }
        for item in &stretch.items {
            let stored = bytes.get(item.offset..item.offset + item.len).unwrap_or_default();
            match &item.found {
                Ok(header) => chains.take(header, stored, (id, item.offset), survey),
                Err(damage) => chains.damaged(damage, (id, item.offset), survey),
            }
        }
    }
}

/// Bytes of the files in a folder; what cannot be read counts nothing.
fn bytes_in(folder: &PathBuf) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
