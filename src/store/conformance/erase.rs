//! Erasing conversations, and compaction.

use std::sync::Arc;

use colloquy_types::{ConversationUid, Head, RecordNo};

use super::{Harness, SALT, append, append_turns, at, key, open, texts, turn, turns};
use crate::{
    port::{AppendError, ConversationStore, HistoryPage, Lease, Listed, NotApplied, ReadError, Verified},
    record::{Batch, RecordKind},
};

const FENCED: AppendError = AppendError::NotApplied(NotApplied::Fenced);

fn erasing(lease: &Lease, head: &Head) -> Batch {
    let mut batch = Batch::new(lease, head);
    batch.push(RecordKind::Erased, at(99), SALT, b"receipt").expect("small");
    batch
}

/// Erases what `lease` owns.
async fn erase(store: &dyn ConversationStore, lease: &Lease, head: &Head) -> Head {
    append(store, lease, erasing(lease, head)).await.expect("erased")
}

async fn reopened(store: Arc<dyn ConversationStore>, harness: &dyn Harness) -> Arc<dyn ConversationStore> {
    store.close().await;
    harness.open().await
}

pub(super) async fn an_erased_conversation_is_absent_and_its_key_is_free(harness: &dyn Harness) {
    let mut store = harness.open().await;
    let other = open(&*store, &key("other")).await;
    append_turns(&*store, &other.lease, other.head, 1).await;
    let first = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &first.lease, first.head, 3).await;
    store.checkpoint().await.expect("checkpointed");
    let end = erase(&*store, &first.lease, &head).await;
    assert_eq!(end.record_no, head.record_no.next());
    // At once, when the index knows, after compaction, and in later processes.
    for round in 0..5 {
        match round {
            1 => store.checkpoint().await.expect("checkpointed"),
            2 | 4 => store = reopened(store, harness).await,
            3 => drop(store.compact().await.expect("compacted")),
            _ => {}
        }
        assert_eq!(turns(&*store, &key("c"), 0, 9).await, Err(ReadError::Absent), "round {round}");
        assert_eq!(store.history(&key("c"), Head::default(), 9).await, Err(ReadError::Absent), "round {round}");
        assert_eq!(store.verify(&key("c")).await, Err(ReadError::Absent), "round {round}");
        let listed = store.list("acme", None, 9).await.expect("listed");
        assert_eq!(listed.into_iter().map(|row| row.key).collect::<Vec<_>>(), [key("other")], "round {round}");
        let fresh = open(&*store, &key("c")).await;
        assert_ne!(fresh.lease.uid, first.lease.uid, "round {round}");
        assert!(fresh.head == Head::default() && fresh.created.is_none() && fresh.tail.is_empty(), "round {round}");
        store.release(&fresh.lease);
    }
    let second = open(&*store, &key("c")).await;
    let own = append_turns(&*store, &second.lease, second.head, 2).await;
    for round in 0..4 {
        match round {
            1 => store.checkpoint().await.expect("checkpointed"),
            2 => store = reopened(store, harness).await,
            3 => drop(store.compact().await.expect("compacted")),
            _ => {}
        }
        let again = open(&*store, &key("c")).await;
        assert_eq!((again.lease.uid, again.head), (second.lease.uid, own), "round {round}");
        assert_eq!(texts(&again.tail), ["created", "turn 1", "turn 2"], "round {round}");
        assert_eq!(store.list("acme", None, 9).await.map(|rows| rows.len()), Ok(2), "round {round}");
    }
    store.close().await;
}

