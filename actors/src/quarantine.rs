//! Conversations that fail: how often each did, which of them wait before they are started anew, and which are
//! quarantined, that is, not started at all until an operator releases them.
//!
//! It stands beside the directory and is asked only when an actor is to be started, so a call to a live conversation
//! pays nothing for it. It lives as long as the process: a new process tries everything anew. It is bounded; what goes
//! beyond the bound is told and paused in place of being quarantined.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use colloquy_types::{ConversationKey, Timestamp};
use dashmap::{DashMap, Entry};
use tokio::time::Instant;

use crate::{
    error::Error,
    restarts::{Failures, RestartPolicy},
};

/// Conversations that may be quarantined at once.
pub(crate) const QUARANTINED_MAX: usize = 10_000;
/// Conversations whose failures are remembered at once, the quarantined among them.
const TROUBLED_MAX: usize = 4 * QUARANTINED_MAX;

/// How a conversation's actor failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// It panicked while it read the conversation's history.
    PanicAtActivation,
    /// It panicked.
    Panic,
    /// It was killed.
    Killed,
    /// It ended without saying how.
    Ended,
    /// It lives, but the conversation's history cannot be read.
    UnreadableHistory,
}

impl FailureCause {
    /// Its name, in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PanicAtActivation => "panic_at_activation",
            Self::Panic => "panic",
            Self::Killed => "killed",
            Self::Ended => "ended",
            Self::UnreadableHistory => "unreadable_history",
        }
    }
}

/// A conversation that is quarantined, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The conversation.
    pub key: ConversationKey,
    /// Since when.
    pub since: Timestamp,
    /// How often it failed within `window`.
    pub failures: u32,
    /// Over which time they were counted.
    pub window: Duration,
    /// How it failed last.
    pub cause: FailureCause,
}

impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = match self.cause {
            FailureCause::PanicAtActivation => "panicked while it read its history",
            FailureCause::Panic => "panicked",
            FailureCause::Killed => "was killed",
            FailureCause::Ended => "ended",
            FailureCause::UnreadableHistory => "could not read its history",
        };
        write!(f, "it failed {} times within {:?}; at last it {last}", self.failures, self.window)
    }
}

/// What is to become of a conversation that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is started anew after this pause.
    Restart(Duration),
    /// It is quarantined.
    Quarantine(Arc<Quarantined>),
    /// It would be quarantined, or remembered, but as many are as may: it waits for the next call after the longest
    /// pause, if it is remembered.
    Crowded,
}

#[derive(Debug)]
enum Hold {
    /// Nobody may start it before; callers are answered so meanwhile.
    Until(Instant, Error),
    Quarantine(Arc<Quarantined>),
}

#[derive(Debug)]
struct Trouble {
    failures: Failures,
    restarts: u32,
    /// How it failed last.
    cause: FailureCause,
    hold: Hold,
}

/// Every conversation that failed lately.
#[derive(Debug)]
pub(crate) struct Quarantine {
    policy: RestartPolicy,
    troubled: DashMap<ConversationKey, Trouble>,
    /// How many are troubled, so that most activations need not look.
    known: AtomicUsize,
    held: AtomicUsize,
}

