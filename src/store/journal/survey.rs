//! Reading a store's folder without opening it: what is in it, and what is wrong with it.
//!
//! Nothing in it is written, so a running store can be surveyed: sealed segments never change but by being replaced whole,
//! and of the others what was synced counts. Every checksum, digest and link of every chain is checked, and, where no
//! process has the store open, what the index claims (`index`); for as long as the index is copied none can open it. What is
//! held in memory grows with the number of conversations, about 200 bytes for each and as much again with the index.

mod chains;
mod faults;
mod index;

use std::{
    fs,
    path::{Path, PathBuf},
};

use colloquy_types::ConversationUid;

use self::{chains::Chains, index::Claims};
pub use self::{
    faults::{FAULTS_MAX, Fault, FaultKind, Faults},
    index::{IndexCheck, NotChecked},
};
use super::{
    error::OpenError,
    folder::Places,
    group::{Position, StoreUuid},
    real_disk::RealDisk,
    scan::{self, Scan},
    segment::Segment,
    watched::{self, Read},
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
    /// Whether the index was held against the journal.
    pub index: IndexCheck,
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

/// Reads the whole journal, and not the index. `progress` is called after each segment.
///
/// # Errors
/// [`OpenError`] when the folder is no store, or one of a newer version, or cannot be read at all. What is wrong inside
/// it is told by [`Survey::faults`].
pub fn survey(folder: &Path, progress: &mut dyn FnMut(SurveyProgress)) -> Result<Survey, OpenError> {
    let places = Places::of(folder)?;
    Ok(read(&places, (Survey::default(), Claims::default()), &[], progress)?.0)
}

/// The same, and holds the index against it. Also tells what is left of some erased conversations, in their order: this
/// is what receipts are held against.
///
/// # Errors
/// As [`survey`].
pub fn survey_all(
    folder: &Path,
    erased: &[ConversationUid],
    progress: &mut dyn FnMut(SurveyProgress),
) -> Result<(Survey, Vec<Erasure>), OpenError> {
    let (places, mut survey) = (Places::of(folder)?, Survey::default());
    let claims = Claims::read(folder, &places, &mut survey.faults)?;
    read(&places, (survey, claims), erased, progress)
}

fn read(
    places: &Places,
    (survey, claims): (Survey, Claims),
    erased: &[ConversationUid],
    progress: &mut dyn FnMut(SurveyProgress),
) -> Result<(Survey, Vec<Erasure>), OpenError> {
    let disk = RealDisk::read_only(&places.journal);
    let ids = watched::ids(&disk)?;
    let mark = mark(&disk, &ids, places.uuid)?;
    let mut survey = Survey { uuid: places.uuid, index_bytes: bytes_in(&places.index), ..survey };
    let mut chains = Chains::new(erased, claims);
    let mut bytes = 0;
    for (number, id) in ids.iter().enumerate() {
        if let Some(read) = watched::read(&disk, *id, places.uuid)? {
            bytes += read.segment.file_len();
            segment(&read, places.uuid, mark, (&mut survey, &mut chains))?;
        }
        progress(SurveyProgress { segments: number as u64 + 1, of: ids.len() as u64, bytes });
    }
    let mut erasures = chains.finish(&mut survey);
    let found = erased.iter().map(|uid| erasures.remove(uid).unwrap_or_default()).collect();
    Ok((survey, found))
}

/// The highest position that anything knows to have been synced.
fn mark(disk: &RealDisk, ids: &[u64], uuid: StoreUuid) -> Result<Position, OpenError> {
    let mut mark = Position::default();
    for id in ids {
        let Some((segment, _)) = watched::look(disk, *id, uuid)? else { continue };
        mark = mark.max(match segment.trailer() {
            Some(trailer) => Position { segment: *id, offset: trailer.valid_len },
            None => match watched::read(disk, *id, uuid)? {
                Some(read) => scan::scan(&read.bytes, *id, uuid).synced,
                None => continue,
            },
        });
    }
    Ok(mark)
}

fn segment(
    Read { segment, is_intact, bytes }: &Read,
    uuid: StoreUuid,
    mark: Position,
    (survey, chains): (&mut Survey, &mut Chains),
) -> Result<(), OpenError> {
    let id = segment.id;
    let scan = scan::scan(bytes, id, uuid);
    scan.refuse_newer()?;
    survey.journal_bytes += segment.file_len();
    survey.epoch = survey.epoch.max(scan.epoch.get());
    if scan.stretches.is_empty() {
        return Ok(());
    }
    survey.segments += 1;
    survey.rewritten += u64::from(segment.header.is_some_and(|header| header.rewritten.is_some()));
    if !is_intact {
        survey.faults.add(Fault::of_segment(id, FaultKind::SegmentHeader));
    }
    if segment.trailer().is_some() {
        survey.sealed += 1;
        if !segment.footer_fits()? {
            survey.faults.add(Fault::of_segment(id, FaultKind::Footer));
        }
    }
    stretches(id, (bytes, &scan), synced_to(segment, mark), (survey, chains));
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
