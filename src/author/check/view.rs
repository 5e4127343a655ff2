//! The flow as checks see it: positions by number, and where each row applies.
//!
//! Rows that apply in many positions are dear to check, so how many times rows and positions may meet is
//! bounded; a flow beyond that is refused before anything else is done with it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use colloquy_flow::{
    Place,
    assemble::TABLE_ENTRIES_MAX,
    transition::{By, ByMask},
};

use crate::{
    fault::Faults,
    reader::{Written, WrittenPlace},
    source::{SourceEffect, SourceFlow},
};

/// Most positions that all rows together may apply in.
const APPLICATIONS_MAX: usize = 5_000_000;

/// A position's number, in declared order.
pub(super) type At = u32;

/// A written flow with its positions resolved.
pub(crate) struct View<'s> {
    pub(super) source: &'s SourceFlow,
    pub(super) places: Vec<Place>,
    numbers: HashMap<Place, At>,
    intents: HashMap<Arc<str>, Range<At>>,
    /// Where each rule applies.
    pub(super) rules: Vec<Vec<At>>,
    /// Where each response is given.
    pub(super) responses: Vec<Vec<At>>,
    /// Where each planner works.
    pub(super) planners: Vec<Vec<At>>,
    /// From where each transition leads; `None` for everywhere, which most flows have many of.
    pub(super) transitions: Vec<Option<Vec<At>>>,
    /// From everywhere: where to, and by whom.
    pub(super) everywhere: BTreeMap<At, ByMask>,
    /// From each position in particular: where to, and by whom.
    pub(super) declared: Vec<Vec<(At, ByMask)>>,
}

impl<'s> View<'s> {
    /// Resolves every scope. `None` when there is too much of anything, which is then reported.
    pub(crate) fn of(source: &'s SourceFlow, faults: &mut Faults) -> Option<Self> {
        let tables = [
            ("states", source.intents.iter().map(|intent| intent.states.len()).sum()),
            ("rules", source.rules.len()),
            ("transitions", source.transitions.len()),
            ("slots", source.slots.len()),
            ("flags", source.flags.len()),
            ("enrichments", source.enrichments.len()),
            ("actions", source.actions.len()),
            ("planners", source.planners.len()),
            ("responses", source.responses.len()),
            ("prompts", source.prompts.len()),
        ];
        let fix = "make the flow smaller, or split it in several";
        if let Some((what, _)) = tables.into_iter().find(|(_, rows)| *rows > TABLE_ENTRIES_MAX) {
            faults.error("too-large", &source.mark, format!("there are more than {TABLE_ENTRIES_MAX} {what}"), fix);
            return None;
        }
        let mut view = Self {
            source,
            places: source.places(),
            numbers: HashMap::new(),
            intents: HashMap::new(),
            rules: Vec::new(),
            responses: Vec::new(),
            planners: Vec::new(),
            transitions: Vec::new(),
            everywhere: BTreeMap::new(),
            declared: Vec::new(),
        };
        view.number();
        if view.applications() > APPLICATIONS_MAX {
            let message = format!("rows apply in more than {APPLICATIONS_MAX} positions, counted together");
            faults.error("too-large", &source.mark, message, fix);
            return None;
        }
        view.rules = source.rules.iter().map(|rule| view.positions(&rule.scope)).collect();
        view.responses = source.responses.iter().map(|row| view.positions(&row.scope)).collect();
        view.planners = source.planners.iter().map(|row| view.positions(&row.scope)).collect();
        view.transitions = source.transitions.iter().map(|row| view.particular(&row.from)).collect();
        view.declare();
        Some(view)
    }

    /// The positions of a scope, unless it is everywhere.
    fn particular(&self, scope: &Written) -> Option<Vec<At>> {
        match scope {
            Written::Everywhere => None,
            Written::At(_) => Some(self.positions(scope)),
        }
    }

    fn declare(&mut self) {
        self.declared = vec![Vec::new(); self.places.len()];
        for (row, from) in self.source.transitions.iter().zip(&self.transitions) {
            let Some(to) = self.numbers.get(&row.to.value).copied() else { continue };
            let Some(from) = from else {
                let by = self.everywhere.entry(to).or_default();
                *by = by.union(row.by);
                continue;
            };
            for from in from {
                if let Some(declared) = self.declared.get_mut(index(*from)) {
                    declared.push((to, row.by));
                }
            }
        }
    }

    fn number(&mut self) {
        for (place, number) in self.places.iter().zip(0..) {
            self.numbers.entry(place.clone()).or_insert(number);
            let range = self.intents.entry(Arc::clone(&place.intent)).or_insert(number..number);
            range.end = number + 1;
        }
    }

