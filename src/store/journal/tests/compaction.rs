//! What compaction keeps, what it lets go, and what it leaves alone.

mod retention;

use std::{num::NonZeroU64, sync::Arc};

use colloquy_types::{ConversationUid, Head, Timestamp};

use super::{
    fake_disk::FakeDisk,
    kill_disk::KillDisk,
    rig::{Rig, append, key, open, turn},
};
use crate::{
    journal::{
        JournalOptions, OpenError,
        command::{Command, Intent},
        compaction::{CompactError, Looked, Pace},
        index::Index,
        row::Row,
        segment::{NEW_FILE_SUFFIX, SegmentHeader},
    },
    port::{ConversationStore, Lease, ReadError},
    record::{Batch, HEADER_BYTES, RecordKind, SALT_BYTES, decode_header},
};

fn begin(rig: &mut Rig, names: &[&str]) -> Vec<(Lease, Head)> {
    names.iter().map(|name| rig.begin(name)).map(|opened| (opened.lease, opened.head)).collect()
}

fn push(rig: &mut Rig, (lease, head): &mut (Lease, Head), records: &[(RecordKind, &[u8])]) {
    let mut batch = Batch::new(lease, head);
    for (kind, payload) in records {
        let time = Timestamp::from_micros(batch.head_after().record_no.get() + 1);
        match kind {
            RecordKind::Created => batch.push_created(time, [5; 16], &lease.key, payload).unwrap(),
            _ => batch.push(*kind, time, [6; 16], payload).unwrap(),
        }
    }
    *head = batch.head_after();
    let command = rig.append(lease, batch);
    rig.step([command]);
}

fn erase(rig: &mut Rig, lease: &mut (Lease, Head)) {
    push(rig, lease, &[(RecordKind::Erased, b"receipt")]);
}

fn unhurried(jobs: &crossbeam_channel::Receiver<crate::journal::compaction::Job>) -> Pace<'_> {
    static NEVER: std::sync::LazyLock<crossbeam_channel::Receiver<std::convert::Infallible>> =
        std::sync::LazyLock::new(crossbeam_channel::never);
    Pace { bytes_per_second: None, jobs, stop: &NEVER }
}

/// Looks once, as the thread does by itself; tells whether anything was written.
fn look(rig: &Rig, looked: &mut Looked) -> bool {
    let (writer, _commands) = crossbeam_channel::bounded(1);
    let before = rig.disk.events().len();
    rig.compactor.look(&unhurried(&crossbeam_channel::never()), &writer, looked).unwrap();
    rig.disk.events().len() > before
}

#[test]
fn what_is_not_worth_it_stays_as_it_is_byte_for_byte() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    for _ in 0..3 {
        rig.group(&mut leases, b"some text");
    }
    push(&mut rig, &mut leases[0], &[(RecordKind::Snapshot, b"superseded")]);
    rig.group(&mut leases, b"some text");
    push(&mut rig, &mut leases[0], &[(RecordKind::Snapshot, b"newest")]);
    rig.compactor.options.dead_ratio = 0.9;
    rig.seal();
    let before = rig.disk.durable();
    let compacted = rig.pass().unwrap();
    assert_eq!((compacted.segments_read, compacted.segments_rewritten), (1, 0));
    assert_eq!(compacted.bytes_after, compacted.bytes_before);
    assert_eq!(rig.disk.durable(), before);
    assert!(rig.compactor.stats.snapshot().dead_bytes > 0, "but it is told");

    rig.compactor.options.dead_ratio = 0.01;
    let compacted = rig.pass().unwrap();
    assert_eq!((compacted.segments_rewritten, compacted.snapshots_dropped, compacted.bodies_erased), (1, 1, 0));
    assert_eq!(rig.compactor.stats.snapshot().dead_bytes, 0);
    assert_eq!(rig.begin("a").snapshot.unwrap().payload, b"newest");
    assert_eq!(rig.turns("a").unwrap().len(), 4);
}

