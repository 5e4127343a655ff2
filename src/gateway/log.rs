//! The lines that writing calls leave in the log: which request, of which conversation, and how it ended.
//! Never what was said. What the caller can mend is told at `debug`, what an operator should know at `warn`.

use colloquy_actors::{Ending, ErasureReceipt, Error, TurnReply};
use colloquy_types::{ConversationKey, RequestId, TenantId};
use tracing::{debug, info, warn};

use crate::status;

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

    /// Logs what an operator did.
    pub(crate) fn operated(&self) {
        let Self { method, request_id, key } = self;
        info!(method, %request_id, tenant = key.tenant(), "operator call done");
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

/// One call of an operator that concerns a tenant, or a revision that its conversations run.
#[derive(Clone, Debug)]
pub(crate) struct TenantCall {
    /// The method's name in the contract.
    pub(crate) method: &'static str,
    /// The caller's idempotency key.
    pub(crate) request_id: RequestId,
    /// The tenant.
    pub(crate) tenant: TenantId,
}

impl TenantCall {
    /// Logs what an operator did.
    pub(crate) fn operated(&self) {
        let Self { method, request_id, tenant } = self;
        info!(method, %request_id, %tenant, "operator call done");
    }

    /// Logs why a call was not done.
    pub(crate) fn refused(&self, error: &Error) {
        let Self { method, request_id, tenant } = self;
        if is_ours(error) {
            warn!(method, %request_id, %tenant, reason = status::reason(error), %error, "call failed");
        } else {
            debug!(method, %request_id, %tenant, reason = status::reason(error), "call refused");
        }
    }
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
