//! What the tree promises, on the memory engine: one turn at a time, one ending per request id, whatever dies.

mod admitting;
mod busy;
mod ending_early;
mod erasing;
mod following;
mod forking;
mod gate;
mod history;
mod operating;
mod outside;
mod pausing;
mod pipelining;
mod promises;
mod residence;
mod stalls;
mod timers;

use std::{sync::Arc, time::Duration};

use colloquy_author::load_sources;
use colloquy_store::{ConversationStore, MemoryStore};
use colloquy_telemetry::Metrics;
use colloquy_turn::InputKind;
use colloquy_types::{
    ConversationKey, FlowName, Head, RequestId, SHARED_TENANT, SystemClock, SystemEntropy, TenantId, TurnSeq,
};
use tokio::time::Instant;

use self::gate::Gate;
use crate::{
    BusyPolicy, Dependencies, Ending, Error, FlowCatalogue, IdleRetention, Limits, Outside, ResetConversation, Runtime,
    RuntimeSettings, StoreFacts, SubmitTurn, TurnEvent, TurnReply, WatchEvent, flows::tests::Tools,
};

const FLOW: &str = include_str!("../../src/server/flows/order-desk/flow.yaml");
const RESPONSES: &str = include_str!("../../src/server/flows/order-desk/responses.yaml");

async fn start_with(store: Arc<dyn ConversationStore>, settings: RuntimeSettings) -> Runtime {
    start_in(store, settings, sources(), Arc::new(crate::Nowhere)).await
}

fn sources() -> Vec<(String, String)> {
    vec![("flow.yaml".to_owned(), FLOW.to_owned()), ("responses.yaml".to_owned(), RESPONSES.to_owned())]
}

async fn start_in(
    store: Arc<dyn ConversationStore>,
    settings: RuntimeSettings,
    sources: Vec<(String, String)>,
    outside: Arc<dyn Outside>,
) -> Runtime {
    let flows = FlowCatalogue::new();
    flows.insert(SHARED_TENANT, load_sources("the flow", sources).expect("the flow is sound").flow);
    Runtime::start(settings, dependencies(store, flows, outside)).await.unwrap()
}

fn dependencies(store: Arc<dyn ConversationStore>, flows: FlowCatalogue, outside: Arc<dyn Outside>) -> Dependencies {
    Dependencies {
        store,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        flows,
        author: Arc::new(Tools),
        metrics: Arc::new(Metrics::default()),
        outside,
        store_facts: StoreFacts::default(),
        idle: IdleRetention::default(),
    }
}

async fn start(store: Arc<dyn ConversationStore>) -> Runtime {
    start_with(store, RuntimeSettings::default()).await
}

fn key(conversation: &str) -> ConversationKey {
    ConversationKey::from_parts("acme", conversation).unwrap()
}

fn turn(conversation: &str, request_id: &str, text: &str) -> SubmitTurn {
    SubmitTurn {
        key: key(conversation),
        request_id: RequestId::parse(request_id).unwrap(),
        flow: Some(FlowName::parse("order-desk").unwrap()),
        subject: None,
        input: InputKind::Text,
        text: text.to_owned(),
        expected_seq: None,
        busy: None,
        deadline: Instant::now() + Duration::from_secs(10),
        trace: None,
    }
}

fn seq(reply: &TurnReply) -> u64 {
    match &reply.ending {
        Ending::Committed(turn) => turn.head.turn_seq.get(),
        other => panic!("not committed: {other:?}"),
    }
}

async fn wait_for(what: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while !what() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it comes true");
}

/// Waits until the conversation's killed actor was replaced.
async fn restarted(runtime: &Runtime, conversation: &str) {
    wait_for(|| runtime.shared().directory.get(&key(conversation)).is_some_and(|now| now.info.restarts == 1)).await;
}

/// CE-012: one active worker per conversation.
#[tokio::test]
async fn many_callers_of_one_conversation_get_gapless_turns() {
    let runtime = start(Gate::new()).await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..256 {
        let runtime = runtime.clone();
        calls.spawn(async move { seq(&runtime.submit_turn(turn("c", &format!("r-{n}"), "hello")).await.unwrap()) });
    }
    let mut seqs = calls.join_all().await;
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=256).collect::<Vec<_>>());
}

