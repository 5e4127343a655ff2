//! The store as a whole, on the real disk.

use std::{fs, sync::Arc};

use colloquy_types::{RecordNo, TurnSeq};
use tempfile::TempDir;

use super::rig::{UUID, append, key, open, options, turn};
use crate::{
    conformance,
    faults::disk::{Crash, FaultDisk, Part},
    journal::{JournalOptions, JournalStore, OpenError},
    port::{BoxFuture, ConversationStore, Lease},
};

struct Journal {
    folder: TempDir,
}

impl conformance::Harness for Journal {
    fn open(&self) -> BoxFuture<'_, Arc<dyn ConversationStore>> {
        Box::pin(async { Arc::new(open(&self.folder.path().join("store")).unwrap()) as Arc<dyn ConversationStore> })
    }

    fn crash(&self, store: Arc<dyn ConversationStore>) -> BoxFuture<'_, ()> {
        drop(store);
        Box::pin(async {})
    }
}

/// The journal on a disk that forgets: each of its processes ends with the power gone.
struct Forgetful {
    disk: FaultDisk,
    folder: TempDir,
}

impl conformance::Harness for Forgetful {
    fn open(&self) -> BoxFuture<'_, Arc<dyn ConversationStore>> {
        Box::pin(async {
            let at = (UUID, self.folder.path().join("index"));
            let (disk, options) = (Arc::new(self.disk.clone()), options(self.folder.path()));
            let entropy = Arc::new(colloquy_types::SystemEntropy);
            let store = JournalStore::open_on(disk, at, None, &options, Arc::new(colloquy_types::SystemClock), entropy);
            Arc::new(store.unwrap()) as Arc<dyn ConversationStore>
        })
    }

    fn crash(&self, store: Arc<dyn ConversationStore>) -> BoxFuture<'_, ()> {
        drop(store);
        self.disk.crash(Crash::Power);
        Box::pin(async {})
    }

    fn lose_next(&self, applied: bool) -> bool {
        // A write fails that is not done, or a sync of one that is; whether the disk keeps that is its own affair.
        self.disk.fail_commit(if applied { Part::Sync } else { Part::Write });
        true
    }
}

#[tokio::test]
async fn journal_passes_the_conformance_kit_on_a_disk_that_forgets() {
    let fresh = std::sync::atomic::AtomicU64::new(0);
    conformance::run_all(|| Forgetful {
        disk: FaultDisk::new(fresh.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
        folder: TempDir::new().unwrap(),
    })
    .await;
}

#[tokio::test]
async fn journal_passes_the_conformance_kit() {
    conformance::run_all(|| Journal { folder: TempDir::new().unwrap() }).await;
}

#[test]
fn a_folder_is_opened_by_one_at_a_time() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Locked { .. })));
    drop(store);
    assert!(open(folder.path()).is_ok());
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("letters.txt"), "dear reader").unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::NotAStore { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_newer_store_is_refused() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()).unwrap());
    let path = folder.path().join("STORE");
    let mut identity = fs::read(&path).unwrap();
    identity[8] = 2;
    let crc = crate::journal::bytes::header_crc(&identity, 12, 0);
    identity[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &identity).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::NewerVersion { version: 2 })));
    identity[20] ^= 1;
    fs::write(&path, &identity).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Identity)));
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let folder = TempDir::new().unwrap();
    let options = JournalOptions { segment_bytes: 100, ..options(folder.path()) };
    let clock = Arc::new(colloquy_types::SystemClock);
    let refused = JournalStore::open(&options, clock, Arc::new(colloquy_types::SystemEntropy));
    assert!(matches!(refused, Err(OpenError::Setting { setting: "segment_bytes", .. })));
}

/// Appends under load until many segments were rolled; the leases and what was acknowledged.
async fn load(store: &Arc<JournalStore>, turns: u64) -> Vec<(Lease, colloquy_types::Head)> {
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let opened = store.open(&key(&format!("c{number}"))).await.unwrap();
                let mut head = opened.head;
                for _ in 0..turns {
                    head = append(&*store, &opened.lease, turn(&opened.lease, &head, &[b'x'; 200])).await.unwrap();
                }
                (opened.lease, head)
            })
        })
        .collect();
    let mut heads = Vec::new();
    for task in tasks {
        heads.push(task.await.unwrap());
    }
    heads
}

