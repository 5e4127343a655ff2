//! Backups of a store's folder, running or not, and bringing one back.
//!
//! Sealed segments never change but by being replaced whole, so they are linked, or copied where the file system differs.
//! Of the others everything up to the last whole group is copied, the last segment first: then what is copied of an
//! earlier one is all that the later one follows on. So a backup is the journal as it was at one moment, which may be a
//! moment after the backup began. The index is left out: it is made again. A manifest with the size and digest of
//! each file is written last; a folder without one is no backup.
//!
//! ```text
//! BACKUP.json     the manifest
//! BACKUPS.jsonl   the backups known when it was begun, and itself
//! STORE           the store's name
//! journal/        segments
//! ```
//!
//! Each backup adds a line to `BACKUPS.jsonl` in the store's folder before it copies anything, so that an erasure can tell
//! which backups still hold what was erased. The list goes along, and what is brought back also names its source.

mod filling;
mod known;
mod manifest;
mod restore;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use colloquy_types::Timestamp;

use self::filling::Filling;
pub use self::{
    known::{KnownBackup, known_backups},
    manifest::{BackupFile, Manifest},
    restore::restore,
};
use super::{
    bytes::to_usize,
    error::OpenError,
    folder::{JOURNAL, Places, STORE},
    real_disk::{RealDisk, sync_folder},
    scan,
    segment::{file_id, file_name},
    watched::{self, Read},
};

/// The file that makes a folder a backup.
pub const MANIFEST: &str = "BACKUP.json";
/// What it is called until it is whole; an interrupted backup leaves it.
const MANIFEST_NEW: &str = "BACKUP.json.new";
/// How often the list of segments is read again because more were added.
const ROUNDS_MAX: u32 = 10;

/// Why a backup was not made or not brought back. Displays with its fix on a line of its own.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store, or what is in the backup, cannot be read as one.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The target holds something.
    #[error("{} is not empty\n  fix: name a folder that is empty or does not exist", .0.display())]
    NotEmpty(PathBuf),
    /// The folder is no backup, or one that was not finished.
    #[error("{} is no backup: it has no {MANIFEST}\n  fix: name a folder that `colloquy store backup` finished", .0.display())]
    NoManifest(PathBuf),
    /// The manifest cannot be read, or is of another version.
    #[error(
        "{MANIFEST} cannot be used: {0}\n  fix: bring the backup back with the version that made it, or a newer one"
    )]
    Manifest(String),
    /// A file of the backup is not as the manifest says.
    #[error("{file} of the backup {problem}\n  fix: use another backup")]
    Changed {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Segments were added faster than they could be listed.
    #[error(
        "the store grew faster than it could be copied\n  fix: back up to a faster disk, or when there is less load"
    )]
    TooFast,
    /// A file cannot be read or written.
    #[error("{} cannot be read or written: {error}\n  fix: see that the folder can be written and has room", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
}

impl BackupError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| Self::Io { path, error }
    }
}

/// How far a backup or its return is.
#[derive(Clone, Copy, Debug)]
pub struct BackupProgress {
    /// Files done.
    pub files: usize,
    /// Files there are.
    pub of: usize,
    /// Bytes done.
    pub bytes: u64,
}

/// What is backed up, and how.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    /// The store's folder.
    pub folder: PathBuf,
    /// The backup's folder; empty, made, or left by a backup that was interrupted.
    pub to: PathBuf,
    /// Copy sealed segments although they could be linked: a link shares the disk, and what happens to its blocks.
    pub copies: bool,
    /// The time, for the manifest.
    pub now: Timestamp,
    /// The version of the program.
    pub tool_version: String,
}

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Why the store's folder does not list it, if it does not: receipts of erasures will not name it.
    pub unlisted: Option<io::Error>,
}

/// Makes a backup. What an interrupted one leaves has no manifest and can be removed; made again into the same folder, it
/// is begun anew.
///
/// # Errors
/// [`BackupError`].
pub fn backup(options: &BackupOptions, progress: &mut dyn FnMut(BackupProgress)) -> Result<Made, BackupError> {
    let places = Places::of(&options.folder)?;
    let Filling { folder: to, journal, _lock } = &Filling::begin(&options.to, MANIFEST_NEW, MANIFEST)?;
    let itself = KnownBackup { taken_at: options.now, to: to.display().to_string() };
    // Before anything is copied: an erasure in the meantime must name it.
    let unlisted = known::add(&options.folder, &itself).err();
    known::carry(&options.folder, to, &itself).map_err(BackupError::at(to))?;
    let journal = journal.clone();
    let mut copying = Copying { places, journal, copies: options.copies, files: Vec::new(), linked: 0 };
    copying.all(progress)?;
    copying.file(&options.folder.join(STORE), &to.join(STORE), STORE.to_owned(), false)?;
    for folder in [&copying.journal, to] {
        sync_folder(folder).map_err(BackupError::at(folder))?;
    }
    let manifest = Manifest {
        format: manifest::FORMAT.to_owned(),
        store: copying.places.uuid,
        taken_at: options.now,
        tool_version: options.tool_version.clone(),
        linked: copying.linked,
        files: copying.files,
    };
    manifest.write(to)?;
    Ok(Made { manifest, unlisted })
}

