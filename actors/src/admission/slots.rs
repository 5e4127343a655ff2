//! Slots: how many turns are carried out at once while the cores are busy.
//!
//! More turns at once than keep the cores busy get none of them done sooner, and each costs up to half as much again (measured;
//! the likely reason is that every stage finds what it needs gone from the core's caches). So the fewest are looked for
//! that keep the cores busy: while they are, fewer are carried out at once, and more while they are not, whatever it is
//! that turns wait for.
//! A turn that waits for a call outside, or behind another turn, gives its slot back. The others wait here, in the order in
//! which they came, each until its deadline; one that could not begin by then is refused when it comes.

use std::{
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// How often the cores are looked at, while turns come and go.
const WINDOW: Duration = Duration::from_millis(50);
/// Thousandths of the cores' time above which they are busy, and above which they do nothing else.
const BUSY: u64 = 900;
const FULL: u64 = 970;

/// Hands out slots.
#[derive(Debug)]
pub(super) struct Slots {
    /// Turns that may be carried out at once however busy the cores are, and however idle.
    floor: usize,
    ceiling: usize,
    cores: u64,
    free: Arc<Semaphore>,
    limit: AtomicUsize,
    held: AtomicUsize,
    /// Slots that are held beyond the limit, which vanish when they are given back.
    surplus: AtomicUsize,
    waiting: AtomicUsize,
    began: Instant,
    /// Microseconds after `began` at which the cores were last looked at, and the time of theirs that the process had used by then.
    looked: AtomicU64,
    used: AtomicU64,
    /// Slots given back since then, and the nanoseconds from one to the next before.
    given: AtomicU64,
    pace: AtomicU64,
    /// Held by who adapts: two at once would count from the same limit, and what one took away too much would be gone for
    /// good.
    adapting: Mutex<()>,
}

/// The right to be carried out; gives itself back.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Self { slots, permit } = self;
        slots.held.fetch_sub(1, Ordering::Relaxed);
        slots.given.fetch_add(1, Ordering::Relaxed);
        if slots.take_surplus()
            && let Some(permit) = permit.take()
        {
            permit.forget();
        }
        slots.look();
    }
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// So many wait that it would take so long.
    TooLate { waiting: usize, expected: Duration },
    /// The deadline has passed.
    Expired,
}

/// Counts one that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Microseconds of the cores' time that this process has used.
fn cpu_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1000
}

/// How many turns may be carried out at once after a time in which `held` were and the cores were busy for so many thousandths of it.
/// Fewer when they are busy, and half at once when they are full; a quarter more for each window in which they are not.
fn next_limit(limit: usize, held: usize, busy: u64, windows: usize) -> usize {
    let held = limit.min(held);
    match busy {
        FULL.. => held / 2,
        BUSY.. => held - held / 8,
        _ => limit.saturating_add((limit / 4 + 1).saturating_mul(windows)),
    }
}

impl Slots {
    pub(super) fn new(floor: usize, ceiling: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        // What a semaphore can hold is far above any bound on calls.
        let ceiling = ceiling.min(Semaphore::MAX_PERMITS);
        Self {
            floor: floor.min(ceiling),
            ceiling,
            cores: u64::try_from(cores).unwrap_or(1),
            free: Arc::new(Semaphore::new(ceiling)),
            limit: AtomicUsize::new(ceiling),
            held: AtomicUsize::new(0),
            surplus: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            began: Instant::now(),
            looked: AtomicU64::new(0),
            used: AtomicU64::new(cpu_time()),
            given: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            adapting: Mutex::new(()),
        }
    }

    /// Waits for a slot. Cancel safe: a caller that goes away leaves its place.
    ///
    /// # Errors
    /// [`NoSlot`].
    pub(super) async fn enter(self: &Arc<Self>, deadline: Instant) -> Result<Slot, NoSlot> {
        let (waiting, expected) = (self.waiting(), self.expected());
        if Instant::now() + expected >= deadline {
            return Err(NoSlot::TooLate { waiting, expected });
        }
        let _waiting = Waiting::new(&self.waiting);
        match timeout_at(deadline, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(self.slot(permit)),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(NoSlot::Expired),
        }
    }

