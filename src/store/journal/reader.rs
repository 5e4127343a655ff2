//! Reading history: plans made by the writer, carried out by a few threads of their own.
//!
//! A plan names what the writer knows: the row, and the runs in segments whose spans are not in the
//! index yet. The older segments are found through the index and their footers. Everything in a plan is
//! synced.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
};

use colloquy_types::{ConversationKey, Head, TurnSeq};

use super::{
    bytes::to_usize,
    command::{Command, Intent, Reply},
    disk::read_vec,
    group::{Position, StoreUuid},
    index::{Index, IndexError},
    row::{Place, Row},
    scan,
    segment::Segment,
    table::Run,
};
use crate::{
    history::{Page, Tail, Turns, Walk, corrupt, decode_all},
    port::{HistoryPage, Lease, Listed, Opened, ReadError, Verified},
    record::{DecodedRecord, StoredRecord, decode_record},
};

/// All segments that exist, by id.
pub(crate) type Segments = Arc<RwLock<BTreeMap<u64, Arc<Segment>>>>;

/// Where the records of one conversation stand.
pub(crate) struct ReadPlan {
    pub(crate) key: ConversationKey,
    pub(crate) row: Row,
    /// Runs in the segments whose tables the writer still keeps, oldest first.
    pub(crate) recent: Vec<(Arc<Segment>, Vec<Run>)>,
    /// Below this segment the index knows where to look.
    pub(crate) indexed_below: u64,
}

/// What is done with each record and its bytes; `false` when no more is wanted.
type Take<'a> = dyn FnMut(DecodedRecord, &[u8]) -> Result<bool, ReadError> + 'a;

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
    /// `recent` are the writer's rows after `after`, in order, at most `limit`; they hide the index's.
    List {
        tenant: String,
        after: Option<String>,
        limit: usize,
        recent: Vec<Listed>,
        reply: Reply<Vec<Listed>>,
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
    pub(crate) index: Arc<Index>,
    pub(crate) segments: Segments,
}

impl Reader {
    /// Does `job`; what is to go back to the writer is returned.
    pub(crate) fn run(&self, job: ReadJob) -> Option<Command> {
        match job {
            ReadJob::Resolve { key, generation, intent } => match self.index.row(key.as_str()) {
                Ok(row) => return Some(Command::Resolved { key, row, generation, intent }),
                Err(error) => intent.refuse(error.into()),
            },
            ReadJob::Open { plan, lease, reply } => answer(reply, || self.open(&plan, lease)),
            ReadJob::Turns { plan, from, limit, reply } => answer(reply, || self.turns(&plan, from, limit)),
            ReadJob::History { plan, after, limit, reply } => answer(reply, || self.history(&plan, after, limit)),
            ReadJob::Verify { plan, reply } => answer(reply, || self.verify(&plan)),
            ReadJob::List { tenant, after, limit, recent, reply } => {
                answer(reply, || self.list(&tenant, after.as_deref(), limit, recent));
            }
        }
        None
    }

