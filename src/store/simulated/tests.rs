//! The simulated store loses in a crash what was acknowledged to nobody, and fences what arrives late.

use std::sync::Arc;

use colloquy_types::{ConversationKey, Entropy as _, Timestamp};
use tokio::{sync::oneshot, time::Duration};

use super::{Crash, SimulatedDisk, SimulatedStore};
use crate::{
    AppendError, Batch, ConversationStore, Lease, NotApplied, Opened, RecordKind,
    faults::{disk::Part, random::Ticks, tests::scratch},
};

struct Machine {
    disk: SimulatedDisk,
    _scratch: tempfile::TempDir,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let scratch = scratch();
        let disk = SimulatedDisk::new(seed, scratch.path()).unwrap();
        Self { disk, _scratch: scratch }
    }

    fn start(&self) -> Arc<SimulatedStore> {
        self.disk.start(Arc::new(Ticks::default())).unwrap()
    }
}

fn key() -> ConversationKey {
    ConversationKey::from_parts("acme", "c").unwrap()
}

fn batch(machine: &Machine, opened: &Opened) -> Batch {
    let mut batch = Batch::new(&opened.lease, &opened.head);
    let entropy = &machine.disk.entropy;
    batch.push_created(Timestamp::default(), entropy.bytes16(), &opened.lease.key, b"created").unwrap();
    batch.push(RecordKind::Turn, Timestamp::default(), entropy.bytes16(), b"turn").unwrap();
    batch
}

fn append(
    store: &SimulatedStore,
    lease: &Lease,
    batch: Batch,
) -> oneshot::Receiver<Result<colloquy_types::Head, AppendError>> {
    let (told, ending) = oneshot::channel();
    store.append(lease, batch, Box::new(move |ending| drop(told.send(ending))));
    ending
}

#[tokio::test(start_paused = true)]
async fn what_is_told_as_synced_survives_the_power_and_what_waits_need_not() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..40 {
        let machine = Machine::new(seed);
        let store = machine.start();
        let opened = store.open(&key()).await.unwrap();
        let batch = batch(&machine, &opened);
        let head = batch.head_after();
        store.slow_down(Duration::from_millis(seed % 8));
        let _ending = append(&store, &opened.lease, batch);
        tokio::time::sleep(Duration::from_millis(4)).await;
        let synced = store.take_synced();
        machine.disk.crash(&store, Crash::Power).unwrap();
        let found = machine.start().open(&key()).await.unwrap().head;
        if let [synced] = synced.as_slice() {
            assert_eq!((synced.head, found), (head, head), "seed {seed}");
            assert_eq!(synced.records.len(), 2);
            kept += 1;
        } else {
            lost += u64::from(found != head);
        }
    }
    assert!(kept > 5 && lost > 5, "{kept} kept, {lost} lost");
}

#[tokio::test(start_paused = true)]
async fn an_append_that_arrives_behind_the_next_owner_is_fenced() {
    let machine = Machine::new(1);
    let store = machine.start();
    let opened = store.open(&key()).await.unwrap();
    store.delay_append(Duration::from_secs(1));
    let ending = append(&store, &opened.lease, batch(&machine, &opened));
    store.open(&key()).await.unwrap();
    assert_eq!(ending.await.unwrap(), Err(AppendError::NotApplied(NotApplied::Fenced)));
    assert!(store.take_synced().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_append_of_a_process_that_ended_is_fenced_by_the_next_one() {
    let machine = Machine::new(2);
    let store = machine.start();
    let opened = store.open(&key()).await.unwrap();
    store.delay_append(Duration::from_secs(1));
    let ending = append(&store, &opened.lease, batch(&machine, &opened));
    machine.disk.crash(&store, Crash::Process).unwrap();
    machine.start();
    assert_eq!(ending.await.unwrap(), Err(AppendError::NotApplied(NotApplied::Fenced)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_closed_after_a_failed_write_opens_again_with_what_was_acknowledged() {
    let machine = Machine::new(3);
    let store = machine.start();
    let opened = store.open(&key()).await.unwrap();
    let first = batch(&machine, &opened);
    let head = first.head_after();
    assert_eq!(append(&store, &opened.lease, first).await.unwrap(), Ok(head));
    let mut second = Batch::new(&opened.lease, &head);
    second.push(RecordKind::Turn, Timestamp::default(), machine.disk.entropy.bytes16(), b"lost").unwrap();
    machine.disk.disk.fail_commit(Part::Write);
    assert_eq!(append(&store, &opened.lease, second).await.unwrap(), Err(AppendError::Unknown));
    store.close().await;
    machine.disk.crash(&store, Crash::Process).unwrap();
    let store = machine.start();
    assert_eq!(store.open(&key()).await.unwrap().head, head);
    assert_eq!(store.verify(&key()).await.unwrap().head, head);
}
