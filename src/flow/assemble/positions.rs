//! The index by position: what applies in each state.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{AssembleError, names::Names};
use crate::{
    classify::{Classifier, Signal, number},
    entries::{State, Until},
    index::{EnrichmentIx, IntentIx, PlannerIx, ResponseIx, RuleIx, SlotIx, StateIx},
    parts::{FlowParts, IntentPart, Place, Scope, StatePart},
    transition::{By, ByMask, Moves, Targets},
};

/// What recognises the intents a state leads to, and its own.
pub(super) type Recognisers = (Arc<Classifier>, Option<Arc<Classifier>>);

/// Classifiers by their candidates.
struct Built<'p> {
    parts: &'p FlowParts,
    sets: HashMap<Vec<u16>, Arc<Classifier>>,
}

impl Built<'_> {
    fn classifier(&mut self, candidates: &[u16]) -> Result<Arc<Classifier>, AssembleError> {
        if let Some(classifier) = self.sets.get(candidates) {
            return Ok(Arc::clone(classifier));
        }
        let rows = candidates.iter().filter_map(|place| {
            let intent = self.parts.intents.get(usize::from(*place))?;
            Some((IntentIx(*place), intent.priority, intent.signals.as_slice() as &[Signal]))
        });
        let classifier = Arc::new(Classifier::build(rows, self.parts.understanding.likeness)?);
        self.sets.insert(candidates.to_vec(), Arc::clone(&classifier));
        Ok(classifier)
    }
}

impl Names {
    pub(super) fn targets(&self, parts: &FlowParts) -> Result<Vec<Targets>, AssembleError> {
        let mut own = vec![Moves::default(); self.places.len()];
        let mut anywhere = Moves::default();
        for transition in &parts.transitions {
            let to = self.state(&transition.to)?;
            if transition.from == Scope::Everywhere {
                anywhere.add(to, transition.by);
                continue;
            }
            for from in self.scope(&transition.from)? {
                if let Some(moves) = own.get_mut(from.at()) {
                    moves.add(to, transition.by);
                }
            }
        }
        let anywhere = Arc::new(anywhere);
        Ok(own.into_iter().map(|own| Targets { own, anywhere: Arc::clone(&anywhere) }).collect())
    }

    /// For each state what recognises the intents it leads to, and what recognises its own when it does not
    /// lead there. One classifier per distinct set of candidates: states with the same ways out share it.
    pub(super) fn classifiers(
        &self,
        parts: &FlowParts,
        targets: &[Targets],
    ) -> Result<Vec<Recognisers>, AssembleError> {
        let mut begins: HashMap<StateIx, u16> = HashMap::new();
        for (place, intent) in parts.intents.iter().enumerate() {
            let initial = Place { intent: Arc::clone(&intent.name), state: Arc::clone(&intent.initial) };
            begins.insert(self.state(&initial)?, number(place));
        }
        // The intent that begins at a target, if the target may be reached by recognising it.
        let begun = |(to, mask): (StateIx, ByMask)| {
            let place = *begins.get(&to)?;
            let digression = parts.intents.get(usize::from(place)).is_some_and(|intent| intent.digression);
            (mask.allows(By::Intent) || (digression && mask.allows(By::Digression))).then_some(place)
        };
        let anywhere = targets.first().map(|targets| Arc::clone(&targets.anywhere)).unwrap_or_default();
        // Starting over needs no declared way: it leads to the start.
        let resets = parts.intents.iter().enumerate().filter(|(_, intent)| intent.reset);
        let mut shared: Vec<u16> = resets.map(|(place, _)| number(place)).collect();
        shared.extend(anywhere.iter().filter_map(begun));
        shared.sort_unstable();
        shared.dedup();
        let mut built = Built { parts, sets: HashMap::new() };
        let common = built.classifier(&shared)?;
        let mut recognisers = Vec::with_capacity(targets.len());
        for (place, targets) in self.places.iter().zip(targets) {
            let mut more: Vec<u16> = targets.own.iter().filter_map(begun).collect();
            more.retain(|candidate| shared.binary_search(candidate).is_err());
            let own = self.intents.get(&place.intent).map(|intent| intent.0);
            let missing = own.filter(|own| shared.binary_search(own).is_err() && !more.contains(own));
            let reached = if more.is_empty() {
                Arc::clone(&common)
            } else {
                more.extend(&shared);
                more.sort_unstable();
                more.dedup();
                built.classifier(&more)?
            };
            let recognised =
                |own: &u16| parts.intents.get(usize::from(*own)).is_some_and(|own| !own.signals.is_empty());
            let own = missing.filter(recognised).map(|own| built.classifier(&[own])).transpose()?;
            recognisers.push((reached, own));
        }
        Ok(recognisers)
    }

