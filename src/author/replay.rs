//! Recorded conversations, decided again: on the revisions that made them, where everything must come out the
//! same ([`Verifier`]), or on another flow, where what would have come out otherwise is the question
//! ([`Comparer`]).
//!
//! Both take a conversation's records one by one ([`Entry`]) and keep its state only, so that a conversation
//! of any length can be replayed. They read no file: where records come from is their caller's affair.
//! What they report may hold what the user said.

mod compare;
mod entry;
mod report;
mod revisions;
mod rows;
mod verify;

use colloquy_types::{Revision, codec};

pub(crate) use self::rows::stage_line;
pub use self::{
    compare::{CHANGED_TURNS_SHOWN_MAX, Changed, ChangedTurn, Comparer, Comparison, Undecided},
    entry::{Entry, EntryKind, Place},
    report::{EXAMPLES_MAX, ReplayedConversation, Summary, TransitionRow, Transitions, Verdict},
    revisions::{RevisionCache, RevisionError},
    rows::{FieldRow, StageRow},
    verify::{Difference, Verified, Verifier},
};

/// Why records are not the history of a conversation.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The first record is not the one that creates the conversation.
    #[error("record {record_no} comes before the conversation was created")]
    NotCreated {
        /// The record.
        record_no: u64,
    },
    /// The source of a revision is not there.
    #[error("record {record_no} needs revision {revision}, whose source is not there")]
    RevisionAbsent {
        /// The record.
        record_no: u64,
        /// The revision.
        revision: Revision,
    },
    /// A record is not what its kind says.
    #[error("record {record_no} cannot be decoded")]
    Undecodable {
        /// The record.
        record_no: u64,
        /// Why not.
        #[source]
        source: codec::Error,
    },
}
