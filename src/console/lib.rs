//! colloquy-console
