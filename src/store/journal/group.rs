//! The header in front of each group of records: one write, one sync.
//!
//! ```text
//!   0 magic "CQG1"                 32 group number u64
//!   4 version u16, reserved u16    40 synced_through: segment u64
//!   8 crc u32                      48 synced_through: offset u64
//!  12 records u32                  56 reserved u64
//!  16 body length u64              64 records, each padded to 8 bytes
//!  24 epoch u64
//! ```
//!
//! The checksum also covers the store's uuid and the group's own position, so bytes of another place
//! or another store are never taken for a group. Magic, version and checksum stand in the same place in every version,
//! so that a group of a newer one is told from damage.

use colloquy_types::Epoch;
use serde::{Deserialize, Serialize};

use super::bytes::{header_crc, put, take, take_u32, take_u64};

/// Bytes of a group's header.
pub(crate) const GROUP_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"CQG1";
const VERSION: u16 = 1;

/// The random name of a store, in every file of it.
pub(crate) type StoreUuid = [u8; 16];

/// A place in the journal; ordered as the journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Which segment.
    pub(crate) segment: u64,
    /// Which byte of it.
    pub(crate) offset: u64,
}

/// A group's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// Records in it.
    pub(crate) records: u32,
    /// Bytes of all its records.
    pub(crate) body_len: u64,
    /// The epoch that wrote it.
    pub(crate) epoch: Epoch,
    /// Counts the groups of an epoch.
    pub(crate) number: u64,
    /// Everything before this position was synced when the group was written.
    pub(crate) synced: Position,
}

fn checksum(bytes: &[u8], at: Position, uuid: StoreUuid) -> u32 {
    let crc = crc32c::crc32c(&uuid);
    let crc = crc32c::crc32c_append(crc, &at.segment.to_le_bytes());
    header_crc(bytes, 8, crc32c::crc32c_append(crc, &at.offset.to_le_bytes()))
}

/// The version of the intact header that `bytes` begins with, if it stands at `at` of the store `uuid`.
fn version(bytes: &[u8], at: Position, uuid: StoreUuid) -> Option<u16> {
    let bytes = bytes.get(..GROUP_BYTES).filter(|bytes| bytes.starts_with(&MAGIC))?;
    let fits = take_u32(bytes, 8)? == checksum(bytes, at, uuid);
    take(bytes, 4).map(u16::from_le_bytes).filter(|_| fits)
}

impl GroupHeader {
    /// Bytes of the whole group, header included.
    pub(crate) fn whole_len(&self) -> u64 {
        GROUP_BYTES as u64 + self.body_len
    }

    /// The bytes of this header when it stands at `at`.
    pub(crate) fn encode(&self, at: Position, uuid: StoreUuid) -> [u8; GROUP_BYTES] {
        self.encode_as(VERSION, at, uuid)
    }

    /// The same as a build with another version would write it.
    pub(crate) fn encode_as(&self, version: u16, at: Position, uuid: StoreUuid) -> [u8; GROUP_BYTES] {
        let mut bytes = [0; GROUP_BYTES];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 4, &version.to_le_bytes());
        put(&mut bytes, 12, &self.records.to_le_bytes());
        put(&mut bytes, 16, &self.body_len.to_le_bytes());
        put(&mut bytes, 24, &self.epoch.get().to_le_bytes());
        put(&mut bytes, 32, &self.number.to_le_bytes());
        put(&mut bytes, 40, &self.synced.segment.to_le_bytes());
        put(&mut bytes, 48, &self.synced.offset.to_le_bytes());
        let crc = checksum(&bytes, at, uuid);
        put(&mut bytes, 8, &crc.to_le_bytes());
        bytes
    }

    /// The version of the intact header that `bytes` begins with, if that is newer than this build.
    pub(crate) fn newer(bytes: &[u8], at: Position, uuid: StoreUuid) -> Option<u16> {
        version(bytes, at, uuid).filter(|version| *version > VERSION)
    }

    /// The intact header that `bytes` begins with, if it stands at `at` of the store `uuid`.
    pub(crate) fn decode(bytes: &[u8], at: Position, uuid: StoreUuid) -> Option<Self> {
        version(bytes, at, uuid).filter(|version| *version == VERSION)?;
        Some(Self {
            records: take_u32(bytes, 12)?,
            body_len: take_u64(bytes, 16)?,
            epoch: Epoch::new(take_u64(bytes, 24)?),
            number: take_u64(bytes, 32)?,
            synced: Position { segment: take_u64(bytes, 40)?, offset: take_u64(bytes, 48)? },
        })
    }
}
