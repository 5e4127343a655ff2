//! Bounds and times of the runtime, with their defaults.

use std::{num::NonZeroUsize, time::Duration};

use crate::{admission::Rate, chaos::ChaosBudget, restarts::RestartPolicies};

/// How many calls may be in flight at once. Each bound counts calls that wait or run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In this process.
    pub in_flight_max: NonZeroUsize,
    /// Of one tenant.
    pub tenant_in_flight_max: NonZeroUsize,
    /// Of one conversation: the running turn and its queue.
    pub queue_len_max: NonZeroUsize,
    /// Bytes of input of all calls in flight.
    pub queue_bytes_max: NonZeroUsize,
    /// Calls that write, by tenant; any number when not given.
    pub tenant_rate: Option<Rate>,
    /// Calls that write, by peer; any number when not given.
    pub peer_rate: Option<Rate>,
    /// Turns that are carried out at once however busy the cores are. While they are busy no more than keep them so are,
    /// but at least these.
    pub at_once_min: NonZeroUsize,
    /// How long calls may wait on average between the door and their conversation, before fewer are let in.
    pub wait_target: Duration,
}

const fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(number.saturating_sub(1))
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: at_least_one(4096),
            tenant_in_flight_max: at_least_one(4096),
            queue_len_max: at_least_one(512),
            queue_bytes_max: at_least_one(64 << 20),
            at_once_min: at_least_one(64),
            tenant_rate: None,
            peer_rate: None,
            wait_target: Duration::from_millis(10),
        }
    }
}

/// When conversations leave memory. Nothing is lost by it: the next call reads them from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassivationPolicy {
    /// How long a conversation may be unused.
    pub idle_after: Duration,
    /// How many conversations may be in memory; beyond it the least recently used leave, down to nine tenths of it.
    pub active_max: NonZeroUsize,
    /// How many bytes they may take, by their own estimates; beyond it likewise.
    pub memory_max: usize,
}

impl Default for PassivationPolicy {
    fn default() -> Self {
        Self { idle_after: Duration::from_secs(600), active_max: at_least_one(100_000), memory_max: 1 << 30 }
    }
}

/// When a conversation's state is written as a snapshot beside its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// At least this many turns since the last one, or ...
    pub turns: u32,
    /// ... at least this many bytes of records since the last one. Either counts only once the
    /// records since are also `ratio` times as large as the last snapshot, so that snapshots never
    /// outweigh the turns.
    pub bytes: usize,
    /// See `bytes`.
    pub ratio: usize,
    /// When a conversation leaves memory: at least this many bytes of records since the last one, ...
    pub rest_bytes: usize,
    /// ... and so many times the bytes that a snapshot would take.
    pub rest_ratio: usize,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { turns: 32, bytes: 256 << 10, ratio: 4, rest_bytes: 32 << 10, rest_ratio: 2 }
    }
}

/// Everything the runtime can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// Admission bounds.
    pub limits: Limits,
    /// The deadline of a turn whose caller named none.
    pub turn_deadline_default: Duration,
    /// The longest deadline a caller may name; longer ones are cut to it.
    pub turn_deadline_max: Duration,
    /// Taken off the caller's deadline, so that our own answer arrives before the caller gives up.
    pub reply_margin: Duration,
    /// The longest that opening a conversation may take.
    pub activation_deadline: Duration,
    /// The longest that a watcher may leave its stream unread.
    pub watch_stall_max: Duration,
    /// How many conversations may be opened at once; others wait in order.
    pub activations_max: NonZeroUsize,
    /// When conversations leave memory.
    pub passivation: PassivationPolicy,
    /// How failed actors come back.
    pub restart: RestartPolicies,
    /// When snapshots are due.
    pub snapshot: SnapshotPolicy,
    /// How many actors operators may kill.
    pub chaos: ChaosBudget,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            turn_deadline_default: Duration::from_secs(10),
            turn_deadline_max: Duration::from_secs(300),
            reply_margin: Duration::from_millis(20),
            activation_deadline: Duration::from_secs(10),
            watch_stall_max: Duration::from_secs(10),
            activations_max: at_least_one(64),
            passivation: PassivationPolicy::default(),
            restart: RestartPolicies::default(),
            snapshot: SnapshotPolicy::default(),
            chaos: ChaosBudget::default(),
        }
    }
}
