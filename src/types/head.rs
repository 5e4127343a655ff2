//! Sequences and the head of a conversation.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! sequence {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(u64);

        impl $name {
            /// Makes one from its number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

sequence! {
    /// Counts the committed turns of a conversation, from 1; gapless; what clients see.
    TurnSeq
}
sequence! {
    /// Counts the chained records of a conversation of every kind, from 1; what the fence and the chain use.
    RecordNo
}
sequence! {
    /// Raised, written and synced by each process that opens a store, before anything else.
    Epoch
}
sequence! {
    /// Raised each time a conversation's actor starts; unique within one epoch.
    Activation
}

/// A 32-byte BLAKE3 hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Reads what [`fmt::Display`] writes: 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        crate::hex::parse(text).map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(f, &self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a conversation's history stands.
///
/// The default is the head of a conversation that has no record yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The epoch of the last record.
    pub epoch: Epoch,
    /// Committed turns so far.
    pub turn_seq: TurnSeq,
    /// Chained records so far.
    pub record_no: RecordNo,
    /// The hash of the last chained record; all zero before the first.
    pub hash: Hash,
}
