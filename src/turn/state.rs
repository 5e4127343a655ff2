//! A conversation's state, and the only way it changes.
//!
//! Everything is held by name, so that a state outlives the revision that made it. [`ConversationState::apply`]
//! is total: applying the recorded changes in order always gives the state the turn ended with.
//! Stored: the order of fields and variants is the format.

mod change;

use std::{fmt, sync::Arc};

use colloquy_flow::{Json, SlotValue, tokens_of};
use colloquy_types::{RequestId, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::change::Change;
use crate::{record::TurnRecord, timer::Timer};

/// A position: the names of an intent and of one of its states.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PositionName {
    /// The intent.
    pub intent: Arc<str>,
    /// The state.
    pub state: Arc<str>,
}

impl fmt::Display for PositionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.intent, self.state)
    }
}

/// Random, given when an action starts to wait for its confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PendingId(pub [u8; 16]);

/// An action that waits for the user's confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingAction {
    /// Its identifier.
    pub id: PendingId,
    /// The action's name.
    pub action: Arc<str>,
    /// The intent it was staged in; only there may it be confirmed.
    pub intent: Arc<str>,
    /// When it was staged or last edited.
    pub staged_at: Timestamp,
    /// The turn (counted from 1) it was staged or last edited in.
    pub staged_turn: u64,
}

/// How a pending action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PendingEnding {
    /// It was confirmed and ran.
    Executed,
    /// The user refused.
    Rejected,
    /// It waited too long.
    Expired,
    /// The same action was staged anew.
    Replaced,
    /// The conversation left its intent.
    Abandoned,
    /// The conversation was reset.
    Reset,
    /// The user chose another one.
    NotChosen,
    /// It ran, but nobody knows whether it happened.
    Unknown,
}

/// What the last turn asked the user to choose among.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Which of several intents is meant, by name.
    Intents(Vec<Arc<str>>),
    /// Which of several pending actions is meant, by name. The user had said yes or no to one of them.
    Actions(Vec<Arc<str>>),
}

/// One turn as prompts remember it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What the user said.
    pub user: Arc<str>,
    /// What the assistant said.
    pub assistant: Arc<str>,
}

impl Exchange {
    fn tokens(&self) -> u32 {
        tokens_of(&self.user).saturating_add(tokens_of(&self.assistant))
    }
}

/// Where a conversation stands and what it holds.
///
/// Stored as it is, it has no timers: only a snapshot keeps them, as [`whole`] writes it, so that a state that another
/// conversation begins with has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationState {
    position: PositionName,
    turns: u64,
    slots: Vec<(Arc<str>, SlotValue)>,
    flags: Vec<Arc<str>>,
    interrupted: Vec<PositionName>,
    pending: Vec<PendingAction>,
    failed_pending: Vec<PendingId>,
    question: Option<Question>,
    failed: Vec<Arc<str>>,
    data: Vec<(Arc<str>, Json)>,
    summary: Option<Arc<str>>,
    summarised_turn: u64,
    history: Vec<Exchange>,
    /// Ordered by id.
    #[serde(skip)]
    timers: Vec<Timer>,
}

/// Every field of a [`ConversationState`] before it remembered questions, failures, data and history.
pub(crate) struct EarlierState {
    pub(crate) position: PositionName,
    pub(crate) turns: u64,
    pub(crate) slots: Vec<(Arc<str>, SlotValue)>,
    pub(crate) flags: Vec<Arc<str>>,
    pub(crate) interrupted: Vec<PositionName>,
    pub(crate) pending: Vec<PendingAction>,
}

impl From<EarlierState> for ConversationState {
    fn from(earlier: EarlierState) -> Self {
        let EarlierState { position, turns, slots, flags, interrupted, pending } = earlier;
        Self { turns, slots, flags, interrupted, pending, ..Self::at(position) }
    }
}

impl ConversationState {
    /// A conversation that stands at `position` and holds nothing.
    pub fn new(intent: Arc<str>, state: Arc<str>) -> Self {
        Self::at(PositionName { intent, state })
    }

