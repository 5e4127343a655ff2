//! The runtime as the gateway sees it: typed calls with deadlines, nothing of actors or channels.

pub(crate) mod controls;
mod erasing;
mod flows;
mod forking;
mod operating;
mod pinned;
mod replay;
mod residence;
mod streams;
mod traffic;

use std::{collections::HashSet, sync::Arc, time::Duration};

use colloquy_flow::BusyPolicy;
use colloquy_store::{ConversationStore, Listed, StoreStats, StoredRecord};
use colloquy_telemetry::{Metrics, Polled};
use colloquy_turn::InputKind;
use colloquy_types::{
    Clock, ConversationKey, Entropy, FlowName, Head, RequestId, Revision, SubjectId, Timestamp, TraceContext, TurnSeq,
};
use ractor::{Actor, ActorRef};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    admission::{Caller, Permit, TurnSlot, TurnSlots},
    conversation::{Message, Submission, Waited, hash16, input_digest},
    directory::Handle,
    error::{DeadlineOutcome, Error},
    events::TurnEvents,
    export::Export,
    flows::{CurrentFlow, FlowAuthor, FlowCatalogue, LookupStats},
    janitor::IdleRetention,
    outside::Outside,
    reply::{Answer, CommittedTurn, Described, Ending, TurnReply},
    root::{self, Root},
    settings::{Limits, RuntimeSettings},
    shared::Shared,
    watch::Watcher,
    watched::watched,
};

pub use self::{
    controls::{Feedback, FeedbackPage, PauseConversation, RecordFeedback, ResetConversation},
    erasing::{Backups, EraseConversation, ErasureReceipt, StoreFacts},
    flows::{
        Attribution, FlowChoice, GraphEdge, GraphState, PromoteFlow, Promoted, PublishFlow, Published, TransitionGraph,
    },
    forking::ForkConversation,
    operating::DrainEstimate,
    pinned::PinnedPage,
    residence::QuarantinePage,
    streams::{Cancelled, EventPlace, TurnStream},
    traffic::{PauseTraffic, PausedPage, RevisionChoice, TrafficReply},
};

/// How often a drain looks whether the last call has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// What the runtime stands on.
#[derive(Clone)]
pub struct Dependencies {
    /// Where conversations are kept.
    pub store: Arc<dyn ConversationStore>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Where identifiers and salts come from.
    pub entropy: Arc<dyn Entropy>,
    /// The flows that conversations run.
    pub flows: FlowCatalogue,
    /// What compiles flows and plays their scenarios.
    pub author: Arc<dyn FlowAuthor>,
    /// Where figures go.
    pub metrics: Arc<Metrics>,
    /// Models, sources and tools.
    pub outside: Arc<dyn Outside>,
    /// What is known of the store beyond its port.
    pub store_facts: StoreFacts,
    /// How long conversations are kept in which nothing happens.
    pub idle: IdleRetention,
}

