//! What a backup says of itself.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use colloquy_types::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::{BackupError, MANIFEST, MANIFEST_NEW};
use crate::journal::real_disk::sync_folder;

/// The format this build writes and reads.
pub(super) const FORMAT: &str = "colloquy.backup/v1";
/// Largest manifest that is read.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// A finished backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub(super) format: String,
    /// The store's random name.
    #[serde(serialize_with = "hex", deserialize_with = "unhex")]
    pub store: [u8; 16],
    /// When it was begun, by the clock of whoever made it.
    #[serde(rename = "taken_at_us", serialize_with = "micros", deserialize_with = "from_micros")]
    pub taken_at: Timestamp,
    /// The version of the program that made it.
    pub tool_version: String,
    /// How many of the files were linked, not copied.
    pub linked: u64,
    /// The files, by their names from the backup's folder on.
    pub files: Vec<BackupFile>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFile {
    /// Its name, from the backup's folder on.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 digest.
    #[serde(serialize_with = "hex", deserialize_with = "unhex")]
    pub digest: [u8; 32],
    #[serde(skip)]
    pub(super) segment: Option<u64>,
}

impl Manifest {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Writes it durably, and so ends the backup.
    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let path = folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(self).map_err(|error| BackupError::Manifest(error.to_string()))?;
        let new = folder.join(MANIFEST_NEW);
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_folder(folder)
        };
        write().map_err(BackupError::at(&path))
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// [`BackupError`] when there is none, or none that this build can use.
    pub fn read(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(MANIFEST);
        let file = match File::open(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(BackupError::NoManifest(folder.to_path_buf()));
            }
            file => file.map_err(BackupError::at(&path))?,
        };
        let mut text = String::new();
        file.take(MANIFEST_BYTES_MAX).read_to_string(&mut text).map_err(BackupError::at(&path))?;
        #[derive(Deserialize)]
        struct Named {
            format: String,
        }
        let cannot = |error: serde_json::Error| BackupError::Manifest(error.to_string());
        let Named { format } = serde_json::from_str(&text).map_err(cannot)?;
        if format != FORMAT {
            return Err(BackupError::Manifest(format!("its format is {format:?}, this build reads {FORMAT:?}")));
        }
        serde_json::from_str(&text).map_err(cannot)
    }
}

fn hex<const N: usize, S: Serializer>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&text)
}

fn unhex<'de, const N: usize, D: serde::Deserializer<'de>>(deserializer: D) -> Result<[u8; N], D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.as_bytes().chunks(2).map(|pair| {
        std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())
    });
    let bytes: Option<Vec<u8>> = digits.collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| serde::de::Error::custom(format!("{} hexadecimal digits are expected", 2 * N)))
}

pub(super) fn micros<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_micros())
}

pub(super) fn from_micros<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    u64::deserialize(deserializer).map(Timestamp::from_micros)
}
