//! Why a conversation runs another revision than new ones would: told to operators, one conversation at a time.

use colloquy_turn::{at_boundary, upgrade};
use colloquy_types::{ConversationKey, Revision};

use crate::{conversation::Loaded, flows::FlowCatalogue, reply::FlowPin};

/// A conversation that runs another revision than new ones would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The conversation.
    pub key: ConversationKey,
    /// What it runs; none when that cannot be told.
    pub pin: Option<FlowPin>,
    /// What new conversations run under the same name.
    pub current: Option<Revision>,
    /// Where it stands, `intent.state`; empty when that cannot be told.
    pub position: String,
    /// Why it stays.
    pub reason: PinnedReason,
}

/// Why a conversation stays on its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinnedReason {
    /// No revision of its flow is promoted: the current one comes from a folder or from the binary.
    NotPromoted,
    /// Something is underway: it stands at no boundary.
    Underway,
    /// It stands at a boundary, but does not map to the promoted revision: each obstacle, names only.
    DoesNotMap(Vec<String>),
    /// The promoted revision is paused: nothing moves to it.
    Paused,
    /// It moves with its next turn.
    NextTurn,
    /// It cannot be opened, for example because its revision does not load.
    Unreadable(String),
}

/// Tells whether and why the conversation is pinned to an older revision.
pub(crate) fn judge(key: &ConversationKey, loaded: &Loaded, flows: &FlowCatalogue) -> Option<Pinned> {
    let (tenant, name) = (key.tenant(), loaded.pin.name.as_str());
    let current = flows.current(tenant, name).map(|found| found.flow.revision());
    if current == Some(loaded.pin.revision) {
        return None;
    }
    let reason = match flows.promoted(tenant, name) {
        None => PinnedReason::NotPromoted,
        Some(promoted) if flows.pauses().of_revision(tenant, promoted.revision()).is_some() => PinnedReason::Paused,
        Some(_) if !at_boundary(&loaded.state, &loaded.flow) => PinnedReason::Underway,
        Some(promoted) => match upgrade(&loaded.state, loaded.pin.revision, &promoted) {
            Ok(_) => PinnedReason::NextTurn,
            Err(obstacles) => PinnedReason::DoesNotMap(obstacles.iter().map(ToString::to_string).collect()),
        },
    };
    let position = loaded.state.position().to_string();
    Some(Pinned { key: key.clone(), pin: Some(loaded.pin.clone()), current, position, reason })
}
