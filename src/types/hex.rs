//! Hexadecimal digits of identifiers and hashes, written at once: every reply shows a few of them. And read.

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

/// The bytes of exactly `2 * N` lower-case digits.
pub(crate) fn parse<const N: usize>(text: &str) -> Option<[u8; N]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(bytes)
}
