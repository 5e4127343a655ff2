//! The index in sled: what can be rebuilt from the journal, kept so that opening need not read all of it.
//!
//! Trees: `rows` (key to [`Row`]), `uids` (uid to key), `erased` (uid to row, without the key), `sought`, `due` and
//! `dead` (what compaction is to look at, see `hints`), `damaged` (uids of rows that are quarantined), `meta`. Which segments hold records of a conversation is not
//! here: their footers tell, and a row for each pair of them would outgrow all else. Written at checkpoints, and by
//! compaction, which removes what it has done. What the journal holds beyond [`Covered`] is read again when the store
//! opens, and reading it again changes nothing.

mod covered;
mod hints;
mod shared;

use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use colloquy_types::{ConversationKey, ConversationUid, codec};

pub(crate) use self::{
    covered::Covered,
    shared::{IndexPlace, SharedIndex, is_marked, unmark},
};
use super::{row::Row, table::Table};
use crate::sled_files::{self, SledError};

const COVERED: &str = "covered";
const ROWS_PER_BATCH: usize = 4096;
/// Trees that earlier builds wrote: rows of a conversation and a segment, for which footers are asked now.
const TREES_UNUSED: [&str; 1] = ["spans"];

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error("sled failed")]
    Sled(#[from] sled::Error),
    #[error("the index's files cannot be used")]
    Files(#[from] SledError),
    #[error("a row of the index cannot be encoded or decoded")]
    Codec(#[from] codec::Error),
    #[error("its rows have version {0}, which this build does not know")]
    Rows(u32),
    #[error("the index is damaged: {0}")]
    Damaged(&'static str),
    #[error("the index is not open")]
    NotOpen,
    #[error("the index is in use for too long to be opened anew")]
    InUse,
    #[error("the disk has no room to open the index anew")]
    NoRoom(#[source] io::Error),
}

impl IndexError {
    /// Whether making the index anew would help; a full disk is not helped by it.
    fn is_damage(&self) -> bool {
        match self {
            Self::Sled(sled::Error::Io(error)) | Self::Files(SledError::Sled(sled::Error::Io(error))) => {
                !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Sled(_) | Self::Files(SledError::Sled(_)) | Self::Codec(_) | Self::Rows(_) | Self::Damaged(_) => true,
            Self::Files(_) | Self::NotOpen | Self::InUse | Self::NoRoom(_) => false,
        }
    }
}

/// The open index.
pub(crate) struct Index {
    folder: PathBuf,
    db: sled::Db,
    rows: sled::Tree,
    uids: sled::Tree,
    sought: sled::Tree,
    erased: sled::Tree,
    due: sled::Tree,
    dead: sled::Tree,
    damaged: sled::Tree,
    meta: sled::Tree,
}

/// Runs what may panic inside sled when its files are damaged.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(IndexError::Damaged("sled panicked")))
}

impl Index {
    /// Opens what is there, or makes an empty one.
    pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        guarded(|| {
            let db = sled_files::open(folder, cache_bytes)?;
            Ok(Self {
                folder: folder.to_path_buf(),
                rows: db.open_tree("rows")?,
                uids: db.open_tree("uids")?,
                sought: db.open_tree("sought")?,
                erased: db.open_tree("erased")?,
                due: db.open_tree("due")?,
                dead: db.open_tree("dead")?,
                damaged: db.open_tree("damaged")?,
                meta: db.open_tree("meta")?,
                db,
            })
        })
    }

    /// What it covers; `None` when it never finished a checkpoint.
    ///
    /// # Errors
    /// [`IndexError::Rows`] when a newer build wrote it.
    pub(crate) fn covered(&self) -> Result<Option<Covered>, IndexError> {
        guarded(|| self.meta.get(COVERED)?.map(|bytes| Covered::decode(&bytes)).transpose())
    }

    /// Whether it has no conversation, erased ones included.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.erased.is_empty()
    }

    pub(crate) fn row(&self, key: &str) -> Result<Option<Row>, IndexError> {
        guarded(|| Ok(self.rows.get(key)?.map(|bytes| Row::decode(&bytes)).transpose()?))
    }

    /// The key and row of a uid; an erased conversation has no key.
    pub(crate) fn by_uid(&self, uid: ConversationUid) -> Result<Option<(Option<ConversationKey>, Row)>, IndexError> {
        if let Some(row) = self.erased(uid)? {
            return Ok(Some((None, row)));
        }
        guarded(|| {
            let Some(text) = self.uids.get(uid.0)? else { return Ok(None) };
            let key = parse_text(&text)?;
            Ok(self.row(key.as_str())?.filter(|row| row.uid == uid).map(|row| (Some(key), row)))
        })
    }

    /// The row of an erased conversation.
    pub(crate) fn erased(&self, uid: ConversationUid) -> Result<Option<Row>, IndexError> {
        guarded(|| Ok(self.erased.get(uid.0)?.map(|bytes| Row::decode(&bytes)).transpose()?))
    }

    /// How many conversations are quarantined.
    pub(crate) fn damaged_len(&self) -> Result<u64, IndexError> {
        guarded(|| Ok(self.damaged.len() as u64))
    }

    /// The keys of the first `limit` conversations that are quarantined.
    pub(crate) fn damaged(&self, limit: usize) -> Result<Vec<ConversationKey>, IndexError> {
        guarded(|| {
            let uids = self.damaged.iter().keys().take(limit);
            let keys = uids.map(|uid| -> Result<Option<ConversationKey>, IndexError> {
                self.uids.get(uid?)?.map(|key| parse_text(&key)).transpose()
            });
            keys.filter_map(Result::transpose).collect()
        })
    }

    /// All uids; for what is rare.
    pub(crate) fn uids(&self) -> impl Iterator<Item = ConversationUid> {
        self.uids.iter().keys().filter_map(|uid| Some(ConversationUid(uid.ok()?.as_ref().try_into().ok()?)))
    }

    /// The rows from the key `from` on while their keys begin with `prefix`.
    pub(crate) fn rows_from<'a>(
        &self,
        from: &str,
        prefix: &'a str,
    ) -> impl Iterator<Item = Result<(ConversationKey, Row), IndexError>> + use<'a> {
        let rows = self.rows.range(from..).map(|entry| {
            let (key, row) = entry?;
            Ok((parse_text(&key)?, Row::decode(&row)?))
        });
        rows.take_while(move |row| row.as_ref().map_or(true, |(key, _)| key.as_str().starts_with(prefix)))
    }

    /// Every row, with its key unless the conversation was erased.
    pub(crate) fn each_row(&self, take: &mut dyn FnMut(Option<ConversationKey>, Row)) -> Result<(), IndexError> {
        guarded(|| {
            for row in self.rows_from("", "") {
                let (key, row) = row?;
                take(Some(key), row);
            }
            for entry in &self.erased {
                take(None, Row::decode(&entry?.1)?);
            }
            Ok(())
        })
    }

    /// Adds rows, and their uids, without saying that anything more is covered.
    pub(crate) fn put_rows(&self, mut rows: Vec<(Option<ConversationKey>, Row)>) -> Result<(), IndexError> {
        let known = rows.iter().filter(|(_, row)| row.erased_in.is_none());
        let uids = known.filter_map(|(key, row)| Some((row.uid, key.clone()?))).collect();
        self.put_known_rows(&mut rows)?;
        self.put_uids(uids)
    }

    /// Adds rows whose uids are there already. In the order of their keys, which spares sled most of its searching. Keys
    /// that erasures free go first, as a later row may have taken one.
    fn put_known_rows(&self, rows: &mut [(Option<ConversationKey>, Row)]) -> Result<(), IndexError> {
        let text = |key: &Option<ConversationKey>| key.as_ref().map(|key| key.as_str().to_owned());
        rows.sort_by_cached_key(|(key, _)| text(key));
        guarded(|| {
            for (key, row) in rows.iter().filter(|(_, row)| row.erased_in.is_some()) {
                self.put_erased(key.as_ref(), row)?;
            }
            for chunk in rows.chunks(ROWS_PER_BATCH) {
                let mut batch = sled::Batch::default();
                for (key, row) in chunk.iter().filter(|(_, row)| row.erased_in.is_none()) {
                    let Some(key) = key else { continue };
                    if row.damage.is_some() {
                        self.damaged.insert(row.uid.0, &[])?;
                    }
                    batch.insert(key.as_str(), row.encode()?);
                }
                self.rows.apply_batch(batch)?;
            }
            Ok(())
        })
    }

    fn put_uids(&self, mut uids: Vec<(ConversationUid, ConversationKey)>) -> Result<(), IndexError> {
        uids.sort_unstable_by_key(|(uid, _)| uid.0);
        guarded(|| {
            for chunk in uids.chunks(ROWS_PER_BATCH) {
                let mut batch = sled::Batch::default();
                for (uid, key) in chunk {
                    batch.insert(&uid.0, key.as_str());
                }
                self.uids.apply_batch(batch)?;
            }
            Ok(())
        })
    }

    fn put_erased(&self, key: Option<&ConversationKey>, row: &Row) -> Result<(), IndexError> {
        if let Some(key) = key
            && self.row(key.as_str())?.is_some_and(|known| known.uid == row.uid)
        {
            self.rows.remove(key.as_str())?;
        }
        self.erased.insert(row.uid.0, row.encode()?)?;
        self.uids.remove(row.uid.0)?;
        self.damaged.remove(row.uid.0)?;
        self.erasure_is_due(row)
    }

    /// Makes everything so far durable, and only then what it covers.
    pub(crate) fn cover(&self, covered: Covered) -> Result<(), IndexError> {
        guarded(|| {
            self.sync()?;
            self.meta.insert(COVERED, covered.encode()?)?;
            self.sync()
        })
    }

    /// Encodes a page of rows behind the key `after` as the newest version; `None` when there is none.
    pub(crate) fn renew_rows(&self, after: &[u8]) -> Result<Option<RenewedRows>, IndexError> {
        let mut renewed = RenewedRows { rows: 0, renewed: 0, last: Vec::new() };
        let mut batch = sled::Batch::default();
        for entry in self.rows.range::<&[u8], _>((Bound::Excluded(after), Bound::Unbounded)).take(ROWS_PER_BATCH) {
            let (key, bytes) = entry?;
            if !Row::is_newest(&bytes) {
                batch.insert(key.clone(), Row::decode(&bytes)?.encode()?);
                renewed.renewed += 1;
            }
            renewed.rows += 1;
            renewed.last = key.to_vec();
        }
        self.rows.apply_batch(batch)?;
        Ok((renewed.rows > 0).then_some(renewed))
    }

    /// Leaves a row, and a tree, as a build before erasures did.
    #[cfg(test)]
    pub(crate) fn put_as_version_1(&self, key: &ConversationKey) {
        let row = self.row(key.as_str()).unwrap().unwrap();
        self.rows.insert(key.as_str(), row.encode_as_version_1()).unwrap();
        self.db.open_tree(TREES_UNUSED[0]).unwrap().insert(row.uid.0, &[1]).unwrap();
        self.sync().unwrap();
    }

    /// Damages the row of a conversation as nothing that sled would notice.
    #[cfg(test)]
    pub(crate) fn damage_row(&self, key: &ConversationKey) {
        self.rows.insert(key.as_str(), &[200_u8; 32]).unwrap();
        self.sync().unwrap();
    }

    /// Leaves a row, and what is covered, as a build whose rows have the next version.
    #[cfg(test)]
    pub(crate) fn put_as_newer(&self, key: &ConversationKey) {
        self.damage_row(key);
        let covered = self.covered().unwrap().unwrap();
        self.meta.insert(COVERED, covered.encode_with_rows(super::row::VERSION + 1).unwrap()).unwrap();
        self.sync().unwrap();
    }

    /// Removes trees of earlier builds; how many there were.
    pub(crate) fn remove_unused_trees(&self) -> Result<u64, IndexError> {
        guarded(|| {
            let mut removed = 0;
            for name in TREES_UNUSED {
                removed += u64::from(self.db.drop_tree(name)?);
            }
            Ok(removed)
        })
    }

    pub(crate) fn sync(&self) -> Result<(), IndexError> {
        Ok(sled_files::sync(&self.db, &self.folder)?)
    }
}

