//! Which conversations are in memory: who leaves when, and that nothing is lost by it.

mod failing;
mod racing;

use std::num::NonZeroUsize;

use super::*;
use crate::{PassivationPolicy, directory::ACTOR_BYTES};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn settings(passivation: PassivationPolicy) -> RuntimeSettings {
    RuntimeSettings { passivation, ..RuntimeSettings::default() }
}

/// Passivation by idleness after a minute.
fn idle() -> RuntimeSettings {
    settings(PassivationPolicy { idle_after: Duration::from_secs(60), ..PassivationPolicy::default() })
}

/// Room for ten.
fn room_for_ten() -> RuntimeSettings {
    settings(PassivationPolicy { active_max: NonZeroUsize::new(10).unwrap(), ..PassivationPolicy::default() })
}

fn is_active(runtime: &Runtime, conversation: &str) -> bool {
    runtime.shared().directory.get(&key(conversation)).is_some()
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn say(runtime: &Runtime, conversation: &str, request: &str) -> u64 {
    seq(&runtime.submit_turn(turn(conversation, request, "hello")).await.unwrap())
}

/// Sends a turn and does not wait for it.
fn sent(runtime: &Runtime, turn: SubmitTurn) -> tokio::task::JoinHandle<Result<TurnReply, Error>> {
    let runtime = runtime.clone();
    tokio::spawn(async move { runtime.submit_turn(turn).await })
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_leaves_and_what_is_used_stays() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), idle()).await;
    let shared = runtime.shared();
    for conversation in ["unused", "told", "asked"] {
        say(&runtime, conversation, "r-0").await;
    }
    for n in 1..=3 {
        seconds(40).await;
        say(&runtime, "told", &format!("r-{n}")).await;
        runtime.describe(&key("asked"), soon()).await.unwrap();
    }
    let active = ["unused", "told", "asked"].map(|conversation| is_active(&runtime, conversation));
    assert_eq!(active, [false, true, true]);
    seconds(59).await;
    assert!(is_active(&runtime, "told") && is_active(&runtime, "asked"));
    seconds(2).await;
    assert_eq!(runtime.stats().conversations_active, 0);
    assert_eq!((shared.directory.alive(), shared.directory.bytes()), (0, 0), "nothing of them is left");
    assert_eq!(gate.stats().leases, 0);
    assert_eq!(shared.metrics.residence.passivations_idle.get(), 3);
    assert_eq!(say(&runtime, "told", "r-9").await, 5, "it goes on where it stood");
}

#[tokio::test(start_paused = true)]
async fn a_conversation_in_which_a_turn_runs_or_waits_stays() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), idle()).await;
    say(&runtime, "c", "r-0").await;
    gate.inner.hold();
    let deadline = Instant::now() + Duration::from_secs(290);
    let running = sent(&runtime, SubmitTurn { deadline, ..turn("c", "r-1", "hello") });
    let waiting = sent(&runtime, SubmitTurn { deadline, ..turn("c", "r-2", "hello") });
    gate.until_waiting(1).await;
    let activation = || runtime.shared().directory.get(&key("c")).map(|handle| handle.info.activation());
    let before = activation();
    seconds(200).await;
    assert!(matches!(runtime.passivate(&key("c"), soon()).await, Err(Error::Busy { .. })));
    assert_eq!(activation(), before, "it is the same actor");
    gate.inner.let_go();
    assert_eq!((seq(&running.await.unwrap().unwrap()), seq(&waiting.await.unwrap().unwrap())), (2, 3));
    seconds(59).await;
    assert_eq!(activation(), before, "its time begins when its last turn has ended");
    seconds(2).await;
    assert_eq!(activation(), None);
}

