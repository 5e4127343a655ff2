//! A completion that cannot be forgotten.

use colloquy_types::Head;

use crate::port::{AppendError, Completion};

/// A completion that is called even when it is dropped.
pub(crate) struct Done(Option<Completion>);

impl Done {
    pub(crate) fn new(completion: Completion) -> Self {
        Self(Some(completion))
    }

    pub(crate) fn call(mut self, ending: Result<Head, AppendError>) {
        if let Some(completion) = self.0.take() {
            completion(ending);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(completion) = self.0.take() {
            completion(Err(AppendError::Unknown));
        }
    }
}
