//! What is stored of a conversation, each kind behind a version enum.
//!
//! The order of fields and variants is the format: a change means a new version, and the old decoder
//! stays. `fixtures/` holds golden bytes of every kind.

mod earlier;
mod versions;

use std::{sync::Arc, time::Duration};

use colloquy_flow::Json;
use colloquy_types::{
    ConversationUid, FlowName, Hash, RequestId, Revision, SubjectId, Timestamp, TurnId, TurnSeq, codec,
};
use serde::{Deserialize, Serialize};

use self::{
    earlier::{
        AcceptedRecordV1, CreatedRecordV1, CreatedRecordV2, EffectsRecordV1, SnapshotRecordV1, SnapshotRecordV2,
        TurnRecordV1, TurnRecordV2,
    },
    versions::versioned,
};
use crate::{
    effect::{EffectResult, RequestTrace, Usage},
    event::{Degradation, StageEvent},
    state::{Change, ConversationState},
};

/// The first record of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedRecord {
    /// The flow it runs.
    pub flow: FlowName,
    /// The tenant the flow belongs to; `_` for built-in ones.
    pub flow_tenant: String,
    /// The revision it began with.
    pub revision: Revision,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whom it is about, as whoever began it said.
    pub subject: Option<SubjectId>,
    /// Where it branched off, when it is a fork.
    pub origin: Option<Origin>,
}

/// The place in another conversation's history that a fork began from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The other conversation's random name inside the store.
    pub uid: ConversationUid,
    /// Turns it had committed by then.
    pub turn_seq: TurnSeq,
    /// Hash of its chain up to and with the last record by then.
    pub hash: Hash,
}

/// What kind of input a turn has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InputKind {
    /// What a user said.
    #[default]
    Text,
    /// A JSON object that names an intent, an action or slots.
    Json,
    /// The id of a timer that is due: nobody said anything.
    Timer,
}

impl InputKind {
    /// The kind's name as conditions see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Timer => "timer",
        }
    }
}

/// A turn was promised before it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedRecord {
    /// The turn.
    pub turn_id: TurnId,
    /// The client's idempotency key.
    pub request_id: RequestId,
    /// Hash of the request's payload.
    pub request_digest: [u8; 16],
    /// What kind of input.
    pub input: InputKind,
    /// The input: what the user said, the source of the JSON, or the id of the timer.
    pub text: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The wall-clock time it must end by.
    pub deadline_at: Timestamp,
    /// The budget it had left, in microseconds: decides when the clock went back.
    pub budget_micros: u64,
    /// How often deciding it was begun, from 1.
    pub attempt: u32,
}

impl AcceptedRecord {
    /// The budget the turn had left when it was accepted.
    pub fn budget(&self) -> Duration {
        Duration::from_micros(self.budget_micros)
    }
}

/// An action that is about to be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The effect's number; with the turn id it is the call's stable key.
    pub step: u16,
    /// The action's name.
    pub name: Arc<str>,
    /// Hash of target and arguments, as in [`RequestTrace`].
    pub digest: [u8; 16],
    /// Whether calling it once more with the same key acts once.
    pub idempotent: bool,
}

/// What a turn has learned since it last wrote something, and which actions it is about to call. With it a turn that
/// a crash interrupted is decided again as it was: nothing that was answered is asked again, and an action that may
/// have been called is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectsRecord {
    /// The turn.
    pub turn_id: TurnId,
    /// The time the machine was given.
    pub now: Timestamp,
    /// The revision that decides.
    pub flow: PinnedRevision,
    /// What was learned, ordered by step.
    pub results: Vec<EffectResult>,
    /// What is called once this record is synced, ordered by step.
    pub intents: Vec<Intent>,
}

