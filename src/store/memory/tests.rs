//! The `memory` engine against the kit, and its faults.

use std::sync::{Mutex, mpsc};

use colloquy_types::SystemEntropy;

use super::*;
use crate::{conformance, port::ReadError, record::RecordKind};

/// The latest process; the kit has the same handle.
struct Memory(Mutex<Arc<MemoryStore>>);

impl conformance::Harness for Memory {
    fn open(&self) -> BoxFuture<'_, Arc<dyn ConversationStore>> {
        Box::pin(async {
            let mut latest = locked(&self.0);
            *latest = Arc::new(latest.reopen());
            Arc::clone(&latest) as Arc<dyn ConversationStore>
        })
    }

    fn crash(&self, store: Arc<dyn ConversationStore>) -> BoxFuture<'_, ()> {
        // The next process ends this one.
        drop(store);
        Box::pin(async {})
    }

    fn lose_next(&self, applied: bool) -> bool {
        locked(&self.0).fail_next(if applied { Fault::UnknownWritten } else { Fault::UnknownLost });
        true
    }
}

fn store() -> MemoryStore {
    MemoryStore::new(Arc::new(SystemEntropy))
}

#[tokio::test]
async fn memory_passes_the_conformance_kit() {
    conformance::run_all(|| Memory(Mutex::new(Arc::new(store())))).await;
}

fn key() -> ConversationKey {
    ConversationKey::from_parts("acme", "c").unwrap()
}

fn first_turn(lease: &Lease, head: &Head) -> Batch {
    let mut batch = Batch::new(lease, head);
    let time = colloquy_types::Timestamp::from_micros(1);
    batch.push_created(time, [1; 16], &lease.key, b"").unwrap();
    batch.push(RecordKind::Turn, time, [1; 16], b"turn").unwrap();
    batch
}

fn append(store: &MemoryStore, lease: &Lease, batch: Batch) -> mpsc::Receiver<Result<Head, AppendError>> {
    let (reply, answer) = mpsc::sync_channel(1);
    store.append(lease, batch, Box::new(move |ending| reply.send(ending).unwrap()));
    answer
}

#[tokio::test]
async fn held_calls_end_in_order_and_are_lost_with_the_process() {
    let store = store();
    let opened = store.open(&key()).await.unwrap();
    store.hold();
    let batch = first_turn(&opened.lease, &opened.head);
    let answer = append(&store, &opened.lease, batch.clone());
    assert_eq!((store.held(), answer.try_recv()), (1, Err(mpsc::TryRecvError::Empty)));
    assert!(store.let_one_go());
    assert_eq!(answer.recv().unwrap(), Ok(batch.head_after()));
    let mut second = Batch::new(&opened.lease, &batch.head_after());
    second.push(RecordKind::Turn, batch.time(), [1; 16], b"lost").unwrap();
    let lost = append(&store, &opened.lease, second);
    let reopened = store.reopen();
    assert_eq!(lost.recv().unwrap(), Err(AppendError::Unknown));
    assert_eq!(reopened.open(&key()).await.unwrap().head, batch.head_after());
    assert_eq!(store.open(&key()).await.err(), Some(ReadError::Closed));
}

#[tokio::test]
async fn a_fault_plan_ends_appends_as_told() {
    let store = store();
    let opened = store.open(&key()).await.unwrap();
    let batch = first_turn(&opened.lease, &opened.head);
    store.set_faults(FaultPlan::new().then(Fault::Full).then(Fault::UnknownLost).then(Fault::UnknownWritten));
    let full = append(&store, &opened.lease, batch.clone()).recv().unwrap();
    assert_eq!(full, Err(AppendError::NotApplied(NotApplied::Full)));
    assert_eq!(append(&store, &opened.lease, batch.clone()).recv().unwrap(), Err(AppendError::Unknown));
    assert_eq!(store.open(&key()).await.unwrap().head, Head::default(), "lost");
    let opened = store.open(&key()).await.unwrap();
    let batch = first_turn(&opened.lease, &opened.head);
    assert_eq!(append(&store, &opened.lease, batch.clone()).recv().unwrap(), Err(AppendError::Unknown));
    assert_eq!(store.open(&key()).await.unwrap().head, batch.head_after(), "written");
    store.set_faults(FaultPlan::new().succeed(1));
    store.fail_next(Fault::Full);
}
