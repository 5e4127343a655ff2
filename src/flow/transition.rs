//! Who may move a conversation, and which moves are declared.

use std::sync::Arc;

use crate::index::StateIx;

/// Who proposes a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The intent stage.
    Intent,
    /// A rule.
    Rule,
    /// An executed action.
    Action,
    /// A pending action that was rejected or expired.
    Pending,
    /// The intent stage, interrupting the current intent.
    Digression,
    /// A model that chose an intent.
    Model,
}

impl By {
    /// Every proposer a transition can name.
    pub const ALL: [Self; 6] = [Self::Intent, Self::Rule, Self::Action, Self::Pending, Self::Digression, Self::Model];

    /// The proposer's name as flows write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Rule => "rule",
            Self::Action => "action",
            Self::Pending => "pending",
            Self::Digression => "digression",
            Self::Model => "model",
        }
    }

    /// The proposer with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }
}

/// A set of proposers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByMask(u8);

impl ByMask {
    /// No one.
    pub const NONE: Self = Self(0);

    /// This set and `by`.
    #[must_use]
    pub const fn with(self, by: By) -> Self {
        Self(self.0 | 1 << by as u8)
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `by` is in the set.
    pub const fn allows(self, by: By) -> bool {
        self.0 & (1 << by as u8) != 0
    }
}

/// Moves ordered by target.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moves(Vec<(StateIx, ByMask)>);

impl Moves {
    pub(crate) fn add(&mut self, to: StateIx, by: ByMask) {
        match self.0.binary_search_by_key(&to, |(target, _)| *target) {
            Ok(place) => {
                if let Some((_, mask)) = self.0.get_mut(place) {
                    *mask = mask.union(by);
                }
            }
            Err(place) => self.0.insert(place, (to, by)),
        }
    }

    pub(crate) fn mask(&self, to: StateIx) -> ByMask {
        let place = self.0.binary_search_by_key(&to, |(target, _)| *target).ok();
        place.and_then(|place| self.0.get(place)).map_or(ByMask::NONE, |(_, mask)| *mask)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (StateIx, ByMask)> + '_ {
        self.0.iter().copied()
    }
}

/// The moves declared from one state: its own, and those declared from everywhere, which all states share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    pub(crate) own: Moves,
    pub(crate) anywhere: Arc<Moves>,
}

impl Targets {
    pub(crate) fn mask(&self, to: StateIx) -> ByMask {
        self.own.mask(to).union(self.anywhere.mask(to))
    }

    /// Every target once, its own first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StateIx, ByMask)> + '_ {
        let own = self.own.iter().map(|(to, by)| (to, by.union(self.anywhere.mask(to))));
        let declared = |to: StateIx| self.own.mask(to) != ByMask::NONE;
        own.chain(self.anywhere.iter().filter(move |(to, _)| !declared(*to)))
    }
}
