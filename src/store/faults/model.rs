//! What callers were told, and so what must be there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use colloquy_types::{ConversationKey, ConversationUid, Hash, Head};

use super::Breach;
use crate::{
    history::decode_all,
    port::{AppendError, Lease, NotApplied},
    record::{Batch, RecordKind, StoredRecord},
};

/// Leases of the past that are kept for appends that must be refused.
const STALE_MAX: usize = 4;

/// How an append must end while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Must {
    Apply,
    BeFenced,
    Conflict(Head),
}

/// An append that was sent.
pub(super) struct Sent {
    batch: Batch,
    must: Must,
}

impl Sent {
    pub(super) fn records(&self) -> Vec<StoredRecord> {
        decode_all(self.batch.bytes()).filter_map(|decoded| Some(decoded.ok()?.0.record)).collect()
    }

    pub(super) fn head(&self) -> Head {
        self.batch.head_after()
    }

    /// Where it leaves the key: an erasure frees it, and nothing is there.
    fn leaves(&self) -> Head {
        if self.erases() { Head::default() } else { self.head() }
    }

    pub(super) fn erases(&self) -> bool {
        self.records().iter().any(|record| record.header.kind == RecordKind::Erased)
    }

    /// A snapshot alone does not: it may come again, and what follows it does not depend on it.
    fn moves_the_head(&self) -> bool {
        self.batch.expect().record_no != self.batch.head_after().record_no
    }
}

/// One conversation as its callers know it.
pub(super) struct Conversation {
    pub(super) key: ConversationKey,
    pub(super) uid: Option<ConversationUid>,
    /// Records of which someone was told that they are there.
    pub(super) certain: Vec<StoredRecord>,
    /// Where these end.
    pub(super) head: Head,
    /// Where they will end when all goes well that is under way.
    pub(super) next_head: Head,
    /// Sent, and nobody was told the end; each builds on the one before.
    pub(super) unknown: Vec<Sent>,
    /// Heads that must never be.
    pub(super) ghosts: BTreeSet<Hash>,
    pub(super) lease: Option<Lease>,
    pub(super) stale: VecDeque<Lease>,
    /// The last append that was acknowledged, and its lease.
    pub(super) last: Option<(Lease, Batch)>,
    /// A bit of it was flipped: it must say so.
    pub(super) is_damaged: bool,
}

impl Conversation {
    pub(super) fn new(key: ConversationKey) -> Self {
        Self {
            key,
            uid: None,
            certain: Vec::new(),
            head: Head::default(),
            next_head: Head::default(),
            unknown: Vec::new(),
            ghosts: BTreeSet::new(),
            lease: None,
            stale: VecDeque::new(),
            last: None,
            is_damaged: false,
        }
    }

    pub(super) fn name(&self) -> String {
        self.key.conversation().to_owned()
    }

    /// Takes another lease, or none; the one before is stale from now on.
    pub(super) fn lease(&mut self, lease: Option<Lease>) {
        let before = std::mem::replace(&mut self.lease, lease);
        self.stale.extend(before);
        if self.stale.len() > STALE_MAX {
            self.stale.pop_front();
        }
    }

    fn apply(&mut self, sent: &Sent) {
        if sent.erases() {
            self.certain.clear();
            self.uid = None;
            self.lease(None);
        } else {
            self.certain.extend(sent.records());
        }
        self.head = sent.leaves();
    }

    /// The newest snapshot once the first `applied` of the unknown are applied.
    fn snapshot_after(&self, applied: usize) -> Option<StoredRecord> {
        let is_snapshot = |record: &StoredRecord| !record.header.kind.is_chained();
        if self.unknown.iter().take(applied).any(Sent::erases) {
            return None;
        }
        let unknown = self.unknown.iter().take(applied).flat_map(Sent::records).rfind(is_snapshot);
        unknown.or_else(|| self.certain.iter().rfind(|record| is_snapshot(record)).cloned())
    }

    /// Settles what nobody was told the end of, now that a store says where the history stands and what its newest
    /// snapshot is: one alone does not move the head. How many of the unknown were applied.
    pub(super) fn settle(&mut self, found: &Head, snapshot: Option<&StoredRecord>) -> Result<usize, Breach> {
        let reached = std::iter::once(self.head).chain(self.unknown.iter().map(Sent::leaves));
        let fitting: Vec<_> =
            reached.enumerate().filter(|(_, head)| head == found).map(|(applied, _)| applied).collect();
        let with_snapshot = fitting.iter().find(|applied| self.snapshot_after(**applied).as_ref() == snapshot);
        let Some(applied) = with_snapshot.or(fitting.first()).copied() else {
            return Err(self.misplaced(found));
        };
        for (number, sent) in std::mem::take(&mut self.unknown).into_iter().enumerate() {
            if number < applied {
                self.apply(&sent);
            } else if sent.moves_the_head() {
                self.ghosts.insert(sent.head().hash);
            }
        }
        self.next_head = self.head;
        Ok(applied)
    }

