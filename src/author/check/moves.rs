//! Every move that rules and actions can propose is declared, and every state can be reached.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use colloquy_flow::{
    Place, Scope,
    transition::{By, ByMask},
};

use crate::{
    fault::{At, Faults},
    reader,
    source::{SourceAction, SourceEffect, SourceFlow, SourceRule},
};

pub(super) fn check(source: &SourceFlow, faults: &mut Faults) {
    let moves = Moves::of(source);
    for rule in &source.rules {
        moves.rule(rule, faults);
    }
    moves.until(faults);
    if moves.every_place_is_known() {
        moves.reach(faults);
    }
    moves.recognised(faults);
}

struct Moves<'s> {
    source: &'s SourceFlow,
    every: Vec<Place>,
    known: HashSet<Place>,
    /// Moves declared from everywhere, then those of each position, by target.
    anywhere: HashMap<Place, ByMask>,
    declared: HashMap<Place, HashMap<Place, ByMask>>,
}

impl<'s> Moves<'s> {
    fn of(source: &'s SourceFlow) -> Self {
        let every = source.places();
        let known: HashSet<Place> = every.iter().cloned().collect();
        let mut anywhere: HashMap<Place, ByMask> = HashMap::new();
        let mut declared: HashMap<Place, HashMap<Place, ByMask>> = HashMap::new();
        let declare = |moves: &mut HashMap<Place, ByMask>, to: &Place, by: ByMask| {
            let mask = moves.entry(to.clone()).or_default();
            *mask = mask.union(by);
        };
        for transition in &source.transitions {
            match reader::resolve(&transition.from, &every) {
                Scope::Everywhere => declare(&mut anywhere, &transition.to.value, transition.by),
                Scope::At(places) => {
                    for from in places {
                        declare(declared.entry(from).or_default(), &transition.to.value, transition.by);
                    }
                }
            }
        }
        Self { source, every, known, anywhere, declared }
    }

    /// Whether what can be reached can be told: a misspelt position would make half the flow unreachable.
    fn every_place_is_known(&self) -> bool {
        let written = self.source.transitions.iter().map(|transition| &transition.to);
        let mut ends = written.chain(&self.source.start).map(|place| &place.value).chain(self.declared.keys());
        ends.all(|place| self.known.contains(place))
    }

    fn allows(&self, from: &Place, to: &Place, by: By) -> bool {
        let own = self.declared.get(from).and_then(|targets| targets.get(to)).copied().unwrap_or_default();
        let shared = self.anywhere.get(to).copied().unwrap_or_default();
        from == to || own.union(shared).allows(by)
    }

    /// Reports the first undeclared way from `from` to `to`; places that do not exist are told elsewhere.
    fn need(&self, from: &[Place], to: &At<Place>, by: By, who: &str, faults: &mut Faults) {
        let missing: Vec<&Place> = from
            .iter()
            .filter(|from| self.known.contains(from) && self.known.contains(&to.value))
            .filter(|from| !self.allows(from, &to.value, by))
            .collect();
        let Some(first) = missing.first() else { return };
        let others =
            if missing.len() > 1 { format!(" and from {} other states", missing.len() - 1) } else { String::new() };
        let message =
            format!("{who} leads from {first} to {}{others}, which is not declared for {}", to.value, by.name());
        let fix = format!("add to transitions: {{from: {first}, to: {}, by: {}}}", to.value, by.name());
        faults.error("undeclared-transition", &to.mark, message, fix);
    }

    fn rule(&self, rule: &SourceRule, faults: &mut Faults) {
        let mut at = expand(&reader::resolve(&rule.scope, &self.every), &self.every);
        for effect in &rule.then {
            let target = match effect {
                SourceEffect::Go(place) => Some(place.clone()),
                SourceEffect::Intent(name) => {
                    self.initial(&name.value).map(|value| At { value, mark: name.mark.clone() })
                }
                _ => None,
            };
            if let Some(target) = target {
                self.need(&at, &target, By::Rule, &format!("rule {:?}", rule.id.value), faults);
                at = vec![target.value];
            }
        }
        // An action is opened or run once the rules are through: where the rule leads, or where it applies.
        for effect in &rule.then {
            if let SourceEffect::Stage(name) = effect
                && let Some(action) = self.source.action(&name.value)
            {
                self.action(action, &at, faults);
            }
        }
    }

