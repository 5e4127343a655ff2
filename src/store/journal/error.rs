//! Why a store cannot be opened.

use std::{io, path::PathBuf};

use super::index::IndexError;
use crate::record::BadRecord;

/// Why a folder cannot be opened as a store. Nothing was changed, except where [`OpenError::Io`] came
/// in the middle; opening again continues.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another handle of this one, has it open.
    #[error("{} is in use by another process", folder.display())]
    Locked {
        /// The store's folder.
        folder: PathBuf,
    },
    /// There are files, but no store.
    #[error("{} holds files but no store", folder.display())]
    NotAStore {
        /// The folder.
        folder: PathBuf,
    },
    /// The store was written by a newer build.
    #[error("the store has version {version}, which is newer than this build")]
    NewerVersion {
        /// The version found.
        version: u32,
    },
    /// A record was written by a newer build.
    #[error("the store was written by a newer build: {record}")]
    NewerRecord {
        /// What this build does not know.
        record: BadRecord,
    },
    /// The folder or file system cannot be written.
    #[error("{} cannot be written", folder.display())]
    ReadOnly {
        /// The store's folder.
        folder: PathBuf,
    },
    /// A segment of another store lies in the folder.
    #[error("segment {segment} belongs to another store")]
    Foreign {
        /// The segment's number.
        segment: u64,
    },
    /// The file that names the store is damaged.
    #[error("the file that names the store is damaged")]
    Identity,
    /// A setting is out of its bounds.
    #[error("{setting} must be {bound}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What it must be.
        bound: &'static str,
    },
    /// The disk is full: there is no room for this process's first segment.
    #[error("the disk is full")]
    Full,
    /// The index can neither be read nor made anew.
    #[error("the index cannot be made")]
    Index(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk failed.
    #[error("the disk failed")]
    Io(#[source] io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<IndexError> for OpenError {
    fn from(error: IndexError) -> Self {
        Self::Index(Box::new(error))
    }
}