    fn at(position: PositionName) -> Self {
        Self {
            position,
            turns: 0,
            slots: Vec::new(),
            flags: Vec::new(),
            interrupted: Vec::new(),
            pending: Vec::new(),
            failed_pending: Vec::new(),
            question: None,
            failed: Vec::new(),
            data: Vec::new(),
            summary: None,
            summarised_turn: 0,
            history: Vec::new(),
            timers: Vec::new(),
        }
    }

    /// The current intent.
    pub fn intent(&self) -> &str {
        &self.position.intent
    }

    /// The current state.
    pub fn state(&self) -> &str {
        &self.position.state
    }

    /// The current position.
    pub fn position(&self) -> &PositionName {
        &self.position
    }

    /// Turns decided so far.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// The filled slots, ordered by name.
    pub fn slots(&self) -> &[(Arc<str>, SlotValue)] {
        &self.slots
    }

    /// The value of one slot.
    pub fn slot(&self, name: &str) -> Option<&SlotValue> {
        let place = self.slots.binary_search_by(|(slot, _)| slot.as_ref().cmp(name)).ok()?;
        self.slots.get(place).map(|(_, value)| value)
    }

    /// The raised flags, ordered by name.
    pub fn flags(&self) -> &[Arc<str>] {
        &self.flags
    }

    /// The interrupted positions, the last one interrupted last.
    pub fn interrupted(&self) -> &[PositionName] {
        &self.interrupted
    }

    /// The actions that wait for a confirmation, oldest first.
    pub fn pending(&self) -> &[PendingAction] {
        &self.pending
    }

    /// Whether a waiting action was confirmed and failed.
    pub fn has_failed(&self, id: PendingId) -> bool {
        self.failed_pending.contains(&id)
    }

    /// What the last turn asked the user to choose among.
    pub fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    /// Actions that failed and were not made good, ordered by name.
    pub fn failed(&self) -> &[Arc<str>] {
        &self.failed
    }

    /// What is kept of what was fetched, ordered by name.
    pub fn data(&self) -> &[(Arc<str>, Json)] {
        &self.data
    }

    /// The summary of the conversation so far.
    pub fn summary(&self) -> Option<&str> {
        self.summary.as_deref()
    }

    /// Turns decided when the summary was last written.
    pub fn summarised_turn(&self) -> u64 {
        self.summarised_turn
    }

    /// The turns prompts remember, oldest first.
    pub fn history(&self) -> &[Exchange] {
        &self.history
    }

    /// The timers that are set, ordered by id.
    pub fn timers(&self) -> &[Timer] {
        &self.timers
    }

    /// The timer whose turn a request asks for.
    pub fn timer_of(&self, request_id: &RequestId) -> Option<&Timer> {
        self.timers.iter().find(|timer| timer.is_asked_by(request_id))
    }

    /// The state without its timers: what another conversation may begin with.
    #[must_use]
    pub fn without_timers(mut self) -> Self {
        self.timers.clear();
        self
    }

    /// Applies the ending of an accepted turn that was not committed: if a timer had fired it, the timer is over.
    pub fn apply_closed(&mut self, request_id: &RequestId) {
        self.timers.retain(|timer| !timer.is_asked_by(request_id));
    }

