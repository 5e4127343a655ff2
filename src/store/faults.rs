//! Crashes by the thousand: the journal's own code on a disk that forgets what it may, and a check after each
//! crash of everything that callers were told.
//!
//! [`run`] plays one seed: a few lives of a store, each with opens, appends, erasures, reads, checkpoints,
//! compaction and new segments, each ended at an operation of the disk that the seed chooses, in recovery, too. Each
//! end is a *point*. After it the store must open, hold every acknowledged record unchanged and once, none of a
//! refused append or of an erased conversation, and of what nobody was told the end of all or nothing, for ever after.
//! Bits are flipped below what is known to be synced: only the conversation that they belong to may be lost, and that
//! must be told.
//!
//! What is not played: sled. The index is kept as it is, cut short in a checkpoint, or lost. The steps of writer,
//! keeper, index and readers follow each other in an order that the seed chooses, but none runs inside another.

mod check;
mod damage;
pub(crate) mod disk;
pub(crate) mod life;
mod model;
#[cfg(test)]
mod mutants;
pub(crate) mod random;
mod schedule;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use colloquy_types::RecordNo;

use crate::{journal::OpenError, port::ReadError};

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Crashes after which everything was checked.
    pub points: u64,
    /// Those among them that came while an earlier crash was being recovered from.
    pub in_recovery: u64,
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Appends whose end nobody was told, and that were found applied.
    pub unknown_applied: u64,
    /// Appends whose end nobody was told, and that were found not applied.
    pub unknown_lost: u64,
    /// Appends that were refused, as they had to be.
    pub refused: u64,
    /// Bits flipped.
    pub flipped: u64,
    /// Hash of every operation of the disk: the same for the same seed.
    pub trace: u64,
}

impl Report {
    /// Adds another seed's figures.
    pub fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.in_recovery += other.in_recovery;
        self.acknowledged += other.acknowledged;
        self.unknown_applied += other.unknown_applied;
        self.unknown_lost += other.unknown_lost;
        self.refused += other.refused;
        self.flipped += other.flipped;
        self.trace = self.trace.rotate_left(1) ^ other.trace;
    }
}

/// A promise that was not kept. The seed plays it again.
#[derive(Debug, thiserror::Error)]
#[error("seed {seed}, point {point}, operation {operation} of the disk (trace {trace:016x})")]
pub struct Violation {
    /// The seed that shows it.
    pub seed: u64,
    /// Crashes before it.
    pub point: u64,
    /// Operations of the disk before it.
    pub operation: u64,
    /// The trace up to it.
    pub trace: u64,
    /// What is wrong.
    #[source]
    pub breach: Breach,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Breach {
    /// The store does not open again.
    #[error("the store does not open again")]
    NotReopened(#[source] OpenError),
    /// The index is newer than the journal, so that it would be thrown away.
    #[error("the index is newer than the journal")]
    IndexNewer,
    /// The index cannot be made; says nothing of the journal.
    #[error("the index cannot be made in the folder given: {0}")]
    Scratch(String),
    /// A conversation that nothing happened to cannot be read.
    #[error("{conversation} cannot be read, and no bit of it was flipped")]
    Unreadable {
        /// Which one.
        conversation: String,
        /// What the store says.
        #[source]
        error: ReadError,
    },
    /// What callers were told of is not there.
    #[error("{conversation} ends at record {found}; callers were told of {told}")]
    Lost {
        /// Which one.
        conversation: String,
        /// The last record that a caller knows.
        told: RecordNo,
        /// The last that is stored.
        found: RecordNo,
    },
    /// An append that was refused, or that had been found not applied, is there.
    #[error("{conversation} ends at record {record}, of an append that was refused or was not there before")]
    Ghost {
        /// Which one.
        conversation: String,
        /// The record that must not be.
        record: RecordNo,
    },
    /// What is there is nothing that was ever appended.
    #[error("{conversation} ends at record {found}, which was never appended")]
    Stranger {
        /// Which one.
        conversation: String,
        /// The last record stored.
        found: RecordNo,
    },
    /// Records are missing, changed, twice, or in another order.
    #[error("{what} of {conversation} is not what was appended, at place {place} of {told}")]
    Differs {
        /// Which one.
        conversation: String,
        /// Which read shows it.
        what: &'static str,
        /// The first place that differs.
        place: usize,
        /// How many there should be.
        told: usize,
    },
    /// The list of conversations is not what was appended.
    #[error("the list has {found} conversations that should have {told}, or other heads of them")]
    Listed {
        /// How many there should be.
        told: usize,
        /// How many there are.
        found: usize,
    },
    /// An append ended otherwise than it had to.
    #[error("an append to {conversation} that must be {must} ended as {ending}")]
    Ending {
        /// Which one.
        conversation: String,
        /// How it had to end.
        must: &'static str,
        /// How it ended.
        ending: String,
    },
    /// A pass of compaction fails on a disk that is well.
    #[error("compaction fails: {0}")]
    NotCompacted(String),
    /// A flipped bit went unnoticed.
    #[error("a bit of {conversation} was flipped, and verifying it finds nothing")]
    DamageUnseen {
        /// Which one.
        conversation: String,
    },
    /// The journal's code panicked.
    #[error("the journal panicked: {0}")]
    Panicked(String),
}

/// Plays `seed`. The index lies in a folder inside `scratch`, best on a file system in memory, and is removed.
///
/// # Errors
/// The first promise that was not kept.
pub fn run(seed: u64, scratch: &Path) -> Result<Report, Violation> {
    play(schedule::Run::new(seed, scratch))
}

fn play(run: Result<schedule::Run, Violation>) -> Result<Report, Violation> {
    let mut run = run?;
    let played = catch_unwind(AssertUnwindSafe(|| run.play()));
    played.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        Err(run.violation(Breach::Panicked(said.unwrap_or_default())))
    })
}