#[tokio::test(start_paused = true)]
async fn above_the_watermark_the_least_recently_used_leave() {
    let runtime = start_with(Gate::new(), room_for_ten()).await;
    for n in 0..10 {
        say(&runtime, &format!("c-{n}"), "r-0").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The oldest three are used again.
    for n in 0..3 {
        runtime.describe(&key(&format!("c-{n}")), soon()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seconds(1).await;
    assert_eq!(runtime.stats().conversations_active, 10, "ten may stay");
    say(&runtime, "c-10", "r-0").await;
    seconds(1).await;
    let active: Vec<_> = (0..=10).filter(|n| is_active(&runtime, &format!("c-{n}"))).collect();
    assert_eq!(active, [0, 1, 2, 5, 6, 7, 8, 9, 10], "nine tenths, without those unused for longest");
    assert_eq!(runtime.shared().metrics.residence.passivations_watermark.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn above_the_watermark_of_bytes_the_least_recently_used_leave() {
    let memory_max = ACTOR_BYTES * 30;
    let runtime =
        start_with(Gate::new(), settings(PassivationPolicy { memory_max, ..PassivationPolicy::default() })).await;
    let all = || {
        let mut bytes = 0;
        runtime.shared().directory.each(|info| bytes += info.bytes());
        bytes
    };
    for n in 0..100 {
        say(&runtime, &format!("c-{n:02}"), "r-0").await;
        assert_eq!(runtime.stats().conversations_bytes, all());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    seconds(1).await;
    let stats = runtime.stats();
    assert!(stats.conversations_bytes <= memory_max && stats.conversations_active < 30, "{stats:?}");
    assert!(stats.conversations_active > 15, "no more leave than must: {stats:?}");
    assert!(is_active(&runtime, "c-99") && !is_active(&runtime, "c-00"));
}

#[tokio::test(start_paused = true)]
async fn a_hot_set_stays_while_many_others_pass_by() {
    let runtime = start_with(Gate::new(), room_for_ten()).await;
    let hot = ["hot-0", "hot-1", "hot-2"];
    for conversation in hot {
        say(&runtime, conversation, "r").await;
    }
    let activation =
        |conversation: &str| runtime.shared().directory.get(&key(conversation)).map(|handle| handle.info.activation());
    let before = hot.map(activation);
    for n in 0..2000 {
        say(&runtime, &format!("passing-{n}"), "r").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        runtime.describe(&key(hot[n % 3]), soon()).await.unwrap();
    }
    assert_eq!(hot.map(activation), before, "they were never read anew");
    let active = runtime.stats().conversations_active;
    assert!(active <= 10 + 5, "what is activated between two looks is all that is above the mark: {active}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_while_its_conversation_rests() {
    let runtime = start_with(Gate::new(), idle()).await;
    say(&runtime, "c", "r-0").await;
    let mut watch = runtime.watch(&key("c"), TurnSeq::new(2), None, soon()).await.unwrap();
    seconds(61).await;
    assert!(!is_active(&runtime, "c"), "a watch keeps nothing in memory");
    say(&runtime, "c", "r-1").await;
    assert!(runtime.passivate(&key("c"), soon()).await.unwrap());
    say(&runtime, "c", "r-2").await;
    for expected in [2, 3] {
        let WatchEvent::Turn(turn) = watch.next().await.unwrap() else { panic!("no turn") };
        assert_eq!(turn.head.turn_seq.get(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_remembered_through_a_rest() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), idle()).await;
    for n in 0..40 {
        say(&runtime, "c", &format!("r-{n}")).await;
    }
    seconds(61).await;
    assert!(!is_active(&runtime, "c"));
    for n in [0, 31, 32, 39] {
        let again = runtime.submit_turn(turn("c", &format!("r-{n}"), "hello")).await.unwrap();
        assert_eq!((seq(&again), again.replayed), (n + 1, true));
    }
    let other = runtime.submit_turn(turn("c", "r-7", "something else")).await;
    assert_eq!(other.unwrap_err(), Error::RequestIdReused);
    assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 40);
}

#[tokio::test(start_paused = true)]
async fn an_operator_puts_a_conversation_to_rest() {
    let runtime = start(Gate::new()).await;
    assert_eq!(runtime.passivate(&key("c"), soon()).await, Ok(false), "it is not in memory");
    assert_eq!(runtime.stats().conversations_active, 0, "asking does not bring it there");
    say(&runtime, "c", "r-0").await;
    assert_eq!(runtime.passivate(&key("c"), soon()).await, Ok(true));
    assert!(!is_active(&runtime, "c"));
    assert_eq!(say(&runtime, "c", "r-1").await, 2);
    assert_eq!(runtime.shared().metrics.residence.passivations_asked.get(), 1);
}

#[tokio::test]
async fn no_more_conversations_are_opened_at_once_than_may_be_and_all_are() {
    let gate = Gate::new();
    let activations_max = NonZeroUsize::new(4).unwrap();
    let runtime = start_with(gate.clone(), RuntimeSettings { activations_max, ..RuntimeSettings::default() }).await;
    gate.inner.hold();
    let calls: Vec<_> = (0..40).map(|n| sent(&runtime, turn(&format!("c-{n}"), "r-0", "hello"))).collect();
    wait_for(|| runtime.stats().activations_waiting == 36).await;
    assert_eq!((gate.inner.held(), runtime.stats().activations_running), (4, 4));
    gate.inner.let_go();
    for call in calls {
        assert_eq!(seq(&call.await.unwrap().unwrap()), 1);
    }
    assert_eq!((runtime.stats().activations_waiting, runtime.stats().activations_running), (0, 0));
    assert!(gate.opened_at_once() <= 4, "{}", gate.opened_at_once());
}

#[tokio::test(start_paused = true)]
async fn an_activation_that_waits_in_vain_is_refused_with_a_hint_and_tried_again() {
    let gate = Gate::new();
    let runtime_settings = RuntimeSettings {
        activations_max: NonZeroUsize::MIN,
        activation_deadline: Duration::from_secs(2),
        ..RuntimeSettings::default()
    };
    let runtime = start_with(gate.clone(), runtime_settings).await;
    gate.stalled.store(true, std::sync::atomic::Ordering::Relaxed);
    let first = sent(&runtime, turn("c-1", "r-0", "hello"));
    wait_for(|| runtime.stats().activations_running == 1).await;
    let second = sent(&runtime, turn("c-2", "r-0", "hello"));
    assert_eq!(first.await.unwrap().unwrap_err(), Error::StoreUnavailable);
    let refused = second.await.unwrap();
    assert!(
        matches!(
            refused,
            Err(Error::Overloaded { limit: crate::LimitKind::Activations, bound: 1, .. })
                | Err(Error::StoreUnavailable)
        ),
        "{refused:?}"
    );
    gate.stalled.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!((say(&runtime, "c-1", "r-0").await, say(&runtime, "c-2", "r-0").await), (1, 1));
}

/// What is said with each turn, to make records longer.
fn long_turn(conversation: &str, request: &str) -> SubmitTurn {
    turn(conversation, request, &"I want to cancel order A-1234. ".repeat(300))
}

#[tokio::test(start_paused = true)]
async fn a_conversation_leaves_a_snapshot_where_its_next_activation_gains_by_it() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), idle()).await;
    let snapshots = || runtime.shared().metrics.residence.snapshots.get();
    say(&runtime, "short", "r-0").await;
    for n in 0..8 {
        runtime.submit_turn(long_turn("long", &format!("r-{n}"))).await.unwrap();
    }
    seconds(62).await;
    assert_eq!((runtime.stats().conversations_active, snapshots()), (0, 1), "one of a single turn leaves none");
    let opened = gate.open(&key("long")).await.unwrap();
    assert_eq!((opened.snapshot.is_some(), opened.tail.len()), (true, 0));
    gate.release(&opened.lease);
    // Nothing was said since: it is not written again.
    runtime.describe(&key("long"), soon()).await.unwrap();
    seconds(62).await;
    assert_eq!((runtime.stats().conversations_active, snapshots()), (0, 1));
    let again = runtime.submit_turn(long_turn("long", "r-3")).await.unwrap();
    assert_eq!((seq(&again), again.replayed), (4, true), "the snapshot remembers requests");
    assert_eq!(say(&runtime, "long", "r-8").await, 9);
    assert_eq!(gate.verify(&key("long")).await.unwrap().turns, 9);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_while_the_snapshot_is_written_is_answered_and_keeps_it_in_memory() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), idle()).await;
    for n in 0..8 {
        runtime.submit_turn(long_turn("c", &format!("r-{n}"))).await.unwrap();
    }
    let activation = || runtime.shared().directory.get(&key("c")).map(|handle| handle.info.activation());
    let before = activation();
    gate.inner.hold();
    seconds(61).await;
    gate.until_waiting(1).await;
    let reject = SubmitTurn { busy: Some(BusyPolicy::Reject), ..turn("c", "r-8", "hello") };
    let call = sent(&runtime, reject);
    wait_for(|| runtime.stats().in_flight == 1).await;
    gate.inner.let_go();
    assert_eq!(seq(&call.await.unwrap().unwrap()), 9);
    assert_eq!(activation(), before, "it stayed");
    let residence = &runtime.shared().metrics.residence;
    assert_eq!((residence.snapshots.get(), residence.passivations_idle.get()), (1, 0));
    seconds(62).await;
    assert_eq!(activation(), None, "it is asked again");
    assert_eq!((residence.snapshots.get(), residence.passivations_idle.get()), (1, 1), "one turn is not worth another");
}
