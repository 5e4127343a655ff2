//! An export: one conversation as a file of its own, from which it can be replayed or brought back.
//!
//! JSON lines, in this order: a header; the records as they are stored, in the order of their numbers,
//! and before the first record that needs it the source of each flow revision; an end.
//!
//! ```text
//! {"format":"colloquy.export/v1","key":{…},"uid":"…","flow":"order-desk","flow_tenant":"_","revision":"…",
//!  "exported_at_us":1767603600000000,"tool_version":"0.1.0"}
//! {"revision":{"revision":"<64 hex digits>","source":"<normalised source>"}}
//! {"record":{"record_no":1,"turn_seq":0,"kind":"created","hash":"<64 hex digits>","stored":"<base64>","view":{…}}}
//! {"end":{"records":1,"hash":"<64 hex digits>","digest":"<64 hex digits>"}}
//! ```
//!
//! `stored` is the truth: the record's own bytes, with the header, salt and checksums of [`crate::record`]. What
//! stands beside it is for people; the fields must agree with it, `view` is not read back. The chain of
//! the records is checked from the first to the end's `hash`, which is the head's that replies carried, so an
//! export can be held against what a client saw. `digest` is the BLAKE3 hash of every byte before the end
//! line: a cut or changed file is noticed, whatever was changed. Neither proves who made the file.
//!
//! This stands in the store's crate because the bytes are the store's; it knows no flow.

mod error;
mod line;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use self::{
    error::{ExportError, Problem},
    line::{ExportHeader, ExportedRevision},
    reader::{ExportReader, Item},
    writer::ExportWriter,
};

/// The format this build writes and reads.
pub const FORMAT: &str = "colloquy.export/v1";

/// How much of an export is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportLimits {
    /// Bytes of one line, its end included. A record is at most 1 MiB; its view may take several times that.
    pub line_bytes: usize,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Records, snapshots included.
    pub records: u64,
    /// Flow revisions.
    pub revisions: u64,
}

impl Default for ExportLimits {
    fn default() -> Self {
        Self { line_bytes: 16 << 20, file_bytes: 4 << 30, records: 4_000_000, revisions: 4096 }
    }
}
