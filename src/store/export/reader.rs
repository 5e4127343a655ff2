//! Reading an export, line by line, within bounds. Nothing may be believed before the end was reached.

use std::{
    collections::BTreeSet,
    io::{BufRead, Read as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use colloquy_types::{Hash, Head, Revision};

use super::{
    ExportHeader, ExportLimits, ExportedRevision, FORMAT,
    error::{ExportError, Problem},
    line::{EndLine, FormatLine, HeaderLine, ReadLine, ReadRecordLine, RevisionLine},
    writer::{Chain, check_revision},
};
use crate::port::HistoryRecord;

/// What an export holds between its header and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The source of a flow revision.
    Revision(ExportedRevision),
    /// A record.
    Record(Box<HistoryRecord>),
}

/// Reads one export.
#[derive(Debug)]
pub struct ExportReader<R> {
    input: R,
    limits: ExportLimits,
    header: ExportHeader,
    chain: Chain,
    revisions: BTreeSet<Revision>,
    digest: blake3::Hasher,
    line: Vec<u8>,
    lines: u64,
    bytes: u64,
    is_whole: bool,
}

impl<R: BufRead> ExportReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ExportError`] when this is no export, or one of another format.
    pub fn open(mut input: R, limits: ExportLimits) -> Result<Self, ExportError> {
        let mut line = Vec::new();
        let at = |problem| ExportError { line: 1, problem };
        if !read_line(&mut input, &mut line, limits, 0).map_err(at)? {
            return Err(at(Problem::CutOff));
        }
        let FormatLine { format } = serde_json::from_slice(&line).map_err(|error| at(Problem::NotAnExport(error)))?;
        if format != FORMAT {
            return Err(at(Problem::Format(format)));
        }
        let header: HeaderLine = serde_json::from_slice(&line).map_err(|error| at(Problem::NotAnExport(error)))?;
        let header = header.header().map_err(|field| at(Problem::Disagrees(field)))?;
        let mut digest = blake3::Hasher::new();
        digest.update(&line);
        let bytes = line.len() as u64;
        Ok(Self {
            input,
            limits,
            chain: Chain::new(&header),
            header,
            revisions: BTreeSet::new(),
            digest,
            line,
            lines: 1,
            bytes,
            is_whole: false,
        })
    }

    /// What the export says of its conversation.
    pub fn header(&self) -> &ExportHeader {
        &self.header
    }

    /// The head that the records so far lead to.
    pub fn reached(&self) -> Head {
        self.chain.reached
    }

    /// The next revision or record; `None` once the end was reached and everything fits.
    ///
    /// # Errors
    /// [`ExportError`]; what was read before must then not be used.
    pub fn next_item(&mut self) -> Result<Option<Item>, ExportError> {
        if self.is_whole {
            return Ok(None);
        }
        let next = self.read_item();
        next.map_err(|problem| ExportError { line: self.lines, problem })
    }

    fn read_item(&mut self) -> Result<Option<Item>, Problem> {
        self.lines += 1;
        if !read_line(&mut self.input, &mut self.line, self.limits, self.bytes)? {
            return Err(Problem::CutOff);
        }
        self.bytes += self.line.len() as u64;
        // The end line names the digest of what stands before it.
        let line: ReadLine = serde_json::from_slice(&self.line).map_err(|error| match self.line.last() {
            Some(b'\n') => Problem::Line(error),
            _ => Problem::CutOff,
        })?;
        match line {
            ReadLine::End(end) => self.end(&end).map(|()| None),
            ReadLine::Revision(revision) => {
                self.digest.update(&self.line);
                self.revision(revision).map(|revision| Some(Item::Revision(revision)))
            }
            ReadLine::Record(record) => {
                self.digest.update(&self.line);
                self.record(&record).map(|record| Some(Item::Record(Box::new(record))))
            }
        }
    }

    fn revision(&mut self, line: RevisionLine) -> Result<ExportedRevision, Problem> {
        let revision = Revision::parse(&line.revision).ok_or(Problem::Disagrees("revision"))?;
        check_revision(&mut self.revisions, revision, self.limits)?;
        Ok(ExportedRevision { revision, source: line.source })
    }

    fn record(&mut self, line: &ReadRecordLine) -> Result<HistoryRecord, Problem> {
        let stored = BASE64.decode(&line.stored)?;
        let record = self.chain.take(&stored, self.limits)?.record;
        let header = &record.header;
        let said = [
            ("record_no", line.record_no == header.record_no.get()),
            ("turn_seq", line.turn_seq == header.turn_seq.get()),
            ("kind", line.kind == header.kind.name()),
            ("hash", Hash::parse(&line.hash) == Some(header.hash)),
        ];
        match said.into_iter().find(|(_, agrees)| !agrees) {
            Some((field, _)) => Err(Problem::Disagrees(field)),
            None => Ok(HistoryRecord { record, stored }),
        }
    }

    fn end(&mut self, end: &EndLine) -> Result<(), Problem> {
        if Hash::parse(&end.digest) != Some(Hash(*self.digest.finalize().as_bytes())) {
            return Err(Problem::Digest);
        }
        if end.records != self.chain.records {
            return Err(Problem::Disagrees("records"));
        }
        if Hash::parse(&end.hash) != Some(self.chain.reached.hash) {
            return Err(Problem::Disagrees("hash"));
        }
        self.lines += 1;
        if !self.input.fill_buf()?.is_empty() {
            return Err(Problem::AfterEnd);
        }
        self.is_whole = true;
        Ok(())
    }
}

/// Reads a line, its end included, into `line`; `false` at the end of the input.
fn read_line(
    input: &mut impl BufRead,
    line: &mut Vec<u8>,
    limits: ExportLimits,
    bytes_before: u64,
) -> Result<bool, Problem> {
    line.clear();
    let room = limits.line_bytes as u64;
    input.take(room + 1).read_until(b'\n', line)?;
    if line.len() > limits.line_bytes {
        return Err(Problem::LineTooLong { max: limits.line_bytes });
    }
    if bytes_before + line.len() as u64 > limits.file_bytes {
        return Err(Problem::FileTooLong { max: limits.file_bytes });
    }
    Ok(!line.is_empty())
}
