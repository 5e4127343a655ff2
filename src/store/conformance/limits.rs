//! Limits are typed errors of the batch, before a store sees anything.

use super::{Harness, SALT, append, at, key, open, turn, turns};
use crate::record::{
    Batch, EFFECT_RESULT_BYTES_MAX, HEADER_BYTES, RECORD_BYTES_MAX, RecordKind, SALT_BYTES, SNAPSHOT_BYTES_MAX,
    TooLarge,
};

const PAYLOAD_MAX: usize = RECORD_BYTES_MAX - HEADER_BYTES - SALT_BYTES;

pub(super) async fn limits_are_refused_before_anything_is_written(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let mut batch = turn(&opened.lease, &opened.head, b"small");
    let before = (batch.head_after(), batch.bytes().len());
    let bytes = vec![0; RECORD_BYTES_MAX];
    let mut push = |kind, len: usize| batch.push(kind, at(1), SALT, bytes.get(..len).unwrap_or_default());
    let snapshot = SNAPSHOT_BYTES_MAX + 1;
    assert_eq!(push(RecordKind::Snapshot, snapshot), Err(TooLarge::Snapshot { bytes: snapshot }));
    let result = EFFECT_RESULT_BYTES_MAX + 1;
    assert_eq!(push(RecordKind::EffectResult, result), Err(TooLarge::EffectResult { bytes: result }));
    assert!(matches!(push(RecordKind::Turn, PAYLOAD_MAX + 1), Err(TooLarge::Record { .. })));
    assert_eq!((batch.head_after(), batch.bytes().len()), before, "a refused record leaves no trace");
    let head = append(&*store, &opened.lease, batch).await.expect("the batch is as it was");
    let mut full = Batch::new(&opened.lease, &head);
    let refused = (0..8).find_map(|_| full.push(RecordKind::Turn, at(1), SALT, &vec![0; PAYLOAD_MAX]).err());
    assert!(matches!(refused, Some(TooLarge::Batch { .. })));
    store.close().await;
}

pub(super) async fn the_largest_records_are_read_back(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let mut batch = turn(&opened.lease, &opened.head, &vec![b'r'; PAYLOAD_MAX]);
    batch.push(RecordKind::EffectResult, at(1), SALT, &[b'e'; EFFECT_RESULT_BYTES_MAX]).expect("at the limit");
    batch.push(RecordKind::Snapshot, at(1), SALT, &vec![b's'; SNAPSHOT_BYTES_MAX]).expect("at the limit");
    append(&*store, &opened.lease, batch).await.expect("appended");
    store.close().await;
    let store = harness.open().await;
    let again = open(&*store, &key("c")).await;
    assert_eq!(again.snapshot.map(|snapshot| snapshot.payload.len()), Some(SNAPSHOT_BYTES_MAX));
    let read = turns(&*store, &key("c"), 1, 9).await.expect("readable");
    assert_eq!(read.iter().map(|turn| turn.payload.len()).collect::<Vec<_>>(), [PAYLOAD_MAX]);
    store.close().await;
}
