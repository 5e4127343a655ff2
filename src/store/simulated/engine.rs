//! The store that a simulated process uses: queues commands for its driver, and is the port's engine.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use colloquy_types::{Activation, ConversationKey, ConversationUid, Head, TurnSeq};
use tokio::sync::{Notify, oneshot, watch};

use super::{
    Attempted, Synced, driver,
    faults::{Fate, Faults},
    lock,
};
use crate::{
    done::Done,
    faults::{disk::FaultDisk, life::Life, random::Random},
    journal::{
        command::{Command, Intent, Reply},
        reader::ReadJob,
    },
    port::{
        AppendError, BoxFuture, Compacted, Completion, ConversationStore, Erasure, HistoryPage, Lease, Listed,
        NotApplied, Opened, ReadError, StoreStats, Verified,
    },
    record::{Batch, RecordKind, StoredRecord, decode_record},
};

/// The ending of an append that waits to be told.
pub(super) struct Ended {
    pub(super) done: Done,
    pub(super) ending: Result<Head, AppendError>,
}

struct State {
    life: Life,
    queue: VecDeque<Command>,
    /// Appends of the group that is on its way, in order.
    under_way: Vec<(Lease, Batch)>,
    synced: Vec<Synced>,
    attempted: Vec<Attempted>,
    /// Appends that are still to arrive, by ticket.
    late: BTreeMap<u64, Command>,
    tickets: u64,
    /// The newest activation of each conversation that whoever opened it was told of.
    owners: BTreeMap<ConversationUid, Activation>,
    random: Random,
}

/// The journal as a process has it open on a [`super::SimulatedDisk`].
pub struct SimulatedStore {
    state: Mutex<State>,
    disk: FaultDisk,
    /// Set by a crash: nothing is written any more, and nobody told anything.
    ended: watch::Sender<bool>,
    woken: Notify,
    faults: Arc<Faults>,
    myself: Weak<SimulatedStore>,
}

impl std::fmt::Debug for SimulatedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedStore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// For the driver.
impl SimulatedStore {
    pub(super) fn new(life: Life, disk: FaultDisk, random: Random, faults: Arc<Faults>) -> Arc<Self> {
        faults.clear();
        let state = State {
            life,
            queue: VecDeque::new(),
            under_way: Vec::new(),
            synced: Vec::new(),
            attempted: Vec::new(),
            late: BTreeMap::new(),
            tickets: 0,
            owners: BTreeMap::new(),
            random,
        };
        Arc::new_cyclic(|myself| Self {
            state: Mutex::new(state),
            disk,
            ended: watch::Sender::new(false),
            woken: Notify::new(),
            faults,
            myself: myself.clone(),
        })
    }

    pub(super) async fn until_woken(&self) {
        while self.is_idle() && !self.is_ended() {
            self.woken.notified().await;
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        lock(&self.state).queue.is_empty()
    }

    pub(super) fn has_chores(&self) -> bool {
        lock(&self.state).life.has_chores()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_ended() || self.disk.is_dead()
    }

    fn is_ended(&self) -> bool {
        *self.ended.borrow()
    }

    pub(super) async fn until_ended(&self) {
        // The sender is this store's own.
        drop(self.ended.subscribe().wait_for(|ended| *ended).await);
    }

    pub(super) fn take_group(&self) -> Vec<Command> {
        let mut state = lock(&self.state);
        let mut group: Vec<Command> = state.queue.drain(..).collect();
        state.under_way = group.iter().filter_map(appended).collect();
        if self.faults.acknowledges_early() {
            for command in &mut group {
                if let Command::Append { batch, done, .. } = command {
                    std::mem::replace(done, Done::new(Box::new(drop))).call(Ok(batch.head_after()));
                }
            }
        }
        group
    }

    /// How long the next group takes to be written and synced.
    pub(super) fn pace_of_sync(&self) -> Duration {
        let slow = self.faults.take_slow();
        slow + lock(&self.state).pace(60, 6)
    }

    /// How long its answers take.
    pub(super) fn pace_of_answer(&self) -> Duration {
        lock(&self.state).pace(70, 4)
    }

    /// Writes and syncs a group, and takes note of what is durable from now on.
    pub(super) fn step(&self, group: Vec<Command>) -> Vec<Ended> {
        let mut state = lock(&self.state);
        let ended = state.life.advance(group);
        let under_way = std::mem::take(&mut state.under_way);
        let epoch = state.life.stats().epoch;
        // The writer ends appends in the order in which it takes them.
        for ((lease, batch), (_, ending)) in under_way.into_iter().zip(&ended) {
            if ending.is_ok() && !batch.is_empty() {
                let owner = state.owners.get(&lease.uid).copied();
                let fenced_by = owner.filter(|owner| *owner > lease.activation || lease.epoch != epoch);
                state.synced.push(Synced { lease, head: batch.head_after(), records: records(&batch), fenced_by });
            }
        }
        ended.into_iter().map(|(done, ending)| Ended { done, ending }).collect()
    }

    /// The reads that the last step asked for, and how long each of them takes.
    pub(super) fn take_reads(&self) -> Vec<(Duration, ReadJob)> {
        let mut state = lock(&self.state);
        let jobs = state.life.take_reads();
        jobs.into_iter().map(|job| (state.pace(70, 5), job)).collect()
    }

    pub(super) fn read(&self, job: ReadJob) {
        let answer = lock(&self.state).life.run(job);
        if let Some(command) = answer {
            self.send(command);
        }
    }

    /// Does a piece of what the keeper and the index have to do; whether the store was closed and has ended.
    pub(super) fn do_chore(&self) -> bool {
        let mut state = lock(&self.state);
        state.life.keep_one();
        state.life.apply_checkpoint();
        state.life.is_finished()
    }

    /// A store that has ended drops what it is sent, which tells whoever waits.
    fn send(&self, command: Command) {
        if self.is_ended() {
            return drop(command);
        }
        lock(&self.state).queue.push_back(command);
        self.woken.notify_one();
    }

    /// Sends a command that arrives after everything that is sent meanwhile.
    fn send_after(&self, command: Command, delay: Duration) {
        let Some(store) = self.myself.upgrade() else { return };
        let ticket = {
            let mut state = lock(&self.state);
            state.tickets += 1;
            let ticket = state.tickets;
            state.late.insert(ticket, command);
            ticket
        };
        tokio::spawn(async move {
            driver::pause(delay).await;
            let arrived = lock(&store.state).late.remove(&ticket);
            if let Some(command) = arrived {
                store.send(command);
            }
        });
    }
}

impl State {
    /// No time at all so many times of a hundred, else up to `most` milliseconds.
    fn pace(&mut self, none_percent: usize, most: usize) -> Duration {
        let millis = if self.random.chance(none_percent) { 0 } else { self.random.between(1, most) };
        Duration::from_millis(millis as u64)
    }
}

/// For the disk that it runs on.
impl SimulatedStore {
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
        let queue = std::mem::take(&mut lock(&self.state).queue);
        // Whoever waits is told now, without the lock.
        drop(queue);
        self.woken.notify_one();
    }

