//! What a seed decides to happen: one operation a step.
//!
//! To add an operation: a variant, its name, a row of [`Operation::draw`], and an arm where it is performed (`life`
//! for what is done to the process and its disk, `calls` for what callers do).

use std::time::Duration;

use colloquy_store::simulated::{Crash, Random};
use colloquy_types::TurnSeq;

use crate::BusyPolicy;

/// What users say, of which most need the world.
pub(super) const SAID: [&str; 9] = [
    "desk",
    "pay for ann",
    "send for bob",
    "tell me more",
    "look around",
    "for carl",
    "pay",
    "nothing that is known",
    "send for dora",
];

/// How a turn is submitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) budget: Duration,
    /// The flow's own when not given.
    pub(super) busy: Option<BusyPolicy>,
    pub(super) streamed: bool,
    /// After how many events whoever follows the turn goes away and comes back.
    pub(super) cut: Option<usize>,
}

/// Which turn a caller expects to be the last one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    Any,
    TheLast,
    Another(TurnSeq),
}

/// One step. `conversation` and `which` are numbers that are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Submit {
        conversation: usize,
        said: usize,
        expected: Expected,
        manner: Manner,
    },
    Repeat {
        conversation: usize,
        which: usize,
        other_payload: bool,
        manner: Manner,
    },
    Reset {
        conversation: usize,
        expected: Expected,
        manner: Manner,
    },
    Feedback {
        conversation: usize,
        manner: Manner,
    },
    Cancel {
        conversation: usize,
        which: usize,
        budget: Duration,
    },
    Pause {
        conversation: usize,
        paused: bool,
        manner: Manner,
    },
    /// Of the tenant, under the id of a recent request when `again` is given. With `unheard` the next acknowledgement of a
    /// write is lost.
    Steer {
        paused: bool,
        again: Option<usize>,
        unheard: bool,
        budget: Duration,
    },
    /// Kills the keeper of the flows.
    KillKeeper,
    /// Holds what is paused against what was written, after a while in which nobody asks for anything.
    LookAtPauses,
    /// `at` is a number of a turn, taken modulo what there is; the last state when not given.
    Fork {
        conversation: usize,
        source: usize,
        at: Option<usize>,
        manner: Manner,
    },
    Erase {
        conversation: usize,
        budget: Duration,
    },
    Passivate {
        conversation: usize,
        budget: Duration,
    },
    Describe {
        conversation: usize,
        budget: Duration,
    },
    Read {
        conversation: usize,
        budget: Duration,
    },
    Watch {
        conversation: usize,
        behind: bool,
    },
    Disconnect {
        which: usize,
    },
    Kill {
        conversation: usize,
    },
    /// Kills the supervisor of a conversation's shard.
    KillSupervisor {
        conversation: usize,
    },
    Panic {
        conversation: usize,
    },
    Crash(Crash),
    DieInGroup {
        after: usize,
    },
    DiskFails {
        after: usize,
    },
    DiskFull(bool),
    Restart,
    SlowSync(Duration),
    LoseAcknowledgement,
    LoseAppend,
    RefuseAppend,
    DelayAppend(Duration),
    StepClock {
        millis: i64,
    },
    Checkpoint,
    Compact,
    Wait(Duration),
}

