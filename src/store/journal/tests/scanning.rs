//! A segment that is read a part after the other is what it is when it is read at once.

use colloquy_types::{Activation, ConversationKey, ConversationUid, Epoch, Head, Timestamp};
use proptest::prelude::*;

use super::fake_disk::FakeDisk;
use crate::{
    journal::{
        disk::Disk as _,
        group::{GroupHeader, Position},
        scan::{scan, scan_file},
        segment::SEGMENT_HEADER_BYTES,
    },
    port::Lease,
    record::{Batch, RecordKind},
};

const UUID: [u8; 16] = *b"a store's uuid 1";
const SEGMENT: u64 = 7;

/// Groups of records whose payloads have these lengths, and zeros behind them.
fn segment(groups: &[Vec<usize>], zeros: usize) -> Vec<u8> {
    let key = ConversationKey::from_parts("acme", "c").unwrap();
    let (uid, epoch) = (ConversationUid([3; 16]), Epoch::new(1));
    let lease = Lease { key, uid, epoch, activation: Activation::new(1) };
    let mut bytes = vec![1; SEGMENT_HEADER_BYTES];
    let mut head = Head::default();
    for (number, payloads) in (1..).zip(groups) {
        let mut batch = Batch::new(&lease, &head);
        for (record, len) in payloads.iter().enumerate() {
            match number {
                1 if record == 0 => batch.push_created(Timestamp::default(), [1; 16], &lease.key, b"created").unwrap(),
                _ => batch.push(RecordKind::Turn, Timestamp::default(), [2; 16], &vec![5; *len]).unwrap(),
            }
        }
        head = batch.head_after();
        let at = Position { segment: SEGMENT, offset: bytes.len() as u64 };
        let records = u32::try_from(payloads.len()).unwrap();
        let synced = Position { offset: at.offset / 2, ..at };
        let header = GroupHeader { records, body_len: batch.bytes().len() as u64, epoch, number, synced };
        bytes.extend_from_slice(&header.encode(at, UUID));
        bytes.extend_from_slice(batch.bytes());
    }
    bytes.resize(bytes.len() + zeros, 0);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_give_what_the_whole_gives(
        groups in prop::collection::vec(prop::collection::vec(0..1500_usize, 1..5), 0..8),
        zeros in 0..6000_usize,
        damages in prop::collection::vec((0.0..1.0_f64, 1..200_usize, any::<bool>()), 0..3),
        cut in prop::option::of(0.0..1.0_f64),
    ) {
        let mut bytes = segment(&groups, zeros);
        let len = bytes.len();
        let place = |ratio: f64| (ratio * len as f64) as usize;
        for (at, count, blank) in damages {
            for byte in bytes.iter_mut().skip(place(at)).take(count) {
                *byte = if blank { 0 } else { *byte ^ 0x55 };
            }
        }
        bytes.truncate(cut.map_or(len, place));
        let file = FakeDisk::default().create("segment").unwrap();
        file.write_at(&bytes, 0).unwrap();
        let read = scan_file(file.as_ref(), bytes.len(), SEGMENT, UUID).unwrap();
        prop_assert_eq!(read, scan(&bytes, SEGMENT, UUID));
    }
}

#[test]
fn a_segment_that_is_whole_gives_all_its_groups() {
    let groups = vec![vec![100, 200], vec![5000], vec![10, 10, 10]];
    let bytes = segment(&groups, 10_000);
    let found = scan(&bytes, SEGMENT, UUID);
    assert_eq!(found.stretches.len(), groups.len());
    assert!(found.stretches.iter().all(|stretch| stretch.is_whole()));
    assert_eq!(found.end, bytes.len() - 10_000);
}
