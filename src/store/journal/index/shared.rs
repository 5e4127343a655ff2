//! The index as the threads of a running store share it.
//!
//! sled keeps its first error for good, so after a disk that was full no checkpoint would ever be done again: it is
//! opened anew once there is room. Until then the old one goes on answering look-ups. When a look-up meets damage, a file
//! beside the index says so, and the next start makes the index anew from the journal.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Checkpoint, Covered, Index, IndexError, guarded};
use crate::journal::real_disk::{reserve, sync_folder};

/// The file beside the index that has the next start make it anew.
const DAMAGED: &str = "INDEX.damaged";
/// The file inside the index with which it is tried whether the disk has room.
const ROOM: &str = "room";
/// Room that opening needs beside what it writes anew.
const ROOM_BYTES: u64 = 4 << 20;
/// How long an attempt waits after one that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the index is waited for that others still look something up in, and how long between two looks.
const RELEASE_DEADLINE: Duration = Duration::from_secs(30);
const RELEASE_PAUSE: Duration = Duration::from_millis(10);

/// Where an index lies that may be opened anew.
#[derive(Clone, Debug)]
pub(crate) struct IndexPlace {
    pub(crate) folder: PathBuf,
    pub(crate) cache_bytes: u64,
}

/// The index, which may have to be opened anew.
pub(crate) struct SharedIndex {
    /// `None` while it cannot be opened.
    index: RwLock<Option<Arc<Index>>>,
    /// `None` where whoever made it keeps it.
    place: Option<IndexPlace>,
    /// What it covered last.
    covered: Mutex<Option<Covered>>,
    /// Whether a checkpoint failed since it was opened.
    failed: AtomicBool,
    /// Whether it lost what it had covered, so that only a new start helps.
    lost: AtomicBool,
    marked: AtomicBool,
}

impl SharedIndex {
    /// An index that lies in `place` and is this value's alone.
    pub(crate) fn at(index: Index, place: IndexPlace) -> Result<Self, IndexError> {
        let covered = index.covered()?;
        Ok(Self { covered: Mutex::new(covered), place: Some(place), ..Self::of(Arc::new(index)) })
    }

    /// An index that whoever made it keeps; it is never opened anew.
    pub(crate) fn of(index: Arc<Index>) -> Self {
        Self {
            index: RwLock::new(Some(index)),
            place: None,
            covered: Mutex::new(None),
            failed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            marked: AtomicBool::new(false),
        }
    }

    /// Looks something up, or changes it. The index must not be kept beyond that.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Index) -> Result<T, IndexError>) -> Result<T, IndexError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner).clone();
        let found = index.ok_or(IndexError::NotOpen).and_then(|index| guarded(|| look(&index)));
        found.inspect_err(|error| self.met(error))
    }

    /// Whether it is lost until the next start, whatever the disk does.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Whether it can be asked.
    pub(crate) fn is_open(&self) -> bool {
        self.index.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Brings it up to date; after an earlier failure it is opened anew first.
    pub(crate) fn apply(&self, checkpoint: Checkpoint) -> Result<(), IndexError> {
        self.mend()?;
        let covered = checkpoint.covered;
        let applied = self.look(|index| checkpoint.apply(index));
        match &applied {
            Ok(()) => *self.covered.lock().unwrap_or_else(PoisonError::into_inner) = Some(covered),
            Err(_) => self.failed.store(true, Ordering::Release),
        }
        applied
    }

    /// Opens the index anew when a checkpoint has failed and the disk has room. Waits a while first, so that one failure
    /// does not follow the other at once.
    pub(crate) fn mend(&self) -> Result<(), IndexError> {
        let Some(place) = self.place.as_ref().filter(|_| self.failed.load(Ordering::Acquire)) else { return Ok(()) };
        if self.is_lost() {
            return Err(IndexError::NotOpen);
        }
        thread::park_timeout(PAUSE);
        place.has_room().map_err(IndexError::NoRoom)?;
        let mut open = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = open.take() {
            // What is not let go in time stays, and the next checkpoint tries again.
            *open = released(index);
            if open.is_some() {
                return Err(IndexError::InUse);
            }
        }
        let opened = self.opened(place).inspect_err(|error| {
            // Only making it anew helps, and that is for a process that serves nobody yet.
            self.lost.store(error.is_damage(), Ordering::Release);
            self.met(error);
        });
        *open = Some(Arc::new(opened?));
        self.failed.store(false, Ordering::Release);
        tracing::info!("the index was opened anew after a failed checkpoint");
        Ok(())
    }

    /// Opens what is on the disk, unless that is less than what was there: it would answer of conversations that exist
    /// that they do not.
    fn opened(&self, place: &IndexPlace) -> Result<Index, IndexError> {
        let index = Index::open(&place.folder, place.cache_bytes)?;
        let before = *self.covered.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = |covered: Covered| (covered.segment, covered.synced);
        if index.covered()?.map(reach) < before.map(reach) {
            return Err(IndexError::Damaged("it lost what it had covered"));
        }
        Ok(index)
    }

    /// Takes note of an error: damage is for the next start to mend.
    fn met(&self, error: &IndexError) {
        let Some(place) = self.place.as_ref().filter(|_| error.is_damage()) else { return };
        if self.marked.swap(true, Ordering::AcqRel) {
            return;
        }
        match mark(&place.folder) {
            Ok(()) => tracing::error!(%error, "the index is damaged; the next start makes it anew from the journal"),
            Err(failed) => {
                self.marked.store(false, Ordering::Release);
                tracing::error!(%error, %failed, "the index is damaged, and the next start cannot be told so");
            }
        }
    }
}

