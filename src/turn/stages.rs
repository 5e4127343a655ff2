//! The stages of a turn, one file each, in the order they run.
//!
//! A stage is re-entrant: when it needs something from the world it asks for all of it, changes nothing,
//! and is run again once the results are there.

mod act;
mod asking;
mod dialogue_act;
mod enrich;
mod extract;
mod guard;
mod intent;
mod pending;
mod plan;
mod respond;
mod retain;
mod rules;
mod summarise;
pub(crate) mod transition;

use crate::{event::Stage, work::Work};

/// Whether a stage is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It is; the next one runs.
    Next,
    /// It asked for effects and runs again with their results.
    Need,
    /// It did a part of what it is for and begins anew, with what it changed.
    Again,
    /// More actions are to run: the turn goes back to [`BEFORE_ACTION`].
    Back,
}

/// One stage.
pub(crate) type Run = fn(&mut Work) -> Progress;

/// The stages in order.
pub(crate) const ORDER: [(Stage, Run); 19] = [
    (Stage::Guard, guard::run),
    (Stage::DialogueAct, dialogue_act::run),
    (Stage::Rules, rules::after_dialogue_act),
    (Stage::Pending, pending::run),
    (Stage::Intent, intent::run),
    (Stage::Rules, rules::after_intent),
    (Stage::Enrich, enrich::run),
    (Stage::Rules, rules::after_enrichment),
    (Stage::Extract, extract::run),
    (Stage::Rules, rules::after_extraction),
    (Stage::Plan, plan::run),
    (Stage::Rules, rules::before_action),
    (Stage::Act, act::run),
    (Stage::Rules, rules::after_action),
    (Stage::Transition, transition::run),
    (Stage::Retain, retain::run),
    (Stage::Rules, rules::before_response),
    (Stage::Respond, respond::run),
    (Stage::Summarise, summarise::run),
];

/// The place of the rules before actions in [`ORDER`].
pub(crate) const BEFORE_ACTION: usize = 11;
