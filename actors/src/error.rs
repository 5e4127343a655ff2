//! How a call to the runtime can end other than well: the one vocabulary the gateway maps to statuses.

use std::{sync::Arc, time::Duration};

use colloquy_store::{AppendError, NotApplied, ReadError};
use colloquy_types::{Head, Timestamp, TurnId, TurnSeq};

use crate::{
    flows::{FlowFault, ScenarioResult, TrafficPause},
    quarantine::Quarantined,
};

/// Which admission limit refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Calls in flight in this process.
    Global,
    /// Calls in flight of one tenant.
    Tenant,
    /// Calls in flight of one conversation: its queue.
    Conversation,
    /// Flows that are compiled, played or replayed.
    FlowWork,
    /// Conversations that are opened at once.
    Activations,
    /// Calls in flight in this process, while those that are let in wait too long.
    Shedding,
    /// Bytes of input of all calls in flight.
    Bytes,
    /// Turns that can be expected to end within the deadline.
    Deadline,
    /// Watches of conversations, or of the tree, that are open.
    Watches,
}

/// Whose calls came too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateOf {
    /// The tenant's.
    Tenant,
    /// The peer's.
    Peer,
}

/// What is known of a turn whose time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineOutcome {
    /// It was never started; nothing was written.
    NotApplied,
    /// It may be committed; the request id tells.
    Unknown,
}

