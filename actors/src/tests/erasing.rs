//! Erasures: what they wait for, what they leave, and who is told. CR-03, CR-05, CR-11: what a person asks to be
//! forgotten is forgotten, and nothing of it comes back.

use std::num::NonZeroU32;

use colloquy_store::{RecordKind, decode_record, journal::backup::KnownBackup, memory::Fault};
use colloquy_turn::{ErasedRecord, ErasureCause};
use colloquy_types::{Clock as _, SubjectId, Timestamp};

use super::*;
use crate::{
    ActorKind, EraseConversation, ErasureReceipt, TreeFilter, Watcher,
    conversation::{Control, Erase, erase_digest},
    runtime::controls::control,
};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn erasure(conversation: &str, request_id: &str) -> EraseConversation {
    let request_id = RequestId::parse(request_id).unwrap();
    EraseConversation { key: key(conversation), request_id, uid: None, deadline: soon() }
}

async fn erase(runtime: &Runtime, conversation: &str) -> Result<ErasureReceipt, Error> {
    runtime.erase(erasure(conversation, "erase")).await
}

/// Sends a turn and does not wait for it.
fn sent(runtime: &Runtime, turn: SubmitTurn) -> tokio::task::JoinHandle<Result<TurnReply, Error>> {
    let runtime = runtime.clone();
    tokio::spawn(async move { runtime.submit_turn(turn).await })
}

/// Asks for an erasure and does not wait for it.
fn asked(runtime: &Runtime, conversation: &'static str) -> tokio::task::JoinHandle<Result<ErasureReceipt, Error>> {
    let runtime = runtime.clone();
    tokio::spawn(async move { erase(&runtime, conversation).await })
}

#[tokio::test]
async fn a_read_that_an_erasure_overtakes_does_not_tell_what_is_left() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    for request_id in ["r-1", "r-2"] {
        runtime.submit_turn(turn("c", request_id, "hello")).await.unwrap();
    }
    let conversation = key("c");
    let read = || runtime.turns(&conversation, TurnSeq::new(1), 9, soon());
    let left = gate.inner.turns(&key("c"), TurnSeq::new(2), 9).await.unwrap();
    *gate.overtaken.lock().unwrap() = Some(left.clone());
    assert_eq!(read().await.unwrap().len(), 2, "nothing was erased after all");
    erase(&runtime, "c").await.unwrap();
    *gate.overtaken.lock().unwrap() = Some(left);
    assert_eq!(read().await.unwrap_err(), Error::ConversationAbsent);
}

#[tokio::test]
async fn an_erased_conversation_is_gone_and_its_key_begins_anew() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    for (n, text) in ["cancel order A-1001", "no", "cancel order B-2002"].into_iter().enumerate() {
        runtime.submit_turn(turn("c", &format!("r-{n}"), text)).await.unwrap();
    }
    runtime.submit_turn(turn("other", "r-0", "cancel order A-1001")).await.unwrap();
    let was = runtime.describe(&key("c"), soon()).await.unwrap();
    let receipt = erase(&runtime, "c").await.unwrap();
    assert_eq!((receipt.uid, receipt.head.turn_seq), (was.uid, was.head.turn_seq));
    assert_eq!(receipt.head.record_no, was.head.record_no.next());
    assert_eq!((receipt.store, receipt.backups_not_covered), (None, Some(Vec::new())));
    // The receipt names what is stored.
    let stored = gate.erasure(receipt.uid).await.unwrap();
    assert_eq!((stored.head, stored.chain_holds), (receipt.head, true));

    let absent = Err(Error::ConversationAbsent);
    assert_eq!(runtime.describe(&key("c"), soon()).await.map(|_| ()), absent);
    assert_eq!(runtime.turns(&key("c"), TurnSeq::new(1), 9, soon()).await.map(|_| ()), absent);
    assert_eq!(erase(&runtime, "c").await.map(|_| ()), absent, "the same request again");
    let unnamed = runtime.submit_turn(SubmitTurn { flow: None, ..turn("c", "r-9", "hello") }).await;
    assert_eq!(unnamed.map(|_| ()), absent);
    let listed = runtime.list("acme", None, 9, soon()).await.unwrap();
    assert_eq!(listed.into_iter().map(|row| row.key).collect::<Vec<_>>(), [key("other")]);

    // A request id of before is a new request, and what was pending is not.
    let again = runtime.submit_turn(turn("c", "r-2", "yes")).await.unwrap();
    assert_eq!((seq(&again), again.replayed), (1, false));
    let fresh = runtime.describe(&key("c"), soon()).await.unwrap();
    assert_ne!(fresh.uid, was.uid);
    assert!(fresh.state.pending().is_empty() && fresh.state.slots().is_empty(), "{:?}", fresh.state);
    assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 1);
    assert_eq!(gate.verify(&key("other")).await.unwrap().turns, 1);
    assert_eq!(runtime.shared().metrics.storage.erasures_asked.get(), 1);
}

