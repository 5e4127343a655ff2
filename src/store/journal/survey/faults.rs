//! What can be wrong with a store, and where.

use std::fmt;

use colloquy_types::{ConversationKey, ConversationUid, RecordNo};

use crate::record::BadRecord;

/// Faults that are kept; more are counted.
pub const FAULTS_MAX: usize = 1000;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// A segment's header is not intact. What is in the segment can be read all the same.
    #[error("the segment's header is damaged")]
    SegmentHeader,
    /// A sealed segment's footer does not fit its checksum. It can be made again from the segment.
    #[error("the segment's footer is damaged")]
    Footer,
    /// No intact group stands where one was synced.
    #[error("no intact group of records where one was synced")]
    Group,
    /// A record is not as it was written.
    #[error("{0}")]
    Record(BadRecord),
    /// The first record that was found of a conversation is not its first.
    #[error("the conversation begins with record {0}")]
    Beginning(u64),
    /// A conversation's first record lost its key, and no record says that the conversation was erased.
    #[error("the conversation has no key and was not erased")]
    NoKey,
    /// Two conversations that are not erased have the same key.
    #[error("another conversation has the same key")]
    SameKey,
    /// The index cannot be read. The next start makes it from the journal.
    #[error("the index cannot be read ({0}); the next start makes it anew")]
    Index(String),
    /// The index is one of another store. The next start makes it from the journal.
    #[error("the index belongs to another store; the next start makes it anew")]
    IndexForeign,
    /// The index knows a conversation of which the journal has nothing: segments are lost.
    #[error("the index knows it up to record {known}, the journal has nothing of it")]
    JournalLacks {
        /// The record that the index takes for the last.
        known: RecordNo,
    },
    /// The journal ends before what the index knows: segments are lost.
    #[error("the index knows it up to record {known}, the journal ends at record {reached}")]
    JournalBehind {
        /// The last record of the journal.
        reached: RecordNo,
        /// The record that the index takes for the last.
        known: RecordNo,
    },
    /// The record that the index takes for the last is another in the journal, or is not there.
    #[error("record {known} is not the one that the index knows")]
    IndexDiffers {
        /// The record.
        known: RecordNo,
    },
    /// The index ends before what it claims to cover. Without it, the next start makes it from the journal.
    #[error("the index ends at record {known}, and claims to cover record {covered}")]
    IndexBehind {
        /// The record that the index takes for the last.
        known: RecordNo,
        /// The last record that it claims to cover.
        covered: RecordNo,
    },
    /// The index does not know a conversation that it claims to cover.
    #[error("the index does not know it, and claims to cover it")]
    IndexLacks,
    /// The index knows of an erasure that the journal does not have.
    #[error("the index knows that it was erased, the journal does not")]
    ErasureLost,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The segment it was found in; `None` where it concerns no single one.
    pub segment: Option<u64>,
    /// The byte of the segment.
    pub offset: Option<u64>,
    /// The conversation, as far as it is known.
    pub uid: Option<ConversationUid>,
    /// Its key, as far as it is known.
    pub key: Option<ConversationKey>,
    /// What is wrong.
    pub kind: FaultKind,
}

impl Fault {
    pub(super) fn of_segment(segment: u64, kind: FaultKind) -> Self {
        Self { segment: Some(segment), offset: None, uid: None, key: None, kind }
    }

    pub(super) fn of_index(kind: FaultKind) -> Self {
        Self { segment: None, offset: None, uid: None, key: None, kind }
    }

    pub(super) fn at(segment: u64, offset: usize, kind: FaultKind) -> Self {
        Self { offset: Some(offset as u64), ..Self::of_segment(segment, kind) }
    }

    pub(super) fn of(uid: ConversationUid, key: Option<&ConversationKey>, kind: FaultKind) -> Self {
        Self { segment: None, offset: None, uid: Some(uid), key: key.cloned(), kind }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.key, &self.uid) {
            (Some(key), _) => write!(f, "{key}: ")?,
            (None, Some(uid)) => write!(f, "conversation {uid}: ")?,
            (None, None) => {}
        }
        write!(f, "{}", self.kind)?;
        if let Some(segment) = self.segment {
            write!(f, ", in segment {segment}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        Ok(())
    }
}

/// All that is wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    count: u64,
    first: Vec<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.count += 1;
        if self.first.len() < FAULTS_MAX {
            self.first.push(fault);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of them, at most [`FAULTS_MAX`].
    pub fn first(&self) -> &[Fault] {
        &self.first
    }
}
