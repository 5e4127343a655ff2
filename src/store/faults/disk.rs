//! A disk in memory that forgets what it may: sectors that were written but not synced, names made, removed or
//! changed without a sync of the folder. It dies at a chosen operation, fails a chosen one, and runs full.
//!
//! What a sync covered always stays. A process that ends loses nothing that it wrote; the power takes, by the
//! seed, any part of what was not synced. The same seed and the same calls give the same disk, and
//! [`FaultDisk::trace`] tells two runs apart.

mod file;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::file::FileState;
use super::random::Random;
use crate::journal::{
    bytes::to_usize,
    disk::{Disk, DiskFile},
};

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed; what it wrote is in the page cache.
    Process,
    /// The power goes; what was not synced may be gone, wholly or in part.
    Power,
}

/// What of a commit is made to fail.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Write,
    Sync,
}

/// A change of the folder that no sync of the folder covers.
#[derive(Clone)]
enum NameChange {
    Create { name: String, file: u64 },
    Remove { name: String },
    Rename { from: String, to: String },
}

struct State {
    files: BTreeMap<u64, FileState>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    files_made: u64,
    random: Random,
    operations: u64,
    dies_at: Option<u64>,
    fails_at: Option<u64>,
    dead: bool,
    troubled: bool,
    full: bool,
    lies: bool,
    trace: u64,
    /// The part of the next commit that fails, and the file of the last one.
    #[cfg(test)]
    fails_commit: Option<Part>,
    #[cfg(test)]
    committed_to: String,
}

/// Clones share their state.
#[derive(Clone)]
pub(crate) struct FaultDisk(Arc<Mutex<State>>);

impl FaultDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            files_made: 0,
            random: Random::new(seed, "disk"),
            operations: 0,
            dies_at: None,
            fails_at: None,
            dead: false,
            troubled: false,
            full: false,
            lies: false,
            trace: seed,
            #[cfg(test)]
            fails_commit: None,
            #[cfg(test)]
            committed_to: String::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends at the `after`th operation from now on that changes something: it is done, done in part, or not done,
    /// and nothing after it.
    pub(crate) fn die_after(&self, after: u64) {
        let mut state = self.lock();
        state.dies_at = Some(state.operations + after.max(1));
    }

    /// Fails the `after`th operation from now on, once.
    pub(crate) fn fail_after(&self, after: u64) {
        let mut state = self.lock();
        state.fails_at = Some(state.operations + after.max(1));
    }

    /// Fails the next commit of a writer: its write, which is not done, or the sync after it.
    #[cfg(test)]
    pub(crate) fn fail_commit(&self, part: Part) {
        self.lock().fails_commit = Some(part);
    }

    /// Whether nothing is done any more, and nothing told, until [`FaultDisk::crash`].
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Whether it has failed or was full since the last crash.
    pub(crate) fn was_troubled(&self) -> bool {
        self.lock().troubled
    }

    /// Whether room can be reserved.
    pub(crate) fn set_full(&self, full: bool) {
        let mut state = self.lock();
        state.full = full;
        state.troubled |= full;
    }

    /// Makes every sync succeed without doing anything.
    #[cfg(test)]
    pub(crate) fn lie(&self) {
        self.lock().lies = true;
    }

    /// What distinguishes this run from others: each operation and what it wrote.
    pub(crate) fn trace(&self) -> u64 {
        self.lock().trace
    }

    /// Operations so far that changed something.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Each file as a read sees it.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let bytes = |file: &u64| state.files.get(file).map(|file| file.bytes().to_vec()).unwrap_or_default();
        state.names.iter().map(|(name, file)| (name.clone(), bytes(file))).collect()
    }

    /// Damages one bit on the medium.
    pub(crate) fn flip(&self, name: &str, offset: usize, bit: u8) {
        self.with(name, |file| file.flip(offset, bit)).ok();
    }

    /// Overwrites the end of a file with zeros, durably.
    #[cfg(test)]
    pub(crate) fn blank_from(&self, name: &str, offset: usize) {
        self.with(name, |file| file.blank_from(offset)).ok();
    }

    /// Ends what runs on it, and leaves what the next process finds.
    pub(crate) fn crash(&self, crash: Crash) {
        let mut guard = self.lock();
        let state = &mut *guard;
        (state.dead, state.troubled, state.full) = (false, false, false);
        (state.dies_at, state.fails_at) = (None, None);
        state.note(b"crash", &[crash as u8], 0, &[]);
        if crash == Crash::Power {
            let all = state.random.chance(25);
            for change in std::mem::take(&mut state.unsynced_names) {
                if all || state.random.chance(50) {
                    apply(&mut state.durable_names, change);
                }
            }
            state.names.clone_from(&state.durable_names);
            let names = &state.names;
            state.files.retain(|file, _| names.values().any(|named| named == file));
            for file in state.files.values_mut() {
                file.lose_power(&mut state.random);
            }
        }
    }

    fn with<T>(&self, name: &str, run: impl FnOnce(&mut FileState) -> T) -> io::Result<T> {
        let mut state = self.lock();
        let file = state.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(run(state.file(file)?))
    }

    /// Does an operation that changes something, unless the disk dies or fails at it.
    fn operate<T>(
        &self,
        (what, name): (&[u8], &str),
        (offset, bytes): (u64, &[u8]),
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.lock();
        if state.dead {
            return Err(gone());
        }
        state.operations += 1;
        state.note(what, name.as_bytes(), offset, bytes);
        if state.fails_at == Some(state.operations) {
            state.troubled = true;
            return Err(io::Error::other("the disk failed"));
        }
        #[cfg(test)]
        if state.is_failing_commit(what, name, bytes) {
            return Err(io::Error::other("the disk failed"));
        }
        if state.dies_at == Some(state.operations) {
            state.dead = true;
            if state.random.chance(50) {
                run(&mut state).ok();
            }
            return Err(gone());
        }
        run(&mut state)
    }

    fn handle(&self, name: &str, file: u64) -> Arc<dyn DiskFile> {
        Arc::new(FaultFile { disk: self.clone(), name: name.to_owned(), file })
    }

    fn change_names(&self, what: &[u8], name: &str, change: NameChange) -> io::Result<()> {
        self.operate((what, name), (0, &[]), |state| {
            apply(&mut state.names, change.clone());
            state.unsynced_names.push(change);
            Ok(())
        })
    }
}

