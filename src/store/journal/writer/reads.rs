//! Opens and reads as the writer sees them: they pass through it, so that they see every earlier append,
//! and leave it as plans, after the sync.

use std::{ops::Bound, sync::Arc};

use colloquy_types::{ConversationKey, ConversationUid};

use super::{Entry, Pending, WriterCore};
use crate::{
    journal::{
        command::{Intent, Reply},
        reader::{Moved, ReadJob, ReadPlan, is_listed},
        row::Row,
        table::Run,
    },
    port::{Erasure, Lease, Listed, Opened, ReadError},
};

impl WriterCore {
    pub(super) fn read(&mut self, key: ConversationKey, intent: Intent) {
        if !self.accepts() {
            return intent.refuse(ReadError::Closed);
        }
        match self.keys.get(key.as_str()).copied() {
            Some(uid) => self.known(key, uid, intent),
            None if self.checkpoint.index_is_empty() => self.absent(key, intent),
            None => {
                let generation = self.checkpoint.generation();
                self.pending.push(Pending::Read(ReadJob::Resolve { key, generation, intent }));
            }
        }
    }

    /// Goes on with what the index said, unless the writer or a checkpoint knows better by now.
    pub(super) fn resolved(&mut self, key: ConversationKey, row: Option<Row>, generation: u64, intent: Intent) {
        if self.keys.contains_key(key.as_str()) || generation != self.checkpoint.generation() || !self.accepts() {
            return self.read(key, intent);
        }
        match row {
            None => self.absent(key, intent),
            Some(row) if self.erased.contains(&row.uid) => self.absent(key, intent),
            Some(row) => {
                let uid = row.uid;
                match intent {
                    Intent::Open(_) => {
                        self.insert(key.clone(), row);
                        self.known(key, uid, intent);
                    }
                    _ => self.plan(key, row, intent),
                }
            }
        }
    }

    /// A conversation that does not exist: an open begins it, everything else says so.
    fn absent(&mut self, key: ConversationKey, intent: Intent) {
        if !matches!(intent, Intent::Open(_)) {
            return self.pending.push(Pending::Absent(intent));
        }
        let uid = ConversationUid(self.entropy.bytes16());
        self.insert(key.clone(), Row::unborn(uid));
        self.known(key, uid, intent);
    }

    /// Begins a conversation under a uid of somebody else's choice. Whoever asks has seen that the index knows neither.
    pub(super) fn adopt(&mut self, key: ConversationKey, uid: ConversationUid, reply: Reply<Lease>) {
        let is_known = self.keys.contains_key(key.as_str()) || self.entries.contains_key(&uid);
        let answer = if !self.accepts() {
            Err(ReadError::Closed)
        } else if is_known {
            Err(ReadError::Busy)
        } else {
            self.insert(key.clone(), Row::unborn(uid));
            self.lease(&key, uid).ok_or(ReadError::Closed)
        };
        // Whoever asked may be gone; the next open begins it anew.
        drop(reply.send(answer));
    }

    fn insert(&mut self, key: ConversationKey, row: Row) {
        let uid = row.uid;
        self.keys.insert(super::OrderedKey(key.clone()), uid);
        let indexed = row.is_born();
        self.entries.insert(uid, Entry { key, row, activation: None, dirty: false, in_flight: false, indexed });
    }

    fn known(&mut self, key: ConversationKey, uid: ConversationUid, intent: Intent) {
        let Some(entry) = self.entries.get_mut(&uid) else { return intent.refuse(ReadError::Absent) };
        let row = entry.row.clone();
        if !row.is_born() && !matches!(intent, Intent::Open(_)) {
            return intent.refuse(ReadError::Absent);
        }
        self.plan(key, row, intent);
    }

    fn plan(&mut self, key: ConversationKey, row: Row, intent: Intent) {
        if let Some(reason) = &row.damage {
            intent.refuse(ReadError::Corrupt { reason: reason.clone() });
            return self.forget_if_idle(row.uid);
        }
        let job = match intent {
            Intent::Open(reply) => {
                let Some(lease) = self.lease(&key, row.uid) else { return };
                if !row.is_born() {
                    let opened = Opened { lease, head: row.head, created: None, snapshot: None, tail: Vec::new() };
                    self.pending.push(Pending::Opened(reply, Box::new(opened)));
                    return;
                }
                let from = row.tail_from();
                let up_to_date = row.snapshot.is_some_and(|snapshot| snapshot.record_no == row.head.record_no);
                let plan = self.plan_for(Some(key), row, |segment, run| {
                    !up_to_date && (segment > from.segment || (segment == from.segment && run.end() > from.offset))
                });
                ReadJob::Open { plan, lease, reply }
            }
            Intent::Turns { from, limit, reply } => {
                let plan = self.plan_for(Some(key), row, |_, run| run.last_turn >= from);
                ReadJob::Turns { plan, from, limit, reply }
            }
            Intent::History { after, limit, reply } => {
                let plan = self.plan_for(Some(key), row, |_, run| run.last_turn >= after.turn_seq);
                ReadJob::History { plan, after, limit, reply }
            }
            Intent::Verify(reply) => ReadJob::Verify { plan: self.plan_for(Some(key), row, |_, _| true), reply },
        };
        self.pending.push(Pending::Read(job));
    }

