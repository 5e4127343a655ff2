//! What a seed plays: lives of a store, what happens in each, and how each ends.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use colloquy_types::{ConversationKey, Entropy as _, Hash, Head, Timestamp};

use super::{
    Breach, Report, Violation, check, damage,
    disk::{Crash, FaultDisk},
    life::{Life, World},
    model::{Model, Must},
    random::{Random, SeededEntropy, Ticks},
};
use crate::{
    journal::{
        command::Command,
        index::Index,
        writer::{SEGMENT_BYTES_MIN, WriterOptions},
    },
    port::Lease,
    record::{Batch, RecordKind, TooLarge},
};

/// Lives of a seed, each ended by a crash.
const LIVES: usize = 4;
const CONVERSATIONS: usize = 4;
/// So many crashes in a row may come while one is being recovered from.
const RECOVERIES_MAX: usize = 3;
const INDEX_CACHE_BYTES: u64 = 1 << 20;

/// One seed being played.
pub(super) struct Run {
    seed: u64,
    random: Random,
    pub(super) world: World,
    model: Model,
    scratch: PathBuf,
    index: Arc<Index>,
    indexes: u64,
    report: Report,
}

impl Drop for Run {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.scratch).ok();
    }
}

fn new_index(scratch: &Path, number: u64) -> Result<Arc<Index>, Breach> {
    let index = Index::open(&scratch.join(number.to_string()), INDEX_CACHE_BYTES);
    Ok(Arc::new(index.map_err(|error| Breach::Scratch(error.to_string()))?))
}

impl Run {
    pub(super) fn new(seed: u64, scratch: &Path) -> Result<Self, Violation> {
        let mut random = Random::new(seed, "schedule");
        let name = |number| ConversationKey::from_parts(check::TENANT, &format!("c{number}")).ok();
        let options = WriterOptions {
            segment_bytes: SEGMENT_BYTES_MIN + random.below(12 << 10) as u64,
            checkpoint_bytes: *random.pick(&[4 << 10, 16 << 10, u64::MAX]).unwrap_or(&u64::MAX),
            delta_entries_max: *random.pick(&[1, 3, 1000]).unwrap_or(&1000),
        };
        let (entropy, clock) = (Arc::new(SeededEntropy::new(seed)), Arc::new(Ticks::default()));
        let world = World::new(FaultDisk::new(seed), entropy, clock, options);
        let scratch = scratch.join(format!("faults-{}-{seed}", std::process::id()));
        let index =
            new_index(&scratch, 0).map_err(|breach| Violation { seed, point: 0, operation: 0, trace: seed, breach })?;
        let model = Model::new((0..CONVERSATIONS).filter_map(name));
        Ok(Self { seed, random, world, model, scratch, index, indexes: 0, report: Report::default() })
    }

    pub(super) fn violation(&self, breach: Breach) -> Violation {
        let (disk, point) = (&self.world.disk, self.report.points);
        Violation { seed: self.seed, point, operation: disk.operations(), trace: disk.trace(), breach }
    }

    pub(super) fn play(&mut self) -> Result<Report, Violation> {
        match self.lives() {
            Ok(()) => {
                self.report.trace = self.world.disk.trace();
                Ok(self.report)
            }
            Err(breach) => Err(self.violation(breach)),
        }
    }

    fn lives(&mut self) -> Result<(), Breach> {
        for _ in 0..LIVES {
            let mut life = self.reopen(true)?;
            self.live(&mut life)?;
            if !self.world.disk.is_dead() && !life.is_poisoned() && self.random.chance(10) {
                life.close();
            }
            if self.random.chance(50) {
                life.tear_checkpoint();
            }
            drop(life);
            self.crash()?;
        }
        drop(self.reopen(false)?);
        Ok(())
    }

    /// Opens the store, through crashes in the middle of it when `may_crash`, and checks what it holds.
    fn reopen(&mut self, may_crash: bool) -> Result<Life, Breach> {
        for _ in 0..RECOVERIES_MAX {
            if !may_crash || !self.random.chance(35) {
                break;
            }
            self.world.disk.die_after(self.random.between(1, 20) as u64);
            match Life::begin(&self.world, &self.index) {
                Ok(life) => return self.checked(life, true),
                Err(_) if self.world.disk.is_dead() => {
                    self.report.in_recovery += 1;
                    self.crash()?;
                }
                Err(error) => return Err(Breach::NotReopened(error)),
            }
        }
        let life = Life::begin(&self.world, &self.index).map_err(Breach::NotReopened)?;
        self.checked(life, may_crash)
    }

    /// Checks every conversation, or most of them: the others wait for the next life.
    fn checked(&mut self, mut life: Life, may_pass_over: bool) -> Result<Life, Breach> {
        for conversation in &mut self.model.conversations {
            conversation.lease(None);
            conversation.last = None;
            if conversation.is_damaged {
                check::damaged(&mut life, conversation)?;
            } else if !may_pass_over || self.random.chance(75) {
                let (applied, lost) = check::open(&mut life, conversation)?;
                self.report.unknown_applied += applied;
                self.report.unknown_lost += lost;
                check::read(&mut life, conversation, &mut self.random)?;
            }
        }
        check::list(&mut life, &self.model)?;
        Ok(life)
    }

