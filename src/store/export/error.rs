//! Why an export cannot be read or written: the line, what is wrong with it, and what to do.

use std::io;

use super::FORMAT;
use crate::record::BadRecord;

/// What is wrong with an export, and where. Displays with its fix on a line of its own.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}\n  fix: {}", problem.fix())]
pub struct ExportError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong there.
    #[source]
    pub problem: Problem,
}

/// What is wrong with one line of an export.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file could not be read or written.
    #[error("the file cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The first line is not an export's header.
    #[error("this is not an export: {0}")]
    NotAnExport(serde_json::Error),
    /// The header names another format.
    #[error("the format is {0:?}, this build reads {FORMAT:?}")]
    Format(String),
    /// A line is longer than the limit.
    #[error("the line is longer than {max} bytes")]
    LineTooLong {
        /// The limit.
        max: usize,
    },
    /// The file is longer than the limit.
    #[error("the file is longer than {max} bytes")]
    FileTooLong {
        /// The limit.
        max: u64,
    },
    /// There is more of something than the limit.
    #[error("there are more than {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The line is not one of those that an export consists of.
    #[error("the line is damaged: {0}")]
    Line(serde_json::Error),
    /// `stored` is not base64.
    #[error("`stored` is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The stored bytes are no intact record, or the record does not follow the one before it.
    #[error("the record is damaged: {0}")]
    Record(#[from] BadRecord),
    /// A field does not say what the stored bytes say.
    #[error("`{0}` is not what the stored bytes say")]
    Disagrees(&'static str),
    /// The same revision is given twice.
    #[error("revision {0} is given twice")]
    RevisionTwice(String),
    /// The file ends without its end line.
    #[error("the file is cut off: its end line is missing")]
    CutOff,
    /// The end line's digest is not that of the bytes before it.
    #[error("the file was changed: its digest does not fit")]
    Digest,
    /// Something follows the end line.
    #[error("something follows the end line")]
    AfterEnd,
}

impl Problem {
    /// What to do about it.
    pub const fn fix(&self) -> &'static str {
        match self {
            Self::Io(_) => "make the file readable, or choose another place to write to",
            Self::NotAnExport(_) => "give a file that `colloquy export` wrote",
            Self::Format(_) => "read it with the version of colloquy that wrote it, or a newer one",
            Self::LineTooLong { .. } | Self::FileTooLong { .. } | Self::TooMany { .. } => {
                "check that this is an export; one within the store's own bounds does not get this large"
            }
            Self::CutOff => "export the conversation again; the one at hand was not finished",
            Self::Line(_)
            | Self::Base64(_)
            | Self::Record(_)
            | Self::Disagrees(_)
            | Self::RevisionTwice(_)
            | Self::Digest
            | Self::AfterEnd => "export the conversation again; the file is not as it was written",
        }
    }
}
