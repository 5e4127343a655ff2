//! Reading ahead while a store opens.
//!
//! Segments are written past the page cache, and a restarted machine has none: what opening needs comes from the disk.
//! sled finds its pages by going through its log, in small reads one after the other, and the sealed tail of the journal
//! is read only when the index has said where it begins. A thread that asks the kernel for both meanwhile turns the sum
//! of these waits into the longest of them, which is sled's: so the index comes first. It changes no answer: whatever
//! fails here is read when it is needed.

use std::{
    fs::{self, File},
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use rustix::fs::{Advice, fadvise};

use super::segment::file_id;

/// Asked for at once; between two pieces it looks whether the store is open by now.
const PIECE_BYTES: u64 = 4 << 20;
/// How much of the index is asked for at most: beyond it the cache would be emptied for little.
const INDEX_BYTES_MAX: u64 = 2 << 30;
/// The last segments are those that may not be in the index: the active one, a spare, and what a checkpoint is behind.
const SEGMENTS: usize = 6;

/// A thread that reads ahead until this is dropped.
pub(crate) struct ReadAhead {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// Begins to read the index in `index` and the last segments in `journal`.
    pub(crate) fn begin(index: &Path, journal: &Path) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (ended, files) = (Arc::clone(&done), files(index, journal));
        let run = move || files.iter().for_each(|file| ask(file, &ended));
        Self { done, thread: thread::Builder::new().name("journal-read-ahead".to_owned()).spawn(run).ok() }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It reads no memory of ours; how it ended changes nothing.
            drop(thread.join());
        }
    }
}

/// What is likely to be read, in the order in which it is.
fn files(index: &Path, journal: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(journal).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut segments: Vec<_> = names.filter_map(|name| Some((file_id(name.to_str()?)?, name))).collect();
    segments.sort_unstable_by(|a, b| b.cmp(a));
    let segments = segments.into_iter().take(SEGMENTS).rev().map(|(_, name)| journal.join(name));
    is_behind(index).then(|| index.join("db")).into_iter().chain(segments).collect()
}

/// Whether sled has written anything since it last noted where its pages are, which it does when it is opened.
fn is_behind(index: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let noted = fs::read_dir(index).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.starts_with("snap.").then(|| modified(&entry.path()))?
    });
    modified(&index.join("db")) > noted.max()
}

fn ask(path: &Path, done: &AtomicBool) {
    let Ok(file) = File::open(path) else { return };
    let len = file.metadata().map_or(0, |metadata| metadata.len()).min(INDEX_BYTES_MAX);
    let mut offset = 0;
    while offset < len && !done.load(Ordering::Relaxed) {
        if fadvise(&file, offset, NonZeroU64::new(PIECE_BYTES), Advice::WillNeed).is_err() {
            return;
        }
        offset += PIECE_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segments_and_an_index_that_was_written_to_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (index, journal) = (folder.path().join("index"), folder.path().join("journal"));
        fs::create_dir(&index).unwrap();
        fs::create_dir(&journal).unwrap();
        for id in 1..=9 {
            fs::write(journal.join(super::super::segment::file_name(id)), b"").unwrap();
        }
        fs::write(journal.join("notes.txt"), b"").unwrap();
        let at = |name: &str, seconds: u64| {
            let file = File::create(index.join(name)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        at("db", 20);
        at("snap.0000000000000001", 10);
        let segment = |id| journal.join(super::super::segment::file_name(id));
        let mut expected = vec![index.join("db")];
        expected.extend((4..=9).map(segment));
        assert_eq!(files(&index, &journal), expected);
        at("snap.0000000000000002", 20);
        expected.remove(0);
        assert_eq!(files(&index, &journal), expected, "nothing was written since sled noted its pages");
    }

    #[test]
    fn what_is_not_there_is_no_fault() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert_eq!(files(&missing, &missing), Vec::<PathBuf>::new());
        drop(ReadAhead::begin(&missing, &missing));
    }
}
