//! The port through which the journal reaches the disk: one flat folder of files.
//!
//! The real one is in [`super::real_disk`]; tests use one that records, fails, lies and loses power.
//! Only the index (sled) has its own way to the disk.

use std::{io, sync::Arc};

use super::bytes::to_usize;

/// A folder of files.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Creates a file that must not exist.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes creations, removals and renamings durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A file.
pub(crate) trait DiskFile: Send + Sync + 'static {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes zeros over the first `len` bytes of a new file.
    fn fill(&self, len: u64) -> io::Result<()> {
        fill_with(self, len)
    }
    /// Fills `buffer` from `offset`; fails when the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable, and as much of the file's metadata as reading it needs.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes what was written and all metadata durable.
    fn sync_all(&self) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room for `len` bytes, so that a full disk is found before anything is written.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

const FILL_BYTES: u64 = 256 << 10;
/// How much is filled between two syncs, so that none of them holds up the commits for long.
const FILL_SYNC_BYTES: u64 = 8 << 20;

/// Writes zeros over the first `len` bytes by ordinary writes.
pub(crate) fn fill_with(file: &(impl DiskFile + ?Sized), len: u64) -> io::Result<()> {
    let zeros = vec![0; to_usize(len.min(FILL_BYTES))];
    let mut offset = 0;
    while offset < len {
        let step = (len - offset).min(FILL_BYTES);
        file.write_at(zeros.get(..to_usize(step)).unwrap_or_default(), offset)?;
        offset += step;
        if offset.is_multiple_of(FILL_SYNC_BYTES) {
            file.sync_data()?;
        }
    }
    Ok(())
}

/// Reads `len` bytes at `at` into memory that is used again and again.
pub(crate) fn read_into<'b>(
    file: &dyn DiskFile,
    at: usize,
    len: usize,
    buffer: &'b mut Vec<u8>,
) -> io::Result<&'b [u8]> {
    buffer.resize(len, 0);
    file.read_at(buffer, at as u64)?;
    Ok(buffer)
}

/// Reads `len` bytes at `offset`.
pub(crate) fn read_vec(file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_at(&mut bytes, offset)?;
    Ok(bytes)
}