#[test]
fn by_itself_it_rewrites_erased_ones_first_and_those_with_enough_dead() {
    let mut rig = Rig::new(FakeDisk::default());
    rig.compactor.options.dead_ratio = 0.4;
    let mut leases = begin(&mut rig, &["a", "b"]);
    rig.group(&mut leases, &[b'x'; 2000]);
    push(&mut rig, &mut leases[0], &[(RecordKind::Snapshot, &[b's'; 500])]);
    rig.seal();
    let mut looked = Looked::new();
    assert!(!look(&rig, &mut looked), "nothing is dead");
    push(&mut rig, &mut leases[0], &[(RecordKind::Snapshot, &[b's'; 9000])]);
    rig.seal();
    assert!(!look(&rig, &mut looked), "not enough is dead");
    push(&mut rig, &mut leases[0], &[(RecordKind::Snapshot, &[b's'; 500])]);
    rig.seal();
    assert!(look(&rig, &mut looked), "now enough is");
    assert!(!look(&rig, &mut looked), "done");
    erase(&mut rig, &mut leases[1]);
    rig.checkpoint();
    assert!(look(&rig, &mut looked), "an erasure does not wait");
    let erasure = rig.erasure(leases[1].0.uid).unwrap();
    assert_eq!((erasure.records, erasure.bodies), (3, 0));
    assert_eq!(rig.compactor.stats.snapshot().erasures_pending, 1, "its last segment is not sealed yet");
    rig.seal();
    look(&rig, &mut looked);
    assert_eq!(rig.compactor.stats.snapshot().erasures_pending, 0);
}

#[test]
fn an_erasure_comes_before_what_is_merely_dead() {
    let mut rig = Rig::new(FakeDisk::default());
    rig.compactor.options.dead_ratio = 0.1;
    let mut leases = begin(&mut rig, &["a", "gone"]);
    push(&mut rig, &mut leases[0], &[(RecordKind::Created, b"created"), (RecordKind::Snapshot, &[b's'; 2000])]);
    rig.seal();
    push(&mut rig, &mut leases[1], &[(RecordKind::Created, b"created"), (RecordKind::Turn, &[b'x'; 2000])]);
    rig.seal();
    push(&mut rig, &mut leases[0], &[(RecordKind::Snapshot, b"newest")]);
    erase(&mut rig, &mut leases[1]);
    rig.checkpoint();
    // The process dies in the middle of the first segment that it writes anew.
    let killed = KillDisk::after(rig.disk.clone(), 2);
    rig.compactor.disk = Arc::new(killed);
    let (writer, _commands) = crossbeam_channel::bounded(1);
    let jobs = crossbeam_channel::never();
    assert!(rig.compactor.look(&unhurried(&jobs), &writer, &mut Looked::new()).is_err());
    let left = rig.disk.cached().into_keys().find(|name| name.ends_with(NEW_FILE_SUFFIX));
    assert!(left.is_some_and(|name| name.starts_with("0000000000000002")), "the second, though the first is worth it");
}

#[test]
fn segments_that_the_index_learns_of_after_an_erasure_are_due_too() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["gone", "a"]);
    for _ in 0..8 {
        // Nobody keeps the segments, so they are full and not sealed.
        rig.group(&mut leases, &[b'x'; 2500]);
    }
    erase(&mut rig, &mut leases[0]);
    rig.checkpoint();
    let due = |rig: &Rig| rig.compactor.index.look(|index| index.due_segments(u64::MAX)).unwrap();
    assert_eq!(due(&rig), [5], "where its last record stands");
    assert!(!look(&rig, &mut Looked::new()), "that one is not sealed");
    rig.seal();
    assert_eq!(due(&rig), [1, 3, 4, 5], "the second was never used");
    assert!(look(&rig, &mut Looked::new()));
    assert_eq!(due(&rig), [0; 0]);
    assert!(rig.erasure(leases[0].0.uid).unwrap().is_complete());
}

#[test]
fn a_plan_made_before_is_carried_out_after() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["gone", "a"]);
    for number in 0..12_u8 {
        rig.group(&mut leases, &[number; 1000]);
        push(&mut rig, &mut leases[1], &[(RecordKind::Snapshot, &[number; 100])]);
        rig.keep();
    }
    erase(&mut rig, &mut leases[0]);
    rig.seal();
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    let (other, mut opened) = tokio::sync::oneshot::channel();
    let turns = Intent::Turns { from: Default::default(), limit: 100, reply };
    rig.step([
        Command::Read { key: key("a"), intent: turns },
        Command::Read { key: key("a"), intent: Intent::Open(other) },
    ]);
    let jobs = std::mem::take(&mut rig.out.reads);
    assert_eq!(jobs.len(), 2);
    let compacted = rig.pass().unwrap();
    assert!(compacted.segments_rewritten > 1 && compacted.snapshots_dropped == 11, "{compacted:?}");
    for job in jobs {
        assert!(matches!(rig.reader.run(job), None | Some(Command::Moved { .. })));
    }
    assert_eq!(answer.try_recv().unwrap().unwrap().len(), 12);
    let opened = opened.try_recv().unwrap().unwrap();
    assert_eq!((opened.head, opened.snapshot.unwrap().payload), (leases[1].1, vec![11; 100]));
}

