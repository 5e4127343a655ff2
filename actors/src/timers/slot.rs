//! One stream of hints, as the one who writes it holds it: at most one batch on its way, with all that came meanwhile in
//! the next.

use std::{collections::HashMap, sync::Arc};

use colloquy_store::{AppendError, Batch, ConversationStore, Lease, NotApplied, RecordKind};
use colloquy_turn::{ErasedRecord, ErasureCause};
use colloquy_types::{Clock, Entropy, Head};
use tokio::time::{Instant, timeout_at};

use super::{
    PATIENCE,
    hint::{self, Hint, HintRecord, Read},
    promise::Promise,
};
use crate::error::Error;

/// Hints in one batch.
const BATCH_HINTS: usize = 256;
/// Hints in one batch that are done with: so many fit a record.
const BATCH_DONE: usize = 10_000;
/// Records of a stream that are read at a time.
const PAGE_RECORDS: usize = 10_000;

/// What writing needs.
#[derive(Clone, Copy)]
pub(super) struct Ports<'a> {
    pub(super) store: &'a dyn ConversationStore,
    pub(super) clock: &'a dyn Clock,
    pub(super) entropy: &'a dyn Entropy,
}

/// A hint that is to be written, and who waits for it.
pub(super) type Waiting = (Hint, Arc<Promise>);

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Writing {
    /// Each with the number that its record gets.
    pub(super) sets: Vec<(u64, Waiting)>,
    pub(super) done: Vec<u64>,
    pub(super) erases: bool,
}

/// A stream that is being read, a page at a time.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) number: u16,
    after: Head,
    hints: HashMap<u64, Hint>,
}

impl Reading {
    /// From its beginning.
    pub(super) fn of(number: u16) -> Self {
        Self { number, after: Head::default(), hints: HashMap::new() }
    }
}

/// A stream of hints.
#[derive(Debug, Default)]
pub(super) struct Slot {
    lease: Option<(Lease, Head)>,
    waiting: Vec<Waiting>,
    writing: Option<Writing>,
    /// Records whose hints are done with, which is not written yet.
    done: Vec<u64>,
    /// Hints that are stored and not done with.
    undone: u64,
    /// Whether there is anything in the stream.
    exists: bool,
    /// Whether there is something in it that this build cannot read.
    unreadable: bool,
}

impl Slot {
    /// Reads the next page of what stands in the stream. After the last it gives the hints that are not done with, each
    /// with its record's number.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read.
    pub(super) async fn read(
        &mut self,
        reading: &mut Reading,
        store: &dyn ConversationStore,
    ) -> Result<Option<Vec<(u64, Hint)>>, Error> {
        let key = hint::slot_key(reading.number);
        let page = timeout_at(Instant::now() + PATIENCE, store.history(&key, reading.after, PAGE_RECORDS)).await;
        let page = match page.map_err(|_| Error::StoreUnavailable)? {
            Ok(page) => page,
            Err(colloquy_store::ReadError::Absent) => return Ok(Some(Vec::new())),
            Err(error) => {
                let error = error.into();
                self.unreadable |= matches!(error, Error::Corrupt { .. });
                return Err(error);
            }
        };
        self.exists = true;
        let hints = &mut reading.hints;
        for stored in &page.records {
            match hint::read(&stored.record) {
                Ok(Some(Read::Set { record_no, hint })) => drop(hints.insert(record_no, hint)),
                Ok(Some(Read::Done(records))) => records.iter().for_each(|record| drop(hints.remove(record))),
                Ok(None) => {}
                Err(error) => {
                    // A build that knows it may come yet: nothing of this stream is erased until then.
                    self.unreadable = true;
                    tracing::error!(slot = reading.number, %error, "a stored timer is passed over");
                }
            }
        }
        reading.after = page.reached;
        if reading.after.record_no < page.head.record_no {
            return Ok(None);
        }
        // Of a batch that is on its way it is told when it ends.
        let writing = self.writing.iter();
        let writing = writing.flat_map(|batch| batch.done.iter().chain(batch.sets.iter().map(|(number, _)| number)));
        for known in self.done.iter().chain(writing) {
            hints.remove(known);
        }
        self.undone = u64::try_from(hints.len()).unwrap_or(u64::MAX);
        let mut hints: Vec<_> = std::mem::take(hints).into_iter().collect();
        hints.sort_unstable_by_key(|(record_no, _)| *record_no);
        Ok(Some(hints))
    }

    /// Takes a hint that is to be written.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    /// The hint of a record is done with.
    pub(super) fn finish(&mut self, record_no: u64) {
        self.done.push(record_no);
        self.undone = self.undone.saturating_sub(1);
    }