#[tokio::test]
async fn duplicate_turn_returns_the_first_reply() {
    let runtime = start(Gate::new()).await;
    let first = runtime.submit_turn(turn("c", "r-1", "cancel order A-1001")).await.unwrap();
    let again = runtime.submit_turn(turn("c", "r-1", "cancel order A-1001")).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    let (Ending::Committed(first), Ending::Committed(again)) = (first.ending, again.ending) else { panic!("closed") };
    assert_eq!(first, again);
    let other = runtime.submit_turn(turn("c", "r-1", "something else")).await;
    assert_eq!(other.unwrap_err(), Error::RequestIdReused);
}

#[tokio::test]
async fn a_duplicate_of_a_running_turn_attaches_to_it() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.hold();
    let submit = || {
        tokio::spawn({
            let runtime = runtime.clone();
            async move { runtime.submit_turn(turn("c", "r-1", "hello")).await }
        })
    };
    let (first, second) = (submit(), submit());
    gate.until_waiting(1).await;
    let in_flight = || runtime.stats().in_flight == 2;
    wait_for(in_flight).await;
    gate.inner.let_go();
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!((seq(&first), seq(&second)), (2, 2));
    assert_eq!(first.replayed as u8 + second.replayed as u8, 1);
}

#[tokio::test]
async fn an_actor_killed_with_an_append_queued_commits_once() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.hold();
    let call = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.submit_turn(turn("c", "r-1", "cancel order A-1001")).await }
    });
    gate.until_waiting(1).await;
    runtime.shared().directory.get(&key("c")).unwrap().actor.kill();
    assert_eq!(call.await.unwrap().unwrap_err(), Error::Restarted);
    restarted(&runtime, "c").await;
    let again = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.submit_turn(turn("c", "r-1", "cancel order A-1001")).await }
    });
    // The next activation's open waits behind the append.
    gate.until_waiting(2).await;
    gate.inner.let_go();
    let again = again.await.unwrap().unwrap();
    assert_eq!((seq(&again), again.replayed), (2, true), "the queued append was committed, and only that");
    let turns = runtime.turns(&key("c"), TurnSeq::new(1), 100, Instant::now() + Duration::from_secs(5)).await.unwrap();
    assert_eq!(turns.len(), 2);
    assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 2);
}

/// BO-11: recovery paths.
#[tokio::test]
async fn a_panic_in_one_turn_restarts_that_conversation_and_no_other() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    for conversation in ["poisoned", "other"] {
        runtime.submit_turn(turn(conversation, "r-0", "cancel order A-1001")).await.unwrap();
    }
    let activation = |conversation: &str| {
        let handle = runtime.shared().directory.get(&key(conversation));
        handle.and_then(|handle| handle.info.lease().cloned()).map(|lease| lease.activation)
    };
    let (poisoned, other) = (activation("poisoned"), activation("other"));
    *gate.panics.lock().unwrap() = Some(key("poisoned"));
    let failed = runtime.submit_turn(turn("poisoned", "r-1", "yes")).await;
    assert_eq!(failed.unwrap_err(), Error::Restarted);
    wait_for(|| activation("poisoned").is_some_and(|now| Some(now) > poisoned)).await;
    assert_eq!(activation("other"), other, "the other conversation's actor lives on");
    let again = runtime.submit_turn(turn("poisoned", "r-1", "yes")).await.unwrap();
    assert_eq!((seq(&again), again.replayed), (2, false));
    let Ending::Committed(turn) = again.ending else { panic!("closed") };
    assert_eq!((&*turn.record.intent, &*turn.record.state), ("cancel", "done"), "it saw the state before the panic");
    let handle = runtime.shared().directory.get(&key("poisoned")).unwrap();
    assert_eq!(handle.info.restarts, 1);
}

#[tokio::test]
async fn an_accepted_turn_is_ended_by_the_next_activation() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let mut stream = runtime.stream_turn(turn("c", "r-1", "cancel order A-1001"), None).unwrap();
    // The accepted record passes; the turn's own record is held.
    let accepted = stream.event().await;
    assert!(matches!(accepted, Some((_, TurnEvent::Accepted { attempt: 1, .. }))), "{accepted:?}");
    let handle = runtime.shared().directory.get(&key("c")).unwrap();
    handle.actor.kill();
    drop(stream);
    restarted(&runtime, "c").await;
    let again = runtime.submit_turn(turn("c", "r-1", "cancel order A-1001")).await.unwrap();
    assert_eq!((seq(&again), again.replayed), (2, true));
    assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 2);
}

