//! Which conversations are in memory, how many are opened at once, and how those come back that fail.

use std::{num::NonZeroUsize, time::Duration};

use colloquy_actors::{PassivationPolicy, RestartPolicies, RestartPolicy, RuntimeSettings};

use super::{
    reader::Reader,
    units::{number, size, within},
};

/// Most conversations in memory that a setting may allow.
const ACTIVE_MAX: usize = 10_000_000;

/// The first pause would be cut to the longest in silence.
fn first_pause_within_longest(reader: &mut Reader, pause: Duration, longest: Duration) {
    if pause > longest {
        let (key, place) = ("conversations.restart_pause", reader.place("conversations.restart_pause"));
        let problem = format!("{pause:?} is longer than conversations.restart_pause_max, {longest:?}");
        reader.fault(place, key, problem, "lower it, or raise conversations.restart_pause_max");
    }
}

/// Reads the section into what the runtime takes of it; the rest is as by default.
pub(super) fn read(reader: &mut Reader) -> Option<RuntimeSettings> {
    let (ms, second) = (Duration::from_millis(1), Duration::from_secs(1));
    let idle_after = reader.read("conversations.idle_after", "1s to 168h", within(second..=second * 3600 * 168))?;
    let active_max = reader.read("conversations.active_max", "a number from 1 to 10000000", number(1..=ACTIVE_MAX))?;
    let memory_max = reader.read("conversations.memory_max", "1 MiB to 1024 GiB", size(1 << 20..=1 << 40))?;
    let activations = reader.read("conversations.activations", "a number from 1 to 4096", number(1..=4096))?;
    let restarts = reader.read("conversations.restarts", "a number from 0 to 100", number(0..=100))?;
    let window = reader.read("conversations.restart_window", "1s to 24h", within(second..=second * 3600 * 24))?;
    let pause = reader.read("conversations.restart_pause", "1ms to 1m", within(ms..=second * 60))?;
    let pause_max = reader.read("conversations.restart_pause_max", "1ms to 10m", within(ms..=second * 600))?;
    first_pause_within_longest(reader, pause, pause_max);
    let restarts_max = u32::try_from(restarts).ok()?;
    Some(RuntimeSettings {
        activations_max: NonZeroUsize::new(activations)?,
        passivation: PassivationPolicy {
            idle_after,
            active_max: NonZeroUsize::new(active_max)?,
            memory_max: usize::try_from(memory_max).ok()?,
        },
        restart: RestartPolicies {
            conversation: RestartPolicy { restarts_max, window, pause, pause_max },
            ..RestartPolicies::default()
        },
        ..RuntimeSettings::default()
    })
}