/// How a reply was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplyKind {
    /// A fixed text.
    Exact,
    /// A rendered template.
    Template,
    /// The flow's fallback.
    Fallback,
    /// A question which of several pending actions is meant.
    Clarification,
    /// What a policy says.
    Policy,
    /// Written by a model.
    Model,
    /// Made of a model's JSON.
    ModelJson,
    /// A question which of several intents is meant.
    Collision,
    /// What was shown of a reply before the turn was interrupted; may be empty.
    Partial,
}

/// What the assistant said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// How it was made.
    pub kind: ReplyKind,
    /// The JSON a model answered with, when the response asks for it.
    pub json: Option<Json>,
    /// What a user interface may offer to say next.
    pub follow_ups: Vec<Arc<str>>,
}

impl Reply {
    /// A reply that is nothing but a text.
    pub fn plain(text: impl Into<String>, kind: ReplyKind) -> Self {
        Self { text: text.into(), kind, json: None, follow_ups: Vec::new() }
    }
}

/// How a committed turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TurnOutcome {
    /// As the flow intends.
    Complete,
    /// With less than the flow intends; the degradations say what.
    Degraded,
    /// A guard or an undeclared transition stopped it; nothing changed.
    Blocked,
    /// It was cancelled, or made way for another: nothing changed but what an action had done, and what was shown by
    /// then is its reply.
    Interrupted,
}

/// A committed turn: what came in, what was decided and why, what changed, what was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnRecord {
    /// The turn.
    pub turn_id: TurnId,
    /// The client's idempotency key.
    pub request_id: RequestId,
    /// Hash of the request's payload.
    pub request_digest: [u8; 16],
    /// What kind of input.
    pub input: InputKind,
    /// The input: what the user said, the source of the JSON, or the id of the timer.
    pub text: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The time the machine was given.
    pub now: Timestamp,
    /// The revision that decided.
    pub revision: Revision,
    /// The machine that decided.
    pub machine_version: u32,
    /// What each stage did.
    pub stages: Vec<StageEvent>,
    /// What the machine asked of models, sources and tools, ordered by step.
    pub requests: Vec<RequestTrace>,
    /// What the machine was told, ordered by step.
    pub effects: Vec<EffectResult>,
    /// What changed, in order.
    pub changes: Vec<Change>,
    /// What was said.
    pub reply: Reply,
    /// How the turn ended.
    pub outcome: TurnOutcome,
    /// What the turn had to do without.
    pub degradations: Vec<Degradation>,
    /// What it used of models.
    pub usage: Usage,
    /// The intent before the turn.
    pub intent_before: Arc<str>,
    /// The state before the turn.
    pub state_before: Arc<str>,
    /// The intent after the turn.
    pub intent: Arc<str>,
    /// The state after the turn.
    pub state: Arc<str>,
}

/// Why an accepted turn ended without a committed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClosedReason {
    /// Its deadline passed.
    DeadlineExceeded,
    /// It was cancelled by request.
    Cancelled,
    /// It failed on every attempt.
    Failed,
}

/// An accepted turn that ended without a committed one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnClosedRecord {
    /// The turn.
    pub turn_id: TurnId,
    /// The client's idempotency key.
    pub request_id: RequestId,
    /// Hash of the request's payload.
    pub request_digest: [u8; 16],
    /// When it was closed.
    pub closed_at: Timestamp,
    /// Why.
    pub reason: ClosedReason,
    /// What the client is told.
    pub reply_text: String,
}