    /// Applies one change. Total: a change that does not fit changes nothing.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::TurnCounted => self.turns = self.turns.saturating_add(1),
            Change::Moved(position) => self.position = position.clone(),
            Change::SlotSet { slot, value } => put(&mut self.slots, slot, value),
            Change::SlotCleared { slot } => self.slots.retain(|(name, _)| name != slot),
            Change::FlagSet { flag } => {
                if let Err(place) = self.flags.binary_search(flag) {
                    self.flags.insert(place, Arc::clone(flag));
                }
            }
            Change::FlagCleared { flag } => self.flags.retain(|name| name != flag),
            Change::DigressionPushed(position) => self.interrupted.push(position.clone()),
            Change::DigressionPopped => drop(self.interrupted.pop()),
            Change::DigressionsDropped => self.interrupted.clear(),
            Change::PendingOpened(pending) => self.pending.push(pending.clone()),
            Change::PendingRenewed { id, at } => {
                let turn = self.turns;
                if let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == *id) {
                    pending.staged_at = *at;
                    pending.staged_turn = turn;
                }
            }
            Change::PendingClosed { id, .. } => {
                self.pending.retain(|pending| pending.id != *id);
                self.failed_pending.retain(|failed| failed != id);
            }
            Change::PendingFailed { id } => {
                if !self.failed_pending.contains(id) {
                    self.failed_pending.push(*id);
                }
            }
            Change::Asked(question) => self.question = Some(question.clone()),
            Change::QuestionDropped => self.question = None,
            Change::FailureNoted { name } => {
                if let Err(place) = self.failed.binary_search(name) {
                    self.failed.insert(place, Arc::clone(name));
                }
            }
            Change::FailureCleared { name } => self.failed.retain(|failed| failed != name),
            Change::DataSet { name, value } => put(&mut self.data, name, value),
            Change::DataCleared { name } => self.data.retain(|(held, _)| held != name),
            Change::Summarised { text } => {
                self.summary = Some(Arc::clone(text));
                self.summarised_turn = self.turns;
            }
            Change::Remembered { .. } => {}
            Change::HistoryDropped => {
                self.history.clear();
                self.summary = None;
            }
            Change::TimerSet(timer) => match self.timers.binary_search_by(|set| set.id.cmp(&timer.id)) {
                Ok(place) => {
                    if let Some(set) = self.timers.get_mut(place) {
                        *set = timer.clone();
                    }
                }
                Err(place) => self.timers.insert(place, timer.clone()),
            },
            Change::TimerEnded { id, .. } => self.timers.retain(|timer| timer.id != *id),
        }
    }

    /// Applies changes in order.
    pub fn apply_all(&mut self, changes: &[Change]) {
        for change in changes {
            self.apply(change);
        }
    }

    /// Applies what a committed turn changed, with what it adds to what prompts remember.
    pub fn apply_turn(&mut self, record: &TurnRecord) {
        for change in &record.changes {
            match change {
                Change::Remembered { turns, tokens, user, assistant } => {
                    let user = user.as_deref().unwrap_or(&record.text);
                    self.remember(user, assistant.as_deref().unwrap_or(&record.reply.text), *turns, *tokens);
                }
                _ => self.apply(change),
            }
        }
    }

    /// Adds a turn to what prompts remember; the oldest give way.
    pub(crate) fn remember(&mut self, user: &str, assistant: &str, turns: u16, tokens: u32) {
        self.history.push(Exchange { user: user.into(), assistant: assistant.into() });
        let mut left = tokens;
        let kept = self.history.iter().rev().take(usize::from(turns)).take_while(|exchange| {
            let fits = exchange.tokens() <= left;
            left = left.saturating_sub(exchange.tokens());
            fits
        });
        let dropped = self.history.len() - kept.count();
        self.history.drain(..dropped);
    }
}

/// How a snapshot stores a state: with its timers behind it.
pub(crate) mod whole {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{ConversationState, Timer};

    pub(crate) fn serialize<S: Serializer>(state: &ConversationState, serializer: S) -> Result<S::Ok, S::Error> {
        (state, &state.timers).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ConversationState, D::Error> {
        let (state, timers) = <(ConversationState, Vec<Timer>)>::deserialize(deserializer)?;
        Ok(ConversationState { timers, ..state })
    }
}

/// Sets a named value in a list ordered by name.
fn put<V: Clone>(values: &mut Vec<(Arc<str>, V)>, name: &Arc<str>, value: &V) {
    match values.binary_search_by(|(held, _)| held.cmp(name)) {
        Ok(place) => {
            if let Some((_, held)) = values.get_mut(place) {
                *held = value.clone();
            }
        }
        Err(place) => values.insert(place, (Arc::clone(name), value.clone())),
    }
}