    fn misplaced(&self, found: &Head) -> Breach {
        let (conversation, told, record) = (self.name(), self.head.record_no, found.record_no);
        if self.ghosts.contains(&found.hash) {
            Breach::Ghost { conversation, record }
        } else if record < told {
            Breach::Lost { conversation, told, found: record }
        } else {
            Breach::Stranger { conversation, found: record }
        }
    }
}

/// All conversations, and the appends that are under way.
pub(super) struct Model {
    pub(super) conversations: Vec<Conversation>,
    under_way: BTreeMap<u64, (usize, Sent)>,
    tickets: u64,
}

/// What came of the appends of a step.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
}

impl Model {
    pub(super) fn new(keys: impl IntoIterator<Item = ConversationKey>) -> Self {
        let conversations = keys.into_iter().map(Conversation::new).collect();
        Self { conversations, under_way: BTreeMap::new(), tickets: 0 }
    }

    /// Notes an append that is about to be sent; its ticket.
    pub(super) fn send(&mut self, conversation: usize, batch: &Batch, must: Must) -> u64 {
        self.tickets += 1;
        self.under_way.insert(self.tickets, (conversation, Sent { batch: batch.clone(), must }));
        self.tickets
    }

    /// Takes what callers were told; what they were not told of is unknown. `may_refuse` says whether the store
    /// has a reason to refuse what it should apply: a disk that is full or failing, or too much that waits.
    pub(super) fn told(
        &mut self,
        endings: Vec<(u64, Result<Head, AppendError>)>,
        may_refuse: bool,
    ) -> Result<Settled, Breach> {
        let mut endings: BTreeMap<_, _> = endings.into_iter().collect();
        let mut settled = Settled::default();
        let mut gaps = BTreeSet::new();
        for (ticket, (number, sent)) in std::mem::take(&mut self.under_way) {
            let Some(conversation) = self.conversations.get_mut(number) else { continue };
            let ending = endings.remove(&ticket).unwrap_or(Err(AppendError::Unknown));
            let wrong =
                |must| Breach::Ending { conversation: conversation.name(), must, ending: format!("{ending:?}") };
            match (sent.must, &ending) {
                (Must::Apply, Ok(head)) if *head == sent.head() && !gaps.contains(&number) => {
                    settled.acknowledged += 1;
                    conversation.apply(&sent);
                    let lease = conversation.lease.clone().filter(|_| sent.moves_the_head());
                    conversation.last = lease.map(|lease| (lease, sent.batch));
                    continue;
                }
                (Must::Apply, Err(AppendError::Unknown)) => {
                    conversation.unknown.push(sent);
                    continue;
                }
                (Must::Apply, Err(AppendError::NotApplied(why))) => {
                    let follows = gaps.contains(&number) && matches!(why, NotApplied::Conflict { .. });
                    let has_reason =
                        may_refuse && matches!(why, NotApplied::Full | NotApplied::Busy | NotApplied::Closed);
                    if !follows && !has_reason {
                        return Err(wrong("applied"));
                    }
                    if sent.moves_the_head() {
                        gaps.insert(number);
                    }
                }
                (Must::Apply, Ok(_)) => return Err(wrong("applied where it says")),
                (Must::BeFenced, Err(AppendError::NotApplied(NotApplied::Fenced))) => settled.refused += 1,
                (Must::Conflict(at), Err(AppendError::NotApplied(NotApplied::Conflict { head }))) if at == *head => {
                    settled.refused += 1;
                }
                // The process died before it could say so.
                (_, Err(AppendError::Unknown | AppendError::NotApplied(NotApplied::Closed))) => {}
                (Must::BeFenced, _) => return Err(wrong("fenced")),
                (Must::Conflict(_), _) => return Err(wrong("a conflict")),
            }
            if sent.moves_the_head() {
                conversation.ghosts.insert(sent.head().hash);
            }
        }
        for conversation in &mut self.conversations {
            conversation.next_head = conversation.head;
        }
        Ok(settled)
    }
}
