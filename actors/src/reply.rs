//! What callers of the runtime get back.

use std::sync::Arc;

use colloquy_turn::{ConversationState, Origin, Stage, StageEvent, TurnClosedRecord, TurnRecord};
use colloquy_types::{
    ConversationKey, ConversationUid, FlowName, Head, RequestId, Revision, SubjectId, Timestamp, TurnId, TurnSeq,
};

use crate::error::Error;

/// A turn that is durable.
#[derive(Clone, Debug, PartialEq)]
pub struct CommittedTurn {
    /// What was decided.
    pub record: TurnRecord,
    /// The conversation's head right after it.
    pub head: Head,
    /// When it was handed to the store.
    pub committed_at: Timestamp,
}

/// How an accepted turn ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// With a committed turn.
    Committed(Arc<CommittedTurn>),
    /// Without one, for the recorded reason.
    Closed {
        /// The record that closed it.
        record: Arc<TurnClosedRecord>,
        /// The conversation's head right after it.
        head: Head,
    },
    /// It was never accepted: another turn ran, and its policy was to leave it out then.
    LeftOut {
        /// The conversation's head as it was.
        head: Head,
    },
}

/// The answer to a submitted turn.
#[derive(Clone, Debug)]
pub struct TurnReply {
    /// How it ended.
    pub ending: Ending,
    /// Whether this call repeated an earlier one and got that one's ending.
    pub replayed: bool,
    /// The tenant, name and revision of the flow that decided it.
    pub flow: FlowPin,
}

/// Which flow a conversation runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowPin {
    /// The tenant whose flow it is.
    pub tenant: Arc<str>,
    /// The flow's name.
    pub name: FlowName,
    /// The revision the conversation is pinned to.
    pub revision: Revision,
}

/// What a streaming caller is told before the ending, in order. Provisional until the turn is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnEvent {
    /// The turn is durably accepted: it will end, whatever happens to this process.
    Accepted {
        /// The turn's id.
        turn_id: TurnId,
        /// Which attempt at it this is; above 1 after a restart.
        attempt: u32,
        /// The head after acceptance.
        head: Head,
    },
    /// A stage ended.
    Stage(StageEvent),
    /// The turn waits for something outside; the flow says what to show meanwhile.
    Progress {
        /// The stage that waits.
        stage: Stage,
        /// The flow's words.
        text: Arc<str>,
    },
    /// A part of an answer that a model is writing. What the turn ends with stands in its place.
    Delta {
        /// The number of the effect that is answered, so that parts of another try are told apart.
        step: u16,
        /// The part.
        text: Arc<str>,
    },
}

impl TurnEvent {
    /// Bytes of text that the event carries.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Self::Progress { text, .. } | Self::Delta { text, .. } => text.len(),
            Self::Accepted { .. } | Self::Stage(_) => 0,
        }
    }
}

/// A snapshot of a conversation, as far as it is synced.
#[derive(Clone, Debug)]
pub struct Described {
    /// The conversation.
    pub key: ConversationKey,
    /// Its random name inside the store.
    pub uid: ConversationUid,
    /// Which flow it runs.
    pub flow: FlowPin,
    /// Whom it is about, if whoever began it said so.
    pub subject: Option<SubjectId>,
    /// Where its history stands.
    pub head: Head,
    /// Its state.
    pub state: ConversationState,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its last record was made.
    pub updated_at: Timestamp,
    /// Where it branched off, when it is a fork.
    pub origin: Option<Origin>,
    /// Since when no turns are taken; none while they are.
    pub paused_at: Option<Timestamp>,
}

/// The answer to a reset, to feedback or to an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlReply {
    /// The conversation's random name inside the store.
    pub uid: ConversationUid,
    /// The head after it.
    pub head: Head,
    /// When the conversation's last record was made.
    pub at: Timestamp,
    /// Whether this call repeated an earlier one.
    pub replayed: bool,
}

/// What the actor answers a submission with. A dropped sender tells the caller [`Error::Restarted`].
#[derive(Debug)]
pub(crate) enum Answer {
    /// It ended, now or while this caller was attached to it.
    Ended(Result<TurnReply, Error>),
    /// It was committed long ago as this turn; the caller reads it from the store.
    /// The request id tells that turn from one of a later conversation under the same key.
    Recorded { request_id: RequestId, turn_seq: TurnSeq, flow: FlowPin },
}
