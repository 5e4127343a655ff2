//! How much is let in, and how fast.

use std::{num::NonZeroU32, time::Duration};

use colloquy_actors::{Limits, Rate};

use super::{
    part_within_whole,
    reader::Reader,
    units::{count, size, within},
};

/// Calls a second, and at once: `100/s`, or `100/s, 500 at once`; empty or `none` for any number.
///
/// The outer option is whether it can be read.
fn rate(text: &str) -> Option<Option<Rate>> {
    let text = text.trim();
    if text.is_empty() || text == "none" {
        return Some(None);
    }
    let (rate, burst) = match text.split_once(',') {
        Some((rate, burst)) => (rate, Some(burst.trim().strip_suffix("at once")?)),
        None => (text, None),
    };
    let number = |text: &str| text.trim().parse::<NonZeroU32>().ok().filter(|number| number.get() <= 1_000_000);
    let per_second = number(rate.trim().strip_suffix("/s")?)?;
    let burst = burst.map_or(Some(per_second), number)?;
    Some(Some(Rate { per_second, burst }))
}

pub(super) fn read(reader: &mut Reader) -> Option<Limits> {
    const RATE: &str = "none, or calls a second such as `100/s, 500 at once`, up to 1000000 each";
    let in_flight_max = reader.read("limits.in_flight", "a number from 1 to 65536", count)?;
    let tenant_in_flight_max = reader.read("limits.tenant_in_flight", "a number from 1 to 65536", count)?;
    let queue_len_max = reader.read("limits.queue", "a number from 1 to 65536", count)?;
    let bytes =
        |text: &str| size(1 << 20..=1 << 36)(text).and_then(|bytes| usize::try_from(bytes).ok()?.try_into().ok());
    let queue_bytes_max = reader.read("limits.queue_bytes", "1 MiB to 64 GiB", bytes)?;
    let tenant_rate = reader.read("limits.tenant_rate", RATE, rate)?;
    let peer_rate = reader.read("limits.peer_rate", RATE, rate)?;
    let at_once_min = reader.read("limits.turns_at_once", "a number from 1 to 65536", count)?;
    let (ms, minute) = (Duration::from_millis(1), Duration::from_secs(60));
    let wait_target = reader.read("limits.wait_target", "1ms to 1m", within(ms..=minute))?;
    part_within_whole(reader, "limits.tenant_in_flight", tenant_in_flight_max, in_flight_max);
    part_within_whole(reader, "limits.queue", queue_len_max, in_flight_max);
    part_within_whole(reader, "limits.turns_at_once", at_once_min, in_flight_max);
    Some(Limits {
        in_flight_max,
        tenant_in_flight_max,
        queue_len_max,
        queue_bytes_max,
        at_once_min,
        tenant_rate,
        peer_rate,
        wait_target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_with_its_burst_or_without() {
        let number = |number| NonZeroU32::new(number).unwrap();
        let read = |text| rate(text).unwrap();
        assert_eq!(read("none"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("100/s"), Some(Rate { per_second: number(100), burst: number(100) }));
        assert_eq!(read(" 100/s , 500 at once"), Some(Rate { per_second: number(100), burst: number(500) }));
        for bad in ["100", "0/s", "100/s, 5", "100/s, 0 at once", "1000001/s", "-1/s", "5/m"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }
}
