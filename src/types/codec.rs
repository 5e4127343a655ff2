//! The one codec of everything that is stored: bincode 2, fixed options, bounded decoding.
//!
//! Callers wrap their payloads in explicit version enums (`V1(..)`, `V2(..)`); the order of enum
//! variants and struct fields is the format, so neither may ever be rearranged.

use serde::{Serialize, de::DeserializeOwned};

/// The largest payload that is ever decoded: one record, 1 MiB.
pub const DECODE_LIMIT_BYTES: usize = 1 << 20;

/// Why bytes could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value has no encoding (a sequence without a length, for instance).
    #[error("value cannot be encoded")]
    Encode(#[source] bincode::error::EncodeError),
    /// The bytes are not what they should be, or claim to be larger than [`DECODE_LIMIT_BYTES`].
    #[error("bytes cannot be decoded")]
    Decode(#[source] bincode::error::DecodeError),
    /// Bytes were left over after the value.
    #[error("{0} bytes are left over after the value")]
    Trailing(usize),
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODE_LIMIT_BYTES>()
}

/// Encodes `value`.
///
/// # Errors
/// [`Error::Encode`] when serde cannot express the value in bincode.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    bincode::serde::encode_to_vec(value, config()).map_err(Error::Encode)
}

/// Appends the encoding of `value` to `buffer`.
///
/// # Errors
/// [`Error::Encode`] when serde cannot express the value in bincode; `buffer` may then hold a part.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, buffer: &mut Vec<u8>) -> Result<(), Error> {
    bincode::serde::encode_into_std_write(value, buffer, config()).map(drop).map_err(Error::Encode)
}

/// Decodes the whole of `bytes`.
///
/// # Errors
/// [`Error::Decode`] for malformed or over-long input, [`Error::Trailing`] when bytes are left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, config()).map_err(Error::Decode)?;
    match bytes.len().checked_sub(read) {
        Some(0) | None => Ok(value),
        Some(left) => Err(Error::Trailing(left)),
    }
}
