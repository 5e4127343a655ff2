//! Threads for work that computes long: compiling, playing scenarios, replaying. Never the runtime's workers, never
//! more than a few at once, and never without a deadline.
//!
//! A thread cannot be ended from outside: when its caller no longer waits, the work is told to stop and asks
//! between its steps. Until it has ended its place is taken, so threads cannot pile up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use crate::error::{DeadlineOutcome, Error, LimitKind};

/// Work that may run at once.
const RUNNING_MAX: usize = 2;
/// Work that may run or wait.
const ADMITTED_MAX: usize = 16;
/// When a caller that found it full may come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Conditions and templates recurse; what comes from outside gets a stack that suffices.
const STACK_BYTES: usize = 8 << 20;

/// A place in the workshop; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// Where long work is done.
#[derive(Clone, Debug)]
pub(crate) struct Workshop {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// Told to work whose caller is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct TellOnDrop(Stop);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Default for Workshop {
    fn default() -> Self {
        Self { admitted: Arc::new(Semaphore::new(ADMITTED_MAX)), running: Arc::new(Semaphore::new(RUNNING_MAX)) }
    }
}

impl Workshop {
    /// Takes a place, to be held as long as anything is done for the caller.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when all are taken.
    pub(crate) fn admit(&self) -> Result<Place, Error> {
        let permit = Arc::clone(&self.admitted).try_acquire_owned();
        permit.map(Place).map_err(|_| Error::Overloaded {
            limit: LimitKind::FlowWork,
            bound: ADMITTED_MAX,
            retry_after: RETRY_AFTER,
        })
    }

    /// How much runs or waits.
    pub(crate) fn admitted(&self) -> usize {
        ADMITTED_MAX.saturating_sub(self.admitted.available_permits())
    }

    /// Runs `work` on a thread of its own and waits for it until `deadline`.
    ///
    /// # Errors
    /// [`Error::DeadlineExceeded`], and [`Error::Internal`] when the work panicked or no thread can be had.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Stop) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let late = |_| Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied };
        let waiting = timeout_at(deadline, Arc::clone(&self.running).acquire_owned()).await.map_err(late)?;
        let permit = waiting.map_err(|_| Error::Draining)?;
        let stop = Stop::default();
        let told = TellOnDrop(stop.clone());
        let (reply, answer) = oneshot::channel();
        let body = move || {
            let _permit = permit;
            // Whoever asked may be gone.
            drop(reply.send(work(&stop)));
        };
        let spawned = thread::Builder::new().name("flow-work".to_owned()).stack_size(STACK_BYTES).spawn(body);
        spawned.map_err(|_| Error::Internal { what: "no thread can be started" })?;
        let answered = timeout_at(deadline, answer).await.map_err(late)?;
        drop(told);
        answered.map_err(|_| Error::Internal { what: "work on a flow ended unexpectedly" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[tokio::test]
    async fn work_whose_caller_is_gone_is_told_to_stop_and_keeps_its_place_until_then() {
        let workshop = Workshop::default();
        let (ended, mut seen) = tokio::sync::mpsc::channel(RUNNING_MAX);
        for _ in 0..RUNNING_MAX {
            let ended = ended.clone();
            let late = workshop.run(soon(), move |stop| {
                while !stop.is_told() {
                    thread::yield_now();
                }
                ended.blocking_send(()).unwrap();
            });
            assert_eq!(late.await, Err(Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied }));
        }
        for _ in 0..RUNNING_MAX {
            seen.recv().await.unwrap();
        }
        assert_eq!(workshop.run(Instant::now() + Duration::from_secs(10), |_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn no_more_than_a_few_are_let_in() {
        let workshop = Workshop::default();
        let places: Vec<_> = (0..ADMITTED_MAX).map(|_| workshop.admit().unwrap()).collect();
        assert!(matches!(workshop.admit(), Err(Error::Overloaded { limit: LimitKind::FlowWork, .. })));
        drop(places);
        assert!(workshop.admit().is_ok());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_the_caller() {
        let ended = Workshop::default().run(Instant::now() + Duration::from_secs(10), |_| panic!("as asked")).await;
        assert_eq!(ended, Err::<(), _>(Error::Internal { what: "work on a flow ended unexpectedly" }));
    }
}
