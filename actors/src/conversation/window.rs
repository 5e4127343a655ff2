//! The window of remembered request ids: which of the last 1,000 requests ended how.
//!
//! A request is remembered by 16 bytes of its id's hash and 16 bytes of its payload's hash, so that the
//! window of a busy conversation stays below 64 KiB, in memory and in a snapshot. Two different ids
//! that share 128 bits of BLAKE3 are not expected to be found by anyone.

use colloquy_store::RecordKind;
use colloquy_turn::{ClosedReason, InputKind, Rating, Remembered};
use colloquy_types::{ConversationKey, ConversationUid, TurnSeq};
use hashbrown::HashTable;

/// How many requests a conversation remembers.
pub(crate) const WINDOW_LEN: usize = 1000;

/// First 16 bytes of the BLAKE3 hash of `bytes`.
pub(crate) fn hash16(bytes: &[u8]) -> [u8; 16] {
    first16(&blake3::hash(bytes))
}

/// The digest of a turn's payload: what must be equal for a request id to mean the same request.
pub(crate) fn input_digest(input: InputKind, text: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(input.name().as_bytes());
    hasher.update(b"\0");
    hasher.update(text.as_bytes());
    first16(&hasher.finalize())
}

/// The digest of a reset's payload.
pub(crate) fn reset_digest(reason: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"reset\0");
    hasher.update(reason.as_bytes());
    first16(&hasher.finalize())
}

/// The digest of a pause's payload, or of its end's.
pub(crate) fn pause_digest(paused: bool, reason: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(if paused { "pause\0" } else { "resume\0" }.as_bytes());
    hasher.update(reason.as_bytes());
    first16(&hasher.finalize())
}

/// The digest of the payload of a pause of a tenant or a revision, or of its end's. `of` names what is meant.
pub(crate) fn traffic_digest(paused: bool, of: Option<(&str, &[u8])>, by: &str, reason: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(if paused { "pause traffic\0" } else { "resume traffic\0" }.as_bytes());
    if let Some((flow, revision)) = of {
        hasher.update(flow.as_bytes());
        hasher.update(b"\0");
        hasher.update(revision);
    }
    for text in [by, reason] {
        hasher.update(b"\0");
        hasher.update(text.as_bytes());
    }
    first16(&hasher.finalize())
}

/// The digest of a fork's payload.
pub(crate) fn fork_digest(source: &ConversationKey, at: Option<TurnSeq>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"fork\0");
    hasher.update(source.as_str().as_bytes());
    hasher.update(b"\0");
    if let Some(at) = at {
        hasher.update(&at.get().to_le_bytes());
    }
    first16(&hasher.finalize())
}

/// The digest of an erasure's payload.
pub(crate) fn erase_digest(uid: Option<ConversationUid>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"erase\0");
    if let Some(uid) = uid {
        hasher.update(&uid.0);
    }
    first16(&hasher.finalize())
}

/// The digest of feedback's payload.
pub(crate) fn feedback_digest(turn_seq: TurnSeq, rating: Rating, comment: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"feedback\0");
    hasher.update(&turn_seq.get().to_le_bytes());
    hasher.update(&[rating as u8]);
    hasher.update(comment.as_bytes());
    first16(&hasher.finalize())
}

fn first16(hash: &blake3::Hash) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(hash.as_bytes().split_at(16).0);
    first
}

/// How a remembered request ended; stored as one byte, the record's kind and, above it, the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndingKind {
    /// In a committed turn.
    Turn,
    /// In a reset.
    Reset,
    /// In feedback.
    Feedback,
    /// In the fork that this conversation began as.
    Forked,
    /// In a pause.
    Paused,
    /// In the end of a pause.
    Resumed,
    /// In a turn that was closed.
    Closed(ClosedReason),
}

