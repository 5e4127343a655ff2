//! colloquy-client
