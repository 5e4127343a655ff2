//! What callers do to a conversation besides turns: resets and feedback.

use colloquy_store::RecordKind;
use colloquy_turn::{ControlRecord, Rating};
use colloquy_types::{ConversationKey, Head, RequestId, Timestamp, TurnSeq};
use tokio::time::{Instant, timeout_at};

use super::{Runtime, deadline_unknown};
use crate::{
    admission::Caller,
    conversation::{Control, ControlSubmission, Message, feedback_digest, hash16, pause_digest, reset_digest},
    error::{DeadlineOutcome, Error},
    reply::ControlReply,
    shared::Shared,
};

/// Records of a history that are read at a time.
const HISTORY_RECORDS: usize = 500;

/// A reset as a caller asks for it.
#[derive(Clone, Debug)]
pub struct ResetConversation {
    /// The conversation.
    pub key: ConversationKey,
    /// The caller's idempotency key.
    pub request_id: RequestId,
    /// Why, for the log.
    pub reason: String,
    /// The turn that must be the last one when it starts.
    pub expected_seq: Option<TurnSeq>,
    /// When the caller no longer wants an answer.
    pub deadline: Instant,
}

/// A pause, or the end of one, as a caller asks for it.
#[derive(Clone, Debug)]
pub struct PauseConversation {
    /// The conversation.
    pub key: ConversationKey,
    /// The caller's idempotency key.
    pub request_id: RequestId,
    /// Whether turns are to be refused, or taken again.
    pub paused: bool,
    /// Why, for the log.
    pub reason: String,
    /// When the caller no longer wants an answer.
    pub deadline: Instant,
}

/// Feedback as a caller gives it.
#[derive(Clone, Debug)]
pub struct RecordFeedback {
    /// The conversation.
    pub key: ConversationKey,
    /// The caller's idempotency key.
    pub request_id: RequestId,
    /// The judged turn.
    pub turn_seq: TurnSeq,
    /// How it was judged.
    pub rating: Rating,
    /// What was said about it; may be empty.
    pub comment: String,
    /// When the caller no longer wants an answer.
    pub deadline: Instant,
}

/// Feedback that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The caller's idempotency key.
    pub request_id: RequestId,
    /// The judged turn.
    pub turn_seq: TurnSeq,
    /// How it was judged.
    pub rating: Rating,
    /// What was said about it; may be empty.
    pub comment: String,
    /// When.
    pub at: Timestamp,
}

/// A part of a conversation's feedback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedbackPage {
    /// It, in the order it was given.
    pub rows: Vec<Feedback>,
    /// How many rows stand before those of the next page; none when this is the last.
    pub next: Option<usize>,
}

/// Has `control` done to a conversation, and waits for it.
///
/// # Errors
/// [`Error`].
pub(crate) async fn control(
    shared: &Shared,
    key: &ConversationKey,
    request_id: RequestId,
    request_digest: [u8; 16],
    control: Control,
    deadline: Instant,
) -> Result<ControlReply, Error> {
    if matches!(control, Control::Erase(_)) {
        shared.quarantine.let_erase(key);
    }
    let (handle, permit) = shared.admit_write(key, 0)?;
    let (caller, answer) = Caller::new(permit);
    let submission = ControlSubmission {
        request_hash: hash16(request_id.as_str().as_bytes()),
        request_digest,
        request_id,
        control,
        deadline,
        caller,
    };
    shared.send(handle, Message::Control(Box::new(submission)));
    match timeout_at(deadline, answer).await {
        Ok(answered) => answered.map_err(|_| Error::Restarted)?,
        Err(_) => Err(deadline_unknown()),
    }
}

impl Runtime {
    /// Clears a conversation's state; its history stays, and its turns count on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reset(&self, reset: ResetConversation) -> Result<ControlReply, Error> {
        let ResetConversation { key, request_id, reason, expected_seq, deadline } = reset;
        let digest = reset_digest(&reason);
        let what = Control::Reset { reason, expected_seq };
        control(&self.shared, &key, request_id, digest, what, deadline).await
    }

    /// Has a conversation refuse turns from here on, or take them again. What runs and what waits already ends first.
    /// It survives restarts; reading, feedback, resets and erasures go on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pause(&self, pause: PauseConversation) -> Result<ControlReply, Error> {
        let PauseConversation { key, request_id, paused, reason, deadline } = pause;
        let digest = pause_digest(paused, &reason);
        control(&self.shared, &key, request_id, digest, Control::Pause { paused, reason }, deadline).await
    }

    /// Keeps what someone thought of a turn. It changes nothing of the conversation's state.
    ///
    /// # Errors
    /// [`Error::TurnAbsent`] when there is no such turn.
    pub async fn record_feedback(&self, feedback: RecordFeedback) -> Result<ControlReply, Error> {
        let RecordFeedback { key, request_id, turn_seq, rating, comment, deadline } = feedback;
        let digest = feedback_digest(turn_seq, rating, &comment);
        let what = Control::Feedback { turn_seq, rating, comment };
        control(&self.shared, &key, request_id, digest, what, deadline).await
    }

    /// What was thought of a conversation's turns, after the first `skip` of it, at most `limit`. Reads the whole
    /// history up to there.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn feedback(
        &self,
        key: &ConversationKey,
        skip: usize,
        limit: usize,
        deadline: Instant,
    ) -> Result<FeedbackPage, Error> {
        let (mut page, mut seen, mut after) = (FeedbackPage::default(), 0, Head::default());
        loop {
            let read = timeout_at(deadline, self.shared.store.history(key, after, HISTORY_RECORDS)).await;
            let read = read.map_err(|_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })??;
            let controls = read.records.iter().filter(|one| {
                let header = &one.record.header;
                header.kind == RecordKind::Control && !header.erased
            });
            for stored in controls {
                let header = &stored.record.header;
                let record = ControlRecord::decode(&stored.record.payload).map_err(|_| Error::Corrupt {
                    reason: format!("record {} (Control) cannot be decoded", header.record_no),
                })?;
                let ControlRecord::Feedback { request_id, at, turn_seq, rating, comment, .. } = record else {
                    continue;
                };
                if page.rows.len() == limit {
                    page.next = Some(seen);
                    return Ok(page);
                }
                seen += 1;
                if seen > skip {
                    let turn_seq = TurnSeq::new(turn_seq);
                    page.rows.push(Feedback { request_id, turn_seq, rating, comment, at });
                }
            }
            if read.reached == read.head || read.records.is_empty() {
                return Ok(page);
            }
            after = read.reached;
        }
    }
}