    /// Ends a life, and perhaps loses the index or flips a bit.
    fn crash(&mut self) -> Result<(), Breach> {
        // What was under way has no end that anyone was told of.
        self.settle(true)?;
        let crash = if self.random.chance(60) { Crash::Power } else { Crash::Process };
        self.world.disk.crash(crash);
        self.report.points += 1;
        // Only what the power has left is all there is: a mark in the page cache may still be lost.
        if crash == Crash::Power && self.random.chance(15) {
            let flipped = damage::flip_one(&self.world.disk, &mut self.model, &mut self.random);
            self.report.flipped += u64::from(flipped);
        }
        #[cfg(test)]
        super::mutants::before_recovery(self.world.mutant, &self.world.disk);
        let covered = self.index.covered().map_err(|error| Breach::Scratch(error.to_string()))?;
        let newest = self.world.disk.files().keys().filter_map(|name| crate::journal::segment::file_id(name)).max();
        if covered.is_some_and(|covered| covered.segment > newest.unwrap_or_default() + 1) {
            return Err(Breach::IndexNewer);
        }
        if self.random.chance(12) {
            self.indexes += 1;
            self.index = new_index(&self.scratch, self.indexes)?;
            std::fs::remove_dir_all(self.scratch.join((self.indexes - 1).to_string())).ok();
        }
        Ok(())
    }

    /// Plays until the disk dies, or the process is killed between two operations.
    fn live(&mut self, life: &mut Life) -> Result<(), Breach> {
        if self.random.chance(90) {
            self.world.disk.die_after(self.random.between(1, 120) as u64);
        }
        if self.random.chance(6) {
            self.world.disk.fail_after(self.random.between(1, 60) as u64);
        }
        for _ in 0..self.random.between(4, 60) {
            self.act(life)?;
            let may_refuse = self.world.options.delta_entries_max < CONVERSATIONS;
            self.settle(may_refuse)?;
            if self.world.disk.is_dead() || life.is_poisoned() {
                break;
            }
        }
        Ok(())
    }

    fn settle(&mut self, may_refuse: bool) -> Result<(), Breach> {
        let endings = mem::take(&mut *self.world.told.lock().unwrap_or_else(PoisonError::into_inner));
        let settled = self.model.told(endings, may_refuse || self.world.disk.was_troubled())?;
        self.report.acknowledged += settled.acknowledged;
        self.report.refused += settled.refused;
        Ok(())
    }

    fn act(&mut self, life: &mut Life) -> Result<(), Breach> {
        let number = self.random.below(CONVERSATIONS);
        match self.random.below(100) {
            0..46 => self.group(life)?,
            46..54 => drop(self.open(life, number)?),
            54..59 => self.again(life, number),
            59..64 => self.stale(life, number)?,
            64..68 => self.beside(life, number)?,
            68..71 => self.release(life, number),
            71..73 => self.erase(life, number)?,
            73..75 => life.ask_checkpoint(),
            75..83 => drop(life.apply_checkpoint()),
            83..91 => life.keep_one(),
            91..95 => self.read(life, number)?,
            95..97 => self.compact(life)?,
            _ => self.world.disk.set_full(self.random.chance(50)),
        }
        Ok(())
    }

    /// The lease of a conversation, opened when it has none; `None` when it is damaged or the disk is gone.
    fn open(&mut self, life: &mut Life, number: usize) -> Result<Option<Lease>, Breach> {
        let Some(conversation) = self.model.conversations.get_mut(number) else { return Ok(None) };
        if conversation.is_damaged {
            return Ok(None);
        }
        let (applied, lost) = check::open(life, conversation)?;
        self.report.unknown_applied += applied;
        self.report.unknown_lost += lost;
        Ok(conversation.lease.clone())
    }

    fn leased(&mut self, life: &mut Life, number: usize) -> Result<Option<Lease>, Breach> {
        match self.model.conversations.get(number).and_then(|conversation| conversation.lease.clone()) {
            Some(lease) => Ok(Some(lease)),
            None => self.open(life, number),
        }
    }

    /// Appends to some conversations in one step, to one of them perhaps more than once.
    fn group(&mut self, life: &mut Life) -> Result<(), Breach> {
        let mut commands = Vec::new();
        for _ in 0..self.random.between(1, 5) {
            let number = self.random.below(CONVERSATIONS);
            let Some(lease) = self.leased(life, number)? else { continue };
            let Some(conversation) = self.model.conversations.get(number) else { continue };
            let head = conversation.next_head;
            let Ok(batch) = self.batch(&lease, &head) else { continue };
            if let Some(conversation) = self.model.conversations.get_mut(number) {
                conversation.next_head = batch.head_after();
                conversation.uid = Some(lease.uid);
            }
            let ticket = self.model.send(number, &batch, Must::Apply);
            commands.push(life.append(&lease, batch, ticket));
        }
        life.step(commands);
        Ok(())
    }

