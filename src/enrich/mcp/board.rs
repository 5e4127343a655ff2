//! Where the state of a source's session can be seen.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

/// The state of the newest session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It is being agreed upon.
    Connecting,
    /// It takes calls.
    Ready,
    /// There is none, or no longer.
    Dead {
        /// Why.
        reason: DeadReason,
    },
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadReason {
    /// None was asked for yet.
    #[error("not started")]
    NotStarted,
    /// None came about.
    #[error("the server could not be agreed with")]
    NotConnected,
    /// Its owner ended it.
    #[error("closed")]
    Closed,
    /// The server's program ended.
    #[error("the program ended{}", code.map(|code| format!(" with code {code}")).unwrap_or_default())]
    Exited {
        /// Its exit code; none when a signal ended it.
        code: Option<i32>,
    },
    /// The server sent a line that is longer than allowed.
    #[error("the server sent a message that is too long")]
    Overlong,
    /// The server does not know the session any more.
    #[error("the server forgot the session")]
    Forgotten,
    /// The connection is lost.
    #[error("the connection is lost")]
    Lost,
}

/// Shows the state of one source; only its newest session may change it.
#[derive(Debug)]
pub(super) struct Board {
    newest: AtomicU64,
    state: watch::Sender<SessionState>,
}

/// The right of one session to show its state.
#[derive(Clone, Debug)]
pub(super) struct Placard {
    board: Arc<Board>,
    number: u64,
}

impl Board {
    pub(super) fn new() -> Arc<Self> {
        let state = watch::Sender::new(SessionState::Dead { reason: DeadReason::NotStarted });
        Arc::new(Self { newest: AtomicU64::new(0), state })
    }

    pub(super) fn watch(&self) -> watch::Receiver<SessionState> {
        self.state.subscribe()
    }

    /// Begins a session: what earlier ones show from now on is passed over.
    pub(super) fn begin(self: &Arc<Self>) -> Placard {
        let number = self.newest.fetch_add(1, Ordering::AcqRel) + 1;
        let placard = Placard { board: Arc::clone(self), number };
        placard.show(SessionState::Connecting);
        placard
    }
}

impl Placard {
    pub(super) fn show(&self, state: SessionState) {
        self.board.state.send_if_modified(|shown| {
            let newest = self.board.newest.load(Ordering::Acquire) == self.number;
            let changes = newest && *shown != state;
            if changes {
                *shown = state;
            }
            changes
        });
    }

    pub(super) fn dead(&self, reason: DeadReason) {
        self.show(SessionState::Dead { reason });
    }
}
