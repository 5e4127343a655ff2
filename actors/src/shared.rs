//! What every actor of the tree shares: ports, settings, the directory, and the way to a conversation.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use colloquy_store::ConversationStore;
use colloquy_telemetry::Metrics;
use colloquy_types::{Clock, ConversationKey, Entropy};
use ractor::{ActorCell, ActorId, ActorRef, MessagingErr};
use tokio::sync::{Semaphore, watch};

use crate::{
    admission::{Admission, Permit},
    conversation::Message,
    directory::{ActorInfo, Directory, Handle},
    error::Error,
    events::Retained,
    flows::{FlowAuthor, FlowCatalogue, keeper, workshop::Workshop},
    outside::Outside,
    planted::Planted,
    settings::RuntimeSettings,
    watch::WatchHub,
};

/// How often a message is sent anew because its actor ended between look-up and send.
const SEND_TRIES: usize = 3;

/// Shared by every actor and by the [`crate::Runtime`].
pub(crate) struct Shared {
    pub(crate) settings: RuntimeSettings,
    pub(crate) store: Arc<dyn ConversationStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) flows: FlowCatalogue,
    pub(crate) author: Arc<dyn FlowAuthor>,
    pub(crate) workshop: Workshop,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) outside: Arc<dyn Outside>,
    pub(crate) store_facts: crate::StoreFacts,
    pub(crate) idle: crate::IdleRetention,
    pub(crate) admission: Admission,
    pub(crate) directory: Directory,
    pub(crate) watches: Arc<WatchHub>,
    /// What happened in turns that ended, for callers that come back to them.
    pub(crate) retained: Retained,
    /// Places of exports, each of which holds a page of a history in memory.
    pub(crate) exports: Arc<Semaphore>,
    shards: RwLock<Vec<ActorCell>>,
    keeper: RwLock<Option<ActorRef<keeper::Message>>>,
    draining: AtomicBool,
    draining_told: watch::Sender<bool>,
    started: tokio::time::Instant,
    #[cfg(any(test, feature = "simulation"))]
    planted: Option<Planted>,
    myself: std::sync::Weak<Shared>,
}

impl Shared {
    pub(crate) fn new(
        settings: RuntimeSettings,
        dependencies: crate::Dependencies,
        #[cfg(any(test, feature = "simulation"))] planted: Option<Planted>,
    ) -> Arc<Self> {
        let crate::Dependencies { store, clock, entropy, flows, author, metrics, outside, store_facts, idle } =
            dependencies;
        Arc::new_cyclic(|myself| Self {
            admission: Admission::new(settings.limits),
            settings,
            store,
            clock,
            entropy,
            flows,
            author,
            workshop: Workshop::default(),
            metrics,
            outside,
            store_facts,
            idle,
            directory: Directory::default(),
            watches: Arc::default(),
            retained: Retained::default(),
            exports: Arc::new(Semaphore::new(crate::export::EXPORTS_MAX)),
            shards: RwLock::default(),
            keeper: RwLock::default(),
            draining: AtomicBool::new(false),
            draining_told: watch::Sender::new(false),
            started: tokio::time::Instant::now(),
            #[cfg(any(test, feature = "simulation"))]
            planted,
            myself: myself.clone(),
        })
    }

    /// Whether `bug` is planted, which it never is but in a simulation.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn is_planted(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    /// No bug is planted in an ordinary build.
    #[cfg(not(any(test, feature = "simulation")))]
    pub(crate) const fn is_planted(&self, _: Planted) -> bool {
        false
    }

    /// The live actor of `key`, or a new one; `None` when the tree is gone.
    pub(crate) fn handle(&self, key: &ConversationKey) -> Option<Handle> {
        self.directory.get(key).or_else(|| self.spawn(key, 0))
    }

    pub(crate) fn spawn(&self, key: &ConversationKey, restarts: u32) -> Option<Handle> {
        let myself = self.myself.upgrade()?;
        let supervisor = self.shard(crate::shard::of(key))?;
        self.directory.get_or_spawn(key, restarts, supervisor, &myself)
    }

    /// Sends `message` to the conversation's actor, through a new activation if the old one just ended.
    /// A message that cannot be delivered is dropped, which tells its caller so.
    pub(crate) fn send(&self, mut handle: Handle, mut message: Message) {
        for _ in 0..SEND_TRIES {
            match handle.actor.send_message(message) {
                Ok(()) => return,
                Err(MessagingErr::SendErr(undelivered)) => {
                    self.unlink(&handle.info, handle.actor.get_id());
                    message = undelivered;
                    let Some(next) = self.handle(&handle.info.key) else { return };
                    handle = next;
                }
                Err(_) => return,
            }
        }
    }

    /// Sends what an earlier activation had not started to the next one.
    pub(crate) fn forward(&self, key: &ConversationKey, message: Message) {
        if let Some(handle) = self.handle(key) {
            self.send(handle, message);
        }
    }

    /// The actor of `key`, and a place for a call to it.
    pub(crate) fn admit(&self, key: &ConversationKey) -> Result<(Handle, Permit), Error> {
        if self.is_draining() {
            return Err(Error::Draining);
        }
        let handle = self.handle(key).ok_or(Error::Draining)?;
        let permit = self.admission.admit(key.tenant(), &handle.info.in_flight)?;
        Ok((handle, permit))
    }

    pub(crate) fn unlink(&self, info: &ActorInfo, id: ActorId) {
        self.directory.unlink(&info.key, id);
    }

    pub(crate) fn age(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.draining_told.send_replace(true);
    }

    /// Resolves once the process begins to end.
    pub(crate) fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut told = self.draining_told.subscribe();
        async move {
            // An error means that the runtime is gone, which is draining too.
            drop(told.wait_for(|draining| *draining).await);
        }
    }

    fn shard(&self, number: u16) -> Option<ActorCell> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(number)).cloned()
    }

    pub(crate) fn set_shard(&self, number: usize, cell: ActorCell) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        match shards.get_mut(number) {
            Some(place) => *place = cell,
            None => shards.push(cell),
        }
    }

    /// The actor that publishes and promotes.
    pub(crate) fn keeper(&self) -> Option<ActorRef<keeper::Message>> {
        self.keeper.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_keeper(&self, keeper: ActorRef<keeper::Message>) {
        *self.keeper.write().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    }

    pub(crate) fn shard_number(&self, id: ActorId) -> Option<usize> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.iter().position(|cell| cell.get_id() == id)
    }
}
