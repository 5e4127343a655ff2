//! The older runs of a conversation, as what each differs by from the next: some six bytes for one of a short turn.
//!
//! A difference is three numbers, each in groups of seven bits. It is read from its end, because a reader goes from the newest run to
//! the oldest.

use super::pieces::Pieces;
use crate::journal::bytes::to_usize;

/// No older run.
pub(super) const END: u32 = u32::MAX;
/// Bytes of differences in one link.
const LINK_BYTES: usize = 27;
/// The most that one difference takes.
const DIFFERENCE_MAX: usize = 5 + 5 + 10;
const _: () = assert!(DIFFERENCE_MAX <= LINK_BYTES, "a difference fits a link");

/// A run, told by the one behind it and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Bytes from its end to the run behind it.
    pub(super) gap: u32,
    /// Its bytes.
    pub(super) len: u32,
    /// Turns since the run before it.
    pub(super) turns: u64,
}

/// Differences of one conversation. 32 bytes.
#[derive(Clone, Debug)]
struct Link {
    /// The link with older ones.
    before: u32,
    used: u8,
    bytes: [u8; LINK_BYTES],
}

/// The chains of all conversations of a table.
#[derive(Debug, Default)]
pub(super) struct Chains(Pieces<Link>);

impl Chains {
    /// Adds one to the chain whose newest link is `head`; returns the newest link.
    pub(super) fn push(&mut self, head: u32, difference: Difference) -> u32 {
        let Difference { gap, len, turns } = difference;
        let mut bytes = [0; DIFFERENCE_MAX];
        let used = [gap.into(), len.into(), turns].into_iter().fold(0, |at, number| put(&mut bytes, at, number));
        let (bytes, _) = bytes.split_at_mut(used);
        bytes.reverse();
        let link = self.0.get_mut(to_usize(head.into()));
        if link.is_some_and(|link| link.add(bytes)) {
            return head;
        }
        let mut link = Link { before: head, used: 0, bytes: [0; LINK_BYTES] };
        link.add(bytes);
        u32::try_from(self.0.push(link)).unwrap_or(END)
    }

    /// The chain whose newest link is `head`, newest first.
    pub(super) fn newest_first(&self, mut head: u32) -> impl Iterator<Item = Difference> {
        let mut left: &[u8] = &[];
        std::iter::from_fn(move || {
            if left.is_empty() {
                let link = self.0.get(to_usize(head.into()))?;
                (left, head) = (link.bytes.get(..link.used.into())?, link.before);
            }
            Some(Difference { gap: narrow(take(&mut left)?), len: narrow(take(&mut left)?), turns: take(&mut left)? })
        })
    }
}

impl Link {
    /// Adds a difference if there is room for it.
    fn add(&mut self, bytes: &[u8]) -> bool {
        let used = usize::from(self.used);
        let Some(room) = self.bytes.get_mut(used..used + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.used = u8::try_from(used + bytes.len()).unwrap_or(u8::MAX);
        true
    }
}

/// Every number of 32 bits went in as one.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// Puts `number` at `at`, seven bits a byte, the lowest first; returns where it ends.
fn put(bytes: &mut [u8; DIFFERENCE_MAX], mut at: usize, mut number: u64) -> usize {
    loop {
        let more = number > 0x7f;
        if let Some(place) = bytes.get_mut(at) {
            *place = u8::try_from(number & 0x7f).unwrap_or_default() | if more { 0x80 } else { 0 };
        }
        at += 1;
        number >>= 7;
        if !more {
            return at;
        }
    }
}

/// Takes a number from the end of `bytes`, where its lowest bits stand last.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (last, rest) = bytes.split_last()?;
        *bytes = rest;
        number |= u64::from(last & 0x7f).checked_shl(shift)?;
        shift += 7;
        if last & 0x80 == 0 {
            return Some(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of all lengths.
    fn difference() -> impl Strategy<Value = Difference> {
        let short = |bits| (any::<u32>(), 0..bits).prop_map(|(number, shift)| number >> shift);
        let turns = (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
        (short(32), short(32), turns).prop_map(|(gap, len, turns)| Difference { gap, len, turns })
    }

    proptest! {
        #[test]
        fn what_is_pushed_comes_back_newest_first(pushed in prop::collection::vec((difference(), 0..3_usize), 1..200)) {
            let mut chains = Chains::default();
            let mut owners = [const { (END, Vec::new()) }; 3];
            for (difference, owner) in pushed {
                let (head, expected) = &mut owners[owner];
                *head = chains.push(*head, difference);
                expected.push(difference);
            }
            for (head, mut expected) in owners {
                expected.reverse();
                prop_assert_eq!(chains.newest_first(head).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn a_run_of_a_short_turn_takes_six_bytes() {
        let mut chains = Chains::default();
        let difference = Difference { gap: 4000, len: 500, turns: 1 };
        (0..4000).fold(END, |head, _| chains.push(head, difference));
        assert_eq!((chains.0.len(), size_of::<Link>()), (800, 32));
    }
}
