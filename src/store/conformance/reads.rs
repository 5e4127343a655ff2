//! Reading ranges, listing, checkpoints, verification, figures.

use colloquy_types::{ConversationKey, Hash, Head, TenantId};

use super::{Harness, SALT, append, append_turns, at, key, open, texts, turn, turns};
use crate::{
    port::ReadError,
    record::{RecordKind, decode_record},
};

pub(super) async fn turns_are_read_by_range_and_limit(harness: &dyn Harness) {
    let mut store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let mut head = append_turns(&*store, &opened.lease, opened.head, 3).await;
    let mut batch = turn(&opened.lease, &head, b"turn 4");
    batch.push(RecordKind::Control, at(4), SALT, b"control").expect("small");
    batch.push(RecordKind::Snapshot, at(4), SALT, b"snapshot").expect("small");
    batch.push(RecordKind::Turn, at(4), SALT, b"turn 5").expect("small");
    head = append(&*store, &opened.lease, batch).await.expect("appended");
    for reopen in [false, true] {
        if reopen {
            store.close().await;
            store = harness.open().await;
        }
        let all = turns(&*store, &key("c"), 0, 100).await.expect("readable");
        assert_eq!(texts(&all), ["turn 1", "turn 2", "turn 3", "turn 4", "turn 5"]);
        assert!(all.iter().zip(1..).all(|(record, seq)| record.header.turn_seq.get() == seq));
        assert_eq!(texts(&turns(&*store, &key("c"), 2, 2).await.expect("readable")), ["turn 2", "turn 3"]);
        assert_eq!(texts(&turns(&*store, &key("c"), 5, 9).await.expect("readable")), ["turn 5"]);
        assert_eq!(turns(&*store, &key("c"), head.turn_seq.get() + 1, 9).await, Ok(Vec::new()));
        assert_eq!(turns(&*store, &key("c"), 1, 0).await, Ok(Vec::new()));
    }
    store.close().await;
}

pub(super) async fn turns_are_limited_by_bytes(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let (mut head, payload) = (opened.head, vec![b'x'; 900 << 10]);
    for _ in 0..7 {
        head = append(&*store, &opened.lease, turn(&opened.lease, &head, &payload)).await.expect("appended");
    }
    let first = turns(&*store, &key("c"), 1, 100).await.expect("readable");
    assert!((4..7).contains(&first.len()), "about 4 MiB, not {} records", first.len());
    let rest = turns(&*store, &key("c"), first.len() as u64 + 1, 100).await.expect("readable");
    assert_eq!(first.len() + rest.len(), 7);
    store.close().await;
}

pub(super) async fn an_absent_conversation_is_told_so(harness: &dyn Harness) {
    let store = harness.open().await;
    assert_eq!(turns(&*store, &key("c"), 0, 9).await, Err(ReadError::Absent));
    assert_eq!(store.verify(&key("c")).await, Err(ReadError::Absent));
    let opened = open(&*store, &key("c")).await;
    assert_eq!(turns(&*store, &key("c"), 0, 9).await, Err(ReadError::Absent), "opened, but nothing appended");
    drop(opened);
    store.close().await;
}

pub(super) async fn conversations_are_listed_by_tenant_in_order(harness: &dyn Harness) {
    let mut store = harness.open().await;
    let stream = ConversationKey::tenant_stream(&TenantId::parse("acme").expect("well formed"), "flows");
    let foreign = ConversationKey::from_parts("acme-2", "a").expect("well formed");
    let mut heads = Vec::new();
    for key in [key("b"), key("a-2"), stream, foreign.clone(), key("a"), key("a.1"), key("B")] {
        let opened = open(&*store, &key).await;
        heads.push((key, append_turns(&*store, &opened.lease, opened.head, 2).await));
    }
    let _never_created = open(&*store, &key("aa")).await;
    for round in 0..3 {
        if round == 1 {
            store.checkpoint().await.expect("checkpointed");
        }
        if round == 2 {
            store.close().await;
            store = harness.open().await;
        }
        let listed = store.list("acme", None, 100).await.expect("listed");
        let names: Vec<_> = listed.iter().map(|row| row.key.conversation()).collect();
        assert_eq!(names, ["B", "a", "a-2", "a.1", "b"]);
        for row in &listed {
            assert!(heads.contains(&(row.key.clone(), row.head)), "the head of {} is the one appended", row.key);
            assert_eq!(row.updated_at, at(3));
        }
        let page = store.list("acme", Some("a"), 2).await.expect("listed");
        assert_eq!(page.iter().map(|row| row.key.conversation()).collect::<Vec<_>>(), ["a-2", "a.1"]);
        assert_eq!(store.list("acme", Some("b"), 9).await, Ok(Vec::new()));
        let others = store.list("acme-2", None, 9).await.expect("listed");
        assert_eq!(others.into_iter().map(|row| row.key).collect::<Vec<_>>(), std::slice::from_ref(&foreign));
        assert_eq!(store.list("nobody", None, 9).await, Ok(Vec::new()));
    }
    store.close().await;
}