#[tokio::test]
async fn a_structured_turn_is_journalled_as_such_and_resumed_as_such() {
    let runtime = start(Gate::new()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let said = r#"{"intent":"cancel","slots":{"order_number":"A-1001"}}"#;
    let structured = || SubmitTurn { input: InputKind::Json, ..turn("c", "r-1", said) };
    let mut stream = runtime.stream_turn(structured(), None).unwrap();
    let accepted = stream.event().await;
    assert!(matches!(accepted, Some((_, TurnEvent::Accepted { .. }))), "{accepted:?}");
    runtime.shared().directory.get(&key("c")).unwrap().actor.kill();
    drop(stream);
    restarted(&runtime, "c").await;
    let again = runtime.submit_turn(structured()).await.unwrap();
    let Ending::Committed(committed) = again.ending else { panic!("closed") };
    assert_eq!((committed.record.input, committed.record.text.as_str()), (InputKind::Json, said));
    assert_eq!((&*committed.record.intent, &*committed.record.state), ("cancel", "confirm"));
    let as_text = runtime.submit_turn(turn("c", "r-1", said)).await;
    assert_eq!(as_text.unwrap_err(), Error::RequestIdReused);
}

#[tokio::test]
async fn an_accepted_turn_whose_deadline_is_gone_is_closed_with_the_fallback() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.hold();
    let deadline = Instant::now() + Duration::from_millis(20);
    let stream = runtime.stream_turn(SubmitTurn { deadline, ..turn("c", "r-1", "hello") }, None).unwrap();
    gate.until_waiting(1).await;
    let handle = runtime.shared().directory.get(&key("c")).unwrap();
    assert!(matches!(stream.ending().await, Err(Error::DeadlineExceeded { .. })));
    handle.actor.kill();
    restarted(&runtime, "c").await;
    gate.inner.let_go();
    let again = runtime.submit_turn(turn("c", "r-1", "hello")).await.unwrap();
    let Ending::Closed { record, .. } = &again.ending else { panic!("not closed: {again:?}") };
    assert!(again.replayed && !record.reply_text.is_empty());
    let next = runtime.submit_turn(turn("c", "r-2", "hello")).await.unwrap();
    assert_eq!(seq(&next), 2, "a closed turn takes no number");
}

#[tokio::test]
async fn a_wrong_expected_seq_is_refused_with_the_head() {
    let runtime = start(Gate::new()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let expected_seq = Some(TurnSeq::new(5));
    let refused = runtime.submit_turn(SubmitTurn { expected_seq, ..turn("c", "r-1", "hello") }).await.unwrap_err();
    assert!(matches!(refused, Error::SeqMismatch { head } if head.turn_seq == TurnSeq::new(1)));
}

/// CE-002: 64 parallel writers, one wins, the others get the head.
#[tokio::test]
async fn of_parallel_writers_with_the_same_expected_seq_one_wins() {
    let runtime = start(Gate::new()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..64 {
        let runtime = runtime.clone();
        let expected_seq = Some(TurnSeq::new(1));
        calls.spawn(async move {
            runtime.submit_turn(SubmitTurn { expected_seq, ..turn("c", &format!("w-{n}"), "hello") }).await
        });
    }
    let results = calls.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let conflicts = results.iter().filter(|result| matches!(result, Err(Error::SeqMismatch { .. }))).count();
    assert_eq!(conflicts, 63);
}

#[tokio::test]
async fn a_full_queue_is_refused_with_a_hint_and_forgets_nothing() {
    let gate = Gate::new();
    let queue_len_max = std::num::NonZeroUsize::new(3).unwrap();
    let settings = RuntimeSettings { limits: Limits { queue_len_max, ..Limits::default() }, ..Default::default() };
    let runtime = start_with(gate.clone(), settings).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.hold();
    let calls: Vec<_> = (1..=3)
        .map(|n| {
            let runtime = runtime.clone();
            tokio::spawn(async move { runtime.submit_turn(turn("c", &format!("r-{n}"), "hello")).await })
        })
        .collect();
    wait_for(|| runtime.stats().in_flight == 3).await;
    let refused = runtime.submit_turn(turn("c", "r-4", "hello")).await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded { bound: 3, .. }), "{refused:?}");
    gate.inner.let_go();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(runtime.stats().in_flight, 0);
}

#[tokio::test]
async fn a_busy_conversation_rejects_when_asked_to() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.hold();
    let running = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.submit_turn(turn("c", "r-1", "hello")).await }
    });
    gate.until_waiting(1).await;
    let refused = runtime.submit_turn(SubmitTurn { busy: Some(BusyPolicy::Reject), ..turn("c", "r-2", "hello") }).await;
    assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
    gate.inner.let_go();
    assert_eq!(seq(&running.await.unwrap().unwrap()), 2);
}

