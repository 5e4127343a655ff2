//! Surveys, backups and their return, on the real disk.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use colloquy_types::{FlowName, Head, Revision, Timestamp, TurnSeq};
use tempfile::TempDir;

use super::rig::{append, key, open, turn};
use crate::{
    export::{ExportHeader, ExportLimits, ExportReader, ExportWriter},
    journal::{
        backup::{BackupError, BackupOptions, MANIFEST, Manifest, backup, known_backups, restore},
        import::{ImportError, check, import},
        index::Index,
        migrate::migrate,
        survey::{FaultKind, Survey, survey, survey_all},
    },
    port::{ConversationStore as _, Lease},
    record::{Batch, RecordKind},
};

const TURNS: u64 = 40;

fn name(number: u64) -> String {
    format!("c{number}")
}

/// Gives each conversation some turns and a snapshot, and closes.
async fn filled(folder: &Path) -> Vec<(Lease, Head)> {
    let store = open(folder).unwrap();
    let mut ended = Vec::new();
    for number in 0..4 {
        let opened = store.open(&key(&name(number))).await.unwrap();
        let mut head = opened.head;
        for _ in 0..TURNS {
            head = append(&store, &opened.lease, turn(&opened.lease, &head, &[b'x'; 200])).await.unwrap();
        }
        let mut batch = Batch::new(&opened.lease, &head);
        batch.push(RecordKind::Snapshot, Timestamp::from_micros(9), [7; 16], b"state").unwrap();
        append(&store, &opened.lease, batch).await.unwrap();
        ended.push((opened.lease, head));
    }
    store.close().await;
    ended
}

fn surveyed(folder: &Path) -> Survey {
    survey(folder, &mut |_| {}).unwrap()
}

fn options(folder: &Path, to: &Path, copies: bool) -> BackupOptions {
    let (folder, to) = (folder.to_path_buf(), to.to_path_buf());
    BackupOptions { folder, to, copies, now: Timestamp::from_micros(77), tool_version: "test".to_owned() }
}

