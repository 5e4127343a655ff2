//! Turns parts into a flow: resolves names and builds the index by position.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    calls::Argument,
    classify::{Classifier, Signal, number},
    flow::{Action, Enrichment, Flow, Intent, Response, Rule, RuleEffect, State, Tool, Until},
    index::{ActionIx, EnrichmentIx, IntentIx, PlannerIx, ResponseIx, RuleIx, SlotIx, StateIx},
    parts::{
        ActionPart, EnrichmentPart, FlowParts, IntentPart, Name, Place, ResponseText, RuleEffectPart, Scope, StatePart,
        ToolPart,
    },
    pattern::{PatternError, PatternSet},
    planner::{Planner, PlannerPart},
    prompt::PromptPart,
    transition::{By, ByMask, Moves, Targets},
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
    pub fn assemble(mut parts: FlowParts) -> Result<Self, AssembleError> {
        let bounded = [
            ("states", parts.intents.iter().map(|intent| intent.states.len()).sum()),
            ("rules", parts.rules.len()),
            ("slots", parts.slots.len()),
            ("enrichments", parts.enrichments.len()),
            ("actions", parts.actions.len()),
            ("planners", parts.planners.len()),
            ("responses", parts.responses.len()),
            ("prompts", parts.prompts.len()),
            ("upgrades", parts.upgrades.len()),
            ("scripted rules", parts.scripts.0.len()),
        ];
        if let Some((kind, _)) = bounded.into_iter().find(|(_, entries)| *entries > TABLE_ENTRIES_MAX) {
            return Err(AssembleError::TooMany(kind));
        }
        let names = Names::collect(&parts)?;
        let prompts = prompts(std::mem::take(&mut parts.prompts))?;
        known_prompts(&parts, &prompts)?;
        let targets = names.targets(&parts)?;
        let classifiers = names.classifiers(&parts, &targets)?;
        let intents = names.intents(&parts)?;
        let states = names.states(&mut parts, targets, classifiers)?;
        let rules =
            parts.rules.iter().map(|rule| rule.then.iter().map(|effect| names.effect(effect, &intents)).collect());
        let effects: Vec<Vec<RuleEffect>> = rules.collect::<Result<_, _>>()?;
        let enrichments = parts.enrichments.into_iter().map(|part| names.enrichment(part));
        let planners = parts.planners.into_iter().map(|part| names.planner(part));
        let actions = parts.actions.into_iter().map(|action| names.action(action));
        let progress = parts.progress.into_iter().map(|row| {
            let mut states = names.scope(&row.scope)?;
            states.sort_unstable();
            Ok((row.stage, states, row.text))
        });
        let upgrades = parts.upgrades.into_iter().map(|part| names.upgrade(part));
        let start = names.state(&parts.start)?;
        let rules = parts.rules.into_iter().zip(effects);
        let turn_flags: BTreeSet<Name> =
            parts.flags.iter().filter(|flag| flag.one_turn).map(|flag| Arc::clone(&flag.name)).collect();
        let wanted = |of: fn(&PromptPart) -> u32| prompts.values().map(of).max().unwrap_or(0);
        let history = (
            u16::try_from(wanted(|prompt| u32::from(prompt.history.turns))).unwrap_or(u16::MAX),
            wanted(|prompt| prompt.history.tokens),
        );
        let responses = parts.responses.into_iter();
        Ok(Self {
            name: parts.name,
            revision: parts.revision,
            start,
            limits: parts.limits,
            guard: parts.guard,
            acts: parts.acts,
            act_model: parts.act_model,
            intent_model: parts.understanding.model,
            collision: parts.understanding.collision,
            let_go: PatternSet::compile(parts.understanding.let_go.iter())?,
            likeness: parts.understanding.likeness,
            flags: parts.flags.into_iter().map(|flag| (Arc::clone(&flag.name), flag)).collect(),
            turn_flags: turn_flags.into_iter().collect(),
            rules: rules.map(|(rule, then)| Rule { id: rule.id, phase: rule.phase, when: rule.when, then }).collect(),
            responses: responses
                .map(|row| Response { when: row.when, text: row.text, follow_ups: row.follow_ups })
                .collect(),
            slots: parts.slots,
            extract_prompt: parts.extract_prompt,
            intents,
            states,
            enrichments: enrichments.collect::<Result<_, _>>()?,
            actions: actions.collect::<Result<_, _>>()?,
            planners: planners.collect::<Result<_, _>>()?,
            prompts,
            redaction: parts.redaction,
            summary: parts.summary,
            scripts: Arc::new(parts.scripts),
            progress: progress.collect::<Result<_, AssembleError>>()?,
            history,
            upgrades: upgrades.collect::<Result<_, _>>()?,
            fallback: parts.fallback,
            clarify: parts.clarify,
            templates: parts.templates,
            intents_by_name: names.intents,
            slots_by_name: names.slots,
            actions_by_name: names.actions,
        })
    }
}

fn prompts(parts: Vec<PromptPart>) -> Result<HashMap<Name, PromptPart>, AssembleError> {
    let mut prompts = HashMap::with_capacity(parts.len());
    for mut prompt in parts {
        prompt.variables.sort();
        let name = Arc::clone(&prompt.name);
        if prompts.insert(Arc::clone(&name), prompt).is_some() {
            return Err(AssembleError::Duplicate { kind: "prompt", name: name.to_string() });
        }
    }
    Ok(prompts)
}

