//! The keeper of a session with a server of the Model Context Protocol: connects, and connects anew when it ends.
//!
//! Takes the ends of its own two tasks, one that connects and one that waits for the session's end; answers nothing:
//! callers see the session on its [`Desk`]. Nothing is durable: a keeper that is started anew begins a new session,
//! and the old one, which is dropped with the keeper, takes its server's program along.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use colloquy_enrich::{Answer, Call, Checked, DeadReason, Error, Factory, Session, Source, UnreachableKind};
use colloquy_types::Entropy;
use futures::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::retry::RetryPolicy;
use crate::directory::ActorStatus;

/// How long a server may take until its session is agreed on.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a server may take to end in order.
const CLOSE: Duration = Duration::from_secs(2);
/// A session that lived this long was a good one: the next is made without a long pause.
const STEADY: Duration = Duration::from_secs(30);
/// Pauses between sessions.
const PAUSES: RetryPolicy =
    RetryPolicy { pause: Duration::from_millis(100), pause_max: Duration::from_secs(30), attempt_min: Duration::ZERO };

/// Where the session of a source is found.
#[derive(Clone, Debug)]
pub(crate) enum Desk {
    /// One is being made.
    Connecting,
    /// Calls may be made.
    Ready(Arc<Session>),
    /// There is none, and the next is not made yet.
    Down,
}

/// A source whose session is kept by an actor.
pub(crate) struct KeptSource {
    desk: watch::Receiver<Desk>,
}

impl KeptSource {
    async fn session(&self, deadline: Instant) -> Result<Arc<Session>, Error> {
        let mut desk = self.desk.clone();
        let found = timeout_at(deadline, desk.wait_for(|desk| !matches!(desk, Desk::Connecting))).await;
        match found.map_err(|_| Error::TimedOut { sent: false })?.as_deref() {
            Ok(Desk::Ready(session)) => Ok(Arc::clone(session)),
            _ => Err(Error::Unreachable(UnreachableKind::NoSession)),
        }
    }
}

impl Source for KeptSource {
    fn call(&self, call: Call, deadline: Instant) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move { self.session(deadline).await?.call(call, deadline).await })
    }

    fn check(&self, deadline: Instant) -> BoxFuture<'_, Result<Checked, Error>> {
        Box::pin(async move { self.session(deadline).await?.check(deadline).await })
    }
}

/// What a keeper is made from; outlives restarts of its actor.
#[derive(Clone)]
pub(crate) struct SessionSpec {
    /// The source's name.
    pub(crate) name: Arc<str>,
    factory: Arc<Factory>,
    /// Where the session is shown.
    pub(super) desk: watch::Sender<Desk>,
    lives: Arc<Lives>,
    entropy: Arc<dyn Entropy>,
}

/// How often the keeper and its sessions began.
#[derive(Debug, Default)]
struct Lives {
    sessions: AtomicU32,
    since: Mutex<Option<Instant>>,
}

/// A keeper as the tree shows it.
pub(crate) struct KeeperFigures {
    pub(crate) status: ActorStatus,
    /// Sessions after the first.
    pub(crate) restarts: u32,
    pub(crate) age: Duration,
}

impl SessionSpec {
    pub(crate) fn new(name: Arc<str>, factory: Arc<Factory>, entropy: Arc<dyn Entropy>) -> Self {
        Self { name, factory, desk: watch::Sender::new(Desk::Connecting), lives: Arc::default(), entropy }
    }

    pub(crate) fn source(&self) -> KeptSource {
        KeptSource { desk: self.desk.subscribe() }
    }

    pub(crate) fn figures(&self) -> KeeperFigures {
        let status = match *self.desk.borrow() {
            Desk::Connecting => ActorStatus::Activating,
            Desk::Ready(_) => ActorStatus::Running,
            Desk::Down => ActorStatus::Idle,
        };
        let since = *self.lives.since.lock().unwrap_or_else(PoisonError::into_inner);
        let restarts = self.lives.sessions.load(Ordering::Relaxed).saturating_sub(1);
        KeeperFigures { status, restarts, age: since.map(|since| since.elapsed()).unwrap_or_default() }
    }
}

/// What the keeper is told, by its own tasks.
pub(crate) enum Message {
    /// It is time to connect.
    Connect,
    /// Connecting ended.
    Connected(Box<Result<Session, Error>>),
    /// The session ended.
    Ended(DeadReason),
}

/// The actor.
pub(crate) struct SessionKeeper {
    pub(crate) spec: SessionSpec,
}

/// What the actor owns.
pub(crate) struct State {
    session: Option<(Arc<Session>, Instant)>,
    /// Sessions in a row that did not come about or did not last.
    failed: u32,
    /// Ends with the actor.
    tasks: JoinSet<()>,
}

impl Actor for SessionKeeper {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        *self.spec.lives.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.spec.desk.send_replace(Desk::Connecting);
        myself.send_message(Message::Connect)?;
        Ok(State { session: None, failed: 0, tasks: JoinSet::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // What has ended is forgotten.
        while state.tasks.try_join_next().is_some() {}
        match message {
            Message::Connect => self.connect(myself, state),
            Message::Connected(connected) => match *connected {
                Ok(session) => self.connected(myself, state, session),
                Err(error) => {
                    tracing::warn!(source = %self.spec.name, %error, "no session with the source");
                    self.again(&myself, state);
                }
            },
            Message::Ended(reason) => {
                tracing::warn!(source = %self.spec.name, %reason, "session with the source ended");
                if state.session.take().is_some_and(|(_, born)| born.elapsed() >= STEADY) {
                    state.failed = 0;
                }
                self.again(&myself, state);
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        self.spec.desk.send_replace(Desk::Down);
        if let Some((session, _)) = state.session.take() {
            session.close(Instant::now() + CLOSE).await;
        }
        Ok(())
    }
}

impl SessionKeeper {
    fn connect(&self, myself: ActorRef<Message>, state: &mut State) {
        self.spec.desk.send_replace(Desk::Connecting);
        let factory = Arc::clone(&self.spec.factory);
        state.tasks.spawn(async move {
            let connected = factory.connect(Instant::now() + CONNECT).await;
            // An actor that is gone drops the session, which ends it.
            drop(myself.send_message(Message::Connected(Box::new(connected))));
        });
    }

    fn connected(&self, myself: ActorRef<Message>, state: &mut State, session: Session) {
        tracing::info!(source = %self.spec.name, tools = session.tools().len(), "session with the source begun");
        self.spec.lives.sessions.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(session);
        state.session = Some((Arc::clone(&session), Instant::now()));
        self.spec.desk.send_replace(Desk::Ready(Arc::clone(&session)));
        state.tasks.spawn(async move {
            let reason = session.ended().await;
            drop(session);
            drop(myself.send_message(Message::Ended(reason)));
        });
    }

    fn again(&self, myself: &ActorRef<Message>, state: &mut State) {
        self.spec.desk.send_replace(Desk::Down);
        state.failed = state.failed.saturating_add(1);
        let never = Instant::now() + Duration::from_secs(1 << 30);
        let pause = PAUSES.pause(state.failed, None, never, self.spec.entropy.as_ref()).unwrap_or(PAUSES.pause_max);
        drop(myself.send_after(pause, || Message::Connect));
    }
}