    pub(super) fn tear_checkpoint(&self) {
        lock(&self.state).life.tear_checkpoint();
    }

    /// The appends that have not arrived.
    pub(super) fn take_late(&self) -> Vec<Command> {
        std::mem::take(&mut lock(&self.state).late).into_values().collect()
    }

    /// Lets an append arrive whose process has ended.
    pub(super) fn send_late(&self, command: Command) {
        let delay = lock(&self.state).pace(20, 300);
        self.send_after(command, delay);
    }
}

/// For whoever simulates.
impl SimulatedStore {
    /// What was synced since this was last asked, in order.
    pub fn take_synced(&self) -> Vec<Synced> {
        std::mem::take(&mut lock(&self.state).synced)
    }

    /// Every append that reached it since this was last asked, in order.
    pub fn take_attempted(&self) -> Vec<Attempted> {
        std::mem::take(&mut lock(&self.state).attempted)
    }

    /// The names of the faults that happened since this was last asked, in order.
    pub fn take_struck(&self) -> Vec<&'static str> {
        self.faults.take_struck()
    }

    /// Whether a write or sync has failed, so that it takes no more.
    pub fn is_failed(&self) -> bool {
        lock(&self.state).life.is_poisoned()
    }

    /// Applies the next append, and tells whoever waits that nobody knows.
    pub fn lose_acknowledgement(&self) {
        self.faults.set_fate(Fate::AcknowledgementLost);
    }

    /// Drops the next append, and tells whoever waits that nobody knows.
    pub fn lose_append(&self) {
        self.faults.set_fate(Fate::Lost);
    }

    /// Refuses the next append, as a full queue does.
    pub fn refuse_append(&self) {
        self.faults.set_fate(Fate::Refused);
    }

    /// Has the next append arrive `delay` later: what is sent meanwhile overtakes it, a crash does not end it.
    pub fn delay_append(&self, delay: Duration) {
        self.faults.set_fate(Fate::Late(delay));
    }

    /// Has the next group take this much longer.
    pub fn slow_down(&self, slow: Duration) {
        self.faults.set_slow(slow);
    }

    /// Has the next append to `key` unwind through its caller.
    pub fn panic_at(&self, key: ConversationKey) {
        self.faults.set_panic(key);
    }

    fn read_key<T: Send + 'static>(
        &self,
        key: &ConversationKey,
        intent: impl FnOnce(Reply<T>) -> Intent,
    ) -> BoxFuture<'_, Result<T, ReadError>> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Read { key: key.clone(), intent: intent(reply) }, answer)
    }

    fn ask<T: Send + 'static>(
        &self,
        command: Command,
        answer: oneshot::Receiver<Result<T, ReadError>>,
    ) -> BoxFuture<'_, Result<T, ReadError>> {
        self.send(command);
        Box::pin(async move { answer.await.map_err(|_| ReadError::Closed)? })
    }

    /// Turns of `key` from `from` on that no sync covers: what a store with a planted bug shows.
    fn unsynced_turns(&self, key: &ConversationKey, from: TurnSeq) -> Vec<StoredRecord> {
        let state = lock(&self.state);
        let waiting: Vec<_> = state.queue.iter().filter_map(appended).collect();
        let batches = state.under_way.iter().chain(&waiting).filter(|(lease, _)| lease.key == *key);
        let turns = batches.flat_map(|(_, batch)| records(batch));
        turns.filter(|record| record.header.kind == RecordKind::Turn && record.header.turn_seq >= from).collect()
    }
}

