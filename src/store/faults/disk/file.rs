//! One file: what a read sees, and what each sector may hold once the power is gone.

use std::collections::BTreeMap;

use crate::faults::random::Random;

/// Bytes that a disk writes as one, unless the power goes in the middle.
pub(crate) const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// A file of the fake disk.
#[derive(Clone)]
pub(crate) struct FileState {
    /// What a read sees.
    cached: Vec<u8>,
    /// What each sector has held since the last sync, oldest first; the first of it is durable.
    unsynced: BTreeMap<usize, Vec<Sector>>,
    /// The file's lengths since the last sync; the first is durable.
    lens: Vec<usize>,
}

/// What becomes of the changes to one file that no sync covers.
#[derive(Clone, Copy)]
enum Fate {
    Kept,
    Dropped,
    Mixed,
}

impl FileState {
    pub(crate) fn new() -> Self {
        Self { cached: Vec::new(), unsynced: BTreeMap::new(), lens: vec![0] }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.cached
    }

    pub(crate) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.change(offset, end, |cached| {
            if cached.len() < end {
                cached.resize(end, 0);
            }
            if let Some(room) = cached.get_mut(offset..end) {
                room.copy_from_slice(bytes);
            }
        });
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        let (low, high) = (self.cached.len().min(len), self.cached.len().max(len));
        self.change(low, high, |cached| cached.resize(len, 0));
    }

    /// Makes a change to the sectors of `from..to`, and remembers what each held before and after it.
    fn change(&mut self, from: usize, to: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let sectors = if from < to { from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES) } else { 0..0 };
        for number in sectors.clone() {
            let before = sector(&self.cached, number);
            self.unsynced.entry(number).or_insert_with(|| vec![before]);
        }
        change(&mut self.cached);
        for number in sectors {
            let after = sector(&self.cached, number);
            self.unsynced.entry(number).or_default().push(after);
        }
        if self.lens.last() != Some(&self.cached.len()) {
            self.lens.push(self.cached.len());
        }
    }

    pub(crate) fn sync(&mut self) {
        self.unsynced.clear();
        self.lens = vec![self.cached.len()];
    }

    /// Changes one bit, wherever it is kept.
    pub(crate) fn flip(&mut self, offset: usize, bit: u8) {
        let flip = |byte: Option<&mut u8>| {
            if let Some(byte) = byte {
                *byte ^= 1 << (bit % 8);
            }
        };
        flip(self.cached.get_mut(offset));
        for held in self.unsynced.get_mut(&(offset / SECTOR_BYTES)).into_iter().flatten() {
            flip(held.get_mut(offset % SECTOR_BYTES));
        }
    }

    /// Overwrites the file from `offset` on with zeros, durably.
    #[cfg(test)]
    pub(crate) fn blank_from(&mut self, offset: usize) {
        self.cached.iter_mut().skip(offset).for_each(|byte| *byte = 0);
        self.sync();
    }

    /// The power goes: each sector that no sync covers is what it was, what it became, or torn between two of
    /// these; the length is one of those it had.
    pub(crate) fn lose_power(&mut self, random: &mut Random) {
        let fate = *random.pick(&[Fate::Kept, Fate::Dropped, Fate::Mixed, Fate::Mixed]).unwrap_or(&Fate::Mixed);
        let unsynced = std::mem::take(&mut self.unsynced);
        let len = one_of(&self.lens, fate, random).copied().unwrap_or_default();
        self.cached.resize(len, 0);
        for (number, held) in unsynced {
            let settled = if matches!(fate, Fate::Mixed) && random.chance(30) {
                torn(&held, random)
            } else {
                one_of(&held, fate, random).copied()
            };
            let (start, end) = (number * SECTOR_BYTES, ((number + 1) * SECTOR_BYTES).min(len));
            if let (Some(settled), Some(room)) = (settled, self.cached.get_mut(start..end)) {
                let kept = settled.get(..room.len()).unwrap_or_default();
                room.copy_from_slice(kept);
            }
        }
        self.lens = vec![len];
    }
}

fn sector(bytes: &[u8], number: usize) -> Sector {
    let mut sector = [0; SECTOR_BYTES];
    let here = bytes.chunks(SECTOR_BYTES).nth(number).unwrap_or_default();
    if let Some(room) = sector.get_mut(..here.len()) {
        room.copy_from_slice(here);
    }
    sector
}

fn one_of<'a, T>(held: &'a [T], fate: Fate, random: &mut Random) -> Option<&'a T> {
    match fate {
        Fate::Kept => held.last(),
        Fate::Dropped => held.first(),
        Fate::Mixed => random.pick(held),
    }
}

/// A sector whose writing was cut off: a part of what it became, the rest as it was before.
fn torn(held: &[Sector], random: &mut Random) -> Option<Sector> {
    let after = random.between(1, held.len().saturating_sub(1).max(1));
    let (old, new) = (held.get(after - 1)?, held.get(after)?);
    let (cut, begins_new) = (random.below(SECTOR_BYTES), random.chance(50));
    let mut torn = *old;
    for (number, (to, from)) in torn.iter_mut().zip(new).enumerate() {
        if (number < cut) == begins_new {
            *to = *from;
        }
    }
    Some(torn)
}
