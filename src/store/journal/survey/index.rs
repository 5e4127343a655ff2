//! What the index claims, held against the chains of the journal.
//!
//! Only the index knows where conversations end, so only it tells of a journal that lost its last segments, or all of a
//! conversation. It is looked at before the journal is read, which can then only have more than it says. sled writes when
//! it opens, so a copy is opened.

use std::{fs, io, path::Path};

use colloquy_types::{ConversationKey, ConversationUid, Hash, Head};

use super::{Fault, FaultKind, Faults, chains::Chain};
use crate::journal::{
    error::OpenError,
    folder::{Places, try_lock},
    index::{Index, IndexError, is_marked},
    row::Row,
    table::UidMap,
};

/// Memory for the pages of the copy.
const CACHE_BYTES: u64 = 64 << 20;
/// The copy, beside the system's other temporary files.
const COPY: &str = "colloquy-index-";

/// What came of holding the index against the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IndexCheck {
    /// Nobody asked for it.
    #[default]
    NotAsked,
    /// It was done.
    Held {
        /// Conversations that the index names, erased ones included.
        rows: u64,
    },
    /// It was not done.
    NotChecked(NotChecked),
}

/// Why the index was not held against the journal. None of these is a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotChecked {
    /// A process has the store open.
    #[error("the store is in use")]
    InUse,
    /// There is none, as in a store that was brought back from a backup, or it was never finished.
    #[error("there is none; the next start makes it from the journal")]
    Absent,
    /// A process found it damaged and left word of it.
    #[error("a server found it damaged; the next start makes it anew")]
    Marked,
    /// Its rows are of a newer build.
    #[error("a newer build wrote it; a start of this one makes it anew")]
    Newer,
    /// A copy of it cannot be made.
    #[error("it cannot be copied: {0}")]
    Copy(String),
}

/// A conversation as the index knows it.
pub(super) struct Claim {
    key: Option<ConversationKey>,
    head: Head,
    is_erased: bool,
    is_quarantined: bool,
    /// The hash that the journal has of the record that the index takes for the last.
    found: Option<Hash>,
}

/// What the index claims.
#[derive(Default)]
pub(super) struct Claims {
    /// Of segments before this one it claims to know everything.
    pub(super) covered: u64,
    pub(super) rows: UidMap<Claim>,
    pub(super) check: IndexCheck,
}

impl Claims {
    /// Reads what the index claims, if it can be.
    pub(super) fn read(store: &Path, places: &Places, faults: &mut Faults) -> Result<Self, OpenError> {
        let not = |why| Ok(Self { check: IndexCheck::NotChecked(why), ..Self::default() });
        let unusable = |error: &IndexError, faults: &mut Faults| {
            faults.add(Fault::of_index(FaultKind::Index(error.to_string())));
            Ok(Self::default())
        };
        let copy = match copied(store, &places.index) {
            Ok(Some(copy)) => copy,
            Ok(None) => return not(NotChecked::InUse),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return not(NotChecked::Absent),
            Err(error) => return not(NotChecked::Copy(error.to_string())),
        };
        if is_marked(&places.index) {
            return not(NotChecked::Marked);
        }
        let opened = Index::open(copy.path(), CACHE_BYTES).and_then(|index| Ok((index.covered()?, index)));
        let (covered, index) = match opened {
            Ok((Some(covered), index)) => (covered, index),
            Ok((None, _)) => return not(NotChecked::Absent),
            Err(IndexError::Rows(_)) => return not(NotChecked::Newer),
            Err(error) => return unusable(&error, faults),
        };
        if covered.uuid != places.uuid {
            faults.add(Fault::of_index(FaultKind::IndexForeign));
            return Ok(Self::default());
        }
        let mut rows = UidMap::default();
        let read = index.each_row(&mut |key, row| drop(rows.insert(row.uid, Claim::of(key, row))));
        match read {
            Err(error) => unusable(&error, faults),
            Ok(()) => {
                let check = IndexCheck::Held { rows: rows.len() as u64 };
                Ok(Self { covered: covered.segment, rows, check })
            }
        }
    }

    /// Whether there is anything to hold against the journal.
    fn is_held(&self) -> bool {
        matches!(self.check, IndexCheck::Held { .. })
    }

    /// Takes note of a record of the journal.
    pub(super) fn saw(&mut self, uid: ConversationUid, head: &Head) {
        if let Some(claim) = self.rows.get_mut(&uid)
            && claim.head.record_no == head.record_no
        {
            claim.found = Some(head.hash);
        }
    }

    /// Says what does not fit, once the journal is read.
    pub(super) fn judge(&self, chains: &UidMap<Chain>, faults: &mut Faults) {
        if !self.is_held() {
            return;
        }
        for (uid, claim) in &self.rows {
            let chain = chains.get(uid);
            if chain.is_some_and(|chain| chain.is_damaged) {
                continue;
            }
            let key = claim.key.as_ref().or_else(|| chain?.key.as_ref());
            if let Some(kind) = claim.against(chain) {
                faults.add(Fault::of(*uid, key, kind));
            }
        }
        for (uid, chain) in chains {
            if !self.rows.contains_key(uid) && !chain.is_damaged && chain.covered > Head::default().record_no {
                faults.add(Fault::of(*uid, chain.key.as_ref(), FaultKind::IndexLacks));
            }
        }
    }
}

impl Claim {
    fn of(key: Option<ConversationKey>, row: Row) -> Self {
        let (is_erased, is_quarantined) = (row.erased_in.is_some(), row.damage.is_some());
        Self { key, head: row.head, is_erased, is_quarantined, found: None }
    }

    /// What does not fit the chain.
    fn against(&self, chain: Option<&Chain>) -> Option<FaultKind> {
        let known = self.head.record_no;
        if known == Head::default().record_no {
            // Its first record was damaged; nothing more is claimed.
            return None;
        }
        let Some(chain) = chain else { return Some(FaultKind::JournalLacks { known }) };
        let reached = chain.head.record_no;
        match self.found {
            None if reached < known => return Some(FaultKind::JournalBehind { reached, known }),
            Some(hash) if hash == self.head.hash => {}
            _ => return Some(FaultKind::IndexDiffers { known }),
        }
        if self.is_erased && !chain.is_erased {
            return Some(FaultKind::ErasureLost);
        }
        if known < chain.covered && !self.is_quarantined {
            return Some(FaultKind::IndexBehind { known, covered: chain.covered });
        }
        None
    }
}

/// A copy of the index, made while no process has the store open; `None` when one has.
fn copied(store: &Path, index: &Path) -> io::Result<Option<tempfile::TempDir>> {
    let _lock = match try_lock(store) {
        // Nobody has ever opened it here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(None) => return Ok(None),
        lock => lock?,
    };
    let entries = fs::read_dir(index)?;
    let copy = tempfile::Builder::new().prefix(COPY).tempdir()?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
    }
    Ok(Some(copy))
}
