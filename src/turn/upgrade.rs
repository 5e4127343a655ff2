//! How a conversation's state moves to another revision of its flow, or why it does not.
//!
//! Pure: the same state and the same revisions always give the same changes, so an upgrade replays from
//! its record. What does not map is told, all of it at once; the conversation then stays as it is.

use std::sync::Arc;

use colloquy_flow::{Flow, Json, Mapped, SlotKind, SlotValue, StateIx, Upgrade};
use colloquy_types::Revision;

use crate::{
    state::{Change, ConversationState, PendingAction, PendingEnding, PositionName, Question},
    timer::TimerEnding,
};

/// Something of a conversation that has no place in the other revision. Names only, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Where it stands is gone.
    #[error("position {0} is gone: map it under states")]
    Position(PositionName),
    /// Where it was interrupted is gone.
    #[error("interrupted position {0} is gone: map it under states")]
    Interrupted(PositionName),
    /// A filled slot is gone.
    #[error("slot {slot} is gone: map it under slots, to null if its value may be lost")]
    SlotGone {
        /// The slot.
        slot: Arc<str>,
    },
    /// A filled slot holds what the new one does not take.
    #[error("what slot {slot} holds does not fit slot {into}")]
    SlotValue {
        /// The slot.
        slot: Arc<str>,
        /// What it became.
        into: Arc<str>,
    },
    /// Two filled slots became one.
    #[error("slot {into} would be filled twice")]
    SlotTwice {
        /// What both became.
        into: Arc<str>,
    },
    /// A raised flag is gone.
    #[error("flag {flag} is gone: map it under flags, to null if it may be lowered")]
    FlagGone {
        /// The flag.
        flag: Arc<str>,
    },
    /// An action that waits for its confirmation is gone, or asks for none any more.
    #[error("action {action} waits for a confirmation, but is gone or asks for none")]
    PendingAction {
        /// The action.
        action: Arc<str>,
    },
    /// An action waits in an intent that is gone or was split.
    #[error("action {action} waits in intent {intent}, which is gone or became several")]
    PendingIntent {
        /// The action.
        action: Arc<str>,
        /// The intent it was staged in.
        intent: Arc<str>,
    },
    /// An action waits, but what it needs is not filled any more.
    #[error("action {action} waits for a confirmation, but would lack slot {slot}")]
    PendingSlot {
        /// The action.
        action: Arc<str>,
        /// The slot.
        slot: Arc<str>,
    },
    /// More positions are interrupted, or actions pending, than the other revision allows.
    #[error("{held} {what}, but at most {most} are allowed")]
    TooMany {
        /// `interrupted positions` or `pending actions`.
        what: &'static str,
        /// How many there are.
        held: usize,
        /// How many may be.
        most: usize,
    },
}

/// Whether a conversation may leave this revision where it stands: nothing is underway there, or the state
/// is declared a boundary.
pub fn at_boundary(state: &ConversationState, flow: &Flow) -> bool {
    let place = flow.find_state(state.intent(), state.state());
    place.map(|place| flow.state(place)).is_some_and(|state| state.terminal || state.boundary)
}

/// What must change for `state`, which a conversation of revision `from` holds, to be a state of `flow`.
///
/// # Errors
/// Every [`Obstacle`].
pub fn upgrade(state: &ConversationState, from: Revision, flow: &Flow) -> Result<Vec<Change>, Vec<Obstacle>> {
    let mut moving =
        Moving { state, flow, mapping: flow.upgrade_from(from), changes: Vec::new(), obstacles: Vec::new() };
    moving.positions();
    moving.slots();
    moving.flags();
    moving.pending();
    moving.remembered();
    if moving.obstacles.is_empty() { Ok(moving.changes) } else { Err(moving.obstacles) }
}

/// The value as another type takes it. A single value goes on by its text: what the new type reads in it, it takes.
fn taken(kind: &SlotKind, value: &SlotValue) -> Option<SlotValue> {
    match value {
        SlotValue::List(_) | SlotValue::Object(_) => kind.accept(&Json::from(value)),
        single => kind.parse(&single.to_string()),
    }
}

