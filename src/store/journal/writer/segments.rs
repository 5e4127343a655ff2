//! The writer's segments: the active one, the spare made ahead of need, those being sealed.

use std::{
    io,
    sync::{Arc, PoisonError},
};

use colloquy_types::Epoch;

use crate::{
    journal::{
        command::{KeeperJob, Outbox, Reply},
        disk::Disk,
        group::{GROUP_BYTES, StoreUuid},
        reader::Segments,
        segment::{SEGMENT_HEADER_BYTES, Segment, footer_bytes},
        table::Table,
    },
    port::ReadError,
};

/// The segment being written.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    /// Where the next group begins.
    pub(crate) end: u64,
    pub(crate) table: Table,
}

impl Active {
    /// An empty segment.
    pub(crate) fn new(segment: Arc<Segment>) -> Self {
        Self { segment, end: SEGMENT_HEADER_BYTES as u64, table: Table::default() }
    }
}

enum Spare {
    None,
    /// Asked of the keeper.
    Asked,
    /// It could not be made; the next roll tries for itself.
    Failed,
    Ready(Arc<Segment>),
}

/// A full segment that the index does not cover yet.
struct Full {
    segment: Arc<Segment>,
    table: Arc<Table>,
    /// `None` while the keeper seals it.
    sealed: Option<bool>,
}

/// All of them.
pub(super) struct SegmentState {
    all: Segments,
    /// `None` once the store is closing.
    pub(super) active: Option<Active>,
    spare: Spare,
    full: Vec<Full>,
    next_id: u64,
    /// The segment written last.
    last_id: u64,
    /// Who asked for the active segment to be sealed.
    seal_asked: Vec<Reply<()>>,
    /// Who waits for a segment to be sealed.
    seal_waits: Vec<(u64, Reply<()>)>,
}

impl SegmentState {
    pub(super) fn new(all: Segments, active: Active, next_id: u64) -> Self {
        let last_id = active.segment.id;
        let (full, seal_asked, seal_waits) = (Vec::new(), Vec::new(), Vec::new());
        Self { all, active: Some(active), spare: Spare::None, full, next_id, last_id, seal_asked, seal_waits }
    }

