//! What is read back after a crash, a torn write, or damage.
