//! What operators look at closely, kill, and bring to an end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::Runtime;
use crate::{
    conversation::Message,
    error::{DeadlineOutcome, Error},
    inspecting::Inspection,
    tree::{self, ActorKind, TreeFilter, TreePage},
};

/// How long an actor may take to say something of itself; it answers between two messages.
const PATIENCE: Duration = Duration::from_secs(1);

/// What ending the process waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainEstimate {
    /// Calls that wait or run.
    pub in_flight: usize,
    /// Conversations in memory.
    pub conversations_active: usize,
    /// Watches and other streams that are open.
    pub watchers: usize,
    /// How long what runs and waits in conversations may take at most: until the last of its deadlines.
    pub at_most: Duration,
}

impl Runtime {
    /// One page of the supervision tree. For each all conversations in memory are walked, on a thread that may block, for
    /// one page at a time. Cancel safe.
    ///
    /// # Errors
    /// [`Error::DeadlineExceeded`]; [`Error::Draining`] when the process ends.
    pub async fn tree(
        &self,
        filter: &TreeFilter,
        after: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<TreePage, Error> {
        let late = |_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied };
        let place = timeout_at(deadline, Arc::clone(&self.shared.walks).acquire_owned()).await.map_err(late)?;
        let place = place.map_err(|_| Error::Draining)?;
        let (shared, filter, after) = (Arc::clone(&self.shared), filter.clone(), after.map(str::to_owned));
        let page = tokio::task::spawn_blocking(move || {
            let _place = place;
            tree::page(&shared, &filter, after.as_deref(), limit)
        });
        timeout_at(deadline, page).await.map_err(late)?.map_err(|ended| match ended.is_panic() {
            true => Error::Internal { what: "a page of the tree could not be made" },
            false => Error::Draining,
        })
    }

    /// One actor by its path, as the tree gives it. A conversation that is not in memory stays out of it.
    ///
    /// # Errors
    /// [`Error::ActorAbsent`] when the tree has no such path.
    pub async fn inspect(&self, path: &str) -> Result<Inspection, Error> {
        let row = tree::row(&self.shared, path);
        let Some(key) = tree::conversation_of(path) else {
            let row = Some(row.ok_or(Error::ActorAbsent)?);
            return Ok(Inspection { row, memory_bytes: 0, failures: None, quarantined: None, conversation: None });
        };
        let handle = self.shared.directory.get(&key);
        let memory_bytes = handle.as_ref().map_or(0, |handle| handle.info.bytes());
        let mut conversation = None;
        if let Some(handle) = handle {
            let (reply, answer) = oneshot::channel();
            // An actor that is gone, or too busy, says nothing; its row is told nevertheless.
            if handle.actor.send_message(Message::Inspect(reply)).is_ok() {
                conversation = timeout_at(Instant::now() + PATIENCE, answer).await.ok().and_then(Result::ok);
            }
        }
        let (failures, quarantined) = self.shared.quarantine.trouble(&key);
        if row.is_none() && failures.is_none() && quarantined.is_none() {
            return Err(Error::ActorAbsent);
        }
        Ok(Inspection { row, memory_bytes, failures, quarantined, conversation })
    }

    /// Kills an actor in the middle of whatever it does, within the budget of its kind.
    ///
    /// # Errors
    /// [`Error::KillRefused`]; [`Error::ActorAbsent`] when nothing of this path can be killed.
    pub fn kill(&self, path: &str) -> Result<ActorKind, Error> {
        let chaos = &self.shared.chaos;
        if let Some(key) = tree::conversation_of(path) {
            let handle = self.shared.directory.get(&key).ok_or(Error::ActorAbsent)?;
            chaos.spend(ActorKind::Conversation)?;
            handle.actor.kill();
            return Ok(ActorKind::Conversation);
        }
        if path == tree::FLOWS {
            let keeper = self.shared.keeper().ok_or(Error::ActorAbsent)?;
            chaos.spend(ActorKind::Flows)?;
            keeper.kill();
            return Ok(ActorKind::Flows);
        }
        let shard = tree::shard_of(path).and_then(|number| self.shared.shard(number)).ok_or(Error::ActorAbsent)?;
        chaos.spend(ActorKind::Shard)?;
        shard.kill();
        Ok(ActorKind::Shard)
    }

    /// What ending the process would wait for now.
    pub fn drain_estimate(&self) -> DrainEstimate {
        let mut last = 0;
        self.shared.directory.each(|info| last = last.max(info.is_busy_until().unwrap_or_default()));
        let left = Duration::from_millis(last.saturating_sub(self.shared.tick()));
        DrainEstimate {
            in_flight: self.shared.admission.in_flight(),
            conversations_active: self.shared.directory.len(),
            watchers: self.shared.watches.len(),
            at_most: left.min(self.shared.settings.turn_deadline_max),
        }
    }

    /// Asks whoever runs the process to end it, as a signal would.
    pub fn ask_to_end(&self) {
        self.shared.ask_to_end();
    }

    /// Resolves once the process was asked to end.
    pub fn asked_to_end(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.asked_to_end()
    }
}
