//! Erasing conversations, and the compaction that removes physically what was erased.

use std::{io, sync::Arc};

use colloquy_store::{Compacted, journal::backup::KnownBackup};
use colloquy_types::{ConversationKey, ConversationUid, Head, RequestId, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::{Runtime, controls, deadline_unknown};
use crate::{
    conversation::{Control, Erase, erase_digest},
    error::Error,
    reply::ControlReply,
};

/// Lists the backups of the store that are known. It may block.
pub type Backups = Arc<dyn Fn() -> io::Result<Vec<KnownBackup>> + Send + Sync>;

/// What whoever opened the store knows of it beyond its port; by default nothing.
#[derive(Clone, Default)]
pub struct StoreFacts {
    /// The store's random name, when it has one.
    pub uuid: Option<[u8; 16]>,
    /// Copies of it, when it knows of any.
    pub backups: Option<Backups>,
}

impl std::fmt::Debug for StoreFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreFacts").field("uuid", &self.uuid).finish_non_exhaustive()
    }
}

/// An erasure as a caller asks for it.
#[derive(Clone, Debug)]
pub struct EraseConversation {
    /// The conversation.
    pub key: ConversationKey,
    /// Names the call. It is forgotten with the conversation.
    pub request_id: RequestId,
    /// The conversation that must have the key: one that began after an earlier erasure is then left alone.
    pub uid: Option<ConversationUid>,
    /// When the caller no longer wants an answer.
    pub deadline: Instant,
}

/// What a caller keeps of an erasure. Nothing in it is about a person, unless the name of a backup is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureReceipt {
    /// The erased conversation's random name inside the store.
    pub uid: ConversationUid,
    /// The head of the record that erased it. Its number less one is how many records were erased.
    pub head: Head,
    /// When, by the store's clock.
    pub erased_at: Timestamp,
    /// The store's random name, when it has one.
    pub store: Option<[u8; 16]>,
    /// Backups that may still hold the conversation: all that were known right after the erasure, as a clock that was
    /// set back would make an earlier one seem later. `None` when they could not be listed.
    pub backups_not_covered: Option<Vec<KnownBackup>>,
}

impl Runtime {
    /// Erases a conversation once what runs in it has ended. From then on the key is free; the bodies go physically
    /// when compaction passes over them. One whose history cannot be read is opened for it, also while it is quarantined.
    ///
    /// # Errors
    /// [`Error::ConversationAbsent`] also for one that was erased before, whatever the request id, and when another
    /// than `uid` has the key.
    pub async fn erase(&self, erase: EraseConversation) -> Result<ErasureReceipt, Error> {
        let EraseConversation { key, request_id, uid, deadline } = erase;
        let control = Control::Erase(Erase::Asked { uid });
        let reply = controls::control(&self.shared, &key, request_id, erase_digest(uid), control, deadline).await?;
        Ok(self.receipt(reply).await)
    }

    async fn receipt(&self, reply: ControlReply) -> ErasureReceipt {
        let StoreFacts { uuid, backups } = self.shared.store_facts.clone();
        let listed = match backups {
            None => Some(Vec::new()),
            // The erasure is done: a list that cannot be read must not hide that.
            Some(backups) => match tokio::task::spawn_blocking(move || backups()).await {
                Ok(Ok(backups)) => Some(backups),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the list of backups cannot be read");
                    None
                }
                Err(_) => None,
            },
        };
        ErasureReceipt {
            uid: reply.uid,
            head: reply.head,
            erased_at: reply.at,
            store: uuid,
            backups_not_covered: listed,
        }
    }

    /// Makes a whole pass of compaction now. It goes on when `deadline` passes, which ends only the wait.
    ///
    /// # Errors
    /// [`Error::DeadlineExceeded`] with an unknown outcome; [`Error::StoreUnavailable`].
    pub async fn compact(&self, deadline: Instant) -> Result<Compacted, Error> {
        let store = Arc::clone(&self.shared.store);
        let pass = tokio::spawn(async move { store.compact().await });
        match timeout_at(deadline, pass).await {
            Ok(Ok(compacted)) => Ok(compacted?),
            Ok(Err(_)) => Err(Error::Internal { what: "compaction" }),
            Err(_) => Err(deadline_unknown()),
        }
    }
}
