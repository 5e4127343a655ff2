//! The stages of a turn, one file each, in the order they run.
//!
//! A stage is re-entrant: when it needs something from the world it asks for all of it, changes nothing,
//! and is run again once the results are there.

mod act;
mod dialogue_act;
mod enrich;
mod extract;
mod guard;
mod intent;
mod pending;
mod respond;
mod retain;
mod rules;
pub(crate) mod transition;

use crate::{event::Stage, work::Work};

/// Whether a stage is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It is; the next one runs.
    Next,
    /// It asked for effects and runs again with their results.
    Need,
}

/// One stage.
pub(crate) type Run = fn(&mut Work) -> Progress;

/// The stages in order.
pub(crate) const ORDER: [(Stage, Run); 11] = [
    (Stage::Guard, guard::run),
    (Stage::DialogueAct, dialogue_act::run),
    (Stage::Pending, pending::run),
    (Stage::Intent, intent::run),
    (Stage::Enrich, enrich::run),
    (Stage::Extract, extract::run),
    (Stage::Rules, rules::run),
    (Stage::Act, act::run),
    (Stage::Transition, transition::run),
    (Stage::Retain, retain::run),
    (Stage::Respond, respond::run),
];
