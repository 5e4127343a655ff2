//! Compaction that dies: after every single change of the disk, nothing is lost, and erasures end at last.

use std::{fs, path::Path, sync::Arc};

use colloquy_types::{ConversationUid, Head};
use tempfile::TempDir;

use super::{
    fake_disk::FakeDisk,
    kill_disk::KillDisk,
    rig::{Rig, UUID, turn},
};
use crate::{
    journal::{
        disk::read_vec,
        group::Position,
        scan::{self, Stretch},
        segment::{NEW_FILE_SUFFIX, SegmentHeader},
    },
    port::Lease,
    record::{Batch, RecordKind, decode_header},
};

const SECRET: &[u8] = b"a secret that is to be forgotten";

/// What must be true of a journal, however often it was compacted.
struct World {
    live: Vec<(&'static str, Head, usize)>,
    erased: Vec<ConversationUid>,
}

/// Appends a turn, every third with a snapshot.
fn append(rig: &mut Rig, (lease, head): &mut (Lease, Head), text: &[u8]) {
    let mut batch = turn(lease, head, text);
    if batch.head_after().turn_seq.get().is_multiple_of(3) {
        batch.push(RecordKind::Snapshot, batch.time(), [1; 16], &[b"state of ", text].concat()).unwrap();
    }
    *head = batch.head_after();
    let command = rig.append(lease, batch);
    rig.step([command]);
}

fn erase(rig: &mut Rig, (lease, head): &(Lease, Head)) {
    let mut batch = Batch::new(lease, head);
    batch.push(RecordKind::Erased, Default::default(), [1; 16], b"receipt").unwrap();
    let command = rig.append(lease, batch);
    rig.step([command]);
}

fn begin(rig: &mut Rig, name: &str) -> (Lease, Head) {
    let opened = rig.begin(name);
    (opened.lease, opened.head)
}

/// Conversations over several segments; one was erased, and its key taken again.
fn world() -> (Rig, World) {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases: Vec<_> = ["a", "b", "gone"].iter().map(|name| begin(&mut rig, name)).collect();
    for _ in 0..7 {
        for (number, lease) in leases.iter_mut().enumerate() {
            append(&mut rig, lease, &[if number == 2 { SECRET } else { b"kept" }, &[b'x'; 700]].concat());
        }
        rig.keep();
    }
    rig.checkpoint();
    erase(&mut rig, &leases[2]);
    let erased = vec![leases[2].0.uid];
    leases[2] = begin(&mut rig, "gone");
    for _ in 0..5 {
        for lease in &mut leases {
            append(&mut rig, lease, &[b"kept".as_slice(), &[b'y'; 700]].concat());
        }
        rig.keep();
    }
    rig.seal();
    let live = vec![("a", leases[0].1, 12), ("b", leases[1].1, 12), ("gone", leases[2].1, 5)];
    (rig, World { live, erased })
}

impl World {
    fn holds(&self, rig: &mut Rig, context: &str) {
        for (name, head, turns) in &self.live {
            let opened = rig.open(name).unwrap_or_else(|error| panic!("{context}: {name}: {error}"));
            assert_eq!(opened.head, *head, "{context}: {name}");
            let snapshot = opened.snapshot.expect("there is one");
            assert_eq!(snapshot.header.turn_seq.get() as usize, turns - turns % 3, "{context}: {name}");
            assert_eq!(opened.tail.len(), turns % 3, "{context}: {name}");
            assert_eq!(rig.verify(name).unwrap().head, *head, "{context}: {name}");
            let read = rig.turns(name).unwrap();
            assert_eq!(read.len(), *turns, "{context}: {name}");
            assert!(read.iter().all(|turn| turn.payload.starts_with(b"kept")), "{context}: {name}");
        }
        assert_eq!(rig.list().len(), self.live.len(), "{context}");
        for uid in &self.erased {
            let erasure = rig.erasure(*uid).unwrap();
            assert!(erasure.chain_holds, "{context}: {erasure:?}");
            assert_eq!(erasure.records, 9, "{context}");
        }
    }

    /// Also once compaction has been let through.
    fn is_forgotten(&self, rig: &mut Rig, context: &str) {
        for uid in &self.erased {
            assert!(rig.erasure(*uid).unwrap().is_complete(), "{context}");
        }
        for (name, bytes) in rig.disk.cached() {
            assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET), "{context}: {name}");
            assert!(!name.ends_with(NEW_FILE_SUFFIX), "{context}: {name} was left behind");
        }
        is_whole(rig);
    }
}

