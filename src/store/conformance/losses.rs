//! Processes that end in the middle of it, and appends of which nobody knows.

use std::sync::Arc;

use colloquy_types::Head;
use tokio::sync::oneshot;

use super::{Harness, SALT, append, append_turns, at, key, open, turn};
use crate::{
    port::{AppendError, ConversationStore, Lease},
    record::{Batch, RecordKind},
};

const CRASHES: usize = 8;
const IN_FLIGHT: usize = 5;

/// Two turns and a control record: three records that stay together.
fn three(lease: &Lease, head: &Head, text: &str) -> Batch {
    let mut batch = turn(lease, head, text.as_bytes());
    batch.push(RecordKind::Control, at(1), SALT, b"control").expect("small");
    batch.push(RecordKind::Turn, at(1), SALT, text.as_bytes()).expect("small");
    batch
}

pub(super) async fn a_crash_keeps_what_was_acknowledged_and_all_or_nothing_of_the_rest(harness: &dyn Harness) {
    let mut reached = Head::default();
    for round in 0..CRASHES {
        let store = harness.open().await;
        let opened = open(&*store, &key("c")).await;
        assert_eq!(opened.head, reached, "round {round}: what the one before found is still so");
        let mut heads = vec![append_turns(&*store, &opened.lease, opened.head, 1).await];
        let mut answers = Vec::new();
        for number in 0..IN_FLIGHT {
            let head = heads.last().copied().unwrap_or_default();
            let batch = three(&opened.lease, &head, &format!("{round}, {number}"));
            heads.push(batch.head_after());
            let (reply, answer) = oneshot::channel();
            store.append(&opened.lease, batch, Box::new(move |ending| drop(reply.send(ending))));
            answers.push(answer);
        }
        harness.crash(store).await;
        let mut acknowledged = 0;
        for (number, answer) in answers.into_iter().enumerate() {
            match answer.await.expect("a completion is called exactly once") {
                Ok(head) => {
                    acknowledged = number + 1;
                    assert_eq!(heads.get(acknowledged), Some(&head));
                }
                Err(AppendError::Unknown | AppendError::NotApplied(_)) => {}
            }
        }
        let store = harness.open().await;
        let found = open(&*store, &key("c")).await.head;
        let place = heads.iter().position(|head| *head == found);
        assert!(place.is_some_and(|place| place >= acknowledged), "{found:?} after {acknowledged} of {heads:?}");
        assert_eq!(store.verify(&key("c")).await.map(|verified| verified.head), Ok(found));
        reached = found;
        harness.crash(store).await;
    }
}

/// Reopens after something that nobody knows the end of.
async fn after_crash(harness: &dyn Harness, store: Arc<dyn ConversationStore>) -> Arc<dyn ConversationStore> {
    harness.crash(store).await;
    harness.open().await
}

pub(super) async fn an_unknown_append_is_there_wholly_or_not_at_all(harness: &dyn Harness) {
    for round in 0..CRASHES {
        // An engine may choose for itself what becomes of it, so it is asked more than once.
        let (key, applied) = (key(&format!("c{round}")), round % 2 == 0);
        let store = harness.open().await;
        let opened = open(&*store, &key).await;
        let head = append_turns(&*store, &opened.lease, opened.head, 2).await;
        if !harness.lose_next(applied) {
            return store.close().await;
        }
        let batch = three(&opened.lease, &head, "who knows");
        let ending = append(&*store, &opened.lease, batch.clone()).await;
        assert_eq!(ending, Err(AppendError::Unknown), "applied: {applied}");
        let store = after_crash(harness, store).await;
        let again = open(&*store, &key).await;
        let found = again.head;
        assert!(found == head || found == batch.head_after(), "neither all nor nothing: {found:?}");
        assert_eq!(again.tail.len(), if found == head { 3 } else { 6 });
        // What the first open found, everyone finds.
        let store = after_crash(harness, store).await;
        assert_eq!(open(&*store, &key).await.head, found, "applied: {applied}");
        store.close().await;
    }
}
