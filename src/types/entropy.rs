//! Randomness as a port: identifiers and salts come from here and nowhere else.

#[cfg(feature = "system")]
use rand::Rng as _;

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Sixteen fresh random bytes, unpredictable to anyone outside this process.
    fn bytes16(&self) -> [u8; 16];
}

#[cfg(feature = "system")]
/// The operating system's randomness, stretched by a per-thread ChaCha generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

#[cfg(feature = "system")]
impl Entropy for SystemEntropy {
    fn bytes16(&self) -> [u8; 16] {
        let mut bytes = [0_u8; 16];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }
}
