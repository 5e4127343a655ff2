//! A disk in memory that records what happens, fails on demand, and can lose what was not synced.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use colloquy_types::{ConversationUid, RecordNo};

use crate::journal::disk::{Disk, DiskFile};

/// How long a test waits for the store at most.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// What happened, in order.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Write { file: String, bytes: Vec<u8> },
    Sync { file: String },
    Acknowledged { uid: ConversationUid, record_no: RecordNo },
}

#[derive(Clone, Default)]
pub(crate) struct FileState {
    /// What a read sees.
    pub(crate) cached: Vec<u8>,
    /// What a power cut leaves.
    pub(crate) durable: Vec<u8>,
    /// The last write that no sync covers yet.
    pub(crate) unsynced: Option<(usize, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<FileState>>>,
    events: Vec<Event>,
    full: bool,
    fails: bool,
    lies: bool,
    held: bool,
    /// Syncs that wait because the disk is held.
    waiting: usize,
}

/// Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct FakeDisk {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl FakeDisk {
    /// A disk that holds these files durably.
    pub(crate) fn with(files: BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::default();
        for (name, bytes) in files {
            let file = FileState { cached: bytes.clone(), durable: bytes, unsynced: None };
            disk.lock().files.insert(name, Arc::new(Mutex::new(file)));
        }
        disk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    pub(crate) fn files(&self) -> BTreeMap<String, FileState> {
        self.lock().files.iter().map(|(name, file)| (name.clone(), file.lock().unwrap().clone())).collect()
    }

    /// What a power cut now would leave.
    pub(crate) fn durable(&self) -> BTreeMap<String, Vec<u8>> {
        self.files().into_iter().map(|(name, file)| (name, file.durable)).collect()
    }

    /// What a killed process leaves: everything that was written.
    pub(crate) fn cached(&self) -> BTreeMap<String, Vec<u8>> {
        self.files().into_iter().map(|(name, file)| (name, file.cached)).collect()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    pub(crate) fn acknowledged(&self, uid: ConversationUid, record_no: RecordNo) {
        self.lock().events.push(Event::Acknowledged { uid, record_no });
    }

    /// Whether room for another file can be reserved.
    pub(crate) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Makes every sync fail.
    pub(crate) fn fail(&self) {
        self.lock().fails = true;
    }

    /// Makes every sync succeed without doing anything.
    pub(crate) fn lie(&self) {
        self.lock().lies = true;
    }

    /// Makes syncs wait.
    pub(crate) fn hold(&self) {
        self.lock().held = true;
    }

    /// Waits until a sync waits.
    pub(crate) fn until_held(&self) {
        let (state, changed) = &*self.state;
        let (_state, waited) =
            changed.wait_timeout_while(state.lock().unwrap(), DEADLINE, |state| state.waiting == 0).unwrap();
        assert!(!waited.timed_out(), "a sync comes");
    }

    /// Lets all syncs go on.
    pub(crate) fn let_go(&self) {
        self.lock().held = false;
        self.state.1.notify_all();
    }

    /// A handle; it stays with the file when the name is given to another.
    fn file(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.lock().files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FakeFile { disk: self.clone(), name: name.to_owned(), file }))
    }
}

impl Disk for FakeDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let known = self.lock().files.insert(name.to_owned(), Arc::default());
        assert!(known.is_none(), "{name} is created once");
        self.file(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.file(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

struct FakeFile {
    disk: FakeDisk,
    /// The name it was opened by.
    name: String,
    file: Arc<Mutex<FileState>>,
}

impl FakeFile {
    fn with<T>(&self, run: impl FnOnce(&mut FileState) -> T) -> io::Result<T> {
        Ok(run(&mut self.file.lock().unwrap()))
    }
}

impl DiskFile for FakeFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| file.cached.len() as u64)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.with(|file| {
            let end = offset + bytes.len();
            file.cached.resize(file.cached.len().max(end), 0);
            file.cached[offset..end].copy_from_slice(bytes);
            file.unsynced = Some((offset, bytes.to_vec()));
        })?;
        self.disk.lock().events.push(Event::Write { file: self.name.clone(), bytes: bytes.to_vec() });
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.with(|file| {
            let bytes = file.cached.get(offset..offset + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })?
    }

    fn sync_data(&self) -> io::Result<()> {
        let (state, changed) = &*self.disk.state;
        let mut state = state.lock().unwrap();
        state.waiting += 1;
        changed.notify_all();
        let (mut state, _) = changed.wait_timeout_while(state, DEADLINE, |state| state.held).unwrap();
        state.waiting -= 1;
        if state.fails {
            return Err(io::Error::other("the disk is gone"));
        }
        if state.lies {
            return Ok(());
        }
        state.events.push(Event::Sync { file: self.name.clone() });
        let mut file = self.file.lock().unwrap();
        let file = &mut *file;
        file.durable.clone_from(&file.cached);
        file.unsynced = None;
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|file| file.cached.resize(usize::try_from(len).unwrap(), 0))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.disk.lock().full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.set_len(len)
    }
}
