//! Reading history: plans made by the writer, carried out by a few threads of their own.
//!
//! A plan names what the writer knows: the row, and the runs in segments that are not in the
//! index yet. The older segments are found through the index and their footers. Everything in a plan is
//! synced.

mod view;

use std::{
    collections::{BTreeMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, RwLock},
};

use colloquy_types::{ConversationKey, ConversationUid, Head, RecordNo, TurnSeq};

use self::view::{View, Wanted};
use super::{
    command::{Command, Intent, Reply},
    group::{Position, StoreUuid},
    index::{IndexError, SharedIndex},
    row::{Place, Row, SnapshotPlace},
    segment::Segment,
    table::Run,
};
use crate::{
    history::{ErasureWalk, Page, Tail, Turns, Walk},
    port::{Erasure, HistoryPage, Lease, Listed, Opened, ReadError, Verified},
    record::{RecordKind, StoredRecord},
};

/// All segments that exist, by id.
pub(crate) type Segments = Arc<RwLock<BTreeMap<u64, Arc<Segment>>>>;

/// Where the records of one conversation stand.
pub(crate) struct ReadPlan {
    /// `None` where the conversation was erased.
    pub(crate) key: Option<ConversationKey>,
    pub(crate) row: Row,
    /// Runs in the segments whose tables the writer still keeps, oldest first.
    pub(crate) recent: Vec<(Arc<Segment>, Vec<Run>)>,
    /// Below this segment the index knows where to look.
    pub(crate) indexed_below: u64,
}

/// The number of a conversation's first record.
const FIRST: RecordNo = RecordNo::new(1);

/// Where records were found that a row names and compaction had moved.
pub(crate) struct Moved {
    pub(crate) created: Place,
    pub(crate) snapshot: Option<SnapshotPlace>,
}

/// Work of a reader thread.
pub(crate) enum ReadJob {
    /// Look a key up in the index and tell the writer.
    Resolve {
        key: ConversationKey,
        generation: u64,
        intent: Intent,
    },
    Open {
        plan: Box<ReadPlan>,
        lease: Lease,
        reply: Reply<Opened>,
    },
    Turns {
        plan: Box<ReadPlan>,
        from: TurnSeq,
        limit: usize,
        reply: Reply<Vec<StoredRecord>>,
    },
    History {
        plan: Box<ReadPlan>,
        after: Head,
        limit: usize,
        reply: Reply<HistoryPage>,
    },
    Verify {
        plan: Box<ReadPlan>,
        reply: Reply<Verified>,
    },
    /// `recent` are the writer's rows after `after`, in order, at most `limit`; they hide the index's, and so does
    /// `erased`.
    List {
        tenant: String,
        after: Option<String>,
        limit: usize,
        recent: Vec<Listed>,
        /// Conversations that were erased, which the index may not know yet.
        erased: Arc<HashSet<ConversationUid>>,
        reply: Reply<Vec<Listed>>,
    },
    /// `known` is whether the writer knows the conversation as erased or not, if it knows it.
    Erasure {
        plan: Box<ReadPlan>,
        known: Option<bool>,
        reply: Reply<Erasure>,
    },
}

