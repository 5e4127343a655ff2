//! Whether something is tried again, and after which pause: only inside what is left of the time.

use std::time::Duration;

use colloquy_types::Entropy;
use tokio::time::Instant;

/// How attempts follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause before the second attempt is at most this, before each further one twice that.
    pub pause: Duration,
    /// The longest pause of our own; what the other side asks for may be longer.
    pub pause_max: Duration,
    /// The shortest time in which an attempt may come to something. None is begun with less.
    pub attempt_min: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(100),
            pause_max: Duration::from_secs(5),
            attempt_min: Duration::from_millis(50),
        }
    }
}

impl RetryPolicy {
    /// The pause after the `failed`th attempt, from 1, that leaves time for one more; `None` when there is none.
    ///
    /// Full jitter: anything between nothing and the bound, which grows exponentially, so that those who failed
    /// together do not come back together. What the other side asks for is the least.
    pub(crate) fn pause(
        &self,
        failed: u32,
        asked_for: Option<Duration>,
        deadline: Instant,
        entropy: &dyn Entropy,
    ) -> Option<Duration> {
        let bound = self.pause.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(self.pause_max);
        let [one, two, three, four, ..] = entropy.bytes16();
        let jittered = bound.mul_f64(f64::from(u32::from_le_bytes([one, two, three, four])) / f64::from(u32::MAX));
        let pause = asked_for.map_or(jittered, |asked_for| asked_for.saturating_add(jittered));
        self.has_time(Instant::now() + pause, deadline).then_some(pause)
    }

    /// Whether an attempt that begins then may come to something.
    pub(crate) fn has_time(&self, begins: Instant, deadline: Instant) -> bool {
        begins + self.attempt_min <= deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bytes always.
    struct Fixed(u8);

    impl Entropy for Fixed {
        fn bytes16(&self) -> [u8; 16] {
            [self.0; 16]
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_stay_inside_what_is_left() {
        let policy = RetryPolicy::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        let pause = |failed, asked_for| policy.pause(failed, asked_for, deadline, &Fixed(255));
        let pauses: Vec<_> = (1..=8).map(|failed| pause(failed, None).expect("there is time").as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(policy.pause(3, None, deadline, &Fixed(0)), Some(Duration::ZERO));
        let asked_for = Some(Duration::from_secs(7));
        assert!(pause(1, asked_for) >= asked_for, "what was asked for is kept");
        assert_eq!(pause(1, Some(Duration::from_secs(60))), None, "there would be no time left");
        let near = Instant::now() + Duration::from_millis(49);
        assert_eq!(policy.pause(1, None, near, &Fixed(0)), None, "no attempt is begun that cannot end");
    }
}
