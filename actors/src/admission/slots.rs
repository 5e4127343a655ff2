//! Slots: how many turns are carried out at once while the cores are busy.
//!
//! More turns at once than keep the cores busy get none of them done sooner, and each costs up to half as much again (measured;
//! the likely reason is that every stage finds what it needs gone from the core's caches). So the fewest are looked for
//! that keep the cores busy: while they are, fewer are carried out at once, and more while they are not, whatever it is
//! that turns wait for.
//! A turn that waits for a call outside, or behind another turn, gives its slot back. The others wait here, in the order in
//! which they came, each until its deadline; one that could not begin by then is refused when it comes.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
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
    limit: AtomicUsize,
    held: AtomicUsize,
    /// Those that wait, and some that have given up. Locked only where somebody waits.
    queue: Mutex<VecDeque<oneshot::Sender<Slot>>>,
    /// How long the queue is.
    queued: AtomicUsize,
    waiting: AtomicUsize,
    began: Instant,
    /// Microseconds after `began` at which the cores were last looked at, and the time of theirs that the process had used by then.
    looked: AtomicU64,
    used: AtomicU64,
    /// Slots given back since then, and the nanoseconds from one to the next before.
    given: AtomicU64,
    pace: AtomicU64,
}

/// The right to be carried out; gives itself back.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        let Self(slots) = self;
        slots.held.fetch_sub(1, Ordering::SeqCst);
        slots.given.fetch_add(1, Ordering::Relaxed);
        slots.look();
        slots.hand_on();
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
        Self {
            floor: floor.min(ceiling),
            ceiling,
            cores: u64::try_from(cores).unwrap_or(1),
            limit: AtomicUsize::new(ceiling),
            held: AtomicUsize::new(0),
            queue: Mutex::default(),
            queued: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            began: Instant::now(),
            looked: AtomicU64::new(0),
            used: AtomicU64::new(cpu_time()),
            given: AtomicU64::new(0),
            pace: AtomicU64::new(0),
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
        if let Some(slot) = self.free() {
            return Ok(slot);
        }
        let _waiting = Waiting::new(&self.waiting);
        let slot = self.queue_up();
        // The slot before this may have been given back while nobody was seen to wait.
        self.hand_on();
        match timeout_at(deadline, slot).await {
            Ok(Ok(slot)) => Ok(slot),
            // Nobody throws another out of the queue.
            Ok(Err(_)) | Err(_) => Err(NoSlot::Expired),
        }
    }

    /// A slot, if one is free.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Slot> {
        self.look();
        self.hand_on();
        self.free()
    }

    /// A slot, if one is free and nobody waits for it.
    fn free(self: &Arc<Self>) -> Option<Slot> {
        (self.queued.load(Ordering::SeqCst) == 0 && self.hold()).then(|| Slot(Arc::clone(self)))
    }

    /// Counts one more as held, within the limit.
    fn hold(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let one_more = |held| (held < limit).then_some(held + 1);
        self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }

    fn queue_up(&self) -> oneshot::Receiver<Slot> {
        let (waker, slot) = oneshot::channel();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have given up must not outnumber the others.
        if queue.len() > 2 * self.waiting() {
            queue.retain(|waker| !waker.is_closed());
        }
        queue.push_back(waker);
        self.queued.store(queue.len(), Ordering::SeqCst);
        slot
    }

    /// Gives slots that are free to those that wait. Whoever gives one back looks at the queue afterwards, and whoever
    /// queues up looks for a slot afterwards: one of two that do so at once sees the other.
    fn hand_on(self: &Arc<Self>) {
        while self.queued.load(Ordering::SeqCst) > 0 {
            let Some(mut waker) = self.next(|| self.hold()) else { return };
            let mut slot = Slot(Arc::clone(self));
            while let Err(unwanted) = waker.send(slot) {
                let Some(next) = self.next(|| true) else { return };
                (slot, waker) = (unwanted, next);
            }
        }
    }

    /// Takes the first out of the queue, if there is a slot for it.
    fn next(&self, has_slot: impl FnOnce() -> bool) -> Option<oneshot::Sender<Slot>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let first = if queue.is_empty() || !has_slot() { None } else { queue.pop_front() };
        self.queued.store(queue.len(), Ordering::SeqCst);
        first
    }

    /// Looks at the cores when it is time to.
    fn look(&self) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let looked = self.looked.load(Ordering::Relaxed);
        let window = u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX);
        // Whoever moves the window on looks.
        if now.saturating_sub(looked) >= window
            && self.looked.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let used = cpu_time();
            let used = used.saturating_sub(self.used.swap(used, Ordering::Relaxed));
            self.adapt(now - looked, used);
        }
    }

    /// Adapts to `passed` microseconds in which the process used so many of the cores' time.
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
        self.limit.store(next, Ordering::SeqCst);
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
    use std::task::Poll;

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
        assert!(slots.try_enter().is_none(), "six have vanished");
        let late = slots.enter(Instant::now() + AMPLE);
        tokio::pin!(late);
        assert!(futures::poll!(&mut late).is_pending());
        assert_eq!(slots.waiting(), 1);
        held.pop();
        let late = late.await.unwrap();
        assert_eq!((slots.waiting(), slots.held(), window(&slots, 0)), (0, 2, 3), "and come back when the cores idle");
        assert!(slots.try_enter().is_some());
        drop((held, late));
        assert_eq!((window(&slots, 0), slots.held()), (4, 0));
        for _ in 0..9 {
            window(&slots, 0);
        }
        assert_eq!(slots.limit(), 8, "not above the ceiling");
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_grows_lets_those_in_that_wait_in_their_order() {
        let slots = Arc::new(Slots::new(1, 100));
        let mut held = several(&slots, 100).await;
        assert_eq!((window(&slots, 1000), window(&slots, 1000)), (50, 25));
        held.truncate(25);
        let mut waiting: Vec<_> = (0..9).map(|_| Box::pin(slots.enter(Instant::now() + AMPLE))).collect();
        for late in &mut waiting {
            assert!(futures::poll!(late).is_pending());
        }
        assert_eq!(window(&slots, 0), 32);
        assert!(slots.free().is_none(), "nobody overtakes those that wait");
        assert!(slots.try_enter().is_none(), "nobody overtakes those that wait");
        for (place, late) in waiting.iter_mut().enumerate() {
            match futures::poll!(late) {
                Poll::Ready(slot) => held.push(slot.unwrap()),
                Poll::Pending => assert!(place >= 7, "{place}"),
            }
        }
        assert_eq!((slots.waiting(), slots.held(), held.len()), (2, 32, 32));
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
        // It was given the slot already, which goes on to the next.
        drop(first);
        assert_eq!(slots.waiting(), 1);
        let held = second.await.unwrap();
        assert!(slots.enter(Instant::now() + AMPLE).await.is_err(), "nobody gives it back");
        assert_eq!((slots.waiting(), slots.held()), (0, 1), "who gave up holds nothing");
        drop(held);
        assert_eq!(slots.held(), 0);
        assert!(slots.try_enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_give_up_fill_no_queue() {
        let slots = Arc::new(Slots::new(1, 1));
        let held = enter(&slots).await;
        let mut last = Box::pin(slots.enter(Instant::now() + AMPLE));
        assert!(futures::poll!(&mut last).is_pending());
        for _ in 0..1000 {
            let mut late = Box::pin(slots.enter(Instant::now() + AMPLE));
            assert!(futures::poll!(&mut late).is_pending());
        }
        assert!(slots.queued.load(Ordering::Relaxed) <= 5, "{slots:?}");
        drop(held);
        assert!(last.await.is_ok());
        assert_eq!(slots.held(), 0);
    }

    /// More threads than cores take slots, wait for them, and give up: none is lost, and none is given twice.
    #[test]
    fn no_slot_is_lost_or_given_twice_whatever_happens_at_once() {
        const LIMIT: usize = 3;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(8).enable_time().build().unwrap();
        let slots = Arc::new(Slots::new(LIMIT, LIMIT));
        let inside = Arc::new(AtomicUsize::new(0));
        let entered = runtime.block_on(async {
            let tasks = (0..64_u64).map(|number| {
                let (slots, inside) = (Arc::clone(&slots), Arc::clone(&inside));
                tokio::spawn(async move {
                    let mut entered = 0;
                    for round in 0..2000 {
                        let patience = Duration::from_micros((number * 7 + round) % 50 * 10);
                        // One in three goes away by itself, whatever its deadline.
                        let deadline = Instant::now() + if round % 3 == 0 { AMPLE } else { patience };
                        let Ok(Ok(_slot)) = tokio::time::timeout(patience, slots.enter(deadline)).await else {
                            continue;
                        };
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < LIMIT);
                        if round % 5 == 0 {
                            tokio::task::yield_now().await;
                        }
                        inside.fetch_sub(1, Ordering::SeqCst);
                        entered += 1;
                    }
                    entered
                })
            });
            futures::future::join_all(tasks.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).sum::<u64>()
        });
        assert!(entered > 1000, "{entered}");
        assert_eq!((slots.held(), slots.waiting()), (0, 0));
        assert!((0..LIMIT).map(|_| slots.try_enter()).collect::<Vec<_>>().iter().all(Option::is_some));
    }
}