#[tokio::test]
async fn the_record_of_an_erasure_says_nothing_but_when_and_why() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let receipt = erase(&runtime, "c").await.unwrap();
    let bytes = gate.erasing.lock().unwrap().clone();
    let decoded = decode_record(&bytes).unwrap();
    assert_eq!(decoded.record.header.kind, RecordKind::Erased);
    let expected = ErasedRecord { at: receipt.erased_at, cause: ErasureCause::Asked };
    assert_eq!(ErasedRecord::decode(&decoded.record.payload).unwrap(), expected);
    assert_eq!(bytes.len(), decoded.record.header.record_len(), "and there is no other record");
}

#[tokio::test]
async fn an_erasure_waits_for_the_turns_before_it_and_those_behind_it_begin_anew() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.hold();
    let running = sent(&runtime, turn("c", "r-1", "cancel order A-1001"));
    gate.until_waiting(1).await;
    let in_flight = |number: usize| {
        let runtime = runtime.clone();
        async move { wait_for(|| runtime.stats().in_flight == number).await }
    };
    let before = sent(&runtime, turn("c", "r-2", "no"));
    in_flight(2).await;
    let erasure = asked(&runtime, "c");
    in_flight(3).await;
    let behind = sent(&runtime, turn("c", "r-9", "yes"));
    in_flight(4).await;
    let unnamed = sent(&runtime, SubmitTurn { flow: None, ..turn("c", "r-3", "hello") });
    in_flight(5).await;
    gate.inner.let_go();
    assert_eq!(seq(&running.await.unwrap().unwrap()), 2);
    assert_eq!(seq(&before.await.unwrap().unwrap()), 3);
    let receipt = erasure.await.unwrap().unwrap();
    assert_eq!(receipt.head.turn_seq, TurnSeq::new(3));
    let behind = behind.await.unwrap().unwrap();
    assert_eq!((seq(&behind), behind.replayed), (1, false), "it began the next conversation");
    assert_eq!(seq(&unnamed.await.unwrap().unwrap()), 2, "which the one behind it found");
    wait_for(|| runtime.stats().in_flight == 0).await;
}

#[tokio::test]
async fn whoever_waits_behind_an_erasure_and_names_no_flow_is_told_so() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.hold();
    let erasure = asked(&runtime, "c");
    gate.until_waiting(1).await;
    let unnamed = sent(&runtime, SubmitTurn { flow: None, ..turn("c", "r-1", "hello") });
    wait_for(|| runtime.stats().in_flight == 2).await;
    gate.inner.let_go();
    erasure.await.unwrap().unwrap();
    assert_eq!(unnamed.await.unwrap().unwrap_err(), Error::ConversationAbsent);
    wait_for(|| runtime.stats().conversations_active == 0).await;
    assert_eq!(gate.stats().leases, 0);
}

#[tokio::test]
async fn a_streamed_turn_that_runs_ends_before_the_erasure() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    let mut stream = runtime.stream_turn(turn("c", "r-0", "cancel order A-1001"), None).unwrap();
    assert!(matches!(stream.event().await, Some((_, TurnEvent::Accepted { .. }))));
    let receipt = erase(&runtime, "c").await.unwrap();
    assert_eq!(receipt.head.turn_seq, TurnSeq::new(1));
    assert_eq!(seq(&stream.ending().await.unwrap()), 1);
}

