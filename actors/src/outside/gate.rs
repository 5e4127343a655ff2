//! A gate: the actor in front of one model or source. It counts who is inside, keeps a bounded queue, and shuts when
//! the place fails.
//!
//! Takes requests to enter and the leaving of those inside; answers with a [`Permit`] or why not. The call itself
//! runs with whoever holds the permit, so that giving up the call gives back the place. Nothing is durable: a gate
//! that is started anew knows of nobody inside, and lets in as many as it may. The downside of this design: until
//! those from before have left, there may be twice as many.

use std::{collections::VecDeque, num::NonZeroUsize, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    board::Board,
    breaker::{Breaker, BreakerPolicy, Pass, Verdict},
};

/// What a gate lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatePolicy {
    /// How many calls may run at once.
    pub concurrency: NonZeroUsize,
    /// How many may wait for a place; more are refused.
    pub queue_len_max: usize,
    /// When it shuts.
    pub breaker: BreakerPolicy,
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            concurrency: NonZeroUsize::MIN.saturating_add(15),
            queue_len_max: 256,
            breaker: BreakerPolicy::default(),
        }
    }
}

/// Why a call did not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The breaker is open; it may be tried again after this time.
    #[error("its breaker is open")]
    Open(Duration),
    /// Too many wait already.
    #[error("its queue is full")]
    Full,
    /// No place became free in time.
    #[error("no place became free in time")]
    TooLate,
    /// The gate is being started anew.
    #[error("its gate is being started anew")]
    Gone,
}

/// A place inside. Leaving it tells the gate how the call ended; one that is dropped was given up.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: ActorRef<Message>,
    /// Which life of the gate let it in.
    life: u64,
    pass: Pass,
    verdict: Verdict,
}

impl Permit {
    pub(crate) fn leave(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // A gate that is gone counts anew.
        drop(self.gate.send_message(Message::Left { life: self.life, pass: self.pass, verdict: self.verdict }));
    }
}

/// What a gate is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// From a call that wants in; answered with a permit or why not. A caller that is gone is passed over.
    Enter(Waiting),
    /// From a permit, once.
    Left { life: u64, pass: Pass, verdict: Verdict },
}

/// A call that waits for its place.
#[derive(Debug)]
pub(crate) struct Waiting {
    deadline: Instant,
    reply: oneshot::Sender<Result<Permit, Refused>>,
}

/// A gate, as callers reach it. Outlives restarts of its actor.
#[derive(Clone, Debug)]
pub(crate) struct GateHandle {
    pub(crate) board: Arc<Board>,
}

impl GateHandle {
    /// Waits for a place, until the deadline at most. Cancel safe: one who stops waiting takes no place.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<Permit, Refused> {
        let gate = self.board.gate().ok_or(Refused::Gone)?;
        let (reply, answer) = oneshot::channel();
        gate.send_message(Message::Enter(Waiting { deadline, reply })).map_err(|_| Refused::Gone)?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Refused::Gone),
            Err(_) => Err(Refused::TooLate),
        }
    }
}

/// The actor.
pub(crate) struct Gate {
    pub(crate) policy: GatePolicy,
    pub(crate) board: Arc<Board>,
}

/// What the actor owns.
pub(crate) struct State {
    life: u64,
    inside: usize,
    waiting: VecDeque<Waiting>,
    breaker: Breaker,
}

impl Actor for Gate {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        let life = self.board.begin(myself);
        Ok(State { life, inside: 0, waiting: VecDeque::new(), breaker: Breaker::new(self.policy.breaker) })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Enter(waiting) => self.enter(&myself, state, waiting),
            Message::Left { life, pass, verdict } => {
                if life == state.life {
                    self.left(&myself, state, pass, verdict);
                }
            }
        }
        self.board.show(state.inside, state.waiting.len(), state.breaker.position(Instant::now()));
        Ok(())
    }
}

impl Gate {
    fn enter(&self, myself: &ActorRef<Message>, state: &mut State, waiting: Waiting) {
        if state.inside < self.policy.concurrency.get() {
            return Self::admit(myself, state, waiting);
        }
        // Those who wait no longer make room.
        if state.waiting.len() >= self.policy.queue_len_max {
            state.waiting.retain(|waiting| !waiting.reply.is_closed());
        }
        if state.waiting.len() >= self.policy.queue_len_max {
            self.board.refused();
            drop(waiting.reply.send(Err(Refused::Full)));
            return;
        }
        state.waiting.push_back(waiting);
    }

    /// Lets one in, if somebody waits for the answer and the breaker allows it.
    fn admit(myself: &ActorRef<Message>, state: &mut State, waiting: Waiting) {
        let now = Instant::now();
        if waiting.reply.is_closed() || waiting.deadline <= now {
            return;
        }
        let pass = match state.breaker.enter(now) {
            Ok(pass) => pass,
            Err(again) => return drop(waiting.reply.send(Err(Refused::Open(again)))),
        };
        state.inside += 1;
        let permit = Permit { gate: myself.clone(), life: state.life, pass, verdict: Verdict::GivenUp };
        // A permit that nobody takes is dropped, which leaves.
        drop(waiting.reply.send(Ok(permit)));
    }

    fn left(&self, myself: &ActorRef<Message>, state: &mut State, pass: Pass, verdict: Verdict) {
        state.inside = state.inside.saturating_sub(1);
        if state.breaker.left(pass, verdict, Instant::now()) {
            tracing::warn!(place = self.board.name, "breaker opened");
            self.board.opened();
        }
        while state.inside < self.policy.concurrency.get()
            && let Some(waiting) = state.waiting.pop_front()
        {
            Self::admit(myself, state, waiting);
        }
    }
}
