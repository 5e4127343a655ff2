//! What a conversation actor is told, and by whom.

use colloquy_store::AppendError;
use colloquy_turn::{EffectResult, InputKind, Rating};
use colloquy_types::{ConversationUid, FlowName, Head, RequestId, SubjectId, Timestamp, TraceContext, TurnSeq};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    admission::Permit,
    error::Error,
    pinning::Pinned,
    reply::{Answer, ControlReply, Described, TurnEvent},
};

/// Everything a conversation actor handles.
#[derive(Debug)]
pub(crate) enum Message {
    /// From the gateway, and from an earlier activation that had not started it. May repeat: the
    /// request id decides. Answers through `Submission::reply`.
    Submit(Box<Submission>),
    /// From the gateway. May repeat, likewise.
    Control(Box<ControlSubmission>),
    /// From the gateway; answers what is synced.
    Describe(oneshot::Sender<Result<Box<Described>, Error>>),
    /// From whoever lists pinned conversations. With `passing` the actor was woken for this alone and makes way
    /// again, unless something else came meanwhile.
    Pinned { reply: oneshot::Sender<Result<Option<Pinned>, Error>>, passing: bool },
    /// From the passivator, and from an operator. May repeat.
    Passivate(Passivate),
    /// From a call that a turn waits for, once per call. An answer of an older round is ignored.
    Performed { round: u64, result: EffectResult },
    /// From the writer thread, once per append. An answer of an older attempt is ignored.
    Appended { attempt: u64, result: Result<Head, AppendError> },
}

/// Why the actor should make way, unless something runs in it or waits for it.
#[derive(Debug)]
pub(crate) enum Passivate {
    /// It was not used for long: not since this tick.
    Idle { unused_since: u64 },
    /// Memory is short, and it is the least recently used: not since this tick.
    Watermark { unused_since: u64 },
    /// An operator asked, and is told.
    Asked(oneshot::Sender<Result<(), Error>>),
}

impl Message {
    /// Answers what cannot be delivered.
    pub(crate) fn refuse(self, error: &Error) {
        match self {
            Self::Submit(submission) => submission.answer(Err(error.clone())),
            Self::Control(submission) => submission.answer(Err(error.clone())),
            Self::Describe(reply) => drop(reply.send(Err(error.clone()))),
            Self::Pinned { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Passivate(Passivate::Asked(reply)) => drop(reply.send(Err(error.clone()))),
            Self::Passivate(_) | Self::Performed { .. } | Self::Appended { .. } => {}
        }
    }
}

/// Whether a turn may wait for the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BusyPolicy {
    /// It waits its turn in the conversation's bounded queue.
    #[default]
    Enqueue,
    /// It is refused at once.
    Reject,
}

/// A turn on its way to the machine.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) request_id: RequestId,
    /// First 16 bytes of the request id's hash; see [`super::window`].
    pub(crate) request_hash: [u8; 16],
    /// First 16 bytes of the payload's hash.
    pub(crate) request_digest: [u8; 16],
    pub(crate) flow: Option<FlowName>,
    pub(crate) subject: Option<SubjectId>,
    pub(crate) input: InputKind,
    pub(crate) text: String,
    pub(crate) expected_seq: Option<TurnSeq>,
    pub(crate) busy: BusyPolicy,
    pub(crate) deadline: Instant,
    pub(crate) trace: Option<TraceContext>,
    /// `Some` when the caller streams: the turn is then journalled as accepted before it runs.
    pub(crate) events: Option<mpsc::Sender<TurnEvent>>,
    pub(crate) reply: oneshot::Sender<Answer>,
    pub(crate) permit: Permit,
}

/// Something other than a turn on its way to the log.
#[derive(Debug)]
pub(crate) struct ControlSubmission {
    pub(crate) request_id: RequestId,
    pub(crate) request_hash: [u8; 16],
    pub(crate) request_digest: [u8; 16],
    pub(crate) control: Control,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<ControlReply, Error>>,
    /// Held until answered.
    pub(crate) _permit: Permit,
}

/// What is to happen besides turns.
#[derive(Debug)]
pub(crate) enum Control {
    /// The state is cleared.
    Reset { reason: String, expected_seq: Option<TurnSeq> },
    /// A turn was judged.
    Feedback { turn_seq: TurnSeq, rating: Rating, comment: String },
    /// The conversation ends and is forgotten.
    Erase(Erase),
}

/// Which conversation is to be erased, beyond its key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Erase {
    /// As a caller asked: the one of this uid, or whichever has the key.
    Asked { uid: Option<ConversationUid> },
    /// As retention asks: only if nothing has happened in it after this time.
    Idle { since: Timestamp },
}
