//! Bringing a store's folder to the newest formats.
//!
//! Every format is read for good, so a store that is never migrated works; it may be slower, and what is old is brought up to
//! date as it changes. Records and segments stay as they were written: a chain cannot be written anew. Of the index
//! the rows of earlier versions are encoded anew, and trees that no build uses any more are removed. Each piece is
//! whole by itself, so a migration that was interrupted is made again and goes on.

use std::path::Path;

use colloquy_types::Entropy;

use super::{
    error::OpenError,
    folder::{Folder, Places},
    index::{Index, guarded},
    real_disk::RealDisk,
    watched,
};
/// What a migration did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Rows of the index.
    pub rows: u64,
    /// Those that were of an earlier version.
    pub rewritten: u64,
    /// Trees that were removed.
    pub trees: u64,
}

/// Migrates the store in `folder`, which no process may have open. `progress` is told how many rows were looked at.
///
/// # Errors
/// [`OpenError`]; what was done stays done.
pub fn migrate(
    folder: &Path,
    cache_bytes: u64,
    entropy: &dyn Entropy,
    progress: &mut dyn FnMut(u64),
) -> Result<Migrated, OpenError> {
    // Looked at first, as opening an empty folder would make a store of it.
    let places = Places::of(folder)?;
    let folder = Folder::open(folder, entropy)?;
    let disk = RealDisk::read_only(&places.journal);
    for id in watched::ids(&disk)? {
        watched::look(&disk, id, places.uuid)?;
    }
    let index = Index::open(&folder.index(), cache_bytes)?;
    // First of all, so that an older build never meets the rows that follow.
    if let Some(covered) = index.covered()? {
        index.cover(covered)?;
    }
    let mut migrated = Migrated { trees: index.remove_unused_trees()?, ..Migrated::default() };
    let mut after = Vec::new();
    while let Some(page) = guarded(|| index.renew_rows(&after))? {
        migrated.rows += page.rows;
        migrated.rewritten += page.renewed;
        after = page.last;
        progress(migrated.rows);
    }
    index.sync()?;
    Ok(migrated)
}
