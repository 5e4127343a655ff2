//! Polls that take too long.
//!
//! A task that keeps its thread for long keeps everyone waiting who is to run there, whatever their deadlines. What runs
//! on the async runtime therefore measures its own polls, and those above [`STALL`] are counted by what they were and
//! logged, at most once a second each. It is wall time: a machine that gives the process no core shows here as well.
//!
//! In debug builds, as tests are, the CPU time of long polls is measured too, and those above [`STALL_CPU`] are counted
//! beside: whatever the machine does meanwhile, they are the program's own, and fail the test in which they are seen.
//! Release builds read no such clock.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// The longest that a poll may take.
pub const STALL: Duration = Duration::from_millis(10);
/// The most CPU time that a poll may take where it is measured: debug builds.
///
/// It is ten times [`STALL`]. Unoptimised code takes five to ten times as long as a release build does, so a poll that is
/// above this one here is about to be above that one there.
pub const STALL_CPU: Duration = Duration::from_millis(100);
/// Whether CPU time is measured.
const IS_CPU_MEASURED: bool = cfg!(debug_assertions);
/// From one line of the log to the next of the same kind.
const QUIET: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Polled {
    /// A message in a conversation's actor.
    Conversation,
    /// A call of a model, a source or a tool.
    Call,
    /// A request in the gateway.
    Gateway,
    /// What supervises: the root of the tree, shards, supervisors of gates.
    Supervisor,
    /// The keeper of flows.
    Flows,
    /// The janitor of what is retained.
    Janitor,
    /// Timers.
    Timers,
    /// The passivator.
    Passivator,
    /// A gate in front of a model or a source.
    Gate,
    /// A session with a source.
    Session,
}

impl Polled {
    const ALL: [Self; 10] = [
        Self::Conversation,
        Self::Call,
        Self::Gateway,
        Self::Supervisor,
        Self::Flows,
        Self::Janitor,
        Self::Timers,
        Self::Passivator,
        Self::Gate,
        Self::Session,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Call => "call",
            Self::Gateway => "gateway",
            Self::Supervisor => "supervisor",
            Self::Flows => "flows",
            Self::Janitor => "janitor",
            Self::Timers => "timers",
            Self::Passivator => "passivator",
            Self::Gate => "gate",
            Self::Session => "session",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Debug)]
struct Row {
    stalls: Counter,
    /// Polls that took too much CPU time, and the most that one took, in microseconds.
    cpu_stalls: Counter,
    longest_cpu_micros: AtomicU64,
    /// Milliseconds after the beginning at which the last one was logged.
    logged_at: AtomicU64,
}

/// Counts stalls. Cheap to clone; clones share.
#[derive(Clone, Debug)]
pub struct Stalls {
    rows: Arc<BTreeMap<Polled, Row>>,
    began: Instant,
}

/// Measures from its making to its drop.
#[derive(Debug)]
pub struct Poll<'a> {
    stalls: &'a Stalls,
    what: Polled,
    began: Instant,
    /// What its thread had taken then, where that is measured.
    cpu_began: Option<Duration>,
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        if took < STALL {
            return;
        }
        self.stalls.stalled(self.what, took);
        // No poll takes more of its thread's time than of everybody's.
        if let Some(began) = self.cpu_began.filter(|_| took >= STALL_CPU) {
            self.stalls.took_cpu(self.what, thread_cpu().saturating_sub(began));
        }
    }
}

/// The CPU time that this thread has taken.
fn thread_cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// A future whose polls are measured.
#[derive(Debug)]
pub struct Watched<F> {
    stalls: Stalls,
    what: Polled,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> std::task::Poll<F::Output> {
        let Self { stalls, what, future } = &mut *self;
        let _poll = stalls.poll(*what);
        future.as_mut().poll(context)
    }
}