#[tokio::test]
async fn a_reset_clears_the_state_once_and_the_sequence_goes_on() {
    let runtime = start(Gate::new()).await;
    runtime.submit_turn(turn("c", "r-0", "cancel order A-1001")).await.unwrap();
    let reset = || ResetConversation {
        key: key("c"),
        request_id: RequestId::parse("reset").unwrap(),
        reason: "test".to_owned(),
        expected_seq: None,
        deadline: Instant::now() + Duration::from_secs(5),
    };
    assert!(!runtime.reset(reset()).await.unwrap().replayed);
    assert!(runtime.reset(reset()).await.unwrap().replayed);
    let described = runtime.describe(&key("c"), Instant::now() + Duration::from_secs(5)).await.unwrap();
    assert_eq!((described.state.intent(), described.state.state()), ("desk", "idle"));
    assert!(described.state.pending().is_empty() && described.state.slots().is_empty());
    assert_eq!(seq(&runtime.submit_turn(turn("c", "r-1", "hello")).await.unwrap()), 2);
}

/// SO-07: state survives the round trip through the store.
#[tokio::test]
async fn a_snapshot_and_its_tail_give_the_same_state_and_memory_of_requests() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    for n in 0..100 {
        let text = ["cancel order A-1001", "no", "where is order B-2345?"][n % 3];
        runtime.submit_turn(turn("c", &format!("r-{n}"), text)).await.unwrap();
    }
    let deadline = || Instant::now() + Duration::from_secs(5);
    let before = runtime.describe(&key("c"), deadline()).await.unwrap();
    let opened = gate.open(&key("c")).await.unwrap();
    assert!(opened.snapshot.is_some() && opened.tail.len() < 100, "a snapshot was due");
    let fresh = start(gate.clone()).await;
    let after = fresh.describe(&key("c"), deadline()).await.unwrap();
    assert_eq!((before.state, before.head), (after.state, after.head));
    for n in [0, 50, 99] {
        let text = ["cancel order A-1001", "no", "where is order B-2345?"][n % 3];
        let again = fresh.submit_turn(turn("c", &format!("r-{n}"), text)).await.unwrap();
        assert_eq!((seq(&again), again.replayed), (n as u64 + 1, true));
    }
}

#[tokio::test]
async fn a_watch_goes_on_through_a_kill() {
    let runtime = start(Gate::new()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut watch = runtime.watch(&key("c"), TurnSeq::new(1), None, deadline).await.unwrap();
    let next = async |watch: &mut crate::Watcher| match watch.next().await.unwrap() {
        WatchEvent::Turn(turn) => turn.head.turn_seq.get(),
        WatchEvent::Reset => panic!("no reset"),
    };
    assert_eq!(next(&mut watch).await, 1);
    runtime.shared().directory.get(&key("c")).unwrap().actor.kill();
    restarted(&runtime, "c").await;
    runtime.submit_turn(turn("c", "r-1", "hello")).await.unwrap();
    assert_eq!(next(&mut watch).await, 2);
    drop(watch);
    assert_eq!(runtime.stats().watchers, 0);
}

#[tokio::test]
async fn draining_refuses_new_turns_and_ends_running_ones() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap();
    gate.inner.hold();
    let running = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.submit_turn(turn("c", "r-1", "hello")).await }
    });
    gate.until_waiting(1).await;
    let draining = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.drain(Instant::now() + Duration::from_secs(10)).await }
    });
    wait_for(|| runtime.stats().draining).await;
    assert_eq!(runtime.submit_turn(turn("c", "r-2", "hello")).await.unwrap_err(), Error::Draining);
    gate.inner.let_go();
    assert_eq!(seq(&running.await.unwrap().unwrap()), 2);
    draining.await.unwrap();
}

#[tokio::test]
async fn asking_for_an_absent_conversation_leaves_no_actor_behind() {
    let runtime = start(Gate::new()).await;
    let refused = runtime.submit_turn(SubmitTurn { flow: None, ..turn("c", "r-0", "hello") }).await;
    assert_eq!(refused.unwrap_err(), Error::ConversationAbsent);
    let described = runtime.describe(&key("d"), Instant::now() + Duration::from_secs(5)).await;
    assert_eq!(described.unwrap_err(), Error::ConversationAbsent);
    wait_for(|| runtime.stats().conversations_active == 0).await;
    assert_eq!(seq(&runtime.submit_turn(turn("c", "r-0", "hello")).await.unwrap()), 1);
}
