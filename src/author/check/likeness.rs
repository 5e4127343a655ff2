//! Intents that are recognised by the same.
//!
//! Two intents of equal priority with the same pattern, keywords or example, which may both be chosen in one
//! position, are told apart by the order in which they are declared, or not at all.

use std::collections::{BTreeMap, HashMap, HashSet};

use colloquy_flow::{Signal, transition::By};

use crate::{
    check::view::{At, View},
    fault::Faults,
    source::SourceIntent,
};

/// Most positions that are compared; hostile flows have too many intents that are alike.
const STEPS_MAX: usize = 2_000_000;

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    let mut alike: BTreeMap<(i32, String), Vec<usize>> = BTreeMap::new();
    for (place, intent) in view.source.intents.iter().enumerate() {
        let keys: HashSet<String> = intent.signals.iter().map(key).collect();
        for key in keys {
            alike.entry((intent.priority, key)).or_default().push(place);
        }
    }
    let entries = entries(view);
    let mut told: HashSet<(usize, usize)> = HashSet::new();
    let mut steps = 0_usize;
    for ((_, key), intents) in alike.into_iter().filter(|(_, intents)| intents.len() > 1) {
        let mut first: HashMap<At, usize> = HashMap::new();
        for place in intents {
            let Some(intent) = view.source.intents.get(place) else { continue };
            let at = choosable(view, intent, &entries);
            steps = steps.saturating_add(at.len());
            let common = at.iter().find_map(|at| Some((*at, *first.get(at)?)));
            for at in at {
                first.entry(at).or_insert(place);
            }
            if let Some((at, earlier)) = common
                && told.insert((earlier, place))
                && let Some(earlier) = view.source.intents.get(earlier)
            {
                report(view, at, earlier, intent, &key, faults);
            }
            if steps > STEPS_MAX || faults.is_full() {
                return;
            }
        }
    }
}

/// What makes two signals the same: the pattern, or the words in any order.
fn key(signal: &Signal) -> String {
    let sorted = |words: &[std::sync::Arc<str>]| {
        let mut words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        words.sort_unstable();
        words.dedup();
        words.join(" ")
    };
    match signal {
        Signal::Pattern(pattern) => format!("the pattern {:?}", pattern.source()),
        Signal::Keywords(words) => format!("the keywords {}", sorted(words)),
        Signal::Example(words) => format!("an example with the words {}", sorted(words)),
    }
}

/// Transitions by the position they lead to.
fn entries(view: &View<'_>) -> HashMap<At, Vec<usize>> {
    let mut entries: HashMap<At, Vec<usize>> = HashMap::new();
    for (place, row) in view.source.transitions.iter().enumerate() {
        if let Some(to) = view.find(&row.to.value) {
            entries.entry(to).or_default().push(place);
        }
    }
    entries
}

/// Where the intent may be recognised: where a transition lets it begin, and in its own states.
fn choosable(view: &View<'_>, intent: &SourceIntent, entries: &HashMap<At, Vec<usize>>) -> Vec<At> {
    let initial = view.initial(&intent.name.value);
    let mut at = view.of_intent(&intent.name.value);
    for place in initial.and_then(|initial| entries.get(&initial)).into_iter().flatten() {
        let (Some(row), Some(from)) = (view.source.transitions.get(*place), view.transitions.get(*place)) else {
            continue;
        };
        if row.by.allows(By::Intent) || (intent.digression && row.by.allows(By::Digression)) {
            match from {
                Some(from) => at.extend(from),
                None => return view.every(),
            }
        }
    }
    at.sort_unstable();
    at.dedup();
    at
}

fn report(view: &View<'_>, at: At, earlier: &SourceIntent, intent: &SourceIntent, key: &str, faults: &mut Faults) {
    let message = format!(
        "intents {:?} and {:?} are both recognised by {key}, with equal priority, for example in {}",
        earlier.name.value,
        intent.name.value,
        view.name(at),
    );
    let fix = "give one a higher priority, or remove it from one of them";
    faults.warn("intent-collision", &intent.name.mark, message, fix);
}