struct Copying {
    places: Places,
    journal: PathBuf,
    copies: bool,
    files: Vec<BackupFile>,
    linked: u64,
}

impl Copying {
    /// Sealed segments until no more are added, then the others, the last first.
    fn all(&mut self, progress: &mut dyn FnMut(BackupProgress)) -> Result<(), BackupError> {
        let disk = RealDisk::read_only(&self.places.journal);
        let mut bytes = 0;
        for _ in 0..ROUNDS_MAX {
            let ids = watched::ids(&disk).map_err(OpenError::from)?;
            let mut open = Vec::new();
            for id in &ids {
                if self.files.iter().any(|file| file.segment == Some(*id)) {
                    continue;
                }
                match watched::look(&disk, *id, self.places.uuid)? {
                    Some((segment, _)) if segment.trailer().is_some() => {
                        bytes += self.sealed(*id)?;
                        progress(BackupProgress { files: self.files.len(), of: ids.len(), bytes });
                    }
                    Some(_) => open.push(*id),
                    // It was made ahead of need, and not needed.
                    None => {}
                }
            }
            if watched::ids(&disk).map_err(OpenError::from)?.last() == ids.last() {
                for id in open.into_iter().rev() {
                    bytes += self.open(&disk, id)?;
                    progress(BackupProgress { files: self.files.len(), of: ids.len(), bytes });
                }
                self.files.sort_by_key(|file| file.segment);
                return Ok(());
            }
        }
        Err(BackupError::TooFast)
    }

    fn sealed(&mut self, id: u64) -> Result<u64, BackupError> {
        let name = file_name(id);
        let (from, to) = (self.places.journal.join(&name), self.journal.join(&name));
        self.file(&from, &to, format!("{JOURNAL}/{name}"), !self.copies)
    }

    /// Links or copies a file, and notes its digest.
    fn file(&mut self, from: &Path, to: &Path, name: String, may_link: bool) -> Result<u64, BackupError> {
        if may_link && fs::hard_link(from, to).is_ok() {
            self.linked += 1;
        } else {
            fs::copy(from, to).map_err(BackupError::at(to))?;
            File::open(to).and_then(|file| file.sync_all()).map_err(BackupError::at(to))?;
        }
        self.note(to, name)
    }

    /// Copies the whole groups of a segment that is being written. What follows them stays zeros.
    fn open(&mut self, disk: &RealDisk, id: u64) -> Result<u64, BackupError> {
        let Some(Read { segment, bytes, .. }) = watched::read(disk, id, self.places.uuid)? else { return Ok(0) };
        if segment.trailer().is_some() {
            return self.sealed(id);
        }
        let name = file_name(id);
        let scan = scan::scan(&bytes, id, self.places.uuid);
        scan.refuse_newer()?;
        let whole = scan.stretches.iter().take_while(|stretch| stretch.is_whole());
        let end = whole.last().and_then(|stretch| Some(stretch.start as u64 + stretch.group?.whole_len()));
        let Some(end) = end else { return Ok(0) };
        let to = self.journal.join(&name);
        let groups = bytes.get(..to_usize(end)).unwrap_or(&bytes);
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&to)?;
            file.write_all(groups)?;
            file.set_len(segment.size)?;
            file.sync_all()
        };
        write().map_err(BackupError::at(&to))?;
        self.note(&to, format!("{JOURNAL}/{name}"))
    }

    fn note(&mut self, path: &Path, name: String) -> Result<u64, BackupError> {
        let (bytes, digest) = digest(path).map_err(BackupError::at(path))?;
        let segment = path.file_name().and_then(|name| file_id(name.to_str()?));
        self.files.push(BackupFile { name, bytes, digest, segment });
        Ok(bytes)
    }
}

/// Length and BLAKE3 digest of a file.
fn digest(path: &Path) -> io::Result<(u64, [u8; 32])> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, *hasher.finalize().as_bytes()));
        }
        bytes += read as u64;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}
