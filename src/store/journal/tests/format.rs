//! The bytes on disk are what they always were.

use colloquy_types::{ConversationUid, Epoch, Hash, Head, RecordNo, Timestamp, TurnSeq};
use proptest::prelude::*;

use super::fake_disk::FakeDisk;
use crate::{
    journal::{
        backup::{KnownBackup, MANIFEST, Manifest, known_backups},
        bytes::to_usize,
        disk::{Disk as _, read_vec},
        folder,
        group::{GROUP_BYTES, GroupHeader, Position},
        index::{Covered, IndexError},
        row::{Place, Row, SnapshotPlace},
        segment::{Segment, SegmentHeader, Trailer, footer_of},
        table::{ENTRY_BYTES, Run, Table},
    },
    record::tests::hex,
};

const UUID: [u8; 16] = *b"a store's uuid 1";

fn group() -> GroupHeader {
    let synced = Position { segment: 6, offset: 4096 };
    GroupHeader { records: 3, body_len: 720, epoch: Epoch::new(5), number: 77, synced }
}

fn run(uid: u8, offset: u32, last_turn: u64) -> Run {
    Run { uid: ConversationUid([uid; 16]), offset, len: 240, last_turn: TurnSeq::new(last_turn) }
}

#[test]
fn headers_and_footers_are_written_as_they_always_were() {
    let at = Position { segment: 7, offset: 64 };
    assert_eq!(hex(&group().encode(at, UUID)), include_str!("../../fixtures/group-v1.hex"));
    let header = SegmentHeader { uuid: UUID, id: 7, size: 64 << 20, epoch: Epoch::new(5), rewritten: None };
    assert_eq!(hex(&header.encode()), include_str!("../../fixtures/segment-v1.hex"));
    let rewritten = SegmentHeader { rewritten: Some(4096), ..header };
    assert_eq!(hex(&rewritten.encode()), include_str!("../../fixtures/segment-v2.hex"));
    assert_eq!(SegmentHeader::decode(&rewritten.encode()), Ok(rewritten));
    let mut footer = Vec::new();
    run(2, 128, 9).encode(&mut footer);
    let trailer =
        Trailer { uuid: UUID, id: 7, valid_len: 4096, runs: 1, runs_crc: crc32c::crc32c(&footer), records: 2 };
    footer.extend_from_slice(&trailer.encode());
    assert_eq!(hex(&footer), include_str!("../../fixtures/footer-v1.hex"));

    assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    assert_eq!(Trailer::decode(&trailer.encode()), Ok(trailer));
    assert_eq!(Run::decode(&footer[..ENTRY_BYTES]), Some(run(2, 128, 9)));
}

/// Footers of any size and any order of uids, one of which may have most of the runs.
#[test]
fn a_footer_gives_the_runs_of_each_conversation() {
    let uid = |number: u64, spread: bool| {
        let mixed =
            if spread { blake3::hash(&number.to_le_bytes()).as_bytes()[..8].try_into().unwrap() } else { [7; 8] };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&mixed);
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        ConversationUid(bytes)
    };
    for (uids, hot_runs, spread) in
        [(1, 1, true), (3, 900, true), (5000, 0, true), (2000, 5000, true), (1500, 0, false)]
    {
        let mut table = Table::default();
        for number in 0..uids.max(hot_runs) {
            let offset = u32::try_from(number * 20).unwrap();
            for (uid, at) in [(uid(number % uids, spread), 0), (uid(1 % uids, spread), 10)] {
                if at == 0 || number < hot_runs {
                    table.push(Run { uid, offset: offset + at, len: 8, last_turn: TurnSeq::new(number) }, 1);
                }
            }
        }
        let disk = FakeDisk::default();
        let (footer, trailer) = footer_of(UUID, 1, 64, &table);
        let file = disk.create("segment").unwrap();
        file.write_at(&footer, 64).unwrap();
        let segment = Segment::existing(1, file, UUID, None).unwrap();
        assert_eq!(segment.trailer(), Some(&trailer));
        let runs = footer.get(..table.len() * ENTRY_BYTES).unwrap();
        assert_eq!((trailer.runs_crc, to_usize(trailer.runs.into())), (crc32c::crc32c(runs), table.len()));
        // Sealing writes the same piece by piece.
        let size = footer.len() as u64 + 64;
        let sealed = Segment::create(&disk, UUID, 1, size, Epoch::new(5)).unwrap();
        sealed.seal(UUID, 64, &table).unwrap();
        assert_eq!(read_vec(sealed.file.as_ref(), 64, footer.len()).unwrap(), footer);
        for number in 0..uids {
            let wanted = uid(number, spread);
            assert_eq!(segment.runs_of(wanted).unwrap(), table.runs_of(wanted, |_| true), "{number} of {uids}");
        }
        for absent in [[0; 16], [7; 16], [255; 16]] {
            assert_eq!(segment.runs_of(ConversationUid(absent)).unwrap(), []);
        }
    }
}

