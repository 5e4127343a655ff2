//! Opening sled and making it durable, for the journal's index and for the `sled` engine.

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::Duration,
};

/// How often a lock that closing threads have not let go yet is asked for, and how long between.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why sled's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SledError {
    #[error("sled failed")]
    Sled(#[from] sled::Error),
    #[error("sled's files cannot be synced")]
    Io(#[from] io::Error),
    #[error("sled made a blob file, which it never syncs")]
    Blob,
    #[error("another process, or a thread that does not end, has sled's files open")]
    Locked,
}

/// Opens or makes a database that is written only when it is told to.
pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<sled::Db, SledError> {
    let config = sled::Config::new().path(folder).cache_capacity(cache_bytes).flush_every_ms(None);
    for _ in 0..LOCK_TRIES {
        match config.open() {
            // The folder around it has its own lock, so this is a closing database whose threads still run.
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") => std::thread::park_timeout(LOCK_PAUSE),
            other => return Ok(other?),
        }
    }
    Err(SledError::Locked)
}

/// Makes everything written so far durable: `flush` on Linux ends in no fsync of its own, so the files
/// are synced here.
pub(crate) fn sync(db: &sled::Db, folder: &Path) -> Result<(), SledError> {
    db.flush()?;
    if fs::read_dir(folder.join("blobs")).is_ok_and(|mut blobs| blobs.next().is_some()) {
        return Err(SledError::Blob);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            match File::open(entry.path()) {
                // sled removes old snapshots in the background.
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                file => file?.sync_all()?,
            }
        }
    }
    Ok(File::open(folder)?.sync_all()?)
}
