//! Which bytes of a segment belong to which conversation: built while it is written, kept as its footer.

mod chain;
mod pieces;

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use colloquy_types::{ConversationUid, TurnSeq};
use hashbrown::HashTable;

use self::{
    chain::{Chains, Difference},
    pieces::Pieces,
};
use super::bytes::{take, take_u32, take_u64, to_usize};

/// Bytes of one entry in a footer.
pub(crate) const ENTRY_BYTES: usize = 32;

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

fn spread(uid: ConversationUid) -> u64 {
    uid.0.first_chunk().copied().map_or(0, u64::from_le_bytes)
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

/// A conversation of a table: its newest run, and what tells those before it.
#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: ConversationUid,
    last_turn: u64,
    offset: u32,
    len: u32,
    /// The last turn of the run before.
    turn_before: u64,
    /// The newest link of their chain.
    chain: u32,
}

/// The runs of a segment that is not sealed yet. Short turns make a hundred thousand of them in one segment, so that only the newest
/// run of a conversation stands in full.
#[derive(Debug, Default)]
pub(crate) struct Table {
    owners: Pieces<Owner>,
    places: HashTable<u32>,
    chains: Chains,
    /// The owner of the newest run.
    last: u32,
    runs: usize,
    records: u64,
}

impl Table {
    /// Adds a run behind all others.
    pub(crate) fn push(&mut self, run: Run, records: u32) {
        self.records += u64::from(records);
        let Run { uid, offset, len, last_turn } = run;
        let last_turn = last_turn.get();
        let Some(place) = self.place(uid) else {
            self.runs += 1;
            let place = self.owners.push(Owner { uid, last_turn, offset, len, turn_before: 0, chain: chain::END });
            self.last = u32::try_from(place).unwrap_or(u32::MAX);
            let owners = &self.owners;
            self.places.insert_unique(spread(uid), self.last, |&place| {
                owners.get(to_usize(place.into())).map_or(0, |owner| spread(owner.uid))
            });
            return;
        };
        let Some(owner) = self.owners.get_mut(to_usize(place.into())) else { return };
        let end = owner.offset.wrapping_add(owner.len);
        if self.last == place
            && end == offset
            && let Some(len) = owner.len.checked_add(len)
        {
            (owner.len, owner.last_turn) = (len, last_turn);
            return;
        }
        self.runs += 1;
        let turns = owner.last_turn.wrapping_sub(owner.turn_before);
        let chain = self.chains.push(owner.chain, Difference { gap: offset.wrapping_sub(end), len: owner.len, turns });
        *owner = Owner { uid, last_turn, offset, len, turn_before: owner.last_turn, chain };
        self.last = place;
    }

    fn place(&self, uid: ConversationUid) -> Option<u32> {
        let owner = |&place: &u32| self.owners.get(to_usize(place.into()));
        self.places.find(spread(uid), |place| owner(place).is_some_and(|owner| owner.uid == uid)).copied()
    }

    /// How many runs there are.
    pub(crate) fn len(&self) -> usize {
        self.runs
    }

    /// How many records they hold.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The runs of `uid` that are `wanted`, oldest first. Stops at the first, seen from the newest,
    /// that is not.
    pub(crate) fn runs_of(&self, uid: ConversationUid, wanted: impl Fn(&Run) -> bool) -> Vec<Run> {
        let owner = self.place(uid).and_then(|place| self.owners.get(to_usize(place.into())));
        let mut found = owner.map_or_else(Vec::new, |owner| self.newest_first(owner).take_while(wanted).collect());
        found.reverse();
        found
    }

    fn newest_first(&self, owner: &Owner) -> impl Iterator<Item = Run> {
        let &Owner { uid, last_turn, offset, len, turn_before, chain } = owner;
        let newest = Run { uid, offset, len, last_turn: TurnSeq::new(last_turn) };
        let (mut begin, mut turn) = (offset, turn_before);
        let before = self.chains.newest_first(chain).map(move |Difference { gap, len, turns }| {
            begin = begin.wrapping_sub(gap).wrapping_sub(len);
            let run = Run { uid, offset: begin, len, last_turn: TurnSeq::new(turn) };
            turn = turn.wrapping_sub(turns);
            run
        });
        std::iter::once(newest).chain(before)
    }

    /// Each conversation that has something here.
    pub(crate) fn uids(&self) -> impl Iterator<Item = ConversationUid> {
        self.owners.iter().map(|owner| owner.uid)
    }

    /// The runs in the order of a footer: by uid, then by offset.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = Run> {
        let mut owners: Vec<_> = self.owners.iter().collect();
        owners.sort_unstable_by_key(|owner| owner.uid);
        owners.into_iter().flat_map(|owner| {
            let mut runs: Vec<_> = self.newest_first(owner).collect();
            runs.reverse();
            runs
        })
    }
}