    fn applications(&self) -> usize {
        let source = self.source;
        // Each effect of a rule is one of its own.
        let rules = source.rules.iter().map(|row| self.size(&row.scope).saturating_mul(row.then.len().max(1)));
        // So is each tool of a planner.
        let planners = source.planners.iter().map(|row| self.size(&row.scope).saturating_mul(row.tools.len().max(1)));
        let scopes = source.responses.iter().map(|row| &row.scope);
        let scopes = scopes.chain(source.transitions.iter().map(|row| &row.from));
        let scopes = scopes.chain(source.enrichments.iter().map(|row| &row.scope));
        let scopes = scopes.chain(source.actions.iter().filter_map(|row| row.scope.as_ref()));
        let scopes = scopes.chain(source.progress.iter().map(|row| &row.scope));
        rules.chain(planners).chain(scopes.map(|scope| self.size(scope))).fold(0, usize::saturating_add)
    }

    fn size(&self, scope: &Written) -> usize {
        match scope {
            Written::Everywhere => self.places.len(),
            Written::At(places) => places
                .iter()
                .map(|place| match place {
                    WrittenPlace::One(_) => 1,
                    WrittenPlace::AllOf(intent) => self.intents.get(&intent.value).map_or(0, ExactSizeIterator::len),
                })
                .fold(0, usize::saturating_add),
        }
    }

    /// The positions a scope means, in declared order, each once; those that do not exist are told elsewhere.
    pub(super) fn positions(&self, scope: &Written) -> Vec<At> {
        let mut positions: Vec<At> = Vec::new();
        match scope {
            Written::Everywhere => return self.every(),
            Written::At(places) => {
                for place in places {
                    match place {
                        WrittenPlace::One(place) => positions.extend(self.find(&place.value)),
                        WrittenPlace::AllOf(intent) => {
                            positions.extend(self.intents.get(&intent.value).cloned().unwrap_or_default());
                        }
                    }
                }
            }
        }
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    pub(super) fn find(&self, place: &Place) -> Option<At> {
        self.numbers.get(place).copied()
    }

    /// Every position.
    pub(super) fn every(&self) -> Vec<At> {
        (0..).take(self.places.len()).collect()
    }

    /// The positions of an intent.
    pub(super) fn of_intent(&self, intent: &str) -> Vec<At> {
        self.intents.get(intent).cloned().unwrap_or_default().collect()
    }

    /// The position's name.
    pub(super) fn name(&self, at: At) -> String {
        self.places.get(index(at)).map(ToString::to_string).unwrap_or_default()
    }

    pub(super) fn initial(&self, intent: &str) -> Option<At> {
        let intent = self.source.intent(intent)?;
        let state = Arc::clone(&intent.initial.as_ref()?.value);
        self.find(&Place { intent: Arc::clone(&intent.name.value), state })
    }

    /// Where a rule leads, if anywhere.
    pub(super) fn target(&self, then: &[SourceEffect]) -> Option<At> {
        then.iter().find_map(|effect| match effect {
            SourceEffect::Go(place) => self.find(&place.value),
            SourceEffect::Intent(name) => self.initial(&name.value),
            _ => None,
        })
    }

    /// Where conversations begin.
    pub(super) fn start(&self) -> Option<At> {
        self.find(&self.source.start.as_ref()?.value)
    }

    /// The positions a conversation may move to from this one.
    pub(super) fn ways(&self, from: At) -> impl Iterator<Item = At> + '_ {
        let declared = self.declared.get(index(from)).map(Vec::as_slice).unwrap_or_default();
        declared.iter().map(|(to, _)| *to).chain(self.everywhere.keys().copied())
    }

    /// Whether a move is declared for who proposes it.
    pub(super) fn allows(&self, from: At, to: At, by: By) -> bool {
        let declared = self.declared.get(index(from)).map(Vec::as_slice).unwrap_or_default();
        self.everywhere.get(&to).is_some_and(|mask| mask.allows(by))
            || declared.iter().any(|(target, mask)| *target == to && mask.allows(by))
    }

    /// Whether every position that a transition or the start names exists. If not, what can be reached cannot
    /// be told: a misspelt position would make half the flow unreachable.
    pub(super) fn is_whole(&self) -> bool {
        let ends = self.source.transitions.iter().map(|row| &row.to).chain(&self.source.start);
        let from = self.source.transitions.iter().filter_map(|row| match &row.from {
            Written::Everywhere => None,
            Written::At(places) => Some(places),
        });
        let known = |place: &WrittenPlace| match place {
            WrittenPlace::One(place) => self.find(&place.value).is_some(),
            WrittenPlace::AllOf(intent) => self.intents.contains_key(&intent.value),
        };
        ends.into_iter().all(|end| self.find(&end.value).is_some()) && from.flatten().all(known)
    }
}

/// A position's number as a place in a table.
pub(super) fn index(at: At) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
