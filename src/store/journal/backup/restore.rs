//! Bringing a backup back: into a folder of its own, and only when everything in it is as it was.

use std::{
    fs::{self, File},
    path::{Component, Path},
};

use super::{BackupError, BackupProgress, Filling, KnownBackup, Manifest, digest, known};
use crate::journal::{
    folder::{JOURNAL, STORE},
    real_disk::sync_folder,
};

/// What the store's name is called until everything else is there; an interrupted return leaves it.
const STORE_NEW: &str = "STORE.restored";

/// Copies a backup into `folder`, which must be empty, absent, or left by a return that was interrupted, and checks each
/// file against the manifest. The store's name gets its place last: what an interrupted return leaves is no store, and
/// made again it is begun anew.
///
/// Conversations that had gone on since the backup are back where they were. Whoever holds a later head of one is told
/// so by the server (`HISTORY_CHANGED`), as the head is not part of the history any more.
///
/// # Errors
/// [`BackupError`].
pub fn restore(from: &Path, folder: &Path, progress: &mut dyn FnMut(BackupProgress)) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(from)?;
    let from = &from.canonicalize().map_err(BackupError::at(from))?;
    let Filling { folder, journal, _lock } = &Filling::begin(folder, STORE_NEW, STORE)?;
    let source = KnownBackup { taken_at: manifest.taken_at, to: from.display().to_string() };
    known::carry(from, folder, &source).map_err(BackupError::at(folder))?;
    let mut bytes = 0;
    // The store's name sorts behind the journal's files.
    let mut files: Vec<_> = manifest.files.iter().collect();
    files.sort_by_key(|file| file.name == STORE);
    for (number, file) in files.iter().enumerate() {
        let changed = |problem| BackupError::Changed { file: file.name.clone(), problem };
        if !is_inside(&file.name) {
            return Err(changed("lies outside of it"));
        }
        let target = folder.join(if file.name == STORE { STORE_NEW } else { &file.name });
        let source = from.join(&file.name);
        if !source.is_file() {
            return Err(changed("is missing"));
        }
        fs::copy(&source, &target).map_err(BackupError::at(&target))?;
        File::open(&target).and_then(|file| file.sync_all()).map_err(BackupError::at(&target))?;
        if digest(&target).map_err(BackupError::at(&target))? != (file.bytes, file.digest) {
            return Err(changed("is not as it was written"));
        }
        bytes += file.bytes;
        progress(BackupProgress { files: number + 1, of: files.len(), bytes });
    }
    if files.last().is_none_or(|file| file.name != STORE) {
        return Err(BackupError::Changed { file: STORE.to_owned(), problem: "is missing" });
    }
    sync_folder(journal).map_err(BackupError::at(journal))?;
    let named = fs::rename(folder.join(STORE_NEW), folder.join(STORE)).and_then(|()| sync_folder(folder));
    named.map_err(BackupError::at(folder))?;
    Ok(manifest)
}

/// Whether a name of a manifest stays where it belongs.
fn is_inside(name: &str) -> bool {
    let in_journal = |rest: &str| {
        let mut parts = Path::new(rest).components();
        matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none()
    };
    name == STORE || name.strip_prefix(JOURNAL).and_then(|rest| rest.strip_prefix('/')).is_some_and(in_journal)
}
