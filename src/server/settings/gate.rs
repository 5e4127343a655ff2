//! How many calls a model or source takes, and when it is left alone.

use std::{num::NonZeroUsize, time::Duration};

use colloquy_actors::{BreakerPolicy, GatePolicy};

use super::{
    fault::Report,
    table::{Entry, Shape, Table},
    units,
};

/// How many calls may run at once.
pub(super) const CONCURRENCY: Entry =
    Entry::is("concurrency", "16", "a number from 1 to 4096", "calls that may run at once; further ones wait");
/// How many calls may wait.
pub(super) const QUEUE: Entry =
    Entry::is("queue", "256", "a number from 0 to 65536", "calls that may wait; further ones are refused at once");

/// When a model or source is left alone.
pub(super) static BREAKER: Shape = Shape {
    entries: &[
        Entry::is("failures", "5", "a number from 1 to 1000", "failures in a row after which no call passes"),
        Entry::is("open_for", "2s", "10ms to 1h", "how long, at first; twice that each further time"),
        Entry::is("open_for_max", "60s", "10ms to 24h", "how long at most; then one call passes, as a trial"),
    ],
    tables: &[],
};

/// Reads the gate of a provider or source; each of its models has one of its own.
pub(super) fn read(table: &mut Table, report: &mut Report) -> Option<GatePolicy> {
    let concurrency = table.read(report, CONCURRENCY.name, units::number(1..=4096))?;
    let queue_len_max = table.read(report, QUEUE.name, units::number(0..=65536))?;
    let breaker = breaker(table.table(report, "breaker", &BREAKER)?, report)?;
    Some(GatePolicy { concurrency: NonZeroUsize::new(concurrency)?, queue_len_max, breaker })
}

fn breaker(mut table: Table, report: &mut Report) -> Option<BreakerPolicy> {
    let (ten_ms, hour) = (Duration::from_millis(10), Duration::from_secs(3600));
    let failures = table.read(report, "failures", units::number(1..=1000))?;
    let open_for = table.read(report, "open_for", units::within(ten_ms..=hour))?;
    let open_for_max = table.read(report, "open_for_max", units::within(ten_ms..=hour * 24))?;
    longest_is_not_shorter(&table, report, open_for, open_for_max);
    table.finish(report);
    Some(BreakerPolicy { failures: u32::try_from(failures).ok()?, open_for, open_for_max })
}

/// The first time would be cut to the longest in silence.
fn longest_is_not_shorter(table: &Table, report: &mut Report, first: Duration, longest: Duration) {
    if first > longest {
        let name = if table.gives("open_for_max") { "open_for_max" } else { "open_for" };
        let problem = format!("open_for, {first:?}, is longer than open_for_max, {longest:?}");
        table.fault(report, name, problem, "lower open_for, or raise open_for_max");
    }
}
