//! Every state can be reached, and every conversation can come to an end.

use std::collections::VecDeque;

use crate::{
    check::view::{At, View, index},
    fault::Faults,
    source::{SourceIntent, SourceState},
};

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    let Some(start) = view.start().filter(|_| view.is_whole()) else { return };
    let reached = Reached::from(view, start);
    let ending = ending(view);
    for (at, (intent, state)) in (0..).zip(states(view)) {
        let mark = &state.name.mark;
        let named = format!("{}.{}", intent.name.value, state.name.value);
        // An intent that starts the conversation over is recognised, but never entered.
        if !reached.contains(at) && intent.reset {
            continue;
        }
        if !reached.contains(at) {
            let message = format!("no declared transition leads to {named}");
            faults.error("unreachable-state", mark, message, "declare a transition to it, or remove it");
            continue;
        }
        if state.terminal {
            continue;
        }
        let fix = "declare a transition that leads on, or mark it terminal: true";
        if view.ways(at).next().is_none() {
            let message = format!("{named} is not terminal, but nothing leads out of it");
            faults.on_path("dead-end", mark, message, reached.path(view, at), fix);
        } else if let Some(ending) = &ending
            && !ends(ending, at)
            && reached.came_from(at).is_none_or(|before| ends(ending, before))
        {
            let message = format!("from {named} on, no terminal state can be reached");
            faults.on_path("dead-end", mark, message, reached.path(view, at), fix);
        }
    }
}

fn states<'s>(view: &View<'s>) -> impl Iterator<Item = (&'s SourceIntent, &'s SourceState)> {
    view.source.intents.iter().flat_map(|intent| intent.states.iter().map(move |state| (intent, state)))
}

fn ends(ending: &[bool], at: At) -> bool {
    ending.get(index(at)).copied().unwrap_or(true)
}

/// From which positions a terminal state can be reached. `None` when the flow has no terminal state: such a
/// conversation is meant to go on.
fn ending(view: &View<'_>) -> Option<Vec<bool>> {
    let mut ending: Vec<bool> = states(view).map(|(_, state)| state.terminal).collect();
    let mut queue: VecDeque<At> =
        (0..).zip(&ending).filter(|(_, terminal)| **terminal).map(|(at, _): (At, _)| at).collect();
    if queue.is_empty() {
        return None;
    }
    let mut before: Vec<Vec<At>> = vec![Vec::new(); ending.len()];
    for (from, ways) in (0..).zip(&view.declared) {
        for (to, _) in ways {
            if let Some(before) = before.get_mut(index(*to)) {
                before.push(from);
            }
        }
    }
    while let Some(at) = queue.pop_front() {
        // What ends and may be gone to from everywhere is an end for every position.
        if view.everywhere.contains_key(&at) {
            ending.fill(true);
            return Some(ending);
        }
        for from in before.get(index(at)).into_iter().flatten() {
            if let Some(known) = ending.get_mut(index(*from)).filter(|known| !**known) {
                *known = true;
                queue.push_back(*from);
            }
        }
    }
    Some(ending)
}

/// What can be reached from the start, and over which position first.
struct Reached {
    start: At,
    before: Vec<Option<At>>,
}

impl Reached {
    fn from(view: &View<'_>, start: At) -> Self {
        let mut before = vec![None; view.places.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for to in view.ways(at) {
                if let Some(held) = before.get_mut(index(to)).filter(|held| held.is_none() && to != start) {
                    *held = Some(at);
                    queue.push_back(to);
                }
            }
        }
        Self { start, before }
    }

    fn came_from(&self, at: At) -> Option<At> {
        self.before.get(index(at)).copied().flatten()
    }

    fn contains(&self, at: At) -> bool {
        at == self.start || self.came_from(at).is_some()
    }

    /// The shortest way from the start, at most as long as there are positions.
    fn path(&self, view: &View<'_>, at: At) -> Vec<String> {
        let mut path = vec![view.name(at)];
        let mut here = at;
        while let Some(before) = self.came_from(here) {
            path.push(view.name(before));
            here = before;
        }
        path.reverse();
        path
    }
}
