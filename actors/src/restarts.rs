//! How what failed is started anew: how often within a time, after which pauses, and what then. Pure data and counting;
//! supervisors act on it.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How one kind of actor is started anew after it failed.
///
/// The first failure within `window` costs no pause; the second waits for `pause`, each further one twice as long, up to
/// `pause_max`. A conversation that fails more than `restarts_max` times within `window` is quarantined; what the
/// process cannot do without is started anew after `pause_max`, for ever, and makes the process unready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// How often within `window`.
    pub restarts_max: u32,
    /// The time over which failures are counted.
    pub window: Duration,
    /// The pause after the second failure within `window`.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl RestartPolicy {
    /// How long to wait after failure number `failures` within the window, counted from 1.
    pub fn pause_after(&self, failures: u32) -> Duration {
        match failures {
            0 | 1 => Duration::ZERO,
            more => self.pause.saturating_mul(1 << (more - 2).min(30)).min(self.pause_max),
        }
    }
}

/// The policies by kind of actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicies {
    /// Of conversations.
    pub conversation: RestartPolicy,
    /// Of shard supervisors.
    pub shard: RestartPolicy,
    /// Of what publishes and promotes flows.
    pub flows: RestartPolicy,
    /// Of supervisors of gates.
    pub gates: RestartPolicy,
    /// Of janitors.
    pub janitor: RestartPolicy,
}

impl Default for RestartPolicies {
    fn default() -> Self {
        let (window, pause_max) = (Duration::from_secs(60), Duration::from_secs(5));
        let service = RestartPolicy { restarts_max: 10, window, pause: Duration::from_millis(50), pause_max };
        Self {
            conversation: RestartPolicy { restarts_max: 5, pause: Duration::from_millis(100), ..service },
            shard: service,
            flows: service,
            gates: service,
            janitor: service,
        }
    }
}

/// When something failed, as far as its policy's window reaches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures(VecDeque<Instant>);

impl Failures {
    /// Counts one more, and tells how many there are within the window.
    pub(crate) fn add(&mut self, now: Instant, policy: &RestartPolicy) -> u32 {
        while self.0.front().is_some_and(|time| now.saturating_duration_since(*time) > policy.window) {
            self.0.pop_front();
        }
        // Nothing asks for more than one beyond the policy.
        if self.0.len() > policy.restarts_max as usize {
            self.0.pop_front();
        }
        self.0.push_back(now);
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Counts one more failure of what is started anew for ever, and tells after which pause.
    pub(crate) fn next_pause(&mut self, now: Instant, policy: &RestartPolicy) -> Duration {
        let failures = self.add(now, policy);
        if failures > policy.restarts_max { policy.pause_max } else { policy.pause_after(failures) }
    }

    /// Whether none is within the window any more.
    pub(crate) fn are_past(&self, now: Instant, policy: &RestartPolicy) -> bool {
        self.0.back().is_none_or(|time| now.saturating_duration_since(*time) > policy.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        restarts_max: 3,
        window: Duration::from_secs(10),
        pause: Duration::from_millis(100),
        pause_max: Duration::from_millis(350),
    };

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<_> = [1, 2, 3, 4, 40, u32::MAX].map(|n| POLICY.pause_after(n).as_millis()).to_vec();
        assert_eq!(pauses, [0, 100, 200, 350, 350, 350]);
    }

    #[test]
    fn failures_are_counted_within_the_window_only() {
        let (mut failures, begin) = (Failures::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!([0, 1, 2].map(|second| failures.add(at(second), &POLICY)), [1, 2, 3]);
        assert_eq!(failures.add(at(11), &POLICY), 3, "that of second 0 is past");
        assert!(!failures.are_past(at(21), &POLICY));
        assert!(failures.are_past(at(22), &POLICY));
        (0..100).for_each(|_| assert!(failures.add(at(22), &POLICY) <= 4));
        assert_eq!(failures.0.len(), 4, "no more are kept than the policy asks about");
    }
}