impl Stalls {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let family = Family::<What, Counter>::default();
        registry.register(
            "stalls",
            "Polls that kept their thread for 10 ms or longer, by what they were",
            family.clone(),
        );
        let cpu_family = Family::<What, Counter>::default();
        if IS_CPU_MEASURED {
            let help = "Polls that took too much CPU time, by what they were; of debug builds";
            registry.register("stalls_cpu", help, cpu_family.clone());
        }
        let row = |what: Polled| {
            let label = What { what: what.name() };
            let (stalls, cpu_stalls) = (family.get_or_create(&label).clone(), cpu_family.get_or_create(&label).clone());
            let (longest_cpu_micros, logged_at) = (AtomicU64::new(0), AtomicU64::new(0));
            (what, Row { stalls, cpu_stalls, longest_cpu_micros, logged_at })
        };
        Self { rows: Arc::new(Polled::ALL.into_iter().map(row).collect()), began: Instant::now() }
    }

    /// Measures what runs until the answer is dropped, which must be before anything is awaited.
    pub fn poll(&self, what: Polled) -> Poll<'_> {
        Poll { stalls: self, what, began: Instant::now(), cpu_began: IS_CPU_MEASURED.then(thread_cpu) }
    }

    /// Measures every poll of a future.
    pub fn watch<F: Future>(&self, what: Polled, future: F) -> Watched<F> {
        Watched { stalls: self.clone(), what, future: Box::pin(future) }
    }

    /// How many there were.
    pub fn count(&self, what: Polled) -> u64 {
        self.rows.get(&what).map_or(0, |row| row.stalls.get())
    }

    /// What took too much CPU time, in words; for tests to fail with. Always empty in release builds.
    pub fn offenders(&self) -> Vec<String> {
        let offending = self.rows.iter().filter(|(_, row)| row.cpu_stalls.get() > 0);
        let words = |(what, row): (&Polled, &Row)| {
            let longest = Duration::from_micros(row.longest_cpu_micros.load(Ordering::Relaxed));
            let (name, count) = (what.name(), row.cpu_stalls.get());
            format!("{name}: {count} polls of {STALL_CPU:?} of CPU or more, the longest {longest:?}")
        };
        offending.map(words).collect()
    }

    fn took_cpu(&self, what: Polled, cpu: Duration) {
        if let Some(row) = self.rows.get(&what).filter(|_| cpu >= STALL_CPU) {
            row.cpu_stalls.inc();
            let micros = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
            row.longest_cpu_micros.fetch_max(micros, Ordering::Relaxed);
        }
    }

    fn stalled(&self, what: Polled, took: Duration) {
        let Some(row) = self.rows.get(&what) else { return };
        row.stalls.inc();
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (logged_at, quiet) = (row.logged_at.load(Ordering::Relaxed), u64::try_from(QUIET.as_millis()).unwrap_or(0));
        let is_first = row.stalls.get() == 1;
        let may_log = is_first || now.saturating_sub(logged_at) >= quiet;
        // Of several at once, one logs.
        if may_log && row.logged_at.compare_exchange(logged_at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let (what, took_ms) = (what.name(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
            tracing::debug!(what, took_ms, "a poll kept its thread for long");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Keeps the thread, as what must not be does.
    fn keep_thread(time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_poll_that_keeps_its_thread_is_counted_by_what_it_was() {
        let mut registry = Registry::default();
        let stalls = Stalls::new(&mut registry);
        drop(stalls.poll(Polled::Conversation));
        let mut polls = 0;
        let slow = poll_fn(|context| {
            polls += 1;
            keep_thread(if polls == 2 { STALL } else { Duration::ZERO });
            context.waker().wake_by_ref();
            if polls == 3 { std::task::Poll::Ready(7) } else { std::task::Poll::Pending }
        });
        let mut watched = std::pin::pin!(stalls.watch(Polled::Call, slow));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let ended = std::iter::repeat_with(|| watched.as_mut().poll(&mut context)).find(std::task::Poll::is_ready);
        assert_eq!(ended, Some(std::task::Poll::Ready(7)));
        assert_eq!((stalls.count(Polled::Call), stalls.count(Polled::Gateway)), (1, 0));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("stalls_total{what=\"call\"} 1\n"), "{text}");
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_poll_that_computes_for_long_is_an_offender_and_one_that_waits_is_none() {
        let stalls = Stalls::new(&mut Registry::default());
        let waiting = stalls.poll(Polled::Gateway);
        #[expect(clippy::disallowed_methods, reason = "the thread is to wait, as on a machine without a free core")]
        std::thread::sleep(STALL_CPU * 2);
        drop(waiting);
        assert_eq!((stalls.count(Polled::Gateway), stalls.offenders()), (1, Vec::new()));
        let computing = stalls.poll(Polled::Call);
        let begun = thread_cpu();
        while thread_cpu() < begun + STALL_CPU {
            std::hint::spin_loop();
        }
        drop(computing);
        let offenders = stalls.offenders();
        assert!(offenders.len() == 1 && offenders[0].starts_with("call: 1 polls"), "{offenders:?}");
    }
}