pub(super) async fn an_erased_conversation_is_fenced_for_good(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &opened.lease, opened.head, 1).await;
    let leases = store.stats().leases;
    let end = erase(&*store, &opened.lease, &head).await;
    assert_eq!(store.stats().leases, leases - 1, "the lease is gone");
    assert_eq!(append(&*store, &opened.lease, turn(&opened.lease, &end, b"late")).await, Err(FENCED));
    assert_eq!(append(&*store, &opened.lease, erasing(&opened.lease, &head)).await, Err(FENCED), "erased twice");
    store.release(&opened.lease);
    let next = open(&*store, &key("c")).await;
    assert_eq!(append(&*store, &opened.lease, turn(&opened.lease, &end, b"late")).await, Err(FENCED));
    let head = append_turns(&*store, &next.lease, next.head, 1).await;
    // What was queued behind an erasure is refused like what comes later.
    let (first, second) = (erasing(&next.lease, &head), turn(&next.lease, &head, b"queued"));
    let (reply, answer) = tokio::sync::oneshot::channel();
    store.append(&next.lease, first, Box::new(move |ending| drop(reply.send(ending))));
    assert_eq!(append(&*store, &next.lease, second).await, Err(FENCED));
    assert!(answer.await.expect("called once").is_ok());
    assert_eq!(turns(&*store, &key("c"), 0, 9).await, Err(ReadError::Absent));
    store.close().await;
}

pub(super) async fn nothing_follows_an_erasure_in_its_batch(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &opened.lease, opened.head, 1).await;
    let conflict = Err(AppendError::NotApplied(NotApplied::Conflict { head }));
    for kind in [RecordKind::Turn, RecordKind::Snapshot, RecordKind::Erased] {
        let mut batch = erasing(&opened.lease, &head);
        batch.push(kind, at(99), SALT, b"more").expect("small");
        assert_eq!(append(&*store, &opened.lease, batch).await, conflict);
    }
    // The last words of a conversation, and its end, may come together; so may its beginning and end.
    let mut batch = turn(&opened.lease, &head, b"last words");
    batch.push(RecordKind::Erased, at(99), SALT, b"receipt").expect("small");
    assert!(append(&*store, &opened.lease, batch).await.is_ok());
    let brief = open(&*store, &key("c")).await;
    let mut batch = turn(&brief.lease, &brief.head, b"only words");
    batch.push(RecordKind::Erased, at(99), SALT, b"receipt").expect("small");
    assert!(append(&*store, &brief.lease, batch).await.is_ok());
    assert_ne!(open(&*store, &key("c")).await.lease.uid, brief.lease.uid);
    store.compact().await.expect("compacted");
    for uid in [opened.lease.uid, brief.lease.uid] {
        assert!(store.erasure(uid).await.expect("walked").is_complete());
    }
    store.close().await;
}

pub(super) async fn compaction_leaves_headers_and_the_record_of_the_erasure(harness: &dyn Harness) {
    let mut store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let mut head = append_turns(&*store, &opened.lease, opened.head, 3).await;
    for _ in 0..2 {
        let mut batch = turn(&opened.lease, &head, b"with a snapshot");
        batch.push(RecordKind::Snapshot, at(9), SALT, b"state").expect("small");
        head = append(&*store, &opened.lease, batch).await.expect("appended");
    }
    let end = erase(&*store, &opened.lease, &head).await;
    let uid = opened.lease.uid;
    let before = store.erasure(uid).await.expect("walked");
    assert_eq!((before.records, before.chain_holds, before.head), (7, true, end));
    assert_eq!((before.bodies, before.snapshots, before.is_complete()), (6, 2, false));
    assert_eq!(store.stats().erasures_pending, 1);
    let compacted = store.compact().await.expect("compacted");
    assert_eq!((compacted.bodies_erased, compacted.snapshots_dropped), (6, 2));
    assert!(compacted.segments_rewritten > 0 && compacted.bytes_after < compacted.bytes_before);
    for round in 0..3 {
        if round == 1 {
            store = reopened(store, harness).await;
        }
        if round == 2 {
            let again = store.compact().await.expect("compacted");
            assert_eq!((again.bodies_erased, again.snapshots_dropped, again.segments_rewritten), (0, 0, 0));
        }
        let after = store.erasure(uid).await.expect("walked");
        assert_eq!((after.records, after.chain_holds, after.head), (7, true, end), "round {round}");
        assert_eq!((after.bodies, after.snapshots, after.is_complete()), (0, 0, true), "round {round}");
        assert_eq!(store.stats().erasures_pending, 0, "round {round}");
    }
    store.close().await;
}

