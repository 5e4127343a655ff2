//! The simulated store is an engine like the others; what a crash takes was acknowledged to nobody.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use colloquy_types::{ConversationKey, Entropy as _, Timestamp};
use tokio::{sync::oneshot, time::Duration};

use super::{Crash, SimulatedDisk, SimulatedStore};
use crate::{
    AppendError, Batch, BoxFuture, ConversationStore, Lease, NotApplied, Opened, RecordKind,
    conformance::{self, Harness},
    faults::{random::Ticks, tests::scratch},
};

struct Machine {
    disk: SimulatedDisk,
    running: Mutex<Option<Arc<SimulatedStore>>>,
    _scratch: tempfile::TempDir,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let scratch = scratch();
        let disk = SimulatedDisk::new(seed, scratch.path()).unwrap();
        Self { disk, running: Mutex::default(), _scratch: scratch }
    }

    fn start(&self) -> Arc<SimulatedStore> {
        let store = self.disk.start(Arc::new(Ticks::default())).unwrap();
        *self.running.lock().unwrap() = Some(Arc::clone(&store));
        store
    }
}

impl Harness for Machine {
    fn open(&self) -> BoxFuture<'_, Arc<dyn ConversationStore>> {
        let store = self.start();
        Box::pin(async move { store as Arc<dyn ConversationStore> })
    }

    fn crash(&self, _: Arc<dyn ConversationStore>) -> BoxFuture<'_, ()> {
        let running = self.running.lock().unwrap().take().unwrap();
        self.disk.crash(&running, Crash::Power).unwrap();
        Box::pin(std::future::ready(()))
    }

    fn lose_next(&self, applied: bool) -> bool {
        let running = self.running.lock().unwrap();
        let store = running.as_ref().unwrap();
        if applied {
            store.lose_acknowledgement()
        } else {
            store.lose_append()
        }
        true
    }
}

#[tokio::test(start_paused = true)]
async fn the_simulated_store_keeps_the_port_s_promises() {
    let seeds = AtomicU64::new(0);
    conformance::run_all(|| Machine::new(seeds.fetch_add(1, Ordering::Relaxed))).await;
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
