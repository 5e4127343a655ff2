//! The bugs that can be planted, in the runtime or in its store.

use colloquy_store::simulated;

use crate::planted::Planted;

/// A planted bug: a way to break a promise, which a simulation must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A request id that ended is not remembered.
    DroppedDuplicateCheck,
    /// The store takes commits of every owner, wherever they stand.
    CommitWithoutFence,
    /// A commit is acknowledged before it is written.
    ReplyBeforeSync,
    /// The writer leaves out the sync.
    NoSync,
    /// An accepted turn is not taken up by the next activation.
    ForgottenResume,
    /// An action is called while its intent is on its way.
    ActionBeforeIntent,
    /// A watch is shown turns that are not synced.
    UnsyncedToWatcher,
    /// A question is answered with a head that is not synced.
    UnsyncedHead,
    /// Whoever comes back to a turn misses an event.
    SkippedEvent,
    /// A timer is set without a hint that leads to it.
    SkippedHint,
    /// Turns of a paused tenant are taken.
    IgnoredPause,
    /// A pause that was written and that nobody heard of does not hold.
    UnsettledPause,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::DroppedDuplicateCheck,
        Self::CommitWithoutFence,
        Self::ReplyBeforeSync,
        Self::NoSync,
        Self::ForgottenResume,
        Self::ActionBeforeIntent,
        Self::UnsyncedToWatcher,
        Self::UnsyncedHead,
        Self::SkippedEvent,
        Self::SkippedHint,
        Self::IgnoredPause,
        Self::UnsettledPause,
    ];

    /// What is planted in the runtime.
    pub(super) const fn in_runtime(self) -> Option<Planted> {
        match self {
            Self::DroppedDuplicateCheck => Some(Planted::ForgetsDuplicates),
            Self::ForgottenResume => Some(Planted::ForgetsResume),
            Self::ActionBeforeIntent => Some(Planted::ActsBeforeIntent),
            Self::UnsyncedHead => Some(Planted::TellsUnsynced),
            Self::SkippedEvent => Some(Planted::SkipsEvent),
            Self::SkippedHint => Some(Planted::SkipsHint),
            Self::IgnoredPause => Some(Planted::IgnoresPause),
            Self::UnsettledPause => Some(Planted::ForgetsUnsettled),
            _ => None,
        }
    }

    /// What is planted in its store.
    pub(super) const fn in_store(self) -> Option<simulated::Planted> {
        match self {
            Self::CommitWithoutFence => Some(simulated::Planted::SkipsFence),
            Self::ReplyBeforeSync => Some(simulated::Planted::AcknowledgesEarly),
            Self::NoSync => Some(simulated::Planted::SkipsSync),
            Self::UnsyncedToWatcher => Some(simulated::Planted::LeaksUnsynced),
            _ => None,
        }
    }
}