/// The index when others still have it after all the time they may take; `None` when it is closed.
fn released(mut index: Arc<Index>) -> Option<Arc<Index>> {
    let until = Instant::now() + RELEASE_DEADLINE;
    loop {
        match Arc::try_unwrap(index) {
            Ok(closed) => {
                // sled may panic in this too.
                guarded(|| {
                    drop(closed);
                    Ok(())
                })
                .ok();
                return None;
            }
            Err(shared) if Instant::now() >= until => return Some(shared),
            Err(shared) => index = shared,
        }
        thread::park_timeout(RELEASE_PAUSE);
    }
}

impl IndexPlace {
    /// Whether the disk has room for what opening writes: a new snapshot of sled's table of pages.
    fn has_room(&self) -> io::Result<()> {
        let mut bytes = ROOM_BYTES;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                bytes += 2 * entry.metadata()?.len();
            }
        }
        let path = self.folder.join(ROOM);
        let reserved = File::create(&path).and_then(|file| reserve(&file, bytes));
        fs::remove_file(&path).and(reserved)
    }
}

fn marker(index: &Path) -> PathBuf {
    index.with_file_name(DAMAGED)
}

/// Has the next start make the index in this folder anew.
fn mark(index: &Path) -> io::Result<()> {
    let path = marker(index);
    let mut file = File::create(&path)?;
    file.write_all(b"The index is damaged; the next start makes it anew.\n")?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Whether an earlier process found the index in this folder damaged.
pub(crate) fn is_marked(index: &Path) -> bool {
    marker(index).exists()
}

/// Takes that back, as the index was made anew.
pub(crate) fn unmark(index: &Path) -> io::Result<()> {
    match fs::remove_file(marker(index)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| index.parent().map_or(Ok(()), sync_folder)),
    }
}

#[cfg(test)]
mod tests {
    use colloquy_types::Epoch;
    use tempfile::TempDir;

    use super::*;
    use crate::journal::group::Position;

    fn covered(segment: u64) -> Covered {
        let synced = Position { segment, offset: 64 };
        Covered { uuid: [1; 16], segment, synced, epoch: Epoch::new(1) }
    }

    /// sled may come back with less than it had acknowledged, for one behind a disk that lies.
    #[test]
    fn an_index_that_lost_what_it_had_covered_is_never_asked_again() {
        for reaches in [7, 8] {
            let folder = TempDir::new().unwrap();
            let place = IndexPlace { folder: folder.path().join("index"), cache_bytes: 4 << 20 };
            let index = Index::open(&place.folder, place.cache_bytes).unwrap();
            index.cover(covered(reaches)).unwrap();
            let shared = SharedIndex::at(index, place.clone()).unwrap();
            *shared.covered.lock().unwrap() = Some(covered(8));
            shared.failed.store(true, Ordering::Release);
            let mended = shared.mend();
            let lost = reaches < 8;
            assert_eq!((mended.is_err(), shared.is_lost(), is_marked(&place.folder)), (lost, lost, lost), "{mended:?}");
            let asked = shared.look(|index| index.covered());
            assert_eq!(matches!(asked, Err(IndexError::NotOpen)), lost, "{asked:?}");
        }
    }
}
