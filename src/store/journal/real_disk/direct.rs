//! Writing past the page cache.
//!
//! A page that enters the cache for the first time costs more than all else that an append does (measured: 1.3 to 3 µs
//! for each KiB, against 0.15 µs when it is written directly), and a journal touches nothing but fresh pages. So
//! segments are filled and appended to by direct writes of whole blocks, from aligned memory; the bytes of the last
//! block that is not full are kept and written again with what follows. What is read goes through the cache as ever;
//! the kernel takes out what a direct write replaces.
//!
//! Only the append is direct: a write that begins where the last one ended, inside what was filled with zeros.
//! Everything else is written the ordinary way, and everything is where the file system cannot write directly.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What offsets, lengths and memory are aligned to: the largest logical block in use.
const BLOCK: usize = 4096;
/// Bytes of zeros written at once.
const FILL_BYTES: usize = 256 << 10;
/// How much is filled between two syncs, so that none of them holds up the commits for long.
const FILL_SYNC_BYTES: u64 = 8 << 20;

/// Memory whose used part begins at a multiple of [`BLOCK`].
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn with_len(len: usize) -> Self {
        let bytes = vec![0; len + BLOCK];
        let start = bytes.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { bytes, start }
    }

    fn len(&self) -> usize {
        self.bytes.len() - BLOCK
    }

    fn get_mut(&mut self, len: usize) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + len).unwrap_or_default()
    }

    fn get(&self, len: usize) -> &[u8] {
        self.bytes.get(self.start..self.start + len).unwrap_or_default()
    }
}

/// What the direct files of a disk share.
pub(super) struct Staging {
    zeros: Aligned,
    /// Where a write is put together. There is one writer.
    group: Mutex<Aligned>,
}

impl Staging {
    pub(super) fn new() -> Self {
        Self { zeros: Aligned::with_len(FILL_BYTES), group: Mutex::new(Aligned::with_len(0)) }
    }
}

/// How far a file was written.
struct Appended {
    /// Where the last write ended.
    end: u64,
    /// Up to where there is nothing but zeros behind it.
    zeros_end: u64,
    /// The bytes before `end` that fill no whole block.
    partial: Vec<u8>,
}

/// The way past the cache to a file that this process created.
pub(super) struct Direct {
    file: File,
    staging: Arc<Staging>,
    /// `None` once something was written in another way.
    appended: Mutex<Option<Appended>>,
}

impl Direct {
    /// `None` where there is no such way.
    pub(super) fn open(path: &Path, staging: &Arc<Staging>) -> Option<Self> {
        let file = open_direct(path).ok()?;
        let appended = Appended { end: 0, zeros_end: 0, partial: Vec::new() };
        Some(Self { file, staging: Arc::clone(staging), appended: Mutex::new(Some(appended)) })
    }

    fn appended(&self) -> MutexGuard<'_, Option<Appended>> {
        self.appended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills a file of at least `len` bytes, in which nothing was written yet, with zeros from its beginning. How far it
    /// came: to the last whole block, or nowhere where there is no such way after all.
    pub(super) fn fill(&self, len: u64) -> io::Result<u64> {
        let mut appended = self.appended();
        let Some(state) = appended.as_mut() else { return Ok(0) };
        let whole = len - len % BLOCK as u64;
        while state.zeros_end < whole {
            let step = usize::try_from(whole - state.zeros_end).unwrap_or(FILL_BYTES).min(FILL_BYTES);
            if !wrote(self.file.write_all_at(self.staging.zeros.get(step), state.zeros_end))? {
                *appended = None;
                return Ok(0);
            }
            state.zeros_end += step as u64;
            if state.zeros_end.is_multiple_of(FILL_SYNC_BYTES) {
                self.file.sync_data()?;
            }
        }
        Ok(whole)
    }