#[test]
fn what_had_to_be_looked_for_once_is_found_at_once_from_then_on() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["gone", "a"]);
    rig.group(&mut leases, b"words");
    push(&mut rig, &mut leases[1], &[(RecordKind::Snapshot, b"state")]);
    rig.group(&mut leases[1..], b"words");
    erase(&mut rig, &mut leases[0]);
    rig.compact();
    let mut opens = || {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        rig.step([Command::Read { key: key("a"), intent: Intent::Open(reply) }]);
        let jobs = std::mem::take(&mut rig.out.reads);
        let told: Vec<_> = jobs.into_iter().filter_map(|job| rig.reader.run(job)).collect();
        let opened = answer.try_recv().unwrap().unwrap();
        assert_eq!((opened.snapshot.unwrap().payload, opened.tail.len()), (b"state".to_vec(), 1));
        let moved = told.len();
        rig.step(told);
        moved
    };
    assert_eq!((opens(), opens()), (1, 0));
    rig.checkpoint();
    let index = rig.disk.durable();
    let mut again = Rig::with_index(FakeDisk::with(index), rig.kill());
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    again.step([Command::Read { key: key("a"), intent: Intent::Open(reply) }]);
    let resolved: Vec<_> =
        std::mem::take(&mut again.out.reads).into_iter().filter_map(|job| again.reader.run(job)).collect();
    again.step(resolved);
    let told = std::mem::take(&mut again.out.reads).into_iter().filter_map(|job| again.reader.run(job));
    assert_eq!(told.count(), 0, "the index knows it");
    assert!(answer.try_recv().unwrap().is_ok());
}

#[test]
fn an_open_that_waited_until_its_snapshot_was_compacted_away_is_not_told_of_damage() {
    for erased in [false, true] {
        let mut rig = Rig::new(FakeDisk::default());
        let mut leases = begin(&mut rig, &["a"]);
        rig.group(&mut leases, b"words");
        push(&mut rig, &mut leases[0], &[(RecordKind::Snapshot, b"early")]);
        rig.seal();
        let (reply, mut late) = tokio::sync::oneshot::channel();
        rig.step([Command::Read { key: key("a"), intent: Intent::Open(reply) }]);
        let waits = std::mem::take(&mut rig.out.reads);
        // Somebody else opens it meanwhile, is answered, and goes on.
        let mut leases = begin(&mut rig, &["a"]);
        rig.group(&mut leases, b"more words");
        let last = if erased { RecordKind::Erased } else { RecordKind::Snapshot };
        push(&mut rig, &mut leases[0], &[(last, b"late")]);
        assert_eq!(rig.compact().snapshots_dropped, 1);
        let answers: Vec<_> = waits.into_iter().filter_map(|job| rig.reader.run(job)).collect();
        assert_eq!(answers.len(), 1, "the writer is asked");
        rig.step(answers);
        assert_eq!(late.try_recv().unwrap().err(), Some(ReadError::Busy));
    }
}

#[test]
fn another_record_in_the_place_of_the_one_that_moved_is_not_taken_for_it() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a"]);
    rig.group(&mut leases, b"words");
    // All of one length, so that each stands where another stood before.
    let records: [(RecordKind, &[u8]); 4] = [
        (RecordKind::Snapshot, b"early"),
        (RecordKind::Turn, b"turn2"),
        (RecordKind::Snapshot, b"later"),
        (RecordKind::Turn, b"turn3"),
    ];
    for record in records {
        push(&mut rig, &mut leases[0], &[record]);
    }
    assert_eq!(rig.compact().snapshots_dropped, 1);
    let opened = rig.begin("a");
    assert_eq!(opened.snapshot.unwrap().payload, b"later");
    assert_eq!(opened.tail.iter().map(|turn| turn.payload.as_slice()).collect::<Vec<_>>(), [b"turn3"]);
}

