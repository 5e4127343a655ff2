//! What a newer build wrote is refused and left as it is; of the index, which can be made anew, that is done.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use colloquy_types::{Head, Timestamp};
use tempfile::TempDir;

use super::rig::{append, key, open, turn};
use crate::{
    journal::{
        OpenError,
        backup::{BackupError, BackupOptions, backup},
        bytes::header_crc,
        group::{GroupHeader, Position},
        index::Index,
        scan::scan,
        segment::TRAILER_BYTES,
        survey::survey,
    },
    port::{ConversationStore as _, ReadError},
    record::{BadRecord, HEADER_BYTES, RecordKind},
};

const NEWER: u32 = 2;

/// A store with a few turns, each in a group of its own; it was killed, or ended in order.
async fn left(folder: &Path, in_order: bool) -> ([u8; 16], Head) {
    let store = open(folder).unwrap();
    let opened = store.open(&key("c")).await.unwrap();
    let mut head = opened.head;
    for _ in 0..4 {
        head = append(&store, &opened.lease, turn(&opened.lease, &head, b"said")).await.unwrap();
    }
    if in_order {
        store.close().await;
    }
    (store.uuid(), head)
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Has the last group, which nothing on the disk knows to have been synced, be one of a newer build.
fn group(bytes: &mut [u8], uuid: [u8; 16]) {
    let stretches = scan(bytes, 1, uuid).stretches;
    let last = stretches.iter().rfind(|stretch| stretch.group.is_some()).unwrap();
    let at = Position { segment: 1, offset: last.start as u64 };
    let newer = last.group.unwrap().encode_as(NEWER as u16, at, uuid);
    assert_eq!(GroupHeader::decode(&newer, at, uuid), None);
    bytes[last.start..last.start + newer.len()].copy_from_slice(&newer);
}

/// The same of the last record.
fn record(bytes: &mut [u8], uuid: [u8; 16]) {
    last_record(bytes, uuid, 4, NEWER as u8);
}

/// The last record is of a kind that this build does not know.
fn kind(bytes: &mut [u8], uuid: [u8; 16]) {
    last_record(bytes, uuid, 5, 200);
}

/// The last record has a flag that this build does not know.
fn flag(bytes: &mut [u8], uuid: [u8; 16]) {
    last_record(bytes, uuid, 7, 0x80);
}

fn last_record(bytes: &mut [u8], uuid: [u8; 16], at: usize, byte: u8) {
    let stretches = scan(bytes, 1, uuid).stretches;
    let mut items = stretches.iter().flat_map(|stretch| &stretch.items);
    let last = items.rfind(|item| item.found.is_ok()).unwrap();
    let header = &mut bytes[last.offset..last.offset + HEADER_BYTES];
    header[at] = byte;
    let crc = header_crc(header, 8, 0);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// The same of the trailer.
fn trailer(bytes: &mut [u8], _uuid: [u8; 16]) {
    let at = bytes.len() - TRAILER_BYTES;
    let trailer = &mut bytes[at..];
    trailer[8] = NEWER as u8;
    let crc = header_crc(trailer, 12, 0);
    trailer[12..16].copy_from_slice(&crc.to_le_bytes());
}

fn is_newer(error: &OpenError) -> bool {
    match error {
        OpenError::NewerVersion { version } => *version == NEWER,
        OpenError::NewerRecord { record } => {
            matches!(record, BadRecord::UnknownKind(200) | BadRecord::UnknownFlags(0x8000))
        }
        _ => false,
    }
}

#[tokio::test]
async fn what_is_intact_and_of_a_newer_version_is_refused_and_not_cut() {
    type Harm = fn(&mut [u8], [u8; 16]);
    let cases: [(&str, Harm, bool); 8] = [
        ("a group", group, false),
        ("a record", record, false),
        ("a kind of record", kind, false),
        ("a flag of a record", flag, false),
        ("a kind of record in a sealed segment", kind, true),
        ("a group in a sealed segment", group, true),
        ("a record in a sealed segment", record, true),
        ("a trailer", trailer, true),
    ];
    for (name, harm, is_sealed) in cases {
        let (folder, backups) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (uuid, head) = left(folder.path(), is_sealed).await;
        let segment = folder.path().join("journal").join("0000000000000001.segment");
        let written = fs::read(&segment).unwrap();
        let mut newer = written.clone();
        harm(&mut newer, uuid);
        fs::write(&segment, &newer).unwrap();
        if is_sealed {
            // Otherwise the index says that nothing must be read.
            fs::remove_dir_all(folder.path().join("index")).unwrap();
        }
        let before = files(folder.path());
        assert!(open(folder.path()).is_err_and(|error| is_newer(&error)), "{name}");
        assert_eq!(files(folder.path()), before, "{name}: nothing was touched");
        let surveyed = survey(folder.path(), &mut |_| {});
        assert!(surveyed.is_err_and(|error| is_newer(&error)), "{name}");
        if !is_sealed {
            // Of a sealed segment the bytes are copied, whatever they are.
            let options = BackupOptions {
                folder: folder.path().to_path_buf(),
                to: backups.path().to_path_buf(),
                copies: false,
                now: Timestamp::from_micros(1),
                tool_version: "test".to_owned(),
            };
            let backed_up = backup(&options, &mut |_| {});
            let is_newer = |error| matches!(error, BackupError::Store(error) if is_newer(&error));
            assert!(backed_up.is_err_and(is_newer), "{name}");
        }

        fs::write(&segment, &written).unwrap();
        let store = open(folder.path()).unwrap();
        assert_eq!(store.open(&key("c")).await.unwrap().head, head, "{name}: a refusal harms nothing");
        store.close().await;
    }
}

/// After an orderly end nothing is read at the start. Whoever reads the conversation is told, others are served, and
/// compaction leaves the segment to the build that knows what stands in it.
#[tokio::test]
async fn what_a_newer_build_left_in_order_is_told_and_not_compacted() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    let gone = store.open(&key("gone")).await.unwrap();
    let mut erased = turn(&gone.lease, &gone.head, b"words");
    erased.push(RecordKind::Erased, Timestamp::from_micros(1), [1; 16], b"receipt").unwrap();
    append(&store, &gone.lease, erased).await.unwrap();
    let opened = store.open(&key("c")).await.unwrap();
    append(&store, &opened.lease, turn(&opened.lease, &opened.head, b"said")).await.unwrap();
    let (uuid, segment) = (store.uuid(), folder.path().join("journal").join("0000000000000001.segment"));
    store.close().await;
    let mut newer = fs::read(&segment).unwrap();
    kind(&mut newer, uuid);
    fs::write(&segment, &newer).unwrap();

    let store = open(folder.path()).unwrap();
    match store.open(&key("c")).await {
        Err(ReadError::Corrupt { reason }) => {
            assert!(reason.starts_with("record kind 200 is of a newer build"), "{reason}");
        }
        other => panic!("read: {other:?}"),
    }
    let opened = store.open(&key("d")).await.unwrap();
    append(&store, &opened.lease, turn(&opened.lease, &opened.head, b"said")).await.unwrap();
    for _ in 0..2 {
        let compacted = store.compact().await.unwrap();
        assert_eq!(compacted.segments_rewritten, 0);
    }
    store.close().await;
    assert_eq!(fs::read(&segment).unwrap(), newer);
}

/// After an orderly end nothing is read again, so only what the index says of itself can tell.
#[tokio::test]
async fn an_index_with_rows_of_a_newer_build_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let (_, head) = left(folder.path(), true).await;
    let index = || Index::open(&folder.path().join("index"), 4 << 20).unwrap();
    index().put_as_newer(&key("c"));
    let store = open(folder.path()).unwrap();
    assert_eq!(store.open(&key("c")).await.unwrap().head, head);
    store.close().await;
    assert!(index().covered().unwrap().is_some(), "it is one of this build now");
}

/// A row that cannot be read is met only when somebody asks for it.
#[tokio::test]
async fn an_index_that_was_found_damaged_while_serving_is_made_anew_by_the_next_start() {
    for asks in ["a look-up", "a list"] {
        let folder = TempDir::new().unwrap();
        let (_, head) = left(folder.path(), true).await;
        let marker = folder.path().join("INDEX.damaged");
        Index::open(&folder.path().join("index"), 4 << 20).unwrap().damage_row(&key("c"));
        let store = open(folder.path()).unwrap();
        assert!(!marker.exists(), "nobody has asked yet");
        let answer = match asks {
            "a list" => store.list("acme", None, 10).await.map(drop),
            _ => store.open(&key("c")).await.map(drop),
        };
        assert!(matches!(answer, Err(ReadError::Io { .. })), "{asks}: {answer:?}");
        assert!(marker.exists(), "{asks}");
        store.close().await;

        let store = open(folder.path()).unwrap();
        assert!(!marker.exists(), "{asks}: it was made anew");
        assert_eq!(store.open(&key("c")).await.unwrap().head, head, "{asks}");
        assert_eq!(store.list("acme", None, 10).await.unwrap().len(), 1, "{asks}");
        store.close().await;
    }
}
