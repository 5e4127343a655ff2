//! The promise that hints are synced, which a turn waits for before it is written.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Tells, once nobody can keep it any more, whether it was kept: also when whoever should have kept it is gone.
pub(crate) struct Promise {
    wanted: usize,
    kept: AtomicUsize,
    tell: Option<Box<dyn FnOnce(bool) + Send + Sync>>,
}

impl std::fmt::Debug for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Promise").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Promise {
    /// A promise of so many hints, whose end is told to `tell`.
    pub(crate) fn new(wanted: usize, tell: impl FnOnce(bool) + Send + Sync + 'static) -> Self {
        Self { wanted, kept: AtomicUsize::new(0), tell: Some(Box::new(tell)) }
    }

    /// One of its hints is synced.
    pub(super) fn keep(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.kept.load(Ordering::Relaxed) == self.wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn it_is_kept_when_every_hint_is() {
        for (kept, expected) in [(0, false), (1, false), (2, true)] {
            let told = Arc::new(Mutex::new(None));
            let tell = Arc::clone(&told);
            let promise = Promise::new(2, move |kept| *tell.lock().unwrap() = Some(kept));
            (0..kept).for_each(|_| promise.keep());
            assert_eq!(*told.lock().unwrap(), None);
            drop(promise);
            assert_eq!(*told.lock().unwrap(), Some(expected));
        }
    }
}
