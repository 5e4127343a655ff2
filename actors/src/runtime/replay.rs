//! Deciding a conversation again inside the server: its history read page by page, each page replayed on a thread of
//! the workshop.

use std::sync::Arc;

use colloquy_flow::Flow;
use colloquy_types::{ConversationKey, Head};
use tokio::time::{Instant, timeout_at};

use super::{FlowChoice, Runtime};
use crate::{
    error::{DeadlineOutcome, Error},
    flows::{ReplayReport, workshop::Stop},
};

/// Records of a history that are replayed at a time.
const PAGE_RECORDS: usize = 256;

impl Runtime {
    /// Decides every turn of a conversation again: on the revisions that decided it, or on `against`, digits of a
    /// published revision of the same flow, or nothing for what new conversations run.
    ///
    /// # Errors
    /// [`Error::ConversationAbsent`], [`Error::RevisionAbsent`], [`Error::RevisionAmbiguous`], [`Error::Unpromotable`] when
    /// the other revision has errors, and [`Error::Corrupt`] for records that are no history.
    pub async fn replay_conversation(
        &self,
        key: &ConversationKey,
        against: Option<&str>,
        deadline: Instant,
    ) -> Result<ReplayReport, Error> {
        let _place = self.flow_work()?;
        let against = match against {
            Some(digits) => Some(self.other_revision(key, digits, deadline).await?),
            None => None,
        };
        let (flows, tenant) = (self.shared.flows.clone(), key.tenant().to_owned());
        let find = Box::new(move |revision| flows.compiled(&tenant, revision));
        let (mut replayer, mut after) = (self.shared.author.replayer(find, against), Head::default());
        loop {
            let read = timeout_at(deadline, self.shared.store.history(key, after, PAGE_RECORDS)).await;
            let page = read.map_err(|_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })??;
            let (last, reached) = (page.reached == page.head || page.records.is_empty(), page.reached);
            let replaying = move |stop: &Stop| {
                for row in page.records {
                    if stop.is_told() {
                        break;
                    }
                    replayer.record(&row.record)?;
                }
                Ok(replayer)
            };
            let replayed = self.shared.workshop.run(deadline, replaying).await?;
            replayer = replayed.map_err(|reason: String| Error::Corrupt { reason })?;
            if last {
                return Ok(replayer.finish());
            }
            after = reached;
        }
    }

    async fn other_revision(&self, key: &ConversationKey, digits: &str, deadline: Instant) -> Result<Arc<Flow>, Error> {
        let flow = self.describe(key, deadline).await?.flow.name;
        let choice = FlowChoice { tenant: key.tenant_id(), flow: flow.to_string(), revision: digits.to_owned() };
        Ok(self.chosen(&choice)?.0)
    }
}