/// Whether what compaction wrote has every group, record and run that it should.
fn is_whole(rig: &Rig) {
    let segments = rig.compactor.segments.read().unwrap();
    let rewritten = segments.values().filter(|segment| segment.header.unwrap().rewritten.is_some());
    for segment in rewritten {
        let trailer = segment.trailer().unwrap();
        let bytes = read_vec(segment.file.as_ref(), 0, segment.file.len().unwrap() as usize).unwrap();
        assert_eq!(segment.header, Some(SegmentHeader::decode(&bytes).unwrap()));
        assert_eq!((segment.size, segment.file_len()), (bytes.len() as u64, bytes.len() as u64));
        let scan = scan::scan(&bytes[..trailer.valid_len as usize], segment.id, UUID);
        assert!(scan.stretches.iter().all(Stretch::is_whole), "segment {}", segment.id);
        assert_eq!(scan.end as u64, trailer.valid_len);
        let items = scan.stretches.iter().flat_map(|stretch| &stretch.items);
        let records = items.filter(|item| item.found.as_ref().unwrap().kind != RecordKind::Epoch);
        assert_eq!(records.count() as u64, trailer.records);
        assert!(segment.footer_fits().unwrap());
        assert!(scan.synced < Position { segment: segment.id, offset: trailer.valid_len });
    }
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
    }
    to
}

#[test]
fn compaction_killed_after_any_change_of_the_disk_loses_nothing_and_is_done_in_the_end() {
    let (mut rig, world) = world();
    world.holds(&mut rig, "before");
    let (files, disk) = (rig.disk.cached(), rig.disk.durable());
    assert_eq!(files, disk, "everything is synced");
    let index = rig.kill();
    let mut changes = 0;
    loop {
        let disk = FakeDisk::with(files.clone());
        let mut rig = Rig::with_index(disk.clone(), copy(index.path()));
        rig.compactor.disk = Arc::new(KillDisk::after(disk.clone(), changes));
        let done = rig.pass();
        let context = format!("killed after {changes} changes");
        // The process lives on when it was only the disk that refused.
        world.holds(&mut rig, &context);
        if done.is_ok() {
            world.is_forgotten(&mut rig, &context);
            break;
        }
        let left = rig.kill();
        for (cut, image) in [("kill", disk.cached()), ("power cut", disk.durable())] {
            for keeps_index in [true, false] {
                let context = format!("{context}, {cut}, index kept: {keeps_index}");
                let folder = if keeps_index { copy(left.path()) } else { TempDir::new().unwrap() };
                let mut again = Rig::with_index(FakeDisk::with(image.clone()), folder);
                world.holds(&mut again, &context);
                let names: Vec<_> = again.disk.cached().into_keys().collect();
                assert!(names.iter().all(|name| !name.ends_with(NEW_FILE_SUFFIX)), "{context}: {names:?}");
                again.compact();
                world.holds(&mut again, &context);
                world.is_forgotten(&mut again, &context);
            }
        }
        changes += 1;
    }
    assert!(changes > 20, "several segments were written anew, in {changes} changes");
}

#[test]
fn a_key_that_was_taken_again_tells_of_an_erasure_whose_record_is_lost() {
    for compacts in [false, true] {
        let (mut rig, world) = world();
        if compacts {
            rig.compact();
        }
        let mut files = rig.disk.durable();
        let lost = files.values_mut().find_map(|bytes| {
            let at = (0..bytes.len())
                .step_by(8)
                .find(|at| decode_header(&bytes[*at..]).is_ok_and(|header| header.kind == RecordKind::Erased));
            at.map(|at| bytes[at + 60] ^= 1)
        });
        lost.unwrap();
        let mut again = Rig::new(FakeDisk::with(files));
        for (name, head, turns) in &world.live {
            assert_eq!(again.begin(name).head, *head, "{name}, compacted: {compacts}");
            assert_eq!(again.turns(name).unwrap().len(), *turns, "{name}, compacted: {compacts}");
        }
        assert_eq!(again.list().len(), world.live.len());
        again.compact();
        for bytes in again.disk.cached().values() {
            assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET));
        }
    }
}

#[test]
fn what_was_compacted_is_read_again_without_an_index() {
    let (mut rig, world) = world();
    let compacted = rig.compact();
    assert!(compacted.segments_rewritten >= 2, "{compacted:?}");
    world.is_forgotten(&mut rig, "compacted");
    let mut files = rig.disk.durable();
    for round in 0..3 {
        let mut again = Rig::new(FakeDisk::with(files.clone()));
        assert_eq!(again.damages, 0, "a conversation whose first record has lost its key is no damage");
        world.holds(&mut again, &format!("rebuilt, round {round}"));
        world.is_forgotten(&mut again, &format!("rebuilt, round {round}"));
        assert_eq!(again.compact().bodies_erased, 0, "a lost hint costs reads only");
        files = again.disk.durable();
    }
}

#[test]
fn a_rewritten_segment_with_a_damaged_footer_is_sealed_again() {
    let (mut rig, world) = world();
    rig.compact();
    let files = rig.disk.durable();
    let index = rig.kill();
    for name in files.keys() {
        for keeps_index in [true, false] {
            let mut files = files.clone();
            let bytes = files.get_mut(name).unwrap();
            if bytes[8] != 2 {
                continue;
            }
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            let folder = if keeps_index { copy(index.path()) } else { TempDir::new().unwrap() };
            let mut again = Rig::with_index(FakeDisk::with(files), folder);
            let context = format!("{name}, index kept: {keeps_index}");
            assert_eq!(again.damages, 0, "{context}: a footer is not taken for records");
            world.holds(&mut again, &context);
            world.is_forgotten(&mut again, &context);
        }
    }
}