#[test]
fn a_record_of_another_in_the_place_of_the_one_that_moved_is_not_taken_for_it() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    rig.group(&mut leases, b"words");
    for (number, text) in [(0, b"early"), (0, b"of a."), (1, b"of b.")] {
        push(&mut rig, &mut leases[number], &[(RecordKind::Snapshot, text)]);
    }
    assert_eq!(rig.compact().snapshots_dropped, 1);
    assert_eq!(rig.begin("a").snapshot.unwrap().payload, b"of a.");
    assert_eq!(rig.begin("b").snapshot.unwrap().payload, b"of b.");
}

#[test]
fn damage_is_left_for_whoever_looks_at_it_unless_it_was_erased() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "gone", "hurt"]);
    for _ in 0..3 {
        rig.group(&mut leases, b"a text of some length");
    }
    erase(&mut rig, &mut leases[1]);
    rig.seal();
    let mut files = rig.disk.durable();
    let index = rig.kill();
    let mut places = Vec::new();
    for (name, bytes) in &files {
        for at in (0..bytes.len()).step_by(8) {
            let header = decode_header(&bytes[at..]).ok().filter(|header| header.record_no.get() == 2);
            places.extend(header.map(|header| (header.uid, name.clone(), at)));
        }
    }
    for (uid, name, at) in places {
        if uid != leases[0].0.uid {
            files.get_mut(&name).unwrap()[at + HEADER_BYTES + SALT_BYTES + 3] ^= 0x40;
        }
    }
    let mut again = Rig::with_index(FakeDisk::with(files), index);
    assert!(matches!(again.verify("hurt"), Err(ReadError::Corrupt { .. })));
    let compacted = again.compact();
    assert_eq!((compacted.segments_rewritten, compacted.bodies_erased), (1, 4));
    assert!(again.erasure(leases[1].0.uid).unwrap().is_complete());
    assert!(matches!(again.verify("hurt"), Err(ReadError::Corrupt { .. })), "still told");
    assert_eq!(again.verify("a").unwrap().head, leases[0].1);
    assert!(matches!(again.open("hurt"), Err(ReadError::Corrupt { .. })), "and nobody has opened it since");
    let mut rebuilt = Rig::new(FakeDisk::with(again.disk.durable()));
    assert!(matches!(rebuilt.verify("hurt"), Err(ReadError::Corrupt { .. })), "also without an index");
    assert_eq!(rebuilt.verify("a").unwrap().head, leases[0].1);
    assert_eq!(rebuilt.turns("gone"), Err(ReadError::Absent));
}

#[test]
fn an_erasure_that_is_told_late_does_not_free_the_key_of_another() {
    let folder = tempfile::TempDir::new().unwrap();
    let index = Index::open(folder.path(), 1 << 20).unwrap();
    let head = Head { record_no: colloquy_types::RecordNo::new(1), ..Head::default() };
    let row = |uid| Row { head, ..Row::unborn(ConversationUid([uid; 16])) };
    let ended = Row { erased_in: Some(1), ..row(1) };
    index.put_rows(vec![(Some(key("c")), row(1))]).unwrap();
    index.put_rows(vec![(Some(key("c")), row(2)), (Some(key("c")), ended.clone())]).unwrap();
    assert_eq!(index.row("acme/c").unwrap(), Some(row(2)), "the freed key was taken again in the same breath");
    index.put_rows(vec![(Some(key("c")), ended.clone())]).unwrap();
    assert_eq!(index.row("acme/c").unwrap(), Some(row(2)));
    assert_eq!(index.by_uid(row(2).uid).unwrap(), Some((Some(key("c")), row(2))));
    assert_eq!(index.by_uid(ended.uid).unwrap(), Some((None, ended)));
}

#[test]
fn compaction_that_is_stopped_leaves_the_segment_as_it_was() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["gone"]);
    rig.group(&mut leases, b"some text");
    erase(&mut rig, &mut leases[0]);
    rig.seal();
    let before = rig.disk.durable();
    let (jobs, (stopped, stop)) = (crossbeam_channel::never(), crossbeam_channel::bounded(0));
    drop(stopped);
    // So slow that nothing would ever end if stopping were not noticed in a pause.
    let pace = Pace { bytes_per_second: NonZeroU64::new(1), jobs: &jobs, stop: &stop };
    assert!(matches!(rig.compactor.pass(&pace), Err(CompactError::Stopped)));
    assert_eq!(rig.disk.durable(), before);
    assert!(rig.disk.cached().keys().all(|name| !name.ends_with(NEW_FILE_SUFFIX)));
    assert_eq!(rig.compact().segments_rewritten, 1);
}

