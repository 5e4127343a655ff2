//! How many conversations may be opened at once: each reads its history from the store, and a herd of them must not
//! starve those that run. The others wait in the order in which they came.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// The places of activations.
#[derive(Debug)]
pub(crate) struct Activations {
    places: Semaphore,
    max: usize,
    waiting: AtomicUsize,
}

/// Counts one that waits for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Activations {
    pub(crate) fn new(max: NonZeroUsize) -> Self {
        let max = max.get().min(Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(max), max, waiting: AtomicUsize::new(0) }
    }

    /// Waits for a place, in order, `patience` at most. Cancel safe.
    pub(crate) async fn enter(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        timeout(patience, self.places.acquire()).await.ok()?.ok()
    }

    /// How many open their conversations.
    pub(crate) fn running(&self) -> usize {
        self.max.saturating_sub(self.places.available_permits())
    }

    /// How many wait for a place.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
