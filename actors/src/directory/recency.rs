//! Which live actor was used least recently, without a lock in the path of a call.
//!
//! A call stores a tick in its actor's [`super::ActorInfo`] and nothing else. Here stands, for each actor, the tick
//! that was seen last, oldest first: a lower bound of the true one. Whoever looks for the least recent takes the
//! oldest, asks for its true tick, and puts it back when that is newer. So the order is exact, each actor is looked at
//! about once for each time that it is found used, and nothing walks all of them.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ractor::ActorId;

/// Entries of actors that are gone that are kept beside twice the live ones.
const DEAD_MAX: usize = 1024;

/// Entries that one search looks at, so that no activation waits long for the lock.
const STEPS_MAX: usize = 1024;

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oldest {
    /// This one was used least recently, and at this tick.
    Found(ActorId, u64),
    /// Many had been used since they were seen last; there may be one all the same.
    More,
    /// No actor is that old.
    Nobody,
}

/// Live actors in the order in which they were seen in use.
#[derive(Debug, Default)]
pub(crate) struct Recency {
    seen: Mutex<BinaryHeap<Reverse<(u64, u64)>>>,
}

impl Recency {
    /// Takes note that the local actor `id` was in use at `tick`.
    pub(crate) fn add(&self, id: ActorId, tick: u64) {
        self.seen().push(Reverse((tick, id.pid())));
    }

    /// Takes out the actor that was used least recently, if that was before `before`. `last_used` tells when an actor
    /// was, or that it is gone. Who wants to keep it in the order adds it again.
    pub(crate) fn take_oldest(&self, before: u64, last_used: impl Fn(ActorId) -> Option<u64>) -> Oldest {
        let mut seen = self.seen();
        for _ in 0..STEPS_MAX {
            let Some(&Reverse((tick, pid))) = seen.peek() else { return Oldest::Nobody };
            if tick >= before {
                return Oldest::Nobody;
            }
            seen.pop();
            let id = ActorId::Local(pid);
            match last_used(id) {
                Some(used) if used > tick => seen.push(Reverse((used, pid))),
                Some(_) => return Oldest::Found(id, tick),
                None => {}
            }
        }
        Oldest::More
    }

    /// Drops the entries of actors that are gone, if there are many beside the `live` ones.
    pub(crate) fn sweep(&self, live: usize, is_live: impl Fn(ActorId) -> bool) {
        let mut swept = {
            let mut seen = self.seen();
            if seen.len() <= live.saturating_mul(2).saturating_add(DEAD_MAX) {
                return;
            }
            std::mem::take(&mut *seen)
        };
        // Without the lock: activations go on meanwhile, and only the passivator takes out.
        swept.retain(|Reverse((_, pid))| is_live(ActorId::Local(*pid)));
        swept.shrink_to_fit();
        self.seen().append(&mut swept);
    }

    fn seen(&self) -> MutexGuard<'_, BinaryHeap<Reverse<(u64, u64)>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Takes everyone who was used before `before`, in order.
    fn drain(recency: &Recency, before: u64, used: &HashMap<u64, u64>) -> Vec<u64> {
        let mut order = Vec::new();
        loop {
            match recency.take_oldest(before, |id| used.get(&id.pid()).copied()) {
                Oldest::Found(id, _) => order.push(id.pid()),
                Oldest::More => {}
                Oldest::Nobody => return order,
            }
        }
    }

    /// However they were used, they go in the exact order of their last use, and those that are gone are passed.
    #[test]
    fn the_least_recent_goes_first() {
        let mut random = 7_u64;
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        for _ in 0..200 {
            let (recency, mut used) = (Recency::default(), HashMap::new());
            for _ in 0..below(300) {
                let (pid, tick) = (below(40), below(1000));
                let last = used.entry(pid).or_insert_with(|| {
                    recency.add(ActorId::Local(pid), tick);
                    tick
                });
                *last = tick.max(*last);
            }
            used.remove(&below(40));
            let order: Vec<_> = drain(&recency, 900, &used).iter().map(|pid| used[pid]).collect();
            let mut expected: Vec<_> = used.values().copied().filter(|tick| *tick < 900).collect();
            expected.sort_unstable();
            assert_eq!(order, expected);
            let left = drain(&recency, u64::MAX, &used).len();
            assert_eq!(left, used.len() - expected.len(), "the others keep their places");
        }
    }

    #[test]
    fn entries_of_actors_that_are_gone_do_not_pile_up() {
        let recency = Recency::default();
        (0..100_000).for_each(|pid| recency.add(ActorId::Local(pid), pid));
        recency.sweep(10, |id| id.pid() % 10_000 == 0);
        assert_eq!(recency.seen().len(), 10);
        recency.sweep(10, |_| false);
        assert_eq!(recency.seen().len(), 10, "few are left alone");
    }

    #[test]
    fn one_search_is_bounded() {
        let recency = Recency::default();
        (0..2 * STEPS_MAX as u64).for_each(|pid| recency.add(ActorId::Local(pid), 1));
        let all_used = |_| Some(5);
        assert_eq!(recency.take_oldest(4, all_used), Oldest::More);
        assert_eq!(recency.take_oldest(4, all_used), Oldest::More);
        assert_eq!(recency.take_oldest(4, all_used), Oldest::Nobody);
    }
}
