//! Writing an export. What is written is checked as it will be when it is read: a damaged record is noticed now.

use std::{collections::BTreeSet, io::Write};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use colloquy_types::{Hash, Head, Revision};
use serde::Serialize;

use super::{
    ExportHeader, ExportLimits, ExportedRevision,
    error::{ExportError, Problem},
    line::{EndLine, HeaderLine, Line, RecordLine, RevisionLine},
};
use crate::record::{BadRecord, DecodedRecord, RecordKind, decode_record};

/// Writes one export, line by line. Nothing is buffered: give it a buffered writer.
#[derive(Debug)]
pub struct ExportWriter<W> {
    out: W,
    limits: ExportLimits,
    chain: Chain,
    revisions: BTreeSet<Revision>,
    digest: blake3::Hasher,
    lines: u64,
    bytes: u64,
}

impl<W: Write> ExportWriter<W> {
    /// Begins with the header.
    ///
    /// # Errors
    /// [`ExportError`] when `out` does not take it.
    pub fn begin(out: W, header: &ExportHeader, limits: ExportLimits) -> Result<Self, ExportError> {
        let mut writer = Self {
            out,
            limits,
            chain: Chain::new(header),
            revisions: BTreeSet::new(),
            digest: blake3::Hasher::new(),
            lines: 0,
            bytes: 0,
        };
        writer.line(&HeaderLine::of(header))?;
        Ok(writer)
    }

    /// Whether the source of this revision was written.
    pub fn has_revision(&self, revision: &Revision) -> bool {
        self.revisions.contains(revision)
    }

    /// Writes the source of a revision; once each, before the first record that needs it.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn revision(&mut self, revision: &ExportedRevision) -> Result<(), ExportError> {
        check_revision(&mut self.revisions, revision.revision, self.limits).map_err(|problem| self.at(problem))?;
        let line = RevisionLine { revision: revision.revision.to_string(), source: revision.source.clone() };
        self.line(&Line::<()>::Revision(line))
    }

    /// Writes a record from its stored bytes, with a view of it for people.
    ///
    /// # Errors
    /// [`ExportError`], for one that is damaged or does not follow the one before too.
    pub fn record(&mut self, stored: &[u8], view: &impl Serialize) -> Result<(), ExportError> {
        let decoded = self.chain.take(stored, self.limits).map_err(|problem| self.at(problem))?;
        let header = &decoded.record.header;
        let line = RecordLine {
            record_no: header.record_no.get(),
            turn_seq: header.turn_seq.get(),
            kind: header.kind.name(),
            hash: header.hash.to_string(),
            stored: BASE64.encode(stored),
            view,
        };
        self.line(&Line::Record(line))
    }

    /// Writes the end and gives back the writer, flushed.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn end(mut self) -> Result<W, ExportError> {
        let digest = Hash(*self.digest.finalize().as_bytes());
        let (records, hash) = (self.chain.records, self.chain.reached.hash.to_string());
        self.line(&Line::<()>::End(EndLine { records, hash, digest: digest.to_string() }))?;
        self.out.flush().map_err(|error| self.at(error.into()))?;
        Ok(self.out)
    }

    fn at(&self, problem: Problem) -> ExportError {
        ExportError { line: self.lines + 1, problem }
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), ExportError> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| self.at(Problem::Line(error)))?;
        bytes.push(b'\n');
        if bytes.len() > self.limits.line_bytes {
            return Err(self.at(Problem::LineTooLong { max: self.limits.line_bytes }));
        }
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limits.file_bytes {
            return Err(self.at(Problem::FileTooLong { max: self.limits.file_bytes }));
        }
        self.digest.update(&bytes);
        self.out.write_all(&bytes).map_err(|error| self.at(error.into()))?;
        self.lines += 1;
        Ok(())
    }
}

/// Takes note of a revision; refuses one that was there, or one too many.
pub(super) fn check_revision(
    known: &mut BTreeSet<Revision>,
    revision: Revision,
    limits: ExportLimits,
) -> Result<(), Problem> {
    if !known.insert(revision) {
        return Err(Problem::RevisionTwice(revision.to_string()));
    }
    if known.len() as u64 > limits.revisions {
        return Err(Problem::TooMany { what: "flow revisions", max: limits.revisions });
    }
    Ok(())
}

/// The records so far, as far as the next one depends on them.
#[derive(Debug)]
pub(super) struct Chain {
    header: ExportHeader,
    pub(super) reached: Head,
    pub(super) records: u64,
}

impl Chain {
    pub(super) fn new(header: &ExportHeader) -> Self {
        Self { header: header.clone(), reached: Head::default(), records: 0 }
    }

    /// Decodes the next record and checks that it is intact, of this conversation, and in its place.
    pub(super) fn take(&mut self, stored: &[u8], limits: ExportLimits) -> Result<DecodedRecord, Problem> {
        let decoded = decode_record(stored)?;
        if decoded.len != stored.len() {
            return Err(Problem::Disagrees("stored"));
        }
        let header = &decoded.record.header;
        if header.uid != self.header.uid {
            return Err(Problem::Disagrees("uid"));
        }
        if decoded.key.as_ref().is_some_and(|key| *key != self.header.key) {
            return Err(Problem::Disagrees("key"));
        }
        if (header.kind == RecordKind::Created) != (self.records == 0) {
            return Err(Problem::Disagrees("kind"));
        }
        if header.kind.is_chained() {
            header.follows(&self.reached)?;
            self.reached = header.head();
        } else if (header.record_no, header.hash) != (self.reached.record_no, self.reached.hash) {
            return Err(Problem::Record(BadRecord::Chain(header.record_no)));
        }
        self.records += 1;
        if self.records > limits.records {
            return Err(Problem::TooMany { what: "records", max: limits.records });
        }
        Ok(decoded)
    }
}
