//! Transitions that are declared for somebody who never proposes them, and intents that no transition lets begin.
//!
//! Only what is certain is reported: for rules, that none which leads there applies in a position the
//! transition leads from; for the others, that nothing of their kind leads there from anywhere.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use colloquy_flow::{
    Place, RulePhase,
    transition::{By, ByMask},
};

use crate::{
    check::view::{At, View},
    fault::{At as Placed, Faults},
    source::{SourceAction, SourceEffect, SourceTransition},
};

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    recognised(view, faults);
    let proposers = Proposers::of(view);
    for (to, rows) in rows_by_target(view) {
        let led = proposers.led(view, to);
        for (row, from) in rows {
            for by in By::ALL.into_iter().filter(|by| row.by.allows(*by)) {
                let proposed = match by {
                    By::Rule => meets(&led, from),
                    // What structured input names may begin as a digression where it may not begin otherwise.
                    By::Digression if !row.by.allows(By::Intent) => proposers.begins.contains(&to),
                    by => proposers.propose(by, to),
                };
                if !proposed {
                    let message = format!("{} never leads from here to {}: {}", by.name(), row.to.value, why(by));
                    let fix = format!("remove {} from by, or the whole transition", by.name());
                    faults.warn("transition-never-proposed", &row.to.mark, message, fix);
                }
            }
        }
    }
}

/// A transition, and from where it leads; `None` for everywhere.
type Row<'v> = (&'v SourceTransition, Option<&'v [At]>);

/// Transitions that lead from somewhere to somewhere, by where they lead to.
fn rows_by_target<'v>(view: &'v View<'_>) -> BTreeMap<At, Vec<Row<'v>>> {
    let mut rows: BTreeMap<At, Vec<Row<'v>>> = BTreeMap::new();
    for (row, from) in view.source.transitions.iter().zip(&view.transitions) {
        if let Some(to) = view.find(&row.to.value)
            && from.as_ref().is_none_or(|from| !from.is_empty())
        {
            rows.entry(to).or_default().push((row, from.as_deref()));
        }
    }
    rows
}

/// Whether something that applies in `led` applies in any of these positions; `None` for everywhere.
fn meets(led: &HashSet<At>, from: Option<&[At]>) -> bool {
    from.map_or(!led.is_empty(), |from| from.iter().any(|from| led.contains(from)))
}

/// Warns of intents that are recognised by something, but may be chosen nowhere.
fn recognised(view: &View<'_>, faults: &mut Faults) {
    let mut entries: HashMap<At, ByMask> = HashMap::new();
    for (row, to) in view.source.transitions.iter().filter_map(|row| Some((row, view.find(&row.to.value)?))) {
        let by = entries.entry(to).or_default();
        *by = by.union(row.by);
    }
    for intent in view.source.intents.iter().filter(|intent| !intent.signals.is_empty() && !intent.reset) {
        let Some(initial) = view.initial(&intent.name.value) else { continue };
        let chosen = entries.get(&initial).is_some_and(|by| {
            by.allows(By::Intent) || by.allows(By::Model) || (intent.digression && by.allows(By::Digression))
        });
        if !chosen {
            let message = format!("intent {:?} is recognised, but no transition lets it begin", intent.name.value);
            let fix = format!("add to transitions: {{from: \"*\", to: {}, by: intent}}", view.name(initial));
            faults.warn("intent-never-chosen", &intent.name.mark, message, fix);
        }
    }
}

const fn why(by: By) -> &'static str {
    match by {
        By::Rule => "no rule and no until that applies there leads to it",
        By::Action => "no action that a rule stages or a planner lists leads to it when it is executed or fails",
        By::Pending => "no action that is confirmed leads to it when it is rejected or expires",
        By::Intent => "no intent begins there",
        By::Digression => "no intent that is a digression begins there",
        By::Model => "no intent that a model may choose begins there",
    }
}

/// Who leads where.
#[derive(Default)]
struct Proposers {
    /// Rules by the position they lead to.
    rules: HashMap<At, Vec<usize>>,
    /// By the position it leads to, where a state leads on when it is complete.
    untils: HashMap<At, Vec<At>>,
    actions: HashSet<At>,
    pending: HashSet<At>,
    begins: HashSet<At>,
    digressions: HashSet<At>,
    model: bool,
}

impl Proposers {
    fn of(view: &View<'_>) -> Self {
        let source = view.source;
        let mut proposers = Self { model: source.understanding.model.is_some(), ..Self::default() };
        for (place, rule) in source.rules.iter().enumerate() {
            if rule.phase != RulePhase::BeforeResponse
                && let Some(to) = view.target(&rule.then)
            {
                proposers.rules.entry(to).or_default().push(place);
            }
        }
        for intent in &source.intents {
            for state in &intent.states {
                let place = Place { intent: Arc::clone(&intent.name.value), state: Arc::clone(&state.name.value) };
                let to = state.until.as_ref().and_then(|until| view.find(&until.go.value));
                if let Some((to, from)) = to.zip(view.find(&place)) {
                    proposers.untils.entry(to).or_default().push(from);
                }
            }
            if let Some(initial) = view.initial(&intent.name.value) {
                proposers.begins.insert(initial);
                if intent.digression {
                    proposers.digressions.insert(initial);
                }
            }
        }
        proposers.staged(view);
        proposers
    }

    fn staged(&mut self, view: &View<'_>) {
        let effects = view.source.rules.iter().flat_map(|rule| &rule.then);
        let staged = effects.filter_map(|effect| match effect {
            SourceEffect::Stage(name) => Some(name.value.as_ref()),
            _ => None,
        });
        let planned = view.source.planners.iter().flat_map(|planner| &planner.tools).map(|tool| tool.value.as_ref());
        let staged: HashSet<&str> = staged.chain(planned).collect();
        let find = |place: &Option<Placed<Place>>| view.find(&place.as_ref()?.value);
        let there = |action: &&SourceAction| staged.contains(action.name.value.as_ref());
        for action in view.source.actions.iter().filter(there) {
            self.actions.extend([&action.on_executed, &action.on_failed].into_iter().filter_map(find));
            self.pending.extend([&action.on_rejected, &action.on_expired].into_iter().filter_map(find));
        }
    }

    /// Where rules and states that lead to this position apply.
    fn led(&self, view: &View<'_>, to: At) -> HashSet<At> {
        let rules = self.rules.get(&to).into_iter().flatten();
        let at = rules.filter_map(|place| view.rules.get(*place)).flatten();
        at.chain(self.untils.get(&to).into_iter().flatten()).copied().collect()
    }

    fn propose(&self, by: By, to: At) -> bool {
        match by {
            By::Rule => self.rules.contains_key(&to) || self.untils.contains_key(&to),
            By::Action => self.actions.contains(&to),
            By::Pending => self.pending.contains(&to),
            By::Intent => self.begins.contains(&to),
            By::Digression => self.digressions.contains(&to),
            By::Model => self.model && self.begins.contains(&to),
        }
    }
}
