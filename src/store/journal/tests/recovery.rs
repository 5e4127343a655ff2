//! What is read back after a crash, a torn write, or damage.

use std::collections::BTreeMap;

use colloquy_types::Head;
use proptest::prelude::*;

use super::{
    fake_disk::FakeDisk,
    rig::{Rig, turn},
};
use crate::{
    journal::{command::Command, group::GROUP_BYTES, segment::TRAILER_BYTES, table::ENTRY_BYTES},
    port::{Lease, ReadError},
    record::{HEADER_BYTES, RecordKind, SALT_BYTES, decode_header},
};

type Files = BTreeMap<String, Vec<u8>>;

fn begin(rig: &mut Rig, names: &[&str]) -> Vec<(Lease, Head)> {
    names.iter().map(|name| rig.begin(name)).map(|opened| (opened.lease, opened.head)).collect()
}

/// The file and offset of the record `record_no` of `lease`.
fn find(files: &Files, lease: &Lease, record_no: u64) -> (String, usize) {
    let found = files.iter().find_map(|(name, bytes)| {
        let is_it = |at: &usize| {
            decode_header(&bytes[*at..]).is_ok_and(|header| {
                header.uid == lease.uid && header.record_no.get() == record_no && header.kind.is_chained()
            })
        };
        Some((name.clone(), (0..bytes.len()).step_by(8).find(is_it)?))
    });
    found.unwrap()
}

#[test]
fn a_tail_torn_at_any_byte_keeps_every_group_before_it() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    rig.group(&mut leases, b"first");
    rig.group(&mut leases, b"second");
    let acknowledged = leases.clone();
    rig.core.skip_sync = true;
    rig.group(&mut leases[..1], b"torn");
    let (name, file) = rig.disk.files().into_iter().find(|(_, file)| file.unsynced.is_some()).unwrap();
    let durable = rig.disk.durable();
    let (offset, written) = file.unsynced.unwrap();
    assert_eq!(written.len(), GROUP_BYTES + HEADER_BYTES + SALT_BYTES + 8);
    for cut in 0..=written.len() {
        let mut files = durable.clone();
        files.get_mut(&name).unwrap()[offset..offset + cut].copy_from_slice(&written[..cut]);
        let mut again = Rig::new(FakeDisk::with(files));
        // The last bytes are padding, which is zero either way.
        let whole = cut >= GROUP_BYTES + HEADER_BYTES + SALT_BYTES + 4;
        let expected = if whole { leases[0].1 } else { acknowledged[0].1 };
        assert_eq!(again.begin("a").head, expected, "cut after {cut} bytes");
        assert_eq!(again.begin("b").head, acknowledged[1].1, "cut after {cut} bytes");
        assert_eq!(again.verify("a").unwrap().head, expected);
    }
}

#[test]
fn what_survived_unsynced_is_made_durable_before_it_is_served() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a"]);
    rig.group(&mut leases, b"first");
    rig.core.skip_sync = true;
    rig.group(&mut leases, b"only in the page cache");
    // The process is killed: the page cache is still there.
    let disk = FakeDisk::with(rig.disk.cached());
    let mut after = Rig::new(disk.clone());
    assert_eq!(after.begin("a").head, leases[0].1);
    // Then the power fails: what was served must still be there.
    let mut last = Rig::new(FakeDisk::with(disk.durable()));
    assert_eq!(last.begin("a").head, leases[0].1);
    assert_eq!(last.turns("a").unwrap().len(), 2);
}

#[test]
fn a_recovery_that_dies_after_copying_leaves_no_record_twice() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a"]);
    rig.group(&mut leases, b"first");
    rig.core.skip_sync = true;
    let (lease, head) = leases[0].clone();
    let mut batch = turn(&lease, &head, b"survives");
    batch.push(RecordKind::Snapshot, Default::default(), [7; 16], b"survives too").unwrap();
    let command = rig.append(&lease, batch);
    rig.step([command]);
    let before = rig.disk.cached();
    let disk = FakeDisk::with(before.clone());
    drop(Rig::new(disk.clone()));
    // The survivors are in the new segment, and the old one is not sealed yet.
    let mut between = disk.cached();
    between.extend(before);
    let mut again = Rig::new(FakeDisk::with(between));
    assert_eq!(again.begin("a").snapshot.unwrap().payload, b"survives too");
    let history = again.history("a").unwrap();
    let payloads: Vec<_> = history.records.iter().map(|row| row.record.payload.as_slice()).collect();
    assert_eq!(payloads, [b"created".as_slice(), b"first", b"survives", b"survives too"]);
}

