//! A conversation's inputs, decided anew on another flow, and what would have come out otherwise.
//!
//! The conversation begins at the other flow's start and goes its own way: each turn is decided on the state
//! that the other flow led to, not on the recorded one. An effect gets the recorded result of the same step
//! and kind. One that the record does not hold is made up, the same way each time: a time is the turn's
//! own, an identifier is hashed from turn and step. Any other kind leaves the turn, and so the
//! conversation from there on, undecided. All of this is reported.

use std::{collections::BTreeMap, sync::Arc};

use colloquy_flow::Flow;
use colloquy_turn::{
    ControlRecord, ConversationState, Effect, EffectKind, EffectValue, Rerun, TurnRecord, open_conversation, rerun,
    reset,
};
use serde::Serialize;

use super::{
    HistoryError,
    entry::{Entry, Place, view},
    rows::moved,
};

/// Changed turns of one conversation that are told in full; the rest is counted.
pub const CHANGED_TURNS_SHOWN_MAX: usize = 100;

/// Something as it was recorded and as it would have been.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Changed {
    /// As recorded.
    pub recorded: String,
    /// As it would have been.
    pub replayed: String,
}

impl Changed {
    fn of(recorded: String, replayed: String) -> Option<Self> {
        (recorded != replayed).then_some(Self { recorded, replayed })
    }
}

/// A turn that would have come out otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedTurn {
    /// The turn.
    pub turn_seq: u64,
    /// What the user said.
    pub text: String,
    /// The move: `intent.state -> intent.state`.
    pub transition: Option<Changed>,
    /// What was said.
    pub reply: Option<Changed>,
    /// How it ended.
    pub outcome: Option<Changed>,
    /// Effects that only one of the two asked for.
    pub effects: Vec<String>,
}

impl ChangedTurn {
    /// The kinds of change, as reports name them.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        let kinds = [
            ("transition", self.transition.is_some()),
            ("reply", self.reply.is_some()),
            ("outcome", self.outcome.is_some()),
            ("effect", !self.effects.is_empty()),
        ];
        kinds.into_iter().filter_map(|(kind, is_changed)| is_changed.then_some(kind))
    }
}

/// A turn that could not be decided, and with it those after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// The turn.
    pub turn_seq: u64,
    /// The effect that has no recorded result.
    pub effect: String,
    /// Turns left undecided, this one included.
    pub turns: u64,
}

/// What came of a whole conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Whether it runs a flow of another name, and was not compared.
    pub passed_over: bool,
    /// Turns that were decided.
    pub turns: u64,
    /// Those among them that came out otherwise.
    pub turns_changed: u64,
    /// The first [`CHANGED_TURNS_SHOWN_MAX`] of these.
    pub changed: Vec<ChangedTurn>,
    /// Turns by kind of change.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Changed transitions: how often, and the first turn of each.
    #[serde(skip)]
    pub transitions: BTreeMap<Changed, (u64, u64)>,
    /// Where it could not go on.
    pub undecided: Option<Undecided>,
}

impl Comparison {
    /// Whether everything came out as recorded.
    pub fn is_identical(&self) -> bool {
        self.turns_changed == 0 && self.undecided.is_none()
    }

    fn add(&mut self, turn: ChangedTurn) {
        self.turns_changed += 1;
        for kind in turn.kinds() {
            *self.kinds.entry(kind).or_default() += 1;
        }
        if let Some(transition) = &turn.transition {
            self.transitions.entry(transition.clone()).or_insert((0, turn.turn_seq)).0 += 1;
        }
        if self.changed.len() < CHANGED_TURNS_SHOWN_MAX {
            self.changed.push(turn);
        }
    }
}

/// Runs one conversation on another flow.
#[derive(Debug)]
pub struct Comparer {
    flow: Arc<Flow>,
    state: Option<ConversationState>,
    comparison: Comparison,
}

impl Comparer {
    /// Nothing yet; turns are to be decided by `flow`.
    pub fn new(flow: Arc<Flow>) -> Self {
        Self { flow, state: None, comparison: Comparison::default() }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`HistoryError`] when the records are no history.
    pub fn entry(&mut self, place: Place, entry: &Entry) -> Result<(), HistoryError> {
        if let Entry::Created(created) = entry {
            self.comparison.passed_over = created.flow != *self.flow.name();
            self.state = Some(open_conversation(&self.flow));
            return Ok(());
        }
        let Some(state) = self.state.as_mut() else {
            return Err(HistoryError::NotCreated { record_no: place.record_no });
        };
        if self.comparison.passed_over {
            return Ok(());
        }
        match entry {
            Entry::Turn(record) => self.turn(place, record),
            Entry::Control(ControlRecord::Reset { .. }) => {
                let changes = reset(&self.flow, state);
                state.apply_all(&changes);
            }
            Entry::Control(ControlRecord::Forked { state: began, .. }) => state.clone_from(began),
            _ => {}
        }
        Ok(())
    }

    /// What came of it.
    pub fn finish(self) -> Comparison {
        self.comparison
    }

    fn turn(&mut self, place: Place, record: &TurnRecord) {
        if let Some(undecided) = &mut self.comparison.undecided {
            undecided.turns += 1;
            return;
        }
        let Some(before) = self.state.clone() else { return };
        match rerun(Arc::clone(&self.flow), before, record, |effect| make_up(record, effect)) {
            Err(effect) => {
                let undecided =
                    Undecided { turn_seq: place.turn_seq, effect: named(effect.step, effect.kind.name()), turns: 1 };
                self.comparison.undecided = Some(undecided);
            }
            Ok(rerun) => {
                self.comparison.turns += 1;
                if let Some(changed) = changed(place, record, &rerun) {
                    self.comparison.add(changed);
                }
                self.state = Some(rerun.outcome.state);
            }
        }
    }
}

fn changed(place: Place, recorded: &TurnRecord, rerun: &Rerun) -> Option<ChangedTurn> {
    let replayed = &rerun.outcome.record;
    let supplied =
        rerun.supplied.iter().map(|effect| format!("{} is not in the record", named(effect.step, effect.kind.name())));
    let unused =
        rerun.unused.iter().map(|result| format!("{} is no longer asked for", named(result.step, result.value.name())));
    let outcome = |record: &TurnRecord| view(&record.outcome).as_str().unwrap_or_default().to_lowercase();
    let turn = ChangedTurn {
        turn_seq: place.turn_seq,
        text: recorded.text.clone(),
        transition: Changed::of(moved(recorded), moved(replayed)),
        reply: Changed::of(recorded.reply.text.clone(), replayed.reply.text.clone()),
        outcome: Changed::of(outcome(recorded), outcome(replayed)),
        effects: supplied.chain(unused).collect(),
    };
    let is_changed = turn.kinds().next().is_some();
    is_changed.then_some(turn)
}

fn named(step: u16, kind: &str) -> String {
    format!("effect {step} ({kind})")
}

/// A result for an effect that the record does not hold, the same each time; `None` where none can be made up.
fn make_up(record: &TurnRecord, effect: &Effect) -> Option<EffectValue> {
    if effect.kind == EffectKind::Time {
        return Some(EffectValue::Time(record.now));
    }
    if effect.kind == EffectKind::Identifier {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"made up for a replay\n").update(&record.turn_id.0).update(&effect.step.to_le_bytes());
        let mut identifier = [0; 16];
        hasher.finalize_xof().fill(&mut identifier);
        return Some(EffectValue::Identifier(identifier));
    }
    None
}