impl State {
    fn file(&mut self, file: u64) -> io::Result<&mut FileState> {
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    #[cfg(test)]
    fn is_failing_commit(&mut self, what: &[u8], name: &str, bytes: &[u8]) -> bool {
        let part = match what {
            b"write" if bytes.starts_with(b"CQG1") => Part::Write,
            b"sync" if self.committed_to == name => Part::Sync,
            _ => return false,
        };
        name.clone_into(&mut self.committed_to);
        self.fails_commit.take_if(|fails| *fails == part).is_some()
    }

    fn note(&mut self, what: &[u8], name: &[u8], offset: u64, bytes: &[u8]) {
        let words = [u64::from(crc32c::crc32c(what)), u64::from(crc32c::crc32c(name)), offset, bytes.len() as u64];
        for word in words.into_iter().chain([u64::from(crc32c::crc32c(bytes))]) {
            self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the process has ended")
}

fn apply(names: &mut BTreeMap<String, u64>, change: NameChange) {
    match change {
        NameChange::Create { name, file } => drop(names.insert(name, file)),
        NameChange::Remove { name } => drop(names.remove(&name)),
        NameChange::Rename { from, to } => {
            if let Some(file) = names.remove(&from) {
                names.insert(to, file);
            }
        }
    }
}

impl Disk for FaultDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.operate((b"create", name), (0, &[]), |state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = state.files_made;
            state.files_made += 1;
            state.files.insert(file, FileState::new());
            let change = NameChange::Create { name: name.to_owned(), file };
            apply(&mut state.names, change.clone());
            state.unsynced_names.push(change);
            Ok(file)
        })?;
        Ok(self.handle(name, file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.lock().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(name, file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !self.lock().names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change_names(b"remove", name, NameChange::Remove { name: name.to_owned() })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if !self.lock().names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change_names(b"rename", from, NameChange::Rename { from: from.to_owned(), to: to.to_owned() })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.operate((b"sync_dir", ""), (0, &[]), |state| {
            if !state.lies {
                state.durable_names.clone_from(&state.names);
                state.unsynced_names.clear();
            }
            Ok(())
        })
    }
}

struct FaultFile {
    disk: FaultDisk,
    name: String,
    file: u64,
}

impl DiskFile for FaultFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().file(self.file)?.bytes().len() as u64)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.operate((b"write", &self.name), (offset, bytes), |state| {
            // A process that is killed in the middle of a write leaves the beginning of it.
            let len = if state.dead { state.random.between(0, bytes.len()) } else { bytes.len() };
            state.file(self.file)?.write(bytes.get(..len).unwrap_or_default(), to_usize(offset));
            Ok(())
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let (start, file) = (to_usize(offset), state.file(self.file)?);
        let bytes = file.bytes().get(start..start.saturating_add(buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.operate((b"sync", &self.name), (0, &[]), |state| {
            if !state.lies {
                state.file(self.file)?.sync();
            }
            Ok(())
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.operate((b"set_len", &self.name), (len, &[]), |state| {
            state.file(self.file)?.set_len(to_usize(len));
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.disk.lock().full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let longer = len.max(self.len()?);
        self.set_len(longer)
    }
}