fn appended(command: &Command) -> Option<(Lease, Batch)> {
    match command {
        Command::Append { lease, batch, .. } => Some((lease.clone(), batch.clone())),
        _ => None,
    }
}

/// The records of a batch, which its own maker encoded.
fn records(batch: &Batch) -> Vec<StoredRecord> {
    let (mut records, mut rest) = (Vec::new(), batch.bytes());
    while let Ok(decoded) = decode_record(rest) {
        rest = rest.get(decoded.len..).unwrap_or_default();
        records.push(decoded.record);
    }
    records
}

impl ConversationStore for SimulatedStore {
    fn engine(&self) -> &'static str {
        "simulated"
    }

    fn open<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Opened, ReadError>> {
        let opening = self.read_key(key, Intent::Open);
        Box::pin(async move {
            let opened = opening.await?;
            lock(&self.state).owners.insert(opened.lease.uid, opened.lease.activation);
            Ok(opened)
        })
    }

    fn append(&self, lease: &Lease, batch: Batch, done: Completion) {
        if self.faults.take_panic(&lease.key) {
            // Not a panic of its own: nothing is printed.
            std::panic::resume_unwind(Box::new("as the schedule asked for"));
        }
        let (key, uid, head, erases) = (lease.key.clone(), batch.uid(), batch.head_after(), batch.erases());
        lock(&self.state).attempted.push(Attempted { key, uid, head, erases });
        let fate = self.faults.take_fate();
        let done: Completion = match fate {
            Some(Fate::Lost) => return done(Err(AppendError::Unknown)),
            Some(Fate::Refused) => return done(Err(AppendError::NotApplied(NotApplied::Busy))),
            Some(Fate::AcknowledgementLost) => Box::new(move |ending| done(ending.and(Err(AppendError::Unknown)))),
            Some(Fate::Late(_)) | None => done,
        };
        let command = Command::Append { lease: lease.clone(), batch, done: Done::new(done) };
        match fate {
            Some(Fate::Late(delay)) => self.send_after(command, delay),
            _ => self.send(command),
        }
    }

    fn release(&self, lease: &Lease) {
        self.send(Command::Release(lease.clone()));
    }

    fn turns<'a>(
        &'a self,
        key: &'a ConversationKey,
        from: TurnSeq,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, ReadError>> {
        let answer = self.read_key(key, |reply| Intent::Turns { from, limit, reply });
        if !self.faults.leaks_unsynced() {
            return answer;
        }
        Box::pin(async move {
            let mut turns = answer.await?;
            let next = turns.last().map_or(from, |turn| turn.header.turn_seq.next());
            turns.extend(self.unsynced_turns(key, next));
            Ok(turns)
        })
    }

    fn history<'a>(
        &'a self,
        key: &'a ConversationKey,
        after: Head,
        limit: usize,
    ) -> BoxFuture<'a, Result<HistoryPage, ReadError>> {
        self.read_key(key, |reply| Intent::History { after, limit, reply })
    }

    fn list<'a>(
        &'a self,
        tenant: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, ReadError>> {
        let (reply, answer) = oneshot::channel();
        let (tenant, after) = (tenant.to_owned(), after.map(str::to_owned));
        self.ask(Command::List { tenant, after, limit, reply }, answer)
    }

    fn verify<'a>(&'a self, key: &'a ConversationKey) -> BoxFuture<'a, Result<Verified, ReadError>> {
        self.read_key(key, Intent::Verify)
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Checkpoint(reply), answer)
    }

    /// The figures are those of no pass: what it did is seen in the histories.
    fn compact(&self) -> BoxFuture<'_, Result<Compacted, ReadError>> {
        let (reply, sealed) = oneshot::channel();
        let sealed = self.ask(Command::Seal(reply), sealed);
        Box::pin(async move {
            let sealed = sealed.await;
            self.checkpoint().await?;
            let passed = lock(&self.state).life.compact();
            passed.map_err(|reason| ReadError::Io { reason })?;
            sealed.map(|()| Compacted::default())
        })
    }

    fn erasure(&self, uid: ConversationUid) -> BoxFuture<'_, Result<Erasure, ReadError>> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Erasure { uid, reply }, answer)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let (reply, closed) = oneshot::channel();
        self.send(Command::Close(reply));
        Box::pin(async move { drop(closed.await) })
    }

    fn stats(&self) -> StoreStats {
        lock(&self.state).life.stats()
    }
}