    /// Whether there is something that somebody waits for, and nothing on its way.
    pub(super) fn is_due(&self) -> bool {
        self.writing.is_none() && !self.waiting.is_empty()
    }

    /// Whether nothing in the stream is needed any more, so that all of it can go.
    pub(super) fn is_over(&self) -> bool {
        self.exists && !self.unreadable && self.undone == 0 && self.writing.is_none() && self.waiting.is_empty()
    }

    /// Whether there is something to write that nobody waits for.
    pub(super) fn has_done(&self) -> bool {
        self.writing.is_none() && !self.done.is_empty()
    }

    /// Makes the next batch and hands it to the store; `told` is called with its ending. One that cannot be begun
    /// breaks what was promised of it.
    pub(super) async fn write(
        &mut self,
        number: u16,
        erases: bool,
        ports: Ports<'_>,
        told: colloquy_store::Completion,
    ) -> Result<(), Error> {
        let (lease, head) = match &self.lease {
            Some(held) => held.clone(),
            None => self.open(number, ports.store).await.inspect_err(|_| self.waiting.clear())?,
        };
        let count = self.waiting.len().min(BATCH_HINTS);
        let waiting: Vec<Waiting> = self.waiting.drain(..count).collect();
        let count = if erases { self.done.len() } else { self.done.len().min(BATCH_DONE) };
        let done: Vec<u64> = self.done.drain(..count).collect();
        let built = build(&lease, &head, &waiting, &done, erases, ports);
        let (batch, first) = built.inspect_err(|_| self.done.extend(&done))?;
        let sets = (first..).zip(waiting).collect();
        self.writing = Some(Writing { sets, done, erases });
        ports.store.append(&lease, batch, told);
        Ok(())
    }

    async fn open(&mut self, number: u16, store: &dyn ConversationStore) -> Result<(Lease, Head), Error> {
        let key = hint::slot_key(number);
        let opened = timeout_at(Instant::now() + PATIENCE, store.open(&key)).await;
        let opened = opened.map_err(|_| Error::StoreUnavailable)??;
        let held = (opened.lease, opened.head);
        self.lease = Some(held.clone());
        Ok(held)
    }

    /// Takes the ending of the batch that was on its way, and gives it back if it is synced. What failed is left
    /// unpromised; unless the store took none of it the stream is opened anew, for it is not known what was written.
    pub(super) fn written(
        &mut self,
        result: Result<Head, AppendError>,
        store: &dyn ConversationStore,
    ) -> Option<Writing> {
        let writing = self.writing.take()?;
        match (result, &mut self.lease) {
            (Ok(_), lease) if writing.erases => {
                (*lease, self.exists) = (None, false);
                return Some(writing);
            }
            (Ok(head), Some((_, held))) => {
                *held = head;
                self.exists = true;
                self.undone += u64::try_from(writing.sets.len()).unwrap_or(u64::MAX);
                return Some(writing);
            }
            (Err(AppendError::NotApplied(NotApplied::Busy | NotApplied::Full)), _) => {}
            (_, lease) => {
                if let Some((lease, _)) = lease.take() {
                    store.release(&lease);
                }
            }
        }
        // If the stream was erased after all, its numbers mean other records by now.
        if !writing.erases {
            self.done.extend(writing.done);
        }
        None
    }
}

/// The batch behind `head`, and the number of its first hint's record.
fn build(
    lease: &Lease,
    head: &Head,
    waiting: &[Waiting],
    done: &[u64],
    erases: bool,
    ports: Ports<'_>,
) -> Result<(Batch, u64), Error> {
    let too_large = |error: colloquy_store::TooLarge| Error::TooLarge { what: error.to_string() };
    let (now, mut batch) = (ports.clock.now(), Batch::new(lease, head));
    if head.record_no.get() == 0 {
        batch.push_created(now, ports.entropy.bytes16(), &lease.key, &[]).map_err(too_large)?;
    }
    let first = batch.head_after().record_no.get() + 1;
    for (hint, _) in waiting {
        let payload = hint::encode(&hint::set(hint))?;
        batch.push(RecordKind::Control, now, ports.entropy.bytes16(), &payload).map_err(too_large)?;
    }
    // All of the stream goes with its erasure, so what is done with need not be told.
    if erases {
        let erased = ErasedRecord { at: now, cause: ErasureCause::Idle }.encode();
        let erased = erased.map_err(|error| Error::TooLarge { what: error.to_string() })?;
        batch.push(RecordKind::Erased, now, ports.entropy.bytes16(), &erased).map_err(too_large)?;
    } else if !done.is_empty() {
        let payload = hint::encode(&HintRecord::DoneV1 { records: done.to_vec() })?;
        batch.push(RecordKind::Control, now, ports.entropy.bytes16(), &payload).map_err(too_large)?;
    }
    Ok((batch, first))
}