    fn batch(&mut self, lease: &Lease, head: &Head) -> Result<Batch, TooLarge> {
        let mut batch = Batch::new(lease, head);
        let kinds = [RecordKind::Turn, RecordKind::Turn, RecordKind::Accepted, RecordKind::Control];
        let is_new = head.record_no == Default::default();
        let time = Timestamp::from_micros(self.world.disk.operations());
        if is_new {
            batch.push_created(time, self.world.entropy.bytes16(), &lease.key, b"created")?;
        }
        let snapshot_only = !is_new && self.random.chance(4);
        for _ in 0..if snapshot_only { 0 } else { self.random.between(1, 3) } {
            let kind = *self.random.pick(&kinds).unwrap_or(&RecordKind::Turn);
            batch.push(kind, time, self.world.entropy.bytes16(), &self.payload())?;
        }
        if snapshot_only || self.random.chance(15) {
            batch.push(RecordKind::Snapshot, time, self.world.entropy.bytes16(), &self.payload())?;
        }
        Ok(batch)
    }

    /// Bytes that no other record has; empty at times.
    fn payload(&mut self) -> Vec<u8> {
        let len = if self.random.chance(10) { self.random.below(2500) } else { self.random.below(300) };
        let unique = self.random.bytes16();
        unique.into_iter().cycle().take(len).collect()
    }

    /// Sends an acknowledged append again, as it was.
    fn again(&mut self, life: &mut Life, number: usize) {
        let Some(conversation) = self.model.conversations.get(number) else { return };
        let Some((lease, batch)) = conversation.last.clone() else { return };
        let is_owner = conversation.lease.as_ref() == Some(&lease);
        let must = if is_owner { Must::Conflict(conversation.head) } else { Must::BeFenced };
        self.refused(life, number, (lease, batch), must);
    }

    /// Appends under a lease of the past.
    fn stale(&mut self, life: &mut Life, number: usize) -> Result<(), Breach> {
        let Some(conversation) = self.model.conversations.get(number) else { return Ok(()) };
        let head = conversation.head;
        let Some(lease) = conversation.stale.get(self.random.below(conversation.stale.len())).cloned() else {
            return Ok(());
        };
        if let Ok(batch) = self.batch(&lease, &head) {
            self.refused(life, number, (lease, batch), Must::BeFenced);
        }
        Ok(())
    }

    /// Appends to a head that never was.
    fn beside(&mut self, life: &mut Life, number: usize) -> Result<(), Breach> {
        let Some(lease) = self.leased(life, number)? else { return Ok(()) };
        let Some(conversation) = self.model.conversations.get(number) else { return Ok(()) };
        let head = conversation.head;
        let beside = Head { record_no: head.record_no.next(), hash: Hash(blake3::hash(b"never").into()), ..head };
        if let Ok(batch) = self.batch(&lease, &beside) {
            self.refused(life, number, (lease, batch), Must::Conflict(head));
        }
        Ok(())
    }

    fn refused(&mut self, life: &mut Life, number: usize, (lease, batch): (Lease, Batch), must: Must) {
        let ticket = self.model.send(number, &batch, must);
        let command = life.append(&lease, batch, ticket);
        life.step([command]);
    }

    /// Erases a conversation, so that its key is free.
    fn erase(&mut self, life: &mut Life, number: usize) -> Result<(), Breach> {
        let Some(lease) = self.leased(life, number)? else { return Ok(()) };
        let Some(conversation) = self.model.conversations.get(number) else { return Ok(()) };
        if conversation.certain.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(&lease, &conversation.head);
        let time = Timestamp::from_micros(self.world.disk.operations());
        if batch.push(RecordKind::Erased, time, self.world.entropy.bytes16(), b"receipt").is_ok() {
            let ticket = self.model.send(number, &batch, Must::Apply);
            let command = life.append(&lease, batch, ticket);
            life.step([command]);
        }
        Ok(())
    }

    fn release(&mut self, life: &mut Life, number: usize) {
        let Some(conversation) = self.model.conversations.get_mut(number) else { return };
        if let Some(lease) = conversation.lease.clone() {
            conversation.lease(None);
            life.step([Command::Release(lease)]);
        }
    }

    fn compact(&mut self, life: &Life) -> Result<(), Breach> {
        match life.compact() {
            Err(reason) if !self.world.disk.is_dead() && !self.world.disk.was_troubled() => {
                Err(Breach::NotCompacted(reason))
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self, life: &mut Life, number: usize) -> Result<(), Breach> {
        let Some(conversation) = self.model.conversations.get(number) else { return Ok(()) };
        if conversation.is_damaged {
            return check::damaged(life, conversation);
        }
        if conversation.unknown.is_empty() {
            check::read(life, conversation, &mut self.random)?;
        }
        check::list(life, &self.model)
    }
}