#[test]
fn rows_of_every_version_are_read_and_the_newest_is_written() {
    let at = Position { segment: 7, offset: 64 };
    let hash = Hash([3; 32]);
    let (turn_seq, record_no) = (TurnSeq::new(4), RecordNo::new(9));
    let row = Row {
        head: Head { epoch: Epoch::new(5), turn_seq, record_no, hash },
        updated_at: Timestamp::from_micros(1_700_000_000_000_000),
        created: Place { at, len: 240 },
        snapshot: Some(SnapshotPlace { place: Place { at, len: 480 }, record_no }),
        damage: Some("why".to_owned()),
        tail: None,
        ..Row::unborn(ConversationUid([8; 16]))
    };
    assert_eq!(Row::decode(&unhex(include_str!("../../fixtures/row-v1.hex"))).unwrap(), row);
    let row = Row { erased_in: Some(11), tail: Some(vec![7, 300]), ..row };
    assert_eq!(hex(&row.encode().unwrap()), include_str!("../../fixtures/row-v2.hex"));
    assert_eq!(Row::decode(&row.encode().unwrap()).unwrap(), row);
}

#[test]
fn what_an_index_covers_is_read_of_every_version_and_written_as_the_newest() {
    let synced = Position { segment: 7, offset: 4096 };
    let covered = Covered { uuid: UUID, segment: 7, synced, epoch: Epoch::new(5) };
    assert_eq!(Covered::decode(&unhex(include_str!("../../fixtures/covered-v1.hex"))).unwrap(), covered);
    assert_eq!(Covered::decode(&unhex(include_str!("../../fixtures/covered-v2.hex"))).unwrap(), covered);
    assert_eq!(hex(&covered.encode().unwrap()), include_str!("../../fixtures/covered-v2.hex"));
    let mut newer = covered.encode().unwrap();
    *newer.last_mut().unwrap() += 1;
    assert!(matches!(Covered::decode(&newer), Err(IndexError::Rows(3))), "rows that this build cannot read");
}

#[test]
fn whose_store_it_is_and_what_a_backup_says_of_itself_are_read_and_written_as_ever() {
    let identity = include_str!("../../fixtures/store-v1.hex");
    assert_eq!(hex(&folder::encode(UUID)), identity);
    assert_eq!(folder::decode(&unhex(identity)).unwrap(), UUID);
    let manifest = include_str!("../../fixtures/backup-v1.json");
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join(MANIFEST), manifest).unwrap();
    let read = Manifest::read(folder.path()).unwrap();
    assert_eq!((read.store, read.taken_at, read.linked), (UUID, Timestamp::from_micros(1_767_603_600_000_000), 1));
    assert_eq!(read.files.iter().map(|file| file.bytes).collect::<Vec<_>>(), [67_108_864, 4096, 32]);
    assert_eq!(serde_json::to_string_pretty(&read).unwrap() + "\n", manifest);
    let line = include_str!("../../fixtures/backups-v1.jsonl");
    std::fs::write(folder.path().join("BACKUPS.jsonl"), line).unwrap();
    let known = known_backups(folder.path()).unwrap();
    assert_eq!(known, [KnownBackup { taken_at: read.taken_at, to: "/mnt/backups/monday".to_owned() }]);
    assert_eq!(serde_json::to_string(&known[0]).unwrap() + "\n", line);
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_group_is_one_only_where_it_was_written_and_in_its_own_store() {
    let at = Position { segment: 7, offset: 64 };
    let bytes = group().encode(at, UUID);
    let newer = group().encode_as(2, at, UUID);
    assert_eq!((GroupHeader::decode(&newer, at, UUID), GroupHeader::newer(&newer, at, UUID)), (None, Some(2)));
    assert_eq!(GroupHeader::newer(&newer, Position { offset: 72, ..at }, UUID), None);
    assert_eq!(GroupHeader::newer(&bytes, at, UUID), None);
    assert_eq!(GroupHeader::decode(&bytes, at, UUID), Some(group()));
    assert_eq!(GroupHeader::decode(&bytes, Position { offset: 72, ..at }, UUID), None);
    assert_eq!(GroupHeader::decode(&bytes, Position { segment: 8, ..at }, UUID), None);
    assert_eq!(GroupHeader::decode(&bytes, at, [0; 16]), None);
    for bit in 0..GROUP_BYTES * 8 {
        let mut changed = bytes;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(GroupHeader::decode(&changed, at, UUID), None, "bit {bit}");
    }
}