/// Every prompt that anything names exists.
fn known_prompts(parts: &FlowParts, prompts: &HashMap<Name, PromptPart>) -> Result<(), AssembleError> {
    let texts =
        parts.responses.iter().map(|row| &row.text).chain([&parts.clarify]).chain(&parts.understanding.collision);
    let said = texts.filter_map(|text| if let ResponseText::Model(model) = text { Some(&model.prompt) } else { None });
    let choices = parts.act_model.iter().chain(&parts.understanding.model).map(|choice| &choice.prompt);
    let summary = parts.summary.iter().map(|summary| &summary.prompt);
    let planners = parts.planners.iter().map(|planner| &planner.prompt);
    let mut named = said.chain(choices).chain(summary).chain(planners).chain(&parts.extract_prompt);
    match named.find(|name| !prompts.contains_key(*name)) {
        Some(name) => Err(AssembleError::Unknown { kind: "prompt", name: name.to_string() }),
        None => Ok(()),
    }
}

/// What recognises the intents a state leads to, and its own.
type Recognisers = (Arc<Classifier>, Option<Arc<Classifier>>);

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
    fn classifiers(&self, parts: &FlowParts, targets: &[Targets]) -> Result<Vec<Recognisers>, AssembleError> {
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

    fn states(
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
        for (place, enrichment) in parts.enrichments.iter().enumerate() {
            for state in self.scope(&enrichment.scope)? {
                if let Some(state) = states.get_mut(state.at()) {
                    state.enrichments.push(EnrichmentIx(number(place)));
                }
            }
        }
        for (place, planner) in parts.planners.iter().enumerate() {
            for state in self.scope(&planner.scope)? {
                if let Some(state) = states.get_mut(state.at()) {
                    state.planners.push(PlannerIx(number(place)));
                }
            }
        }
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
                reset: intent.reset,
                label: Arc::clone(&intent.label),
                description: Arc::clone(&intent.description),
                sticky: intent.sticky.or(parts.understanding.sticky),
                choice: intent.choice.clone(),
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
            RuleEffectPart::Stage(action) => RuleEffect::Stage(self.action_named(action)?),
            RuleEffectPart::Reset => RuleEffect::Reset,
        })
    }

    fn action_named(&self, name: &Name) -> Result<ActionIx, AssembleError> {
        let found = self.actions.get(name).copied();
        found.ok_or_else(|| AssembleError::Unknown { kind: "action", name: name.to_string() })
    }

    fn planner(&self, part: PlannerPart) -> Result<Planner, AssembleError> {
        let mut scope = self.scope(&part.scope)?;
        scope.sort_unstable();
        Ok(Planner {
            name: part.name,
            when: part.when,
            prompt: part.prompt,
            tools: part.tools.iter().map(|tool| self.action_named(tool)).collect::<Result<_, _>>()?,
            calls: part.calls,
            scope,
        })
    }

    fn arguments(&self, parts: Vec<(Name, Argument<Name>)>) -> Result<Vec<(Name, Argument<SlotIx>)>, AssembleError> {
        let resolved = parts.into_iter().map(|(name, argument)| {
            Ok((
                name,
                match argument {
                    Argument::Value(value) => Argument::Value(value),
                    Argument::Slot(slot) => Argument::Slot(self.slot(&slot)?),
                    Argument::Template(template) => Argument::Template(template),
                    Argument::Chosen(chosen) => Argument::Chosen(chosen),
                },
            ))
        });
        resolved.collect()
    }

    fn enrichment(&self, part: EnrichmentPart) -> Result<Enrichment, AssembleError> {
        Ok(Enrichment {
            name: part.name,
            source: part.source,
            when: part.when,
            arguments: self.arguments(part.arguments)?,
            patience: part.patience,
            default: part.default,
            keep: part.keep,
        })
    }

    fn tool(&self, part: ToolPart) -> Result<Tool, AssembleError> {
        Ok(Tool {
            tool: part.tool,
            arguments: self.arguments(part.arguments)?,
            read_only: part.read_only,
            idempotent: part.idempotent,
            patience: part.patience,
            schema: part.schema,
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

    fn action(&self, part: ActionPart) -> Result<Action, AssembleError> {
        let target = |place: &Option<Place>| place.as_ref().map(|place| self.state(place)).transpose();
        let scope = match &part.scope {
            Scope::Everywhere => None,
            Scope::At(_) => {
                let mut states = self.scope(&part.scope)?;
                states.sort_unstable();
                states.dedup();
                Some(states)
            }
        };
        let results = part.results.iter().map(|(slot, source)| Ok((self.slot(slot)?, source.clone())));
        Ok(Action {
            results: results.collect::<Result<_, AssembleError>>()?,
            slots: part.slots.iter().map(|slot| self.slot(slot)).collect::<Result<_, _>>()?,
            on_executed: target(&part.on_executed)?,
            on_rejected: target(&part.on_rejected)?,
            on_expired: target(&part.on_expired)?,
            on_failed: target(&part.on_failed)?,
            tool: part.tool.map(|tool| self.tool(tool)).transpose()?,
            name: part.name,
            description: part.description,
            label: part.label,
            priority: part.priority,
            confirm: part.confirm,
            choice: part.choice,
            scope,
        })
    }
}