#[tokio::test]
async fn a_watch_ends_with_its_conversation_and_not_with_the_next_one() {
    let runtime = start(Gate::new()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    runtime.submit_turn(turn("other", "r-0", "hello")).await.unwrap();
    let mut watch = runtime.watch(&key("c"), TurnSeq::new(1), None, soon()).await.unwrap();
    let mut behind = runtime.watch(&key("c"), TurnSeq::new(5), None, soon()).await.unwrap();
    let mut other = runtime.watch(&key("other"), TurnSeq::new(1), None, soon()).await.unwrap();
    assert!(matches!(watch.next().await, Ok(WatchEvent::Turn(_))));
    let waiting = tokio::spawn(async move { watch.next().await.map(|_| ()) });
    let after = runtime.describe(&key("c"), soon()).await.unwrap().head;
    erase(&runtime, "c").await.unwrap();
    for n in 0..6 {
        runtime.submit_turn(turn("c", &format!("n-{n}"), "hello")).await.unwrap();
    }
    let ended = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it ends");
    assert_eq!(ended.unwrap(), Err(Error::ConversationErased));
    assert_eq!(behind.next().await.map(|_| ()), Err(Error::ConversationErased), "turn 5 is another conversation's");
    let resumed = runtime.watch(&key("c"), TurnSeq::new(1), Some(after), soon()).await;
    assert!(matches!(resumed, Err(Error::HistoryChanged { .. })), "{resumed:?}");
    let mut fresh = runtime.watch(&key("c"), TurnSeq::new(1), None, soon()).await.unwrap();
    for watch in [&mut fresh, &mut other] {
        assert!(matches!(watch.next().await, Ok(WatchEvent::Turn(turn)) if turn.head.turn_seq == TurnSeq::new(1)));
    }
}

#[tokio::test]
async fn an_actor_that_dies_while_it_erases_has_erased_and_its_watches_end() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let mut watch = runtime.watch(&key("c"), TurnSeq::new(2), None, soon()).await.unwrap();
    let waiting = tokio::spawn(async move { watch.next().await.map(|_| ()) });
    gate.inner.hold();
    let erasure = asked(&runtime, "c");
    gate.until_waiting(1).await;
    runtime.shared().directory.get(&key("c")).unwrap().actor.kill();
    assert_eq!(erasure.await.unwrap(), Err(Error::Restarted));
    gate.until_waiting(2).await;
    gate.inner.let_go();
    let ended = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it ends");
    assert_eq!(ended.unwrap(), Err(Error::ConversationErased));
    assert_eq!(erase(&runtime, "c").await, Err(Error::ConversationAbsent), "it was done");
}

#[tokio::test]
async fn an_erasure_that_the_disk_refuses_leaves_the_conversation_as_it_was() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "cancel order A-1001")).await.unwrap();
    gate.inner.fail_next(Fault::Full);
    assert_eq!(erase(&runtime, "c").await, Err(Error::DiskFull));
    assert_eq!(seq(&runtime.submit_turn(turn("c", "r-1", "yes")).await.unwrap()), 2);
    erase(&runtime, "c").await.unwrap();
}

#[tokio::test]
async fn a_repeated_erasure_that_names_the_conversation_leaves_the_next_one_alone() {
    let runtime = start(Gate::new()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let uid = runtime.describe(&key("c"), soon()).await.unwrap().uid;
    let named = || EraseConversation { uid: Some(uid), ..erasure("c", "erase") };
    assert_eq!(runtime.erase(named()).await.unwrap().uid, uid);
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    assert_eq!(runtime.erase(named()).await, Err(Error::ConversationAbsent));
    assert_eq!(seq(&runtime.submit_turn(turn("c", "r-1", "hello")).await.unwrap()), 2);
    let reused = runtime.erase(erasure("c", "r-1")).await;
    assert_eq!(reused, Err(Error::RequestIdReused), "a turn has that request id");
}

#[tokio::test]
async fn a_conversation_whose_flow_is_gone_can_be_erased() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let flowless = dependencies(gate.clone(), FlowCatalogue::new(), Arc::new(crate::Nowhere));
    let runtime = Runtime::start(RuntimeSettings::default(), flowless).await.unwrap();
    let described = runtime.describe(&key("c"), soon()).await;
    assert!(matches!(described, Err(Error::RevisionUnavailable { .. })), "{described:?}");
    erase(&runtime, "c").await.unwrap();
    assert_eq!(runtime.describe(&key("c"), soon()).await.map(|_| ()), Err(Error::ConversationAbsent));
    wait_for(|| gate.stats().leases == 0).await;
}

