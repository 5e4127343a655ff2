//! Stage 8: runs confirmed actions, and those that need no confirmation; opens the others for one.
//!
//! An action whose outcome would lead to an undeclared place does not run: the turn is refused first.

use std::sync::Arc;

use colloquy_flow::{Action, ActionIx, By, Date, ResultSource, SlotKind, SlotValue};
use colloquy_types::Timestamp;

use crate::{
    effect::{EffectKind, EffectValue},
    event::{Detail, DialogueAct, Reason, Stage, StageResult},
    stages::Progress,
    state::{Change, PendingAction, PendingEnding, PendingId},
    work::{Course, Move, Work},
};

/// What an action needs from the world, once it is known.
struct Given {
    time: Timestamp,
    identifier: [u8; 16],
}

pub(super) fn run(work: &mut Work) -> Progress {
    if work.course == Course::Blocked || work.act == DialogueAct::Reset {
        return Progress::Next;
    }
    if work.confirmed.is_none() && work.staged.is_empty() {
        work.event(Stage::Act, StageResult::Skipped, Reason::NotDeclared, Detail::None);
        return Progress::Next;
    }
    let flow = Arc::clone(&work.flow);
    let confirmed = work.confirmed.clone().and_then(|pending| Some((flow.find_action(&pending.action)?, pending)));
    let staged = work.staged.clone();
    let at_once = staged.iter().copied().filter(|action| flow.action(*action).confirm.is_none());
    let runs: Vec<ActionIx> = confirmed.iter().map(|(action, _)| *action).chain(at_once).collect();
    if let Some(refused) = runs.iter().find_map(|action| undeclared_outcome(work, *action)) {
        let detail = work.shown(&refused);
        work.event(Stage::Act, StageResult::Blocked, Reason::TransitionBlocked, detail);
        work.refuse();
        return Progress::Next;
    }

    // Everything is asked for before anything changes.
    let given: Vec<Option<Given>> = runs.iter().map(|_| ask_both(work)).collect();
    let opens: Vec<ActionIx> = staged.into_iter().filter(|action| flow.action(*action).confirm.is_some()).collect();
    let identifiers: Vec<Option<[u8; 16]>> = opens.iter().map(|_| ask_identifier(work)).collect();
    if work.waits() {
        return Progress::Need;
    }

    let mut confirmation = confirmed.map(|(_, pending)| pending);
    for (action, given) in runs.into_iter().zip(given.into_iter().flatten()) {
        execute(work, flow.action(action), &given, confirmation.take());
    }
    for (action, identifier) in opens.into_iter().zip(identifiers.into_iter().flatten()) {
        open(work, flow.action(action), PendingId(identifier));
    }
    Progress::Next
}

fn undeclared_outcome(work: &Work, action: ActionIx) -> Option<Move> {
    let action = work.flow.action(action);
    let to = action.on_executed?;
    let from = work.candidate;
    let name = Arc::clone(&action.name);
    (!work.flow.allows(from, to, By::Action)).then_some(Move { by: By::Action, name, from, to })
}

fn ask_both(work: &mut Work) -> Option<Given> {
    let time = work.ask(EffectKind::Time);
    let identifier = ask_identifier(work);
    match (time, identifier) {
        (Some(EffectValue::Time(time)), Some(identifier)) => Some(Given { time, identifier }),
        _ => None,
    }
}

fn ask_identifier(work: &mut Work) -> Option<[u8; 16]> {
    match work.ask(EffectKind::Identifier) {
        Some(EffectValue::Identifier(identifier)) => Some(identifier),
        _ => None,
    }
}

/// The first slot the action needs that is empty.
fn missing_slot(work: &Work, action: &Action) -> Option<Arc<str>> {
    let names = action.slots.iter().map(|slot| &work.flow.slot(*slot).name);
    names.into_iter().find(|name| work.state().slot(name).is_none()).cloned()
}

