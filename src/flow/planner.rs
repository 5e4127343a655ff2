//! Planners: where a model may choose which read-only tools are called, and with what.

use crate::{
    condition::Condition,
    index::{ActionIx, StateIx},
    parts::{Name, Scope},
    slot::SlotKind,
};

/// Most tools one planner may list.
pub const PLANNER_TOOLS_MAX: usize = 16;
/// Most calls one planner may make in a turn.
pub const PLANNER_CALLS_MAX: u8 = 16;

/// What a model chooses for an argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What it is, told to the model; empty when not given.
    pub description: Name,
    /// Its type and bounds.
    pub kind: SlotKind,
}

/// A planner, everything by name.
#[derive(Debug)]
pub struct PlannerPart {
    /// Its name.
    pub name: Name,
    /// Where it works.
    pub scope: Scope,
    /// When; none means each turn there.
    pub when: Option<Condition>,
    /// The prompt by which the model chooses.
    pub prompt: Name,
    /// Names of the actions it may call.
    pub tools: Vec<Name>,
    /// Most calls in one turn.
    pub calls: u8,
}

/// A planner: the model is asked, what it chooses is called, and it is asked again.
#[derive(Clone, Debug)]
pub struct Planner {
    /// Its name.
    pub name: Name,
    /// When; none means each turn there.
    pub when: Option<Condition>,
    /// The prompt by which the model chooses.
    pub prompt: Name,
    /// The actions it may call.
    pub tools: Vec<ActionIx>,
    /// Most calls in one turn.
    pub calls: u8,
    /// Where it works, ordered.
    pub(crate) scope: Vec<StateIx>,
}

impl Planner {
    /// Whether it works in a state.
    pub fn in_scope(&self, state: StateIx) -> bool {
        self.scope.binary_search(&state).is_ok()
    }
}