#[tokio::test]
async fn a_receipt_names_the_store_and_every_backup_that_is_known() {
    let gate = Gate::new();
    let backup = |taken_at, to: &str| KnownBackup { taken_at, to: to.to_owned() };
    let later = SystemClock.now().plus(Duration::from_secs(3600));
    // The second was begun before a clock was set back.
    let known = vec![backup(Timestamp::from_micros(1), "/backups/1"), backup(later, "/backups/2")];
    let expected = known.clone();
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    let list = move || match is_broken.load(std::sync::atomic::Ordering::Relaxed) {
        true => Err(std::io::Error::other("no such disk")),
        false => Ok(known.clone()),
    };
    let flows = FlowCatalogue::new();
    flows.insert(SHARED_TENANT, load_sources("the flow", sources()).expect("the flow is sound").flow);
    let mut dependencies = dependencies(gate.clone(), flows, Arc::new(crate::Nowhere));
    dependencies.store_facts = StoreFacts { uuid: Some([7; 16]), backups: Some(Arc::new(list)) };
    let runtime = Runtime::start(RuntimeSettings::default(), dependencies).await.unwrap();
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let receipt = erase(&runtime, "c").await.unwrap();
    assert_eq!(receipt.store, Some([7; 16]));
    assert_eq!(receipt.backups_not_covered, Some(expected));
    // An erasure that was done is told even so.
    broken.store(true, std::sync::atomic::Ordering::Relaxed);
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    assert_eq!(erase(&runtime, "c").await.unwrap().backups_not_covered, None);
}

#[tokio::test]
async fn compaction_can_be_asked_for_and_removes_what_was_erased() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let receipt = erase(&runtime, "c").await.unwrap();
    assert!(!gate.erasure(receipt.uid).await.unwrap().is_complete());
    let compacted = runtime.compact(soon()).await.unwrap();
    assert_eq!(compacted.bodies_erased, receipt.head.record_no.get() - 1);
    assert!(gate.erasure(receipt.uid).await.unwrap().is_complete());
}

/// A runtime whose janitor erases what `tenant` has left alone for `idle`.
async fn tidy(gate: &Arc<Gate>, tenant: &str, idle: Duration, per_second: u32) -> Runtime {
    let flows = FlowCatalogue::new();
    flows.insert(SHARED_TENANT, load_sources("the flow", sources()).expect("the flow is sound").flow);
    let mut dependencies = dependencies(gate.clone(), flows, Arc::new(crate::Nowhere));
    dependencies.idle.tenants.insert(tenant.to_owned(), idle);
    dependencies.idle.erasures_per_second = NonZeroU32::new(per_second).unwrap();
    Runtime::start(RuntimeSettings::default(), dependencies).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_janitor_erases_what_is_idle_no_faster_than_it_may() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    for n in 0..25 {
        runtime.submit_turn(turn(&format!("c-{n:02}"), "r-0", "hello")).await.unwrap();
    }
    let janitor = tidy(&gate, "acme", Duration::ZERO, 10).await;
    let left = async || gate.list("acme", None, 100).await.unwrap().len();
    assert_eq!(left().await, 25);
    for expected in [25, 15, 5, 0] {
        assert_eq!(left().await, expected);
        // Half a second beyond the janitor's next look.
        tokio::time::sleep(Duration::from_millis(if expected == 25 { 1500 } else { 1000 })).await;
    }
    let filter = TreeFilter { kind: Some(ActorKind::Janitor), tenant: None };
    assert_eq!(janitor.tree(&filter, None, 9, soon()).await.unwrap().rows[0].path, "root/janitor");
    let others = runtime.tree(&filter, None, 9, soon()).await.unwrap();
    let others: Vec<_> = others.rows.into_iter().map(|row| row.path).collect();
    assert_eq!(others, ["root/passivator", "root/timers"], "it has nothing to do there");
    let storage = &janitor.shared().metrics.storage;
    assert_eq!((storage.erasures_idle.get(), storage.janitor_looked.get()), (25, 25));
    assert!(storage.janitor_beat.get() > 1_700_000_000);
}

