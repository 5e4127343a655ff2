//! Rows as they become while the journal is read, over the rows that the index has.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    thread,
};

use colloquy_types::{ConversationKey, ConversationUid, RecordNo};

use crate::{
    journal::{
        group::Position,
        index::{Index, IndexError},
        row::{Place, Row, SnapshotPlace},
        table::UidMap,
    },
    record::{BadRecord, RecordHeader, RecordKind},
};

/// A damaged uid with at most this many bits changed is still told from all others: they are random.
const UID_BITS_CHANGED_MAX: u32 = 16;
/// Look-ups that are worth a thread.
const UIDS_SHARED_MIN: usize = 64;
const THREADS_MAX: usize = 8;

/// Rows that reading changed, written into the index when there are many.
pub(super) struct Overlay<'a> {
    index: &'a Index,
    /// A row whose first record has lost its key is an erased conversation's.
    rows: UidMap<(Option<ConversationKey>, Row)>,
    /// Who took each key last, of those rows.
    holders: HashMap<ConversationKey, ConversationUid>,
    /// Bytes of superseded snapshots by segment.
    dead: BTreeMap<u64, u64>,
    rows_max: usize,
    quarantined: u64,
    unattributed: u64,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(index: &'a Index, rows_max: usize) -> Self {
        let (rows, holders, dead) = (UidMap::default(), HashMap::new(), BTreeMap::new());
        Self { index, rows, holders, dead, rows_max, quarantined: 0, unattributed: 0 }
    }

    pub(super) fn index(&self) -> &'a Index {
        self.index
    }

    /// Conversations that were quarantined, and records that belong to none.
    pub(super) fn damages(&self) -> u64 {
        self.quarantined + self.unattributed
    }

    /// Records that belong to no conversation.
    pub(super) fn unattributed(&self) -> u64 {
        self.unattributed
    }

    fn row(&mut self, uid: ConversationUid) -> Result<Option<&mut Row>, IndexError> {
        if !self.rows.contains_key(&uid) {
            let Some(known) = self.index.by_uid(uid)? else { return Ok(None) };
            self.rows.insert(uid, known);
        }
        Ok(self.rows.get_mut(&uid).map(|(_, row)| row))
    }

    /// Looks up the rows of all that these records are of. Each is two random look-ups in sled, which may have to read
    /// a page, so when there are many, several threads share them.
    pub(super) fn fetch<'h>(&mut self, headers: impl Iterator<Item = &'h RecordHeader>) -> Result<(), IndexError> {
        let of_conversations = headers.filter(|header| header.kind != RecordKind::Epoch).map(|header| header.uid);
        let mut uids: Vec<_> = of_conversations.filter(|uid| !self.rows.contains_key(uid)).collect();
        uids.sort_unstable();
        uids.dedup();
        if uids.len() < UIDS_SHARED_MIN {
            return Ok(());
        }
        let index = self.index;
        let look_up = |uids: &[ConversationUid]| -> Result<Vec<_>, IndexError> {
            let rows = uids.iter().map(|uid| Ok(index.by_uid(*uid)?.map(|row| (*uid, row))));
            rows.filter_map(Result::transpose).collect()
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let share = uids.len().div_ceil(threads);
        thread::scope(|scope| {
            let (mine, others) = uids.split_at(share);
            let begin = |uids| {
                let thread = thread::Builder::new().name("journal-rows".to_owned());
                (uids, thread.spawn_scoped(scope, move || look_up(uids)))
            };
            let looking: Vec<_> = others.chunks(share).map(begin).collect();
            self.rows.extend(look_up(mine)?);
            for (uids, thread) in looking {
                let found = match thread {
                    Ok(thread) => thread.join().unwrap_or(Err(IndexError::Damaged("a look-up panicked"))),
                    // No thread is to be had.
                    Err(_) => look_up(uids),
                };
                self.rows.extend(found?);
            }
            Ok(())
        })
    }

    /// Takes a record whose checksums fit. Records that were seen before change nothing.
    pub(super) fn record(
        &mut self,
        header: &RecordHeader,
        names: Option<&ConversationKey>,
        place: Place,
    ) -> Result<(), IndexError> {
        match header.kind {
            RecordKind::Epoch => return Ok(()),
            RecordKind::Created => self.created(header, names, place)?,
            RecordKind::Erased => return self.erased(header, place),
            _ => {}
        }
        let Some(row) = self.row(header.uid)? else {
            self.unattributed += 1;
            tracing::error!(uid = %header.uid, record = %header.record_no, "record of a conversation whose first record is lost");
            return Ok(());
        };
        if let Some(last) = row.erased_in.as_mut() {
            // Its end may be lost, and stands no earlier than this.
            *last = place.at.segment.max(*last);
        }
        if row.damage.is_some() || row.erased_in.is_some_and(|_| row.head.record_no >= header.record_no) {
            return Ok(());
        }
        let before = row.snapshot.map(|snapshot| snapshot.place);
        let taken = take(row, header, place);
        if let (Some(old), Some(new)) = (before, row.snapshot.map(|snapshot| snapshot.place))
            && old != new
        {
            *self.dead.entry(old.at.segment).or_default() += u64::from(old.len);
        }
        if let Err(bad) = taken {
            self.quarantine(header.uid, format!("{bad}, at byte {} of segment {}", place.at.offset, place.at.segment));
        }
        Ok(())
    }

    /// Makes the row that the record begins.
    fn created(
        &mut self,
        header: &RecordHeader,
        names: Option<&ConversationKey>,
        place: Place,
    ) -> Result<(), IndexError> {
        if let Some(row) = self.row(header.uid)? {
            row.created = place;
            return Ok(());
        }
        let row = Row { created: place, ..Row::unborn(header.uid) };
        match names {
            _ if header.erased => {
                // Only an erasure takes the key, so its record stands further on.
                let row = Row { erased_in: Some(place.at.segment), ..row };
                self.rows.insert(header.uid, (None, row));
            }
            Some(key) => self.takes(key.clone(), row)?,
            None => self.unattributed += 1,
        }
        Ok(())
    }

    /// Who has the key, and where its first record stands.
    fn holder(&mut self, key: &ConversationKey) -> Result<Option<(ConversationUid, Position)>, IndexError> {
        let uid = match self.holders.get(key) {
            Some(uid) => Some(*uid),
            None => self.index.row(key.as_str())?.map(|row| row.uid),
        };
        let Some(uid) = uid else { return Ok(None) };
        let live = self.row(uid)?.filter(|row| row.erased_in.is_none());
        Ok(live.map(|row| (uid, row.created.at)))
    }

    /// Adds the row of a conversation that took `key`. Nobody takes the key of another that lives, so when one seems
    /// to, the earlier of the two has ended and the record that says so is lost.
    fn takes(&mut self, key: ConversationKey, mut row: Row) -> Result<(), IndexError> {
        let (uid, at) = (row.uid, row.created.at);
        match self.holder(&key)? {
            Some((_, later)) if later > at => row.erased_in = Some(later.segment),
            Some((earlier, _)) => {
                tracing::error!(conversation = %key, uid = %earlier, "the record of an erasure is lost");
                if let Some((_, ended)) = self.rows.get_mut(&earlier) {
                    (ended.erased_in, ended.damage) = (Some(at.segment), None);
                }
            }
            None => {}
        }
        if row.erased_in.is_none() {
            self.holders.insert(key.clone(), uid);
        }
        self.rows.insert(uid, (Some(key), row));
        Ok(())
    }

    /// Whatever else is wrong with the conversation: it has ended, and its key is free.
    fn erased(&mut self, header: &RecordHeader, place: Place) -> Result<(), IndexError> {
        if self.row(header.uid)?.is_none() {
            self.rows.insert(header.uid, (None, Row::unborn(header.uid)));
        }
        if let Some((_, row)) = self.rows.get_mut(&header.uid) {
            (row.erased_in, row.damage, row.head) = (Some(place.at.segment), None, header.head());
            row.updated_at = header.time;
        }
        Ok(())
    }

    fn quarantine(&mut self, uid: ConversationUid, reason: String) {
        if let Some((key, row)) = self.rows.get_mut(&uid)
            && row.damage.is_none()
            && row.erased_in.is_none()
        {
            let conversation = key.as_ref().map_or("", ConversationKey::as_str);
            tracing::error!(conversation, %reason, "stored history is damaged; the conversation is quarantined");
            row.damage = Some(reason);
            self.quarantined += 1;
        }
    }

    /// Quarantines the conversation that damaged bytes belonged to, as far as they still tell.
    pub(super) fn damaged(
        &mut self,
        uid: Option<ConversationUid>,
        names: Option<&ConversationKey>,
        place: String,
    ) -> Result<(), IndexError> {
        let Some(uid) = uid else {
            self.unattributed += 1;
            tracing::error!(%place, "damage that names no conversation");
            return Ok(());
        };
        if self.row(uid)?.is_some() {
            self.quarantine(uid, place);
        } else if let Some(near) = self.nearest(uid) {
            self.row(near)?;
            self.quarantine(near, place);
        } else if let Some(key) = names
            && self.holder(key)?.is_none()
        {
            // Its first record is damaged, but still names it: nobody may begin it anew.
            self.holders.insert(key.clone(), uid);
            self.rows.insert(uid, (Some(key.clone()), Row::unborn(uid)));
            self.quarantine(uid, place);
        } else {
            self.unattributed += 1;
            tracing::error!(%place, "damage that names no known conversation; a gap may tell whose it was");
        }
        Ok(())
    }

    fn nearest(&self, uid: ConversationUid) -> Option<ConversationUid> {
        let number = u128::from_le_bytes(uid.0);
        let is_near =
            |other: &ConversationUid| (u128::from_le_bytes(other.0) ^ number).count_ones() <= UID_BITS_CHANGED_MAX;
        self.rows.keys().copied().find(is_near).or_else(|| self.index.uids().find(is_near))
    }

    /// Puts the rows into the index when there are too many to keep.
    pub(super) fn spill(&mut self) -> Result<(), IndexError> {
        if self.rows.len() > self.rows_max {
            let rows: Vec<_> = self.rows.drain().map(|(_, row)| row).collect();
            self.index.put_rows(rows)?;
            self.holders.clear();
        }
        Ok(())
    }

    /// Puts all rows into the index, and tells how many conversations are damaged.
    pub(super) fn finish(&mut self) -> Result<&'a Index, IndexError> {
        let rows: Vec<_> = self.rows.drain().map(|(_, row)| row).collect();
        self.index.put_rows(rows)?;
        self.index.add_dead(&std::mem::take(&mut self.dead))?;
        if self.damages() > 0 {
            let (quarantined, unattributed) = (self.quarantined, self.unattributed);
            tracing::error!(quarantined, unattributed, "the journal is damaged; other conversations are served");
        }
        Ok(self.index)
    }
}

/// Moves `row` to where `header` leads, when it does.
fn take(row: &mut Row, header: &RecordHeader, place: Place) -> Result<(), BadRecord> {
    if header.kind == RecordKind::Snapshot {
        if header.record_no == row.head.record_no && header.hash != row.head.hash {
            return Err(BadRecord::Chain(header.record_no));
        }
        if header.record_no > row.head.record_no {
            return Err(BadRecord::Gap { after: row.head.record_no, found: header.record_no });
        }
        if row.snapshot.is_none_or(|known| known.record_no <= header.record_no) {
            row.snapshot = Some(SnapshotPlace { place, record_no: header.record_no });
            if header.record_no == row.head.record_no {
                row.ends_in_snapshot();
            }
            row.updated_at = row.updated_at.max(header.time);
        }
        return Ok(());
    }
    if header.record_no <= row.head.record_no && header.record_no > RecordNo::default() {
        return Ok(());
    }
    header.follows(&row.head)?;
    row.head = header.head();
    row.updated_at = header.time;
    row.follows_in(place.at.segment);
    Ok(())
}
