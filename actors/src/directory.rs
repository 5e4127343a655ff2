//! The directory: which actor owns which conversation, and the making of new ones.
//!
//! A handle is cloned out and its guard dropped before anything is sent. A new actor is spawned under
//! its entry's guard, which is what makes two activations of one conversation in one process impossible;
//! the spawn itself returns at once, and the actor opens the store in its own task. What failed stays reachable until
//! its supervisor has judged it, so that nobody starts it anew before.

mod recency;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use colloquy_store::Lease;
use colloquy_types::{Activation, ConversationKey};
use dashmap::{DashMap, Entry};
use ractor::{ActorCell, ActorId, ActorRef, ActorRuntime};
use tokio::time::Instant;

pub(crate) use self::recency::Oldest;
use self::recency::Recency;
use crate::{
    admission::Count,
    conversation::{Conversation, Message},
    error::Error,
    inspecting::EffectReport,
    shard,
    shared::Shared,
};

/// What an actor takes that holds nothing yet: its cell, ports and task, its places in the directory and in the
/// store's leases. Measured with `colloquy-loadtest memory`.
pub(crate) const ACTOR_BYTES: usize = 10 << 10;
/// How much larger than twice its content a map of the directory may stay before it is shrunk.
const SPARE_CAPACITY: usize = 1024;

/// What a conversation actor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ActorStatus {
    /// It opens the store and folds what it finds.
    Activating = 0,
    /// Nothing runs.
    Idle = 1,
    /// A turn or a reset runs.
    Running = 2,
}

/// What is known of a conversation actor without asking it.
#[derive(Debug)]
pub(crate) struct ActorInfo {
    pub(crate) key: ConversationKey,
    pub(crate) shard: u16,
    /// How often the conversation's actor was restarted after a failure, this one included.
    pub(crate) restarts: u32,
    /// Calls that wait or run.
    pub(crate) in_flight: Arc<Count>,
    started_at: Instant,
    /// When it was last used, in [`Shared::tick`]s.
    last_used: AtomicU64,
    /// The latest deadline that a turn or another change had here, in [`Shared::tick`]s.
    busy_until: AtomicU64,
    /// About how much memory it takes.
    bytes: AtomicUsize,
    /// How long a turn takes here, one behind the other, in microseconds; 0 before the first one.
    pace: AtomicU64,
    status: AtomicU8,
    lease: OnceLock<Lease>,
    /// The call that it waits for, and until when.
    effect: Mutex<Option<Box<(EffectReport, Instant)>>>,
}

impl ActorInfo {
    fn new(key: ConversationKey, restarts: u32, tick: u64) -> Self {
        Self {
            shard: shard::of(&key),
            key,
            restarts,
            in_flight: Arc::default(),
            started_at: Instant::now(),
            last_used: AtomicU64::new(tick),
            busy_until: AtomicU64::new(0),
            bytes: AtomicUsize::new(ACTOR_BYTES),
            pace: AtomicU64::new(0),
            status: AtomicU8::new(ActorStatus::Activating as u8),
            lease: OnceLock::new(),
            effect: Mutex::default(),
        }
    }

    /// Takes note that it is used at `tick`.
    pub(crate) fn touch(&self, tick: u64) {
        self.last_used.store(tick, Ordering::Relaxed);
    }

    /// When it was last used.
    pub(crate) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    /// Takes note that nothing runs or waits here any more.
    pub(crate) fn rests(&self, tick: u64) {
        self.touch(tick);
        self.busy_until.store(0, Ordering::Relaxed);
        self.set_status(ActorStatus::Idle);
    }

    /// Takes note of a deadline of what is to be done here.
    pub(crate) fn busy_until(&self, tick: u64) {
        self.busy_until.fetch_max(tick, Ordering::Relaxed);
    }

    /// Until when it may be busy at most; none when it is not.
    pub(crate) fn is_busy_until(&self) -> Option<u64> {
        self.is_busy().then(|| self.busy_until.load(Ordering::Relaxed))
    }

