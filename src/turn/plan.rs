//! What a planner did so far in a turn: the memory that its next question is asked with.

use colloquy_flow::{ActionIx, Json, Name, PlannerIx};

/// The planner of a turn and the calls it made.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The planner that is at work; none before its first call.
    pub(crate) planner: Option<PlannerIx>,
    /// Its calls, oldest first.
    pub(crate) calls: Vec<Planned>,
}

/// One call of a planner, and what came of it.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) action: ActionIx,
    pub(crate) name: Name,
    /// Everything the tool was called with.
    pub(crate) arguments: Json,
    /// What of it the model chose.
    pub(crate) chosen: Json,
    /// `done`, `partial`, or why it failed.
    pub(crate) outcome: &'static str,
    pub(crate) result: Option<Json>,
}

impl Plan {
    /// Whether the same call was made already.
    pub(crate) fn has_made(&self, action: ActionIx, arguments: &Json) -> bool {
        self.calls.iter().any(|call| call.action == action && call.arguments == *arguments)
    }

    /// The calls as prompts see them. Of the arguments only what the model itself chose: the rest may be secret.
    pub(crate) fn called(&self) -> Json {
        let rows = self.calls.iter().map(|call| {
            Json::object([
                ("tool".into(), Json::Text(Name::clone(&call.name))),
                ("arguments".into(), call.chosen.clone()),
                ("outcome".into(), Json::Text(call.outcome.into())),
                ("result".into(), call.result.clone().unwrap_or(Json::Null)),
            ])
        });
        Json::List(rows.collect())
    }

    /// What the calls returned, by the action's name.
    pub(crate) fn results(&self) -> impl Iterator<Item = (&Name, &Json)> {
        self.calls.iter().filter_map(|call| Some((&call.name, call.result.as_ref()?)))
    }
}
