//! The turn of a timer that is due, as any caller would submit it, and what its ending means.

use std::{sync::Arc, time::Duration};

use colloquy_flow::BusyPolicy;
use colloquy_turn::InputKind;
use colloquy_types::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::hint::Hint;
use crate::{
    admission::Caller,
    conversation::{Message, Submission, Waited, hash16, input_digest},
    error::{DeadlineOutcome, Error},
    reply::Answer,
    shared::Shared,
};

/// From one try to the next, at the soonest and at the latest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// What becomes of a hint whose turn was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The timer has fired: now, or before and this was the same turn again.
    Fired { again: bool },
    /// There is no such timer: its turn was never committed, or it was replaced or dropped, or the conversation erased.
    Dropped,
    /// It is due later than the hint says.
    Later(Timestamp),
    /// It could not be told, or may not be now; it is tried again after a pause.
    Again,
}

/// Submits the turn of a timer and waits for its ending.
pub(crate) async fn fire(shared: Arc<Shared>, hint: &Hint) -> Verdict {
    match submit(&shared, hint).await {
        Ok(again) => Verdict::Fired { again },
        Err(Error::TimerAbsent { due_at: Some(due_at) }) => Verdict::Later(due_at),
        Err(
            Error::TimerAbsent { due_at: None }
            | Error::ConversationAbsent
            | Error::ConversationErased
            | Error::RequestIdReused,
        ) => Verdict::Dropped,
        Err(error) => {
            tracing::debug!(tenant = hint.key.tenant(), %error, "the turn of a timer did not end");
            Verdict::Again
        }
    }
}

/// Whether the turn had ended before.
async fn submit(shared: &Arc<Shared>, hint: &Hint) -> Result<bool, Error> {
    let Some(request_id) = hint.timer.request_id() else { return Err(Error::TimerAbsent { due_at: None }) };
    let (handle, permit) = shared.admit(&hint.key)?;
    let (caller, answer) = Caller::new(permit);
    let (text, now) = (hint.timer.id.to_string(), Instant::now());
    let deadline = now + shared.settings.turn_deadline_default;
    let submission = Submission {
        request_hash: hash16(request_id.as_str().as_bytes()),
        request_digest: input_digest(InputKind::Timer, &text),
        request_id,
        flow: None,
        subject: None,
        input: InputKind::Timer,
        text,
        expected_seq: None,
        busy: Some(BusyPolicy::Enqueue),
        waited: Waited::No,
        deadline,
        trace: None,
        events: None,
        sent_at: now,
        caller,
    };
    shared.send(handle, Message::Submit(Box::new(submission)));
    match timeout_at(deadline, answer).await {
        Ok(Ok(Answer::Ended(ended))) => ended.map(|reply| reply.replayed),
        Ok(Ok(Answer::Recorded { .. })) => Ok(true),
        Ok(Err(_)) => Err(Error::Restarted),
        Err(_) => Err(Error::DeadlineExceeded { outcome: DeadlineOutcome::Unknown }),
    }
}

/// How long to wait after so many tries.
pub(super) fn pause_after(tries: u32) -> Duration {
    PAUSE_MIN.saturating_mul(2_u32.saturating_pow(tries.min(16))).min(PAUSE_MAX)
}
