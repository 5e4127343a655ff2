//! What an action writes into slots.

use colloquy_flow::{Date, Json, ResultSource, SlotKind, SlotValue};
use colloquy_types::Timestamp;

/// What a result may be made of.
#[derive(Clone, Debug, Default)]
pub(in crate::stages) struct Given {
    pub(super) time: Option<Timestamp>,
    pub(super) identifier: Option<[u8; 16]>,
    pub(super) result: Option<Json>,
}

/// The value a source gives; `None` when there is none or it does not fit the slot.
pub(super) fn value(source: &ResultSource, kind: &SlotKind, given: &Given) -> Option<SlotValue> {
    match source {
        ResultSource::Value(value) => Some(value.clone()),
        ResultSource::Reference { prefix, length } => kind.parse(&reference(prefix, *length, given.identifier?)),
        ResultSource::ExecutedAt if matches!(kind, SlotKind::Date { .. }) => {
            Date::from_unix_days(given.time?.as_micros() / MICROS_PER_DAY).map(SlotValue::Date)
        }
        ResultSource::ExecutedAt => kind.parse(&rfc3339(given.time?)?),
        ResultSource::Path(path) => {
            let result = given.result.as_ref()?;
            kind.accept(if path.as_ref() == "." { result } else { result.at(path)? })
        }
    }
}

const MICROS_PER_DAY: u64 = 86_400_000_000;
/// Digits and capitals without those that are mistaken for others (I, L, O, U).
const ALPHABET: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// `prefix` and `length` letters of an identifier, five bits each.
fn reference(prefix: &str, length: u8, identifier: [u8; 16]) -> String {
    let mut bits = u128::from_le_bytes(identifier);
    let mut text = String::with_capacity(prefix.len() + usize::from(length));
    text.push_str(prefix);
    for _ in 0..length {
        let letter = ALPHABET.get(usize::try_from(bits & 31).unwrap_or_default());
        text.extend(letter.map(|letter| char::from(*letter)));
        bits >>= 5;
    }
    text
}

/// `YYYY-MM-DDTHH:MM:SSZ`, without a fraction.
fn rfc3339(time: Timestamp) -> Option<String> {
    let date = Date::from_unix_days(time.as_micros() / MICROS_PER_DAY)?;
    let seconds = time.as_micros() % MICROS_PER_DAY / 1_000_000;
    Some(format!("{date}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(Timestamp::from_micros(0)).as_deref(), Some("1970-01-01T00:00:00Z"));
        let leap_day = Timestamp::from_micros(1_709_251_199_999_999);
        assert_eq!(rfc3339(leap_day).as_deref(), Some("2024-02-29T23:59:59Z"));
        assert_eq!(rfc3339(Timestamp::from_micros(1_709_251_200_000_000)).as_deref(), Some("2024-03-01T00:00:00Z"));
    }

    #[test]
    fn a_reference_uses_the_whole_identifier_up_to_its_length() {
        assert_eq!(reference("C-", 8, [0; 16]), "C-00000000");
        assert_eq!(reference("", 4, [0xff; 16]), "ZZZZ");
        assert_ne!(reference("", 8, 1_u128.to_le_bytes()), reference("", 8, 2_u128.to_le_bytes()));
    }
}