#[test]
fn recovery_that_dies_anywhere_is_done_again_with_the_same_result() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    for _ in 0..12 {
        rig.group(&mut leases, &[b'x'; 900]);
    }
    rig.core.skip_sync = true;
    rig.group(&mut leases, b"survives");
    let before = rig.disk.cached();
    let disk = FakeDisk::with(before.clone());
    let index = Rig::new(disk.clone()).kill();
    let after = disk.cached();
    // What recovery writes first is the new segment, torn or whole; then it seals the old ones in order.
    let (name, whole) = after.iter().find(|(name, _)| !before.contains_key(*name)).unwrap();
    let mut states = vec![before.clone()];
    for torn in [0, 64, 100, 400, 700] {
        let mut state = before.clone();
        let mut bytes = whole.clone();
        bytes[torn..].fill(0);
        state.insert(name.clone(), bytes);
        states.push(state);
    }
    let mut state = before.clone();
    state.insert(name.clone(), whole.clone());
    states.push(state.clone());
    for old in before.keys() {
        match after.get(old) {
            Some(bytes) => drop(state.insert(old.clone(), bytes.clone())),
            None => drop(state.remove(old)),
        }
        states.push(state.clone());
    }
    for (number, state) in states.into_iter().enumerate() {
        let mut again = Rig::new(FakeDisk::with(state));
        for (name, (_, head)) in ["a", "b"].iter().zip(&leases) {
            assert_eq!(again.verify(name).unwrap().head, *head, "state {number}");
            assert_eq!(again.begin(name).head, *head, "state {number}");
        }
    }
    let mut again = Rig::with_index(FakeDisk::with(after), index);
    assert_eq!(again.begin("a").head, leases[0].1);
}

#[test]
fn a_changed_bit_in_a_synced_record_quarantines_exactly_its_conversation() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b", "c"]);
    for _ in 0..4 {
        rig.group(&mut leases, b"some text");
    }
    let files = rig.disk.durable();
    // The last synced record of a conversation, one in its middle, and its first.
    for record_no in [1, 3, 4] {
        let (name, offset) = find(&files, &leases[1].0, record_no);
        // Magic, checksum, length, uid, number, digest, hash, salt, payload.
        for byte in [0, 9, 13, 20, 31, 48, 90, 130, HEADER_BYTES + 3, HEADER_BYTES + SALT_BYTES + 2] {
            if record_no == 1 && byte > HEADER_BYTES + SALT_BYTES {
                // The key itself: only the index can tell then; see the next test.
                continue;
            }
            let mut files = files.clone();
            files.get_mut(&name).unwrap()[offset + byte] ^= 0x10;
            let mut again = Rig::new(FakeDisk::with(files));
            let context = format!("record {record_no}, byte {byte}");
            for (name, head) in [("a", leases[0].1), ("c", leases[2].1)] {
                assert_eq!(again.begin(name).head, head, "{context}");
                assert_eq!(again.turns(name).unwrap().len(), 4, "{context}");
            }
            assert!(matches!(again.open("b"), Err(ReadError::Corrupt { .. })), "{context}");
            assert!(matches!(again.turns("b"), Err(ReadError::Corrupt { .. })), "{context}");
            assert!(matches!(again.verify("b"), Err(ReadError::Corrupt { .. })), "{context}");
        }
    }
}

#[test]
fn a_first_record_whose_key_is_damaged_is_known_by_the_index() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    rig.group(&mut leases, b"one");
    rig.checkpoint();
    rig.group(&mut leases, b"two");
    let mut files = rig.disk.durable();
    let (name, offset) = find(&files, &leases[1].0, 1);
    files.get_mut(&name).unwrap()[offset + HEADER_BYTES + SALT_BYTES + 8] ^= 1;
    let mut again = Rig::with_index(FakeDisk::with(files), rig.kill());
    assert_eq!(again.begin("a").head, leases[0].1);
    assert!(matches!(again.open("b"), Err(ReadError::Corrupt { .. })), "nobody begins it anew");
}

#[test]
fn a_quarantine_outlives_the_next_start_and_spares_the_others() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    rig.group(&mut leases, b"one");
    rig.group(&mut leases, b"two");
    let mut files = rig.disk.durable();
    let (name, offset) = find(&files, &leases[1].0, 2);
    files.get_mut(&name).unwrap()[offset + HEADER_BYTES + SALT_BYTES] ^= 1;
    let disk = FakeDisk::with(files);
    let mut first = Rig::new(disk.clone());
    let mut own = begin(&mut first, &["a"]);
    first.group(&mut own, b"three");
    first.checkpoint();
    let index = first.kill();
    let mut second = Rig::with_index(FakeDisk::with(disk.durable()), index);
    assert_eq!(second.begin("a").head, own[0].1);
    assert!(matches!(second.open("b"), Err(ReadError::Corrupt { .. })));
}

