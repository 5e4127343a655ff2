//! What the disk sees: syncs before acknowledgements, failures, a full disk, a slow one.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use colloquy_types::{ConversationUid, Head, RecordNo, TurnSeq};
use tempfile::TempDir;

use super::{
    fake_disk::{Event, FakeDisk},
    rig::{Rig, append, key, open_on, open_with, options, send, turn},
};
use crate::{
    journal::{
        JournalOptions,
        command::{Command, Intent},
        group::GROUP_BYTES,
        segment::SEGMENT_HEADER_BYTES,
    },
    port::{AppendError, ConversationStore as _, NotApplied, ReadError},
    record::{Batch, RecordKind, decode_header},
};

type Named = (ConversationUid, RecordNo);

/// The records in a write, if it is a group.
fn records_in(write: &[u8]) -> Vec<Named> {
    let (mut found, mut at) = (Vec::new(), GROUP_BYTES);
    while let Ok(header) = decode_header(write.get(at..).unwrap_or_default()) {
        at += header.record_len();
        found.push((header.uid, header.record_no));
    }
    found
}

/// The acknowledgements that came before a sync of the file their record was written to.
fn acknowledged_too_early(events: &[Event]) -> Vec<Named> {
    let mut written: HashMap<&str, Vec<Named>> = HashMap::new();
    let (mut synced, mut early) = (HashSet::new(), Vec::new());
    for event in events {
        match event {
            Event::Write { file, bytes } => written.entry(file).or_default().extend(records_in(bytes)),
            Event::Sync { file } => synced.extend(written.remove(file.as_str()).unwrap_or_default()),
            Event::Acknowledged { uid, record_no } => {
                if !synced.contains(&(*uid, *record_no)) {
                    early.push((*uid, *record_no));
                }
            }
        }
    }
    early
}

fn acknowledgements(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Acknowledged { .. })).count()
}

/// Appends to many conversations at once and tells the disk of each acknowledgement.
async fn load(disk: &FakeDisk, index: &TempDir) {
    let store = Arc::new(open_on(disk, index));
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let (store, disk) = (Arc::clone(&store), disk.clone());
            tokio::spawn(async move {
                let opened = store.open(&key(&format!("c{number}"))).await.unwrap();
                let mut head = opened.head;
                for _ in 0..40 {
                    head = append(&*store, &opened.lease, turn(&opened.lease, &head, &[b'x'; 300])).await.unwrap();
                    disk.acknowledged(opened.lease.uid, head.record_no);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn every_acknowledgement_comes_after_the_sync_that_covers_it() {
    let (disk, index) = (FakeDisk::default(), TempDir::new().unwrap());
    load(&disk, &index).await;
    let events = disk.events();
    assert_eq!(acknowledgements(&events), 8 * 40);
    assert_eq!(acknowledged_too_early(&events), []);
}

#[tokio::test]
async fn a_disk_whose_sync_does_nothing_is_noticed() {
    let (disk, index) = (FakeDisk::default(), TempDir::new().unwrap());
    disk.lie();
    load(&disk, &index).await;
    let events = disk.events();
    assert_eq!(acknowledged_too_early(&events).len(), acknowledgements(&events));
}

#[test]
fn a_writer_that_leaves_out_the_sync_is_noticed() {
    for skip_sync in [false, true] {
        let mut rig = Rig::new(FakeDisk::default());
        rig.core.skip_sync = skip_sync;
        let opened = rig.begin("c");
        let first = turn(&opened.lease, &opened.head, b"first");
        let second = turn(&opened.lease, &first.head_after(), b"second");
        let commands = [rig.append(&opened.lease, first), rig.append(&opened.lease, second)];
        rig.step(commands);
        let events = rig.disk.events();
        assert_eq!(acknowledgements(&events), 2);
        assert_eq!(acknowledged_too_early(&events).len(), if skip_sync { 2 } else { 0 });
    }
}

#[test]
fn everything_that_waits_goes_into_one_write_and_one_sync() {
    let mut rig = Rig::new(FakeDisk::default());
    let opened: Vec<_> = (0..10).map(|number| rig.begin(&format!("c{number}"))).collect();
    let before = rig.disk.events().len();
    let commands: Vec<_> =
        opened.iter().map(|opened| rig.append(&opened.lease, turn(&opened.lease, &opened.head, b"together"))).collect();
    rig.step(commands);
    let events = rig.disk.events().split_off(before);
    assert_eq!(acknowledgements(&events), 10);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Write { .. })).count(), 1);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Sync { .. })).count(), 1);
}

