//! What a conversation actor owns, and the questions about it that change nothing.

use std::{collections::VecDeque, time::Duration};

use colloquy_store::Lease;
use colloquy_turn::{AcceptedRecord, Change, ConversationState, Timer, TurnClosedRecord, TurnRecord};
use colloquy_types::{ConversationUid, Head, Timestamp, TraceContext, TurnId};
use tokio::time::Instant;

use super::{
    deciding::Deciding,
    loaded::Loaded,
    message::{ControlSubmission, Submission},
    passivating::Cause,
    pipelining::{Ahead, Synced},
    replying::Waiters,
    timing::Hinting,
    upgrading::Upgrading,
};
use crate::{error::Error, events::RetainedEvents};

/// What the actor owns.
pub(crate) struct State {
    pub(super) body: Body,
    pub(super) running: Option<Running>,
    pub(super) queue: VecDeque<Queued>,
    /// Turns that are with the writer and made way for the next one, the oldest first.
    pub(super) ahead: VecDeque<Ahead>,
    /// What is synced, while what is loaded is ahead of that.
    pub(super) synced: Option<Box<Synced>>,
    /// Counts appends; an answer to another attempt is ignored.
    pub(super) attempt: u64,
    /// Counts the rounds of calls; an answer of another round is ignored.
    pub(super) round: u64,
    /// Set once the directory no longer points here: what arrives goes to the next activation.
    pub(super) retired: bool,
    pub(super) activated_at: Instant,
    /// Whether the tree shows a call that it waits for.
    pub(super) shows_effect: bool,
    /// How fast turns end here.
    pub(super) pace: TurnPace,
    /// What happened in the last turn that was followed, for whoever lost it on its last words.
    pub(super) followed: Option<([u8; 16], RetainedEvents)>,
}

/// How fast turns end, one behind the other: a moving average of the time from one end to the next.
#[derive(Debug, Default)]
pub(super) struct TurnPace {
    each: Duration,
    last_end: Option<Instant>,
}

impl TurnPace {
    /// A turn that began at `begun` has ended.
    pub(super) fn ended(&mut self, begun: Instant) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.last_end.map_or(begun, |last| last.max(begun)));
        self.each = if self.last_end.is_none() { took } else { (self.each * 7 + took) / 8 };
        self.last_end = Some(now);
    }

    /// How long so many turns can be expected to take.
    pub(super) fn expected(&self, turns: usize) -> Duration {
        self.each.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX))
    }
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

impl Running {
    /// Since when this has been going on; a turn goes on from one wait to the next.
    pub(super) fn since(&self) -> Instant {
        match &self.work {
            Work::Turn(turn) => turn.begun_at,
            Work::Control(_) | Work::Snapshot { .. } => self.started_at,
        }
    }
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
    pub(super) begun_at: Instant,
    /// Set once the turn is to end early, as soon as it can.
    pub(super) ending: Option<EndEarly>,
    /// The caller's; not kept across activations.
    pub(super) trace: Option<TraceContext>,
}

/// How a turn ends that is not to be decided to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndEarly {
    /// What was shown of it stays, as a partial turn.
    Interrupt,
    /// As if it had never been sent. One that is about to act is interrupted instead.
    Drop,
}

pub(super) enum Phase {
    /// The `accepted` record is on its way; then the turn runs.
    Accepting,
    /// The machine waits for calls, or for what must be synced before it goes on.
    Deciding(Box<Deciding>),
    /// The turn is decided, and waits until the timers that it sets can be found after a crash.
    Hinting(Box<Hinting>),
    /// The turn's record is on its way.
    Committing(Box<Committing>),
}

pub(super) struct Committing {
    pub(super) pending: Pending,
    pub(super) at: Timestamp,
    pub(super) bytes: usize,
    pub(super) snapshot_bytes: Option<usize>,
    /// The head that it leads to.
    pub(super) head_after: Head,
    /// The move to another revision that goes with it.
    pub(super) upgrading: Option<Upgrading>,
    /// Timers that are over with it.
    pub(super) over: Vec<Timer>,
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
    /// Set when it creates the conversation.
    pub(super) creating: Option<Box<Loaded>>,
}

impl State {
    pub(super) fn new(body: Body) -> Self {
        let (ahead, synced) = (VecDeque::new(), None);
        Self {
            body,
            running: None,
            queue: VecDeque::new(),
            ahead,
            synced,
            attempt: 0,
            round: 0,
            retired: false,
            activated_at: Instant::now(),
            shows_effect: false,
            pace: TurnPace::default(),
            followed: None,
        }
    }

    /// The head as last synced.
    pub(super) fn head(&self) -> Head {
        self.synced.as_ref().map_or_else(|| self.head_loaded(), |synced| synced.head)
    }

    /// The head of what is loaded, which the next turn comes behind.
    pub(super) fn head_loaded(&self) -> Head {
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
        if let Some(ahead) = self.ahead.iter_mut().find(|ahead| ahead.request_hash == *request_hash) {
            return Some((ahead.request_digest, &mut ahead.waiters));
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

impl Queued {
    /// Tells everyone who waits for it.
    pub(super) fn fail(self, error: &Error) {
        match self {
            Self::Turn(submission, waiters) => {
                waiters.fail(error);
                submission.answer(Err(error.clone()));
            }
            Self::Control(submission) => submission.answer(Err(error.clone())),
        }
    }
}

impl Work {
    /// Whether a synced record promises that it ends.
    pub(super) fn is_promised(&self) -> bool {
        matches!(self, Self::Turn(turn) if turn.journalled)
    }

    /// The turn that it is, if it is one.
    pub(super) fn turn_id(&self) -> Option<TurnId> {
        match self {
            Self::Turn(turn) => Some(turn.accepted.turn_id),
            Self::Control(_) | Self::Snapshot { .. } => None,
        }
    }

    /// The request of the turn that it is, if it is one.
    pub(super) fn request_hash(&self) -> Option<[u8; 16]> {
        match self {
            Self::Turn(turn) => Some(turn.request_hash),
            Self::Control(_) | Self::Snapshot { .. } => None,
        }
    }

    /// Tells everyone who waits for it.
    pub(super) fn fail(self, error: &Error) {
        match self {
            Self::Turn(turn) => turn.waiters.fail(error),
            Self::Control(control) => control.submission.answer(Err(error.clone())),
            Self::Snapshot { .. } => {}
        }
    }
}
