//! Shedding: how many calls may be in flight while the process is behind.
//!
//! What is measured is how long a call waits between the door and its conversation's actor, where nothing but the queues
//! of the runtime lies. While the calls of a window waited too long on average, fewer are let in, by an eighth each window,
//! and more by a quarter while they did not: what is in flight settles where the wait is about the target, and the rest is
//! refused at the door, which costs little. The shortest wait of a window, which RFC 8289 would look at, says nothing here: the
//! runtime runs what was woken last first, so some calls wait for nothing however long the queues are.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// The time over which waits are looked at.
const WINDOW: Duration = Duration::from_millis(100);
/// Calls that may be in flight however far behind the process is.
const LIMIT_MIN: usize = 128;

/// The wait of calls, and how many may be in flight because of it.
#[derive(Debug)]
pub(super) struct Shedding {
    /// The wait above which fewer calls are let in.
    target: Duration,
    limit_max: usize,
    limit: AtomicUsize,
    began: Instant,
    /// Microseconds after `began` at which the window ends.
    window_ends: AtomicU64,
    /// The waits of this window, in microseconds, and how many there were.
    waited: AtomicU64,
    calls: AtomicU64,
    /// What calls of the last window waited on average.
    standing: AtomicU64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Shedding {
    pub(super) fn new(target: Duration, limit_max: usize) -> Self {
        Self {
            target,
            limit_max,
            limit: AtomicUsize::new(limit_max),
            began: Instant::now(),
            window_ends: AtomicU64::new(micros(WINDOW)),
            waited: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            standing: AtomicU64::new(0),
        }
    }

    /// Notes how long a call waited.
    pub(super) fn waited(&self, wait: Duration) {
        self.waited.fetch_add(micros(wait), Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls may be in flight now, of which there are `in_flight`.
    pub(super) fn limit(&self, in_flight: usize) -> usize {
        let (now, ends) = (micros(self.began.elapsed()), self.window_ends.load(Ordering::Relaxed));
        if now >= ends {
            let next = now.saturating_add(micros(WINDOW));
            // Whoever moves the window on looks at it.
            if self.window_ends.compare_exchange(ends, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.look(in_flight);
            }
        }
        self.limit.load(Ordering::Relaxed)
    }

    fn look(&self, in_flight: usize) {
        let (waited, calls) = (self.waited.swap(0, Ordering::Relaxed), self.calls.swap(0, Ordering::Relaxed));
        let limit = self.limit.load(Ordering::Relaxed);
        // When nothing came through, what is in flight says nothing of the queues.
        let standing = waited.checked_div(calls).unwrap_or(0);
        self.standing.store(standing, Ordering::Relaxed);
        let next = if standing > micros(self.target) {
            let held = limit.min(in_flight);
            (held - held / 8).max(LIMIT_MIN)
        } else {
            limit + (limit / 4).max(LIMIT_MIN)
        };
        self.limit.store(next.min(self.limit_max), Ordering::Relaxed);
    }

    /// How long calls wait on average, as of the last window.
    pub(super) fn standing(&self) -> Duration {
        Duration::from_micros(self.standing.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(10);

    /// Lets windows pass in which calls wait so long and so many are in flight.
    async fn windows(shedding: &Shedding, number: usize, wait: Duration, in_flight: usize) -> usize {
        for _ in 0..number {
            shedding.waited(wait / 2);
            shedding.waited(wait + wait / 2);
            tokio::time::advance(WINDOW).await;
            shedding.limit(in_flight);
        }
        shedding.limit(in_flight)
    }

    #[tokio::test(start_paused = true)]
    async fn fewer_are_let_in_while_calls_wait_too_long_and_all_again_when_they_do_not() {
        let shedding = Shedding::new(TARGET, 4096);
        assert_eq!(windows(&shedding, 10, TARGET / 2, 4096).await, 4096, "a short wait is none");
        assert_eq!(windows(&shedding, 1, TARGET * 2, 4096).await, 3584);
        assert_eq!(shedding.standing(), TARGET * 2);
        assert_eq!(windows(&shedding, 1, TARGET * 2, 1000).await, 875, "it begins with what is in flight");
        assert_eq!(windows(&shedding, 100, TARGET * 2, 4096).await, LIMIT_MIN);
        let recovered = windows(&shedding, 20, Duration::ZERO, LIMIT_MIN).await;
        assert_eq!(recovered, 4096, "two seconds later nothing is shed any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_in_which_nothing_comes_through_sheds_nothing() {
        let shedding = Shedding::new(TARGET, 4096);
        tokio::time::advance(WINDOW * 10).await;
        assert_eq!((shedding.limit(4096), shedding.standing()), (4096, Duration::ZERO));
    }
}