    /// Whether a group of `bytes`, header included, fits into the active segment and leaves room for
    /// the footer.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.active.as_ref().is_some_and(|active| {
            active.end + bytes as u64 + footer_bytes(active.table.len() + 1) <= active.segment.size
        })
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Asks for a spare if there is none.
    pub(super) fn keep_spare(&mut self, size: u64, out: &mut Outbox) {
        if matches!(self.spare, Spare::None) && self.active.is_some() {
            let id = self.take_id();
            out.keeper.push(KeeperJob::Prepare { id, size });
            self.spare = Spare::Asked;
        }
    }

    /// Takes the spare that was asked for, unless the writer went past it meanwhile.
    pub(super) fn prepared(&mut self, segment: Option<Arc<Segment>>, out: &mut Outbox) {
        let active = self.active.as_ref().map(|active| active.segment.id);
        self.spare = match segment {
            None => Spare::Failed,
            Some(segment) if active.is_some_and(|active| segment.id > active) => Spare::Ready(segment),
            Some(segment) => {
                out.keeper.push(KeeperJob::Remove { id: segment.id });
                Spare::None
            }
        };
    }

    /// Goes on in another segment with room for a group of `needed` bytes, header included.
    pub(super) fn roll(
        &mut self,
        disk: &dyn Disk,
        (uuid, epoch, size): (StoreUuid, Epoch, u64),
        needed: usize,
        out: &mut Outbox,
    ) -> io::Result<()> {
        let size = size.max((SEGMENT_HEADER_BYTES + needed) as u64 + footer_bytes(1));
        let segment = match std::mem::replace(&mut self.spare, Spare::None) {
            Spare::Ready(spare) if spare.size >= size => spare,
            other => {
                if let Spare::Ready(small) = other {
                    out.keeper.push(KeeperJob::Remove { id: small.id });
                } else if let Spare::Asked = other {
                    self.spare = Spare::Asked;
                }
                let id = self.take_id();
                Segment::create(disk, uuid, id, size, epoch).inspect_err(|_| {
                    if !matches!(self.spare, Spare::Asked) {
                        self.spare = Spare::Failed;
                    }
                })?
            }
        };
        self.all.write().unwrap_or_else(PoisonError::into_inner).insert(segment.id, Arc::clone(&segment));
        self.last_id = segment.id;
        let full = self.active.replace(Active::new(segment));
        self.seal(full, out);
        Ok(())
    }

    fn seal(&mut self, full: Option<Active>, out: &mut Outbox) {
        let Some(Active { segment, end, table }) = full else { return };
        let table = Arc::new(table);
        out.keeper.push(KeeperJob::Seal { segment: Arc::clone(&segment), valid_len: end, table: Arc::clone(&table) });
        self.full.push(Full { segment, table, sealed: None });
    }

    /// Seals the active segment and gives the spare back; nothing is written any more.
    pub(super) fn end(&mut self, out: &mut Outbox) {
        let active = self.active.take();
        self.seal(active, out);
        if let Spare::Ready(spare) = std::mem::replace(&mut self.spare, Spare::None) {
            out.keeper.push(KeeperJob::Remove { id: spare.id });
        }
    }

    /// Takes note of somebody who wants everything so far to stand in sealed segments.
    pub(super) fn ask_seal(&mut self, reply: Reply<()>) {
        self.seal_asked.push(reply);
    }

    /// The active segment when it is to be sealed now, and can be. Who need not wait for that is answered.
    pub(super) fn can_seal(&mut self, out: &mut Outbox) -> Option<u64> {
        let active = self.active.as_ref().filter(|_| !self.seal_asked.is_empty())?;
        let (id, is_empty) = (active.segment.id, active.table.len() == 0);
        match self.spare {
            _ if is_empty => {
                // What stands before it may still be under way.
                let last = self.full.iter().rev().find(|full| full.sealed.is_none()).map(|full| full.segment.id);
                match last {
                    Some(last) => self.seal_waits.extend(self.seal_asked.drain(..).map(|reply| (last, reply))),
                    None => out.checkpointed.extend(self.seal_asked.drain(..).map(|reply| (reply, Ok(())))),
                }
                None
            }
            Spare::Ready(_) => {
                self.seal_waits.extend(self.seal_asked.drain(..).map(|reply| (id, reply)));
                Some(id)
            }
            Spare::Failed => {
                // Asked for again with the next step.
                self.spare = Spare::None;
                let no_room = ReadError::Io { reason: "no room for the next segment".to_owned() };
                out.checkpointed.extend(self.seal_asked.drain(..).map(|reply| (reply, Err(no_room.clone()))));
                None
            }
            Spare::None | Spare::Asked => None,
        }
    }

    /// Answers all who wait for a segment to be sealed: nothing is written any more.
    pub(super) fn refuse_seal(&mut self, out: &mut Outbox) {
        let waiting = self.seal_waits.drain(..).map(|(_, reply)| reply).chain(self.seal_asked.drain(..));
        out.checkpointed.extend(waiting.map(|reply| (reply, Err(ReadError::Closed))));
    }

    pub(super) fn sealed(&mut self, id: u64, sealed: bool, out: &mut Outbox) {
        for (_, reply) in self.seal_waits.extract_if(.., |(waits, _)| *waits == id) {
            let failed = || ReadError::Io { reason: format!("segment {id} could not be sealed") };
            out.checkpointed.push((reply, if sealed { Ok(()) } else { Err(failed()) }));
        }
        if let Some(full) = self.full.iter_mut().find(|full| full.segment.id == id) {
            full.sealed = Some(sealed);
        }
    }

    /// Whether the keeper still has one to seal.
    pub(super) fn is_sealing(&self) -> bool {
        self.full.iter().any(|full| full.sealed.is_none())
    }

    /// The sealed ones that no unsealed one precedes: what a checkpoint can add to the index.
    pub(super) fn to_index(&self) -> Vec<(u64, Arc<Table>)> {
        let sealed = self.full.iter().take_while(|full| full.sealed == Some(true));
        sealed.map(|full| (full.segment.id, Arc::clone(&full.table))).collect()
    }

    /// The first segment that the index would not cover with [`SegmentState::to_index`] added.
    pub(super) fn covered_after(&self) -> u64 {
        let unsealed = self.full.iter().find(|full| full.sealed != Some(true)).map(|full| full.segment.id);
        unsealed.or(self.active.as_ref().map(|active| active.segment.id)).unwrap_or(self.last_id + 1)
    }

    /// Forgets the tables that the index has now.
    pub(super) fn indexed(&mut self, covered: u64) {
        self.full.retain(|full| full.segment.id >= covered);
    }

    /// The segments whose tables are kept, oldest first.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&Arc<Segment>, &Table)> {
        let full = self.full.iter().map(|full| (&full.segment, full.table.as_ref()));
        full.chain(self.active.as_ref().map(|active| (&active.segment, &active.table)))
    }
}

/// Bytes of the smallest segment that holds the first group of a store.
pub(crate) const SEGMENT_BYTES_MIN: u64 = (SEGMENT_HEADER_BYTES + GROUP_BYTES) as u64 + 4096;
