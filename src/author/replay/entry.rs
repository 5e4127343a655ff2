//! A conversation's records, decoded, and the view of them for people.

use colloquy_turn::{AcceptedRecord, ControlRecord, CreatedRecord, SnapshotRecord, TurnClosedRecord, TurnRecord};
use colloquy_types::{Revision, codec};
use serde::Serialize;
use serde_json::Value;

/// Which record it is. Kinds that no decision depends on are all [`EntryKind::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// The conversation was created.
    Created,
    /// A turn was promised.
    Accepted,
    /// A turn was committed.
    Turn,
    /// A promised turn ended without a committed one.
    TurnClosed,
    /// Something other than a turn happened, a reset for instance.
    Control,
    /// The state as a whole.
    Snapshot,
    /// Anything else.
    Other,
}

/// Where a record stands in its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its number in the chain; for a snapshot, that of the record it stands behind.
    pub record_no: u64,
    /// Turns committed up to and with it.
    pub turn_seq: u64,
}

/// One record.
#[derive(Clone, Debug)]
pub enum Entry {
    /// See [`EntryKind::Created`].
    Created(CreatedRecord),
    /// See [`EntryKind::Accepted`].
    Accepted(AcceptedRecord),
    /// See [`EntryKind::Turn`].
    Turn(Box<TurnRecord>),
    /// See [`EntryKind::TurnClosed`].
    TurnClosed(TurnClosedRecord),
    /// See [`EntryKind::Control`].
    Control(ControlRecord),
    /// See [`EntryKind::Snapshot`].
    Snapshot(Box<SnapshotRecord>),
    /// See [`EntryKind::Other`].
    Other,
}

impl Entry {
    /// Decodes a record's payload.
    ///
    /// # Errors
    /// [`codec::Error`] when it is not what the kind says, or of a version that is newer than this build.
    pub fn decode(kind: EntryKind, payload: &[u8]) -> Result<Self, codec::Error> {
        Ok(match kind {
            EntryKind::Created => Self::Created(CreatedRecord::decode(payload)?),
            EntryKind::Accepted => Self::Accepted(AcceptedRecord::decode(payload)?),
            EntryKind::Turn => Self::Turn(Box::new(TurnRecord::decode(payload)?)),
            EntryKind::TurnClosed => Self::TurnClosed(TurnClosedRecord::decode(payload)?),
            EntryKind::Control => Self::Control(ControlRecord::decode(payload)?),
            EntryKind::Snapshot => Self::Snapshot(Box::new(SnapshotRecord::decode(payload)?)),
            EntryKind::Other => Self::Other,
        })
    }

    /// The revision without which the record cannot be replayed.
    pub fn revision(&self) -> Option<Revision> {
        match self {
            Self::Created(record) => Some(record.revision),
            Self::Turn(record) => Some(record.revision),
            Self::Control(ControlRecord::Upgraded { to, .. }) => Some(to.revision),
            _ => None,
        }
    }

    /// The record as JSON for people: its fields as they are named, bytes as hexadecimal digits.
    pub fn view(&self) -> Value {
        match self {
            Self::Created(record) => view(record),
            Self::Accepted(record) => view(record),
            Self::Turn(record) => view(record),
            Self::TurnClosed(record) => view(record),
            Self::Control(record) => view(record),
            Self::Snapshot(record) => view(record),
            Self::Other => Value::Null,
        }
    }
}

/// Any value as JSON for people; `null` for one that JSON cannot express, of which none is known.
pub(super) fn view(value: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or(Value::Null);
    write_bytes_as_hex(&mut value);
    value
}

/// Identifiers and hashes are 16 or 32 bytes, which serde gives as lists of numbers.
fn write_bytes_as_hex(value: &mut Value) {
    match value {
        Value::Array(items) if matches!(items.len(), 16 | 32) => {
            let bytes: Option<Vec<u8>> = items.iter().map(|item| u8::try_from(item.as_u64()?).ok()).collect();
            match bytes {
                Some(bytes) => *value = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
                None => items.iter_mut().for_each(write_bytes_as_hex),
            }
        }
        Value::Array(items) => items.iter_mut().for_each(write_bytes_as_hex),
        Value::Object(fields) => fields.values_mut().for_each(write_bytes_as_hex),
        _ => {}
    }
}