    /// Begins an activation, which fences every earlier one.
    fn lease(&mut self, key: &ConversationKey, uid: ConversationUid) -> Option<Lease> {
        self.last_activation = self.last_activation.next();
        let entry = self.entries.get_mut(&uid)?;
        if entry.activation.replace(self.last_activation).is_none() {
            self.stats.lease_began();
        }
        Some(Lease { key: key.clone(), uid, epoch: self.epoch, activation: self.last_activation })
    }

    /// Believes that a conversation is damaged if nobody has opened it since: who has may have gone on, and compaction
    /// may have taken what the earlier plan names. The earlier lease is fenced then, so nothing is lost with it.
    pub(super) fn doubted(&mut self, lease: &Lease, error: ReadError, reply: Reply<Opened>) {
        let is_current = self.entries.get(&lease.uid).is_some_and(|entry| entry.activation == Some(lease.activation));
        if is_current && self.damaged.insert(lease.uid) {
            tracing::error!(conversation = %lease.key, %error, "stored history is damaged; the conversation is refused");
            self.stats.found_one_damaged();
        }
        drop(reply.send(Err(if is_current { error } else { ReadError::Busy })));
    }

    /// Remembers where compaction has moved what a row names, so that the next open need not look for it.
    pub(super) fn moved(&mut self, uid: ConversationUid, moved: &Moved) {
        let accepts = self.accepts();
        let Some(entry) = self.entries.get_mut(&uid).filter(|entry| accepts && entry.row.erased_in.is_none()) else {
            return;
        };
        entry.row.created = moved.created;
        // There may be a newer one by now.
        if let (Some(known), Some(found)) = (entry.row.snapshot.as_mut(), moved.snapshot)
            && (known.record_no, known.place.at.segment) == (found.record_no, found.place.at.segment)
        {
            *known = found;
        }
        if !entry.dirty {
            entry.dirty = true;
            self.checkpoint.dirty(uid);
        }
    }

    /// Plans the walk over what is left of an erased conversation. Its row never changes any more, so a reader may
    /// look it up in the index when it is not here.
    pub(super) fn erasure(&mut self, uid: ConversationUid, reply: Reply<Erasure>) {
        if !self.accepts() {
            drop(reply.send(Err(ReadError::Closed)));
            return;
        }
        let known = self.entries.get(&uid).map(|entry| entry.row.erased_in.is_some());
        let plan = self.plan_for(None, Row::unborn(uid), |_, _| true);
        self.pending.push(Pending::Read(ReadJob::Erasure { plan, known, reply }));
    }

    fn plan_for(&self, key: Option<ConversationKey>, row: Row, wanted: impl Fn(u64, &Run) -> bool) -> Box<ReadPlan> {
        let mut indexed_below = u64::MAX;
        let mut recent = Vec::new();
        for (segment, table) in self.segments.tables() {
            indexed_below = indexed_below.min(segment.id);
            let runs = table.runs_of(row.uid, |run| wanted(segment.id, run));
            if !runs.is_empty() {
                recent.push((Arc::clone(segment), runs));
            }
        }
        Box::new(ReadPlan { key, row, recent, indexed_below })
    }

    pub(super) fn list(&mut self, tenant: String, after: Option<String>, limit: usize, reply: Reply<Vec<Listed>>) {
        if !self.accepts() {
            drop(reply.send(Err(ReadError::Closed)));
            return;
        }
        let prefix = format!("{tenant}/");
        let from = format!("{prefix}{}", after.as_deref().unwrap_or_default());
        let rows = self
            .keys
            .range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded))
            .take_while(|(key, _)| key.0.as_str().starts_with(&prefix));
        let listed = rows.filter_map(|(key, uid)| {
            let row = &self.entries.get(uid)?.row;
            (row.is_born() && is_listed(&key.0, after.as_deref())).then(|| Listed {
                key: key.0.clone(),
                uid: row.uid,
                head: row.head,
                updated_at: row.updated_at,
            })
        });
        let recent = listed.take(limit).collect();
        let erased = Arc::clone(&self.erased);
        self.pending.push(Pending::Read(ReadJob::List { tenant, after, limit, recent, erased, reply }));
    }
}
