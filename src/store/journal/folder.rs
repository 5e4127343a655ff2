//! The store's folder: its lock, the file that names it, and the folders of journal and index.
//!
//! ```text
//! LOCK        held exclusively while the store is open
//! STORE       magic "CQSTORE1", version u32, crc u32, store uuid [16]
//! journal/    segments
//! index/      sled; may be removed while the store is closed
//! INDEX.damaged   a process found the index damaged; the next one makes it anew
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use colloquy_types::Entropy;

use super::{
    bytes::{header_crc, put, take, take_u32},
    error::OpenError,
    group::StoreUuid,
    real_disk::sync_folder,
};

const MAGIC: [u8; 8] = *b"CQSTORE1";
const IDENTITY_BYTES: usize = 32;
const VERSION: u32 = 1;
const LOCK: &str = "LOCK";
pub(crate) const STORE: &str = "STORE";
const STORE_NEW: &str = "STORE.new";
pub(crate) const JOURNAL: &str = "journal";
const INDEX: &str = "index";

/// An open folder; the lock is let go when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    pub(crate) uuid: StoreUuid,
    _lock: File,
}

impl Folder {
    /// Locks `path` and reads whose store it is; makes a new store in a folder that is empty or absent.
    pub(crate) fn open(path: &Path, entropy: &dyn Entropy) -> Result<Self, OpenError> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenError::ReadOnly { folder: path.to_path_buf() }
            }
            _ => error.into(),
        };
        fs::create_dir_all(path).map_err(refused)?;
        if !path.join(STORE).exists() && !is_unused(path)? {
            return Err(OpenError::NotAStore { folder: path.to_path_buf() });
        }
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { folder: path.to_path_buf() }),
            Err(TryLockError::Error(error)) => return Err(refused(error)),
        }
        for folder in [JOURNAL, INDEX] {
            fs::create_dir_all(path.join(folder)).map_err(refused)?;
        }
        let uuid = match fs::read(path.join(STORE)) {
            Ok(bytes) => decode(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path, entropy.bytes16()).map_err(refused)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.to_path_buf(), uuid, _lock: lock })
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.path.join(INDEX)
    }
}

/// Keeps other processes from opening the store until it is dropped; `None` when one has it open. Nothing is written.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let lock = File::open(path.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Where the parts of a store stand that is not opened.
pub(crate) struct Places {
    pub(crate) journal: PathBuf,
    pub(crate) index: PathBuf,
    pub(crate) uuid: StoreUuid,
}

impl Places {
    /// Reads whose store it is, and nothing else.
    pub(crate) fn of(path: &Path) -> Result<Self, OpenError> {
        let bytes = match fs::read(path.join(STORE)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(OpenError::NotAStore { folder: path.to_path_buf() });
            }
            bytes => bytes?,
        };
        Ok(Self { journal: path.join(JOURNAL), index: path.join(INDEX), uuid: decode(&bytes)? })
    }
}

/// Whether the folder holds nothing, or only what an interrupted first open leaves.
fn is_unused(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = [LOCK, STORE_NEW, "lost+found"].iter().any(|ours| name == *ours)
            || (name == JOURNAL || name == INDEX) && fs::read_dir(entry.path())?.next().is_none();
        if !is_ours {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The file that says whose store it is.
pub(crate) fn encode(uuid: StoreUuid) -> [u8; IDENTITY_BYTES] {
    let mut bytes = [0; IDENTITY_BYTES];
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, 8, &VERSION.to_le_bytes());
    put(&mut bytes, 16, &uuid);
    let crc = header_crc(&bytes, 12, 0);
    put(&mut bytes, 12, &crc.to_le_bytes());
    bytes
}

fn create(path: &Path, uuid: StoreUuid) -> io::Result<StoreUuid> {
    let mut file = File::create(path.join(STORE_NEW))?;
    file.write_all(&encode(uuid))?;
    file.sync_all()?;
    fs::rename(path.join(STORE_NEW), path.join(STORE))?;
    sync_folder(path)?;
    Ok(uuid)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<StoreUuid, OpenError> {
    let crc = take_u32(bytes, 12).ok_or(OpenError::Identity)?;
    if bytes.len() != IDENTITY_BYTES || !bytes.starts_with(&MAGIC) || crc != header_crc(bytes, 12, 0) {
        return Err(OpenError::Identity);
    }
    match take_u32(bytes, 8) {
        Some(VERSION) => take(bytes, 16).ok_or(OpenError::Identity),
        Some(version) => Err(OpenError::NewerVersion { version }),
        None => Err(OpenError::Identity),
    }
}