#[tokio::test]
async fn a_failed_sync_poisons_the_store_and_says_so() {
    let (disk, index) = (FakeDisk::default(), TempDir::new().unwrap());
    let store = open_on(&disk, &index);
    let opened = store.open(&key("c")).await.unwrap();
    let head = append(&store, &opened.lease, turn(&opened.lease, &opened.head, b"kept")).await.unwrap();
    let mut failed = store.failed();
    assert!(!*failed.borrow_and_update() && store.stats().writable);

    disk.fail();
    let batch = turn(&opened.lease, &head, b"unknown");
    assert_eq!(append(&store, &opened.lease, batch.clone()).await, Err(AppendError::Unknown));
    assert!(*failed.wait_for(|failed| *failed).await.unwrap());
    assert!(!store.stats().writable);
    let closed = Err(AppendError::NotApplied(NotApplied::Closed));
    assert_eq!(append(&store, &opened.lease, batch).await, closed, "a failed sync is never retried");
    assert_eq!(store.open(&key("c")).await.err(), Some(ReadError::Closed));
    store.close().await;

    let disk = FakeDisk::with(disk.durable());
    let store = open_on(&disk, &TempDir::new().unwrap());
    assert_eq!(store.open(&key("c")).await.unwrap().head, head, "what was acknowledged is there");
}

#[tokio::test]
async fn a_full_disk_refuses_appends_keeps_reads_and_recovers() {
    let (disk, index) = (FakeDisk::default(), TempDir::new().unwrap());
    let store = open_on(&disk, &index);
    let opened = store.open(&key("c")).await.unwrap();
    let mut head = opened.head;
    disk.set_full(true);
    let refused = loop {
        match append(&store, &opened.lease, turn(&opened.lease, &head, &[b'x'; 2000])).await {
            Ok(next) => head = next,
            Err(error) => break error,
        }
        assert!(head.turn_seq.get() < 100, "the segment and its spare are full by now");
    };
    assert_eq!(refused, AppendError::NotApplied(NotApplied::Full));
    assert!(store.stats().writable && !*store.failed().borrow());
    let read = store.turns(&key("c"), head.turn_seq, 9).await.unwrap();
    assert_eq!(read.len(), 1, "reads go on");
    assert_eq!(store.open(&key("d")).await.unwrap().head, Head::default());

    disk.set_full(false);
    let after = append(&store, &opened.lease, turn(&opened.lease, &head, &[b'x'; 2000])).await.unwrap();
    assert_eq!(after.turn_seq, head.turn_seq.next());
    store.close().await;
    let store = open_on(&FakeDisk::with(disk.durable()), &TempDir::new().unwrap());
    assert_eq!(store.open(&key("c")).await.unwrap().head, after);
}