/// Why a call did not end as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The conversation does not exist, and the call named no flow to create it with.
    #[error("no such conversation")]
    ConversationAbsent,
    /// The conversation was erased while it was read.
    #[error("the conversation was erased")]
    ConversationErased,
    /// The named flow is not loaded for this tenant.
    #[error("no such flow: {name}")]
    FlowAbsent {
        /// The flow asked for.
        name: String,
    },
    /// The conversation runs another flow.
    #[error("the conversation runs flow {running}, not {asked}")]
    WrongFlow {
        /// The flow it runs.
        running: String,
        /// The flow asked for.
        asked: String,
    },
    /// The conversation is about someone else, or about nobody.
    #[error("the conversation has another subject")]
    WrongSubject,
    /// The revision that the conversation is pinned to is not loaded.
    #[error("revision {revision} of flow {flow} is not loaded")]
    RevisionUnavailable {
        /// The flow's name.
        flow: String,
        /// The revision, as hex.
        revision: String,
    },
    /// The request id was used before with another payload.
    #[error("the request id was used before with another payload")]
    RequestIdReused,
    /// `expected_seq` is not the conversation's last turn.
    #[error("the conversation is at turn {}", head.turn_seq)]
    SeqMismatch {
        /// The head as it is.
        head: Head,
    },
    /// The conversation is busy and the caller asked not to wait.
    #[error("the conversation is busy with another turn")]
    Busy {
        /// The head as it is.
        head: Head,
        /// The turn that runs; none when it is a reset, or another change that is no turn.
        held_by: Option<TurnId>,
        /// How long the running turn has been running.
        held_for: Duration,
        /// How long the running turn may still run.
        held_at_most: Duration,
    },
    /// The turn was ended by request and is not part of the history.
    #[error("the turn was cancelled")]
    Cancelled,
    /// The conversation takes no turns until it is resumed.
    #[error("the conversation is paused")]
    Paused {
        /// Since when.
        since: Timestamp,
    },
    /// The conversation has no such timer, or has it for later.
    #[error("no such timer is due")]
    TimerAbsent {
        /// When it is due, if there is one.
        due_at: Option<Timestamp>,
    },
    /// The tenant, or the revision that the turn would run, takes no turns until it is resumed.
    #[error("{}", .0.words())]
    TrafficPaused(Arc<TrafficPause>),
    /// A conversation has the key already.
    #[error("the conversation exists already")]
    ConversationExists,
    /// The tree has no such actor, or it cannot be killed.
    #[error("no such actor")]
    ActorAbsent,
    /// Actors may not be killed, or no more of them now.
    #[error("the actor may not be killed")]
    KillRefused {
        /// When the next one may be; never when the process has no budget for it.
        retry_after: Option<Duration>,
    },
    /// More actors match than are watched at once.
    #[error("{total} actors match")]
    TooManyActors {
        /// How many.
        total: usize,
        /// How many may.
        bound: usize,
    },
    /// The conversation does not know the request.
    #[error("no such request")]
    RequestAbsent,
    /// The history that the caller resumes from is not this conversation's history.
    #[error("the history changed")]
    HistoryChanged {
        /// The head as it is.
        head: Head,
    },
    /// An admission limit is reached.
    #[error("limit reached: {limit:?}")]
    Overloaded {
        /// Which limit.
        limit: LimitKind,
        /// Its bound.
        bound: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// Calls came faster than they may.
    #[error("too many calls in a time")]
    RateLimited {
        /// Whose.
        of: RateOf,
        /// When the next one may come.
        retry_after: Duration,
    },
    /// The turn's time ran out.
    #[error("the deadline passed")]
    DeadlineExceeded {
        /// What is known of the turn.
        outcome: DeadlineOutcome,
    },
    /// The conversation's actor was restarted while the call was with it; the request id makes a retry safe.
    #[error("the conversation was restarted")]
    Restarted,
    /// The conversation failed again and again; it is left alone until an operator releases it.
    #[error("the conversation is quarantined: {0}")]
    Quarantined(Arc<Quarantined>),
    /// The process is ending and takes no new turns.
    #[error("draining")]
    Draining,
    /// The store cannot take the turn now; whether it was written is told by the request id.
    #[error("the store is unavailable")]
    StoreUnavailable,
    /// The disk is full; reads go on.
    #[error("the disk is full")]
    DiskFull,
    /// The conversation's stored history is damaged.
    #[error("the stored history is damaged: {reason}")]
    Corrupt {
        /// What does not fit.
        reason: String,
    },
    /// A watcher did not read fast enough.
    #[error("the reader is too slow")]
    SlowReader {
        /// The last turn it was given.
        sent: TurnSeq,
    },
    /// A record would be larger than the store takes.
    #[error("the record is too large: {what}")]
    TooLarge {
        /// What is too large, and its bound.
        what: String,
    },
    /// The tenant published no such revision of this flow.
    #[error("no revision {revision} of flow {flow} is published")]
    RevisionAbsent {
        /// The flow's name.
        flow: String,
        /// The revision asked for, as hex.
        revision: String,
    },
    /// Several published revisions begin with these digits.
    #[error("several revisions begin with {digits}: give more digits")]
    RevisionAmbiguous {
        /// The digits.
        digits: String,
    },
    /// Sources or scenarios that cannot be read.
    #[error("the sources cannot be read")]
    FlowUnreadable {
        /// What is wrong with them.
        faults: Vec<FlowFault>,
    },
    /// A revision has errors or failing scenarios.
    #[error("the revision has {} errors and {} failing scenarios", faults.len(), failures.len())]
    Unpromotable {
        /// The errors.
        faults: Vec<FlowFault>,
        /// The scenarios that failed.
        failures: Vec<ScenarioResult>,
    },
    /// Another revision is promoted than was expected, or the one to promote was published anew meanwhile.
    #[error("another revision is promoted than was expected")]
    PromotionConflict {
        /// The revision that is promoted, as hex.
        promoted: Option<String>,
    },
    /// The conversation has no such turn.
    #[error("no such turn: {turn_seq}")]
    TurnAbsent {
        /// The turn asked for.
        turn_seq: TurnSeq,
    },
    /// Something failed that is no fault of the caller.
    #[error("{what}")]
    Internal {
        /// What failed.
        what: &'static str,
    },
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt { reason } => Self::Corrupt { reason },
            ReadError::Absent => Self::ConversationAbsent,
            ReadError::Busy | ReadError::Io { .. } | ReadError::Closed => Self::StoreUnavailable,
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NotApplied(NotApplied::Full) => Self::DiskFull,
            AppendError::NotApplied(NotApplied::Fenced | NotApplied::Conflict { .. }) => Self::Restarted,
            AppendError::NotApplied(NotApplied::Busy | NotApplied::Closed) | AppendError::Unknown => {
                Self::StoreUnavailable
            }
        }
    }
}
