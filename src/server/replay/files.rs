//! Exports on disk: finding them, and replaying one from its first line to its last.

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use colloquy_author::{
    LoadedFlow,
    replay::{Comparer, Entry, ReplayedConversation, RevisionCache, Verifier},
};
use colloquy_store::export::{ExportHeader, ExportLimits, ExportReader, Item};
use colloquy_types::ConversationKey;

use crate::history::{self, EXTENSION};

/// Folders below a folder are looked into as deep as this.
const DEPTH_MAX: usize = 16;
/// Most files of one replay.
const FILES_MAX: usize = 4_000_000;
/// What is read of a file at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// What is asked of each conversation.
pub(super) enum Question {
    /// Whether its own revisions decide it as it was recorded.
    IsItTheSame,
    /// What another flow would decide otherwise.
    WhatChanges(Box<LoadedFlow>),
}

/// The exports that `paths` name: files as they are, and those in folders, in the order of their names.
pub(crate) fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let about = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let before = files.len();
        if about.is_dir() {
            find_in(path, 0, &mut files)?;
        } else {
            files.push(path.clone());
        }
        if files.len() == before {
            bail!("{} has no export\n  fix: name a folder with files `*.{EXTENSION}`, or a file", path.display());
        }
    }
    Ok(files)
}

fn find_in(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unreadable = || format!("the folder {} cannot be read", folder.display());
    if depth > DEPTH_MAX {
        bail!("folders are nested deeper than {DEPTH_MAX} at {}", folder.display());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        entries.push((entry.path(), entry.file_type().with_context(unreadable)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, kind) in entries {
        if kind.is_dir() {
            find_in(&path, depth + 1, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            bail!("there are more than {FILES_MAX} files\n  fix: replay them in parts");
        }
    }
    Ok(())
}

/// Both ways of replaying, record by record.
enum Replaying {
    Verify(Box<Verifier>),
    Compare(Box<Comparer>),
}

/// Replays one export. Nothing is said of it before its end line was read and fits.
pub(super) fn replay(
    file: &Path,
    question: &Question,
    revisions: &RevisionCache,
) -> anyhow::Result<(ConversationKey, ReplayedConversation)> {
    let input = BufReader::with_capacity(BUFFER_BYTES, File::open(file).context("it cannot be read")?);
    let mut reader = ExportReader::open(input, ExportLimits::default())?;
    let mut replaying = match question {
        Question::IsItTheSame => Replaying::Verify(Box::default()),
        Question::WhatChanges(loaded) => Replaying::Compare(Box::new(Comparer::new(Arc::clone(&loaded.flow)))),
    };
    while let Some(item) = reader.next_item()? {
        match (item, &mut replaying) {
            (Item::Revision(revision), Replaying::Verify(verifier)) => {
                verifier.revision(revisions.load(revision.revision, &revision.source)?);
            }
            // Another flow decides: the recorded sources are not needed, so they need not load here.
            (Item::Revision(_), Replaying::Compare(_)) => {}
            (Item::Record(row), replaying) => {
                let place = history::place(&row.record.header);
                let undecodable = || format!("record {} cannot be decoded", place.record_no);
                let entry = history::entry(&row.record).with_context(undecodable)?;
                check_header(reader.header(), &entry)?;
                match replaying {
                    Replaying::Verify(verifier) => verifier.entry(place, entry)?,
                    Replaying::Compare(comparer) => comparer.entry(place, &entry)?,
                }
            }
        }
    }
    let replayed = match replaying {
        Replaying::Verify(verifier) => ReplayedConversation::Verified(verifier.finish()),
        Replaying::Compare(comparer) => ReplayedConversation::Compared(comparer.finish()),
    };
    Ok((reader.header().key.clone(), replayed))
}

/// The header says of the conversation what its first record does.
fn check_header(header: &ExportHeader, entry: &Entry) -> anyhow::Result<()> {
    let Entry::Created(created) = entry else { return Ok(()) };
    let said = (&header.flow, &header.flow_tenant, header.revision);
    if said != (&created.flow, &created.flow_tenant, created.revision) {
        bail!("line 1: flow, flow_tenant or revision is not what the first record says\n  fix: export it again");
    }
    Ok(())
}
