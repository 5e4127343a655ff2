//! What becomes of each record when its segment is written anew. Looks rows up and decides; writes nothing.

use colloquy_types::{ConversationUid, RecordNo, Timestamp, TurnSeq};

use crate::{
    journal::{
        index::{IndexError, SharedIndex},
        retention::{Retention, RetentionPolicy},
        row::{Row, SnapshotPlace},
        scan::Scan,
        table::UidMap,
    },
    record::{RecordHeader, RecordKind},
};

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it is.
    Keep,
    /// Its body goes and its header stays.
    Stub,
    /// It goes.
    Drop,
}

/// A fate, and whether it may not wait until enough of a segment is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) fate: Fate,
    pub(super) must: bool,
}

const KEEP: Verdict = Verdict { fate: Fate::Keep, must: false };

/// How a conversation stands.
#[derive(Clone, Copy)]
enum Standing {
    /// Nothing is known of it, or it is damaged and somebody may want to look at it.
    Untouchable,
    Erased,
    Live {
        snapshot: Option<SnapshotPlace>,
        turn: TurnSeq,
        retention: Option<Retention>,
    },
}

/// The rules for one segment.
pub(super) struct Rules<'a> {
    index: &'a SharedIndex,
    policy: &'a RetentionPolicy,
    segment: u64,
    now: Timestamp,
    standings: UidMap<Standing>,
    /// The last snapshot of each conversation here: its record and where it stands.
    last_snapshots: UidMap<(RecordNo, usize)>,
}

impl<'a> Rules<'a> {
    /// The rules for a segment that was read.
    pub(super) fn new(
        (index, policy): (&'a SharedIndex, &'a RetentionPolicy),
        segment: u64,
        now: Timestamp,
        scan: &Scan,
    ) -> Self {
        let mut last_snapshots = UidMap::default();
        for item in scan.stretches.iter().flat_map(|stretch| &stretch.items) {
            if let Ok(header) = &item.found
                && header.kind == RecordKind::Snapshot
            {
                last_snapshots.insert(header.uid, (header.record_no, item.offset));
            }
        }
        Self { index, policy, segment, now, standings: UidMap::default(), last_snapshots }
    }

    fn standing(&mut self, uid: ConversationUid) -> Result<Standing, IndexError> {
        if let Some(standing) = self.standings.get(&uid) {
            return Ok(*standing);
        }
        let standing = match self.index.look(|index| index.by_uid(uid))? {
            Some((_, Row { erased_in: Some(_), .. })) => Standing::Erased,
            Some((Some(key), row)) if row.damage.is_none() => {
                let retention = self.policy.of(key.tenant()).filter(|_| !key.is_tenant_stream());
                Standing::Live { snapshot: row.snapshot, turn: row.head.turn_seq, retention }
            }
            _ => Standing::Untouchable,
        };
        self.standings.insert(uid, standing);
        Ok(standing)
    }

    /// Whether the conversation was erased.
    pub(super) fn is_erased(&mut self, uid: ConversationUid) -> Result<bool, IndexError> {
        Ok(matches!(self.standing(uid)?, Standing::Erased))
    }

    /// What becomes of the record with this header at `offset`.
    pub(super) fn verdict(&mut self, header: &RecordHeader, offset: usize) -> Result<Verdict, IndexError> {
        if header.erased || matches!(header.kind, RecordKind::Epoch | RecordKind::Erased) {
            return Ok(KEEP);
        }
        let is_snapshot = header.kind == RecordKind::Snapshot;
        Ok(match self.standing(header.uid)? {
            Standing::Untouchable => KEEP,
            Standing::Erased => Verdict { fate: if is_snapshot { Fate::Drop } else { Fate::Stub }, must: true },
            Standing::Live { snapshot, .. } if is_snapshot => {
                let superseded = snapshot.is_some_and(|newest| self.is_superseded(header, offset, &newest));
                Verdict { fate: if superseded { Fate::Drop } else { Fate::Keep }, must: false }
            }
            Standing::Live { snapshot, turn, retention } => match (snapshot, retention) {
                (Some(snapshot), Some(retention)) if header.record_no <= snapshot.record_no => {
                    kept_no_longer(header, retention, turn, self.now)
                }
                _ => KEEP,
            },
        })
    }

    /// Whether another snapshot than this one is the conversation's newest.
    fn is_superseded(&self, header: &RecordHeader, offset: usize, newest: &SnapshotPlace) -> bool {
        let last_here = self.last_snapshots.get(&header.uid) == Some(&(header.record_no, offset));
        match header.record_no.cmp(&newest.record_no) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => self.segment < newest.place.at.segment || !last_here,
            std::cmp::Ordering::Greater => false,
        }
    }
}

/// What a retention says of a record before the newest snapshot. A bound in time must be kept; one in turns may wait
/// until it is worth it.
fn kept_no_longer(header: &RecordHeader, retention: Retention, newest: TurnSeq, now: Timestamp) -> Verdict {
    if header.kind == RecordKind::Created {
        return KEEP;
    }
    let too_old = retention.age.is_some_and(|age| header.time.plus(age) < now);
    // What stands between two turns belongs to the one that it led to.
    let turn = header.turn_seq.get().saturating_add(u64::from(header.kind != RecordKind::Turn));
    let too_far = retention.turns.is_some_and(|turns| turn.saturating_add(turns.get()) <= newest.get());
    Verdict { fate: if too_old || too_far { Fate::Stub } else { Fate::Keep }, must: too_old }
}
