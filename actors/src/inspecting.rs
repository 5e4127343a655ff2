//! What an operator is told of one actor, beyond its row in the tree.

use std::time::Duration;

use colloquy_types::{Head, Timestamp, TurnId};

use crate::{
    quarantine::{FailureCause, Quarantined},
    tree::TreeRow,
};

/// One actor, looked at closely.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its row; none while it is not in memory.
    pub row: Option<TreeRow>,
    /// About how much memory it takes, in bytes; of conversations.
    pub memory_bytes: usize,
    /// How often it failed lately, and how it did last; of conversations.
    pub failures: Option<(u32, FailureCause)>,
    /// Why it is quarantined, if it is.
    pub quarantined: Option<Quarantined>,
    /// What it says of itself; of conversations that are in memory and answered in time.
    pub conversation: Option<ConversationReport>,
}

/// What a conversation's actor says of itself.
#[derive(Clone, Debug)]
pub struct ConversationReport {
    /// Where its history stands, as synced.
    pub head: Head,
    /// Since when it takes no turns; none while it takes them.
    pub paused_at: Option<Timestamp>,
    /// Calls that wait for the running one.
    pub queued: usize,
    /// Turns that are with the writer and made way for the next one.
    pub ahead: usize,
    /// What runs, if anything does.
    pub running: Option<RunningReport>,
    /// Why it cannot be used, if it cannot.
    pub unusable: Option<String>,
}

/// What runs in a conversation.
#[derive(Clone, Debug)]
pub struct RunningReport {
    /// What it is doing: `accepting`, `deciding`, `held_back`, `hinting`, `committing`, `control` or `snapshot`.
    pub phase: &'static str,
    /// The turn, when it is one.
    pub turn_id: Option<TurnId>,
    /// How long this has been going on.
    pub since: Duration,
    /// How long it may still take.
    pub left: Duration,
    /// What it waits for.
    pub effects: Vec<EffectReport>,
}

/// A call that a turn waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectReport {
    /// Its number within the turn.
    pub step: u16,
    /// What kind: `model`, `fetch` or `act`.
    pub kind: &'static str,
    /// What is called: a source, a tool, or the purpose of a question.
    pub name: String,
    /// How long it may still take.
    pub left: Duration,
}
