//! Which bytes of a segment belong to which conversation: built while it is written, kept as its footer.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use colloquy_types::{ConversationUid, TurnSeq};

use super::bytes::{take, take_u32, take_u64, to_usize};

/// Bytes of one entry in a footer.
pub(crate) const ENTRY_BYTES: usize = 32;
const NONE: u32 = u32::MAX;
/// Runs that are kept in one piece. A table grows by pieces, so that it is never copied and leaves no smaller copies of itself behind.
const PIECE_RUNS: usize = 1024;

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

/// A run as a table keeps it. There are tens of thousands in a segment of short turns, so that the uid stands elsewhere, once.
#[derive(Clone, Copy, Debug)]
struct Kept {
    last_turn: TurnSeq,
    owner: u32,
    offset: u32,
    len: u32,
    /// The run before it of the same conversation.
    before: u32,
}

/// A conversation of a table: its place among the owners, and its newest run.
#[derive(Clone, Copy, Debug)]
struct Newest {
    owner: u32,
    run: u32,
}

/// The runs of a segment that is not sealed yet. Each run points to the one before it of the same
/// conversation, so adding one allocates nothing of its own.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pieces: Vec<Vec<Kept>>,
    owners: Vec<ConversationUid>,
    newest: UidMap<Newest>,
    records: u64,
}

impl Table {
    /// Adds a run behind all others.
    pub(crate) fn push(&mut self, run: Run, records: u32) {
        self.records += u64::from(records);
        let Run { uid, offset, len, last_turn } = run;
        let newest = self.newest.get(&uid).copied();
        if let Some(last) = self.pieces.last_mut().and_then(|piece| piece.last_mut())
            && newest.is_some_and(|newest| newest.owner == last.owner)
            && u64::from(last.offset) + u64::from(last.len) == u64::from(offset)
            && let Some(len) = last.len.checked_add(len)
        {
            (last.len, last.last_turn) = (len, last_turn);
            return;
        }
        let index = u32::try_from(self.len()).unwrap_or(NONE);
        let (owner, before) = match newest {
            Some(Newest { owner, run }) => (owner, run),
            None => {
                self.owners.push(uid);
                (u32::try_from(self.owners.len() - 1).unwrap_or(NONE), NONE)
            }
        };
        self.newest.insert(uid, Newest { owner, run: index });
        let kept = Kept { last_turn, owner, offset, len, before };
        match self.pieces.last_mut().filter(|piece| piece.len() < PIECE_RUNS) {
            Some(piece) => piece.push(kept),
            None => {
                let mut piece = Vec::with_capacity(PIECE_RUNS);
                piece.push(kept);
                self.pieces.push(piece);
            }
        }
    }

    fn get(&self, index: u32) -> Option<(Run, u32)> {
        let index = to_usize(index.into());
        let &Kept { last_turn, owner, offset, len, before } =
            self.pieces.get(index / PIECE_RUNS)?.get(index % PIECE_RUNS)?;
        let uid = *self.owners.get(to_usize(owner.into()))?;
        Some((Run { uid, offset, len, last_turn }, before))
    }

    /// How many runs there are.
    pub(crate) fn len(&self) -> usize {
        let last = self.pieces.last().map_or(0, Vec::len);
        self.pieces.len().saturating_sub(1) * PIECE_RUNS + last
    }

    /// How many records they hold.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The runs of `uid` that are `wanted`, oldest first. Stops at the first, seen from the newest,
    /// that is not.
    pub(crate) fn runs_of(&self, uid: ConversationUid, wanted: impl Fn(&Run) -> bool) -> Vec<Run> {
        let mut found = Vec::new();
        let mut next = self.newest.get(&uid).map_or(NONE, |newest| newest.run);
        while let Some((run, before)) = self.get(next).filter(|(run, _)| wanted(run)) {
            found.push(run);
            next = before;
        }
        found.reverse();
        found
    }

    /// Each conversation that has something here.
    pub(crate) fn uids(&self) -> impl Iterator<Item = ConversationUid> {
        self.owners.iter().copied()
    }

    /// The runs in the order of a footer: by uid, then by offset.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = Run> {
        let run = |&index: &u32| self.get(index).map(|(run, _)| run);
        let mut order: Vec<_> = (0..u32::try_from(self.len()).unwrap_or(NONE)).collect();
        order.sort_unstable_by_key(run);
        order.into_iter().filter_map(move |index| run(&index))
    }
}