#[test]
fn a_damaged_group_header_before_the_mark_harms_nobody() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    for _ in 0..3 {
        rig.group(&mut leases, b"some text");
    }
    let mut files = rig.disk.durable();
    let (name, offset) = find(&files, &leases[0].0, 3);
    files.get_mut(&name).unwrap()[offset - GROUP_BYTES + 20] ^= 1;
    let mut again = Rig::new(FakeDisk::with(files));
    for (name, (_, head)) in ["a", "b"].iter().zip(&leases) {
        assert_eq!(again.begin(name).head, *head);
        assert_eq!(again.verify(name).unwrap().head, *head);
    }
}

#[test]
fn a_sealed_segment_with_a_damaged_footer_is_sealed_again() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a"]);
    rig.group(&mut leases, b"one");
    let sealed = FakeDisk::with(rig.disk.durable());
    let index = Rig::new(sealed.clone()).kill();
    let mut files = sealed.durable();
    let first = files.values_mut().next().unwrap();
    let last = first.len() - 1;
    first[last] ^= 1;
    let mut again = Rig::with_index(FakeDisk::with(files), index);
    assert_eq!(again.begin("a").head, leases[0].1);
    assert_eq!(again.verify("a").unwrap().head, leases[0].1);
}

#[test]
fn a_footer_that_hides_a_conversation_is_noticed_and_read_around() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    // The second says that the first was synced; the second itself is written again when the store opens.
    rig.group(&mut leases, b"one");
    rig.group(&mut leases, b"two");
    let sealed = FakeDisk::with(rig.disk.durable());
    let index = Rig::new(sealed.clone()).kill();
    let mut files = sealed.durable();
    let first = files.values_mut().next().unwrap();
    let footer = first.len() - TRAILER_BYTES - 2 * ENTRY_BYTES;
    for entry in [footer, footer + ENTRY_BYTES] {
        first[entry + 15] ^= 1;
    }
    let mut again = Rig::with_index(FakeDisk::with(files), index);
    for (name, (_, head)) in ["a", "b"].iter().zip(&leases) {
        assert_eq!(again.begin(name).head, *head);
        assert_eq!(again.turns(name).unwrap().len(), 2);
        assert_eq!(again.verify(name).unwrap().head, *head);
    }
}

/// A wrong tail would only cost reads, so nothing else would notice it.
#[test]
fn rows_know_the_segments_behind_the_newest_snapshot_also_when_they_are_made_anew() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    let tail = |rig: &Rig, name: &str| {
        rig.reader.index.look(|index| index.row(&format!("acme/{name}"))).unwrap().unwrap().tail.unwrap()
    };
    for _ in 0..6 {
        rig.group(&mut leases, &[b'x'; 2500]);
        rig.keep();
    }
    let (lease, head) = &leases[0];
    let mut batch = crate::record::Batch::new(lease, head);
    batch.push(RecordKind::Snapshot, colloquy_types::Timestamp::from_micros(9), [7; 16], b"state").unwrap();
    let command = rig.append(lease, batch);
    rig.step([command]);
    rig.checkpoint();
    assert_eq!(tail(&rig, "a"), [0; 0], "its snapshot is its last record");
    let before = tail(&rig, "b");
    assert!(before.len() > 1 && before.is_sorted(), "{before:?}");
    rig.group(&mut leases, b"more");
    rig.checkpoint();
    let after = tail(&rig, "a");
    assert_eq!((after.len(), after.last()), (1, tail(&rig, "b").last()));
    let lost = FakeDisk::with(rig.disk.durable());
    let again = Rig::new(lost);
    assert!(tail(&again, "b").starts_with(&before), "{:?}", tail(&again, "b"));
    assert_eq!(tail(&again, "a").len(), 1);
}

#[test]
fn a_file_that_is_neither_ours_for_sure_nor_empty_is_left_as_it_is() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a"]);
    rig.group(&mut leases, b"one");
    let mut files = rig.disk.durable();
    let (strange, half_made) = ("00000000000000f0.segment", "00000000000000f1.segment");
    files.insert(strange.to_owned(), b"what someone may want to look at".repeat(9));
    files.insert(half_made.to_owned(), vec![0; 500]);
    let mut again = Rig::new(FakeDisk::with(files));
    assert_eq!(again.begin("a").head, leases[0].1);
    let left = again.disk.cached();
    assert_eq!(left[strange], b"what someone may want to look at".repeat(9));
    assert!(!left.contains_key(half_made), "what was being made when the process died is removed");
}

