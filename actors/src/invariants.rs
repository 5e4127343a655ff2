//! What must hold of every conversation, each with an id that reports, tests and the simulation name it by.
//!
//! Each is a question about plain data, so that the same function serves assertions in the runtime and the checks of
//! the simulation. What a simulation alone can know, as what the disk held at some moment, it passes in.

use std::fmt;

use colloquy_types::Head;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// INV-1: a commit carries at most one turn and takes its number without a gap; its record follows the last.
    Gapless,
    /// INV-2: nothing leaves the process that is not synced, but for what is marked as provisional.
    SyncedBeforeTold,
    /// INV-3: what was synced is there for good, unchanged; and nothing is there that was not appended.
    Durable,
    /// INV-4: only the newest owner of a conversation commits.
    Fenced,
    /// INV-5: a request id has one ending, the same for everyone who asks, of the payload that it was sent with.
    OneEnding,
    /// INV-6: an action is called once for each turn and step, unless its flow declares that it may be repeated.
    OneCall,
    /// INV-7: an action that may change the world is called only once its intent is synced.
    IntentFirst,
    /// INV-8: a turn that was promised ends.
    PromiseKept,
    /// INV-9: what begins after something was told sees at least that.
    RealTime,
    /// INV-10: a stored turn, decided again on what is recorded, comes out as it was stored.
    Replays,
    /// INV-11: a call that was told to have had no effect has none.
    NoGhost,
    /// INV-12: a watch sees every turn once and in order.
    WatchInOrder,
    /// INV-13: every call ends by its deadline, and gives back its place.
    EndsInTime,
    /// INV-14: no turn of a conversation is committed that was sent while it or its tenant was paused, and none is refused for a
    /// pause that does not hold; what holds is what was synced.
    Paused,
    /// INV-15: everyone who follows a turn sees the same events of an attempt under the same numbers, from the first or
    /// behind what they had seen, and none is left out.
    StreamsAgree,
    /// INV-16: a timer fires once, not before it is due, and soon after; not at all once it was dropped or replaced.
    TimersFire,
}

impl Invariant {
    /// The id.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Gapless => "INV-1",
            Self::SyncedBeforeTold => "INV-2",
            Self::Durable => "INV-3",
            Self::Fenced => "INV-4",
            Self::OneEnding => "INV-5",
            Self::OneCall => "INV-6",
            Self::IntentFirst => "INV-7",
            Self::PromiseKept => "INV-8",
            Self::RealTime => "INV-9",
            Self::Replays => "INV-10",
            Self::NoGhost => "INV-11",
            Self::WatchInOrder => "INV-12",
            Self::EndsInTime => "INV-13",
            Self::Paused => "INV-14",
            Self::StreamsAgree => "INV-15",
            Self::TimersFire => "INV-16",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// INV-1: whether a commit may lead from `before` to `after`.
pub(crate) fn follows(before: &Head, after: &Head) -> bool {
    let turns = after.turn_seq.get().checked_sub(before.turn_seq.get());
    after.record_no > before.record_no && after.epoch >= before.epoch && matches!(turns, Some(0 | 1))
}
