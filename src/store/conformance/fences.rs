//! Who may append: activations, epochs, heads.

use colloquy_types::{Epoch, TurnSeq};
use tokio::sync::oneshot;

use super::{Harness, append, append_turns, key, open, texts, turn, turns};
use crate::port::{AppendError, NotApplied, ReadError};

const FENCED: AppendError = AppendError::NotApplied(NotApplied::Fenced);

pub(super) async fn a_later_activation_fences_the_earlier(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &first.lease, first.head, 1).await;
    let second = open(&*store, &key("c")).await;
    assert!(second.lease.activation > first.lease.activation);
    assert_eq!(second.lease.uid, first.lease.uid);
    assert_eq!(append(&*store, &first.lease, turn(&first.lease, &head, b"late")).await, Err(FENCED));
    assert!(append(&*store, &second.lease, turn(&second.lease, &head, b"own")).await.is_ok());
    assert_eq!(turns(&*store, &key("c"), 2, 9).await.map(|turns| texts(&turns)), Ok(vec!["own".to_owned()]));
    store.close().await;
}

pub(super) async fn an_append_queued_before_a_later_open_is_seen_by_it(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &first.lease, first.head, 1).await;
    let batch = turn(&first.lease, &head, b"queued");
    let expected = batch.head_after();
    let (reply, answer) = oneshot::channel();
    store.append(&first.lease, batch, Box::new(move |ending| drop(reply.send(ending))));
    let second = open(&*store, &key("c")).await;
    assert_eq!(second.head, expected, "what was queued first is committed first");
    assert_eq!(texts(&second.tail), ["created", "turn 1", "queued"]);
    assert_eq!(answer.await.expect("called once"), Ok(expected));
    store.close().await;
}

pub(super) async fn an_earlier_epoch_is_fenced(harness: &dyn Harness) {
    let store = harness.open().await;
    let before = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &before.lease, before.head, 1).await;
    store.close().await;
    let store = harness.open().await;
    let after = open(&*store, &key("c")).await;
    assert_eq!(append(&*store, &before.lease, turn(&before.lease, &head, b"late")).await, Err(FENCED));
    // The same activation under another epoch is another owner.
    let mut forged = after.lease.clone();
    forged.epoch = Epoch::new(after.lease.epoch.get() + 1);
    assert_eq!(append(&*store, &forged, turn(&forged, &head, b"early")).await, Err(FENCED));
    assert_eq!(after.head, head);
    store.close().await;
}

pub(super) async fn a_batch_built_on_another_head_conflicts(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let first = append_turns(&*store, &opened.lease, opened.head, 1).await;
    let second = append_turns(&*store, &opened.lease, first, 1).await;
    let conflict = Err(AppendError::NotApplied(NotApplied::Conflict { head: second }));
    assert_eq!(append(&*store, &opened.lease, turn(&opened.lease, &first, b"behind")).await, conflict);
    let ahead = turn(&opened.lease, &second, b"never appended").head_after();
    assert_eq!(append(&*store, &opened.lease, turn(&opened.lease, &ahead, b"ahead")).await, conflict);
    assert_eq!(open(&*store, &key("c")).await.head, second);
    store.close().await;
}

pub(super) async fn a_released_lease_is_fenced_and_a_stale_release_ignored(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &first.lease, first.head, 1).await;
    let second = open(&*store, &key("c")).await;
    store.release(&first.lease);
    assert_eq!(second.head, head);
    let head = append(&*store, &second.lease, turn(&second.lease, &head, b"own")).await.expect("still the owner");
    store.release(&second.lease);
    assert_eq!(append(&*store, &second.lease, turn(&second.lease, &head, b"late")).await, Err(FENCED));
    let third = open(&*store, &key("c")).await;
    assert_eq!((third.head, third.head.turn_seq), (head, TurnSeq::new(2)));
    assert!(third.lease.activation > second.lease.activation);
    store.close().await;
}

pub(super) async fn a_batch_of_another_conversation_is_fenced(harness: &dyn Harness) {
    let store = harness.open().await;
    let (one, other) = (open(&*store, &key("one")).await, open(&*store, &key("other")).await);
    assert_ne!(one.lease.uid, other.lease.uid);
    assert_eq!(append(&*store, &other.lease, turn(&one.lease, &one.head, b"theirs")).await, Err(FENCED));
    assert_eq!(turns(&*store, &key("one"), 0, 9).await, Err(ReadError::Absent));
    store.close().await;
}

pub(super) async fn a_closed_store_refuses_everything(harness: &dyn Harness) {
    let store = harness.open().await;
    let opened = open(&*store, &key("c")).await;
    let head = append_turns(&*store, &opened.lease, opened.head, 1).await;
    store.close().await;
    let closed = Err(AppendError::NotApplied(NotApplied::Closed));
    assert_eq!(append(&*store, &opened.lease, turn(&opened.lease, &head, b"late")).await, closed);
    assert_eq!(store.open(&key("c")).await.err(), Some(ReadError::Closed));
    assert_eq!(turns(&*store, &key("c"), 0, 9).await, Err(ReadError::Closed));
    assert_eq!(store.list("acme", None, 9).await, Err(ReadError::Closed));
    assert_eq!(store.verify(&key("c")).await, Err(ReadError::Closed));
    assert_eq!(store.checkpoint().await, Err(ReadError::Closed));
    assert!(!store.stats().writable);
    store.close().await;
}
