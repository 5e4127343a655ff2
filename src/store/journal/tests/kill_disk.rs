//! A disk on which the process dies after so many changes: that one and all later ones fail.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::fake_disk::FakeDisk;
use crate::journal::disk::{Disk, DiskFile};

/// Clones share what is left.
#[derive(Clone)]
pub(crate) struct KillDisk {
    disk: FakeDisk,
    left: Arc<AtomicU64>,
}

impl KillDisk {
    /// Lets `changes` of `disk` happen.
    pub(crate) fn after(disk: FakeDisk, changes: u64) -> Self {
        Self { disk, left: Arc::new(AtomicU64::new(changes)) }
    }

    fn change<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let spent = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        spent.map_err(|_| io::Error::other("the process is dead"))?;
        change()
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(KillFile { disk: self.clone(), file })
    }
}

impl Disk for KillDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.change(|| self.disk.create(name)).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.file(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|| self.disk.remove(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|| self.disk.rename(from, to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.change(|| self.disk.sync_dir())
    }
}

struct KillFile {
    disk: KillDisk,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for KillFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change(|| self.file.write_at(bytes, offset))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.change(|| self.file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.change(|| self.file.sync_all())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.change(|| self.file.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.change(|| self.file.allocate(len))
    }
}
