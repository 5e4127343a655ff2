//! Every move that rules and actions can propose is declared.

use std::sync::Arc;

use colloquy_flow::{Place, transition::By};

use crate::{
    check::view::{At as Position, View},
    fault::{At, Faults},
    source::{SourceAction, SourceEffect, SourcePlanner, SourceRule},
};

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    let moves = Moves { view };
    for (rule, at) in view.source.rules.iter().zip(&view.rules) {
        moves.rule(rule, at, faults);
    }
    moves.until(faults);
    for (planner, at) in view.source.planners.iter().zip(&view.planners) {
        moves.planner(planner, at, faults);
    }
}

struct Moves<'v, 's> {
    view: &'v View<'s>,
}

impl Moves<'_, '_> {
    fn allows(&self, from: Position, to: Position, by: By) -> bool {
        from == to || self.view.allows(from, to, by)
    }

    /// Reports the first undeclared way from `from` to `to`; places that do not exist are told elsewhere.
    fn need(&self, from: &[Position], to: &At<Place>, by: By, who: &str, faults: &mut Faults) {
        let Some(target) = self.view.find(&to.value) else { return };
        let mut missing = from.iter().filter(|from| !self.allows(**from, target, by));
        let Some(first) = missing.next().map(|first| self.view.name(*first)) else { return };
        let others = missing.count();
        let others = if others > 0 { format!(" and from {others} other states") } else { String::new() };
        let message =
            format!("{who} leads from {first} to {}{others}, which is not declared for {}", to.value, by.name());
        let fix = format!("add to transitions: {{from: {first}, to: {}, by: {}}}", to.value, by.name());
        faults.error("undeclared-transition", &to.mark, message, fix);
    }

    fn rule(&self, rule: &SourceRule, at: &[Position], faults: &mut Faults) {
        let mut led = None;
        for effect in &rule.then {
            let target = match effect {
                SourceEffect::Go(place) => Some(place.clone()),
                SourceEffect::Intent(name) => {
                    self.initial(&name.value).map(|value| At { value, mark: name.mark.clone() })
                }
                _ => None,
            };
            if let Some(target) = target {
                self.need(at, &target, By::Rule, &format!("rule {:?}", rule.id.value), faults);
                led = Some(target.value);
            }
        }
        // An action is opened or run once the rules are through: where the rule leads, or where it applies.
        let led: Option<Vec<Position>> = led.map(|place| self.view.find(&place).into_iter().collect());
        let at = led.as_deref().unwrap_or(at);
        for effect in &rule.then {
            if let SourceEffect::Stage(name) = effect
                && let Some(action) = self.view.source.action(&name.value)
            {
                self.action(action, at, faults);
            }
        }
    }

    fn action(&self, action: &SourceAction, at: &[Position], faults: &mut Faults) {
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

    /// What a planner calls leads on from wherever the planner works and the action may run.
    fn planner(&self, planner: &SourcePlanner, at: &[Position], faults: &mut Faults) {
        for tool in planner.tools.iter().filter_map(|tool| self.view.source.action(&tool.value)) {
            let place = tool.scope.as_ref().map(|scope| self.view.positions(scope));
            let runs = |at: &Position| place.as_ref().is_none_or(|place| place.binary_search(at).is_ok());
            let at: Vec<Position> = at.iter().copied().filter(runs).collect();
            self.action(tool, &at, faults);
        }
    }

    /// A state that collects leads on like a rule.
    fn until(&self, faults: &mut Faults) {
        for intent in &self.view.source.intents {
            for state in &intent.states {
                let Some(until) = &state.until else { continue };
                let place = Place { intent: Arc::clone(&intent.name.value), state: Arc::clone(&state.name.value) };
                let from: Vec<Position> = self.view.find(&place).into_iter().collect();
                self.need(&from, &until.go, By::Rule, "what it collects until", faults);
            }
        }
    }

    fn initial(&self, intent: &str) -> Option<Place> {
        let intent = self.view.source.intent(intent)?;
        let state = Arc::clone(&intent.initial.as_ref()?.value);
        Some(Place { intent: Arc::clone(&intent.name.value), state })
    }
}
