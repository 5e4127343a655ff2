//! The deadline of a call: the caller's `grpc-timeout` less a margin, or the default.
//!
//! gRPC drops a handler at the caller's deadline and answers CANCELLED. Ours is a little earlier, so that
//! the answer is ours, and says what is known of the turn.

use std::time::Duration;

use colloquy_actors::RuntimeSettings;
use tokio::time::Instant;
use tonic::{codegen::http::HeaderMap, metadata::MetadataMap};

/// The gRPC specification: at most 8 digits and a unit.
fn grpc_timeout(metadata: &HeaderMap) -> Option<Duration> {
    let value = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The longest that a call may wait for work that goes on without it.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// What the caller allows, less the margin.
fn allowed(headers: &HeaderMap, settings: &RuntimeSettings) -> Option<Duration> {
    grpc_timeout(headers).map(|timeout| timeout.saturating_sub(settings.reply_margin.min(timeout / 4)))
}

/// When this call must be answered.
pub(crate) fn of_call(metadata: &MetadataMap, settings: &RuntimeSettings) -> Instant {
    of_headers(metadata.as_ref(), settings)
}

/// The same by a call's headers.
pub(crate) fn of_headers(headers: &HeaderMap, settings: &RuntimeSettings) -> Instant {
    let budget = allowed(headers, settings).unwrap_or(settings.turn_deadline_default);
    Instant::now() + budget.min(settings.turn_deadline_max)
}

/// When a call must be answered that only waits for work that goes on without it.
pub(crate) fn of_wait(metadata: &MetadataMap, settings: &RuntimeSettings) -> Instant {
    Instant::now() + allowed(metadata.as_ref(), settings).unwrap_or(WAIT_MAX).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_specification_says() {
        let read = |value: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", value.parse().unwrap());
            grpc_timeout(metadata.as_ref())
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "m", "123456789m", "5x", "-1S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn our_deadline_is_before_the_callers() {
        let settings = RuntimeSettings::default();
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", "1S".parse().unwrap());
        let now = Instant::now();
        assert_eq!(of_call(&metadata, &settings), now + Duration::from_secs(1) - settings.reply_margin);
        assert_eq!(of_call(&MetadataMap::new(), &settings), now + settings.turn_deadline_default);
        metadata.insert("grpc-timeout", "30M".parse().unwrap());
        assert_eq!(of_call(&metadata, &settings), now + settings.turn_deadline_max);
        assert_eq!(of_wait(&metadata, &settings), now + Duration::from_secs(1800) - settings.reply_margin);
        assert_eq!(of_wait(&MetadataMap::new(), &settings), now + WAIT_MAX);
    }
}
