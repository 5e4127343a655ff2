//! What goes wrong between the runtime and the writer: once, each time it is asked for.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use colloquy_types::ConversationKey;

#[cfg(any(test, feature = "simulation"))]
use crate::journal::writer::WriterCore;

/// A planted bug: a way in which a store could break its promises, so that a simulation can show that it notices.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The writer leaves out the sync.
    SkipsSync,
    /// The writer takes appends of every owner, wherever they stand.
    SkipsFence,
    /// An append is acknowledged before it is written.
    AcknowledgesEarly,
    /// Reads of turns show what is not synced.
    LeaksUnsynced,
}

/// What happens to the next append, to whichever conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is applied, and whoever waits is told that nobody knows.
    AcknowledgementLost,
    /// It never arrives, and whoever waits is told that nobody knows.
    Lost,
    /// It is refused, as by a full queue.
    Refused,
    /// It arrives this much later; what is sent after it overtakes it.
    Late(Duration),
}

/// What is to go wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    next_append: Mutex<Option<Fate>>,
    panics: Mutex<Option<ConversationKey>>,
    slow_micros: AtomicU64,
    /// The names of those that happened since this was last asked.
    struck: Mutex<Vec<&'static str>>,
    #[cfg(any(test, feature = "simulation"))]
    planted: Mutex<Option<Planted>>,
}

impl Faults {
    pub(super) fn set_fate(&self, fate: Fate) {
        *super::lock(&self.next_append) = Some(fate);
    }

    /// What happens to this append.
    pub(super) fn take_fate(&self) -> Option<Fate> {
        let fate = super::lock(&self.next_append).take();
        self.strike(fate.map(|fate| match fate {
            Fate::AcknowledgementLost => "acknowledgements lost",
            Fate::Lost => "appends lost",
            Fate::Refused => "appends refused",
            Fate::Late(_) => "appends late",
        }));
        fate
    }

    fn strike(&self, name: Option<&'static str>) {
        super::lock(&self.struck).extend(name);
    }

    pub(super) fn take_struck(&self) -> Vec<&'static str> {
        std::mem::take(&mut super::lock(&self.struck))
    }

    pub(super) fn set_panic(&self, key: ConversationKey) {
        *super::lock(&self.panics) = Some(key);
    }

    /// Whether appending to `key` is to panic, once.
    pub(super) fn take_panic(&self, key: &ConversationKey) -> bool {
        super::lock(&self.panics).take_if(|wanted| wanted == key).is_some()
    }

    pub(super) fn set_slow(&self, slow: Duration) {
        self.slow_micros.store(u64::try_from(slow.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How much longer this group takes.
    pub(super) fn take_slow(&self) -> Duration {
        let micros = self.slow_micros.swap(0, Ordering::Relaxed);
        self.strike((micros > 0).then_some("slow syncs"));
        Duration::from_micros(micros)
    }

    /// Forgets what was to happen to a process that has ended.
    pub(super) fn clear(&self) {
        *super::lock(&self.next_append) = None;
        self.slow_micros.store(0, Ordering::Relaxed);
        *super::lock(&self.panics) = None;
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn set_planted(&self, planted: Planted) {
        *super::lock(&self.planted) = Some(planted);
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn plant(&self, core: &mut WriterCore) {
        let planted = *super::lock(&self.planted);
        core.skip_sync = planted == Some(Planted::SkipsSync);
        core.skip_fence = planted == Some(Planted::SkipsFence);
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn acknowledges_early(&self) -> bool {
        *super::lock(&self.planted) == Some(Planted::AcknowledgesEarly)
    }

    #[cfg(not(any(test, feature = "simulation")))]
    pub(super) const fn acknowledges_early(&self) -> bool {
        false
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn leaks_unsynced(&self) -> bool {
        *super::lock(&self.planted) == Some(Planted::LeaksUnsynced)
    }

    #[cfg(not(any(test, feature = "simulation")))]
    pub(super) const fn leaks_unsynced(&self) -> bool {
        false
    }
}
