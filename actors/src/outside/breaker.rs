//! A circuit breaker: after failures in a row a place is left alone for a while, then tried with one call.
//!
//! Pure: time is given. Closed, open and half-open as M. Nygard describes them in "Release It!".

use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open the first time; twice that each further time, up to `open_for_max`.
    pub open_for: Duration,
    /// The longest it stays open.
    pub open_for_max: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(2), open_for_max: Duration::from_secs(60) }
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerPosition {
    /// Calls pass.
    Closed,
    /// No call passes.
    Open,
    /// One call passes, to see whether the place has recovered.
    HalfOpen,
}

impl BreakerPosition {
    /// The position's name, in metrics and trees.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// How a call ended, as far as a breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The place did what it is there for, even if the answer was no.
    Answered,
    /// The place failed.
    Failed,
    /// Nobody waited any more, which says nothing about the place.
    GivenUp,
}

/// What a call was let in as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// One of many.
    Regular,
    /// The one that tries whether the place has recovered.
    Probe,
}

/// The breaker of one place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breaker {
    policy: BreakerPolicy,
    failures: u32,
    /// Set while it is not closed: when it may be tried, and for how long it was open.
    opened: Option<(Instant, Duration)>,
    probing: bool,
}

impl Breaker {
    pub(crate) const fn new(policy: BreakerPolicy) -> Self {
        Self { policy, failures: 0, opened: None, probing: false }
    }

    pub(crate) fn position(&self, now: Instant) -> BreakerPosition {
        match self.opened {
            None => BreakerPosition::Closed,
            Some((until, _)) if now < until => BreakerPosition::Open,
            Some(_) => BreakerPosition::HalfOpen,
        }
    }

    /// Lets a call pass, or tells how long it is of no use to ask again.
    pub(crate) fn enter(&mut self, now: Instant) -> Result<Pass, Duration> {
        match self.opened {
            None => Ok(Pass::Regular),
            Some((until, _)) if now < until => Err(until - now),
            Some((_, open_for)) if self.probing => Err(open_for),
            Some(_) => {
                self.probing = true;
                Ok(Pass::Probe)
            }
        }
    }

    /// A call ended. Returns whether that opened the breaker. While it is not closed only the probe counts: what was
    /// under way when it opened tells nothing new.
    pub(crate) fn left(&mut self, pass: Pass, verdict: Verdict, now: Instant) -> bool {
        if pass == Pass::Probe {
            self.probing = false;
        }
        match (self.opened, verdict) {
            (Some(_), _) if pass == Pass::Regular => false,
            (_, Verdict::GivenUp) => false,
            (_, Verdict::Answered) => {
                *self = Self::new(self.policy);
                false
            }
            (Some((_, open_for)), Verdict::Failed) => {
                self.open(now, open_for.saturating_mul(2).min(self.policy.open_for_max))
            }
            (None, Verdict::Failed) => {
                self.failures = self.failures.saturating_add(1);
                self.failures >= self.policy.failures && self.open(now, self.policy.open_for)
            }
        }
    }

    fn open(&mut self, now: Instant, open_for: Duration) -> bool {
        self.opened = Some((now + open_for, open_for));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy =
        BreakerPolicy { failures: 3, open_for: Duration::from_secs(1), open_for_max: Duration::from_secs(3) };

    use Pass::{Probe, Regular};
    use Verdict::{Answered, Failed, GivenUp};

    fn fail(breaker: &mut Breaker, times: usize, now: Instant) {
        for _ in 0..times {
            breaker.left(Regular, Failed, now);
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_success_between_them_does_not() {
        let (mut breaker, now) = (Breaker::new(POLICY), Instant::now());
        assert!(!breaker.left(Regular, Failed, now) && !breaker.left(Regular, Failed, now));
        assert!(!breaker.left(Regular, Answered, now));
        assert!(!breaker.left(Regular, Failed, now) && !breaker.left(Regular, Failed, now));
        assert_eq!(breaker.enter(now), Ok(Regular));
        assert!(breaker.left(Regular, Failed, now));
        assert_eq!(breaker.position(now), BreakerPosition::Open);
        assert_eq!(breaker.enter(now), Err(POLICY.open_for));
    }

    #[test]
    fn one_call_tries_whether_it_has_recovered() {
        let (mut breaker, now) = (Breaker::new(POLICY), Instant::now());
        fail(&mut breaker, 3, now);
        let later = now + POLICY.open_for;
        assert_eq!(breaker.position(later), BreakerPosition::HalfOpen);
        assert_eq!(breaker.enter(later), Ok(Probe));
        assert!(breaker.enter(later).is_err(), "one at a time");
        assert!(!breaker.left(Regular, GivenUp, later));
        assert!(breaker.enter(later).is_err(), "another that leaves makes no room for a second probe");
        assert!(breaker.left(Probe, Failed, later));
        assert_eq!(breaker.enter(later), Err(Duration::from_secs(2)), "twice as long");
        let later = later + Duration::from_secs(2);
        assert_eq!(breaker.enter(later), Ok(Probe));
        assert!(!breaker.left(Probe, GivenUp, later));
        assert_eq!(breaker.enter(later), Ok(Probe), "what was given up makes room for the next");
        assert!(breaker.left(Probe, Failed, later));
        assert_eq!(breaker.enter(later), Err(Duration::from_secs(3)), "no longer than the longest");
        let later = later + Duration::from_secs(3);
        assert_eq!(breaker.enter(later), Ok(Probe));
        assert!(!breaker.left(Probe, Answered, later));
        assert_eq!(breaker.position(later), BreakerPosition::Closed);
    }

    #[test]
    fn what_was_under_way_when_it_opened_neither_lengthens_nor_closes_it() {
        let (mut breaker, now) = (Breaker::new(POLICY), Instant::now());
        fail(&mut breaker, 8, now);
        breaker.left(Regular, Answered, now);
        assert_eq!(breaker.enter(now), Err(POLICY.open_for));
    }
}