#[tokio::test]
async fn segments_roll_under_load_and_reopening_keeps_every_acknowledged_record() {
    let folder = TempDir::new().unwrap();
    for orderly in [true, false] {
        let store = Arc::new(open(folder.path()).unwrap());
        let acknowledged = load(&store, 50).await;
        let stats = store.stats();
        assert_eq!((stats.queued, stats.queued_bytes), (0, 0), "the writer has taken all of them");
        if orderly {
            store.close().await;
        }
        drop(store);
        let store = open(folder.path()).unwrap();
        assert!(fs::read_dir(folder.path().join("journal")).unwrap().count() > 10, "many segments were rolled");
        for (lease, head) in acknowledged {
            assert_eq!(store.open(&lease.key).await.unwrap().head, head);
            assert_eq!(store.verify(&lease.key).await.unwrap().head, head);
            let turns = store.turns(&lease.key, TurnSeq::new(3), 10_000).await.unwrap();
            assert_eq!(turns.len() as u64, head.turn_seq.get() - 2);
        }
        drop(store);
    }
}

#[tokio::test]
async fn an_index_that_is_missing_damaged_or_foreign_is_rebuilt() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    drop(load(&Arc::new(open(other.path()).unwrap()), 2).await);
    let mut heads = Vec::new();
    type Harm = (&'static str, fn(&std::path::Path, &std::path::Path));
    let harms: [Harm; 4] = [
        ("none", |_, _| {}),
        ("missing", |index, _| fs::remove_dir_all(index).unwrap()),
        ("damaged", |index, _| {
            let mut bytes = fs::read(index.join("db")).unwrap();
            bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::write(index.join("db"), bytes).unwrap();
        }),
        ("foreign", |index, other| {
            fs::remove_dir_all(index).unwrap();
            fs::create_dir(index).unwrap();
            for entry in fs::read_dir(other.join("index")).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    fs::copy(entry.path(), index.join(entry.file_name())).unwrap();
                }
            }
        }),
    ];
    for (name, harm) in harms {
        harm(&folder.path().join("index"), other.path());
        let store = Arc::new(open(folder.path()).unwrap());
        for (lease, head) in &heads {
            let opened: crate::port::Opened = store.open(&Lease::clone(lease).key).await.unwrap();
            assert_eq!(&opened.head, head, "after an index that was {name}");
        }
        assert_eq!(store.list("acme", None, 100).await.unwrap().len(), heads.len(), "after an index that was {name}");
        heads = load(&store, 20).await;
        assert!(heads.iter().all(|(_, head)| head.record_no > RecordNo::new(20)));
        store.close().await;
    }
}

/// How nice the threads of this process are whose names begin so.
#[cfg(target_os = "linux")]
fn niceness(name: &str) -> Vec<i32> {
    let of = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        // The name stands in brackets and may hold anything; the 17th field behind it is the niceness.
        let (before, after) = stat.rsplit_once(") ")?;
        before.split_once('(')?.1.starts_with(name).then(|| after.split(' ').nth(16)?.parse().ok())?
    };
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| of(task.unwrap())).collect()
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn what_nobody_waits_for_gives_way() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("store")).unwrap();
    let opened = store.open(&key("c")).await.unwrap();
    append(&store, &opened.lease, turn(&opened.lease, &opened.head, b"a")).await.unwrap();
    // By then each of them has done something, and what it does first is to give way.
    store.checkpoint().await.unwrap();
    store.compact().await.unwrap();
    let own = *niceness("journal-writer").first().unwrap();
    for background in ["journal-index", "journal-compact"] {
        let nice = niceness(background);
        // Stores of other tests may be about to.
        assert!(nice.iter().any(|nice| *nice > own), "{background}: {nice:?}, the writer {own}");
    }
    for waited_for in ["journal-reader", "journal-keeper"] {
        assert!(niceness(waited_for).iter().all(|nice| *nice == own), "turns wait for the {waited_for}");
    }
}