struct Moving<'a> {
    state: &'a ConversationState,
    flow: &'a Flow,
    mapping: Option<&'a Upgrade>,
    changes: Vec<Change>,
    obstacles: Vec<Obstacle>,
}

impl Moving<'_> {
    fn place(&self, old: &PositionName) -> Option<StateIx> {
        let mapped = self.mapping.and_then(|mapping| mapping.state(&old.intent, &old.state));
        mapped.or_else(|| self.flow.find_state(&old.intent, &old.state))
    }

    fn position(&self, old: &PositionName) -> Option<PositionName> {
        let state = self.flow.state(self.place(old)?);
        Some(PositionName { intent: Arc::clone(&state.intent_name), state: Arc::clone(&state.name) })
    }

    fn positions(&mut self) {
        let old = self.state.position();
        match self.position(old) {
            Some(new) if new == *old => {}
            Some(new) => self.changes.push(Change::Moved(new)),
            None => self.obstacles.push(Obstacle::Position(old.clone())),
        }
        let interrupted = self.state.interrupted();
        let mut mapped = Vec::with_capacity(interrupted.len());
        for old in interrupted {
            match self.position(old) {
                Some(new) => mapped.push(new),
                None => self.obstacles.push(Obstacle::Interrupted(old.clone())),
            }
        }
        self.at_most("interrupted positions", interrupted.len(), self.flow.limits().digression_depth);
        if mapped != interrupted {
            self.changes.push(Change::DigressionsDropped);
            self.changes.extend(mapped.into_iter().map(Change::DigressionPushed));
        }
    }

    fn slots(&mut self) {
        let (mut cleared, mut set) = (Vec::new(), Vec::new());
        let mut filled: Vec<&Arc<str>> = Vec::with_capacity(self.state.slots().len());
        for (slot, value) in self.state.slots() {
            let into = match self.mapping.map_or(Mapped::Unnamed, |mapping| mapping.slot(slot)) {
                Mapped::To(into) => into,
                Mapped::GivenUp => {
                    cleared.push(Change::SlotCleared { slot: Arc::clone(slot) });
                    continue;
                }
                Mapped::Unnamed => match self.flow.find_slot(slot) {
                    Some(same) => same,
                    None => {
                        self.obstacles.push(Obstacle::SlotGone { slot: Arc::clone(slot) });
                        continue;
                    }
                },
            };
            let into = self.flow.slot(into);
            let Some(taken) = taken(&into.kind, value) else {
                self.obstacles.push(Obstacle::SlotValue { slot: Arc::clone(slot), into: Arc::clone(&into.name) });
                continue;
            };
            if filled.contains(&&into.name) {
                self.obstacles.push(Obstacle::SlotTwice { into: Arc::clone(&into.name) });
                continue;
            }
            filled.push(&into.name);
            if into.name != *slot {
                cleared.push(Change::SlotCleared { slot: Arc::clone(slot) });
            }
            if into.name != *slot || taken != *value {
                set.push(Change::SlotSet { slot: Arc::clone(&into.name), value: taken });
            }
        }
        // What is left is emptied before anything is filled: two slots may have changed places.
        self.changes.append(&mut cleared);
        self.changes.append(&mut set);
    }

    fn flags(&mut self) {
        let (mut lowered, mut raised) = (Vec::new(), Vec::new());
        for flag in self.state.flags() {
            match self.mapping.map_or(Mapped::Unnamed, |mapping| mapping.flag(flag)) {
                Mapped::To(into) if into == flag => {}
                Mapped::To(into) => {
                    lowered.push(Change::FlagCleared { flag: Arc::clone(flag) });
                    raised.push(Change::FlagSet { flag: Arc::clone(into) });
                }
                Mapped::GivenUp => lowered.push(Change::FlagCleared { flag: Arc::clone(flag) }),
                Mapped::Unnamed if self.flow.has_flag(flag) => {}
                Mapped::Unnamed => self.obstacles.push(Obstacle::FlagGone { flag: Arc::clone(flag) }),
            }
        }
        // A flag that goes on under its name must not be lowered by one that became it: lower first, then raise.
        self.changes.append(&mut lowered);
        self.changes.append(&mut raised);
    }

    fn pending(&mut self) {
        let held = self.state.pending();
        if held.is_empty() {
            return;
        }
        let mut after = self.state.clone();
        after.apply_all(&self.changes);
        let flow = self.flow;
        let mut mapped = Vec::with_capacity(held.len());
        for pending in held {
            let action = flow.find_action(&pending.action).map(|action| flow.action(action));
            let Some(action) = action.filter(|action| action.confirm.is_some()) else {
                self.obstacles.push(Obstacle::PendingAction { action: Arc::clone(&pending.action) });
                continue;
            };
            let needed = action.slots.iter().map(|slot| &flow.slot(*slot).name);
            self.obstacles.extend(
                needed
                    .filter(|slot| after.slot(slot).is_none())
                    .map(|slot| Obstacle::PendingSlot { action: Arc::clone(&pending.action), slot: Arc::clone(slot) }),
            );
            match self.intent_of(pending) {
                Some(intent) => mapped.push(PendingAction { intent, ..pending.clone() }),
                None => self.obstacles.push(Obstacle::PendingIntent {
                    action: Arc::clone(&pending.action),
                    intent: Arc::clone(&pending.intent),
                }),
            }
        }
        self.at_most("pending actions", held.len(), self.flow.limits().pending_actions);
        if mapped != held {
            let closed = held.iter().map(|old| Change::PendingClosed { id: old.id, ending: PendingEnding::Replaced });
            self.changes.extend(closed);
            let failed: Vec<_> = held.iter().map(|old| old.id).filter(|id| self.state.has_failed(*id)).collect();
            self.changes.extend(mapped.into_iter().map(Change::PendingOpened));
            self.changes.extend(failed.into_iter().map(|id| Change::PendingFailed { id }));
        }
    }

    /// What is remembered under names that are gone is forgotten: an open question, failures, fetched data, timers. None
    /// of it was given by the user, and all of it comes anew.
    fn remembered(&mut self) {
        let gone = match self.state.question() {
            Some(Question::Intents(names)) => names.iter().any(|name| self.flow.find_intent(name).is_none()),
            Some(Question::Actions(names)) => names.iter().any(|name| self.flow.find_action(name).is_none()),
            None => false,
        };
        if gone {
            self.changes.push(Change::QuestionDropped);
        }
        let failed = self.state.failed().iter().filter(|name| self.flow.find_action(name).is_none());
        self.changes.extend(failed.map(|name| Change::FailureCleared { name: Arc::clone(name) }));
        let data = self.state.data().iter().filter(|(name, _)| !self.flow.keeps_data(name));
        self.changes.extend(data.map(|(name, _)| Change::DataCleared { name: Arc::clone(name) }));
        let timers = self.state.timers().iter().filter(|timer| !self.flow.sets_timer(&timer.id));
        let unknown = |id: &Arc<str>| Change::TimerEnded { id: Arc::clone(id), ending: TimerEnding::Unknown };
        self.changes.extend(timers.map(|timer| unknown(&timer.id)));
    }

    /// The intent in which a pending action may be confirmed from now on: what the positions of the one it was
    /// staged in became, if that is one intent.
    fn intent_of(&self, pending: &PendingAction) -> Option<Arc<str>> {
        let held = std::iter::once(self.state.position()).chain(self.state.interrupted());
        let mut became = held.filter(|old| old.intent == pending.intent).map(|old| self.position(old));
        match became.next() {
            Some(first) => {
                let first = first?.intent;
                became.all(|other| other.is_none_or(|other| other.intent == first)).then_some(first)
            }
            None => self.flow.find_intent(&pending.intent).map(|_| Arc::clone(&pending.intent)),
        }
    }

    fn at_most(&mut self, what: &'static str, held: usize, most: u8) {
        let most = usize::from(most);
        if held > most {
            self.obstacles.push(Obstacle::TooMany { what, held, most });
        }
    }
}
