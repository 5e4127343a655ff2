//! Passing text on while it is written, without ever waiting for who reads it.

use std::time::Duration;

use tokio::{
    sync::mpsc::{Sender, error::TrySendError},
    time::{self, Instant},
};

/// How long the end of a text waits for a reader that is behind; the answer holds all of it anyway.
const LAST_PATIENCE: Duration = Duration::from_millis(100);

/// Where text goes. What does not fit is joined with what follows.
#[derive(Debug, Default)]
pub(crate) struct Deltas {
    to: Option<Sender<String>>,
    held: String,
}

impl Deltas {
    pub(crate) const fn new(to: Option<Sender<String>>) -> Self {
        Self { to, held: String::new() }
    }

    /// Passes on what can be passed on at once.
    pub(crate) fn push(&mut self, text: &str) {
        let Some(to) = &self.to else { return };
        self.held.push_str(text);
        if self.held.is_empty() {
            return;
        }
        match to.try_send(std::mem::take(&mut self.held)) {
            Ok(()) => {}
            Err(TrySendError::Full(held)) => self.held = held,
            Err(TrySendError::Closed(_)) => self.to = None,
        }
    }

    /// Passes on what is left, if the reader takes it soon.
    pub(crate) async fn finish(self, deadline: Instant) {
        if let Some(to) = self.to.filter(|_| !self.held.is_empty()) {
            let until = deadline.min(Instant::now() + LAST_PATIENCE);
            // A reader that is too slow or has gone takes the whole text from the answer.
            drop(time::timeout_at(until, to.send(self.held)).await);
        }
    }
}
