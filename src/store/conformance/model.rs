//! Any sequence of calls against a model that cannot be wrong: a list of records for each conversation.

use std::sync::Arc;

use colloquy_types::{ConversationKey, Hash, Head, RecordNo, TurnSeq};

use super::{Harness, append, at};
use crate::{
    faults::random::Random,
    history::decode_all,
    port::{AppendError, ConversationStore, Lease, NotApplied, ReadError},
    record::{Batch, RecordKind, StoredRecord},
};

const SEQUENCES: u64 = 12;
const CALLS: usize = 80;
const CONVERSATIONS: usize = 3;

/// A conversation as it must be.
struct Expected {
    key: ConversationKey,
    records: Vec<StoredRecord>,
    head: Head,
    lease: Option<Lease>,
    stale: Vec<Lease>,
    /// The last batch that moved the head, and the lease it was appended under.
    last: Option<(Lease, Batch)>,
}

struct Play<'a> {
    harness: &'a dyn Harness,
    store: Option<Arc<dyn ConversationStore>>,
    random: Random,
    tenant: String,
    conversations: Vec<Expected>,
    /// What is being played, for whoever reads a failure.
    context: String,
}

pub(super) async fn any_sequence_of_calls_gives_what_a_model_gives(harness: &dyn Harness) {
    for seed in 0..SEQUENCES {
        let tenant = format!("model-{seed}");
        let conversation = |number| {
            let key = ConversationKey::from_parts(&tenant, &format!("c{number}")).expect("well formed");
            Expected { key, records: Vec::new(), head: Head::default(), lease: None, stale: Vec::new(), last: None }
        };
        let conversations = (0..CONVERSATIONS).map(conversation).collect();
        let (store, random) = (harness.open().await, Random::new(seed, "conformance"));
        let mut play = Play { harness, store: Some(store), random, tenant, conversations, context: String::new() };
        for call in 0..CALLS {
            play.context = format!("sequence {seed}, call {call}");
            play.call().await;
        }
        for number in 0..CONVERSATIONS {
            play.open(number).await;
            play.read(number).await;
        }
        play.store().close().await;
    }
}

