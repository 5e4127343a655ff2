//! The conversation actor: owns one conversation's state and decides its turns, one at a time.
//!
//! Takes turns, wishes that one ends, resets, feedback, pauses, forks, erasures, questions about the synced state, and the
//! writer's answers. Order: check
//! (changes nothing), decide, persist, apply, reply. Durable before a reply: everything the reply says.
//! A turn whose caller streams is journalled as accepted first; a crash then loses nothing, because the
//! next activation ends it. What a crash of the actor loses: turns that wait in its queue and were
//! promised nothing; their callers are told so, and sending them again is safe.
//!
//! The downside of this design: one conversation decides on one core, and what it tells waits for its syncs.

mod activating;
mod answers;
mod checking;
mod commit;
mod controlling;
mod deciding;
mod ending_early;
mod erasing;
mod forking;
mod inspecting;
mod loaded;
mod message;
mod passivating;
mod pipelining;
mod replying;
mod state;
mod timing;
mod turning;
mod upgrading;
mod window;

use std::sync::Arc;

use colloquy_store::{AppendError, NotApplied};
use colloquy_telemetry::Polled;
use colloquy_types::Head;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use self::{
    activating::Activating,
    commit::BatchBuilder,
    state::{Body, Queued, Running, State, Work},
};
pub(crate) use self::{
    loaded::Loaded,
    message::{Cancel, Control, ControlSubmission, Erase, Fork, Message, Passivate, Submission, Waited},
    window::{
        EndingKind, Known, Window, erase_digest, feedback_digest, fork_digest, hash16, input_digest, pause_digest,
        reset_digest, traffic_digest,
    },
};
use crate::{
    directory::{ActorInfo, ActorStatus},
    error::{Error, LimitKind},
    invariants,
    planted::Planted,
    reply::Described,
    shared::Shared,
};

/// Read-only dependencies of one conversation's actor.
pub(crate) struct Conversation {
    pub(crate) shared: Arc<Shared>,
    pub(crate) info: Arc<ActorInfo>,
}

impl Actor for Conversation {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    /// Never fails: what went wrong becomes the answer to whatever is in the mailbox.
    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        self.shared.metrics.activations.inc();
        let activating = Activating::begin(&self.shared, &self.info, myself.get_id());
        let mut state = State::new(self.activate().await);
        self.info.set_status(ActorStatus::Idle);
        self.resized_first(&mut state);
        self.resume_accepted(&myself, &mut state);
        activating.done();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let _poll = self.shared.metrics.stalls.poll(Polled::Conversation);
        match message {
            Message::Submit(submission) => self.submit(&myself, state, submission),
            Message::Control(submission) => self.control(&myself, state, submission),
            Message::Cancel(cancel) => self.cancel(&myself, state, cancel),
            Message::Describe(reply) => {
                drop(reply.send(self.describe(state)));
                self.next(&myself, state);
            }
            Message::Pinned { reply, passing } => {
                drop(reply.send(self.pinned(state)));
                if passing && state.is_idle() {
                    self.retire(&myself, state);
                }
                self.next(&myself, state);
            }
            Message::Passivate(passivate) => self.passivate(&myself, state, passivate),
            Message::Inspect(reply) => drop(reply.send(self.report(state))),
            Message::Performed { round, result } => self.performed(&myself, state, round, result),
            Message::Hinted { turn_id, kept } => self.hinted(&myself, state, turn_id, kept),
            Message::Appended { attempt, result } => self.appended(&myself, state, attempt, result),
        }
        self.show_effect(state);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if let Some(lease) = state.lease() {
            self.shared.store.release(lease);
        }
        Ok(())
    }
}

