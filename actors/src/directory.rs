//! The directory: which actor owns which conversation, and the making of new ones.
//!
//! A handle is cloned out and its guard dropped before anything is sent. A new actor is spawned under
//! its entry's guard, which is what makes two activations of one conversation in one process impossible;
//! the spawn itself returns at once, and the actor opens the store in its own task.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use colloquy_store::Lease;
use colloquy_types::{Activation, ConversationKey};
use dashmap::{DashMap, Entry};
use ractor::{ActorCell, ActorId, ActorRef, ActorRuntime};
use tokio::time::Instant;

use crate::{
    admission::Count,
    conversation::{Conversation, Message},
    shard,
    shared::Shared,
};

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
    status: AtomicU8,
    lease: OnceLock<Lease>,
}

impl ActorInfo {
    fn new(key: ConversationKey, restarts: u32) -> Self {
        Self {
            shard: shard::of(&key),
            key,
            restarts,
            in_flight: Arc::default(),
            started_at: Instant::now(),
            status: AtomicU8::new(ActorStatus::Activating as u8),
            lease: OnceLock::new(),
        }
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
}

impl Directory {
    pub(crate) fn get(&self, key: &ConversationKey) -> Option<Handle> {
        self.handles.get(key).map(|handle| handle.clone())
    }

    /// The live actor of `key`, or a new one below `supervisor`.
    pub(crate) fn get_or_spawn(
        &self,
        key: &ConversationKey,
        restarts: u32,
        supervisor: ActorCell,
        shared: &Arc<Shared>,
    ) -> Option<Handle> {
        match self.handles.entry(key.clone()) {
            Entry::Occupied(occupied) => Some(occupied.get().clone()),
            Entry::Vacant(vacant) => {
                let info = Arc::new(ActorInfo::new(key.clone(), restarts));
                let conversation = Conversation { shared: Arc::clone(shared), info: Arc::clone(&info) };
                let (actor, _started) = ActorRuntime::spawn_linked_instant(None, conversation, (), supervisor).ok()?;
                self.infos.insert(actor.get_id(), Arc::clone(&info));
                let handle = Handle { actor, info };
                vacant.insert(handle.clone());
                Some(handle)
            }
        }
    }

    /// Takes the actor `id` out of the way of `key`, if it is still the one that is reached.
    pub(crate) fn unlink(&self, key: &ConversationKey, id: ActorId) {
        self.handles.remove_if(key, |_, handle| handle.actor.get_id() == id);
    }

    /// Forgets an actor that ended, and tells what it was.
    pub(crate) fn forget(&self, id: ActorId) -> Option<Arc<ActorInfo>> {
        let (_, info) = self.infos.remove(&id)?;
        self.unlink(&info.key, id);
        Some(info)
    }

    pub(crate) fn len(&self) -> usize {
        self.handles.len()
    }

    /// Every live actor's info; a copy, in no order.
    pub(crate) fn infos(&self) -> Vec<Arc<ActorInfo>> {
        self.handles.iter().map(|handle| Arc::clone(&handle.info)).collect()
    }
}
