//! Turns parts into a flow: resolves names and builds the index by position.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    classify::{Classifier, Signal, number},
    flow::{Action, Flow, Intent, Response, Rule, RuleEffect, State},
    index::{ActionIx, IntentIx, ResponseIx, RuleIx, SlotIx, StateIx},
    parts::{ActionPart, FlowParts, Name, Place, RuleEffectPart, Scope},
    pattern::PatternError,
    transition::{By, Targets},
    upgrade::{Upgrade, UpgradePart},
};

/// Most entries of any table: states, rules, slots, actions or responses.
pub const TABLE_ENTRIES_MAX: usize = 10_000;

/// Why parts do not make a flow. The author crate reports these with their place before it comes to this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// A name refers to nothing.
    #[error("unknown {kind} {name:?}")]
    Unknown {
        /// What it should be.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name is declared twice.
    #[error("{kind} {name:?} is declared twice")]
    Duplicate {
        /// What it is.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A table has more than [`TABLE_ENTRIES_MAX`] entries.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// The patterns that apply at one position are too large together.
    #[error("the patterns that apply together are too large")]
    Patterns(#[from] PatternError),
}

impl Flow {
    /// Builds a flow.
    ///
    /// Undeclared targets are not refused: the machine blocks them when they are proposed.
    ///
    /// # Errors
    /// [`AssembleError`] when a name refers to nothing or is declared twice, or a bound is exceeded.
    pub fn assemble(parts: FlowParts) -> Result<Self, AssembleError> {
        let bounded = [
            ("states", parts.intents.iter().map(|intent| intent.states.len()).sum()),
            ("rules", parts.rules.len()),
            ("slots", parts.slots.len()),
            ("actions", parts.actions.len()),
            ("responses", parts.responses.len()),
            ("flags", parts.flags.len()),
            ("upgrades", parts.upgrades.len()),
        ];
        if let Some((kind, _)) = bounded.into_iter().find(|(_, entries)| *entries > TABLE_ENTRIES_MAX) {
            return Err(AssembleError::TooMany(kind));
        }
        let names = Names::collect(&parts)?;
        let targets = names.targets(&parts)?;
        let classifiers = names.classifiers(&parts, &targets)?;
        let states = names.states(&parts, targets, classifiers)?;
        let intents = names.intents(&parts)?;
        let rules =
            parts.rules.iter().map(|rule| rule.then.iter().map(|effect| names.effect(effect, &intents)).collect());
        let effects: Vec<Vec<RuleEffect>> = rules.collect::<Result<_, _>>()?;
        let actions = parts.actions.iter().map(|action| names.action(action)).collect::<Result<_, _>>()?;
        let upgrades = parts.upgrades.into_iter().map(|part| names.upgrade(part)).collect::<Result<_, _>>()?;
        let flags: BTreeSet<Name> = parts.flags.into_iter().collect();
        let start = names.state(&parts.start)?;
        let rules = parts.rules.into_iter().zip(effects);
        Ok(Self {
            name: parts.name,
            revision: parts.revision,
            start,
            limits: parts.limits,
            acts: parts.acts,
            rules: rules.map(|(rule, then)| Rule { id: rule.id, phase: rule.phase, when: rule.when, then }).collect(),
            responses: parts.responses.into_iter().map(|row| Response { when: row.when, text: row.text }).collect(),
            slots: parts.slots,
            flags: flags.into_iter().collect(),
            upgrades,
            intents,
            states,
            actions,
            fallback: parts.fallback,
            clarify: parts.clarify,
            templates: parts.templates,
            intents_by_name: names.intents,
            slots_by_name: names.slots,
            actions_by_name: names.actions,
        })
    }
}

struct Names {
    intents: HashMap<Name, IntentIx>,
    slots: HashMap<Name, SlotIx>,
    actions: HashMap<Name, ActionIx>,
    states: HashMap<Place, StateIx>,
    /// Every state in declared order.
    places: Vec<Place>,
}

fn table<'n, Ix>(
    kind: &'static str,
    names: impl Iterator<Item = &'n Name>,
    index: impl Fn(u16) -> Ix,
) -> Result<HashMap<Name, Ix>, AssembleError> {
    let mut table = HashMap::new();
    for (place, name) in names.enumerate() {
        if table.insert(Arc::clone(name), index(number(place))).is_some() {
            return Err(AssembleError::Duplicate { kind, name: name.to_string() });
        }
    }
    Ok(table)
}

impl Names {
    fn collect(parts: &FlowParts) -> Result<Self, AssembleError> {
        let mut places = Vec::new();
        let mut states = HashMap::new();
        for intent in &parts.intents {
            for state in &intent.states {
                let place = Place { intent: Arc::clone(&intent.name), state: Arc::clone(&state.name) };
                if states.insert(place.clone(), StateIx(number(places.len()))).is_some() {
                    return Err(AssembleError::Duplicate { kind: "state", name: place.to_string() });
                }
                places.push(place);
            }
        }
        Ok(Self {
            intents: table("intent", parts.intents.iter().map(|intent| &intent.name), IntentIx)?,
            slots: table("slot", parts.slots.iter().map(|slot| &slot.name), SlotIx)?,
            actions: table("action", parts.actions.iter().map(|action| &action.name), ActionIx)?,
            states,
            places,
        })
    }

    fn state(&self, place: &Place) -> Result<StateIx, AssembleError> {
        let found = self.states.get(place).copied();
        found.ok_or_else(|| AssembleError::Unknown { kind: "state", name: place.to_string() })
    }

    fn slot(&self, name: &Name) -> Result<SlotIx, AssembleError> {
        let found = self.slots.get(name).copied();
        found.ok_or_else(|| AssembleError::Unknown { kind: "slot", name: name.to_string() })
    }

    fn scope(&self, scope: &Scope) -> Result<Vec<StateIx>, AssembleError> {
        match scope {
            Scope::Everywhere => Ok((0..self.places.len()).map(|place| StateIx(number(place))).collect()),
            Scope::At(places) => places.iter().map(|place| self.state(place)).collect(),
        }
    }

    fn targets(&self, parts: &FlowParts) -> Result<Vec<Targets>, AssembleError> {
        let mut targets = vec![Targets::default(); self.places.len()];
        for transition in &parts.transitions {
            let to = self.state(&transition.to)?;
            for from in self.scope(&transition.from)? {
                if let Some(targets) = targets.get_mut(from.at()) {
                    targets.add(to, transition.by);
                }
            }
        }
        Ok(targets)
    }

    /// One classifier per distinct set of candidates: positions with the same ways out share it.
    fn classifiers(&self, parts: &FlowParts, targets: &[Targets]) -> Result<Vec<Arc<Classifier>>, AssembleError> {
        let mut initials = Vec::with_capacity(parts.intents.len());
        for intent in &parts.intents {
            let initial = Place { intent: Arc::clone(&intent.name), state: Arc::clone(&intent.initial) };
            initials.push(self.state(&initial)?);
        }
        let mut built: HashMap<Vec<u16>, Arc<Classifier>> = HashMap::new();
        let mut classifiers = Vec::with_capacity(targets.len());
        for (place, targets) in self.places.iter().zip(targets) {
            let allowed = |(intent, initial): (&crate::parts::IntentPart, &StateIx)| {
                let mask = targets.mask(*initial);
                let interrupts = intent.digression && mask.allows(By::Digression);
                intent.name == place.intent || mask.allows(By::Intent) || interrupts
            };
            let candidates: Vec<u16> = (parts.intents.iter().zip(&initials).enumerate())
                .filter(|(_, candidate)| allowed(*candidate))
                .map(|(place, _)| number(place))
                .collect();
            let classifier = match built.get(&candidates) {
                Some(classifier) => Arc::clone(classifier),
                None => {
                    let rows = candidates.iter().filter_map(|place| {
                        let intent = parts.intents.get(usize::from(*place))?;
                        Some((IntentIx(*place), intent.priority, intent.signals.as_slice() as &[Signal]))
                    });
                    let classifier = Arc::new(Classifier::build(rows)?);
                    built.insert(candidates, Arc::clone(&classifier));
                    classifier
                }
            };
            classifiers.push(classifier);
        }
        Ok(classifiers)
    }

    fn states(
        &self,
        parts: &FlowParts,
        targets: Vec<Targets>,
        classifiers: Vec<Arc<Classifier>>,
    ) -> Result<Vec<State>, AssembleError> {
        let mut targets = targets.into_iter();
        let mut classifiers = classifiers.into_iter();
        let mut states = Vec::with_capacity(self.places.len());
        for (intent_place, intent) in parts.intents.iter().enumerate() {
            for state in &intent.states {
                let (Some(targets), Some(classifier)) = (targets.next(), classifiers.next()) else { break };
                let collected: Result<BTreeSet<SlotIx>, _> =
                    intent.collect.iter().chain(&state.collect).map(|name| self.slot(name)).collect();
                states.push(State {
                    intent: IntentIx(number(intent_place)),
                    intent_name: Arc::clone(&intent.name),
                    name: Arc::clone(&state.name),
                    full_name: format!("{}.{}", intent.name, state.name).into(),
                    terminal: state.terminal,
                    boundary: state.boundary,
                    collect: collected?.into_iter().collect(),
                    classifier,
                    rules: Vec::new(),
                    responses: Vec::new(),
                    resumes: Vec::new(),
                    targets,
                });
            }
        }
        self.attach_rules(parts, &mut states)?;
        self.attach_responses(parts, &mut states)?;
        Ok(states)
    }

    fn attach_rules(&self, parts: &FlowParts, states: &mut [State]) -> Result<(), AssembleError> {
        let mut order: Vec<usize> = (0..parts.rules.len()).collect();
        order.sort_by_key(|place| {
            parts.rules.get(*place).map(|rule| (rule.phase, std::cmp::Reverse(rule.priority), *place))
        });
        for place in order {
            let Some(rule) = parts.rules.get(place) else { continue };
            for state in self.scope(&rule.scope)? {
                if let Some(state) = states.get_mut(state.at()) {
                    state.rules.push(RuleIx(number(place)));
                }
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

    fn intents(&self, parts: &FlowParts) -> Result<Vec<Intent>, AssembleError> {
        let mut intents = Vec::with_capacity(parts.intents.len());
        for intent in &parts.intents {
            let mut states = HashMap::with_capacity(intent.states.len());
            let mut collected: BTreeSet<Name> = intent.collect.iter().cloned().collect();
            for state in &intent.states {
                let place = Place { intent: Arc::clone(&intent.name), state: Arc::clone(&state.name) };
                states.insert(Arc::clone(&state.name), self.state(&place)?);
                collected.extend(state.collect.iter().cloned());
            }
            let keep: BTreeSet<Name> = intent.keep.iter().chain(&collected).cloned().collect();
            keep.iter().try_for_each(|name| self.slot(name).map(drop))?;
            let initial = Place { intent: Arc::clone(&intent.name), state: Arc::clone(&intent.initial) };
            intents.push(Intent {
                name: Arc::clone(&intent.name),
                initial: self.state(&initial)?,
                digression: intent.digression,
                states,
                collected: collected.iter().map(|name| self.slot(name)).collect::<Result<_, _>>()?,
                keep: keep.into_iter().collect(),
            });
        }
        Ok(intents)
    }

    fn effect(&self, effect: &RuleEffectPart, intents: &[Intent]) -> Result<RuleEffect, AssembleError> {
        Ok(match effect {
            RuleEffectPart::Go(place) => RuleEffect::Go(self.state(place)?),
            RuleEffectPart::Intent(name) => {
                let found = self.intents.get(name).and_then(|intent| intents.get(intent.at()));
                let unknown = || AssembleError::Unknown { kind: "intent", name: name.to_string() };
                RuleEffect::Go(found.ok_or_else(unknown)?.initial)
            }
            RuleEffectPart::Set(slot, value) => RuleEffect::Set(self.slot(slot)?, value.clone()),
            RuleEffectPart::Clear(slot) => RuleEffect::Clear(self.slot(slot)?),
            RuleEffectPart::Flag(flag) => RuleEffect::Flag(Arc::clone(flag)),
            RuleEffectPart::Unflag(flag) => RuleEffect::Unflag(Arc::clone(flag)),
            RuleEffectPart::Stage(action) => {
                let found = self.actions.get(action).copied();
                let unknown = || AssembleError::Unknown { kind: "action", name: action.to_string() };
                RuleEffect::Stage(found.ok_or_else(unknown)?)
            }
        })
    }

    fn upgrade(&self, part: UpgradePart) -> Result<Upgrade, AssembleError> {
        let states = part.states.into_iter().map(|(old, new)| Ok((old, self.state(&new)?)));
        let slots = part.slots.into_iter().map(|(old, new)| {
            let new = new.map(|name| self.slot(&name)).transpose()?;
            Ok((old, new))
        });
        Ok(Upgrade {
            from: part.from,
            states: states.collect::<Result<_, AssembleError>>()?,
            slots: slots.collect::<Result<_, AssembleError>>()?,
            flags: part.flags.into_iter().collect(),
        })
    }

    fn action(&self, part: &ActionPart) -> Result<Action, AssembleError> {
        let target = |place: &Option<Place>| place.as_ref().map(|place| self.state(place)).transpose();
        let results = part.results.iter().map(|(slot, source)| Ok((self.slot(slot)?, source.clone())));
        Ok(Action {
            name: Arc::clone(&part.name),
            label: Arc::clone(&part.label),
            slots: part.slots.iter().map(|slot| self.slot(slot)).collect::<Result<_, _>>()?,
            confirm: part.confirm,
            results: results.collect::<Result<_, AssembleError>>()?,
            on_executed: target(&part.on_executed)?,
            on_rejected: target(&part.on_rejected)?,
            on_expired: target(&part.on_expired)?,
        })
    }
}
