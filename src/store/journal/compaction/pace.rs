//! How fast compaction may be, and when it must stop.

use std::{convert::Infallible, num::NonZeroU64, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{CompactError, Job};

/// Bytes read or written between two pauses.
pub(super) const PIECE_BYTES: usize = 128 << 10;

/// Slows down what is done in pieces.
pub(crate) struct Pace<'a> {
    /// `None` for no limit.
    pub(crate) bytes_per_second: Option<NonZeroU64>,
    /// Somebody who waits lifts the limit.
    pub(crate) jobs: &'a Receiver<Job>,
    /// Disconnected when the store ends.
    pub(crate) stop: &'a Receiver<Infallible>,
}

impl Pace<'_> {
    /// Waits as long as `bytes` may take.
    pub(super) fn spend(&self, bytes: usize) -> Result<(), CompactError> {
        let pause = match self.bytes_per_second {
            Some(limit) if self.jobs.is_empty() => {
                Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / limit)
            }
            _ => Duration::ZERO,
        };
        match self.stop.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(CompactError::Stopped),
            Ok(never) => match never {},
        }
    }
}
