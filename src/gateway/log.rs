//! The lines that writing calls leave in the log: which request, of which conversation, and how it ended.
//! Never what was said. What the caller can mend is told at `debug`, what an operator should know at `warn`, and what
//! an operator does, or may not do, at `info`.

use std::net::SocketAddr;

use colloquy_actors::{Ending, ErasureReceipt, Error, TurnReply};
use colloquy_proto::v1;
use colloquy_types::{ConversationKey, RequestId};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;
use tracing::{debug, info, warn};

use crate::status;

/// Characters of each thing that an operator gives.
const LOGGED_CHARS_MAX: usize = 512;

/// One call that writes.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The method's name in the contract.
    pub(crate) method: &'static str,
    /// The caller's idempotency key.
    pub(crate) request_id: RequestId,
    /// The conversation.
    pub(crate) key: ConversationKey,
}

impl Call {
    /// Logs how a turn ended.
    pub(crate) fn ended(&self, reply: &TurnReply) {
        let Self { method, request_id, key } = self;
        let replayed = reply.replayed;
        match &reply.ending {
            Ending::Committed(turn) => {
                let (turn_seq, turn_id) = (turn.head.turn_seq, turn.record.turn_id);
                debug!(method, %request_id, %key, %turn_seq, %turn_id, replayed, "turn committed");
            }
            Ending::Closed { record, .. } => {
                debug!(method, %request_id, %key, turn_id = %record.turn_id, replayed, "turn closed");
            }
            Ending::LeftOut { .. } => debug!(method, %request_id, %key, "turn left out"),
        }
    }

    /// Logs that a conversation was erased, without its name.
    pub(crate) fn erased(&self, receipt: &ErasureReceipt) {
        let (tenant, request_id) = (self.key.tenant(), &self.request_id);
        info!(tenant, %request_id, uid = %receipt.uid, "conversation erased");
    }

    /// Logs why a call was not done.
    pub(crate) fn refused(&self, error: &Error) {
        let Self { method, request_id, key } = self;
        if is_ours(error) {
            warn!(method, %request_id, %key, reason = status::reason(error), %error, "call failed");
        } else {
            debug!(method, %request_id, %key, reason = status::reason(error), "call refused");
        }
    }
}

/// One call of an operator that changes something. Every one leaves one line, whether it was done or refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operation {
    method: &'static str,
    /// What it is done to: an actor's path, `tenant/conversation`, a tenant or a revision; empty for the server.
    on: String,
    /// Where the call came from.
    peer: Option<SocketAddr>,
    request_id: String,
    /// Who asks, where the request says so.
    actor: String,
    /// Why, where the request says so.
    reason: String,
}

impl Operation {
    /// A call of this method, from wherever `request` comes.
    pub(crate) fn new<T>(method: &'static str, request: &Request<T>) -> Self {
        Self { method, peer: request.remote_addr(), ..Self::default() }
    }

    /// What it is done to.
    pub(crate) fn on(self, on: &str) -> Self {
        Self { on: cut(on), ..self }
    }

    /// The conversation that it is done to.
    pub(crate) fn on_key(self, key: Option<&v1::ConversationKey>) -> Self {
        self.on(&key.map(|key| format!("{}/{}", key.tenant, key.conversation)).unwrap_or_default())
    }

    /// Under which request id.
    pub(crate) fn request(self, request_id: &str) -> Self {
        Self { request_id: cut(request_id), ..self }
    }

    /// By whom.
    pub(crate) fn by(self, actor: &str) -> Self {
        Self { actor: cut(actor), ..self }
    }

    /// Why.
    pub(crate) fn because(self, reason: &str) -> Self {
        Self { reason: cut(reason), ..self }
    }

    /// Leaves the line: what was done, or the reason for which it was refused, and gives that back.
    pub(crate) fn ended<T>(self, done: Result<T, Status>) -> Result<T, Status> {
        let Self { method, on, peer, request_id, actor, reason } = self;
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        let outcome = match &done {
            Ok(_) => "done".to_owned(),
            Err(status) => status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default(),
        };
        info!(method, on, peer, request_id, actor, reason, outcome, "operator call");
        done
    }
}

/// What a caller gives is logged before it is checked.
fn cut(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(LOGGED_CHARS_MAX).collect()
}

/// Whether an operator should look into this one call. Overload, passed deadlines and a store that takes no
/// writes are not told call by call: that would flood the log when the process has least to spare; metrics count
/// them, and the store says once what is wrong with it.
fn is_ours(error: &Error) -> bool {
    match error {
        Error::Restarted | Error::Corrupt { .. } | Error::RevisionUnavailable { .. } | Error::Internal { .. } => true,
        Error::ConversationAbsent
        | Error::ConversationErased
        | Error::FlowAbsent { .. }
        | Error::WrongFlow { .. }
        | Error::WrongSubject
        | Error::RequestIdReused
        | Error::SeqMismatch { .. }
        | Error::Busy { .. }
        | Error::Cancelled
        | Error::RequestAbsent
        | Error::TimerAbsent { .. }
        | Error::ActorAbsent
        | Error::KillRefused { .. }
        | Error::TooManyActors { .. }
        | Error::Paused { .. }
        | Error::TrafficPaused(_)
        | Error::ConversationExists
        | Error::HistoryChanged { .. }
        | Error::Overloaded { .. }
        | Error::RateLimited { .. }
        | Error::DeadlineExceeded { .. }
        | Error::StoreUnavailable
        | Error::DiskFull
        // Told once, when it was quarantined.
        | Error::Quarantined(_)
        | Error::Draining
        | Error::SlowReader { .. }
        | Error::TooLarge { .. }
        | Error::RevisionAbsent { .. }
        | Error::RevisionAmbiguous { .. }
        | Error::FlowUnreadable { .. }
        | Error::Unpromotable { .. }
        | Error::PromotionConflict { .. }
        | Error::TurnAbsent { .. } => false,
    }
}