#[test]
fn what_the_index_covers_is_not_read_again_and_what_follows_is() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b"]);
    rig.group(&mut leases, b"one");
    rig.checkpoint();
    rig.group(&mut leases[..1], b"two");
    let mut snapshot = turn(&leases[0].0, &leases[0].1, b"three");
    snapshot.push(RecordKind::Snapshot, Default::default(), [0; 16], b"state").unwrap();
    leases[0].1 = snapshot.head_after();
    let command = rig.append(&leases[0].0.clone(), snapshot);
    rig.step([command]);
    let files = rig.disk.durable();
    let index = rig.kill();
    let mut again = Rig::with_index(FakeDisk::with(files), index);
    let opened = again.begin("a");
    assert_eq!(opened.head, leases[0].1);
    assert_eq!(opened.snapshot.unwrap().payload, b"state");
    assert!(opened.tail.is_empty());
    assert_eq!(again.turns("a").unwrap().len(), 3);
    assert_eq!(again.begin("b").head, leases[1].1);
}

#[test]
fn what_is_appended_while_a_checkpoint_is_collected_is_not_taken_for_covered() {
    let mut rig = Rig::new(FakeDisk::default());
    let names: Vec<String> = (0..2500).map(|number| format!("c{number}")).collect();
    let mut leases = begin(&mut rig, &names.iter().map(String::as_str).collect::<Vec<_>>());
    rig.group(&mut leases, b"one");
    rig.keep();
    // The first step collects a part of the rows. Then all of them change, segments are filled and
    // sealed, and only then is the rest collected and applied.
    let (reply, _answer) = tokio::sync::oneshot::channel();
    rig.step([Command::Checkpoint(reply)]);
    assert!(rig.core.has_work());
    rig.group(&mut leases, b"two");
    rig.keep();
    while rig.core.has_work() {
        rig.step([]);
    }
    assert!(rig.apply());
    let files = rig.disk.durable();
    let index = rig.kill();
    let mut again = Rig::with_index(FakeDisk::with(files), index);
    for (name, (_, head)) in names.iter().zip(&leases) {
        assert_eq!(again.begin(name).head, *head);
        assert_eq!(again.turns(name).unwrap().len(), 2);
    }
}

#[test]
fn a_conversation_opened_but_never_written_leaves_nothing() {
    let mut rig = Rig::new(FakeDisk::default());
    let before = rig.disk.events().len();
    let opened = rig.begin("a");
    rig.step([Command::Release(opened.lease.clone())]);
    assert_eq!(rig.disk.events().len(), before);
    assert_eq!(rig.turns("a"), Err(ReadError::Absent));
    assert_ne!(rig.begin("a").lease.uid, opened.lease.uid);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the disk loses of the end of any file, what opens is a part of what was appended, and
    /// what a power cut must leave is there.
    #[test]
    fn a_journal_cut_anywhere_opens_to_a_prefix_or_says_it_is_damaged(
        groups in 1_usize..25,
        payload in 1_usize..1500,
        file in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut rig = Rig::new(FakeDisk::default());
        let mut leases = begin(&mut rig, &["a", "b", "c"]);
        let mut heads: Vec<Vec<Head>> = vec![vec![Head::default()]; 3];
        for group in 0..groups {
            // Each group leaves one conversation out.
            for (number, (lease, head)) in leases.clone().iter().enumerate().filter(|(number, _)| *number != group % 3) {
                let mut one = [(lease.clone(), *head)];
                rig.group(&mut one, &vec![b'x'; payload]);
                leases[number].1 = one[0].1;
                heads[number].push(one[0].1);
            }
        }
        let durable = rig.disk.durable();
        let mut whole = Rig::new(FakeDisk::with(durable.clone()));
        for (name, (_, head)) in ["a", "b", "c"].iter().zip(&leases) {
            prop_assert_eq!(whole.begin(name).head, *head);
        }
        let mut files = durable;
        let name = files.keys().nth(file.index(files.len())).unwrap().clone();
        let bytes = files.get_mut(&name).unwrap();
        bytes.truncate(cut.index(bytes.len() + 1));
        let mut again = Rig::new(FakeDisk::with(files));
        for (name, heads) in ["a", "b", "c"].iter().zip(&heads) {
            match again.open(name) {
                Ok(opened) => prop_assert!(heads.contains(&opened.head), "{} is no head of {}", opened.head.record_no, name),
                Err(ReadError::Corrupt { .. }) => {}
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
