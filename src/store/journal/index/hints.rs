//! Hints for compaction: which segments may hold bodies of erased conversations, and how many bytes are dead.
//!
//! Losing a hint costs reads; a hint too many does too. `sought` has the erased conversations whose segments are not
//! known yet, with the first and the last that may hold something of them; `due` a row for each erased conversation and
//! segment that does (segment, then uid); `dead` counts bytes by segment.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use colloquy_types::ConversationUid;

use super::{Index, IndexError, guarded};
use crate::journal::{
    bytes::{put, take},
    row::Row,
    table::Table,
};

fn due_key(segment: u64, uid: ConversationUid) -> [u8; 24] {
    let mut key = [0; 24];
    put(&mut key, 0, &segment.to_be_bytes());
    put(&mut key, 8, &uid.0);
    key
}

fn parse_due(key: &[u8]) -> Option<(u64, ConversationUid)> {
    Some((u64::from_be_bytes(take(key, 0)?), ConversationUid(take(key, 8)?)))
}

impl Index {
    /// Says that the conversation's bodies are to go, from the segment of its first record to that of its last, which
    /// may not be indexed yet.
    pub(super) fn erasure_is_due(&self, row: &Row) -> Result<(), IndexError> {
        let Some(last) = row.erased_in else { return Ok(()) };
        let mut range = [0; 16];
        put(&mut range, 0, &row.created.at.segment.to_be_bytes());
        put(&mut range, 8, &last.to_be_bytes());
        self.sought.insert(row.uid.0, &range)?;
        self.due.insert(due_key(last, row.uid), &[])?;
        Ok(())
    }

    /// The erased conversations whose segments are not known yet, each with the segments that may be.
    pub(crate) fn sought(&self) -> Result<Vec<(ConversationUid, RangeInclusive<u64>)>, IndexError> {
        guarded(|| {
            let mut sought = Vec::new();
            for entry in &self.sought {
                let (uid, range) = entry?;
                let (first, last) = (take(&range, 0).map(u64::from_be_bytes), take(&range, 8).map(u64::from_be_bytes));
                let range = first.zip(last).map(|(first, last)| first..=last);
                sought.extend(take(&uid, 0).map(ConversationUid).zip(range));
            }
            Ok(sought)
        })
    }

    /// Says in which segments an erased conversation that was sought stands.
    pub(crate) fn found(&self, uid: ConversationUid, segments: &[u64]) -> Result<(), IndexError> {
        guarded(|| {
            let mut batch = sled::Batch::default();
            segments.iter().for_each(|segment| batch.insert(&due_key(*segment, uid), &[]));
            self.due.apply_batch(batch)?;
            self.sought.remove(uid.0)?;
            Ok(())
        })
    }

    /// Says so of the erased conversations in a segment that becomes known now.
    pub(crate) fn erasures_are_due_in(&self, segment: u64, table: &Table) -> Result<(), IndexError> {
        guarded(|| {
            if self.erased.is_empty() {
                return Ok(());
            }
            let mut batch = sled::Batch::default();
            for uid in table.uids() {
                if self.erased.contains_key(uid.0)? {
                    batch.insert(&due_key(segment, uid), &[]);
                }
            }
            Ok(self.due.apply_batch(batch)?)
        })
    }

    /// The segments before `below` with erasures pending, oldest first.
    pub(crate) fn due_segments(&self, below: u64) -> Result<Vec<u64>, IndexError> {
        guarded(|| {
            let mut segments = BTreeSet::new();
            for key in self.due.range(..due_key(below, ConversationUid([0; 16]))).keys() {
                segments.extend(parse_due(&key?).map(|(segment, _)| segment));
            }
            Ok(segments.into_iter().collect())
        })
    }

    /// The erased conversations that a segment may hold something of.
    pub(crate) fn due_in(&self, segment: u64) -> Result<Vec<ConversationUid>, IndexError> {
        guarded(|| {
            let keys = self.due.scan_prefix(segment.to_be_bytes()).keys();
            keys.filter_map(|key| key.map(|key| parse_due(&key).map(|(_, uid)| uid)).transpose())
                .map(|uid| Ok(uid?))
                .collect()
        })
    }

    /// Takes back the hints of a segment that compaction has passed over: erasures known then, and dead bytes.
    pub(crate) fn passed_over(
        &self,
        segment: u64,
        erased: &[ConversationUid],
        still_dead: u64,
    ) -> Result<(), IndexError> {
        guarded(|| {
            let mut batch = sled::Batch::default();
            erased.iter().for_each(|uid| batch.remove(&due_key(segment, *uid)));
            self.due.apply_batch(batch)?;
            if still_dead == 0 {
                self.dead.remove(segment.to_be_bytes())?;
            } else {
                self.dead.insert(segment.to_be_bytes(), &still_dead.to_le_bytes())?;
            }
            Ok(())
        })
    }

    /// Adds to the dead bytes of segments.
    pub(crate) fn add_dead(&self, dead: &BTreeMap<u64, u64>) -> Result<(), IndexError> {
        guarded(|| {
            for (segment, bytes) in dead {
                let known = self.dead.get(segment.to_be_bytes())?.and_then(|known| take(&known, 0));
                let sum = known.map_or(0, u64::from_le_bytes).saturating_add(*bytes);
                self.dead.insert(segment.to_be_bytes(), &sum.to_le_bytes())?;
            }
            Ok(())
        })
    }

    /// The dead bytes of each segment that has some.
    pub(crate) fn dead(&self) -> Result<Vec<(u64, u64)>, IndexError> {
        guarded(|| {
            let mut all = Vec::new();
            for entry in &self.dead {
                let (segment, bytes) = entry?;
                all.extend(take(&segment, 0).map(u64::from_be_bytes).zip(take(&bytes, 0).map(u64::from_le_bytes)));
            }
            Ok(all)
        })
    }

    /// All dead bytes, and how many erasures are pending.
    pub(crate) fn dead_and_due(&self) -> Result<(u64, u64), IndexError> {
        let dead = self.dead()?.into_iter().map(|(_, bytes)| bytes).sum();
        guarded(|| {
            let mut uids: BTreeSet<_> = self.sought()?.into_iter().map(|(uid, _)| uid).collect();
            for key in self.due.iter().keys() {
                uids.extend(parse_due(&key?).map(|(_, uid)| uid));
            }
            Ok((dead, uids.len() as u64))
        })
    }
}
