//! The hints that are due next, in memory.
//!
//! So many are held and no more: of more, those that are due last are left to the store, and read again when their time
//! comes.

use std::collections::{BTreeMap, HashMap};

use colloquy_types::{ConversationKey, Timestamp};

use super::hint::Hint;

/// How many hints are held.
pub(super) const HELD_MAX: usize = 65_536;

/// Where a hint is stored, and how often its turn was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) slot: u16,
    pub(super) record_no: u64,
    pub(super) tries: u32,
}

/// Hints by the time they are tried.
#[derive(Debug)]
pub(super) struct Queue {
    order: BTreeMap<(Timestamp, u64), (Hint, Entry)>,
    places: HashMap<Hint, (Timestamp, u64)>,
    /// Counts what came in, so that what is due together is tried as it came.
    came: u64,
    /// The time from which on hints may be missing here.
    beyond: Option<Timestamp>,
    held_max: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self::holding(HELD_MAX)
    }
}

impl Queue {
    pub(super) fn holding(held_max: usize) -> Self {
        Self { order: BTreeMap::new(), places: HashMap::new(), came: 0, beyond: None, held_max }
    }

    /// Takes a hint in, to be tried at a time; one that is in already stays as it is.
    pub(super) fn insert(&mut self, at: Timestamp, hint: Hint, entry: Entry) {
        if self.places.contains_key(&hint) {
            return;
        }
        self.came += 1;
        self.places.insert(hint.clone(), (at, self.came));
        self.order.insert((at, self.came), (hint, entry));
        if self.order.len() > self.held_max
            && let Some(((last, _), (hint, _))) = self.order.pop_last()
        {
            self.places.remove(&hint);
            self.beyond = Some(self.beyond.map_or(last, |beyond| beyond.min(last)));
        }
    }

    /// Takes a hint out.
    pub(super) fn remove(&mut self, hint: &Hint) -> Option<Entry> {
        let place = self.places.remove(hint)?;
        self.order.remove(&place).map(|(_, entry)| entry)
    }

    /// Takes the first hint whose time has come.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Hint, Entry)> {
        let first = self.order.first_entry().filter(|first| first.key().0 <= now)?;
        let (hint, entry) = first.remove();
        self.places.remove(&hint);
        Some((hint, entry))
    }

    /// Has all hints of some conversations tried when they are due, and not when they were to be tried again.
    pub(super) fn wake(&mut self, is_meant: impl Fn(&ConversationKey) -> bool) {
        let held: Vec<_> =
            self.order.values().map(|(hint, _)| hint).filter(|hint| is_meant(&hint.key)).cloned().collect();
        for hint in held {
            if let Some(entry) = self.remove(&hint) {
                self.insert(hint.timer.due_at, hint, entry);
            }
        }
    }

    /// When the next one is tried.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.order.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether what comes next may be in the store alone.
    pub(super) fn is_short(&self) -> bool {
        self.beyond.is_some_and(|beyond| self.next_at().is_none_or(|next| next >= beyond))
    }

    /// Whether some of what is stored is not held.
    pub(super) fn lacks_some(&self) -> bool {
        self.beyond.is_some()
    }

    /// What is stored is read from here on: what is missing will be known anew.
    pub(super) fn reading(&mut self) {
        self.beyond = None;
    }

    /// How many hints are held.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use colloquy_turn::Timer;

    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn hint(due: u64) -> Hint {
        let timer = Timer { id: "t".into(), due_at: at(due), set_turn: due };
        Hint { key: ConversationKey::from_parts("acme", "c").unwrap(), timer }
    }

    const ENTRY: Entry = Entry { slot: 0, record_no: 2, tries: 0 };

    #[test]
    fn hints_come_in_the_order_of_their_times_and_once() {
        let mut queue = Queue::default();
        for due in [30, 10, 20, 10] {
            queue.insert(at(due), hint(due), ENTRY);
        }
        assert_eq!((queue.len(), queue.next_at()), (3, Some(at(10))));
        assert_eq!(queue.pop(at(9)), None);
        assert_eq!(queue.pop(at(25)), Some((hint(10), ENTRY)));
        assert_eq!(queue.remove(&hint(20)), Some(ENTRY));
        assert_eq!(queue.remove(&hint(20)), None);
        assert_eq!((queue.pop(at(29)), queue.pop(at(30))), (None, Some((hint(30), ENTRY))));
        assert!(!queue.is_short(), "nothing was left out");
    }

    #[test]
    fn what_waits_to_be_tried_again_is_tried_when_its_conversation_is_resumed() {
        let mut queue = Queue::default();
        queue.insert(at(90), hint(10), Entry { tries: 3, ..ENTRY });
        queue.wake(|key| key.conversation() == "another");
        assert_eq!(queue.next_at(), Some(at(90)));
        queue.wake(|key| *key == hint(10).key);
        assert_eq!(queue.pop(at(10)), Some((hint(10), Entry { tries: 3, ..ENTRY })));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_does_not_fit_is_known_to_be_missing() {
        let mut queue = Queue::holding(2);
        for due in [30, 10, 20, 40] {
            queue.insert(at(due), hint(due), ENTRY);
        }
        assert_eq!(queue.len(), 2);
        assert!(!queue.is_short(), "what comes next is there");
        queue.pop(at(50));
        queue.pop(at(50));
        assert!(queue.is_short());
        queue.reading();
        assert!(!queue.is_short());
    }
}
