//! Timers: a conversation that speaks first, at a time that one of its turns set.
//!
//! A timer is part of the state and changes with turns alone, so it is committed, replayed and undone with them. When it
//! is due, somebody submits a turn under [`Timer::request_id`], which names this setting of it and no other: a turn that
//! is sent twice is one turn, and one that comes for a timer that was replaced or dropped finds none.

use std::{sync::Arc, time::Duration};

use colloquy_types::{RequestId, Timestamp};
use serde::{Deserialize, Serialize};

/// How many timers may be set in one conversation at a time.
pub const TIMERS_MAX: usize = 16;

/// What the request ids of timers begin with. No other request may.
pub const TIMER_REQUESTS: &str = "timer/";

/// A timer that is set. Stored: the order of fields is the format.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timer {
    /// Its id: setting a timer of the same id replaces it.
    pub id: Arc<str>,
    /// When it fires.
    pub due_at: Timestamp,
    /// The turn (counted from 1) that set it.
    pub set_turn: u64,
}

impl Timer {
    /// The timer that a turn sets, to fire some time after it.
    pub(crate) fn after(id: &Arc<str>, now: Timestamp, after: Duration, set_turn: u64) -> Self {
        Self { id: Arc::clone(id), due_at: now.plus(after), set_turn }
    }

    /// The request id of the turn that it fires; `None` for an id that is none of a flow.
    pub fn request_id(&self) -> Option<RequestId> {
        RequestId::parse(&format!("{TIMER_REQUESTS}{}/{}", self.id, self.set_turn)).ok()
    }

    /// Whether `request_id` is that of its turn.
    pub fn is_asked_by(&self, request_id: &RequestId) -> bool {
        let named = request_id.as_str().strip_prefix(TIMER_REQUESTS).and_then(|named| named.rsplit_once('/'));
        named.is_some_and(|(id, set_turn)| *id == *self.id && set_turn.parse() == Ok(self.set_turn))
    }
}

/// How a timer ended. Stored: the order of variants is the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimerEnding {
    /// It was due, and this is its turn.
    Fired,
    /// A rule dropped it.
    Forgotten,
    /// The conversation was reset.
    Reset,
    /// The conversation moved to a revision that knows no such timer.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_names_one_setting_of_one_timer() {
        let timer = |id: &str, set_turn| Timer { id: id.into(), due_at: Timestamp::from_micros(1), set_turn };
        let asked = timer("nudge", 7).request_id().expect("it is visible ASCII");
        assert_eq!(asked.as_str(), "timer/nudge/7");
        assert!(timer("nudge", 7).is_asked_by(&asked));
        for other in [timer("nudge", 8), timer("other", 7), timer("nudge/7", 7)] {
            assert!(!other.is_asked_by(&asked), "{other:?}");
        }
        assert!(!timer("nudge", 7).is_asked_by(&RequestId::parse("nudge/7").expect("it is visible ASCII")));
    }
}
