//! What operators do with conversations in memory, and with those that are kept out of it.

use std::sync::Arc;

use colloquy_types::ConversationKey;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::Runtime;
use crate::{
    conversation::{Message, Passivate},
    error::{DeadlineOutcome, Error},
    quarantine::Quarantined,
};

/// A part of the conversations that are quarantined.
#[derive(Clone, Debug, Default)]
pub struct QuarantinePage {
    /// Them, in the order of their keys.
    pub rows: Vec<Arc<Quarantined>>,
    /// Behind which key, as `tenant/conversation`, the next page begins; none when this is the last.
    pub next: Option<String>,
    /// How many there are of all tenants.
    pub total: usize,
}

impl Runtime {
    /// Conversations that are quarantined, of `tenant` or of all, behind the key `after`.
    pub fn quarantined(&self, tenant: Option<&str>, after: Option<&str>, limit: usize) -> QuarantinePage {
        let mut rows = self.shared.quarantine.list(tenant, after, limit.saturating_add(1));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(|row| row.key.to_string()) } else { None };
        QuarantinePage { rows, next, total: self.shared.quarantine.len() }
    }

    /// Lets a conversation be started again: the next call activates it, and its failures are counted anew. Whether it
    /// was quarantined.
    pub fn release(&self, key: &ConversationKey) -> bool {
        self.shared.quarantine.release(key)
    }

    /// Puts a conversation to rest; whether it was in memory.
    ///
    /// # Errors
    /// [`Error::Busy`] when something runs in it or waits for it; [`Error::DeadlineExceeded`].
    pub async fn passivate(&self, key: &ConversationKey, deadline: Instant) -> Result<bool, Error> {
        let Some(handle) = self.shared.directory.get(key) else { return Ok(false) };
        let (reply, answer) = oneshot::channel();
        if handle.actor.send_message(Message::Passivate(Passivate::Asked(reply))).is_err() {
            // It makes way already, or failed.
            return Ok(false);
        }
        match timeout_at(deadline, answer).await {
            Ok(answered) => answered.map_err(|_| Error::Restarted)?.map(|()| true),
            Err(_) => Err(Error::DeadlineExceeded { outcome: DeadlineOutcome::Unknown }),
        }
    }
}
