//! Shedding: how many calls may be in flight while the process is behind.
//!
//! What is measured is how long a call waits between the door and its conversation's actor. Some calls always wait; that
//! the quickest of a window waited too long means that the queues of the runtime themselves stand (the idea of `CoDel`,
//! RFC 8289). Then fewer calls are let in, by an eighth each window, and more by a quarter while it is not so: what is in
//! flight settles where the wait is about the target, and the rest is refused at the door, which costs little.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// The time over which the shortest wait is looked for.
const WINDOW: Duration = Duration::from_millis(100);
/// Calls that may be in flight however far behind the process is.
const LIMIT_MIN: usize = 32;

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
    /// The shortest wait of this window, in microseconds.
    shortest: AtomicU64,
    /// That of the last window.
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
            shortest: AtomicU64::new(u64::MAX),
            standing: AtomicU64::new(0),
        }
    }

    /// Notes how long a call waited.
    pub(super) fn waited(&self, wait: Duration) {
        self.shortest.fetch_min(micros(wait), Ordering::Relaxed);
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
        let shortest = self.shortest.swap(u64::MAX, Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        // When nothing came through, what is in flight says nothing of the queues.
        let standing = if shortest == u64::MAX { 0 } else { shortest };
        self.standing.store(standing, Ordering::Relaxed);
        let next = if standing > micros(self.target) {
            let held = limit.min(in_flight);
            (held - held / 8).max(LIMIT_MIN)
        } else {
            limit + (limit / 4).max(LIMIT_MIN)
        };
        self.limit.store(next.min(self.limit_max), Ordering::Relaxed);
    }

    /// How long calls wait at least, as of the last window.
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
            shedding.waited(wait);
            shedding.waited(wait + TARGET * 100);
            tokio::time::advance(WINDOW).await;
            shedding.limit(in_flight);
        }
        shedding.limit(in_flight)
    }

    #[tokio::test(start_paused = true)]
    async fn fewer_are_let_in_while_even_the_quickest_wait_and_all_again_when_they_do_not() {
        let shedding = Shedding::new(TARGET, 4096);
        assert_eq!(windows(&shedding, 10, TARGET / 2, 4096).await, 4096, "some may wait as long as they like");
        assert_eq!(windows(&shedding, 1, TARGET * 2, 4096).await, 3584);
        assert_eq!(shedding.standing(), TARGET * 2);
        assert_eq!(windows(&shedding, 1, TARGET * 2, 100).await, 88, "it begins with what is in flight");
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
