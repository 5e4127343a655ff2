//! Clocks that step back and forth decide nothing of what is stored.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use colloquy_types::{Clock, Epoch, Head, SystemEntropy, Timestamp, TurnSeq};
use tempfile::TempDir;

use super::rig::{append, key, options};
use crate::{
    journal::JournalStore,
    port::{AppendError, ConversationStore, Lease, NotApplied},
    record::{Batch, RecordKind},
};

/// A clock that says what it is told.
struct Told(AtomicU64);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

fn turn(lease: &Lease, head: &Head, time: Timestamp) -> Batch {
    let mut batch = Batch::new(lease, head);
    if head.record_no.get() == 0 {
        batch.push_created(time, [5; 16], &lease.key, b"created").unwrap();
    }
    batch.push(RecordKind::Turn, time, [6; 16], format!("turn {}", head.turn_seq.get() + 1).as_bytes()).unwrap();
    batch
}

/// Years ahead, the beginning of time, the end of it, and a little back: within a process, and from one to the next.
const STEPS: [u64; 6] = [1_767_603_600_000_000, 4_000_000_000_000_000, 0, u64::MAX, 1, 1_767_603_599_999_999];

#[tokio::test]
async fn a_clock_that_steps_changes_no_order_loses_nothing_and_fences_as_ever() {
    let folder = TempDir::new().unwrap();
    let clock = Arc::new(Told(AtomicU64::new(0)));
    let (mut turns, mut epoch, mut stale) = (0, Epoch::default(), None::<Lease>);
    for process in STEPS {
        clock.0.store(process, Ordering::Relaxed);
        let told: Arc<dyn Clock> = Arc::<Told>::clone(&clock);
        let store = JournalStore::open(&options(folder.path()), told, Arc::new(SystemEntropy)).unwrap();
        for name in ["a", "b"] {
            let opened = store.open(&key(name)).await.unwrap();
            assert_eq!(opened.head.turn_seq, TurnSeq::new(turns), "nothing is lost");
            let (lease, mut head) = (opened.lease, opened.head);
            for step in STEPS {
                clock.0.store(step, Ordering::Relaxed);
                head = append(&store, &lease, turn(&lease, &head, clock.now())).await.unwrap();
            }
            assert!(lease.epoch > epoch || name == "b", "each process has a higher epoch, whatever its clock says");
            epoch = lease.epoch;
            if let Some(stale) = stale.take_if(|stale| stale.key == lease.key) {
                let refused = append(&store, &stale, turn(&stale, &head, clock.now())).await;
                assert_eq!(
                    refused,
                    Err(AppendError::NotApplied(NotApplied::Fenced)),
                    "an earlier process stays fenced"
                );
            }
            if name == "b" {
                stale = Some(lease);
            }
        }
        turns += STEPS.len() as u64;
        store.compact().await.unwrap();
        for name in ["a", "b"] {
            let verified = store.verify(&key(name)).await.unwrap();
            assert_eq!(verified.turns, turns);
            let read = store.turns(&key(name), TurnSeq::new(1), 1000).await.unwrap();
            let told: Vec<_> = read.iter().map(|turn| String::from_utf8(turn.payload.to_vec()).unwrap()).collect();
            let expected: Vec<_> = (1..=turns).map(|number| format!("turn {number}")).collect();
            assert_eq!(told, expected, "in the order in which they were committed");
        }
        let listed = store.list("acme", None, 10).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.key.conversation()).collect::<Vec<_>>(), ["a", "b"]);
        // Ends as a killed process does.
        drop(store);
    }
}