#[test]
fn a_table_of_many_pieces_finds_and_sorts_as_a_small_one() {
    let mut table = Table::default();
    let all: Vec<_> = (0..5000_u32).map(|n| run(u8::try_from(n % 3).unwrap(), 64 + 240 * n, u64::from(n))).collect();
    all.iter().for_each(|run| table.push(*run, 1));
    assert_eq!((table.len(), table.records()), (5000, 5000));
    for uid in 0..3 {
        let expected: Vec<_> = all.iter().filter(|run| run.uid.0 == [uid; 16]).copied().collect();
        assert_eq!(table.runs_of(ConversationUid([uid; 16]), |_| true), expected);
    }
    let mut expected = all;
    expected.sort_unstable();
    assert_eq!(table.sorted().collect::<Vec<_>>(), expected);
}

proptest! {
    #[test]
    fn a_table_tells_what_was_pushed(pushed in prop::collection::vec((0..4_u8, 0..2_u32, 1..900_u32, 0..3_u64), 1..400)) {
        let (mut table, mut expected) = (Table::default(), Vec::<Run>::new());
        let (mut end, mut turns) = (64, [0; 4]);
        for (uid, gap, len, more) in pushed {
            let offset = end + gap * 56;
            end = offset + len;
            turns[usize::from(uid)] += more;
            let run = Run { uid: ConversationUid([uid; 16]), offset, len, last_turn: TurnSeq::new(turns[usize::from(uid)]) };
            table.push(run, 2);
            match expected.last_mut().filter(|last| last.uid == run.uid && last.end() == u64::from(offset)) {
                Some(last) => (last.len, last.last_turn) = (last.len + len, run.last_turn),
                None => expected.push(run),
            }
        }
        for uid in (0..4).map(|uid| ConversationUid([uid; 16])) {
            let of_it: Vec<_> = expected.iter().filter(|run| run.uid == uid).copied().collect();
            prop_assert_eq!(table.runs_of(uid, |_| true), of_it);
        }
        expected.sort_unstable();
        prop_assert_eq!(table.len(), expected.len());
        prop_assert_eq!(table.sorted().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_table_finds_the_runs_of_a_conversation_and_joins_neighbours() {
    let mut table = Table::default();
    for run in [run(1, 64, 1), run(2, 304, 1), run(1, 544, 2), run(1, 784, 3), run(2, 2000, 2)] {
        table.push(run, 1);
    }
    let joined = Run { len: 480, ..run(1, 544, 3) };
    assert_eq!(table.runs_of(ConversationUid([1; 16]), |_| true), [run(1, 64, 1), joined]);
    let since = table.runs_of(ConversationUid([1; 16]), |run| run.last_turn >= TurnSeq::new(2));
    assert_eq!(since, [joined]);
    assert_eq!(table.runs_of(ConversationUid([9; 16]), |_| true), []);
    assert_eq!(table.sorted().collect::<Vec<_>>(), [run(1, 64, 1), joined, run(2, 304, 1), run(2, 2000, 2)]);
    assert_eq!(table.records(), 5);
    let mut uids: Vec<_> = table.uids().map(|uid| uid.0[0]).collect();
    uids.sort_unstable();
    assert_eq!(uids, [1, 2]);
}