impl ReadJob {
    /// Answers without doing it.
    pub(crate) fn refuse(self, error: ReadError) {
        match self {
            Self::Resolve { intent, .. } => intent.refuse(error),
            Self::Open { reply, .. } => drop(reply.send(Err(error))),
            Self::Turns { reply, .. } => drop(reply.send(Err(error))),
            Self::History { reply, .. } => drop(reply.send(Err(error))),
            Self::Verify { reply, .. } => drop(reply.send(Err(error))),
            Self::List { reply, .. } => drop(reply.send(Err(error))),
            Self::Erasure { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

fn io_error(error: &impl std::fmt::Display) -> ReadError {
    ReadError::Io { reason: error.to_string() }
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        io_error(&error)
    }
}

/// What the reader threads share.
pub(crate) struct Reader {
    pub(crate) uuid: StoreUuid,
    pub(crate) index: Arc<SharedIndex>,
    pub(crate) segments: Segments,
}

impl Reader {
    /// Does `job`; what is to go back to the writer is returned.
    pub(crate) fn run(&self, job: ReadJob) -> Option<Command> {
        match job {
            ReadJob::Resolve { key, generation, intent } => match self.index.look(|index| index.row(key.as_str())) {
                Ok(row) => return Some(Command::Resolved { key, row, generation, intent }),
                Err(error) => intent.refuse(error.into()),
            },
            ReadJob::Open { plan, lease, reply } => {
                match caught(|| self.look(&plan, |view| Self::open(view, lease.clone()))) {
                    // The plan may be older than what compaction has done since.
                    Err(error @ ReadError::Corrupt { .. }) => return Some(Command::Doubted { lease, error, reply }),
                    Err(error) => drop(reply.send(Err(error))),
                    Ok((opened, moved)) => {
                        drop(reply.send(Ok(opened)));
                        return moved.map(|moved| Command::Moved { uid: lease.uid, moved });
                    }
                }
            }
            ReadJob::Turns { plan, from, limit, reply } => {
                answer(reply, || self.look(&plan, |view| Self::turns(view, from, limit)))
            }
            ReadJob::History { plan, after, limit, reply } => {
                answer(reply, || self.look(&plan, |view| Self::history(view, after, limit)))
            }
            ReadJob::Verify { plan, reply } => answer(reply, || self.look(&plan, Self::verify)),
            ReadJob::List { tenant, after, limit, recent, erased, reply } => {
                answer(reply, || self.list((&tenant, after.as_deref(), limit), recent, &erased));
            }
            ReadJob::Erasure { plan, known, reply } => answer(reply, || self.erasure(&plan, known)),
        }
        None
    }

    /// Carries a plan out. When something is missing it may be that a footer hides it: then once more, with doubts.
    fn look<T>(&self, plan: &ReadPlan, read: impl Fn(&View<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        match read(&View::new(self, plan, false)) {
            Err(ReadError::Corrupt { .. }) => read(&View::new(self, plan, true)),
            found => found,
        }
    }

    /// Opens a conversation; where it had to be looked for, says where it was found.
    fn open(view: &View<'_>, lease: Lease) -> Result<(Opened, Option<Moved>), ReadError> {
        let row = &view.plan.row;
        let snapshot = row.snapshot.map(|snapshot| view.find(snapshot.into())).transpose()?;
        let created = view.find(Wanted { place: row.created, kind: RecordKind::Created, record_no: FIRST })?;
        let mut tail = Tail::after(snapshot.as_ref().map(|found| &found.record));
        if row.snapshot.is_none_or(|snapshot| snapshot.record_no < row.head.record_no) {
            let from = snapshot.as_ref().map_or(view.begin(), |found| found.place.at);
            view.tail(from, &mut |decoded, _| tail.push(decoded.record).map(|()| true))?;
        }
        let record_no = row.snapshot.map(|snapshot| snapshot.record_no).unwrap_or_default();
        let found = Moved {
            created: created.place,
            snapshot: snapshot.as_ref().map(|found| SnapshotPlace { place: found.place, record_no }),
        };
        let moved = Some(found).filter(|moved| (moved.created, moved.snapshot) != (row.created, row.snapshot));
        let opened = tail.finish(lease, row.head, Some(created.record), snapshot.map(|found| found.record))?;
        Ok((opened, moved))
    }

    fn turns(view: &View<'_>, from: TurnSeq, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        let (mut turns, head) = (Turns::new(from, limit), &view.plan.row.head);
        if limit > 0 && from <= head.turn_seq {
            view.each(view.begin(), from, &mut |decoded, _| {
                turns.push(decoded.record)?;
                Ok(!turns.is_full())
            })?;
        }
        turns.finish(head)
    }

    fn history(view: &View<'_>, after: Head, limit: usize) -> Result<HistoryPage, ReadError> {
        let (mut page, row) = (Page::new(after, limit), &view.plan.row);
        if after.record_no < row.head.record_no {
            view.each(view.begin(), after.turn_seq, &mut |decoded, stored| {
                page.push(decoded, stored)?;
                Ok(!page.is_full())
            })?;
        }
        page.finish(row.uid, row.head)
    }

    fn verify(view: &View<'_>) -> Result<Verified, ReadError> {
        let (mut walk, plan) = (Walk::default(), view.plan);
        view.each(view.begin(), TurnSeq::default(), &mut |decoded, _| {
            walk.push(&decoded, plan.key.as_ref()).map(|()| true)
        })?;
        walk.finish(&plan.row.head)
    }

    fn erasure(&self, plan: &ReadPlan, known: Option<bool>) -> Result<Erasure, ReadError> {
        let is_erased = known.map_or_else(|| self.index.look(|index| Ok(index.erased(plan.row.uid)?.is_some())), Ok)?;
        if !is_erased {
            return Err(ReadError::Absent);
        }
        let mut walk = ErasureWalk::default();
        // Nothing would be missing where a footer hides what is left.
        View::new(self, plan, true).each(Position::default(), TurnSeq::default(), &mut |decoded, _| {
            walk.push(&decoded.record.header);
            Ok(true)
        })?;
        Ok(walk.finish())
    }

    fn list(
        &self,
        (tenant, after, limit): (&str, Option<&str>, usize),
        recent: Vec<Listed>,
        erased: &HashSet<ConversationUid>,
    ) -> Result<Vec<Listed>, ReadError> {
        let prefix = format!("{tenant}/");
        let from = format!("{prefix}{}", after.unwrap_or_default());
        let mut merged: BTreeMap<String, Listed> =
            recent.into_iter().map(|row| (row.key.as_str().to_owned(), row)).collect();
        self.index.look(|index| {
            let mut indexed = 0;
            for entry in index.rows_from(&from, &prefix) {
                let (key, row) = entry?;
                if indexed >= limit {
                    break;
                }
                if is_listed(&key, after) && !erased.contains(&row.uid) {
                    indexed += 1;
                    let listed = Listed { key, uid: row.uid, head: row.head, updated_at: row.updated_at };
                    merged.entry(listed.key.as_str().to_owned()).or_insert(listed);
                }
            }
            Ok(())
        })?;
        Ok(merged.into_values().take(limit).collect())
    }
}

/// Whether a key belongs into a list that begins after `after`.
pub(crate) fn is_listed(key: &ConversationKey, after: Option<&str>) -> bool {
    !key.is_tenant_stream() && after.is_none_or(|after| key.conversation() > after)
}

/// Answers with what `read` finds.
fn answer<T>(reply: Reply<T>, read: impl FnOnce() -> Result<T, ReadError>) {
    // Whoever asked may be gone.
    drop(reply.send(caught(read)));
}

/// A panic inside sled becomes an error.
fn caught<T>(read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    let found = catch_unwind(AssertUnwindSafe(read));
    found.unwrap_or_else(|_| Err(ReadError::Io { reason: "the reader panicked".to_owned() }))
}
