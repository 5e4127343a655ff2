//! colloquy-author