    pub(super) fn states(
        &self,
        parts: &mut FlowParts,
        targets: Vec<Targets>,
        classifiers: Vec<Recognisers>,
    ) -> Result<Vec<State>, AssembleError> {
        let mut targets = targets.into_iter();
        let mut classifiers = classifiers.into_iter();
        let mut states = Vec::with_capacity(self.places.len());
        for (intent_place, intent) in parts.intents.iter_mut().enumerate() {
            for mut state in std::mem::take(&mut intent.states) {
                let (Some(targets), Some((classifier, own_classifier))) = (targets.next(), classifiers.next()) else {
                    break;
                };
                let until = state.until.take().map(|until| {
                    let go = self.state(&until.go)?;
                    Ok::<_, AssembleError>(Until { when: until.when, go })
                });
                let asks = self.asks(intent, &state)?;
                let collect: BTreeSet<SlotIx> = asks.iter().copied().collect();
                states.push(State {
                    intent: IntentIx(number(intent_place)),
                    intent_name: Arc::clone(&intent.name),
                    full_name: format!("{}.{}", intent.name, state.name).into(),
                    name: state.name,
                    terminal: state.terminal,
                    boundary: state.boundary,
                    collect: collect.into_iter().collect(),
                    asks,
                    until: until.transpose()?,
                    enrichments: Vec::new(),
                    planners: Vec::new(),
                    classifier,
                    own_classifier,
                    rules: Default::default(),
                    responses: Vec::new(),
                    resumes: Vec::new(),
                    targets,
                });
            }
        }
        self.attach_rules(parts, &mut states)?;
        self.attach_responses(parts, &mut states)?;
        let enrichments = parts.enrichments.iter().map(|part| &part.scope);
        self.attach(enrichments, &mut states, |state, place| state.enrichments.push(EnrichmentIx(place)))?;
        let planners = parts.planners.iter().map(|part| &part.scope);
        self.attach(planners, &mut states, |state, place| state.planners.push(PlannerIx(place)))?;
        Ok(states)
    }

    /// What a state collects in the order it is asked for: its own slots, then those of its intent.
    fn asks(&self, intent: &IntentPart, state: &StatePart) -> Result<Vec<SlotIx>, AssembleError> {
        let mut asks = Vec::new();
        for name in state.collect.iter().chain(&intent.collect) {
            let slot = self.slot(name)?;
            if !asks.contains(&slot) {
                asks.push(slot);
            }
        }
        Ok(asks)
    }

    /// Tells each state of each scope the place of its row.
    fn attach<'s>(
        &self,
        scopes: impl Iterator<Item = &'s Scope>,
        states: &mut [State],
        push: impl Fn(&mut State, u16),
    ) -> Result<(), AssembleError> {
        for (place, scope) in scopes.enumerate() {
            for state in self.scope(scope)? {
                states.get_mut(state.at()).into_iter().for_each(|state| push(state, number(place)));
            }
        }
        Ok(())
    }

    fn attach_rules(&self, parts: &FlowParts, states: &mut [State]) -> Result<(), AssembleError> {
        let mut order: Vec<usize> = (0..parts.rules.len()).collect();
        order.sort_by_key(|place| parts.rules.get(*place).map(|rule| (std::cmp::Reverse(rule.priority), *place)));
        for place in order {
            let Some(rule) = parts.rules.get(place) else { continue };
            for state in self.scope(&rule.scope)? {
                let rules = states.get_mut(state.at()).and_then(|state| state.rules.get_mut(rule.phase as usize));
                rules.into_iter().for_each(|rules| rules.push(RuleIx(number(place))));
            }
        }
        Ok(())
    }

    fn attach_responses(&self, parts: &FlowParts, states: &mut [State]) -> Result<(), AssembleError> {
        let rows = parts.responses.iter().enumerate();
        let (particular, general): (Vec<_>, Vec<_>) = rows.partition(|(_, row)| matches!(row.scope, Scope::At(_)));
        for (place, row) in particular.into_iter().chain(general) {
            for state in self.scope(&row.scope)? {
                let Some(state) = states.get_mut(state.at()) else { continue };
                let list = if row.resume { &mut state.resumes } else { &mut state.responses };
                list.push(ResponseIx(number(place)));
            }
        }
        Ok(())
    }
}