/// Why the runtime did not start.
#[derive(Debug, thiserror::Error)]
#[error("the supervision tree did not start")]
pub struct StartError(#[source] ractor::SpawnErr);

/// A turn as a caller submits it.
#[derive(Clone, Debug)]
pub struct SubmitTurn {
    /// The conversation.
    pub key: ConversationKey,
    /// The caller's idempotency key.
    pub request_id: RequestId,
    /// Creates the conversation when it is absent; otherwise must name the flow it runs, or nothing.
    pub flow: Option<FlowName>,
    /// Whom a conversation that it creates is about; otherwise must name the same, or nothing.
    pub subject: Option<SubjectId>,
    /// What kind of input.
    pub input: InputKind,
    /// The input: what the user said, or JSON in the form that [`colloquy_turn::canonical_input`] gives.
    pub text: String,
    /// The turn that must be the last one when this one starts.
    pub expected_seq: Option<TurnSeq>,
    /// What to do when another turn runs.
    /// The flow's policy when not given.
    pub busy: Option<BusyPolicy>,
    /// When the caller no longer wants an answer.
    pub deadline: Instant,
    /// The caller's place in a trace: calls that the turn makes belong to it.
    pub trace: Option<TraceContext>,
}

/// Figures of a running runtime.
#[derive(Clone, Debug)]
pub struct RuntimeStats {
    /// When it started.
    pub started_at: Timestamp,
    /// Live conversation actors.
    pub conversations_active: usize,
    /// What they take, as they estimate it, in bytes.
    pub conversations_bytes: usize,
    /// Conversations that are being opened.
    pub activations_running: usize,
    /// Conversations that wait to be opened.
    pub activations_waiting: usize,
    /// Conversations that are quarantined.
    pub quarantined: usize,
    /// What of the tree is unwell, in words: the process should not be sent turns meanwhile.
    pub unwell: Vec<&'static str>,
    /// Calls that wait or run.
    pub in_flight: usize,
    /// The bounds on them.
    pub limits: Limits,
    /// How many may be in flight now.
    pub in_flight_limit: usize,
    /// How long they wait for their conversation on average.
    pub queue_wait: Duration,
    /// How many turns are carried out at once.
    pub slots: TurnSlots,
    /// Bytes of their input.
    pub queue_bytes: usize,
    /// Bytes of events of turns that are kept for those who follow them.
    pub event_bytes: usize,
    /// Open watches.
    pub watchers: usize,
    /// Whether new turns are refused because the process ends.
    pub draining: bool,
    /// The store's engine.
    pub engine: &'static str,
    /// The store's figures.
    pub store: StoreStats,
    /// The flows that new conversations run.
    pub flows: Vec<CurrentFlow>,
    /// How often a compiled revision was looked for.
    pub flow_lookups: LookupStats,
}

/// The runtime. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
    root: ActorRef<root::Message>,
    started_at: Timestamp,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("conversations", &self.shared.directory.len()).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Starts the supervision tree.
    ///
    /// # Errors
    /// [`StartError`] when the root or a shard supervisor does not start.
    pub async fn start(settings: RuntimeSettings, dependencies: Dependencies) -> Result<Self, StartError> {
        let started_at = dependencies.clock.now();
        let shared = Shared::new(
            settings,
            dependencies,
            #[cfg(any(test, feature = "simulation"))]
            None,
        );
        Self::start_tree(shared, started_at).await
    }

    /// The same with a bug in it.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) async fn start_planted(
        settings: RuntimeSettings,
        dependencies: Dependencies,
        planted: Option<crate::planted::Planted>,
    ) -> Result<Self, StartError> {
        let started_at = dependencies.clock.now();
        Self::start_tree(Shared::new(settings, dependencies, planted), started_at).await
    }

    async fn start_tree(shared: Arc<Shared>, started_at: Timestamp) -> Result<Self, StartError> {
        let root = watched(&shared.metrics.stalls, Polled::Supervisor, Root { shared: Arc::clone(&shared) });
        let (root, _) = Actor::spawn(None, root, ()).await.map_err(StartError)?;
        Ok(Self { shared, root, started_at })
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &RuntimeSettings {
        &self.shared.settings
    }

    /// Submits a turn and waits for its ending. Dropping the future does not cancel a turn that began.
    ///
    /// # Errors
    /// [`Error`]; with [`DeadlineOutcome::Unknown`] and [`Error::Restarted`] the same request id tells
    /// how it ended.
    pub async fn submit_turn(&self, turn: SubmitTurn) -> Result<TurnReply, Error> {
        self.submit_turn_in(None, turn).await
    }

    /// The same in a slot of [`Self::turn_slot`].
    ///
    /// # Errors
    /// [`Error`] when the turn has no ending that is durable.
    pub async fn submit_turn_in(&self, slot: Option<TurnSlot>, turn: SubmitTurn) -> Result<TurnReply, Error> {
        let (key, deadline) = (turn.key.clone(), turn.deadline);
        let answer = self.send_turn(slot, turn, None)?;
        self.ending(&key, deadline, answer).await
    }

    /// Waits until one more turn may be carried out: while the cores are busy, no more are at once than keep them so.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when as many wait as may, or when the turn could not begin before `deadline`;
    /// [`Error::DeadlineExceeded`] when it has not.
    pub async fn turn_slot(&self, deadline: Instant) -> Result<TurnSlot, Error> {
        self.shared.admission.turn_slot(deadline).await
    }

    /// The same when nothing needs to be waited for.
    pub fn free_turn_slot(&self) -> Option<TurnSlot> {
        self.shared.admission.free_turn_slot()
    }

    /// Takes note of a call that writes, from `peer`.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when its calls come faster than they may.
    pub fn rate_peer(&self, peer: std::net::IpAddr) -> Result<(), Error> {
        self.shared.admission.rate_peer(peer)
    }

    fn send_turn(
        &self,
        slot: Option<TurnSlot>,
        turn: SubmitTurn,
        events: Option<oneshot::Sender<Arc<TurnEvents>>>,
    ) -> Result<oneshot::Receiver<Answer>, Error> {
        let (handle, mut permit) = self.shared.admit_write(&turn.key, turn.text.len())?;
        permit.keep_slot(slot);
        let (caller, answer) = Caller::new(permit);
        let submission = Submission {
            request_hash: hash16(turn.request_id.as_str().as_bytes()),
            request_digest: input_digest(turn.input, &turn.text),
            request_id: turn.request_id,
            flow: turn.flow,
            subject: turn.subject,
            input: turn.input,
            text: turn.text,
            expected_seq: turn.expected_seq,
            busy: turn.busy,
            waited: Waited::No,
            deadline: turn.deadline,
            trace: turn.trace,
            events,
            sent_at: Instant::now(),
            caller,
        };
        self.shared.send(handle, Message::Submit(Box::new(submission)));
        Ok(answer)
    }

    async fn ending(
        &self,
        key: &ConversationKey,
        deadline: Instant,
        answer: oneshot::Receiver<Answer>,
    ) -> Result<TurnReply, Error> {
        match timeout_at(deadline, answer).await {
            Ok(Ok(Answer::Ended(ended))) => ended,
            Ok(Ok(Answer::Recorded { request_id, turn_seq, flow })) => {
                let read = timeout_at(deadline, self.shared.store.turns(key, turn_seq, 1)).await;
                let turns = read.map_err(|_| deadline_unknown())??;
                let stored = turns.first().filter(|turn| turn.header.turn_seq == turn_seq);
                // Retention may have dropped what it said, though it is remembered that it was.
                let stored = stored.ok_or(Error::TurnAbsent { turn_seq })?;
                let turn = Arc::new(CommittedTurn::from_stored(stored)?);
                if turn.record.request_id != request_id {
                    // Erased meanwhile, and begun anew.
                    return Err(Error::ConversationAbsent);
                }
                Ok(TurnReply { ending: Ending::Committed(turn), replayed: true, flow })
            }
            Ok(Err(_)) => Err(Error::Restarted),
            Err(_) => Err(deadline_unknown()),
        }
    }

    /// A conversation as it was last synced.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn describe(&self, key: &ConversationKey, deadline: Instant) -> Result<Box<Described>, Error> {
        let (handle, _permit) = self.admit(key)?;
        let (reply, answer) = oneshot::channel();
        self.shared.send(handle, Message::Describe(reply));
        match timeout_at(deadline, answer).await {
            Ok(answered) => answered.map_err(|_| Error::Restarted)?,
            Err(_) => Err(Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied }),
        }
    }

    /// The committed turns from `from` on, at most `limit` of them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn turns(
        &self,
        key: &ConversationKey,
        from: TurnSeq,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<CommittedTurn>, Error> {
        let mut stored = self.stored_turns(key, from, limit, deadline).await?;
        let mut places = stored.iter().zip(from.get().max(1)..);
        if places.any(|(turn, place)| turn.header.turn_seq.get() != place) {
            // Some were erased: by a retention, or with all of the conversation while it was read. Another look tells.
            stored = self.stored_turns(key, from, limit, deadline).await?;
        }
        stored.iter().map(CommittedTurn::from_stored).collect()
    }

    async fn stored_turns(
        &self,
        key: &ConversationKey,
        from: TurnSeq,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<StoredRecord>, Error> {
        let read = timeout_at(deadline, self.shared.store.turns(key, from, limit)).await;
        Ok(read.map_err(|_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })??)
    }

    /// The conversations of a tenant in the order of their ids.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<Listed>, Error> {
        let read = timeout_at(deadline, self.shared.store.list(tenant, after, limit)).await;
        Ok(read.map_err(|_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })??)
    }

    /// Watches a conversation from turn `from` on; with `after`, from behind that head on.
    ///
    /// # Errors
    /// [`Error::HistoryChanged`] when `after` is not part of this conversation's history; [`Error::Overloaded`] when as
    /// many watches are open as may be.
    pub async fn watch(
        &self,
        key: &ConversationKey,
        from: TurnSeq,
        after: Option<Head>,
        deadline: Instant,
    ) -> Result<Watcher, Error> {
        // Subscribing before the first question is what makes a commit or an erasure in between impossible to miss.
        let mut subscription = self.shared.watches.subscribe(key)?;
        let head = loop {
            let head = self.describe(key, deadline).await?.head;
            // What was erased, or found absent, meanwhile need not be what was described: look again.
            if !subscription.renew() {
                break head;
            }
        };
        let opening = Watcher::open(subscription, Arc::clone(&self.shared.store), from, after, head);
        timeout_at(deadline, opening)
            .await
            .map_err(|_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })?
    }

    /// Begins to read a conversation's whole history, with the sources of the revisions it ran except those
    /// that are `known`. What is committed after the beginning is not part of it. Reads beside the
    /// conversation's actor, which goes on undisturbed.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Overloaded`] when as many exports are open as may be.
    pub async fn export(
        &self,
        key: &ConversationKey,
        known: HashSet<Revision>,
        deadline: Instant,
    ) -> Result<Export, Error> {
        let permit = Arc::clone(&self.shared.exports).try_acquire_owned();
        let permit = permit.map_err(|_| crate::export::overloaded())?;
        let store = Arc::clone(&self.shared.store);
        let read_deadline = self.shared.settings.turn_deadline_default;
        let opening = Export::open(store, key, known, read_deadline, permit);
        timeout_at(deadline, opening)
            .await
            .map_err(|_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })?
    }

    /// Resolves once the process begins to end: streams without an end of their own end then.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.draining()
    }

    /// Figures as of now.
    pub fn stats(&self) -> RuntimeStats {
        let shared = &self.shared;
        RuntimeStats {
            started_at: self.started_at,
            conversations_active: shared.directory.len(),
            conversations_bytes: shared.directory.bytes(),
            activations_running: shared.activations.running(),
            activations_waiting: shared.activations.waiting(),
            quarantined: shared.quarantine.len(),
            unwell: shared.unwell(),
            in_flight: shared.admission.in_flight(),
            limits: shared.settings.limits,
            in_flight_limit: shared.admission.limit(),
            queue_wait: shared.admission.standing(),
            slots: shared.admission.slots(),
            queue_bytes: shared.admission.bytes(),
            event_bytes: shared.event_bytes.get(),
            watchers: shared.watches.len(),
            draining: shared.is_draining(),
            engine: shared.store.engine(),
            store: shared.store.stats(),
            flows: shared.flows.current_flows(),
            flow_lookups: shared.flows.lookups(),
        }
    }

    /// Brings the metrics of gates up to date, for a scrape.
    pub fn sample_gates(&self) {
        crate::outside::sample(self.shared.outside.as_ref(), &self.shared.metrics);
    }

    /// Refuses new turns, waits until those in flight have ended or `deadline` passes, and stops the tree.
    pub async fn drain(&self, deadline: Instant) {
        self.shared.start_draining();
        while self.shared.admission.in_flight() > 0 && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(DRAIN_LOOK);
        if self.root.stop_and_wait(None, Some(left)).await.is_err() {
            tracing::warn!("the supervision tree did not stop in time");
        }
    }

    fn admit(&self, key: &ConversationKey) -> Result<(Handle, Permit), Error> {
        self.shared.admit(key)
    }

    #[cfg(test)]
    pub(crate) fn root(&self) -> &ActorRef<root::Message> {
        &self.root
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

const fn deadline_unknown() -> Error {
    Error::DeadlineExceeded { outcome: DeadlineOutcome::Unknown }
}
