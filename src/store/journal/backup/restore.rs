//! Bringing a backup back: into a folder of its own, and only when everything in it is as it was.

use std::{
    fs::{self, File},
    path::{Component, Path},
};

use super::{BackupError, BackupProgress, Manifest, digest, made_empty};
use crate::journal::{
    folder::{JOURNAL, STORE},
    real_disk::sync_folder,
};

/// Copies a backup into `folder`, which must be empty or absent, and checks each file against the manifest. The store's
/// name is written last: what an interrupted return leaves is no store.
///
/// Conversations that had gone on since the backup are back where they were. Whoever holds a later head of one is told
/// so by the server (`HISTORY_CHANGED`), as the head is not part of the history any more.
///
/// # Errors
/// [`BackupError`].
pub fn restore(from: &Path, folder: &Path, progress: &mut dyn FnMut(BackupProgress)) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(from)?;
    let folder = made_empty(folder)?;
    let journal = folder.join(JOURNAL);
    fs::create_dir(&journal).map_err(BackupError::at(&journal))?;
    let mut bytes = 0;
    // The store's name sorts behind the journal's files.
    let mut files: Vec<_> = manifest.files.iter().collect();
    files.sort_by_key(|file| file.name == STORE);
    for (number, file) in files.iter().enumerate() {
        let changed = |problem| BackupError::Changed { file: file.name.clone(), problem };
        if !is_inside(&file.name) {
            return Err(changed("lies outside of it"));
        }
        let (source, target) = (from.join(&file.name), folder.join(&file.name));
        if !source.is_file() {
            return Err(changed("is missing"));
        }
        fs::copy(&source, &target).map_err(BackupError::at(&target))?;
        File::open(&target).and_then(|file| file.sync_all()).map_err(BackupError::at(&target))?;
        if digest(&target).map_err(BackupError::at(&target))? != (file.bytes, file.digest) {
            fs::remove_file(&target).ok();
            return Err(changed("is not as it was written"));
        }
        bytes += file.bytes;
        progress(BackupProgress { files: number + 1, of: files.len(), bytes });
    }
    if !folder.join(STORE).is_file() {
        return Err(BackupError::Changed { file: STORE.to_owned(), problem: "is missing" });
    }
    for folder in [&journal, &folder] {
        sync_folder(folder).map_err(BackupError::at(folder))?;
    }
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
