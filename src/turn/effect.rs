//! What the machine asks the world for, and what it is told. Stored: the order of variants is the format.

use colloquy_types::Timestamp;
use serde::{Deserialize, Serialize};

/// What is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EffectKind {
    /// The current wall-clock time.
    Time,
    /// Sixteen fresh random bytes.
    Identifier,
}

/// One request to the world. Those given out together are independent and may run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Effect {
    /// The effect's number within its turn, from 0; with the turn id it is the effect's stable key.
    pub step: u16,
    /// What is needed.
    pub kind: EffectKind,
}

/// What an effect returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EffectValue {
    /// Answers [`EffectKind::Time`].
    Time(Timestamp),
    /// Answers [`EffectKind::Identifier`].
    Identifier([u8; 16]),
}

impl EffectValue {
    /// The kind of effect this answers.
    pub const fn kind(&self) -> EffectKind {
        match self {
            Self::Time(_) => EffectKind::Time,
            Self::Identifier(_) => EffectKind::Identifier,
        }
    }
}

/// The result of one [`Effect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EffectResult {
    /// The number of the effect it answers.
    pub step: u16,
    /// The value.
    pub value: EffectValue,
}
