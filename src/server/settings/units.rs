//! How settings write sizes, durations, counts and prices.

use std::{num::NonZeroUsize, ops::RangeInclusive, time::Duration};

/// Millionths in one.
const MICROS: u64 = 1_000_000;
/// Digits after the point that millionths can hold.
const FRACTION_DIGITS_MAX: usize = 6;

/// A number of bytes: `64 MiB`, `512 KiB`, `1048576`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..)?.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A duration: `250ms`, `10s`, `5m`, `1h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().ok()?;
    match text.get(digits.len()..)?.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

/// A duration within these bounds.
pub(super) fn within(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Option<Duration> {
    move |text| duration(text).filter(|duration| range.contains(duration))
}

/// A size within these bounds, in bytes.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&str) -> Option<u64> {
    move |text| bytes(text).filter(|bytes| range.contains(bytes))
}

/// A whole number within these bounds.
pub(super) fn number(range: RangeInclusive<usize>) -> impl Fn(&str) -> Option<usize> {
    move |text| text.trim().parse().ok().filter(|number| range.contains(number))
}

/// A number from 1 to 65536.
pub(super) fn count(text: &str) -> Option<NonZeroUsize> {
    text.trim().parse().ok().filter(|count: &NonZeroUsize| count.get() <= 65536)
}

/// A part of a whole, 0 to 1.
pub(super) fn ratio(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
}

/// Yes or no.
pub(super) fn flag(text: &str) -> Option<bool> {
    text.trim().parse().ok()
}

/// A price from 0 to 1,000,000 with at most six digits after the point, in millionths; never rounded.
pub(super) fn micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<FRACTION_DIGITS_MAX$}").parse().ok()?;
    let micros = whole.parse::<u64>().ok()?.checked_mul(MICROS)?.checked_add(fraction)?;
    (micros <= MICROS * MICROS).then_some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_millionths() {
        for (text, price) in
            [("0.15", 150_000), ("15", 15_000_000), ("0.000001", 1), ("0", 0), ("1000000", 1_000_000_000_000)]
        {
            assert_eq!(micros(text), Some(price), "{text}");
        }
        for text in
            ["", ".5", "5.", "-1", "1e3", "0.0000001", "1000000.000001", "1_000", "+1", "0,15", "99999999999999999999"]
        {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
