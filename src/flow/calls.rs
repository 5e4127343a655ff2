//! What is asked of the outside: arguments and patience.

use std::time::Duration;

use crate::{json::Json, planner::Chosen, template::TemplateRef};

/// How long and how often something outside is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patience {
    /// How long all attempts together may take; the turn's remaining budget may be shorter.
    pub timeout: Duration,
    /// How many attempts, at least one. Only what may safely be repeated is tried again.
    pub attempts: u8,
}

impl Default for Patience {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(2), attempts: 1 }
    }
}

/// One argument of a call.
#[derive(Clone, Debug)]
pub enum Argument<S> {
    /// A fixed value.
    Value(Json),
    /// The value of a slot. While it is empty the call is not made.
    Slot(S),
    /// A text made of slots.
    Template(TemplateRef),
    /// What a model chooses; only in calls that a planner makes.
    Chosen(Chosen),
}
