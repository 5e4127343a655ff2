//! The clock of one attempt: its deadline, and how long the next part may take.

use std::future::Future;

use tokio::time::{self, Instant};

use crate::{error::Error, port::Limits};

/// Says how long the attempt may wait now, and which error it is when nothing comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    limits: Limits,
    /// When patience with the part that is awaited ends; none waits until the deadline.
    until: Option<Instant>,
    late: Late,
}

/// What it is when patience ends before the deadline.
#[derive(Clone, Copy, Debug)]
enum Late {
    FirstToken,
    Stalled,
}

impl Pace {
    /// An answer that is streamed: its first token is awaited from now on.
    pub(crate) fn streamed(limits: Limits) -> Self {
        Self { until: Some(Instant::now() + limits.first_token), limits, late: Late::FirstToken }
    }

    /// An answer that comes as a whole: only the deadline holds until it begins.
    pub(crate) const fn whole(limits: Limits) -> Self {
        Self { until: None, limits, late: Late::Stalled }
    }

    /// Something came: patience begins anew.
    pub(crate) fn progressed(&mut self) {
        self.until = Some(Instant::now() + self.limits.between_tokens);
        self.late = Late::Stalled;
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits for `work` as long as it may take. A source that always has something ready is held to it too.
    pub(crate) async fn within<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        let deadline = self.limits.deadline;
        let until = self.until.map_or(deadline, |until| until.min(deadline));
        if Instant::now() < until
            && let Ok(done) = time::timeout_at(until, work).await
        {
            return Ok(done);
        }
        Err(match self.late {
            _ if until == deadline => Error::TimedOut,
            Late::FirstToken => Error::FirstTokenLate,
            Late::Stalled => Error::Stalled,
        })
    }
}