pub(super) async fn an_erasure_that_never_was_is_absent(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    assert_eq!(store.erasure(opened.lease.uid).await, Err(ReadError::Absent), "nothing is stored");
    append_turns(&*store, &opened.lease, opened.head, 2).await;
    assert_eq!(store.erasure(opened.lease.uid).await, Err(ReadError::Absent), "it lives");
    store.release(&opened.lease);
    store.checkpoint().await.expect("checkpointed");
    assert_eq!(store.erasure(opened.lease.uid).await, Err(ReadError::Absent), "it lives in the index");
    assert_eq!(store.erasure(ConversationUid([1; 16])).await, Err(ReadError::Absent), "nobody has it");
    store.close().await;
    assert_eq!(store.erasure(opened.lease.uid).await, Err(ReadError::Closed));
    assert_eq!(store.compact().await, Err(ReadError::Closed));
}

/// Everything that can be read of a tenant, but superseded snapshots.
type Told = (Vec<Listed>, Vec<(Verified, HistoryPage, Vec<String>)>);

async fn told(store: &dyn ConversationStore) -> Told {
    let listed = store.list("acme", None, 100).await.expect("listed");
    let mut conversations = Vec::new();
    for row in &listed {
        let mut page = store.history(&row.key, Head::default(), 1000).await.expect("readable");
        let newest = page.records.iter().rposition(|row| row.record.header.kind == RecordKind::Snapshot);
        let mut number = 0..;
        page.records.retain(|row| {
            let is_newest = number.next() == newest;
            is_newest || row.record.header.kind.is_chained()
        });
        let verified = store.verify(&row.key).await.expect("the chain is whole");
        let turns = turns(store, &row.key, 0, 1000).await.expect("readable");
        conversations.push((verified, page, texts(&turns)));
    }
    (listed, conversations)
}

pub(super) async fn compaction_changes_nothing_that_can_be_read(harness: &dyn Harness) {
    let mut store = harness.open().await;
    let mut leases = Vec::new();
    for number in 0..6 {
        let opened = open(&*store, &key(&format!("c{number}"))).await;
        leases.push((opened.lease, opened.head));
    }
    for round in 0..12 {
        for (number, (lease, head)) in leases.iter_mut().enumerate() {
            let mut batch = turn(lease, head, format!("round {round} of {number}").repeat(20).as_bytes());
            if round % 3 == number % 3 {
                batch.push(RecordKind::Snapshot, at(9), SALT, format!("state {round}").as_bytes()).expect("small");
            }
            *head = append(&*store, lease, batch).await.expect("appended");
        }
    }
    for (lease, head) in leases.split_off(4) {
        erase(&*store, &lease, &head).await;
    }
    let before = told(&*store).await;
    assert_eq!(before.0.len(), 4);
    store.compact().await.expect("compacted");
    assert_eq!(told(&*store).await, before);
    for (lease, head) in &mut leases {
        *head = append(&*store, lease, turn(lease, head, b"afterwards")).await.expect("the lease still holds");
    }
    let before = told(&*store).await;
    for round in 0..3 {
        if round == 1 {
            store = reopened(store, harness).await;
        }
        if round == 2 {
            store.compact().await.expect("compacted");
        }
        assert_eq!(told(&*store).await, before, "round {round}");
        for (number, (lease, head)) in leases.iter().enumerate() {
            let again = open(&*store, &lease.key).await;
            assert_eq!(again.head, *head, "round {round}");
            let snapshot = again.snapshot.expect("there is one");
            assert_eq!(texts(&[snapshot]), [format!("state {}", 9 + number % 3)], "round {round}");
            assert_eq!(again.created.map(|created| created.header.record_no), Some(RecordNo::new(1)));
        }
    }
    store.close().await;
}
