//! When to send the same request again.

use std::time::Duration;

use tokio::time::Instant;

use crate::ClientError;

/// First pause before a retry; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause of our own; a server may ask for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The pauses between attempts, until an end.
///
/// The pauses spread: many clients that were refused together must not come back together.
#[derive(Debug)]
pub(crate) struct Pauses {
    end: Instant,
    pause: Duration,
}

impl Pauses {
    pub(crate) fn within(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, pause: PAUSE_MIN }
    }

    /// What is left for an attempt.
    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// When to try again after `error`; `None` when that would not help or would come too late.
    pub(crate) fn next(&mut self, error: &ClientError) -> Option<Instant> {
        if !error.is_retryable() {
            return None;
        }
        // Never earlier than the server asks; up to a half more, at random.
        let least = error.retry_after().unwrap_or_default().max(self.pause);
        let at = Instant::now() + least.mul_f64(rand::random_range(1.0..1.5));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        (at < self.end).then_some(at)
    }
}
