//! How long bodies are kept: a physical policy, which compaction applies. Nothing else knows of it.

use std::{collections::BTreeMap, num::NonZeroU64, time::Duration};

/// What of a conversation is kept; what either bound leaves out may go.
///
/// It goes as soon as a snapshot stands behind it, so that the conversation can still be opened, and when compaction
/// passes over its segment. The first record of a conversation, snapshots, and the streams of tenants are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The newest turns of each conversation, and what belongs to them; `None` for all.
    pub turns: Option<NonZeroU64>,
    /// The age of a record, by the store's clock; `None` for any.
    pub age: Option<Duration>,
}

/// The retention of each tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Of tenants that have none of their own; `None` keeps everything.
    pub others: Option<Retention>,
    /// Of single tenants; an empty [`Retention`] keeps everything.
    pub tenants: BTreeMap<String, Retention>,
}

impl RetentionPolicy {
    /// What holds for `tenant`.
    pub(crate) fn of(&self, tenant: &str) -> Option<Retention> {
        self.tenants.get(tenant).copied().or(self.others)
    }

    /// Whether anything may ever go.
    pub(crate) fn is_empty(&self) -> bool {
        self.others.is_none() && self.tenants.is_empty()
    }
}
