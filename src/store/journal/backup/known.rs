//! The backups that a store's folder knows of, a line of JSON each, so that an erasure can name those that may still hold
//! what was erased. Too many may be named, none may be missing: a line is there before the first byte is copied, and
//! a list that cannot be read is an error.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use colloquy_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::manifest::{from_micros, micros};
use crate::journal::real_disk::sync_folder;

pub(super) const KNOWN: &str = "BACKUPS.jsonl";
/// Largest list that is read.
const KNOWN_BYTES_MAX: u64 = 16 << 20;

/// A backup that a store's folder knows of. It may be one that was interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBackup {
    /// When it was begun, by the clock of whoever made it.
    #[serde(rename = "taken_at_us", serialize_with = "micros", deserialize_with = "from_micros")]
    pub taken_at: Timestamp,
    /// Where it was written to.
    pub to: String,
}

/// The backups that a store's folder knows of, oldest first.
///
/// # Errors
/// When the file that lists them is there and cannot be read, is larger than 16 MiB, or has a line that names none.
pub fn known_backups(folder: &Path) -> io::Result<Vec<KnownBackup>> {
    let text = match File::open(folder.join(KNOWN)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => read(&file?)?,
    };
    let lines = whole_lines(&text).split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect()
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if file.take(KNOWN_BYTES_MAX + 1).read_to_end(&mut text)? as u64 > KNOWN_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the list of backups is too long"));
    }
    Ok(text)
}

/// Without a last line that was torn: that backup was never begun.
fn whole_lines(text: &[u8]) -> &[u8] {
    let len = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    text.get(..len).unwrap_or_default()
}

/// Adds a backup to the list durably.
pub(super) fn add(folder: &Path, backup: &KnownBackup) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(folder.join(KNOWN))?;
    let text = read(&file)?;
    let whole = whole_lines(&text).len();
    if whole < text.len() {
        file.set_len(whole as u64)?;
    }
    file.write_all(format!("{}\n", serde_json::to_string(backup)?).as_bytes())?;
    file.sync_all()?;
    sync_folder(folder)
}

/// Copies the list of `from` into `to`, which has none, and adds `backup` unless it is there.
pub(super) fn carry(from: &Path, to: &Path, backup: &KnownBackup) -> io::Result<()> {
    match std::fs::copy(from.join(KNOWN), to.join(KNOWN)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A list that cannot be read goes along as it is: whoever reads it is told.
    let is_there = known_backups(to).is_ok_and(|known| known.iter().any(|known| known.to == backup.to));
    if is_there { File::open(to.join(KNOWN))?.sync_all() } else { add(to, backup) }
}
