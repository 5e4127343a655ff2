//! Upgrades lead to what this revision declares, to each slot once, and each entry can apply.

use std::collections::HashMap;

use colloquy_flow::{Place, UpgradeFrom};

use crate::{
    fault::{At, Faults},
    reader,
    source::{SourceFlow, SourceUpgrade},
};

pub(super) fn check(source: &SourceFlow, faults: &mut Faults) {
    let mut everything = false;
    for upgrade in &source.upgrades {
        if everything {
            let message = "this upgrade never applies: one before it applies to every revision";
            faults.warn("upgrade-never-applies", &upgrade.mark, message, "put the entry with from: \"*\" last");
        }
        everything |= upgrade.from == UpgradeFrom::Any;
        targets(source, upgrade, faults);
        once(upgrade, faults);
    }
}

fn targets(source: &SourceFlow, upgrade: &SourceUpgrade, faults: &mut Faults) {
    for (_, place) in &upgrade.states {
        self::place(source, place, faults);
    }
    let slots: Vec<&str> = source.slots.iter().map(|slot| slot.name.value.as_ref()).collect();
    for slot in upgrade.slots.iter().filter_map(|(_, slot)| slot.as_ref()) {
        known("unknown-slot", "slot", &slot.value, slot, &slots, faults);
    }
    let flags: Vec<&str> = source.flags.iter().map(|flag| flag.name.value.as_ref()).collect();
    for flag in upgrade.flags.iter().filter_map(|(_, flag)| flag.as_ref()) {
        known("unknown-flag", "flag", &flag.value, flag, &flags, faults);
    }
}

fn place(source: &SourceFlow, place: &At<Place>, faults: &mut Faults) {
    let Some(intent) = source.intent(&place.value.intent) else {
        let intents: Vec<&str> = source.intents.iter().map(|intent| intent.name.value.as_ref()).collect();
        return known("unknown-intent", "intent", &place.value.intent, place, &intents, faults);
    };
    let states: Vec<&str> = intent.states.iter().map(|state| state.name.value.as_ref()).collect();
    let what = format!("state in intent {:?} called", place.value.intent);
    known("unknown-state", &what, &place.value.state, place, &states, faults);
}

fn known<T>(id: &'static str, what: &str, name: &str, at: &At<T>, known: &[&str], faults: &mut Faults) {
    if known.contains(&name) {
        return;
    }
    let fix = match reader::nearest(name, known) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("use one of {}", known.join(", ")),
    };
    faults.error(id, &at.mark, format!("this revision has no {what} {name:?}"), fix);
}

/// Two old slots that become one would both want to fill it.
fn once(upgrade: &SourceUpgrade, faults: &mut Faults) {
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for (old, new) in &upgrade.slots {
        let Some(new) = new else { continue };
        if let Some(other) = taken.insert(&new.value, old) {
            let message = format!("slots {other:?} and {old:?} both become {:?}", new.value);
            faults.error("upgrade-collision", &new.mark, message, "map one of them to null, or to another slot");
        }
    }
}
