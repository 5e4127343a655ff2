//! Turns parts into a flow: resolves names and builds the index by position.

mod entries;
mod names;
mod positions;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use self::names::Names;
use crate::{
    entries::{Response, Rule, RuleEffect},
    flow::Flow,
    parts::{FlowParts, Name, ResponseText},
    pattern::{PatternError, PatternSet},
    prompt::PromptPart,
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
        let timers: BTreeSet<Name> = effects
            .iter()
            .flatten()
            .filter_map(|effect| match effect {
                RuleEffect::Remind(id, _) => Some(Arc::clone(id)),
                _ => None,
            })
            .collect();
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
            timers: timers.into_iter().collect(),
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
            busy: parts.busy,
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