impl EndingKind {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Turn => RecordKind::Turn as u8,
            Self::Reset => RecordKind::Control as u8,
            Self::Feedback => RecordKind::Control as u8 | 0x10,
            Self::Forked => RecordKind::Control as u8 | 0x20,
            Self::Paused => RecordKind::Control as u8 | 0x30,
            Self::Resumed => RecordKind::Control as u8 | 0x40,
            Self::Closed(ClosedReason::DeadlineExceeded) => RecordKind::TurnClosed as u8,
            Self::Closed(ClosedReason::Cancelled) => RecordKind::TurnClosed as u8 | 0x10,
            Self::Closed(ClosedReason::Failed) => RecordKind::TurnClosed as u8 | 0x20,
        }
    }

    const fn from_byte(byte: u8) -> Self {
        const TURN: u8 = RecordKind::Turn as u8;
        const CONTROL: u8 = RecordKind::Control as u8;
        match (byte & 0x0f, byte >> 4) {
            (TURN, _) => Self::Turn,
            (CONTROL, 1) => Self::Feedback,
            (CONTROL, 2) => Self::Forked,
            (CONTROL, 3) => Self::Paused,
            (CONTROL, 4) => Self::Resumed,
            (CONTROL, _) => Self::Reset,
            (_, 1) => Self::Closed(ClosedReason::Cancelled),
            (_, 2) => Self::Closed(ClosedReason::Failed),
            _ => Self::Closed(ClosedReason::DeadlineExceeded),
        }
    }
}

/// What is known of a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: it is new, or older than the window.
    No,
    /// It was used with another payload.
    Reused,
    /// It ended so, at this turn.
    Ended { kind: EndingKind, turn_seq: TurnSeq },
}

/// The last [`WINDOW_LEN`] requests.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// A ring once it is full.
    entries: Vec<Remembered>,
    /// Where the oldest stands.
    oldest: usize,
    /// The places of the entries, by their requests' hashes.
    places: HashTable<u16>,
}

impl Window {
    pub(crate) fn restore(remembered: Vec<Remembered>) -> Self {
        let mut window = Self::default();
        remembered.into_iter().for_each(|entry| window.remember(entry));
        window
    }

    pub(crate) fn remember(&mut self, entry: Remembered) {
        let request_hash = entry.request_hash;
        let place = if self.entries.len() < WINDOW_LEN {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let place = self.oldest;
            self.oldest = (place + 1) % WINDOW_LEN;
            if let Some(forgotten) = self.entries.get_mut(place).map(|oldest| std::mem::replace(oldest, entry)) {
                // A hash remembered twice belongs to its newer entry.
                if let Ok(found) =
                    self.places.find_entry(spread(&forgotten.request_hash), |&at| usize::from(at) == place)
                {
                    found.remove();
                }
            }
            place
        };
        let Self { entries, places, .. } = self;
        let hash_at = |&at: &u16| entries.get(usize::from(at)).map(|entry| &entry.request_hash);
        let at = u16::try_from(place).unwrap_or(u16::MAX);
        match places.find_mut(spread(&request_hash), |known| hash_at(known) == Some(&request_hash)) {
            Some(known) => *known = at,
            None => {
                places.insert_unique(spread(&request_hash), at, |known| hash_at(known).map_or(0, spread));
            }
        }
    }

    fn entry(&self, request_hash: &[u8; 16]) -> Option<&Remembered> {
        let at = |&place: &u16| self.entries.get(usize::from(place));
        let is_it = |place: &u16| at(place).is_some_and(|entry| entry.request_hash == *request_hash);
        at(self.places.find(spread(request_hash), is_it)?)
    }

    /// How the request ended, whatever its payload was.
    pub(crate) fn find(&self, request_hash: &[u8; 16]) -> Option<(EndingKind, TurnSeq)> {
        let entry = self.entry(request_hash)?;
        Some((EndingKind::from_byte(entry.kind), TurnSeq::new(entry.turn_seq)))
    }

