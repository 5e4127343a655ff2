//! Folders that are being filled: with a backup, or with a store that is brought back.
//!
//! A marker stands in one until everything is there, and becomes the file that says so by being renamed. What was
//! interrupted is told by it from what belongs to somebody, and begun anew.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{BackupError, known::KNOWN};
use crate::journal::{
    error::OpenError,
    folder::{JOURNAL, STORE},
    real_disk::sync_folder,
};

/// A folder that this process fills.
pub(super) struct Filling {
    /// Where it is, wherever the process goes.
    pub(super) folder: PathBuf,
    /// The folder of its segments.
    pub(super) journal: PathBuf,
    pub(super) _lock: File,
}

impl Filling {
    /// Takes a folder that is empty, is absent, or was left by an attempt that was interrupted: it has the file `marker`
    /// and not the file `whole`, which the marker becomes in the end.
    pub(super) fn begin(folder: &Path, marker: &str, whole: &str) -> Result<Self, BackupError> {
        fs::create_dir_all(folder).map_err(BackupError::at(folder))?;
        let folder = folder.canonicalize().map_err(BackupError::at(folder))?;
        let (marker, whole) = (folder.join(marker), folder.join(whole));
        let was_interrupted = marker.exists() && !whole.exists();
        if !was_interrupted && fs::read_dir(&folder).map_err(BackupError::at(&folder))?.next().is_some() {
            return Err(BackupError::NotEmpty(folder));
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&marker);
        let lock = lock.map_err(BackupError::at(&marker))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { folder }.into()),
            Err(TryLockError::Error(error)) => return Err(BackupError::at(&marker)(error)),
        }
        // Whoever had it may have ended just now.
        if whole.exists() {
            return Err(BackupError::NotEmpty(folder));
        }
        let journal = folder.join(JOURNAL);
        if was_interrupted {
            emptied(&folder).map_err(BackupError::at(&folder))?;
        }
        fs::create_dir(&journal).map_err(BackupError::at(&journal))?;
        sync_folder(&folder).map_err(BackupError::at(&folder))?;
        Ok(Self { folder, journal, _lock: lock })
    }
}

/// Removes what an interrupted attempt has written.
fn emptied(folder: &Path) -> io::Result<()> {
    let removed = [fs::remove_dir_all(folder.join(JOURNAL)), remove(folder, STORE), remove(folder, KNOWN)];
    for result in removed {
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn remove(folder: &Path, name: &str) -> io::Result<()> {
    fs::remove_file(folder.join(name))
}
