//! The kit that every engine passes: what [`ConversationStore`] promises, as checks that can fail.
//!
//! A [`Harness`] opens the same data again and again, each time as a new process would. [`run_all`]
//! runs every check on a harness of its own. The checks panic with what is wrong.

#![expect(clippy::expect_used, reason = "a failed expectation is how a check fails")]

mod append;
mod erase;
mod fences;
mod limits;
mod losses;
mod model;
mod races;
mod reads;

use std::sync::Arc;

use colloquy_types::{ConversationKey, Head, Timestamp, TurnSeq};
use tokio::sync::oneshot;

use crate::{
    port::{AppendError, BoxFuture, ConversationStore, Lease, Opened, ReadError},
    record::{Batch, RecordKind, StoredRecord},
};

/// One store's data, which a check opens and reopens.
pub trait Harness: Send + Sync {
    /// Opens the data as a new process would. The kit has closed the one before.
    fn open(&self) -> BoxFuture<'_, Arc<dyn ConversationStore>>;

    /// Ends the process that has `store` open as suddenly as the engine can; closes it when it cannot. What was
    /// acknowledged must be there when the data is opened again.
    fn crash(&self, store: Arc<dyn ConversationStore>) -> BoxFuture<'_, ()> {
        Box::pin(async move { store.close().await })
    }

    /// Arranges that the next append to the open store ends as [`AppendError::Unknown`], applied or not as far as
    /// the engine can choose. `false` when it cannot, which is the default.
    fn lose_next(&self, _applied: bool) -> bool {
        false
    }
}

/// A check: its name, and what it does with a fresh harness.
type Check = (&'static str, for<'a> fn(&'a dyn Harness) -> BoxFuture<'a, ()>);

macro_rules! checks {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), |harness| Box::pin($module::$name(harness)))),*]
    };
}

const CHECKS: &[Check] = checks![
    append::a_new_conversation_is_empty_and_leaves_nothing_behind,
    append::what_was_appended_is_there_after_reopening,
    append::a_later_open_gets_the_newest_snapshot_and_what_follows_it,
    append::a_batch_is_applied_once,
    append::appends_in_flight_keep_their_order,
    append::many_conversations_at_once_keep_to_themselves,
    append::a_first_batch_must_name_its_conversation,
    append::a_snapshot_alone_may_be_appended,
    fences::a_later_activation_fences_the_earlier,
    fences::an_append_queued_before_a_later_open_is_seen_by_it,
    fences::an_earlier_epoch_is_fenced,
    fences::a_batch_built_on_another_head_conflicts,
    fences::a_released_lease_is_fenced_and_a_stale_release_ignored,
    fences::a_batch_of_another_conversation_is_fenced,
    fences::a_closed_store_refuses_everything,
    reads::turns_are_read_by_range_and_limit,
    reads::turns_are_limited_by_bytes,
    reads::an_absent_conversation_is_told_so,
    reads::conversations_are_listed_by_tenant_in_order,
    reads::a_checkpoint_changes_nothing_that_can_be_read,
    reads::a_whole_chain_verifies,
    reads::a_history_is_read_whole_page_by_page,
    reads::a_page_behind_a_foreign_head_is_refused,
    reads::figures_count_what_was_appended,
    races::of_racing_activations_one_wins_each_record,
    races::of_racing_appends_under_one_lease_one_wins,
    losses::a_crash_keeps_what_was_acknowledged_and_all_or_nothing_of_the_rest,
    losses::an_unknown_append_is_there_wholly_or_not_at_all,
    model::any_sequence_of_calls_gives_what_a_model_gives,
    erase::an_erased_conversation_is_absent_and_its_key_is_free,
    erase::an_erased_conversation_is_fenced_for_good,
    erase::nothing_follows_an_erasure_in_its_batch,
    erase::compaction_leaves_headers_and_the_record_of_the_erasure,
    erase::an_erasure_that_never_was_is_absent,
    erase::compaction_changes_nothing_that_can_be_read,
    limits::limits_are_refused_before_anything_is_written,
    limits::the_largest_records_are_read_back,
];

/// Runs every check, each on a harness that `fresh` makes: an empty store of its own.
///
/// # Panics
/// When the engine breaks a promise.
pub async fn run_all<H: Harness>(fresh: impl Fn() -> H) {
    for (name, check) in CHECKS {
        tracing::info!(check = name, "conformance");
        check(&fresh()).await;
    }
}

/// The names of the checks, in the order in which they run.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|(name, _)| *name)
}

const SALT: [u8; 16] = [7; 16];

fn key(conversation: &str) -> ConversationKey {
    ConversationKey::from_parts("acme", conversation).expect("the kit's keys are well formed")
}

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// Appends and waits for the ending.
async fn append(store: &dyn ConversationStore, lease: &Lease, batch: Batch) -> Result<Head, AppendError> {
    let (reply, answer) = oneshot::channel();
    store.append(lease, batch, Box::new(move |ending| drop(reply.send(ending))));
    answer.await.expect("a completion is called exactly once")
}

async fn open(store: &dyn ConversationStore, key: &ConversationKey) -> Opened {
    store.open(key).await.expect("the conversation opens")
}

async fn turns(
    store: &dyn ConversationStore,
    key: &ConversationKey,
    from: u64,
    limit: usize,
) -> Result<Vec<StoredRecord>, ReadError> {
    store.turns(key, TurnSeq::new(from), limit).await
}

/// A batch with one turn on `head`; the first one also creates the conversation.
fn turn(lease: &Lease, head: &Head, payload: &[u8]) -> Batch {
    let mut batch = Batch::new(lease, head);
    let time = at(head.record_no.get() + 1);
    if head.record_no.get() == 0 {
        batch.push_created(time, SALT, &lease.key, b"created").expect("within the limits");
    }
    batch.push(RecordKind::Turn, time, SALT, payload).expect("within the limits");
    batch
}

/// Appends `count` turns one after another and returns the head.
async fn append_turns(store: &dyn ConversationStore, lease: &Lease, mut head: Head, count: usize) -> Head {
    for _ in 0..count {
        let payload = format!("turn {}", head.turn_seq.next());
        head = append(store, lease, turn(lease, &head, payload.as_bytes())).await.expect("appended");
    }
    head
}

fn texts(records: &[StoredRecord]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}