    /// Whether a call is with it, or it does something.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0 || self.status() != ActorStatus::Idle
    }

    /// About how much memory it takes, as it last said.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How long a turn takes here, as it last said.
    pub(crate) fn pace(&self) -> Duration {
        Duration::from_micros(self.pace.load(Ordering::Relaxed))
    }

    pub(crate) fn set_pace(&self, each: Duration) {
        self.pace.store(u64::try_from(each.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn set_status(&self, status: ActorStatus) {
        self.status.store(status as u8, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> ActorStatus {
        match self.status.load(Ordering::Relaxed) {
            0 => ActorStatus::Activating,
            1 => ActorStatus::Idle,
            _ => ActorStatus::Running,
        }
    }

    /// Shows the call that it waits for, and until when; nothing when it waits for none.
    pub(crate) fn show_effect(&self, effect: Option<(EffectReport, Instant)>) {
        *self.effect.lock().unwrap_or_else(PoisonError::into_inner) = effect.map(Box::new);
    }

    /// The call that it waits for.
    pub(crate) fn waits_for(&self) -> Option<EffectReport> {
        let shown = self.effect.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (effect, deadline) = *shown?;
        Some(EffectReport { left: deadline.saturating_duration_since(Instant::now()), ..effect })
    }

    pub(crate) fn activated(&self, lease: Lease) {
        // Set once per actor: an actor opens the store once.
        let _ = self.lease.set(lease);
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.get()
    }

    pub(crate) fn activation(&self) -> Activation {
        self.lease.get().map(|lease| lease.activation).unwrap_or_default()
    }

    pub(crate) fn age(&self) -> Duration {
        self.started_at.elapsed()
    }
}

/// A conversation's actor, as callers reach it.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) actor: ActorRef<Message>,
    pub(crate) info: Arc<ActorInfo>,
}

/// All live conversation actors of this process.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    handles: DashMap<ConversationKey, Handle>,
    /// Supervisors are told of a child by its actor id only.
    infos: DashMap<ActorId, Arc<ActorInfo>>,
    recency: Recency,
    /// Actors that have not ended, those that are on their way out among them, and what they take.
    alive: AtomicUsize,
    bytes: AtomicUsize,
}

impl Directory {
    pub(crate) fn get(&self, key: &ConversationKey) -> Option<Handle> {
        self.handles.get(key).map(|handle| handle.clone())
    }

    /// The live actor of `key`, or a new one below `supervisor`.
    ///
    /// # Errors
    /// [`Error::Quarantined`], or [`Error::Restarted`] while it may not be started; [`Error::Draining`] when the tree
    /// is gone.
    pub(crate) fn get_or_spawn(
        &self,
        key: &ConversationKey,
        supervisor: ActorCell,
        shared: &Arc<Shared>,
    ) -> Result<Handle, Error> {
        let (handle, tick) = match self.handles.entry(key.clone()) {
            Entry::Occupied(occupied) => return Ok(occupied.get().clone()),
            Entry::Vacant(vacant) => {
                // Asked under the entry's guard: a failure is judged before its actor is taken out of the entry.
                let restarts = shared.quarantine.check(key)?;
                let tick = shared.tick();
                let info = Arc::new(ActorInfo::new(key.clone(), restarts, tick));
                let conversation = Conversation { shared: Arc::clone(shared), info: Arc::clone(&info) };
                let spawned = ActorRuntime::spawn_linked_instant(None, conversation, (), supervisor);
                let Ok((actor, _started)) = spawned else { return Err(Error::Draining) };
                self.alive.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(info.bytes(), Ordering::Relaxed);
                self.infos.insert(actor.get_id(), Arc::clone(&info));
                let handle = Handle { actor, info };
                vacant.insert(handle.clone());
                (handle, tick)
            }
        };
        self.recency.add(handle.actor.get_id(), tick);
        Ok(handle)
    }

    /// Takes the actor `id` out of the way of `key`, if it is still the one that is reached.
    pub(crate) fn unlink(&self, key: &ConversationKey, id: ActorId) {
        self.handles.remove_if(key, |_, handle| handle.actor.get_id() == id);
    }

    /// Forgets an actor that ended, and tells what it was.
    pub(crate) fn forget(&self, id: ActorId) -> Option<Arc<ActorInfo>> {
        let (_, info) = self.infos.remove(&id)?;
        self.alive.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(info.bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        self.unlink(&info.key, id);
        Some(info)
    }

    /// What is known of an actor that has not been forgotten.
    pub(crate) fn info(&self, id: ActorId) -> Option<Arc<ActorInfo>> {
        self.infos.get(&id).map(|info| Arc::clone(&info))
    }

    /// Takes note of how much memory an actor takes now.
    pub(crate) fn resized(&self, info: &ActorInfo, bytes: usize) {
        let before = info.bytes.swap(bytes, Ordering::Relaxed);
        // Wrapping, as the counter does: the sum comes out right in any order.
        self.bytes.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    pub(crate) fn len(&self) -> usize {
        self.handles.len()
    }

    /// Actors that have not ended.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// About how much memory they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes out the actor that was used least recently, if that was before `before`; one that is busy was used at
    /// `now`. It is looked at again only once it is [`Directory::put_back`].
    pub(crate) fn take_oldest(&self, before: u64, now: u64) -> Oldest {
        self.recency.take_oldest(before, |id| {
            let info = self.infos.get(&id)?;
            Some(if info.is_busy() { now } else { info.last_used() })
        })
    }

    /// Puts an actor that was taken out back into the order, as used at `tick`.
    pub(crate) fn put_back(&self, id: ActorId, tick: u64) {
        self.recency.add(id, tick);
    }

    /// Gives back memory that maps keep for more actors than there are.
    pub(crate) fn tidy(&self) {
        self.recency.sweep(self.alive(), |id| self.infos.contains_key(&id));
        if self.handles.capacity() > self.handles.len() * 4 + SPARE_CAPACITY {
            self.handles.shrink_to_fit();
        }
        if self.infos.capacity() > self.infos.len() * 4 + SPARE_CAPACITY {
            self.infos.shrink_to_fit();
        }
    }

    /// Forgets every actor of a shard whose supervisor ended, and with it its children.
    pub(crate) fn forget_shard(&self, shard: u16) -> Vec<Arc<ActorInfo>> {
        let ids: Vec<_> = self.infos.iter().filter(|info| info.shard == shard).map(|info| *info.key()).collect();
        ids.into_iter().filter_map(|id| self.forget(id)).collect()
    }

    /// Shows every live actor's info, in no order. What is shown must not reach back into the directory.
    pub(crate) fn each(&self, mut show: impl FnMut(&Arc<ActorInfo>)) {
        self.handles.iter().for_each(|handle| show(&handle.info));
    }
}
