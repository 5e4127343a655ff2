//! What is stored besides conversations so that their timers are found: hints, in streams by the time they are due.
//!
//! A hint says that a conversation may have a timer then. It may be wrong, and is never wrong the other way: it is
//! synced before the turn that sets the timer is written. The order of variants and fields is the format.

use std::time::Duration;

use colloquy_store::{RecordKind, StoredRecord};
use colloquy_turn::Timer;
use colloquy_types::{ConversationKey, TenantId, Timestamp, codec};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How many streams there are. With [`SLOT`] they reach further than a timer may, so that one that is read holds
/// hardly more than one stretch of time.
pub(super) const SLOTS: u16 = 128;

/// How long a stretch of time shares a stream.
pub(super) const SLOT: Duration = Duration::from_secs(4 * 24 * 3600);

/// Where a conversation may have a timer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hint {
    /// The conversation.
    pub(crate) key: ConversationKey,
    /// The timer as it was to be set.
    pub(crate) timer: Timer,
}

/// One record of a stream.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum HintRecord {
    /// A timer is about to be set.
    SetV1 { tenant: String, conversation: String, timer: Timer },
    /// The hints of these records are done with.
    DoneV1 { records: Vec<u64> },
}

/// A record as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Set { record_no: u64, hint: Hint },
    Done(Vec<u64>),
}

/// The stream of the hints that are due at a time. The streams are a ring, so that all of them are known.
pub(crate) fn slot_of(due_at: Timestamp) -> u16 {
    let number = due_at.as_micros() / u64::try_from(SLOT.as_micros()).unwrap_or(u64::MAX);
    u16::try_from(number % u64::from(SLOTS)).unwrap_or_default()
}

/// The key of a stream.
pub(crate) fn slot_key(slot: u16) -> ConversationKey {
    ConversationKey::tenant_stream(&TenantId::shared(), &format!("timers-{slot:03}"))
}

/// The payload of a record.
pub(super) fn encode(record: &HintRecord) -> Result<Vec<u8>, Error> {
    codec::encode(record).map_err(|error| Error::TooLarge { what: error.to_string() })
}

/// The record that stores a hint.
pub(super) fn set(hint: &Hint) -> HintRecord {
    let (tenant, conversation) = (hint.key.tenant().to_owned(), hint.key.conversation().to_owned());
    HintRecord::SetV1 { tenant, conversation, timer: hint.timer.clone() }
}

/// What a stored record says; `None` for those that say nothing of hints.
pub(super) fn read(stored: &StoredRecord) -> Result<Option<Read>, Error> {
    if stored.header.kind != RecordKind::Control {
        return Ok(None);
    }
    let record_no = stored.header.record_no.get();
    let undecodable = || Error::Corrupt { reason: format!("record {record_no} of the timers cannot be decoded") };
    Ok(Some(match codec::decode(&stored.payload).map_err(|_| undecodable())? {
        HintRecord::SetV1 { tenant, conversation, timer } => {
            let key = ConversationKey::from_stored(&tenant, &conversation).ok_or_else(undecodable)?;
            Read::Set { record_no, hint: Hint { key, timer } }
        }
        HintRecord::DoneV1 { records } => Read::Done(records),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(record: &HintRecord) -> String {
        encode(record).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_keep_their_bytes() {
        let timer = Timer { id: "nudge".into(), due_at: Timestamp::from_micros(1_767_603_600_000_000), set_turn: 7 };
        let key = ConversationKey::from_parts("acme", "c").unwrap();
        let stored = set(&Hint { key, timer });
        assert_eq!(hex(&stored), include_str!("fixtures/hint_set.v1.hex").trim());
        assert_eq!(codec::decode::<HintRecord>(&encode(&stored).unwrap()).unwrap(), stored);
        let done = HintRecord::DoneV1 { records: vec![2, 300] };
        assert_eq!(hex(&done), include_str!("fixtures/hint_done.v1.hex").trim());
        assert_eq!(codec::decode::<HintRecord>(&encode(&done).unwrap()).unwrap(), done);
    }

    #[test]
    fn a_year_fits_the_ring_and_no_stream_is_a_conversation() {
        let now = Timestamp::from_micros(1_767_603_600_000_000);
        let days = (0..=365).map(|day| slot_of(now.plus(Duration::from_secs(day * 24 * 3600))));
        let mut slots: Vec<u16> = days.collect();
        let first = slots[0];
        slots.dedup();
        assert_eq!(slots.len(), 92);
        assert_eq!(slots.iter().filter(|slot| **slot == first).count(), 1, "it does not come round");
        assert!((0..SLOTS).all(|slot| slot_key(slot).is_tenant_stream()));
    }
}