    /// A slot, if one is free.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Slot> {
        self.look();
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.slot(permit))
    }

    fn slot(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Slot {
        self.held.fetch_add(1, Ordering::Relaxed);
        Slot { slots: Arc::clone(self), permit: Some(permit) }
    }

    fn take_surplus(&self) -> bool {
        self.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |surplus| surplus.checked_sub(1)).is_ok()
    }

    /// Looks at the cores when it is time to, and nobody else does.
    fn look(&self) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let window = u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX);
        let passed = || now.saturating_sub(self.looked.load(Ordering::Relaxed));
        if passed() < window {
            return;
        }
        let _alone = match self.adapting.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Somebody may have looked just now.
        let passed = passed();
        if passed >= window {
            self.looked.store(now, Ordering::Relaxed);
            let used = cpu_time();
            let used = used.saturating_sub(self.used.swap(used, Ordering::Relaxed));
            self.adapt(passed, used);
        }
    }

    /// Adapts to `passed` microseconds in which the process used so many of the cores' time. By one at a time.
    fn adapt(&self, passed: u64, used: u64) {
        let busy = used.saturating_mul(1000) / passed.max(1).saturating_mul(self.cores);
        let windows = usize::try_from(u128::from(passed) / WINDOW.as_micros().max(1)).unwrap_or(usize::MAX);
        let given = self.given.swap(0, Ordering::Relaxed);
        // How fast they come back tells how long others wait only while some do.
        if let Some(pace) = passed.saturating_mul(1000).checked_div(given).filter(|_| self.waiting() > 0) {
            self.pace.store(pace, Ordering::Relaxed);
        }
        let limit = self.limit.load(Ordering::Relaxed);
        let next = next_limit(limit, self.held(), busy, windows).clamp(self.floor, self.ceiling);
        self.limit.store(next, Ordering::Relaxed);
        if let Some(fewer) = limit.checked_sub(next) {
            let held = fewer - self.free.forget_permits(fewer);
            self.surplus.fetch_add(held, Ordering::Relaxed);
        } else {
            let more = (limit..next).filter(|_| !self.take_surplus()).count();
            self.free.add_permits(more);
        }
    }

    /// How many turns may be carried out at once now.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// How many are.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How long one that came now could expect to wait.
    pub(super) fn expected(&self) -> Duration {
        let waiting = u64::try_from(self.waiting()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.pace.load(Ordering::Relaxed).saturating_mul(waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMPLE: Duration = Duration::from_secs(10);

    async fn enter(slots: &Arc<Slots>) -> Slot {
        slots.enter(Instant::now() + AMPLE).await.unwrap()
    }

    async fn several(slots: &Arc<Slots>, number: usize) -> Vec<Slot> {
        let mut held = Vec::new();
        for _ in 0..number {
            held.push(enter(slots).await);
        }
        held
    }

    /// A window passes in which the cores are busy for so many thousandths of it.
    fn window(slots: &Slots, busy: u64) -> usize {
        let passed = u64::try_from(WINDOW.as_micros()).unwrap();
        slots.adapt(passed, passed * slots.cores * busy / 1000);
        slots.limit()
    }

    #[test]
    fn the_fewest_are_looked_for_that_keep_the_cores_busy() {
        assert_eq!(next_limit(4096, 1000, 1000, 1), 500, "it begins with what is held");
        assert_eq!(next_limit(200, 200, 950, 1), 175);
        assert_eq!(next_limit(100, 100, 899, 1), 126);
        assert_eq!(next_limit(100, 100, 0, 4), 204, "windows in which nobody looked count, too");
    }

    #[tokio::test(start_paused = true)]
    async fn slots_beyond_a_smaller_limit_vanish_as_they_are_given_back() {
        let slots = Arc::new(Slots::new(2, 8));
        let mut held = several(&slots, 8).await;
        assert_eq!(
            (window(&slots, 1000), window(&slots, 1000), window(&slots, 1000)),
            (4, 2, 2),
            "not below the floor"
        );
        held.truncate(2);
        assert_eq!((slots.held(), slots.free.available_permits()), (2, 0), "six have vanished");
        let late = slots.enter(Instant::now() + AMPLE);
        tokio::pin!(late);
        assert!(futures::poll!(&mut late).is_pending());
        assert_eq!(slots.waiting(), 1);
        held.pop();
        assert!(late.await.is_ok());
        assert_eq!((slots.waiting(), window(&slots, 0)), (0, 3), "and come back when the cores idle");
        drop(held);
        assert_eq!((window(&slots, 0), slots.free.available_permits(), slots.held()), (4, 4, 0));
        for _ in 0..9 {
            window(&slots, 0);
        }
        assert_eq!((slots.limit(), slots.free.available_permits()), (8, 8), "not above the ceiling");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_adapts_while_another_does() {
        let slots = Arc::new(Slots::new(1, 8));
        tokio::time::advance(WINDOW).await;
        let alone = slots.adapting.lock().unwrap();
        assert!(slots.try_enter().is_some(), "nobody waits for it either");
        assert_eq!(slots.looked.load(Ordering::Relaxed), 0);
        drop(alone);
        assert!(slots.try_enter().is_some());
        assert_eq!(u128::from(slots.looked.load(Ordering::Relaxed)), WINDOW.as_micros());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_grows_while_more_are_held_gives_no_slot_twice() {
        let slots = Arc::new(Slots::new(1, 100));
        let mut held = several(&slots, 100).await;
        assert_eq!((window(&slots, 1000), window(&slots, 0)), (50, 63));
        assert_eq!((slots.surplus.load(Ordering::Relaxed), slots.free.available_permits()), (37, 0));
        held.truncate(63);
        assert_eq!((slots.free.available_permits(), slots.surplus.load(Ordering::Relaxed)), (0, 0));
        held.truncate(60);
        assert_eq!(slots.free.available_permits(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_gives_up_leaves_its_place_and_one_that_would_be_late_is_refused_at_once() {
        let slots = Arc::new(Slots::new(1, 1));
        let held = enter(&slots).await;
        let mut first = Box::pin(slots.enter(Instant::now() + AMPLE));
        let mut second = Box::pin(slots.enter(Instant::now() + AMPLE));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        // One slot comes back in a window, so that who comes behind two others waits for two.
        tokio::time::advance(WINDOW).await;
        drop(held);
        assert_eq!(slots.expected(), WINDOW * 2);
        let late = slots.enter(Instant::now() + WINDOW).await;
        assert_eq!(late.unwrap_err(), NoSlot::TooLate { waiting: 2, expected: WINDOW * 2 });
        drop(first);
        assert_eq!(slots.waiting(), 1);
        let held = second.await.unwrap();
        assert!(slots.enter(Instant::now() + AMPLE).await.is_err(), "nobody gives it back");
        assert_eq!((slots.waiting(), slots.held()), (0, 1), "who gave up holds nothing");
        drop(held);
        assert_eq!((slots.held(), slots.free.available_permits()), (0, 1));
    }
}