pub(super) async fn a_checkpoint_changes_nothing_that_can_be_read(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let mut head = append_turns(&*store, &opened.lease, opened.head, 2).await;
    store.checkpoint().await.expect("checkpointed");
    head = append(&*store, &opened.lease, turn(&opened.lease, &head, b"turn 3")).await.expect("the lease still holds");
    store.release(&opened.lease);
    store.checkpoint().await.expect("checkpointed");
    assert_eq!(turns(&*store, &key("c"), 1, 9).await.map(|t| texts(&t).len()), Ok(3));
    let again = open(&*store, &key("c")).await;
    assert_eq!((again.head, again.lease.uid), (head, opened.lease.uid));
    assert_eq!(texts(&again.tail), ["created", "turn 1", "turn 2", "turn 3"]);
    store.close().await;
}

pub(super) async fn a_whole_chain_verifies(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let mut head = append_turns(&*store, &opened.lease, opened.head, 5).await;
    let mut batch = turn(&opened.lease, &head, b"turn 6");
    batch.push(RecordKind::Snapshot, at(6), SALT, b"snapshot").expect("small");
    head = append(&*store, &opened.lease, batch).await.expect("appended");
    let verified = store.verify(&key("c")).await.expect("the chain is whole");
    assert_eq!((verified.records, verified.turns, verified.head), (7, 6, head));
    store.close().await;
}

pub(super) async fn a_history_is_read_whole_page_by_page(harness: &dyn Harness) {
    let mut store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let mut head = append_turns(&*store, &opened.lease, opened.head, 2).await;
    let mut batch = turn(&opened.lease, &head, b"turn 3");
    batch.push(RecordKind::Snapshot, at(3), SALT, b"snapshot").expect("small");
    batch.push(RecordKind::Control, at(3), SALT, b"control").expect("small");
    head = append(&*store, &opened.lease, batch).await.expect("appended");
    head = append_turns(&*store, &opened.lease, head, 1).await;
    let written = ["created", "turn 1", "turn 2", "turn 3", "snapshot", "control", "turn 4"];
    for round in 0..3 {
        if round == 1 {
            store.checkpoint().await.expect("checkpointed");
        }
        if round == 2 {
            store.close().await;
            store = harness.open().await;
        }
        for limit in 1..=8 {
            let (mut read, mut reached) = (Vec::new(), Head::default());
            while reached.record_no < head.record_no {
                let page = store.history(&key("c"), reached, limit).await.expect("readable");
                assert!(!page.records.is_empty() && page.records.len() <= limit + 1, "pages of {limit}");
                assert_eq!((page.uid, page.head), (opened.lease.uid, head));
                for row in page.records {
                    let decoded = decode_record(&row.stored).expect("its bytes are a record");
                    assert_eq!((&decoded.record, decoded.len), (&row.record, row.stored.len()));
                    read.push(row.record);
                }
                reached = page.reached;
            }
            assert_eq!(texts(&read), written, "pages of {limit}");
        }
        let end = store.history(&key("c"), head, 9).await.expect("readable");
        assert!(end.records.is_empty() && end.reached == head, "behind the head there is nothing");
    }
    assert_eq!(store.history(&key("d"), Head::default(), 9).await, Err(ReadError::Absent));
    store.close().await;
}

pub(super) async fn a_page_behind_a_foreign_head_is_refused(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &opened.lease, opened.head, 3).await;
    let first = store.history(&key("c"), Head::default(), 2).await.expect("readable").reached;
    for foreign in [
        Head { hash: Hash([9; 32]), ..first },
        Head { hash: Hash([9; 32]), ..head },
        Head { record_no: head.record_no.next(), ..head },
    ] {
        let refused = store.history(&key("c"), foreign, 9).await;
        assert!(matches!(refused, Err(ReadError::Corrupt { .. })), "{foreign:?}: {refused:?}");
    }
    store.close().await;
}

pub(super) async fn figures_count_what_was_appended(harness: &dyn Harness) {
    let store = harness.open().await;
    let before = store.stats();
    assert!(before.writable);
    let opened = open(&*store, &key("c")).await;
    append_turns(&*store, &opened.lease, opened.head, 3).await;
    let after = store.stats();
    assert_eq!(after.records - before.records, 4);
    assert!(after.bytes > before.bytes && after.syncs > before.syncs);
    assert_eq!(after.leases, 1);
    store.close().await;
}
