//! What every actor of the tree shares: ports, settings, the directory, and the way to a conversation.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use colloquy_store::ConversationStore;
use colloquy_telemetry::Metrics;
use colloquy_types::{Clock, ConversationKey, Entropy};
use ractor::{ActorId, ActorRef, MessagingErr};
use tokio::sync::{Semaphore, watch};

use crate::{
    activations::Activations,
    admission::{Admission, Permit},
    chaos::Chaos,
    conversation::Message,
    directory::{ActorInfo, Directory, Handle},
    error::{Error, LimitKind},
    events::{EventBytes, Retained},
    flows::{FlowAuthor, FlowCatalogue, keeper, workshop::Workshop},
    heartbeat::{Heartbeats, Janitor},
    lives::Lives,
    outside::Outside,
    planted::Planted,
    quarantine::{FailureCause, Quarantine},
    settings::RuntimeSettings,
    shard, timers,
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
    pub(crate) activations: Activations,
    pub(crate) directory: Directory,
    pub(crate) quarantine: Quarantine,
    pub(crate) chaos: Chaos,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) lives: Lives,
    pub(crate) watches: Arc<WatchHub>,
    /// What happened in turns that ended, for callers that come back to them.
    pub(crate) retained: Retained,
    pub(crate) event_bytes: EventBytes,
    /// Places of exports, each of which holds a page of a history in memory.
    pub(crate) exports: Arc<Semaphore>,
    /// The place of a walk over all conversations in memory.
    pub(crate) walks: Arc<Semaphore>,
    /// A place is empty while its supervisor is gone.
    shards: RwLock<Vec<Option<ActorRef<shard::Message>>>>,
    keeper: RwLock<Option<ActorRef<keeper::Message>>>,
    timers: RwLock<Option<ActorRef<timers::Message>>>,
    draining: AtomicBool,
    draining_told: watch::Sender<bool>,
    asked_to_end: watch::Sender<bool>,
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
        let started = tokio::time::Instant::now();
        Arc::new_cyclic(|myself| Self {
            activations: Activations::new(settings.activations_max),
            quarantine: Quarantine::new(settings.restart.conversation),
            chaos: Chaos::new(settings.chaos),
            heartbeats: Heartbeats::new(started),
            lives: Lives::default(),
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
            event_bytes: EventBytes::default(),
            exports: Arc::new(Semaphore::new(crate::export::EXPORTS_MAX)),
            walks: Arc::new(Semaphore::new(1)),
            shards: RwLock::default(),
            keeper: RwLock::default(),
            timers: RwLock::default(),
            draining: AtomicBool::new(false),
            draining_told: watch::Sender::new(false),
            asked_to_end: watch::Sender::new(false),
            started,
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

    /// The live actor of `key`, or a new one.
    ///
    /// # Errors
    /// [`Error::Quarantined`], [`Error::Restarted`] while it may not be started, [`Error::Draining`] when the tree is
    /// gone.
    pub(crate) fn handle(&self, key: &ConversationKey) -> Result<Handle, Error> {
        self.directory.get(key).map_or_else(|| self.spawn(key), Ok)
    }

    pub(crate) fn spawn(&self, key: &ConversationKey) -> Result<Handle, Error> {
        let myself = self.myself.upgrade().ok_or(Error::Draining)?;
        let supervisor = self.shard(shard::of(key)).ok_or(Error::Restarted)?;
        self.directory.get_or_spawn(key, supervisor.get_cell(), &myself)
    }

    /// Sends `message` to the conversation's actor, through the next activation if the old one made way. One whose actor
    /// failed is answered so, until its supervisor has decided what becomes of it.
    pub(crate) fn send(&self, mut handle: Handle, mut message: Message) {
        for _ in 0..SEND_TRIES {
            match handle.actor.send_message(message) {
                Ok(()) => return,
                Err(MessagingErr::SendErr(undelivered)) => message = undelivered,
                Err(_) => return,
            }
            let id = handle.actor.get_id();
            handle = match self.handle(&handle.info.key) {
                Ok(next) if next.actor.get_id() == id => {
                    self.report_failed(&next.info, id, FailureCause::Ended);
                    return message.refuse(&Error::Restarted);
                }
                Ok(next) => next,
                Err(error) => return message.refuse(&error),
            };
        }
        message.refuse(&Error::Restarted);
    }

    /// Sends what an earlier activation had not started to the next one.
    pub(crate) fn forward(&self, key: &ConversationKey, message: Message) {
        match self.handle(key) {
            Ok(handle) => self.send(handle, message),
            Err(error) => message.refuse(&error),
        }
    }

    /// Tells the supervisor of an actor that it failed; the supervisor may know already.
    pub(crate) fn report_failed(&self, info: &ActorInfo, id: ActorId, cause: FailureCause) {
        if let Some(supervisor) = self.shard(info.shard) {
            // One that is going takes its children's places with it.
            drop(supervisor.send_message(shard::Message::Failed { id, cause }));
        }
    }

    /// The actor of `key`, and a place for a call to it that reads.
    pub(crate) fn admit(&self, key: &ConversationKey) -> Result<(Handle, Permit), Error> {
        self.admit_bytes(key, 0)
    }

    /// The same for a call that writes, with so many bytes of input.
    pub(crate) fn admit_write(&self, key: &ConversationKey, bytes: usize) -> Result<(Handle, Permit), Error> {
        self.admission.rate_tenant(key.tenant())?;
        self.admit_bytes(key, bytes)
    }

    fn admit_bytes(&self, key: &ConversationKey, bytes: usize) -> Result<(Handle, Permit), Error> {
        if self.is_draining() {
            return Err(Error::Draining);
        }
        let handle = self.handle(key)?;
        let admitted = self.admission.admit(key.tenant(), &handle.info.in_flight, bytes);
        let permit = admitted.map_err(|error| match error {
            // What frees a place is a turn that ends there, whatever others wait.
            Error::Overloaded { limit: LimitKind::Conversation, bound, retry_after } => {
                let retry_after = retry_after.max(handle.info.pace());
                Error::Overloaded { limit: LimitKind::Conversation, bound, retry_after }
            }
            error => error,
        })?;
        Ok((handle, permit))
    }

    /// Milliseconds since the start: when conversations are used.
    pub(crate) fn tick(&self) -> u64 {
        self.tick_at(tokio::time::Instant::now())
    }

    /// The same of another time.
    pub(crate) fn tick_at(&self, time: tokio::time::Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether there is such a janitor: one without anything to do is not started.
    pub(crate) fn has(&self, janitor: Janitor) -> bool {
        match janitor {
            Janitor::Passivator | Janitor::Timers => true,
            Janitor::Retention => !self.idle.tenants.is_empty(),
        }
    }

    /// What is wrong with the tree: janitors that give no sign of life, and shards without a supervisor.
    pub(crate) fn unwell(&self) -> Vec<&'static str> {
        let silent = |janitor: &Janitor| self.has(*janitor) && self.heartbeats.is_silent(*janitor);
        let silent = Janitor::ALL.into_iter().filter(silent).map(Janitor::missed);
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let gone =
            shards.iter().any(Option::is_none).then_some("a shard supervisor fails and waits to be started anew");
        silent.chain(gone).collect()
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

    /// Asks whoever runs the process to end it.
    pub(crate) fn ask_to_end(&self) {
        self.asked_to_end.send_replace(true);
    }

    /// Resolves once the process was asked to end.
    pub(crate) fn asked_to_end(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut asked = self.asked_to_end.subscribe();
        async move {
            if asked.wait_for(|asked| *asked).await.is_err() {
                // The runtime is gone: nobody can ask any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves once the process begins to end.
    pub(crate) fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut told = self.draining_told.subscribe();
        async move {
            // An error means that the runtime is gone, which is draining too.
            drop(told.wait_for(|draining| *draining).await);
        }
    }

    pub(crate) fn shard(&self, number: u16) -> Option<ActorRef<shard::Message>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(number)).cloned().flatten()
    }

    /// Puts the supervisor of a shard in its place, or takes it away.
    pub(crate) fn set_shard(&self, number: u16, supervisor: Option<ActorRef<shard::Message>>) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let number = usize::from(number);
        if shards.len() <= number {
            shards.resize(number + 1, None);
        }
        if let Some(place) = shards.get_mut(number) {
            *place = supervisor;
        }
    }

    /// The actor that publishes and promotes.
    pub(crate) fn keeper(&self) -> Option<ActorRef<keeper::Message>> {
        self.keeper.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the actor that keeps timers. What it cannot be told is lost with its promise.
    pub(crate) fn tell_timers(&self, message: timers::Message) {
        if let Some(timers) = self.timers() {
            drop(timers.send_message(message));
        }
    }

    /// The actor that keeps timers.
    pub(crate) fn timers(&self) -> Option<ActorRef<timers::Message>> {
        self.timers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_timers(&self, timers: ActorRef<timers::Message>) {
        *self.timers.write().unwrap_or_else(PoisonError::into_inner) = Some(timers);
    }

    pub(crate) fn set_keeper(&self, keeper: ActorRef<keeper::Message>) {
        *self.keeper.write().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    }
}
