//! The record's bytes, its limits' edges, its chain.

use colloquy_types::{Activation, ConversationKey, ConversationUid, Epoch, Head};
use proptest::prelude::*;

use super::*;
use crate::port::Lease;

fn lease() -> Lease {
    Lease {
        key: ConversationKey::from_parts("acme", "order-7").unwrap(),
        uid: ConversationUid(*b"uid of a talk 01"),
        epoch: Epoch::new(3),
        activation: Activation::new(9),
    }
}

/// A batch of every shape of record, the same for ever.
fn golden() -> Batch {
    let (lease, time) = (lease(), Timestamp::from_micros(1_700_000_000_000_000));
    let mut batch = Batch::new(&lease, &Head::default());
    batch.push_created(time, [1; 16], &lease.key, b"origin").unwrap();
    batch.push(RecordKind::Accepted, time, [2; 16], b"hello").unwrap();
    batch.push(RecordKind::Turn, time, [3; 16], b"a turn of eight bytes or more").unwrap();
    batch.push(RecordKind::Snapshot, time, [4; 16], b"state").unwrap();
    batch
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n");
    lines.collect()
}

#[test]
fn records_are_written_as_they_always_were() {
    assert_eq!(hex(golden().bytes()), include_str!("../fixtures/batch-v1.hex"));
}

#[test]
fn what_was_pushed_is_decoded_and_chained() {
    let (batch, lease) = (golden(), lease());
    let (mut at, mut head, mut kinds) = (0, Head::default(), Vec::new());
    while at < batch.bytes().len() {
        let decoded = decode_record(&batch.bytes()[at..]).unwrap();
        let header = &decoded.record.header;
        assert_eq!((header.uid, header.epoch, header.activation), (lease.uid, lease.epoch, lease.activation));
        if header.kind.is_chained() {
            header.follows(&head).unwrap();
            head = header.head();
        } else {
            assert_eq!(header.head(), head, "a snapshot represents the head reached so far");
            assert_eq!(batch.snapshot(), Some(at..at + decoded.len));
        }
        assert_eq!(decoded.key.is_some(), header.kind == RecordKind::Created);
        assert_eq!(at % 8, 0);
        kinds.push((header.kind, decoded.record.payload.clone()));
        at += decoded.len;
    }
    assert_eq!(head, batch.head_after());
    assert_eq!(kinds[0], (RecordKind::Created, b"origin".to_vec()));
    assert_eq!(kinds[3], (RecordKind::Snapshot, b"state".to_vec()));
}

/// The records of the golden batch, each by itself.
fn golden_records() -> Vec<Vec<u8>> {
    let (batch, mut at, mut records) = (golden(), 0, Vec::new());
    while at < batch.bytes().len() {
        let len = decode_record(&batch.bytes()[at..]).unwrap().len;
        records.push(batch.bytes()[at..at + len].to_vec());
        at += len;
    }
    records
}

#[test]
fn a_stub_is_written_as_it_always_was() {
    let stub = stub_of(&decode_header(&golden_records()[2]).unwrap());
    assert_eq!(hex(&stub), include_str!("../fixtures/stub-v1.hex"));
}

#[test]
fn what_is_left_of_an_erased_conversation_is_a_chain_without_a_word() {
    let mut batch = golden();
    batch.push(RecordKind::Erased, batch.time(), [5; 16], b"receipt").unwrap();
    let left = erase_bodies(batch.bytes()).unwrap();
    assert_eq!((left.bodies, left.snapshots), (3, 1));
    assert_eq!(erase_bodies(&left.bytes).unwrap().bodies, 0, "nothing is left to erase");
    for word in [b"origin".as_slice(), b"hello", b"a turn", b"state", b"order-7"] {
        assert!(!left.bytes.windows(word.len()).any(|window| window == word), "{word:?} is gone");
    }
    let (mut head, mut rest, mut kinds) = (Head::default(), left.bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let decoded = decode_record(rest).unwrap();
        let header = &decoded.record.header;
        header.follows(&head).unwrap();
        assert_eq!((header.record_len(), decoded.key), (decoded.len, None));
        assert_eq!(header.erased, decoded.record.payload.is_empty());
        head = header.head();
        kinds.push((header.kind, header.erased));
        rest = &rest[decoded.len..];
    }
    assert_eq!(head, batch.head_after());
    assert_eq!(kinds[2..], [(RecordKind::Turn, true), (RecordKind::Erased, false)]);
}

