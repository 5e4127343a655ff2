//! Rates: how many calls a tenant, or a peer, may make in a time.
//!
//! Each has a bucket of tokens, kept as the one time at which it would be full again (the generic cell rate algorithm,
//! ITU-T I.371): a call takes one token by moving that time on, and is refused when the bucket would be empty longer
//! than its size. One atomic a bucket; no lock but the map's shard on the first call of a key.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use dashmap::DashMap;
use tokio::time::Instant;

/// Full buckets are forgotten when more than this many are known.
const SWEEP_AT: usize = 4096;
/// Buckets at most; what comes beyond shares one.
const BUCKETS_MAX: usize = 65_536;

/// How many calls may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// A second, in the long run.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// The buckets of one kind of key.
#[derive(Debug)]
pub(super) struct Buckets {
    rate: Option<Rate>,
    began: Instant,
    /// Nanoseconds after `began` at which each bucket is full again.
    full_at: DashMap<Box<str>, AtomicU64>,
    shared: AtomicU64,
    sweep_at: AtomicUsize,
}

impl Buckets {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            began: Instant::now(),
            full_at: DashMap::new(),
            shared: AtomicU64::new(0),
            sweep_at: AtomicUsize::new(SWEEP_AT),
        }
    }

    /// Takes a token of `key`; otherwise says when there will be one.
    pub(super) fn take(&self, key: &str) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(full_at) = self.full_at.get(key) {
            return take(&full_at, rate, now);
        }
        self.sweep(now);
        if self.full_at.len() >= BUCKETS_MAX {
            return take(&self.shared, rate, now);
        }
        take(&self.full_at.entry(key.into()).or_default(), rate, now)
    }

    /// Forgets full buckets, once there are twice as many as the last sweep left.
    fn sweep(&self, now: u64) {
        if self.full_at.len() >= self.sweep_at.load(Ordering::Relaxed) {
            self.full_at.retain(|_, full_at| full_at.load(Ordering::Relaxed) > now);
            self.sweep_at.store((self.full_at.len() * 2).clamp(SWEEP_AT, BUCKETS_MAX), Ordering::Relaxed);
        }
    }
}

fn take(full_at: &AtomicU64, rate: Rate, now: u64) -> Result<(), Duration> {
    let token = 1_000_000_000 / u64::from(rate.per_second.get());
    let size = token.saturating_mul(u64::from(rate.burst.get()));
    let mut refused = 0;
    let taken = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
        let next = full_at.max(now).saturating_add(token);
        refused = (next - now).saturating_sub(size);
        (refused == 0).then_some(next)
    });
    taken.map(drop).map_err(|_| Duration::from_nanos(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(per_second: u32, burst: u32) -> Buckets {
        let number = |n| NonZeroU32::new(n).unwrap();
        Buckets::new(Some(Rate { per_second: number(per_second), burst: number(burst) }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_burst_at_once_and_its_rate_in_the_long_run() {
        let buckets = buckets(10, 5);
        assert_eq!((0..100).filter(|_| buckets.take("a").is_ok()).count(), 5);
        let wait = buckets.take("a").unwrap_err();
        assert_eq!(wait, Duration::from_millis(100), "when the next one comes");
        assert!(buckets.take("b").is_ok(), "another key has its own");
        tokio::time::advance(wait).await;
        assert!(buckets.take("a").is_ok() && buckets.take("a").is_err());
        let mut taken = 0;
        for _ in 0..1000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            taken += usize::from(buckets.take("a").is_ok());
        }
        assert_eq!(taken, 100, "ten seconds of ten a second");
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_are_bounded_and_full_ones_are_forgotten() {
        let buckets = buckets(1, 1);
        (0..BUCKETS_MAX).for_each(|n| buckets.take(&format!("k{n}")).unwrap());
        assert_eq!(buckets.full_at.len(), BUCKETS_MAX);
        assert!(buckets.take("one more").is_ok() && buckets.take("and another").is_err(), "they share a bucket");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(buckets.take("much later").is_ok());
        assert_eq!(buckets.full_at.len(), 1);
    }
}