fn backed_up(folder: &Path, to: &Path) -> Result<Manifest, BackupError> {
    backup(&options(folder, to, false), &mut |_| {}).map(|made| made.manifest)
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn a_survey_counts_what_is_there_and_finds_nothing_wrong() {
    let folder = TempDir::new().unwrap();
    filled(folder.path()).await;
    let mut told = Vec::new();
    let found = survey(folder.path(), &mut |progress| told.push((progress.segments, progress.of))).unwrap();
    assert_eq!((found.conversations, found.turns, found.records, found.snapshots), (4, 160, 164, 4));
    assert_eq!((found.epoch, found.stubs, found.erased, found.torn_bytes), (1, 0, 0, 0));
    assert_eq!((found.faults.count(), found.sealed), (0, found.segments));
    // Salts of 16 bytes, payloads, and the keys in first records.
    assert_eq!(found.body_bytes, 160 * 216 + 4 * (16 + 6 + "acme/c0".len() as u64 + 7) + 4 * (16 + 5));
    assert!(found.journal_bytes > found.body_bytes && found.index_bytes > 0);
    assert_eq!(told.last(), Some(&(told.len() as u64, told.len() as u64)));
    // It changes nothing, and needs no right to write.
    let before: Vec<_> = segments(folder.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    surveyed(folder.path());
    let after: Vec<_> = segments(folder.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_survey_names_the_conversation_that_is_damaged() {
    let folder = TempDir::new().unwrap();
    filled(folder.path()).await;
    let second = &segments(folder.path())[1];
    let mut bytes = fs::read(second).unwrap();
    let payload = bytes.windows(200).rposition(|window| window == [b'x'; 200]).unwrap();
    bytes[payload] ^= 4;
    fs::write(second, &bytes).unwrap();
    let found = surveyed(folder.path());
    assert_eq!(found.faults.count(), 1, "{:?}", found.faults.first());
    let fault = &found.faults.first()[0];
    assert!(matches!(fault.kind, FaultKind::Record(_)), "{fault}");
    assert_eq!(fault.key.as_ref().map(|key| key.tenant()), Some("acme"), "{fault}");
    assert!(fault.segment.is_some() && fault.offset.is_some());
}

#[tokio::test]
async fn a_survey_tells_damaged_footers_and_torn_tails_apart_from_damaged_records() {
    let folder = TempDir::new().unwrap();
    filled(folder.path()).await;
    let first = &segments(folder.path())[0];
    let mut bytes = fs::read(first).unwrap();
    let footer = bytes.len() - 64 - 10;
    bytes[footer] ^= 1;
    fs::write(first, &bytes).unwrap();
    let kinds: Vec<_> = surveyed(folder.path()).faults.first().iter().map(|fault| fault.kind.clone()).collect();
    assert_eq!(kinds, [FaultKind::Footer]);

    // A write that a crash has torn: nobody was told of it, so nothing is wrong.
    let running = TempDir::new().unwrap();
    let store = open(running.path()).unwrap();
    let opened = store.open(&key("c")).await.unwrap();
    let head = append(&store, &opened.lease, turn(&opened.lease, &opened.head, b"kept")).await.unwrap();
    append(&store, &opened.lease, turn(&opened.lease, &head, &[b'y'; 300])).await.unwrap();
    let active = segments(running.path()).into_iter().next().unwrap();
    let mut bytes = fs::read(&active).unwrap();
    let torn = bytes.windows(50).rposition(|window| window == [b'y'; 50]).unwrap();
    bytes[torn..].fill(0);
    drop(store);
    fs::write(&active, &bytes).unwrap();
    let found = surveyed(running.path());
    assert_eq!((found.faults.count(), found.turns), (0, 1), "{:?}", found.faults.first());
    assert!(found.torn_bytes > 300, "{}", found.torn_bytes);
}

#[tokio::test]
async fn a_survey_tells_whether_what_was_erased_is_gone() {
    let folder = TempDir::new().unwrap();
    let (lease, head) = filled(folder.path()).await.swap_remove(2);
    let store = open(folder.path()).unwrap();
    let opened = store.open(&lease.key).await.unwrap();
    let mut batch = Batch::new(&opened.lease, &head);
    batch.push(RecordKind::Erased, Timestamp::from_micros(10), [8; 16], b"").unwrap();
    append(&store, &opened.lease, batch).await.unwrap();
    let (found, erasures) = survey_all(folder.path(), &[lease.uid], &mut |_| {}).unwrap();
    let erasure = erasures[0];
    assert_eq!((found.erased, found.conversations, found.faults.count()), (1, 3, 0));
    assert_eq!((erasure.bodies, erasure.snapshots, erasure.chain_holds), (TURNS + 1, 1, true));
    store.compact().await.unwrap();
    let (found, erasures) = survey_all(folder.path(), &[lease.uid], &mut |_| {}).unwrap();
    assert_eq!((found.stubs, found.faults.count()), (TURNS + 1, 0), "{:?}", found.faults.first());
    let erasure = erasures[0];
    assert!(erasure.is_complete() && erasure.chain_holds);
    assert_eq!(erasure.head.record_no.get(), TURNS + 2);
    store.close().await;
}

#[test]
fn a_folder_that_is_no_store_is_not_surveyed() {
    let folder = TempDir::new().unwrap();
    let refused = |path: &Path| survey(path, &mut |_| {}).map(drop).unwrap_err().to_string();
    assert!(refused(folder.path()).contains("no store"));
    assert!(refused(&folder.path().join("absent")).contains("no store"));
}

/// CR-11: a backup of a store that goes on working is the journal as it was at one moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_store_holds_all_that_was_acknowledged_before_it() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open(folder.path()).unwrap());
    for round in 0..4 {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let writers: Vec<_> = (0..8)
            .map(|number| {
                let (store, stopped) = (Arc::clone(&store), stopped.clone());
                let (acknowledged, told) = tokio::sync::watch::channel(Head::default());
                let task = tokio::spawn(async move {
                    let opened = store.open(&key(&name(number))).await.unwrap();
                    let mut head = opened.head;
                    while !*stopped.borrow() {
                        head = append(&*store, &opened.lease, turn(&opened.lease, &head, &[b'x'; 500])).await.unwrap();
                        acknowledged.send_replace(head);
                    }
                    head
                });
                (number, task, told)
            })
            .collect();
        let mut before = Vec::new();
        for (number, _, told) in &writers {
            let head = *told.clone().wait_for(|head| head.turn_seq.get() > 30).await.unwrap();
            before.push((*number, head));
        }
        let (backups, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (from, to) = (folder.path().to_path_buf(), backups.path().to_path_buf());
        let copies = round % 2 == 0;
        let made = tokio::task::spawn_blocking(move || backup(&options(&from, &to, copies), &mut |_| {}));
        let manifest = made.await.unwrap().unwrap().manifest;
        assert_eq!(manifest.linked == 0, copies);
        stop.send_replace(true);
        let mut after = Vec::new();
        for (_, task, _) in writers {
            after.push(task.await.unwrap());
        }
        restore(backups.path(), target.path(), &mut |_| {}).unwrap();
        assert_eq!(surveyed(target.path()).faults.count(), 0);
        let again = open(target.path()).unwrap();
        for ((number, before), after) in before.into_iter().zip(after) {
            let key = key(&name(number));
            let head = again.verify(&key).await.unwrap().head;
            assert!((before.turn_seq..=after.turn_seq).contains(&head.turn_seq), "{before:?} {head:?} {after:?}");
            let turns = again.turns(&key, before.turn_seq, 1).await.unwrap();
            assert_eq!(turns[0].header.hash, before.hash, "the same history");
        }
        again.close().await;
    }
    let known = known_backups(folder.path()).unwrap();
    assert_eq!((known.len(), known[0].taken_at), (4, Timestamp::from_micros(77)));
    store.close().await;
}

/// An erasure while a backup is made must name it, and so must one after a backup that never ended.
#[tokio::test]
async fn a_backup_is_listed_before_it_copies_and_a_torn_line_harms_no_other() {
    let (folder, backups) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    filled(folder.path()).await;
    let to = backups.path().canonicalize().unwrap();
    let paths = || -> Vec<String> { known_backups(folder.path()).unwrap().into_iter().map(|known| known.to).collect() };
    let mut listed = None;
    let mut look = |_| {
        listed.get_or_insert_with(paths);
    };
    backup(&options(folder.path(), &to.join("a"), true), &mut look).unwrap();
    assert_eq!(listed, Some(vec![to.join("a").display().to_string()]), "when the first file was copied");
    // A process that died while it wrote the line had copied nothing.
    let list = folder.path().join("BACKUPS.jsonl");
    let torn = [fs::read(&list).unwrap(), b"{\"taken_at".to_vec()].concat();
    fs::write(&list, torn).unwrap();
    assert_eq!(paths().len(), 1);
    backed_up(folder.path(), &to.join("b")).unwrap();
    assert_eq!(paths(), ["a", "b"].map(|name| to.join(name).display().to_string()));
    assert_eq!(known_backups(&to.join("b")).unwrap(), known_backups(folder.path()).unwrap(), "the list goes along");
    fs::write(&list, "nothing of this kind\n").unwrap();
    assert!(known_backups(folder.path()).is_err(), "what cannot be read may name any backup");
}

#[tokio::test]
async fn a_restored_store_goes_on_and_fences_what_came_before() {
    let (folder, backups, target) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let ended = filled(folder.path()).await;
    backed_up(folder.path(), backups.path()).unwrap();
    restore(backups.path(), target.path(), &mut |_| {}).unwrap();
    let store = open(target.path()).unwrap();
    for (lease, head) in &ended {
        let opened = store.open(&lease.key).await.unwrap();
        assert_eq!((opened.lease.uid, opened.head), (lease.uid, *head));
        assert!(append(&store, lease, turn(lease, head, b"late")).await.is_err(), "the old lease is worth nothing");
        append(&store, &opened.lease, turn(&opened.lease, head, b"new")).await.unwrap();
        assert_eq!(store.turns(&lease.key, TurnSeq::new(TURNS), 9).await.unwrap().len(), 2);
    }
    store.close().await;
}

#[tokio::test]
async fn what_is_no_backup_or_was_changed_is_not_brought_back() {
    let (folder, backups) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    filled(folder.path()).await;
    let at = |name: &str| backups.path().join(name);
    fs::create_dir(at("used")).unwrap();
    fs::write(at("used").join("letter"), "dear").unwrap();
    assert!(matches!(backed_up(folder.path(), &at("used")), Err(BackupError::NotEmpty(_))));
    assert!(matches!(backed_up(&at("used"), &at("x")), Err(BackupError::Store(_))));

    backup(&options(folder.path(), &at("good"), true), &mut |_| {}).unwrap();
    let brought = |name: &str| restore(&at("good"), &at(name), &mut |_| {});
    assert!(matches!(brought("used"), Err(BackupError::NotEmpty(_))));
    assert!(matches!(restore(&at("used"), &at("y"), &mut |_| {}), Err(BackupError::NoManifest(_))));

    // What was interrupted is begun anew, unless it is under way or was finished.
    for marker in ["BACKUP.json.new", "STORE.restored"] {
        fs::create_dir_all(at(marker).join("journal")).unwrap();
        fs::write(at(marker).join("journal").join("half"), "of a segment").unwrap();
        fs::write(at(marker).join(marker), "half").unwrap();
        let lock = fs::File::open(at(marker).join(marker)).unwrap();
        lock.lock().unwrap();
        let attempt = || match marker {
            "STORE.restored" => brought(marker).map(drop),
            _ => backed_up(folder.path(), &at(marker)).map(drop),
        };
        let refused = attempt().unwrap_err();
        assert!(matches!(refused, BackupError::Store(crate::journal::OpenError::Locked { .. })), "{refused}");
        drop(lock);
        attempt().unwrap();
        assert!(!at(marker).join("journal").join("half").exists());
        assert!(matches!(attempt(), Err(BackupError::NotEmpty(_))), "it is whole now");
        assert_eq!(surveyed(&at(marker)).turns, 160);
    }

    let segment = segments(&at("good")).swap_remove(1);
    let bytes = fs::read(&segment).unwrap();
    let mut changed = bytes.clone();
    changed[700] ^= 1;
    fs::write(&segment, &changed).unwrap();
    let problem = brought("a").unwrap_err().to_string();
    assert!(problem.contains("is not as it was written\n  fix: use another backup"), "{problem}");
    assert!(survey(&at("a"), &mut |_| {}).is_err(), "half a store is none");
    fs::remove_file(&segment).unwrap();
    assert!(brought("b").unwrap_err().to_string().contains("is missing"));
    fs::write(&segment, &bytes).unwrap();
    brought("c").unwrap();

    let manifest = fs::read_to_string(at("good").join(MANIFEST)).unwrap();
    for (from, to, problem) in [
        ("colloquy.backup/v1", "colloquy.backup/v9", "its format is"),
        ("\"journal/0", "\"journal/../0", "lies outside of it"),
        ("\"files\"", "\"fileß\"", "unknown field"),
    ] {
        fs::write(at("good").join(MANIFEST), manifest.replacen(from, to, 1)).unwrap();
        let refused = restore(&at("good"), &at(&format!("d{}", problem.len())), &mut |_| {}).unwrap_err().to_string();
        assert!(refused.contains(problem), "{refused}");
    }
}

/// What `colloquy export` would write of a conversation.
async fn exported(store: &crate::JournalStore, lease: &Lease) -> Vec<u8> {
    let header = ExportHeader {
        key: lease.key.clone(),
        uid: lease.uid,
        flow: FlowName::parse("desk").unwrap(),
        flow_tenant: "_".to_owned(),
        revision: Revision([6; 32]),
        exported_at: Timestamp::from_micros(1),
        tool_version: "test".to_owned(),
    };
    let mut writer = ExportWriter::begin(Vec::new(), &header, ExportLimits::default()).unwrap();
    let page = store.history(&lease.key, Head::default(), 10_000).await.unwrap();
    assert_eq!(page.reached, page.head, "one page holds it");
    for record in page.records {
        writer.record(&record.stored, &()).unwrap();
    }
    writer.end().unwrap()
}

fn read(export: &[u8]) -> ExportReader<&[u8]> {
    ExportReader::open(export, ExportLimits::default()).unwrap()
}

#[tokio::test]
async fn an_import_adds_what_follows_and_brings_nothing_back_that_was_erased() {
    let (folder, backups, target) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let (lease, before) = filled(folder.path()).await.swap_remove(1);
    backed_up(folder.path(), backups.path()).unwrap();
    restore(backups.path(), target.path(), &mut |_| {}).unwrap();
    let store = open(folder.path()).unwrap();
    let opened = store.open(&lease.key).await.unwrap();
    let mut head = before;
    for _ in 0..5 {
        head = append(&store, &opened.lease, turn(&opened.lease, &head, b"later")).await.unwrap();
    }
    let export = exported(&store, &lease).await;
    store.close().await;
    let checked = check(read(&export)).unwrap();
    assert_eq!((checked.records, checked.epoch), (TURNS + 1 + 1 + 5, head.epoch));

    let epoch_min = checked.epoch.next().next();
    let opened_with = |folder: &Path| {
        let options = crate::JournalOptions { epoch_min, ..super::rig::options(folder) };
        let (clock, entropy) = (Arc::new(colloquy_types::SystemClock), Arc::new(colloquy_types::SystemEntropy));
        crate::JournalStore::open(&options, clock, entropy).unwrap()
    };
    let store = opened_with(target.path());
    assert_eq!(store.stats().epoch, epoch_min);
    let imported = import(&store, read(&export)).await.unwrap();
    assert_eq!((imported.records, imported.was_there), (5, false));
    assert_eq!(store.verify(&lease.key).await.unwrap().head, head);
    let again = import(&store, read(&export)).await.unwrap();
    assert_eq!((again.records, again.was_there), (0, true));

    let opened = store.open(&lease.key).await.unwrap();
    let mut batch = Batch::new(&opened.lease, &head);
    batch.push(RecordKind::Erased, Timestamp::from_micros(10), [8; 16], b"").unwrap();
    append(&store, &opened.lease, batch).await.unwrap();
    for closes in [false, true] {
        assert!(matches!(import(&store, read(&export)).await, Err(ImportError::Erased(_))), "{closes}");
        store.checkpoint().await.unwrap();
    }
    store.close().await;

    // Into an empty store it comes whole, and goes on there.
    let fresh = TempDir::new().unwrap();
    let store = opened_with(fresh.path());
    assert_eq!(import(&store, read(&export)).await.unwrap().records, TURNS + 7);
    let opened = store.open(&lease.key).await.unwrap();
    assert_eq!((opened.lease.uid, opened.head, opened.tail.len()), (lease.uid, head, 5), "its snapshot is used");
    append(&store, &opened.lease, turn(&opened.lease, &head, b"on")).await.unwrap();
    store.verify(&lease.key).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_migration_renews_what_earlier_builds_wrote_and_can_be_interrupted() {
    let folder = TempDir::new().unwrap();
    let ended = filled(folder.path()).await;
    let index = || Index::open(&folder.path().join("index"), 4 << 20).unwrap();
    {
        // As an earlier build would have left it, but for one row that an interrupted migration renewed.
        let index = index();
        for (lease, _) in &ended[1..] {
            index.put_as_version_1(&lease.key);
        }
    }
    let migrated = |folder: &Path| migrate(folder, 4 << 20, &colloquy_types::SystemEntropy, &mut |_| {});
    let done = migrated(folder.path()).unwrap();
    assert_eq!((done.rows, done.rewritten, done.trees), (4, 3, 1));
    let again = migrated(folder.path()).unwrap();
    assert_eq!((again.rows, again.rewritten, again.trees), (4, 0, 0));
    let store = open(folder.path()).unwrap();
    assert!(matches!(migrated(folder.path()), Err(crate::journal::OpenError::Locked { .. })));
    for (lease, head) in &ended {
        assert_eq!(store.open(&lease.key).await.unwrap().head, *head);
    }
    store.close().await;
    let empty = TempDir::new().unwrap();
    assert!(matches!(migrated(empty.path()), Err(crate::journal::OpenError::NotAStore { .. })));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "it is left as it was");
}