    fn segment(&self, id: u64) -> Result<Arc<Segment>, ReadError> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.get(&id).cloned().ok_or_else(|| ReadError::Corrupt { reason: format!("segment {id} is missing") })
    }

    fn record_at(&self, place: Place, plan: &ReadPlan) -> Result<StoredRecord, ReadError> {
        let segment = self.segment(place.at.segment)?;
        let bytes = read_vec(segment.file.as_ref(), place.at.offset, to_usize(place.len.into()));
        let record = decode_record(&bytes.map_err(|error| io_error(&error))?).map_err(|bad| corrupt(&bad))?.record;
        check_owner(plan, &record)?;
        Ok(record)
    }

    /// Gives the records from `from` on to `take`, oldest first, until it answers `false`. Runs whose
    /// turns all stand before `turn` are passed over.
    fn each(&self, plan: &ReadPlan, from: Position, turn: TurnSeq, take: &mut Take<'_>) -> Result<(), ReadError> {
        let wanted = |segment: u64, run: &Run| {
            run.last_turn >= turn && (segment > from.segment || (segment == from.segment && run.end() > from.offset))
        };
        for (id, last_turn) in self.index.spans(plan.row.uid, from.segment, plan.indexed_below)? {
            if last_turn < turn {
                continue;
            }
            let segment = self.segment(id)?;
            let runs = self.footer_runs(&segment, plan)?;
            if !each_in(&segment, runs.iter().filter(|run| wanted(id, run)), plan, take)? {
                return Ok(());
            }
        }
        for (segment, runs) in &plan.recent {
            if !each_in(segment, runs.iter().filter(|run| wanted(segment.id, run)), plan, take)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The runs of a conversation by the segment's footer or, when that does not know it although the
    /// index does, by reading the whole segment.
    fn footer_runs(&self, segment: &Segment, plan: &ReadPlan) -> Result<Vec<Run>, ReadError> {
        let runs = segment.runs_of(plan.row.uid).map_err(|error| io_error(&error))?;
        if !runs.is_empty() {
            return Ok(runs);
        }
        tracing::warn!(
            segment = segment.id,
            "footer does not know a conversation that the index does; reading all of it"
        );
        let len = segment.trailer().map_or(segment.size, |trailer| trailer.valid_len);
        let bytes = read_vec(segment.file.as_ref(), 0, to_usize(len)).map_err(|error| io_error(&error))?;
        let items = scan::scan(&bytes, segment.id, self.uuid).stretches.into_iter().flat_map(|stretch| stretch.items);
        let runs = items.filter_map(|item| {
            let header = item.found.ok().filter(|header| header.uid == plan.row.uid)?;
            Some(Run {
                uid: header.uid,
                offset: u32::try_from(item.offset).ok()?,
                len: u32::try_from(item.len).ok()?,
                last_turn: header.turn_seq,
            })
        });
        Ok(runs.collect())
    }

    fn open(&self, plan: &ReadPlan, lease: Lease) -> Result<Opened, ReadError> {
        let row = &plan.row;
        let snapshot = row.snapshot.map(|snapshot| self.record_at(snapshot.place, plan)).transpose()?;
        let created = Some(self.record_at(row.created, plan)?);
        let mut tail = Tail::after(snapshot.as_ref());
        if row.snapshot.is_none_or(|snapshot| snapshot.record_no < row.head.record_no) {
            self.each(plan, row.tail_from(), TurnSeq::default(), &mut |decoded, _| {
                tail.push(decoded.record).map(|()| true)
            })?;
        }
        tail.finish(lease, row.head, created, snapshot)
    }

    fn turns(&self, plan: &ReadPlan, from: TurnSeq, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        let mut turns = Turns::new(from, limit);
        if limit > 0 && from <= plan.row.head.turn_seq {
            self.each(plan, plan.row.created.at, from, &mut |decoded, _| {
                turns.push(decoded.record)?;
                Ok(!turns.is_full())
            })?;
        }
        turns.finish(&plan.row.head)
    }

    fn history(&self, plan: &ReadPlan, after: Head, limit: usize) -> Result<HistoryPage, ReadError> {
        let mut page = Page::new(after, limit);
        if after.record_no < plan.row.head.record_no {
            self.each(plan, plan.row.created.at, after.turn_seq, &mut |decoded, stored| {
                page.push(decoded, stored)?;
                Ok(!page.is_full())
            })?;
        }
        page.finish(plan.row.uid, plan.row.head)
    }

    fn verify(&self, plan: &ReadPlan) -> Result<Verified, ReadError> {
        let mut walk = Walk::default();
        self.each(plan, plan.row.created.at, TurnSeq::default(), &mut |decoded, _| {
            walk.push(&decoded, &plan.key).map(|()| true)
        })?;
        walk.finish(&plan.row.head)
    }

    fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
        recent: Vec<Listed>,
    ) -> Result<Vec<Listed>, ReadError> {
        let prefix = format!("{tenant}/");
        let from = format!("{prefix}{}", after.unwrap_or_default());
        let mut merged: BTreeMap<String, Listed> =
            recent.into_iter().map(|row| (row.key.as_str().to_owned(), row)).collect();
        let mut indexed = 0;
        for entry in self.index.rows_from(&from, &prefix) {
            let (key, row) = entry?;
            if indexed >= limit {
                break;
            }
            if is_listed(&key, after) {
                indexed += 1;
                let listed = Listed { key, uid: row.uid, head: row.head, updated_at: row.updated_at };
                merged.entry(listed.key.as_str().to_owned()).or_insert(listed);
            }
        }
        Ok(merged.into_values().take(limit).collect())
    }
}

/// Whether a key belongs into a list that begins after `after`.
pub(crate) fn is_listed(key: &ConversationKey, after: Option<&str>) -> bool {
    !key.is_tenant_stream() && after.is_none_or(|after| key.conversation() > after)
}

fn check_owner(plan: &ReadPlan, record: &StoredRecord) -> Result<(), ReadError> {
    if record.header.uid == plan.row.uid {
        return Ok(());
    }
    Err(ReadError::Corrupt { reason: "a record of another conversation stands in its place".to_owned() })
}

fn each_in<'a>(
    segment: &Segment,
    runs: impl Iterator<Item = &'a Run>,
    plan: &ReadPlan,
    take: &mut Take<'_>,
) -> Result<bool, ReadError> {
    for run in runs {
        let bytes = read_vec(segment.file.as_ref(), run.offset.into(), to_usize(run.len.into()));
        for decoded in decode_all(&bytes.map_err(|error| io_error(&error))?) {
            let (decoded, stored) = decoded.map_err(|bad| ReadError::Corrupt {
                reason: format!("{bad}, in the records at byte {} of segment {}", run.offset, segment.id),
            })?;
            check_owner(plan, &decoded.record)?;
            if !take(decoded, stored)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Answers with what `read` finds; a panic inside sled becomes an error.
fn answer<T>(reply: Reply<T>, read: impl FnOnce() -> Result<T, ReadError>) {
    let found = catch_unwind(AssertUnwindSafe(read));
    let found = found.unwrap_or_else(|_| Err(ReadError::Io { reason: "the reader panicked".to_owned() }));
    // Whoever asked may be gone.
    drop(reply.send(found));
}
