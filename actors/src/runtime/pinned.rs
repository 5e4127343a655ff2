//! Which conversations of a tenant run another revision than new ones would.
//!
//! Conversations are looked at one by one, in the order of their ids. One whose last turn was decided by the current
//! revision is passed over without waking it; another is asked, and put to rest again if nobody else had woken it.

use colloquy_store::Listed;
use colloquy_turn::TurnRecord;
use colloquy_types::TenantId;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::Runtime;
use crate::{
    conversation::Message,
    error::{DeadlineOutcome, Error},
    pinning::{Pinned, PinnedReason},
};

/// Conversations that one call looks at.
const LOOKED_AT_MAX: usize = 1000;
/// Conversations that are listed at a time.
const LISTED: usize = 100;

/// A part of the conversations that are pinned.
#[derive(Clone, Debug, Default)]
pub struct PinnedPage {
    /// Them.
    pub rows: Vec<Pinned>,
    /// Behind which conversation the next page begins; none when this is the last. A page may be empty and yet not
    /// be the last.
    pub next: Option<String>,
}

impl Runtime {
    /// The tenant's conversations, behind `after`, that run another revision than new ones would; only those of
    /// `flow`, unless it is empty. Looks at 1,000 conversations at most, and until `deadline`.
    ///
    /// # Errors
    /// [`Error`]; a conversation that cannot be opened is a row, not an error.
    pub async fn list_pinned(
        &self,
        tenant: &TenantId,
        flow: &str,
        after: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<PinnedPage, Error> {
        let (mut page, mut next) = (PinnedPage::default(), after.map(str::to_owned));
        let mut looked_at = 0;
        loop {
            let listed = self.list(tenant.as_str(), next.as_deref(), LISTED, deadline).await?;
            let last = listed.len() < LISTED;
            for one in listed {
                if page.rows.len() >= limit || looked_at >= LOOKED_AT_MAX {
                    page.next = next;
                    return Ok(page);
                }
                looked_at += 1;
                let row = match self.pinned(&one, deadline).await {
                    // What was found so far is worth more than nothing.
                    Err(Error::DeadlineExceeded { .. }) if looked_at > 1 => {
                        page.next = next;
                        return Ok(page);
                    }
                    row => row?,
                };
                let wanted =
                    |row: &Pinned| flow.is_empty() || row.pin.as_ref().is_none_or(|pin| pin.name.as_str() == flow);
                page.rows.extend(row.filter(wanted));
                next = Some(one.key.conversation().to_owned());
            }
            if last {
                return Ok(page);
            }
        }
    }

    async fn pinned(&self, listed: &Listed, deadline: Instant) -> Result<Option<Pinned>, Error> {
        if self.is_current(listed, deadline).await? {
            return Ok(None);
        }
        let key = &listed.key;
        let passing = self.shared.directory.get(key).is_none();
        let (handle, permit) = self.admit(key)?;
        let (reply, answer) = oneshot::channel();
        self.shared.send(handle, Message::Pinned { reply, passing });
        let answered = timeout_at(deadline, answer).await;
        drop(permit);
        let answered = answered.map_err(|_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })?;
        match answered.unwrap_or(Err(Error::Restarted)) {
            Ok(pinned) => Ok(pinned),
            Err(error) => Ok(Some(Pinned {
                key: key.clone(),
                pin: None,
                current: None,
                position: String::new(),
                reason: PinnedReason::Unreadable(error.to_string()),
            })),
        }
    }

    /// Whether the last turn of a conversation was decided by what new ones would run. What cannot be told is asked.
    async fn is_current(&self, listed: &Listed, deadline: Instant) -> Result<bool, Error> {
        let turns = timeout_at(deadline, self.shared.store.turns(&listed.key, listed.head.turn_seq, 1)).await;
        let turns = turns.map_err(|_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })?;
        let last = turns.ok().and_then(|turns| TurnRecord::decode(&turns.last()?.payload).ok());
        Ok(last.is_some_and(|last| self.shared.flows.is_current(listed.key.tenant(), last.revision)))
    }
}
