//! Which bytes of a segment belong to which conversation: built while it is written, kept as its footer.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use colloquy_types::{ConversationUid, TurnSeq};

use super::bytes::{take, take_u32, take_u64};

/// Bytes of one entry in a footer.
pub(crate) const ENTRY_BYTES: usize = 32;
const NONE: u32 = u32::MAX;

/// Uids are random already; their own bytes are the hash.
#[derive(Default)]
pub(crate) struct UidHasher(u64);

impl Hasher for UidHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length_prefix: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map by uid.
pub(crate) type UidMap<V> = HashMap<ConversationUid, V, BuildHasherDefault<UidHasher>>;

/// A run of consecutive records of one conversation in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    /// Whose records.
    pub(crate) uid: ConversationUid,
    /// Where the first begins.
    pub(crate) offset: u32,
    /// Bytes of all of them.
    pub(crate) len: u32,
    /// The highest turn among them or before them.
    pub(crate) last_turn: TurnSeq,
}

impl Run {
    /// The run as a footer keeps it.
    pub(crate) fn encode(&self, footer: &mut Vec<u8>) {
        footer.extend_from_slice(&self.uid.0);
        footer.extend_from_slice(&self.offset.to_le_bytes());
        footer.extend_from_slice(&self.len.to_le_bytes());
        footer.extend_from_slice(&self.last_turn.get().to_le_bytes());
    }

    /// The run that `bytes` begins with.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            uid: ConversationUid(take(bytes, 0)?),
            offset: take_u32(bytes, 16)?,
            len: take_u32(bytes, 20)?,
            last_turn: TurnSeq::new(take_u64(bytes, 24)?),
        })
    }

    /// Where it ends.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }
}

/// The runs of a segment that is not sealed yet. Each run points to the one before it of the same
/// conversation, so adding one allocates nothing of its own.
#[derive(Debug, Default)]
pub(crate) struct Table {
    runs: Vec<(Run, u32)>,
    last: UidMap<u32>,
    records: u64,
}

impl Table {
    /// Adds a run behind all others.
    pub(crate) fn push(&mut self, run: Run, records: u32) {
        self.records += u64::from(records);
        if let Some((last, _)) = self.runs.last_mut()
            && last.uid == run.uid
            && last.end() == u64::from(run.offset)
            && let Some(len) = last.len.checked_add(run.len)
        {
            (last.len, last.last_turn) = (len, run.last_turn);
            return;
        }
        let index = u32::try_from(self.runs.len()).unwrap_or(NONE);
        let before = self.last.insert(run.uid, index).unwrap_or(NONE);
        self.runs.push((run, before));
    }

    /// How many runs there are.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// How many records they hold.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The runs of `uid` that are `wanted`, oldest first. Stops at the first, seen from the newest,
    /// that is not.
    pub(crate) fn runs_of(&self, uid: ConversationUid, wanted: impl Fn(&Run) -> bool) -> Vec<Run> {
        let mut found = Vec::new();
        let mut next = self.last.get(&uid).copied().unwrap_or(NONE);
        while let Some((run, before)) =
            self.runs.get(super::bytes::to_usize(next.into())).filter(|(run, _)| wanted(run))
        {
            found.push(*run);
            next = *before;
        }
        found.reverse();
        found
    }

    /// Each conversation that has something here.
    pub(crate) fn uids(&self) -> impl Iterator<Item = ConversationUid> {
        self.last.keys().copied()
    }

    /// The runs in the order of a footer: by uid, then by offset.
    pub(crate) fn sorted(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = self.runs.iter().map(|(run, _)| *run).collect();
        runs.sort_unstable();
        runs
    }
}
