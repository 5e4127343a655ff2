//! What is random in a run, and nothing else: all of it comes from one seed.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use colloquy_types::{Clock, Entropy, Timestamp};

/// A stream of numbers that a seed and a name decide.
#[derive(Debug)]
pub struct Random(blake3::OutputReader);

impl Random {
    /// The stream `stream` of `seed`.
    pub fn new(seed: u64, stream: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(stream.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// The next sixteen bytes.
    pub fn bytes16(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.fill(&mut bytes);
        bytes
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        // The bias of a remainder is far below what a schedule would show.
        let number = u64::from_le_bytes(bytes).checked_rem(bound as u64).unwrap_or_default();
        usize::try_from(number).unwrap_or_default()
    }

    /// A number of `low..=high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `percent` times of a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `among`; nothing when there is none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        among.get(self.below(among.len()))
    }
}

/// Entropy of the run, for uids and salts.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<Random>);

impl SeededEntropy {
    /// The entropy of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Random::new(seed, "entropy")))
    }
}

impl Entropy for SeededEntropy {
    fn bytes16(&self) -> [u8; 16] {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes16()
    }
}

/// A clock that goes on by a microsecond each time it is read.
#[derive(Default)]
pub(crate) struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
