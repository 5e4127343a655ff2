//! What may change in a conversation. Stored: the order of fields and variants is the format.

use std::sync::Arc;

use colloquy_flow::{Json, SlotValue};
use colloquy_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PendingAction, PendingEnding, PendingId, PositionName, Question};
use crate::timer::{Timer, TimerEnding};

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
    /// A waiting action was confirmed, ran and failed; it may be confirmed again.
    PendingFailed {
        /// Which one.
        id: PendingId,
    },
    /// The user was asked to choose.
    Asked(Question),
    /// The question of the last turn is done with.
    QuestionDropped,
    /// An action failed and is worth trying again.
    FailureNoted {
        /// The action.
        name: Arc<str>,
    },
    /// What had failed is done with.
    FailureCleared {
        /// The action.
        name: Arc<str>,
    },
    /// Something that was fetched is kept.
    DataSet {
        /// The enrichment.
        name: Arc<str>,
        /// What it returned.
        value: Json,
    },
    /// Something that was kept is given up.
    DataCleared {
        /// The enrichment.
        name: Arc<str>,
    },
    /// The summary was written anew.
    Summarised {
        /// The summary.
        text: Arc<str>,
    },
    /// The turn's input and reply join what prompts remember, within these bounds. Only
    /// [`super::ConversationState::apply_turn`] can apply it: the texts stand in the record.
    Remembered {
        /// Most turns.
        turns: u16,
        /// Most tokens.
        tokens: u32,
        /// What is remembered in place of the input, if it held a secret.
        user: Option<Arc<str>>,
        /// What is remembered in place of the reply, if it held a secret.
        assistant: Option<Arc<str>>,
    },
    /// Everything prompts remember is forgotten.
    HistoryDropped,
    /// A timer was set, in place of one of its id if there was one.
    TimerSet(Timer),
    /// A timer ended.
    TimerEnded {
        /// Its id.
        id: Arc<str>,
        /// How.
        ending: TimerEnding,
    },
}