#[test]
fn a_stub_with_a_changed_bit_or_an_unknown_flag_is_refused() {
    let stub = stub_of(&decode_header(&golden_records()[2]).unwrap());
    for bit in 0..HEADER_BYTES * 8 {
        let mut bytes = stub;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_record(&bytes).is_err(), "bit {bit}");
    }
    let mut flagged = stub;
    flagged[6] = 3;
    flagged[8..12].fill(0);
    let crc = crc32c::crc32c(&flagged);
    flagged[8..12].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(decode_record(&flagged), Err(BadRecord::UnknownFlags(3)));
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    let lease = lease();
    let mut batch = Batch::new(&lease, &Head::default());
    batch.push_created(Timestamp::from_micros(1), [1; 16], &lease.key, b"origin").unwrap();
    let intact = decode_record(batch.bytes()).unwrap();
    let body_end = HEADER_BYTES + usize::try_from(intact.record.header.body_len).unwrap();
    for bit in 0..body_end * 8 {
        let mut bytes = batch.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_record(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn a_record_of_a_newer_format_is_told_from_a_damaged_one() {
    let mut bytes = golden().bytes().to_vec();
    bytes[4] = 2;
    bytes[8..12].fill(0);
    let crc = crc32c::crc32c(&bytes[..HEADER_BYTES]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(decode_record(&bytes), Err(BadRecord::NewerVersion(2)));
}

#[test]
fn a_link_of_another_chain_does_not_follow() {
    let batch = golden();
    let created = decode_record(batch.bytes()).unwrap();
    let accepted = decode_record(&batch.bytes()[created.len..]).unwrap().record.header;
    let head = created.record.header.head();
    accepted.follows(&head).unwrap();
    assert_eq!(accepted.follows(&Head { hash: Default::default(), ..head }), Err(BadRecord::Chain(RecordNo::new(2))));
    let gap = BadRecord::Gap { after: RecordNo::new(0), found: RecordNo::new(2) };
    assert_eq!(accepted.follows(&Head::default()), Err(gap));
}

#[test]
fn the_chain_does_not_depend_on_flags_so_that_an_erasure_can_set_them() {
    let batch = golden();
    let mut header: [u8; HEADER_BYTES] = batch.bytes()[..HEADER_BYTES].try_into().unwrap();
    let before = codec::chain_hash(&header, Default::default());
    header[6] = 0xff;
    assert_eq!(codec::chain_hash(&header, Default::default()), before);
    header[16] ^= 1;
    assert_ne!(codec::chain_hash(&header, Default::default()), before);
}

#[test]
fn a_tenants_stream_keeps_its_key() {
    let tenant = colloquy_types::TenantId::parse("acme").unwrap();
    let key = ConversationKey::tenant_stream(&tenant, "flows");
    let lease = Lease { key: key.clone(), ..lease() };
    let mut batch = Batch::new(&lease, &Head::default());
    batch.push_created(Timestamp::default(), [0; 16], &key, b"").unwrap();
    assert_eq!(decode_record(batch.bytes()).unwrap().key, Some(key));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_payload_comes_back(payload in prop::collection::vec(any::<u8>(), 0..2000), salt in any::<[u8; 16]>(), time in any::<u64>()) {
        let lease = lease();
        let mut batch = Batch::new(&lease, &golden().head_after());
        batch.push(RecordKind::Turn, Timestamp::from_micros(time), salt, &payload).unwrap();
        let decoded = decode_record(batch.bytes()).unwrap();
        prop_assert_eq!(decoded.len, batch.bytes().len());
        prop_assert_eq!(&decoded.record.payload, &payload);
        prop_assert_eq!(decoded.record.header.time.as_micros(), time);
        prop_assert!(decoded.record.header.follows(&golden().head_after()).is_ok());
        let encoded = codec::encode_header(&decoded.record.header);
        prop_assert_eq!(encoded.as_slice(), &batch.bytes()[..HEADER_BYTES]);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), keep_magic in any::<bool>()) {
        let mut bytes = bytes;
        if keep_magic && bytes.len() >= 4 {
            bytes[..4].copy_from_slice(b"CQR1");
        }
        prop_assert!(decode_record(&bytes).is_err());
    }
}
