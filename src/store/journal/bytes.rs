//! Little-endian fields of the journal's fixed headers.

/// Writes `bytes` at `at`; what does not fit is left out, which no caller asks for.
pub(crate) fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = buffer.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// The `N` bytes at `at`.
pub(crate) fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The 32-bit number at `at`.
pub(crate) fn take_u32(bytes: &[u8], at: usize) -> Option<u32> {
    take(bytes, at).map(u32::from_le_bytes)
}

/// The 64-bit number at `at`.
pub(crate) fn take_u64(bytes: &[u8], at: usize) -> Option<u64> {
    take(bytes, at).map(u64::from_le_bytes)
}

/// The checksum of a header whose own checksum field (four bytes at `crc_at`) counts as zero.
pub(crate) fn header_crc(bytes: &[u8], crc_at: usize, seed: u32) -> u32 {
    let (before, rest) = bytes.split_at(crc_at.min(bytes.len()));
    let crc = crc32c::crc32c_append(seed, before);
    let crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc32c::crc32c_append(crc, rest.get(4..).unwrap_or_default())
}

/// A length or offset that is known to fit into memory.
pub(crate) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
