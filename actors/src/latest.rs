//! A value that changes, and those who wait for what it becomes.
//!
//! Unlike tokio's `watch`, which wakes in a random order, it wakes whoever waits in the order in which they came, so that a
//! simulation plays the same each time.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// The value.
#[derive(Debug, Default)]
pub(crate) struct Latest<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Copy> Latest<T> {
    /// What it is now.
    pub(crate) fn get(&self) -> T {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it and wakes whoever waits.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    /// Waits until it is as wanted; what comes and goes meanwhile may be missed. Cancel safe.
    pub(crate) async fn wait_for(&self, is_wanted: impl Fn(&T) -> bool) -> T {
        loop {
            // It is told of every change from here on.
            let changed = self.changed.notified();
            let now = self.get();
            if is_wanted(&now) {
                return now;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let (latest, woken) = (Arc::new(Latest::<u32>::default()), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..50)
            .map(|number| {
                let (latest, woken) = (Arc::clone(&latest), Arc::clone(&woken));
                tokio::spawn(async move {
                    assert_eq!(latest.wait_for(|value| *value > 1).await, 2);
                    woken.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        latest.change(|value| *value = 1);
        tokio::task::yield_now().await;
        assert!(woken.lock().unwrap().is_empty());
        latest.change(|value| *value = 2);
        for waits in waiting {
            waits.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..50).collect::<Vec<_>>());
        assert_eq!(latest.wait_for(|value| *value > 1).await, 2, "it is so already");
    }
}
