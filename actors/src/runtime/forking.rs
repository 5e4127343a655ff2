//! Forks: what a conversation was after one of its turns, as the beginning of another one.

use colloquy_store::RecordKind;
use colloquy_turn::Origin;
use colloquy_types::{ConversationKey, Head, RequestId, TurnSeq};
use tokio::time::{Instant, timeout_at};

use super::{Runtime, controls};
use crate::{
    conversation::{Control, Fork, Loaded, fork_digest},
    error::{DeadlineOutcome, Error},
    reply::ControlReply,
};

/// Records of a history that are read at a time.
const HISTORY_RECORDS: usize = 500;

/// A fork as a caller asks for it.
#[derive(Clone, Debug)]
pub struct ForkConversation {
    /// The conversation to branch off.
    pub source: ConversationKey,
    /// The turn after which the fork begins, 0 for before the first one; as the conversation is now when not given.
    pub at: Option<TurnSeq>,
    /// The new conversation, of the same tenant.
    pub target: ConversationKey,
    /// The caller's idempotency key, of the new conversation.
    pub request_id: RequestId,
    /// When the caller no longer wants an answer.
    pub deadline: Instant,
}

impl Runtime {
    /// Begins a conversation with the state that another one had after one of its turns, on the revision that it ran
    /// then. The other one is read and not touched. Reads its history up to there.
    ///
    /// # Errors
    /// [`Error::TurnAbsent`] when there is no such turn, or retention keeps too little to know the state after it;
    /// [`Error::ConversationExists`] when the new key is taken, unless by this very fork.
    pub async fn fork(&self, fork: ForkConversation) -> Result<ControlReply, Error> {
        let ForkConversation { source, at, target, request_id, deadline } = fork;
        let digest = fork_digest(&source, at);
        let read = timeout_at(deadline, self.read_fork(&source, at, deadline)).await;
        let begins = read.map_err(|_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied })??;
        let control = Control::Fork(Box::new(begins));
        controls::control(&self.shared, &target, request_id, digest, control, deadline).await
    }

    async fn read_fork(&self, source: &ConversationKey, at: Option<TurnSeq>, deadline: Instant) -> Result<Fork, Error> {
        // What the actor tells is synced, and what it says exists.
        let described = self.describe(source, deadline).await?;
        let Some(at) = at else {
            let origin = Origin { uid: described.uid, turn_seq: described.head.turn_seq, hash: described.head.hash };
            let flow = self.shared.flows.revision(&described.flow.tenant, described.flow.revision);
            let flow = flow.ok_or_else(|| Error::RevisionUnavailable {
                flow: described.flow.name.to_string(),
                revision: described.flow.revision.to_string(),
            })?;
            let subject = described.subject.clone();
            return Ok(Fork { pin: described.flow, flow, state: described.state, subject, origin });
        };
        if at > described.head.turn_seq {
            return Err(Error::TurnAbsent { turn_seq: at });
        }
        let Loaded { pin, flow, state, subject, head, .. } = self.loaded_after(source, at).await?;
        let origin = Origin { uid: described.uid, turn_seq: at, hash: head.hash };
        Ok(Fork { pin, flow, state, subject, origin })
    }

    /// The conversation as it was right after turn `at`.
    async fn loaded_after(&self, source: &ConversationKey, at: TurnSeq) -> Result<Loaded, Error> {
        let absent = Error::TurnAbsent { turn_seq: at };
        let (mut created, mut loaded, mut after) = (None, None, Head::default());
        loop {
            let page = self.shared.store.history(source, after, HISTORY_RECORDS).await?;
            for row in &page.records {
                let (header, flows) = (&row.record.header, &self.shared.flows);
                let is_reached = loaded.as_ref().is_some_and(|loaded: &Loaded| loaded.head.turn_seq == at);
                // A snapshot stands for the record before it; any other record leads on.
                if header.turn_seq > at || (is_reached && header.kind != RecordKind::Snapshot) {
                    return loaded.filter(|_| is_reached).ok_or(absent);
                }
                match header.kind {
                    RecordKind::Created => {
                        loaded = Some(Loaded::from_created(&row.record, flows)?);
                        created = Some(row.record.clone());
                    }
                    RecordKind::Snapshot => {
                        if let Some(created) = &created {
                            loaded = Some(Loaded::from_snapshot(created, &row.record, flows)?);
                        }
                    }
                    // Retention dropped what it said; a later snapshot may stand in for it.
                    _ if header.erased => loaded = None,
                    _ => {
                        if let Some(loaded) = &mut loaded {
                            loaded.fold(&row.record, flows)?;
                        }
                    }
                }
                if let Some(loaded) = &mut loaded {
                    loaded.head = header.head();
                }
            }
            if page.reached == page.head || page.records.is_empty() {
                let is_reached = loaded.as_ref().is_some_and(|loaded: &Loaded| loaded.head.turn_seq == at);
                return loaded.filter(|_| is_reached).ok_or(absent);
            }
            after = page.reached;
        }
    }
}
