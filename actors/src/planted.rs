//! Bugs that can be planted in the runtime, so that a simulation can show that it notices them.
//!
//! An ordinary build has none: [`crate::shared::Shared::is_planted`] is then a constant `false`.

/// A way in which the runtime could break its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// A request id that ended is not remembered.
    ForgetsDuplicates,
    /// An accepted turn is not taken up by the next activation.
    ForgetsResume,
    /// An action is called while its intent is on its way.
    ActsBeforeIntent,
    /// What a conversation is asked shows a head that is not synced.
    TellsUnsynced,
    /// Whoever comes back to a turn misses an event.
    SkipsEvent,
    /// A turn that sets a timer is written before the timer can be found, which it then never is.
    SkipsHint,
    /// Turns of a paused tenant are taken.
    IgnoresPause,
    /// What became of a write to a tenant's flows that nobody heard of is not looked for.
    ForgetsUnsettled,
}