    /// Writes `bytes` at `offset` if that is an append; whether it was.
    pub(super) fn append(&self, bytes: &[u8], offset: u64) -> io::Result<bool> {
        let mut appended = self.appended();
        let end = offset + bytes.len() as u64;
        let fits = |state: &&mut Appended| state.end == offset && end.next_multiple_of(BLOCK as u64) <= state.zeros_end;
        let Some(state) = appended.as_mut().filter(fits) else {
            *appended = None;
            return Ok(false);
        };
        let mut group = self.staging.group.lock().unwrap_or_else(PoisonError::into_inner);
        let used = state.partial.len() + bytes.len();
        let len = used.next_multiple_of(BLOCK);
        if group.len() < len {
            *group = Aligned::with_len(len.next_power_of_two());
        }
        let blocks = group.get_mut(len);
        let (before, rest) = blocks.split_at_mut(state.partial.len());
        before.copy_from_slice(&state.partial);
        let (now, after) = rest.split_at_mut(bytes.len());
        now.copy_from_slice(bytes);
        after.fill(0);
        if !wrote(self.file.write_all_at(blocks, offset - state.partial.len() as u64))? {
            *appended = None;
            return Ok(false);
        }
        state.end = end;
        state.partial.clear();
        state.partial.extend_from_slice(blocks.get(used - used % BLOCK..used).unwrap_or_default());
        Ok(true)
    }

    /// Gives this way up, because the file is changed in another.
    pub(super) fn give_up(&self) {
        *self.appended() = None;
    }
}

/// Whether it was written; `false` where the file system takes the flag and not the write.
fn wrote(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
        written => written.map(|()| true),
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).map_err(io::Error::other)?;
    OpenOptions::new().write(true).custom_flags(flags).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;

    use super::*;

    const BYTES: usize = 40_000;
    const WHOLE: usize = 36_864;

    /// A file and the way to it, unless the file system has none: then there is nothing to show.
    fn made(folder: &TempDir) -> Option<(Direct, PathBuf)> {
        let path = folder.path().join("segment");
        fs::write(&path, vec![7; BYTES]).unwrap();
        Some((Direct::open(&path, &Arc::new(Staging::new()))?, path))
    }

    /// A folder beside the build, which lies on a real disk.
    fn folder() -> TempDir {
        TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap()
    }

    #[test]
    fn appends_of_any_length_leave_what_ordinary_writes_would() {
        let folder = folder();
        let Some((direct, path)) = made(&folder) else { return };
        assert_eq!(direct.fill(BYTES as u64).unwrap(), WHOLE as u64);
        let mut expected = vec![0; WHOLE];
        let mut offset = 0;
        for (number, len) in [1, 151, 4096, 8192, 3, 4000, 93, 5000, 10_000, 1].into_iter().enumerate() {
            let bytes = vec![u8::try_from(number + 1).unwrap(); len];
            assert!(direct.append(&bytes, offset as u64).unwrap(), "write {number}");
            expected[offset..offset + len].copy_from_slice(&bytes);
            offset += len;
            assert_eq!(fs::read(&path).unwrap()[..WHOLE], expected, "after write {number}");
        }
        assert!(!direct.append(&[1; 8192], offset as u64).unwrap(), "it would pass the zeros");
        assert!(!direct.append(&[1], offset as u64).unwrap(), "after another way there is no way back");
        assert_eq!(fs::read(&path).unwrap()[WHOLE..], [7; BYTES - WHOLE]);
    }

    #[test]
    fn only_what_follows_the_last_write_inside_the_zeros_is_an_append() {
        let folder = folder();
        let Some((direct, path)) = made(&folder) else { return };
        direct.fill(BYTES as u64).unwrap();
        assert!(direct.append(&[1; 10], 0).unwrap());
        assert!(!direct.append(&[1; 10], 11).unwrap());
        let again = Direct::open(&path, &Arc::new(Staging::new())).unwrap();
        assert!(!again.append(&[2; 10], 0).unwrap(), "nothing was filled");
        assert_eq!(fs::read(path).unwrap()[..12], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    }
}
