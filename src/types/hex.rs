//! Hexadecimal digits of identifiers and hashes, written at once: every reply shows a few of them.

use std::fmt;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes`, at most 32 of them at a time, as lower-case digits.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.chunks(32) {
        let mut text = [0_u8; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(chunk) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0x0f]) {
                *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            }
        }
        let written = text.get(..chunk.len() * 2).and_then(|digits| std::str::from_utf8(digits).ok());
        f.write_str(written.unwrap_or_default())?;
    }
    Ok(())
}