impl Operation {
    /// The name it is counted by.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Submit { manner: Manner { streamed: true, .. }, .. } => "turns streamed",
            Self::Submit { .. } => "turns submitted",
            Self::Repeat { other_payload: true, .. } => "requests repeated with another payload",
            Self::Repeat { .. } => "requests repeated",
            Self::Reset { .. } => "resets",
            Self::Feedback { .. } => "feedback",
            Self::Cancel { .. } => "cancellations",
            Self::Pause { paused: true, .. } => "pauses",
            Self::Pause { .. } => "resumptions",
            Self::Steer { paused: true, .. } => "pauses of the tenant",
            Self::Steer { .. } => "resumptions of the tenant",
            Self::KillKeeper => "kills of the keeper of flows",
            Self::LookAtPauses => "looks at pauses",
            Self::Fork { .. } => "forks",
            Self::Erase { .. } => "erasures",
            Self::Passivate { .. } => "passivations asked for",
            Self::Describe { .. } => "descriptions",
            Self::Read { .. } => "reads",
            Self::Watch { .. } => "watches",
            Self::Disconnect { .. } => "disconnections",
            Self::Kill { .. } => "actors killed",
            Self::KillSupervisor { .. } => "kills of supervisors",
            Self::Panic { .. } => "panics armed",
            Self::Crash(Crash::Process) => "processes killed",
            Self::Crash(Crash::Power) => "power lost",
            Self::DieInGroup { .. } => "deaths within a write armed",
            Self::DiskFails { .. } => "disk failures armed",
            Self::DiskFull(true) => "disk full",
            Self::DiskFull(false) => "disk freed",
            Self::Restart => "restarts in order",
            Self::SlowSync(_) => "slow syncs armed",
            Self::LoseAcknowledgement => "lost acknowledgements armed",
            Self::LoseAppend => "lost appends armed",
            Self::RefuseAppend => "refused appends armed",
            Self::DelayAppend(_) => "late appends armed",
            Self::StepClock { millis: ..0 } => "clock put back",
            Self::StepClock { .. } => "clock put forth",
            Self::Checkpoint => "checkpoints",
            Self::Compact => "compactions",
            Self::Wait(_) => "waits",
        }
    }

    fn steer(random: &mut Random, paused: bool) -> Self {
        let again = random.chance(15).then(|| random.below(usize::MAX));
        Self::Steer { paused, again, unheard: random.chance(40), budget: budget(random) }
    }

    /// The next operation.
    pub(super) fn draw(random: &mut Random) -> Self {
        let conversation = random.below(usize::MAX);
        let which = random.below(usize::MAX);
        let millis = |random: &mut Random, low, high| Duration::from_millis(random.between(low, high) as u64);
        match random.below(1000) {
            0..280 => Self::Submit {
                conversation,
                said: random.below(SAID.len()),
                expected: expected(random),
                manner: manner(random),
            },
            280..302 => Self::Cancel { conversation, which, budget: budget(random) },
            302..308 => Self::Pause { conversation, paused: true, manner: manner(random) },
            308..324 => Self::Pause { conversation, paused: false, manner: manner(random) },
            324..332 => {
                let at = random.chance(60).then(|| random.below(usize::MAX));
                Self::Fork { conversation, source: which, at, manner: manner(random) }
            }
            332..450 => Self::Repeat { conversation, which, other_payload: random.chance(15), manner: manner(random) },
            450..475 => Self::Reset { conversation, expected: expected(random), manner: manner(random) },
            475..500 => Self::Feedback { conversation, manner: manner(random) },
            500..512 => Self::Erase { conversation, budget: budget(random) },
            512..552 => Self::Describe { conversation, budget: budget(random) },
            552..577 => Self::Read { conversation, budget: budget(random) },
            577..610 => Self::Watch { conversation, behind: random.chance(40) },
            610..630 => Self::Disconnect { which },
            630..660 => Self::Kill { conversation },
            660..675 => Self::Panic { conversation },
            675..679 => Self::Crash(Crash::Process),
            679..683 => Self::Crash(Crash::Power),
            683..687 => Self::DieInGroup { after: random.between(1, 12) },
            687..689 => Self::DiskFails { after: random.between(1, 20) },
            689..697 => Self::DiskFull(true),
            697..717 => Self::DiskFull(false),
            717..719 => Self::Restart,
            719..745 => Self::SlowSync(millis(random, 50, 2500)),
            745..765 => Self::LoseAcknowledgement,
            765..785 => Self::LoseAppend,
            785..805 => Self::RefuseAppend,
            805..830 => Self::DelayAppend(millis(random, 1, 800)),
            830..838 => Self::StepClock { millis: random.between(1, 20_000) as i64 },
            838..846 => Self::StepClock { millis: -(random.between(1, 20_000) as i64) },
            846..854 => Self::Checkpoint,
            854..858 => Self::Compact,
            858..876 => Self::Passivate { conversation, budget: budget(random) },
            876..884 => Self::KillSupervisor { conversation },
            884..887 => Self::steer(random, true),
            887..917 => Self::steer(random, false),
            917..922 => Self::KillKeeper,
            922..926 => Self::LookAtPauses,
            _ => Self::Wait(millis(random, 20, 600)),
        }
    }
}

fn budget(random: &mut Random) -> Duration {
    let millis = *random.pick(&[40, 120, 400, 1000, 3000, 3000, 8000, 8000]).unwrap_or(&3000);
    Duration::from_millis(millis)
}

fn expected(random: &mut Random) -> Expected {
    match random.below(100) {
        0..75 => Expected::Any,
        75..95 => Expected::TheLast,
        _ => Expected::Another(TurnSeq::new(random.below(9) as u64)),
    }
}

fn manner(random: &mut Random) -> Manner {
    let busy = if random.chance(50) { None } else { random.pick(&BusyPolicy::ALL).copied() };
    let (streamed, cut) = (random.chance(40), random.chance(30).then(|| random.below(6)));
    Manner { budget: budget(random), busy, streamed, cut }
}
