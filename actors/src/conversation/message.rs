//! What a conversation actor is told, and by whom.

use std::sync::Arc;

use colloquy_flow::{BusyPolicy, Flow};
use colloquy_store::AppendError;
use colloquy_turn::{ConversationState, EffectResult, InputKind, Origin, Rating};
use colloquy_types::{ConversationUid, FlowName, Head, RequestId, SubjectId, Timestamp, TraceContext, TurnId, TurnSeq};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    admission::Caller,
    error::Error,
    events::TurnEvents,
    inspecting::ConversationReport,
    pinning::Pinned,
    reply::{Answer, ControlReply, Described, FlowPin},
};

/// Everything a conversation actor handles.
#[derive(Debug)]
pub(crate) enum Message {
    /// From the gateway, and from an earlier activation that had not started it. May repeat: the
    /// request id decides. Answers through `Submission::caller`.
    Submit(Box<Submission>),
    /// From the gateway. May repeat, likewise.
    Control(Box<ControlSubmission>),
    /// From the gateway: a turn is to end now. May repeat: it then tells how the turn ended.
    Cancel(Box<Cancel>),
    /// From the gateway; answers what is synced.
    Describe(oneshot::Sender<Result<Box<Described>, Error>>),
    /// From whoever lists pinned conversations. With `passing` the actor was woken for this alone and makes way
    /// again, unless something else came meanwhile.
    Pinned { reply: oneshot::Sender<Result<Option<Pinned>, Error>>, passing: bool },
    /// From the passivator, and from an operator. May repeat.
    Passivate(Passivate),
    /// From an operator; answers what the actor does.
    Inspect(oneshot::Sender<ConversationReport>),
    /// From a call that a turn waits for, once per call. An answer of an older round is ignored.
    Performed { round: u64, result: EffectResult },
    /// From the keeper of timers, once per turn that sets some: whether they can be found after a crash. That of
    /// another turn is ignored.
    Hinted { turn_id: TurnId, kept: bool },
    /// From the writer thread, once per append. An answer of an older attempt is ignored.
    Appended { attempt: u64, result: Result<Head, AppendError> },
}

/// The wish that a turn ends now.
#[derive(Debug)]
pub(crate) struct Cancel {
    /// The turn's request.
    pub(crate) request_id: RequestId,
    /// First 16 bytes of the request id's hash.
    pub(crate) request_hash: [u8; 16],
    /// Gets the turn's ending.
    pub(crate) caller: Caller<Answer>,
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
            Self::Cancel(cancel) => cancel.answer(Err(error.clone())),
            Self::Describe(reply) => drop(reply.send(Err(error.clone()))),
            Self::Pinned { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Passivate(Passivate::Asked(reply)) => drop(reply.send(Err(error.clone()))),
            Self::Passivate(_)
            | Self::Inspect(_)
            | Self::Performed { .. }
            | Self::Hinted { .. }
            | Self::Appended { .. } => {}
        }
    }
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
    /// The caller's, or else the flow's.
    pub(crate) busy: Option<BusyPolicy>,
    /// Whether its policy was followed already, by an activation that did not come to begin it.
    pub(crate) waited: Waited,
    pub(crate) deadline: Instant,
    pub(crate) trace: Option<TraceContext>,
    /// `Some` when the caller streams: gets the turn's events once it begins, and the turn is then journalled as
    /// accepted before it runs.
    pub(crate) events: Option<oneshot::Sender<Arc<TurnEvents>>>,
    /// When it was sent to the actor.
    pub(crate) sent_at: Instant,
    pub(crate) caller: Caller<Answer>,
}

/// Whether a turn has waited in a queue: then its policy was followed, and is not followed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It comes from its caller.
    #[default]
    No,
    /// It has, and no turn ran then.
    Queued,
    /// It has, behind the turn of this request. Should that one be taken up anew, what was wanted of it still is.
    Behind([u8; 16]),
}

/// Something other than a turn on its way to the log.
#[derive(Debug)]
pub(crate) struct ControlSubmission {
    pub(crate) request_id: RequestId,
    pub(crate) request_hash: [u8; 16],
    pub(crate) request_digest: [u8; 16],
    pub(crate) control: Control,
    pub(crate) deadline: Instant,
    pub(crate) caller: Caller<Result<ControlReply, Error>>,
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
    /// No turns are taken any more, or they are again.
    Pause { paused: bool, reason: String },
    /// The conversation begins with what another one was.
    Fork(Box<Fork>),
}

/// What a fork begins with.
#[derive(Clone, Debug)]
pub(crate) struct Fork {
    pub(crate) pin: FlowPin,
    pub(crate) flow: Arc<Flow>,
    pub(crate) state: ConversationState,
    pub(crate) subject: Option<SubjectId>,
    pub(crate) origin: Origin,
}

/// Which conversation is to be erased, beyond its key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Erase {
    /// As a caller asked: the one of this uid, or whichever has the key.
    Asked { uid: Option<ConversationUid> },
    /// As retention asks: only if nothing has happened in it after this time.
    Idle { since: Timestamp },
}