impl Quarantine {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self { policy, troubled: DashMap::new(), known: AtomicUsize::new(0), held: AtomicUsize::new(0) }
    }

    /// Whether the conversation may be started now: how often it was started anew, or the answer to its callers.
    pub(crate) fn check(&self, key: &ConversationKey) -> Result<u32, Error> {
        if self.known.load(Ordering::Acquire) == 0 {
            return Ok(0);
        }
        let Some(trouble) = self.troubled.get(key) else { return Ok(0) };
        match &trouble.hold {
            Hold::Until(time, answer) if *time > Instant::now() => Err(answer.clone()),
            Hold::Until(..) => Ok(trouble.restarts),
            Hold::Quarantine(quarantined) => Err(Error::Quarantined(Arc::clone(quarantined))),
        }
    }

    /// Counts a failure, and decides. Must be called before the directory lets go of the actor, so that nobody starts
    /// the conversation in between.
    pub(crate) fn failed(&self, key: &ConversationKey, cause: FailureCause, at: Timestamp) -> Verdict {
        self.count(key, cause, Error::Restarted, at)
    }

    /// The same of a history that cannot be read, as `error` says. Until it may be opened again, callers are told that.
    pub(crate) fn unreadable(&self, key: &ConversationKey, error: Error, at: Timestamp) -> Verdict {
        self.count(key, FailureCause::UnreadableHistory, error, at)
    }

    fn count(&self, key: &ConversationKey, cause: FailureCause, answer: Error, at: Timestamp) -> Verdict {
        let now = Instant::now();
        if self.known.load(Ordering::Relaxed) >= TROUBLED_MAX {
            self.sweep(now);
            if self.known.load(Ordering::Relaxed) >= TROUBLED_MAX && !self.troubled.contains_key(key) {
                return Verdict::Crowded;
            }
        }
        let mut trouble = match self.troubled.entry(key.clone()) {
            Entry::Occupied(occupied) => occupied.into_ref(),
            Entry::Vacant(vacant) => {
                self.known.fetch_add(1, Ordering::Release);
                let hold = Hold::Until(now, Error::Restarted);
                vacant.insert(Trouble { failures: Failures::default(), restarts: 0, cause, hold })
            }
        };
        if let Hold::Quarantine(quarantined) = &trouble.hold {
            return Verdict::Quarantine(Arc::clone(quarantined));
        }
        trouble.restarts = trouble.restarts.saturating_add(1);
        trouble.cause = cause;
        let failures = trouble.failures.add(now, &self.policy);
        if failures <= self.policy.restarts_max {
            let pause = self.policy.pause_after(failures);
            trouble.hold = Hold::Until(now + pause, answer);
            return Verdict::Restart(pause);
        }
        if self.held.fetch_add(1, Ordering::AcqRel) >= QUARANTINED_MAX {
            self.held.fetch_sub(1, Ordering::AcqRel);
            trouble.hold = Hold::Until(now + self.policy.pause_max, answer);
            return Verdict::Crowded;
        }
        let window = self.policy.window;
        let quarantined = Arc::new(Quarantined { key: key.clone(), since: at, failures, window, cause });
        trouble.hold = Hold::Quarantine(Arc::clone(&quarantined));
        Verdict::Quarantine(quarantined)
    }

    /// Forgets the failures of a conversation; whether it was quarantined.
    pub(crate) fn release(&self, key: &ConversationKey) -> bool {
        let Some((_, trouble)) = self.troubled.remove(key) else { return false };
        self.known.fetch_sub(1, Ordering::AcqRel);
        let was = matches!(trouble.hold, Hold::Quarantine(_));
        if was {
            self.held.fetch_sub(1, Ordering::AcqRel);
        }
        was
    }

    /// Forgets the failures of a conversation whose history cannot be read, so that it can be opened to be erased.
    pub(crate) fn let_erase(&self, key: &ConversationKey) {
        let any = self.known.load(Ordering::Acquire) > 0;
        if any && self.troubled.get(key).is_some_and(|found| found.cause == FailureCause::UnreadableHistory) {
            self.release(key);
        }
    }

    /// Those of a tenant, or of all, in the order of their keys, behind `after`.
    pub(crate) fn list(&self, tenant: Option<&str>, after: Option<&str>, limit: usize) -> Vec<Arc<Quarantined>> {
        let is_wanted = |key: &ConversationKey| {
            tenant.is_none_or(|tenant| key.tenant() == tenant) && after.is_none_or(|after| key.as_str() > after)
        };
        let mut rows: Vec<_> = self
            .troubled
            .iter()
            .filter(|trouble| is_wanted(trouble.key()))
            .filter_map(|trouble| match &trouble.hold {
                Hold::Quarantine(quarantined) => Some(Arc::clone(quarantined)),
                Hold::Until(..) => None,
            })
            .collect();
        rows.sort_unstable_by(|a, b| a.key.as_str().cmp(b.key.as_str()));
        rows.truncate(limit);
        rows
    }

    /// How often a conversation was started anew after failures and how it failed last, and whether it is quarantined.
    pub(crate) fn trouble(&self, key: &ConversationKey) -> (Option<(u32, FailureCause)>, Option<Quarantined>) {
        let Some(trouble) = self.troubled.get(key) else { return (None, None) };
        let quarantined = match &trouble.hold {
            Hold::Quarantine(quarantined) => Some(quarantined.as_ref().clone()),
            Hold::Until(..) => None,
        };
        (Some((trouble.restarts, trouble.cause)), quarantined)
    }

    /// How many are quarantined.
    pub(crate) fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Forgets what failed so long ago that it does not count any more.
    pub(crate) fn sweep(&self, now: Instant) {
        if self.known.load(Ordering::Relaxed) == self.len() {
            return;
        }
        self.troubled.retain(|_, trouble| {
            let keep = matches!(trouble.hold, Hold::Quarantine(_)) || !trouble.failures.are_past(now, &self.policy);
            if !keep {
                self.known.fetch_sub(1, Ordering::AcqRel);
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restarts::RestartPolicies;

    fn key(number: usize) -> ConversationKey {
        ConversationKey::from_parts(if number.is_multiple_of(2) { "even" } else { "odd" }, &format!("c-{number:05}"))
            .unwrap()
    }

    fn quarantine() -> Quarantine {
        Quarantine::new(RestartPolicy { restarts_max: 1, ..RestartPolicies::default().conversation })
    }

    fn fail(quarantine: &Quarantine, number: usize) -> Verdict {
        quarantine.failed(&key(number), FailureCause::Panic, Timestamp::from_micros(7))
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_past_are_forgotten_and_quarantines_are_not() {
        let quarantine = quarantine();
        assert_eq!(fail(&quarantine, 1), Verdict::Restart(Duration::ZERO));
        assert_eq!(quarantine.check(&key(1)), Ok(1), "the first failure costs no pause");
        assert_eq!(fail(&quarantine, 2), Verdict::Restart(Duration::ZERO));
        assert!(matches!(fail(&quarantine, 2), Verdict::Quarantine(_)));
        tokio::time::advance(Duration::from_secs(61)).await;
        quarantine.sweep(Instant::now());
        assert_eq!((quarantine.troubled.len(), quarantine.len()), (1, 1));
        assert_eq!(quarantine.check(&key(1)), Ok(0));
        let Err(Error::Quarantined(why)) = quarantine.check(&key(2)) else { panic!("not quarantined") };
        assert_eq!(why.to_string(), "it failed 2 times within 60s; at last it panicked");
        assert!(quarantine.release(&key(2)) && !quarantine.release(&key(2)) && !quarantine.release(&key(1)));
        assert_eq!(
            (quarantine.check(&key(2)), quarantine.len(), quarantine.known.load(Ordering::Relaxed)),
            (Ok(0), 0, 0)
        );
        assert_eq!(fail(&quarantine, 2), Verdict::Restart(Duration::ZERO), "its count began anew");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_the_bound_is_paused_and_told() {
        let quarantine = quarantine();
        for number in 0..QUARANTINED_MAX {
            fail(&quarantine, number);
            assert!(matches!(fail(&quarantine, number), Verdict::Quarantine(_)));
        }
        let over = QUARANTINED_MAX + 1;
        fail(&quarantine, over);
        assert_eq!(fail(&quarantine, over), Verdict::Crowded);
        assert_eq!((quarantine.check(&key(over)), quarantine.len()), (Err(Error::Restarted), QUARANTINED_MAX));
        quarantine.release(&key(3));
        assert!(matches!(fail(&quarantine, over), Verdict::Quarantine(_)), "there is a place again");
    }

    #[tokio::test(start_paused = true)]
    async fn pages_are_in_order_and_of_one_tenant() {
        let quarantine = quarantine();
        (0..10).for_each(|number| drop((fail(&quarantine, number), fail(&quarantine, number))));
        let keys = |rows: Vec<Arc<Quarantined>>| rows.iter().map(|row| row.key.to_string()).collect::<Vec<_>>();
        let first = keys(quarantine.list(Some("odd"), None, 3));
        assert_eq!(first, ["odd/c-00001", "odd/c-00003", "odd/c-00005"]);
        assert_eq!(keys(quarantine.list(Some("odd"), Some("odd/c-00005"), 3)), ["odd/c-00007", "odd/c-00009"]);
        assert_eq!(quarantine.list(None, None, 100).len(), 10);
    }
}
