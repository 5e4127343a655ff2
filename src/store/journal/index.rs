//! The index in sled: what can be rebuilt from the journal, kept so that opening need not read all of it.
//!
//! Trees: `rows` (key to [`Row`]), `uids` (uid to key), `erased` (uid to row, without the key), `sought`, `due` and
//! `dead` (what compaction is to look at, see `hints`), `meta`. Which segments hold records of a conversation is not
//! here: their footers tell, and a row for each pair of them would outgrow all else. Written at checkpoints, and by
//! compaction, which removes what it has done. What the journal holds beyond [`Covered`] is read again when the store
//! opens, and reading it again changes nothing.

mod hints;

use std::{
    collections::BTreeMap,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use colloquy_types::{ConversationKey, ConversationUid, Epoch, codec};
use serde::{Deserialize, Serialize};

use super::{
    group::{Position, StoreUuid},
    row::Row,
    table::Table,
};
use crate::sled_files::{self, SledError};

const COVERED: &str = "covered";
const ROWS_PER_BATCH: usize = 4096;
/// Trees that earlier builds wrote: rows of a conversation and a segment, for which footers are asked now.
const TREES_UNUSED: [&str; 1] = ["spans"];

/// What the index covers: all segments before `segment`, wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Covered {
    /// Whose index it is.
    pub(crate) uuid: StoreUuid,
    /// The first segment that must be read again.
    pub(crate) segment: u64,
    /// Everything before this position was synced.
    pub(crate) synced: Position,
    /// The epoch that wrote this.
    pub(crate) epoch: Epoch,
}

/// The stored form of [`Covered`].
#[derive(Serialize, Deserialize)]
enum StoredCovered {
    V1(Covered),
}

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error("sled failed")]
    Sled(#[from] sled::Error),
    #[error("the index's files cannot be used")]
    Files(#[from] SledError),
    #[error("a row of the index cannot be encoded or decoded")]
    Codec(#[from] codec::Error),
    #[error("the index is damaged: {0}")]
    Damaged(&'static str),
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
                meta: db.open_tree("meta")?,
                db,
            })
        })
    }

    /// What it covers; `None` when it never finished a checkpoint.
    pub(crate) fn covered(&self) -> Result<Option<Covered>, IndexError> {
        guarded(|| {
            let Some(bytes) = self.meta.get(COVERED)? else { return Ok(None) };
            let StoredCovered::V1(covered) = codec::decode(&bytes)?;
            Ok(Some(covered))
        })
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
            let text = std::str::from_utf8(&text).map_err(|_| IndexError::Damaged("a key is not text"))?;
            let key = parse_key(text)?;
            Ok(self.row(text)?.filter(|row| row.uid == uid).map(|row| (Some(key), row)))
        })
    }

    /// The row of an erased conversation.
    pub(crate) fn erased(&self, uid: ConversationUid) -> Result<Option<Row>, IndexError> {
        guarded(|| Ok(self.erased.get(uid.0)?.map(|bytes| Row::decode(&bytes)).transpose()?))
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
            let text = std::str::from_utf8(&key).map_err(|_| IndexError::Damaged("a key is not text"))?;
            Ok((parse_key(text)?, Row::decode(&row)?))
        });
        rows.take_while(move |row| row.as_ref().map_or(true, |(key, _)| key.as_str().starts_with(prefix)))
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
        self.erasure_is_due(row)
    }

    /// Makes everything so far durable, and only then what it covers.
    pub(crate) fn cover(&self, covered: Covered) -> Result<(), IndexError> {
        guarded(|| {
            self.sync()?;
            self.meta.insert(COVERED, codec::encode(&StoredCovered::V1(covered))?)?;
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

fn parse_key(text: &str) -> Result<ConversationKey, IndexError> {
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