fn parse_text(text: &[u8]) -> Result<ConversationKey, IndexError> {
    let text = std::str::from_utf8(text).map_err(|_| IndexError::Damaged("a key is not text"))?;
    let parts = text.split_once('/');
    let key = parts.and_then(|(tenant, conversation)| ConversationKey::from_stored(tenant, conversation));
    key.ok_or(IndexError::Damaged("a key is malformed"))
}

/// A page of rows that were looked at.
pub(crate) struct RenewedRows {
    pub(crate) rows: u64,
    pub(crate) renewed: u64,
    /// The key of the last.
    pub(crate) last: Vec<u8>,
}

/// What one checkpoint adds.
pub(crate) struct Checkpoint {
    pub(crate) rows: Vec<(Option<ConversationKey>, Row)>,
    /// The uids among them that the index does not have yet.
    pub(crate) uids: Vec<(ConversationUid, ConversationKey)>,
    /// Bytes of snapshots that were superseded, by the segments they stand in.
    pub(crate) dead: BTreeMap<u64, u64>,
    /// Sealed segments that the index did not cover before.
    pub(crate) tables: Vec<(u64, Arc<Table>)>,
    pub(crate) covered: Covered,
}

impl Checkpoint {
    pub(crate) fn apply(mut self, index: &Index) -> Result<(), IndexError> {
        index.put_known_rows(&mut self.rows)?;
        index.put_uids(self.uids)?;
        for (segment, table) in &self.tables {
            index.erasures_are_due_in(*segment, table)?;
        }
        index.add_dead(&self.dead)?;
        index.cover(self.covered)
    }
}