#[test]
fn a_full_disk_leaves_the_segment_as_it_was() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["gone", "a"]);
    rig.group(&mut leases, b"some text");
    erase(&mut rig, &mut leases[0]);
    rig.seal();
    let before = rig.disk.durable();
    rig.disk.set_full(true);
    assert!(matches!(rig.pass(), Err(CompactError::Io(_))));
    assert_eq!(rig.disk.cached(), before);
    assert_eq!(rig.verify("a").unwrap().head, leases[1].1);
    rig.disk.set_full(false);
    assert_eq!(rig.pass().unwrap().segments_rewritten, 1);
}

#[test]
fn a_segment_that_compaction_wrote_has_a_version_of_its_own() {
    let folder = tempfile::TempDir::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(folder.path()).unwrap();
        let opened = store.open(&key("c")).await.unwrap();
        let mut batch = turn(&opened.lease, &opened.head, b"words");
        batch.push(RecordKind::Erased, Default::default(), [1; 16], b"receipt").unwrap();
        append(&store, &opened.lease, batch).await.unwrap();
        store.compact().await.unwrap();
        store.close().await;
    });
    let path = folder.path().join("journal").join("0000000000000001.segment");
    let mut bytes = std::fs::read(&path).unwrap();
    let header = SegmentHeader::decode(&bytes).unwrap();
    assert!(header.rewritten.is_some() && bytes[8] == 2, "an older build knows version 1 only");
    assert_eq!(header.size, bytes.len() as u64);
    bytes[8] = 3;
    let crc = crate::journal::bytes::header_crc(&bytes[..64], 12, 0);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::NewerVersion { version: 3 })));
}

#[tokio::test]
async fn reads_and_appends_go_on_while_the_journal_is_compacted() {
    let folder = tempfile::TempDir::new().unwrap();
    let options = JournalOptions { compaction_dead_ratio: 0.0, ..super::rig::options(folder.path()) };
    let (clock, entropy) = (Arc::new(colloquy_types::SystemClock), Arc::new(colloquy_types::SystemEntropy));
    let store = Arc::new(crate::JournalStore::open(&options, clock, entropy).unwrap());
    let talks: Vec<_> = (0..6)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let key = key(&format!("c{number}"));
                let mut erased = Vec::new();
                for talk in 0..6_u64 {
                    let opened = store.open(&key).await.unwrap();
                    let mut head = opened.head;
                    for round in 0..12_u64 {
                        let mut batch = turn(&opened.lease, &head, format!("{talk} {round}").as_bytes());
                        batch.push(RecordKind::Snapshot, batch.time(), [1; 16], &[b's'; 300]).unwrap();
                        head = append(&*store, &opened.lease, batch).await.unwrap();
                        let turns = store.turns(&key, Default::default(), 100).await.unwrap();
                        assert_eq!(turns.last().unwrap().payload, format!("{talk} {round}").as_bytes());
                        assert_eq!(turns.len() as u64, round + 1);
                        assert_eq!(store.verify(&key).await.unwrap().head, head);
                    }
                    let mut batch = Batch::new(&opened.lease, &head);
                    batch.push(RecordKind::Erased, Default::default(), [1; 16], b"receipt").unwrap();
                    append(&*store, &opened.lease, batch).await.unwrap();
                    erased.push(opened.lease.uid);
                }
                erased
            })
        })
        .collect();
    let mut compacted = crate::Compacted::default();
    while !talks.iter().all(tokio::task::JoinHandle::is_finished) {
        compacted.add(&store.compact().await.unwrap());
    }
    let last = store.compact().await.unwrap();
    compacted.add(&last);
    assert!(compacted.segments_rewritten > 6, "{compacted:?}");
    assert_eq!(compacted.bodies_erased, 6 * 6 * 13, "each body once");
    for talk in talks {
        for uid in talk.await.unwrap() {
            let erasure = store.erasure(uid).await.unwrap();
            assert!(erasure.is_complete() && erasure.chain_holds, "{erasure:?}");
        }
    }
    let stats = store.stats();
    assert_eq!((stats.erasures_pending, stats.dead_bytes), (0, 0));
    assert!(stats.compacted_at.is_some() && stats.segments > 1 && stats.journal_bytes > 0);
    store.close().await;
}
