//! Appending, opening and reopening.

use std::sync::Arc;

use colloquy_types::{Head, RecordNo, TurnSeq};
use tokio::sync::oneshot;

use super::{Harness, SALT, append, append_turns, at, key, open, texts, turn, turns};
use crate::{
    port::{AppendError, NotApplied, ReadError},
    record::{Batch, RecordKind},
};

pub(super) async fn a_new_conversation_is_empty_and_leaves_nothing_behind(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    assert_eq!(opened.head, Head::default());
    assert!(opened.created.is_none() && opened.snapshot.is_none() && opened.tail.is_empty());
    assert_eq!(opened.lease.key, key("c"));
    assert_eq!(opened.lease.epoch, store.stats().epoch);
    store.release(&opened.lease);
    assert_eq!(turns(&*store, &key("c"), 0, 9).await, Err(ReadError::Absent));
    assert_eq!(store.list("acme", None, 9).await, Ok(Vec::new()));
    assert_eq!(store.stats().leases, 0);
    let again = open(&*store, &key("c")).await;
    assert_ne!(again.lease.uid, opened.lease.uid, "nothing of the first open was kept");
    store.close().await;
}

pub(super) async fn what_was_appended_is_there_after_reopening(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &opened.lease, opened.head, 3).await;
    assert_eq!((head.turn_seq, head.record_no), (TurnSeq::new(3), RecordNo::new(4)));
    assert_eq!(head.epoch, opened.lease.epoch);
    let first_epoch = store.stats().epoch;
    store.close().await;

    let store = harness.open().await;
    assert!(store.stats().epoch > first_epoch, "each open raises the epoch");
    let again = open(&*store, &key("c")).await;
    assert_eq!(again.head, head);
    assert_eq!(again.lease.uid, opened.lease.uid);
    assert_eq!(texts(&again.tail), ["created", "turn 1", "turn 2", "turn 3"]);
    assert_eq!(again.created.as_ref(), again.tail.first());
    assert_eq!(again.tail.last().map(|record| record.header.head()), Some(head));
    let head = append_turns(&*store, &again.lease, again.head, 1).await;
    assert!(head.epoch > first_epoch);
    store.close().await;

    let store = harness.open().await;
    assert_eq!(open(&*store, &key("c")).await.head, head);
    store.close().await;
}

pub(super) async fn a_later_open_gets_the_newest_snapshot_and_what_follows_it(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let mut head = append_turns(&*store, &opened.lease, opened.head, 2).await;
    for number in 1..=2 {
        let mut batch = turn(&opened.lease, &head, b"with a snapshot");
        batch.push(RecordKind::Snapshot, at(9), SALT, format!("snapshot {number}").as_bytes()).expect("small");
        head = append(&*store, &opened.lease, batch).await.expect("appended");
    }
    let represented = head;
    let head = append_turns(&*store, &opened.lease, head, 1).await;
    for reopen in [false, true] {
        let store = if reopen {
            store.close().await;
            harness.open().await
        } else {
            Arc::clone(&store)
        };
        let again = open(&*store, &key("c")).await;
        let snapshot = again.snapshot.expect("there is a snapshot");
        assert_eq!(texts(std::slice::from_ref(&snapshot)), ["snapshot 2"]);
        assert_eq!(snapshot.header.head(), represented);
        assert_eq!(texts(&again.tail), ["turn 5"]);
        assert_eq!(again.created.map(|created| created.payload), Some(b"created".to_vec()));
        assert_eq!(again.head, head);
        if reopen {
            store.close().await;
        }
    }
}

pub(super) async fn a_batch_is_applied_once(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let batch = turn(&opened.lease, &opened.head, b"once");
    let head = append(&*store, &opened.lease, batch.clone()).await.expect("appended");
    let again = append(&*store, &opened.lease, batch).await;
    assert_eq!(again, Err(AppendError::NotApplied(NotApplied::Conflict { head })));
    assert_eq!(turns(&*store, &key("c"), 1, 9).await.map(|turns| texts(&turns)), Ok(vec!["once".to_owned()]));
    store.close().await;
}

pub(super) async fn appends_in_flight_keep_their_order(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let (mut head, mut answers) = (opened.head, Vec::new());
    for number in 1..=100 {
        let batch = turn(&opened.lease, &head, format!("turn {number}").as_bytes());
        head = batch.head_after();
        let (reply, answer) = oneshot::channel();
        store.append(&opened.lease, batch, Box::new(move |ending| drop(reply.send(ending))));
        answers.push((head, answer));
    }
    for (expected, answer) in answers {
        assert_eq!(answer.await.expect("called once"), Ok(expected));
    }
    assert_eq!(open(&*store, &key("c")).await.head, head);
    store.close().await;
}

pub(super) async fn many_conversations_at_once_keep_to_themselves(harness: &dyn Harness) {
    let store = harness.open().await;
    let tasks: Vec<_> = (0..32)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let opened = open(&*store, &key(&format!("c{number}"))).await;
                append_turns(&*store, &opened.lease, opened.head, 20).await
            })
        })
        .collect();
    let mut heads = Vec::new();
    for task in tasks {
        heads.push(task.await.expect("no check panicked"));
    }
    store.close().await;
    let store = harness.open().await;
    for (number, head) in heads.into_iter().enumerate() {
        let key = key(&format!("c{number}"));
        assert_eq!(open(&*store, &key).await.head, head);
        let verified = store.verify(&key).await.expect("the chain is whole");
        assert_eq!((verified.records, verified.turns, verified.head), (21, 20, head));
    }
    store.close().await;
}

pub(super) async fn a_first_batch_must_name_its_conversation(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let conflict = Err(AppendError::NotApplied(NotApplied::Conflict { head: Head::default() }));
    let mut nameless = Batch::new(&opened.lease, &opened.head);
    nameless.push(RecordKind::Turn, at(1), SALT, b"turn").expect("small");
    assert_eq!(append(&*store, &opened.lease, nameless).await, conflict);
    let mut misnamed = Batch::new(&opened.lease, &opened.head);
    misnamed.push_created(at(1), SALT, &key("another"), b"").expect("small");
    assert_eq!(append(&*store, &opened.lease, misnamed).await, conflict);
    let head = append_turns(&*store, &opened.lease, opened.head, 1).await;
    let mut twice = Batch::new(&opened.lease, &head);
    twice.push_created(at(1), SALT, &opened.lease.key, b"").expect("small");
    let refused = append(&*store, &opened.lease, twice).await;
    assert_eq!(refused, Err(AppendError::NotApplied(NotApplied::Conflict { head })));
    store.close().await;
}

pub(super) async fn a_snapshot_alone_may_be_appended(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &opened.lease, opened.head, 2).await;
    let mut batch = Batch::new(&opened.lease, &head);
    batch.push(RecordKind::Snapshot, at(9), SALT, b"state").expect("small");
    assert_eq!(append(&*store, &opened.lease, batch).await, Ok(head));
    store.close().await;
    let store = harness.open().await;
    let again = open(&*store, &key("c")).await;
    assert_eq!(again.snapshot.map(|snapshot| snapshot.header.head()), Some(head));
    assert!(again.tail.is_empty());
    store.close().await;
}