impl Play<'_> {
    async fn call(&mut self) {
        let number = self.random.below(CONVERSATIONS);
        match self.random.below(100) {
            0..14 => self.open(number).await,
            14..50 => self.append(number).await,
            50..56 => self.again(number).await,
            56..62 => self.beside(number).await,
            62..68 => self.stale(number).await,
            68..72 => self.release(number),
            72..90 => self.read(number).await,
            90..94 => self.store().checkpoint().await.expect("checkpointed"),
            _ => self.reopen().await,
        }
    }

    fn store(&self) -> Arc<dyn ConversationStore> {
        self.store.clone().expect("open")
    }

    fn expected(&mut self, number: usize) -> &mut Expected {
        self.conversations.get_mut(number).expect("there are so many")
    }

    async fn reopen(&mut self) {
        let closing = self.store.take().expect("open");
        if self.random.chance(50) {
            closing.close().await;
        } else {
            self.harness.crash(closing).await;
        }
        self.store = Some(self.harness.open().await);
        for expected in &mut self.conversations {
            expected.stale.extend(expected.lease.take());
        }
    }

    async fn open(&mut self, number: usize) {
        let (store, context) = (self.store(), self.context.clone());
        let expected = self.expected(number);
        let opened = store.open(&expected.key).await.expect("it opens");
        let snapshot = expected.records.iter().rfind(|record| !record.header.kind.is_chained());
        let covered = snapshot.map_or(RecordNo::default(), |record| record.header.record_no);
        let follows = |record: &&StoredRecord| {
            record.header.kind.is_chained() && (snapshot.is_none() || record.header.record_no > covered)
        };
        assert_eq!(opened.head, expected.head, "{context}");
        assert_eq!(opened.created.as_ref(), expected.records.first(), "{context}");
        assert_eq!(opened.snapshot.as_ref(), snapshot, "{context}");
        assert!(opened.tail.iter().eq(expected.records.iter().filter(follows)), "{context}: the tail");
        expected.stale.extend(expected.lease.replace(opened.lease));
    }

    /// Opens it unless it has a lease.
    async fn lease(&mut self, number: usize) -> Lease {
        if self.expected(number).lease.is_none() {
            self.open(number).await;
        }
        self.expected(number).lease.clone().expect("opened")
    }

    fn batch(&mut self, lease: &Lease, head: &Head) -> Batch {
        let mut batch = Batch::new(lease, head);
        let time = at(head.record_no.get() + 1);
        let is_new = head.record_no == RecordNo::default();
        if is_new {
            batch.push_created(time, self.random.bytes16(), &lease.key, b"created").expect("small");
        }
        let kinds = [RecordKind::Turn, RecordKind::Turn, RecordKind::Accepted, RecordKind::TurnClosed];
        for _ in 0..self.random.between(usize::from(!is_new), 3) {
            let (kind, len) = (*self.random.pick(&kinds).expect("there are some"), self.random.below(400));
            let payload: Vec<u8> = self.random.bytes16().into_iter().cycle().take(len).collect();
            batch.push(kind, time, self.random.bytes16(), &payload).expect("small");
        }
        if self.random.chance(20) {
            batch.push(RecordKind::Snapshot, time, self.random.bytes16(), b"a snapshot").expect("small");
        }
        batch
    }

    async fn append(&mut self, number: usize) {
        let lease = self.lease(number).await;
        let head = self.expected(number).head;
        let batch = self.batch(&lease, &head);
        let ending = append(&*self.store(), &lease, batch.clone()).await;
        assert_eq!(ending, Ok(batch.head_after()), "{}", self.context);
        let expected = self.expected(number);
        let records = decode_all(batch.bytes()).map(|decoded| decoded.expect("whole").0.record);
        expected.records.extend(records);
        expected.head = batch.head_after();
        expected.last = Some((lease, batch));
    }

    /// The same batch again: the head has moved, or the lease has.
    async fn again(&mut self, number: usize) {
        let expected = self.expected(number);
        let Some((lease, batch)) = expected.last.clone() else { return };
        let is_owner = expected.lease.as_ref() == Some(&lease);
        let head = expected.head;
        let refused = if is_owner { NotApplied::Conflict { head } } else { NotApplied::Fenced };
        self.refused(lease, batch, refused).await;
    }

    /// A batch on a head that never was.
    async fn beside(&mut self, number: usize) {
        let lease = self.lease(number).await;
        let head = self.expected(number).head;
        let beside = Head { record_no: head.record_no.next(), hash: Hash([9; 32]), ..head };
        let batch = self.batch(&lease, &beside);
        self.refused(lease, batch, NotApplied::Conflict { head }).await;
    }

    /// A batch under a lease of the past.
    async fn stale(&mut self, number: usize) {
        let expected = self.expected(number);
        let (head, stale) = (expected.head, expected.stale.clone());
        let Some(lease) = self.random.pick(&stale).cloned() else { return };
        let batch = self.batch(&lease, &head);
        self.refused(lease, batch, NotApplied::Fenced).await;
    }

    async fn refused(&mut self, lease: Lease, batch: Batch, why: NotApplied) {
        let ending = append(&*self.store(), &lease, batch).await;
        assert_eq!(ending, Err(AppendError::NotApplied(why)), "{}", self.context);
    }

    fn release(&mut self, number: usize) {
        if let Some(lease) = self.expected(number).lease.take() {
            self.store().release(&lease);
            self.expected(number).stale.push(lease);
        }
    }

    /// Reads it in every way there is.
    async fn read(&mut self, number: usize) {
        let (store, context) = (self.store(), self.context.clone());
        let (page, from) = (self.random.between(1, 7), TurnSeq::new(self.random.below(6) as u64));
        let listed = store.list(&self.tenant, None, 100).await.expect("listed");
        let born = self.conversations.iter().filter(|expected| !expected.records.is_empty());
        let heads = listed.iter().map(|row| (&row.key, row.head));
        assert!(heads.eq(born.map(|expected| (&expected.key, expected.head))), "{context}: the list");

        let expected = self.expected(number);
        if expected.records.is_empty() {
            assert_eq!(store.verify(&expected.key).await, Err(ReadError::Absent), "{context}");
            return;
        }
        let verified = store.verify(&expected.key).await.expect("the chain is whole");
        assert_eq!(verified.head, expected.head, "{context}");
        let is_wanted =
            |record: &&StoredRecord| record.header.kind == RecordKind::Turn && record.header.turn_seq >= from;
        let turns = store.turns(&expected.key, from, page).await.expect("readable");
        assert!(turns.iter().eq(expected.records.iter().filter(is_wanted).take(page)), "{context}: the turns");
        let (mut history, mut reached) = (Vec::new(), Head::default());
        while reached != expected.head {
            let found = store.history(&expected.key, reached, page).await.expect("readable");
            assert!(!found.records.is_empty(), "{context}: the history ends at record {}", reached.record_no);
            history.extend(found.records.into_iter().map(|row| row.record));
            reached = found.reached;
        }
        assert_eq!(history, expected.records, "{context}");
    }
}
