//! How conversations of an older revision move to this one: which of its states, slots and flags became which.
//!
//! A mapping is declared by the newer revision and looked up by the older one's hash. What it does not
//! name keeps its name; whether that still exists is asked when a conversation moves, not here.

use std::collections::HashMap;

use colloquy_types::Revision;

use crate::{
    index::{SlotIx, StateIx},
    parts::{Name, Place},
};

/// Fewest hexadecimal digits that name a revision.
pub const REVISION_DIGITS_MIN: usize = 8;
/// Hexadecimal digits of a whole revision.
pub const REVISION_DIGITS_MAX: usize = 64;

/// The revisions that a mapping applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeFrom {
    /// Every other revision.
    Any,
    /// The revisions whose hash begins with one of these lower-case hexadecimal digits.
    Prefixes(Vec<String>),
}

impl UpgradeFrom {
    /// Whether the mapping applies to a conversation of `revision`.
    pub fn applies(&self, revision: Revision) -> bool {
        match self {
            Self::Any => true,
            Self::Prefixes(prefixes) => {
                let revision = revision.to_string();
                prefixes.iter().any(|prefix| revision.starts_with(prefix.as_str()))
            }
        }
    }
}

/// A mapping by name, as a flow is assembled from it.
#[derive(Clone, Debug)]
pub struct UpgradePart {
    /// The revisions it applies to.
    pub from: UpgradeFrom,
    /// Old positions, and what each became.
    pub states: Vec<(Place, Place)>,
    /// Old slots, and what each became; `None` gives the value up.
    pub slots: Vec<(Name, Option<Name>)>,
    /// Old flags, and what each became; `None` lowers the flag.
    pub flags: Vec<(Name, Option<Name>)>,
}

/// What a mapping says of a name of the older revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped<T> {
    /// Nothing: it keeps its name.
    Unnamed,
    /// What it held is given up.
    GivenUp,
    /// It became this.
    To(T),
}

/// A compiled mapping.
#[derive(Clone, Debug)]
pub struct Upgrade {
    pub(crate) from: UpgradeFrom,
    pub(crate) states: HashMap<Place, StateIx>,
    pub(crate) slots: HashMap<Name, Option<SlotIx>>,
    pub(crate) flags: HashMap<Name, Option<Name>>,
}

impl Upgrade {
    /// What the position `intent.state` became, when the mapping says so.
    pub fn state(&self, intent: &Name, state: &Name) -> Option<StateIx> {
        self.states.get(&Place { intent: intent.clone(), state: state.clone() }).copied()
    }

    /// What became of a slot.
    pub fn slot(&self, name: &str) -> Mapped<SlotIx> {
        match self.slots.get(name) {
            None => Mapped::Unnamed,
            Some(None) => Mapped::GivenUp,
            Some(Some(slot)) => Mapped::To(*slot),
        }
    }

    /// What became of a flag.
    pub fn flag(&self, name: &str) -> Mapped<&Name> {
        match self.flags.get(name) {
            None => Mapped::Unnamed,
            Some(None) => Mapped::GivenUp,
            Some(Some(flag)) => Mapped::To(flag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_applies_to_the_revisions_it_names() {
        let revision = Revision([0xab; 32]);
        let prefixes = |list: &[&str]| UpgradeFrom::Prefixes(list.iter().map(|text| (*text).to_owned()).collect());
        assert!(UpgradeFrom::Any.applies(revision));
        assert!(prefixes(&["00000000", "abababab"]).applies(revision));
        assert!(prefixes(&[&"ab".repeat(32)]).applies(revision));
        assert!(!prefixes(&["ababababac"]).applies(revision));
        assert!(!prefixes(&[]).applies(revision));
    }
}
