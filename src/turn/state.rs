//! A conversation's state, and the only way it changes.
//!
//! Everything is held by name, so that a state outlives the revision that made it. [`ConversationState::apply`]
//! is total: applying the recorded changes in order always gives the state the turn ended with.
//! Stored: the order of fields and variants is the format.

use std::{fmt, sync::Arc};

use colloquy_flow::SlotValue;
use colloquy_types::Timestamp;
use serde::{Deserialize, Serialize};

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
}

/// One change of a conversation's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A turn was decided.
    TurnCounted,
    /// The position changed.
    Moved(PositionName),
    /// A slot was filled or corrected.
    SlotSet {
        /// The slot.
        slot: Arc<str>,
        /// Its new value.
        value: SlotValue,
    },
    /// A slot was emptied.
    SlotCleared {
        /// The slot.
        slot: Arc<str>,
    },
    /// A flag was raised.
    FlagSet {
        /// The flag.
        flag: Arc<str>,
    },
    /// A flag was lowered.
    FlagCleared {
        /// The flag.
        flag: Arc<str>,
    },
    /// A position was interrupted and put on the stack.
    DigressionPushed(PositionName),
    /// The last interrupted position was taken from the stack.
    DigressionPopped,
    /// All interrupted positions were given up.
    DigressionsDropped,
    /// An action began to wait for its confirmation.
    PendingOpened(PendingAction),
    /// A waiting action's time starts again, because one of its slots was corrected.
    PendingRenewed {
        /// Which one.
        id: PendingId,
        /// When.
        at: Timestamp,
    },
    /// A waiting action ended.
    PendingClosed {
        /// Which one.
        id: PendingId,
        /// How.
        ending: PendingEnding,
    },
}

/// Where a conversation stands and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationState {
    position: PositionName,
    turns: u64,
    slots: Vec<(Arc<str>, SlotValue)>,
    flags: Vec<Arc<str>>,
    interrupted: Vec<PositionName>,
    pending: Vec<PendingAction>,
}

impl ConversationState {
    /// A conversation that stands at `position` and holds nothing.
    pub fn new(intent: Arc<str>, state: Arc<str>) -> Self {
        Self {
            position: PositionName { intent, state },
            turns: 0,
            slots: Vec::new(),
            flags: Vec::new(),
            interrupted: Vec::new(),
            pending: Vec::new(),
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

    /// Applies one change. Total: a change that does not fit changes nothing.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::TurnCounted => self.turns = self.turns.saturating_add(1),
            Change::Moved(position) => self.position = position.clone(),
            Change::SlotSet { slot, value } => self.set_slot(slot, value),
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
            Change::PendingClosed { id, .. } => self.pending.retain(|pending| pending.id != *id),
        }
    }

    /// Applies changes in order.
    pub fn apply_all(&mut self, changes: &[Change]) {
        for change in changes {
            self.apply(change);
        }
    }

    fn set_slot(&mut self, slot: &Arc<str>, value: &SlotValue) {
        match self.slots.binary_search_by(|(name, _)| name.cmp(slot)) {
            Ok(place) => {
                if let Some((_, held)) = self.slots.get_mut(place) {
                    *held = value.clone();
                }
            }
            Err(place) => self.slots.insert(place, (Arc::clone(slot), value.clone())),
        }
    }
}
