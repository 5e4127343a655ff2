//! How far an index goes, and which builds can read it.

use colloquy_types::{Epoch, codec};
use serde::{Deserialize, Serialize};

use super::IndexError;
use crate::journal::{
    group::{Position, StoreUuid},
    row,
};

/// What the index covers: all segments before `segment`, wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Covered {
    /// Whose index it is.
    pub(crate) uuid: StoreUuid,
    /// The first segment that must be read again.
    pub(crate) segment: u64,
    /// Everything before this position was synced.
    pub(crate) synced: Position,
    /// The epoch that wrote this.
    pub(crate) epoch: Epoch,
}

/// The stored form of [`Covered`]; variants and fields are the format.
#[derive(Serialize, Deserialize)]
enum StoredCovered {
    /// Of builds whose rows have version 2 at most.
    V1(Covered),
    V2(CoveredV2),
}

#[derive(Serialize, Deserialize)]
struct CoveredV2 {
    covered: Covered,
    /// The newest version that a row may have.
    rows: u32,
}

impl Covered {
    pub(crate) fn encode(self) -> Result<Vec<u8>, codec::Error> {
        self.encode_with_rows(row::VERSION)
    }

    /// The same as a build whose rows have the version `rows`.
    pub(super) fn encode_with_rows(self, rows: u32) -> Result<Vec<u8>, codec::Error> {
        codec::encode(&StoredCovered::V2(CoveredV2 { covered: self, rows }))
    }

    /// Decodes what any build wrote.
    ///
    /// # Errors
    /// [`IndexError::Rows`] when there may be rows that this build cannot read: it would meet them one by one, and none
    /// of their conversations could be opened.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        match codec::decode(bytes)? {
            StoredCovered::V1(covered) => Ok(covered),
            StoredCovered::V2(CoveredV2 { covered, rows }) if (1..=row::VERSION).contains(&rows) => Ok(covered),
            StoredCovered::V2(CoveredV2 { rows, .. }) => Err(IndexError::Rows(rows)),
        }
    }
}