#[tokio::test(start_paused = true)]
async fn the_janitor_leaves_alone_what_is_used_and_what_is_anothers() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let others = tidy(&gate, "other-tenant", Duration::ZERO, 10).await;
    let young = tidy(&gate, "acme", Duration::from_secs(3600), 10).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(gate.list("acme", None, 100).await.unwrap().len(), 1);
    assert_eq!(young.shared().metrics.storage.janitor_looked.get(), 6, "a walk every ten minutes");
    assert_eq!(others.shared().metrics.storage.janitor_looked.get(), 0);
    // Between the janitor's look and the actor's something may happen.
    let updated = gate.list("acme", None, 1).await.unwrap().remove(0).updated_at;
    let since = Timestamp::from_micros(updated.as_micros() - 1);
    let (request_id, what) = (RequestId::parse("retention").unwrap(), Control::Erase(Erase::Idle { since }));
    let asked = control(runtime.shared(), &key("c"), request_id, erase_digest(None), what, soon()).await;
    assert!(matches!(asked, Err(Error::HistoryChanged { .. })), "{asked:?}");
}

#[tokio::test]
async fn a_conversation_keeps_its_subject_and_refuses_another() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    let about = |conversation: &str, n: u32, subject: Option<&str>| SubmitTurn {
        subject: subject.map(|subject| SubjectId::parse(subject).unwrap()),
        ..turn(conversation, &format!("r-{n}"), "hello")
    };
    runtime.submit_turn(about("c", 0, Some("ada"))).await.unwrap();
    runtime.submit_turn(about("nobody", 0, None)).await.unwrap();
    for n in 1..70 {
        // Named again or not named: it stays.
        runtime.submit_turn(about("c", n, (n % 2 == 0).then_some("ada"))).await.unwrap();
    }
    assert!(gate.open(&key("c")).await.unwrap().snapshot.is_some(), "also when a snapshot is opened");
    let runtime = start(gate.clone()).await;
    assert_eq!(runtime.submit_turn(about("c", 70, Some("bob"))).await.unwrap_err(), Error::WrongSubject);
    assert_eq!(runtime.submit_turn(about("nobody", 1, Some("ada"))).await.unwrap_err(), Error::WrongSubject);
    let subject = async |conversation: &str| {
        let described = runtime.describe(&key(conversation), soon()).await.unwrap();
        described.subject.map(|subject| subject.to_string())
    };
    assert_eq!(subject("c").await.as_deref(), Some("ada"));
    assert_eq!(subject("nobody").await, None);
    // Whoever comes next under the key may be someone else.
    erase(&runtime, "c").await.unwrap();
    runtime.submit_turn(about("c", 0, Some("bob"))).await.unwrap();
    assert_eq!(subject("c").await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn a_watch_is_ended_by_erasures_behind_its_opening_only() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let watches = &runtime.shared().watches;
    let mut subscription = watches.subscribe(&key("c")).unwrap();
    assert!(!subscription.renew(), "nothing was erased");
    // An actor found nothing under the key, and began a conversation, before the watch asked for it.
    watches.erased(&key("c"));
    assert!(subscription.renew() && !subscription.renew());
    let mut watch = Watcher::open(subscription, gate, TurnSeq::new(1), None, Head::default()).await.unwrap();
    assert!(matches!(watch.next().await, Ok(WatchEvent::Turn(_))));
    watches.erased(&key("c"));
    assert_eq!(watch.next().await.map(|_| ()), Err(Error::ConversationErased));
}