    pub(crate) fn look_up(&self, request_hash: &[u8; 16], request_digest: &[u8; 16]) -> Known {
        match self.entry(request_hash) {
            None => Known::No,
            Some(entry) if entry.request_digest != *request_digest => Known::Reused,
            Some(entry) => {
                Known::Ended { kind: EndingKind::from_byte(entry.kind), turn_seq: TurnSeq::new(entry.turn_seq) }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is remembered, oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Remembered> {
        let (newer, older) = self.entries.split_at_checked(self.oldest).unwrap_or_default();
        older.iter().chain(newer)
    }
}

/// Where a table looks for a request's hash: its own bytes are spread well enough.
fn spread(request_hash: &[u8; 16]) -> u64 {
    request_hash.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64) -> Remembered {
        Remembered {
            request_hash: hash16(&n.to_le_bytes()),
            request_digest: [0; 16],
            turn_seq: n,
            kind: EndingKind::Turn.to_byte(),
        }
    }

    #[test]
    fn the_last_thousand_are_remembered_and_no_more() {
        let mut window = Window::default();
        (0..2500).for_each(|n| window.remember(entry(n)));
        let look = |n: u64| window.look_up(&hash16(&n.to_le_bytes()), &[0; 16]);
        assert_eq!(look(1499), Known::No);
        for n in 1500..2500 {
            assert_eq!(look(n), Known::Ended { kind: EndingKind::Turn, turn_seq: TurnSeq::new(n) });
        }
        assert_eq!(window.look_up(&hash16(&2000_u64.to_le_bytes()), &[1; 16]), Known::Reused);
        assert_eq!((window.places.len(), window.len()), (WINDOW_LEN, WINDOW_LEN));
        let kept = window.entries.capacity() * size_of::<Remembered>() + window.places.allocation_size();
        assert!(kept <= 64 << 10, "{kept} bytes");
        assert!(window.entries().map(|entry| entry.turn_seq).eq(1500..2500), "oldest first");
    }

    #[test]
    fn a_request_remembered_twice_is_known_by_its_newer_entry_and_as_long() {
        let mut window = Window::default();
        let wanted = hash16(&0_u64.to_le_bytes());
        let look = |window: &Window| window.find(&wanted).map(|(_, turn_seq)| turn_seq.get());
        window.remember(entry(0));
        (1..500).for_each(|n| window.remember(entry(n)));
        window.remember(Remembered { turn_seq: 500, ..entry(0) });
        (501..1500).for_each(|n| window.remember(entry(n)));
        assert_eq!(look(&window), Some(500));
        window.remember(entry(1500));
        assert_eq!(look(&window), None);
        assert_eq!(window.places.len(), WINDOW_LEN);
    }

    #[test]
    fn a_text_and_json_that_read_alike_are_different_payloads() {
        let text = input_digest(InputKind::Text, "{}");
        assert_ne!(text, input_digest(InputKind::Json, "{}"));
        // Remembered digests outlive the process: how they are made is a format.
        assert_eq!(text, hash16(b"text\0{}"));
    }

    #[test]
    fn every_ending_survives_its_byte() {
        let closed = [ClosedReason::DeadlineExceeded, ClosedReason::Cancelled, ClosedReason::Failed];
        for kind in closed.map(EndingKind::Closed).into_iter().chain([
            EndingKind::Turn,
            EndingKind::Reset,
            EndingKind::Feedback,
            EndingKind::Forked,
            EndingKind::Paused,
            EndingKind::Resumed,
        ]) {
            assert_eq!(EndingKind::from_byte(kind.to_byte()), kind);
        }
    }

    #[test]
    fn a_restored_window_answers_like_the_original() {
        let mut window = Window::default();
        (0..1700).for_each(|n| window.remember(entry(n)));
        let restored = Window::restore(window.entries().cloned().collect());
        for n in 0..1700_u64 {
            let hash = hash16(&n.to_le_bytes());
            assert_eq!(window.look_up(&hash, &[0; 16]), restored.look_up(&hash, &[0; 16]));
        }
    }
}
