//! How long what was said is kept, by tenant.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use colloquy_actors::IdleRetention;
use colloquy_store::{Retention, RetentionPolicy};
use colloquy_types::TenantId;

use super::{
    fault::Report,
    file::{Placed, Value},
    table::{self, Entry, Shape, Table},
    units,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TURNS: Entry = Entry::may(
    "turns",
    "1000",
    "a number from 1 to 1000000000",
    "newest turns of a conversation whose bodies are kept; all when not given",
);
const DAYS: Entry = Entry::may(
    "days",
    "365",
    "a number from 1 to 36500",
    "age in days beyond which bodies go, once a snapshot stands behind them; none when not given",
);

/// What holds for all tenants together.
pub(super) static RETENTION: Shape = Shape {
    entries: &[Entry::is(
        "idle_erasures_per_second",
        "10",
        "a number from 1 to 1000",
        "how many idle conversations may be erased in a second",
    )],
    tables: &["default", "tenants"],
};

/// What holds for tenants that have no table of their own.
pub(super) static DEFAULT: Shape = Shape { entries: &[TURNS, DAYS], tables: &[] };

/// What holds for one tenant, in place of the default.
pub(super) static TENANT: Shape = Shape {
    entries: &[
        TURNS,
        DAYS,
        Entry::may(
            "idle_days",
            "730",
            "a number from 1 to 36500",
            "days without a turn after which a whole conversation is erased; never when not given",
        ),
    ],
    tables: &[],
};

/// What is kept of histories, and of conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Of the bodies of histories; the journal's compaction applies it.
    pub(crate) bodies: RetentionPolicy,
    /// Of conversations in which nothing happens; the janitor applies it.
    pub(crate) idle: IdleRetention,
}

/// Reads the section; without it everything is kept.
pub(super) fn read(report: &mut Report, placed: Option<Placed>) -> Kept {
    let empty = || Placed { place: "default".to_owned(), value: Value::Table(BTreeMap::new()) };
    let mut kept = Kept::default();
    let placed = placed.unwrap_or_else(empty);
    let Some(mut table) = Table::open(report, "retention".to_owned(), placed, &RETENTION) else { return kept };
    let per_second = table.read(report, "idle_erasures_per_second", units::number(1..=1000));
    if let Some(per_second) = per_second.and_then(|number| NonZeroU32::new(u32::try_from(number).ok()?)) {
        kept.idle.erasures_per_second = per_second;
    }
    if table.gives("default")
        && let Some(mut default) = table.table(report, "default", &DEFAULT)
    {
        report.table(&default.path);
        kept.bodies.others = Some(bodies(&mut default, report));
        default.finish(report);
    }
    for (name, placed) in table.named(report, "tenants") {
        let path = format!("retention.tenants.{}", table::key(&name));
        if let Err(invalid) = TenantId::parse(&name) {
            report.fault(
                placed.place.clone(),
                path.clone(),
                format!("is no tenant: {invalid}"),
                "write a tenant's name",
            );
        }
        let Some(mut tenant) = Table::open(report, path, placed, &TENANT) else { continue };
        report.table(&tenant.path);
        kept.bodies.tenants.insert(name.clone(), bodies(&mut tenant, report));
        if let Some(idle) = days(&mut tenant, report, "idle_days") {
            kept.idle.tenants.insert(name, idle);
        }
        tenant.finish(report);
    }
    table.finish(report);
    kept
}

fn bodies(table: &mut Table, report: &mut Report) -> Retention {
    let turns = table.read(report, "turns", units::number(1..=1_000_000_000));
    let turns = turns.and_then(|turns| NonZeroU64::new(u64::try_from(turns).ok()?));
    Retention { turns, age: days(table, report, "days") }
}

fn days(table: &mut Table, report: &mut Report, name: &'static str) -> Option<Duration> {
    let days = table.read(report, name, units::number(1..=36_500))?;
    Some(DAY * u32::try_from(days).ok()?)
}