/// Something other than a turn that happened to the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlRecord {
    /// State was cleared, pending actions closed; history stays.
    Reset {
        /// The client's idempotency key.
        request_id: RequestId,
        /// Hash of the request's payload.
        request_digest: [u8; 16],
        /// When.
        at: Timestamp,
        /// Who asked and why, as the caller put it.
        reason: String,
        /// What changed, in order.
        changes: Vec<Change>,
    },
    /// The conversation moved to another revision of its flow.
    Upgraded {
        /// The revision it left.
        from: PinnedRevision,
        /// The revision it runs from here on.
        to: PinnedRevision,
        /// When.
        at: Timestamp,
        /// What changed, in order.
        changes: Vec<Change>,
    },
    /// Someone judged a turn. Changes nothing of the state.
    Feedback {
        /// The client's idempotency key.
        request_id: RequestId,
        /// Hash of the request's payload.
        request_digest: [u8; 16],
        /// When.
        at: Timestamp,
        /// The judged turn.
        turn_seq: u64,
        /// How it was judged.
        rating: Rating,
        /// What was said about it; may be empty.
        comment: String,
    },
    /// The second record of a fork: what it begins with, in place of the flow's start.
    Forked {
        /// The client's idempotency key.
        request_id: RequestId,
        /// Hash of the request's payload.
        request_digest: [u8; 16],
        /// When.
        at: Timestamp,
        /// The state that the other conversation had, without its timers.
        state: Box<ConversationState>,
    },
    /// Turns are refused from here on, until it is resumed. No snapshot is written meanwhile, so that this record is
    /// in every tail that needs it.
    Paused {
        /// The client's idempotency key.
        request_id: RequestId,
        /// Hash of the request's payload.
        request_digest: [u8; 16],
        /// When.
        at: Timestamp,
        /// Who asked and why, as the caller put it.
        reason: String,
    },
    /// Turns are taken again.
    Resumed {
        /// The client's idempotency key.
        request_id: RequestId,
        /// Hash of the request's payload.
        request_digest: [u8; 16],
        /// When.
        at: Timestamp,
        /// Who asked and why, as the caller put it.
        reason: String,
    },
}

/// The last record of a conversation that was erased. Its payload is all that stays of the conversation's, so it says
/// nothing about anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedRecord {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: ErasureCause,
}

/// Why a conversation was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErasureCause {
    /// A caller asked for it.
    Asked,
    /// Nothing had happened in it for longer than its tenant keeps conversations.
    Idle,
}

/// A revision and the tenant whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedRevision {
    /// The tenant the flow belongs to; `_` for built-in ones.
    pub flow_tenant: String,
    /// The revision.
    pub revision: Revision,
}

/// How a turn was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rating {
    /// Badly.
    Bad,
    /// Neither well nor badly.
    Neutral,
    /// Well.
    Good,
}

/// A request id the conversation remembers, and where its ending stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Hash of the request id.
    pub request_hash: [u8; 16],
    /// Hash of the request's payload.
    pub request_digest: [u8; 16],
    /// The turn it ended in; for other endings, the turns committed before it.
    pub turn_seq: u64,
    /// The kind of record it ended in.
    pub kind: u8,
}

/// Everything an activation needs without reading the whole history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// The conversation's state, with its timers.
    #[serde(with = "crate::state::whole")]
    pub state: ConversationState,
    /// The flow it runs.
    pub flow: FlowName,
    /// The tenant the flow belongs to.
    pub flow_tenant: String,
    /// The revision it is pinned to.
    pub revision: Revision,
    /// When it was created.
    pub created_at: Timestamp,
    /// The request ids it remembers, oldest first.
    pub turns_remembered: Vec<Remembered>,
    /// A turn that was accepted and has not ended.
    pub open_accepted: Option<AcceptedRecord>,
}

versioned!(CreatedRecord, CreatedVersions, CreatedBorrowed, CreatedRecordV1, CreatedRecordV2);
versioned!(AcceptedRecord, AcceptedVersions, AcceptedBorrowed, AcceptedRecordV1);
versioned!(EffectsRecord, EffectsVersions, EffectsBorrowed, EffectsRecordV1);
versioned!(TurnRecord, TurnVersions, TurnBorrowed, TurnRecordV1, TurnRecordV2);
versioned!(TurnClosedRecord, TurnClosedVersions, TurnClosedBorrowed);
versioned!(ControlRecord, ControlVersions, ControlBorrowed);
versioned!(ErasedRecord, ErasedVersions, ErasedBorrowed);
versioned!(SnapshotRecord, SnapshotVersions, SnapshotBorrowed, SnapshotRecordV1, SnapshotRecordV2);
