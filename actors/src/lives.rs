//! What is known of the root's children without asking them: since when each lives, how often it was started anew, and
//! how it failed last. The root writes it, the tree shows it.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use tokio::time::Instant;

use crate::{directory::ActorStatus, quarantine::FailureCause, root::Child};

/// One child, as it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// Running, or waiting to be started anew.
    pub(crate) status: ActorStatus,
    /// Since when.
    pub(crate) since: Instant,
    /// How often it was started anew.
    pub(crate) restarts: u32,
    /// How it failed last, if it did.
    pub(crate) last_failure: Option<FailureCause>,
}

/// Every child that was ever started.
#[derive(Debug, Default)]
pub(crate) struct Lives(RwLock<HashMap<Child, Life>>);

impl Lives {
    /// A child was started, for the first time or anew.
    pub(crate) fn started(&self, child: &Child) {
        let since = Instant::now();
        let first = Life { status: ActorStatus::Running, since, restarts: 0, last_failure: None };
        let mut lives = self.0.write().unwrap_or_else(PoisonError::into_inner);
        lives
            .entry(child.clone())
            .and_modify(|life| {
                *life = Life { restarts: life.restarts.saturating_add(1), last_failure: life.last_failure, ..first };
            })
            .or_insert(first);
    }

    /// A child failed, and is to be started anew.
    pub(crate) fn ended(&self, child: &Child, cause: FailureCause) {
        let mut lives = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(life) = lives.get_mut(child) {
            let (since, last_failure) = (Instant::now(), Some(cause));
            *life = Life { status: ActorStatus::Activating, since, last_failure, ..*life };
        }
    }

    /// How a child stands, if it was ever started.
    pub(crate) fn of(&self, child: &Child) -> Option<Life> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(child).copied()
    }
}
