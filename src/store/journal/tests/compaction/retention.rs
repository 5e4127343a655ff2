//! What retention lets go of, and when.

use std::{collections::BTreeMap, num::NonZeroU64, sync::Arc, time::Duration};

use colloquy_types::{Clock, ConversationKey, TenantId, Timestamp};

use super::{begin, look, push};
use crate::{
    journal::{
        Retention, RetentionPolicy,
        command::{Command, Intent},
        compaction::Looked,
        tests::{
            fake_disk::FakeDisk,
            rig::{Rig, key},
        },
    },
    port::ReadError,
    record::RecordKind,
};

struct At(u64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0)
    }
}

#[test]
fn retention_keeps_the_newest_turns_and_what_no_snapshot_stands_behind() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a", "b", "c"]);
    for (name, lease) in leases.iter_mut().enumerate() {
        push(&mut rig, lease, &[(RecordKind::Created, b"created")]);
        for number in 1..=11_u8 {
            push(&mut rig, lease, &[(RecordKind::Accepted, &[number]), (RecordKind::Turn, &[number])]);
            if (name, number) == (0, 10) || (name, number) == (2, 4) {
                push(&mut rig, lease, &[(RecordKind::Snapshot, b"state")]);
            }
        }
    }
    let turns = Retention { turns: NonZeroU64::new(3), age: None };
    rig.compactor.options.retention.tenants = BTreeMap::from([("acme".to_owned(), turns)]);
    let compacted = rig.compact();
    // Eight turns of "a" and what promised them, four of "c"; "b" has no snapshot.
    assert_eq!((compacted.bodies_erased, compacted.snapshots_dropped), (24, 0));
    let texts = |records: Vec<crate::StoredRecord>| records.into_iter().map(|turn| turn.payload[0]).collect::<Vec<_>>();
    for _ in 0..2 {
        assert_eq!(texts(rig.turns("a").unwrap()), [9, 10, 11]);
        assert_eq!(texts(rig.turns("b").unwrap()), (1..=11).collect::<Vec<_>>());
        assert_eq!(texts(rig.turns("c").unwrap()), (5..=11).collect::<Vec<_>>());
        let verified = rig.verify("a").unwrap();
        assert_eq!((verified.records, verified.turns, verified.head), (23, 11, leases[0].1));
        let history = rig.history("a").unwrap();
        let erased: Vec<_> = history.records.iter().map(|row| row.record.header.erased).collect();
        assert_eq!(erased.iter().filter(|erased| **erased).count(), 16);
        assert!(!erased[0], "the first record stays");
        let opened = rig.begin("a");
        assert_eq!((opened.head, opened.tail.len()), (leases[0].1, 2));
        assert_eq!(opened.created.unwrap().payload, b"created");
        rig = Rig::new(FakeDisk::with(rig.disk.durable()));
    }
}

#[test]
fn retention_by_age_does_not_wait_until_enough_is_dead_and_spares_streams_of_tenants() {
    let mut rig = Rig::new(FakeDisk::default());
    let stream = ConversationKey::tenant_stream(&TenantId::parse("acme").unwrap(), "flows");
    let mut leases = begin(&mut rig, &["a"]);
    let opened = rig.begin_key(&stream);
    leases.push((opened.lease, opened.head));
    for lease in &mut leases {
        push(&mut rig, lease, &[(RecordKind::Created, b"created"), (RecordKind::Turn, &[b'x'; 3000])]);
        push(&mut rig, lease, &[(RecordKind::Turn, b"young"), (RecordKind::Snapshot, b"state")]);
    }
    rig.compactor.options.dead_ratio = 1.0;
    let age = Duration::from_micros(100);
    rig.compactor.options.retention =
        RetentionPolicy { others: Some(Retention { turns: None, age: Some(age) }), ..RetentionPolicy::default() };
    rig.seal();
    // The second record was made at microsecond 2, the third at 3.
    let mut looked = Looked::new();
    rig.compactor.clock = Arc::new(At(102));
    assert!(!look(&rig, &mut looked), "not older than that");
    rig.compactor.clock = Arc::new(At(103));
    assert!(!look(&rig, &mut looked), "looked at a moment ago");
    assert!(look(&rig, &mut Looked::new()), "older by a microsecond");
    let turns = rig.turns("a").unwrap();
    assert_eq!(turns.iter().map(|turn| turn.payload.as_slice()).collect::<Vec<_>>(), [b"young"]);
    let kept = rig.verify_key(&stream).unwrap();
    assert_eq!(kept.turns, 2);
    rig.compactor.clock = Arc::new(At(u64::MAX));
    assert_eq!(rig.pass().unwrap().bodies_erased, 1, "the young one of \"a\", and nothing of the stream");
}

#[test]
fn an_open_that_waited_until_its_tail_was_let_go_of_is_not_answered_with_stubs() {
    let mut rig = Rig::new(FakeDisk::default());
    let mut leases = begin(&mut rig, &["a"]);
    push(&mut rig, &mut leases[0], &[(RecordKind::Created, b"created"), (RecordKind::Snapshot, b"early")]);
    rig.seal();
    push(&mut rig, &mut leases[0], &[(RecordKind::Turn, b"words")]);
    rig.seal();
    let (reply, mut late) = tokio::sync::oneshot::channel();
    rig.step([Command::Read { key: key("a"), intent: Intent::Open(reply) }]);
    let waits = std::mem::take(&mut rig.out.reads);
    let mut leases = begin(&mut rig, &["a"]);
    push(&mut rig, &mut leases[0], &[(RecordKind::Snapshot, b"late")]);
    rig.compactor.options.retention.others = Some(Retention { turns: None, age: Some(Duration::ZERO) });
    // So the earlier snapshot stays where it is.
    rig.compactor.options.dead_ratio = 1.0;
    rig.compactor.clock = Arc::new(At(u64::MAX));
    let compacted = rig.compact();
    assert_eq!((compacted.bodies_erased, compacted.snapshots_dropped), (1, 0));
    let answers: Vec<_> = waits.into_iter().filter_map(|job| rig.reader.run(job)).collect();
    rig.step(answers);
    assert_eq!(late.try_recv().unwrap().err(), Some(ReadError::Busy));
}
