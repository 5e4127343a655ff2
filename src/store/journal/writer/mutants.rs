//! A planted bug, so that tests can show that it is noticed.

use super::{Pending, WriterCore};

impl WriterCore {
    /// Tells everyone who waits that it is done, before anything is written.
    pub(super) fn acknowledge_early(&mut self) {
        if !self.acknowledges_early {
            return;
        }
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Ending(done, ending) => done.call(ending),
                other => self.pending.push(other),
            }
        }
    }
}