fn execute(work: &mut Work, action: &Action, given: &Given, confirmation: Option<PendingAction>) {
    if let Some(slot) = missing_slot(work, action) {
        work.degrade(Stage::Act, Reason::SlotMissing, &slot);
        return;
    }
    if let Some(pending) = confirmation {
        work.change(Change::PendingClosed { id: pending.id, ending: PendingEnding::Executed });
    }
    work.ended = "executed";
    let flow = Arc::clone(&work.flow);
    for (slot, source) in &action.results {
        let slot = flow.slot(*slot);
        match result_value(source, &slot.kind, given) {
            Some(value) => work.change(Change::SlotSet { slot: Arc::clone(&slot.name), value }),
            None => work.degrade(Stage::Act, Reason::SlotType, &slot.name),
        }
    }
    work.event(Stage::Act, StageResult::Done, Reason::None, Detail::Name(Arc::clone(&action.name)));
    if let Some(target) = action.on_executed {
        work.propose(By::Action, &action.name, target);
    }
}

fn open(work: &mut Work, action: &Action, id: PendingId) {
    if let Some(slot) = missing_slot(work, action) {
        work.degrade(Stage::Act, Reason::SlotMissing, &slot);
        return;
    }
    let replaced =
        work.state().pending().iter().find(|pending| pending.action == action.name).map(|pending| pending.id);
    if let Some(id) = replaced {
        work.change(Change::PendingClosed { id, ending: PendingEnding::Replaced });
    }
    if work.state().pending().len() >= usize::from(work.flow.limits().pending_actions) {
        work.degrade(Stage::Act, Reason::PendingFull, &action.name);
        return;
    }
    let intent = Arc::clone(&work.flow.state(work.candidate).intent_name);
    let pending = PendingAction {
        id,
        action: Arc::clone(&action.name),
        intent,
        staged_at: work.now,
        staged_turn: work.state().turns(),
    };
    work.change(Change::PendingOpened(pending));
    work.event(Stage::Act, StageResult::Asked, Reason::None, Detail::Name(Arc::clone(&action.name)));
}

fn result_value(source: &ResultSource, kind: &SlotKind, given: &Given) -> Option<SlotValue> {
    match source {
        ResultSource::Value(value) => Some(value.clone()),
        ResultSource::Reference { prefix, length } => kind.parse(&reference(prefix, *length, given.identifier)),
        ResultSource::ExecutedAt if matches!(kind, SlotKind::Date { .. }) => {
            Date::from_unix_days(given.time.as_micros() / MICROS_PER_DAY).map(SlotValue::Date)
        }
        ResultSource::ExecutedAt => kind.parse(&rfc3339(given.time)?),
    }
}

const MICROS_PER_DAY: u64 = 86_400_000_000;
/// Digits and capitals without those that are mistaken for others (I, L, O, U).
const ALPHABET: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// `prefix` and `length` letters of an identifier, five bits each.
fn reference(prefix: &str, length: u8, identifier: [u8; 16]) -> String {
    let mut bits = u128::from_le_bytes(identifier);
    let mut text = String::with_capacity(prefix.len() + usize::from(length));
    text.push_str(prefix);
    for _ in 0..length {
        let letter = ALPHABET.get(usize::try_from(bits & 31).unwrap_or_default());
        text.extend(letter.map(|letter| char::from(*letter)));
        bits >>= 5;
    }
    text
}

/// `YYYY-MM-DDTHH:MM:SSZ`, without a fraction.
fn rfc3339(time: Timestamp) -> Option<String> {
    let date = Date::from_unix_days(time.as_micros() / MICROS_PER_DAY)?;
    let seconds = time.as_micros() % MICROS_PER_DAY / 1_000_000;
    Some(format!("{date}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(Timestamp::from_micros(0)).as_deref(), Some("1970-01-01T00:00:00Z"));
        let leap_day = Timestamp::from_micros(1_709_251_199_999_999);
        assert_eq!(rfc3339(leap_day).as_deref(), Some("2024-02-29T23:59:59Z"));
        assert_eq!(rfc3339(Timestamp::from_micros(1_709_251_200_000_000)).as_deref(), Some("2024-03-01T00:00:00Z"));
    }

    #[test]
    fn a_reference_uses_the_whole_identifier_up_to_its_length() {
        assert_eq!(reference("C-", 8, [0; 16]), "C-00000000");
        assert_eq!(reference("", 4, [0xff; 16]), "ZZZZ");
        assert_ne!(reference("", 8, 1_u128.to_le_bytes()), reference("", 8, 2_u128.to_le_bytes()));
    }
}