    fn action(&self, action: &SourceAction, at: &[Place], faults: &mut Faults) {
        let outcomes = [
            (&action.on_executed, By::Action, "once executed"),
            (&action.on_failed, By::Action, "when it failed"),
            (&action.on_rejected, By::Pending, "when rejected"),
            (&action.on_expired, By::Pending, "when expired"),
        ];
        for (target, by, when) in outcomes {
            if let Some(target) = target {
                self.need(at, target, by, &format!("action {:?}, {when},", action.name.value), faults);
            }
        }
    }

    /// A state that collects leads on like a rule.
    fn until(&self, faults: &mut Faults) {
        for intent in &self.source.intents {
            for state in &intent.states {
                let Some(until) = &state.until else { continue };
                let place = Place { intent: Arc::clone(&intent.name.value), state: Arc::clone(&state.name.value) };
                self.need(&[place], &until.go, By::Rule, "what it collects until", faults);
            }
        }
    }

    fn initial(&self, intent: &str) -> Option<Place> {
        let intent = self.source.intent(intent)?;
        let state = Arc::clone(&intent.initial.as_ref()?.value);
        Some(Place { intent: Arc::clone(&intent.name.value), state })
    }

    fn reach(&self, faults: &mut Faults) {
        let Some(start) = &self.source.start else { return };
        let mut reached: HashSet<&Place> = HashSet::from([&start.value]);
        let mut queue = VecDeque::from([&start.value]);
        for target in self.anywhere.keys() {
            if reached.insert(target) {
                queue.push_back(target);
            }
        }
        while let Some(place) = queue.pop_front() {
            for target in self.declared.get(place).into_iter().flat_map(HashMap::keys) {
                if reached.insert(target) {
                    queue.push_back(target);
                }
            }
        }
        // An intent that starts the conversation over is recognised, but never entered.
        for intent in self.source.intents.iter().filter(|intent| !intent.reset) {
            for state in &intent.states {
                let place = Place { intent: Arc::clone(&intent.name.value), state: Arc::clone(&state.name.value) };
                if !reached.contains(&place) {
                    let message = format!("no declared transition leads to {place}");
                    faults.error(
                        "unreachable-state",
                        &state.name.mark,
                        message,
                        "declare a transition to it, or remove it",
                    );
                }
                if !state.terminal && self.anywhere.is_empty() && !self.declared.contains_key(&place) {
                    let message = format!("{place} is not terminal, but nothing leads out of it");
                    faults.warn(
                        "dead-end",
                        &state.name.mark,
                        message,
                        "declare a transition, or mark it terminal: true",
                    );
                }
            }
        }
    }

    /// Warns of intents that are recognised by something, but may be chosen nowhere.
    fn recognised(&self, faults: &mut Faults) {
        let mut chosen: HashMap<&Place, ByMask> = HashMap::new();
        for transition in &self.source.transitions {
            let mask = chosen.entry(&transition.to.value).or_default();
            *mask = mask.union(transition.by);
        }
        for intent in self.source.intents.iter().filter(|intent| !intent.signals.is_empty() && !intent.reset) {
            let Some(initial) = self.initial(&intent.name.value) else { continue };
            let by = chosen.get(&initial).copied().unwrap_or_default();
            let chosen =
                by.allows(By::Intent) || by.allows(By::Model) || (intent.digression && by.allows(By::Digression));
            if !chosen {
                let message = format!("intent {:?} is recognised, but no transition lets it begin", intent.name.value);
                let fix = format!("add to transitions: {{from: \"*\", to: {initial}, by: intent}}");
                faults.warn("intent-never-chosen", &intent.name.mark, message, fix);
            }
        }
    }
}

fn expand(scope: &Scope, every: &[Place]) -> Vec<Place> {
    match scope {
        Scope::Everywhere => every.to_vec(),
        Scope::At(places) => places.clone(),
    }
}