impl Conversation {
    async fn activate(&self) -> Body {
        let patience = self.shared.settings.activation_deadline;
        let Some(_place) = self.shared.activations.enter(patience).await else {
            let bound = self.shared.settings.activations_max.get();
            let retry_after = patience;
            return Body::Broken(Error::Overloaded { limit: LimitKind::Activations, bound, retry_after });
        };
        let open = self.shared.store.open(&self.info.key);
        let opened = match tokio::time::timeout(patience, open).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                tracing::warn!(shard = self.info.shard, %error, "conversation cannot be opened");
                return Body::Broken(self.unreadable(error.into()));
            }
            Err(_) => return Body::Broken(Error::StoreUnavailable),
        };
        self.info.activated(opened.lease.clone());
        match Loaded::from_opened(&opened, &self.shared.flows) {
            Ok(None) => {
                // Whoever watches has missed that it was erased: the actor that did it died before it could tell.
                self.shared.watches.erased(&self.info.key);
                Body::Absent(opened.lease)
            }
            Ok(Some(loaded)) => Body::Open(opened.lease, Box::new(loaded)),
            Err(error) => {
                tracing::warn!(shard = self.info.shard, %error, "conversation cannot be loaded");
                Body::Unusable(opened.lease, opened.head, self.unreadable(error))
            }
        }
    }

    fn submit(&self, myself: &ActorRef<Message>, state: &mut State, submission: Box<Submission>) {
        if state.retired {
            return self.shared.forward(&self.info.key, Message::Submit(submission));
        }
        self.info.busy_until(self.shared.tick_at(submission.deadline));
        // One that waited for the activation waited for the store.
        if submission.sent_at >= state.activated_at {
            self.shared.admission.waited(submission.sent_at.elapsed());
        }
        if let Some(unanswered) = self.answer_repeated(state, submission) {
            self.start_or_queue(myself, state, unanswered);
            self.next(myself, state);
        }
    }

    /// Answers a request id that was seen before, or attaches it to its running turn; gives back a new one.
    fn answer_repeated(&self, state: &mut State, mut submission: Box<Submission>) -> Option<Box<Submission>> {
        // What runs or is being synced has no ending yet, also when what is loaded is ahead of it.
        if let Some((digest, waiters)) = state.same_request(&submission.request_hash) {
            if digest == submission.request_digest {
                self.shared.metrics.duplicates.inc();
                waiters.attach(*submission);
            } else {
                submission.answer(Err(Error::RequestIdReused));
            }
            return None;
        }
        if let Body::Open(_, loaded) = &state.body
            && !self.shared.is_planted(Planted::ForgetsDuplicates)
        {
            match loaded.window.look_up(&submission.request_hash, &submission.request_digest) {
                Known::No => {}
                Known::Reused => {
                    submission.answer(Err(Error::RequestIdReused));
                    return None;
                }
                Known::Ended { kind, turn_seq } => {
                    self.shared.metrics.duplicates.inc();
                    if let (Some(follower), Some((request_hash, kept))) = (submission.events.take(), &state.followed)
                        && *request_hash == submission.request_hash
                    {
                        // A caller that is gone follows nothing.
                        drop(follower.send(Arc::clone(&kept.events)));
                    }
                    // What is loaded may be ahead of what is synced.
                    submission.answer_known(kind, turn_seq, loaded, state.head());
                    return None;
                }
            }
        }
        Some(submission)
    }

    fn control(&self, myself: &ActorRef<Message>, state: &mut State, submission: Box<ControlSubmission>) {
        if state.retired {
            return self.shared.forward(&self.info.key, Message::Control(submission));
        }
        self.info.busy_until(self.shared.tick_at(submission.deadline));
        state.queue.push_back(Queued::Control(submission));
        self.next(myself, state);
    }

    /// Starts what waits until something runs or nothing waits.
    fn next(&self, myself: &ActorRef<Message>, state: &mut State) {
        while !state.retired && state.may_begin() {
            state.make_way();
            match state.queue.pop_front() {
                Some(Queued::Turn(submission, waiters)) => self.begin(myself, state, submission, waiters),
                Some(Queued::Control(submission)) => self.begin_control(myself, state, *submission),
                None => {
                    self.info.rests(self.shared.tick());
                    if !matches!(state.body, Body::Open(..)) {
                        self.retire(myself, state);
                    }
                    return;
                }
            }
        }
    }

    /// Hands a batch to the writer; its answer comes back as [`Message::Appended`].
    fn append(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        work: Work,
        deadline: Instant,
        batch: Result<BatchBuilder<'_>, Error>,
    ) {
        let Some(lease) = state.lease() else { return };
        let batch = match batch {
            Ok(batch) => batch.finish(),
            Err(error) => return work.fail(&error),
        };
        // A snapshot alone stands for the head that there is.
        let leads_on = !matches!(work, Work::Snapshot { .. });
        debug_assert!(!leads_on || invariants::follows(&state.head_loaded(), &batch.head_after()), "INV-1");
        let told_early = self.shared.is_planted(Planted::TellsUnsynced).then(|| batch.head_after());
        let (attempt, actor) = (state.attempt + 1, myself.clone());
        // The actor may be gone by then; the next activation finds what was written.
        let done = Box::new(move |result| drop(actor.send_message(Message::Appended { attempt, result })));
        self.shared.store.append(lease, batch, done);
        if let (Some(head), Some(loaded)) = (told_early, state.loaded_mut()) {
            loaded.head = head;
        }
        state.attempt = attempt;
        state.running = Some(Running { work, started_at: Instant::now(), deadline });
        self.info.set_status(ActorStatus::Running);
    }

    fn appended(&self, myself: &ActorRef<Message>, state: &mut State, attempt: u64, result: Result<Head, AppendError>) {
        let Some(result) = self.ahead_appended(myself, state, attempt, result) else {
            return self.next(myself, state);
        };
        if attempt != state.attempt {
            return;
        }
        let Some(Running { work, .. }) = state.running.take() else { return };
        match (result, work) {
            (Ok(head), Work::Turn(turn)) => self.turn_appended(myself, state, turn, head),
            (Ok(head), Work::Snapshot { bytes, cause }) => {
                self.snapshot_written(myself, state, (bytes, cause), head);
            }
            (Ok(head), Work::Control(control)) => self.control_committed(myself, state, *control, head),
            (Err(error), work) => {
                let (refused, promised) = (error.clone().into(), work.is_promised());
                work.fail(&refused);
                // Nothing was written and nobody else owns the conversation: what is loaded still holds.
                let still_ours = matches!(error, AppendError::NotApplied(NotApplied::Full | NotApplied::Busy));
                if promised && still_ours {
                    // The next activation takes the turn up. What waits behind it would only be refused there, too.
                    state.queue.drain(..).for_each(|queued| queued.fail(&refused));
                }
                if promised || !still_ours {
                    self.retire(myself, state);
                }
            }
        }
        self.next(myself, state);
    }

    fn describe(&self, state: &State) -> Result<Box<Described>, Error> {
        let (lease, loaded) = match &state.body {
            Body::Open(lease, loaded) => (lease, loaded),
            Body::Absent(_) => return Err(Error::ConversationAbsent),
            Body::Broken(error) | Body::Unusable(_, _, error) => return Err(error.clone()),
        };
        let (head, of, updated_at) = match &state.synced {
            Some(synced) => (synced.head, &synced.state, synced.updated_at),
            None => (loaded.head, &loaded.state, loaded.updated_at),
        };
        Ok(Box::new(Described {
            key: lease.key.clone(),
            uid: lease.uid,
            flow: loaded.pin.clone(),
            subject: loaded.subject.clone(),
            head,
            state: of.clone(),
            created_at: loaded.created_at,
            updated_at,
            origin: loaded.origin,
            paused_at: loaded.paused_at,
        }))
    }

    /// Makes way for the next activation: what had not started goes there, and so does what arrives
    /// from now on; then the actor stops.
    fn retire(&self, myself: &ActorRef<Message>, state: &mut State) {
        if std::mem::replace(&mut state.retired, true) {
            return;
        }
        self.shared.unlink(&self.info, myself.get_id());
        for queued in state.queue.drain(..) {
            let message = match queued {
                Queued::Turn(submission, waiters) => {
                    waiters.fail(&Error::Restarted);
                    Message::Submit(submission)
                }
                Queued::Control(submission) => Message::Control(submission),
            };
            self.shared.forward(&self.info.key, message);
        }
        // Drains the mailbox: each message left in it is handled, that is, forwarded, before the end.
        drop(myself.drain());
    }
}
