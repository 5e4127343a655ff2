//! The journal's disk as the operating system gives it.

mod direct;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::direct::{Direct, Staging};
use super::disk::{Disk, DiskFile, fill_with};

/// A folder of the file system.
pub(crate) struct RealDisk {
    folder: PathBuf,
    staging: Arc<Staging>,
    writes: bool,
}

impl RealDisk {
    /// One that opens files for reading only.
    pub(crate) fn read_only(folder: &Path) -> Self {
        Self { writes: false, ..Self::new(folder) }
    }

    /// The folder must exist.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), staging: Arc::new(Staging::new()), writes: true }
    }
}

struct RealFile {
    file: File,
    /// Past the page cache; only for files that are being made.
    direct: Option<Direct>,
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok(Arc::new(RealFile { file, direct: Direct::open(&path, &self.staging) }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(self.writes).open(self.folder.join(name))?;
        Ok(Arc::new(RealFile { file, direct: None }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_folder(&self.folder)
    }
}

/// Reserves room for the first `len` bytes of a file.
pub(crate) fn reserve(file: &File, len: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
        // Not every file system can reserve; filling with zeros then finds a full disk.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(len),
        other => Ok(other?),
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match &self.direct {
            Some(direct) if direct.append(bytes, offset)? => Ok(()),
            _ => self.file.write_all_at(bytes, offset),
        }
    }

    fn fill(&self, len: u64) -> io::Result<()> {
        match self.direct.as_ref().map_or(Ok(0), |direct| direct.fill(len))? {
            0 => fill_with(self, len),
            filled => self.file.write_all_at(&vec![0; usize::try_from(len - filled).unwrap_or_default()], filled),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.direct.iter().for_each(Direct::give_up);
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        reserve(&self.file, len)
    }
}
