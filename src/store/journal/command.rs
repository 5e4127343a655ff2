//! What the writer is asked, and what it asks of the threads around it.

use std::sync::Arc;

use colloquy_types::{ConversationKey, ConversationUid, Head, TurnSeq};
use tokio::sync::oneshot;

use super::{
    index::Checkpoint,
    reader::{Moved, ReadJob},
    row::Row,
    segment::Segment,
    table::Table,
};
use crate::{
    done::Done,
    port::{AppendError, Erasure, HistoryPage, Lease, Listed, Opened, ReadError, Verified},
    record::{Batch, StoredRecord},
};

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ReadError>>;

/// What to do with a conversation once its row is known.
pub(crate) enum Intent {
    Open(Reply<Opened>),
    Turns { from: TurnSeq, limit: usize, reply: Reply<Vec<StoredRecord>> },
    History { after: Head, limit: usize, reply: Reply<HistoryPage> },
    Verify(Reply<Verified>),
}

impl Intent {
    pub(crate) fn refuse(self, error: ReadError) {
        match self {
            Self::Open(reply) => drop(reply.send(Err(error))),
            Self::Turns { reply, .. } => drop(reply.send(Err(error))),
            Self::History { reply, .. } => drop(reply.send(Err(error))),
            Self::Verify(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// What the writer does, in the order in which it is asked.
pub(crate) enum Command {
    Append {
        lease: Lease,
        batch: Batch,
        done: Done,
    },
    Release(Lease),
    /// Begin a conversation under a uid that another store gave it.
    Adopt {
        key: ConversationKey,
        uid: ConversationUid,
        reply: Reply<Lease>,
    },
    Read {
        key: ConversationKey,
        intent: Intent,
    },
    /// A row that a reader looked up in the index, which stood at `generation` when it was asked.
    Resolved {
        key: ConversationKey,
        row: Option<Row>,
        generation: u64,
        intent: Intent,
    },
    /// An open that found its conversation damaged, unless its plan was out of date.
    Doubted {
        lease: Lease,
        error: ReadError,
        reply: Reply<Opened>,
    },
    /// An open had to look for what a row names.
    Moved {
        uid: ConversationUid,
        moved: Moved,
    },
    List {
        tenant: String,
        after: Option<String>,
        limit: usize,
        reply: Reply<Vec<Listed>>,
    },
    /// Walk what is left of an erased conversation.
    Erasure {
        uid: ConversationUid,
        reply: Reply<Erasure>,
    },
    Checkpoint(Reply<()>),
    /// Seal the active segment, so that compaction can pass over it; answered once it is.
    Seal(Reply<()>),
    Close(oneshot::Sender<()>),
    /// Ends at once, as a process that dies.
    Stop,
    /// A segment asked for with [`KeeperJob::Prepare`]; `None` when it could not be made.
    Prepared(Option<Arc<Segment>>),
    /// The segment was sealed, or could not be.
    Sealed {
        id: u64,
        sealed: bool,
    },
    /// The checkpoint has ended.
    Checkpointed(Result<(), String>),
}

/// Work of the thread that keeps segments: none of it is waited for by a commit.
pub(crate) enum KeeperJob {
    /// Make the next segment ahead of need.
    Prepare { id: u64, size: u64 },
    /// Write the footer of a full one.
    Seal { segment: Arc<Segment>, valid_len: u64, table: Arc<Table> },
    /// Remove one that was made and never used.
    Remove { id: u64 },
}

/// What a step asks of others, in the order in which it is to be done.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Acknowledgements and refusals of appends.
    pub(crate) endings: Vec<(Done, Result<Head, AppendError>)>,
    pub(crate) reads: Vec<ReadJob>,
    pub(crate) keeper: Vec<KeeperJob>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) closed: Vec<oneshot::Sender<()>>,
    pub(crate) checkpointed: Vec<(Reply<()>, Result<(), ReadError>)>,
}
