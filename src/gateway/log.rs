//! The lines that writing calls leave in the log: which request, of which conversation, and how it ended.
//! Never what was said. What the caller can mend is told at `debug`, what an operator should know at `warn`.

use colloquy_actors::{Ending, Error, TurnReply};
use colloquy_types::{ConversationKey, RequestId};
use tracing::{debug, warn};

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
        }
    }

    /// Logs why a call was not done.
    pub(crate) fn refused(&self, error: &Error) {
        let (Self { method, request_id, key }, reason) = (self, status::reason(error));
        if is_ours(error) {
            warn!(method, %request_id, %key, reason, %error, "call failed");
        } else {
            debug!(method, %request_id, %key, reason, "call refused");
        }
    }
}

/// Whether the server, not the caller, has to do something about it. Overload is not: it would flood the log
/// when the process has least to spare, and a metric counts it.
fn is_ours(error: &Error) -> bool {
    match error {
        Error::Restarted
        | Error::StoreUnavailable
        | Error::DiskFull
        | Error::Corrupt { .. }
        | Error::RevisionUnavailable { .. }
        | Error::DeadlineExceeded { .. } => true,
        Error::ConversationAbsent
        | Error::FlowAbsent { .. }
        | Error::WrongFlow { .. }
        | Error::RequestIdReused
        | Error::SeqMismatch { .. }
        | Error::Busy { .. }
        | Error::HistoryChanged { .. }
        | Error::Overloaded { .. }
        | Error::Draining
        | Error::SlowReader { .. }
        | Error::TooLarge { .. } => false,
    }
}