#[tokio::test]
async fn a_full_queue_is_busy_at_once() {
    let (disk, index) = (FakeDisk::default(), TempDir::new().unwrap());
    let store = open_with(&disk, &index, &JournalOptions { queue_len: 8, ..options(index.path()) });
    let opened = store.open(&key("c")).await.unwrap();
    disk.hold();
    let mut head = opened.head;
    let mut answers = Vec::new();
    let queue = |head: &mut Head| {
        let batch = turn(&opened.lease, head, b"queued");
        *head = batch.head_after();
        send(&store, &opened.lease, batch)
    };
    answers.push(queue(&mut head));
    disk.until_held();
    let refused = loop {
        let mut answer = queue(&mut head);
        if let Ok(ending) = answer.try_recv() {
            break ending;
        }
        answers.push(answer);
        if answers.len() > 10_000 {
            disk.let_go();
            panic!("the queue is not bounded");
        }
    };
    assert_eq!(refused, Err(AppendError::NotApplied(NotApplied::Busy)));
    assert_eq!(store.open(&key("d")).await.err(), Some(ReadError::Busy));
    disk.let_go();
    for answer in answers {
        assert!(answer.await.unwrap().is_ok(), "what was taken is done");
    }
}

#[tokio::test]
async fn an_append_queued_when_its_lease_is_replaced_is_committed_once_and_seen() {
    let (disk, index) = (FakeDisk::default(), TempDir::new().unwrap());
    let store = open_on(&disk, &index);
    let first = store.open(&key("c")).await.unwrap();
    let head = append(&store, &first.lease, turn(&first.lease, &first.head, b"first")).await.unwrap();
    disk.hold();
    let other = store.open(&key("other")).await.unwrap();
    let blocks = send(&store, &other.lease, turn(&other.lease, &other.head, b"blocks the writer"));
    disk.until_held();
    // The actor dies here with its append queued; the next one opens, and its client sends again.
    let queued = turn(&first.lease, &head, b"queued");
    let orphan = send(&store, &first.lease, queued.clone());
    let key = key("c");
    let (second, ()) = tokio::join!(store.open(&key), async { disk.let_go() });
    let second = second.unwrap();
    assert_eq!(second.head, queued.head_after());
    assert_eq!(orphan.await.unwrap(), Ok(queued.head_after()));
    assert!(blocks.await.unwrap().is_ok());
    let again = append(&store, &first.lease, queued).await;
    assert_eq!(again, Err(AppendError::NotApplied(NotApplied::Fenced)));
    let texts: Vec<_> = store.turns(&key, Default::default(), 9).await.unwrap();
    assert_eq!(texts.iter().map(|turn| turn.payload.as_slice()).collect::<Vec<_>>(), [b"first".as_slice(), b"queued"]);
}

#[test]
fn a_segment_is_filled_and_synced_before_it_is_used() {
    let mut rig = Rig::new(FakeDisk::default());
    let opened = rig.begin("c");
    let mut head = opened.head;
    for _ in 0..20 {
        let batch = turn(&opened.lease, &head, &[b'x'; 2000]);
        head = batch.head_after();
        let command = rig.append(&opened.lease, batch);
        rig.step([command]);
    }
    assert_eq!(acknowledged_too_early(&rig.disk.events()), []);
    let files = rig.disk.files();
    assert!(files.len() > 2, "the load went through several segments");
    for (name, file) in files {
        assert!(file.durable.len() > SEGMENT_HEADER_BYTES, "{name} was synced");
    }
}

#[test]
fn a_conversation_is_absent_only_once_its_erasure_is_synced() {
    for (fails, told) in [(false, ReadError::Absent), (true, ReadError::Closed)] {
        let mut rig = Rig::new(FakeDisk::default());
        let opened = rig.begin("c");
        let mut leases = [(opened.lease, opened.head)];
        rig.group(&mut leases, b"a turn");
        let [(lease, head)] = &leases;
        let mut batch = Batch::new(lease, head);
        batch.push(RecordKind::Erased, Default::default(), [1; 16], b"receipt").unwrap();
        let erases = rig.append(lease, batch);
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        let intent = Intent::Turns { from: TurnSeq::default(), limit: 9, reply };
        if fails {
            rig.disk.fail();
        }
        rig.step([erases, Command::Read { key: key("c"), intent }]);
        assert_eq!(answer.try_recv().unwrap().unwrap_err(), told);
    }
}
