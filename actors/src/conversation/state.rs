//! What a conversation actor owns, and the questions about it that change nothing.

use std::collections::VecDeque;

use colloquy_store::Lease;
use colloquy_turn::{AcceptedRecord, Change, ConversationState, TurnClosedRecord, TurnRecord};
use colloquy_types::{ConversationUid, Head, Timestamp, TraceContext};
use tokio::time::Instant;

use super::{
    deciding::Deciding,
    loaded::Loaded,
    message::{ControlSubmission, Submission},
    passivating::Cause,
    replying::Waiters,
    upgrading::Upgrading,
};
use crate::error::Error;

/// What the actor owns.
pub(crate) struct State {
    pub(super) body: Body,
    pub(super) running: Option<Running>,
    pub(super) queue: VecDeque<Queued>,
    /// Counts appends; an answer to another attempt is ignored.
    pub(super) attempt: u64,
    /// Counts the rounds of calls; an answer of another round is ignored.
    pub(super) round: u64,
    /// Set once the directory no longer points here: what arrives goes to the next activation.
    pub(super) retired: bool,
}

pub(super) enum Body {
    /// Activation failed; every call is answered so, and the next activation tries again.
    Broken(Error),
    /// The store gave its records, but they cannot be used. All that can be done with it is to erase it.
    Unusable(Lease, Head, Error),
    /// No such conversation yet.
    Absent(Lease),
    /// As last synced.
    Open(Lease, Box<Loaded>),
}

/// What waits for the running work to end.
pub(super) enum Queued {
    Turn(Box<Submission>, Waiters),
    Control(Box<ControlSubmission>),
}

/// The one thing that is being decided or written.
pub(super) struct Running {
    pub(super) work: Work,
    pub(super) started_at: Instant,
    pub(super) deadline: Instant,
}

pub(super) enum Work {
    Turn(Box<RunningTurn>),
    Control(Box<RunningControl>),
    /// The snapshot of a conversation that is about to leave memory.
    Snapshot {
        bytes: usize,
        cause: Cause,
    },
}

pub(super) struct RunningTurn {
    pub(super) accepted: AcceptedRecord,
    pub(super) request_hash: [u8; 16],
    pub(super) waiters: Waiters,
    pub(super) phase: Phase,
    /// Whether a synced record promises that it ends.
    pub(super) journalled: bool,
    /// Set while the conversation is being created; becomes the body when its first batch is synced.
    pub(super) creating: Option<Box<Loaded>>,
    pub(super) deadline: Instant,
    /// The caller's; not kept across activations.
    pub(super) trace: Option<TraceContext>,
}

pub(super) enum Phase {
    /// The `accepted` record is on its way; then the turn runs.
    Accepting,
    /// The machine waits for calls, or for what must be synced before it goes on.
    Deciding(Box<Deciding>),
    /// The turn's record is on its way.
    Committing(Box<Committing>),
}

pub(super) struct Committing {
    pub(super) pending: Pending,
    pub(super) at: Timestamp,
    pub(super) bytes: usize,
    pub(super) snapshot_bytes: Option<usize>,
    /// The move to another revision that goes with it.
    pub(super) upgrading: Option<Upgrading>,
}

pub(super) enum Pending {
    Turn { record: Box<TurnRecord>, state: Box<ConversationState> },
    Closed(TurnClosedRecord),
}

pub(super) struct RunningControl {
    pub(super) submission: ControlSubmission,
    pub(super) uid: ConversationUid,
    pub(super) changes: Vec<Change>,
    pub(super) at: Timestamp,
}

impl State {
    pub(super) fn new(body: Body) -> Self {
        Self { body, running: None, queue: VecDeque::new(), attempt: 0, round: 0, retired: false }
    }

    /// The head as last synced.
    pub(super) fn head(&self) -> Head {
        match &self.body {
            Body::Open(_, loaded) => loaded.head,
            Body::Unusable(_, head, _) => *head,
            Body::Absent(_) | Body::Broken(_) => Head::default(),
        }
    }

    /// The turn that runs or waits under this request id: its payload's digest, and its callers.
    pub(super) fn same_request(&mut self, request_hash: &[u8; 16]) -> Option<([u8; 16], &mut Waiters)> {
        if let Some(Running { work: Work::Turn(turn), .. }) = &mut self.running
            && turn.request_hash == *request_hash
        {
            return Some((turn.accepted.request_digest, &mut turn.waiters));
        }
        self.queue.iter_mut().find_map(|queued| match queued {
            Queued::Turn(submission, waiters) if submission.request_hash == *request_hash => {
                Some((submission.request_digest, waiters))
            }
            _ => None,
        })
    }

    /// Calls `work` with the lease and with `creating`, or else what is loaded.
    pub(super) fn with_loaded<T>(
        &self,
        creating: Option<&Loaded>,
        work: impl FnOnce(&Lease, &Loaded) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match (&self.body, creating) {
            (Body::Broken(error) | Body::Unusable(_, _, error), _) => Err(error.clone()),
            (Body::Absent(lease) | Body::Open(lease, _), Some(creating)) => work(lease, creating),
            (Body::Open(lease, loaded), None) => work(lease, loaded),
            (Body::Absent(_), None) => Err(Error::ConversationAbsent),
        }
    }

    /// Puts a conversation whose first batch is synced in its place.
    pub(super) fn install(&mut self, created: Option<Box<Loaded>>) {
        let Some(created) = created else { return };
        if let Body::Absent(lease) | Body::Open(lease, _) = &self.body {
            self.body = Body::Open(lease.clone(), created);
        }
    }

    pub(super) fn loaded_mut(&mut self) -> Option<&mut Loaded> {
        match &mut self.body {
            Body::Open(_, loaded) => Some(loaded),
            Body::Absent(_) | Body::Unusable(..) | Body::Broken(_) => None,
        }
    }

    /// The right to append, while there is one.
    pub(super) fn lease(&self) -> Option<&Lease> {
        match &self.body {
            Body::Absent(lease) | Body::Unusable(lease, ..) | Body::Open(lease, _) => Some(lease),
            Body::Broken(_) => None,
        }
    }
}

impl Work {
    /// Tells everyone who waits for it.
    pub(super) fn fail(self, error: &Error) {
        match self {
            Self::Turn(turn) => turn.waiters.fail(error),
            Self::Control(control) => control.submission.answer(Err(error.clone())),
            Self::Snapshot { .. } => {}
        }
    }
}
