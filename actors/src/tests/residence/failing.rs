//! Conversations that fail again and again: paused, quarantined, listed and released, and how little that costs others.

use colloquy_store::{Batch, RecordKind};
use colloquy_types::Timestamp;

use super::*;
use crate::{EraseConversation, FailureCause, QuarantinePage, RestartPolicies, RestartPolicy};

/// Three restarts in ten seconds, after pauses of 0 ms, 100 ms and 200 ms.
fn strict() -> RuntimeSettings {
    let conversation = RestartPolicy {
        restarts_max: 3,
        window: Duration::from_secs(10),
        pause: Duration::from_millis(100),
        pause_max: Duration::from_secs(1),
    };
    RuntimeSettings {
        restart: RestartPolicies { conversation, ..RestartPolicies::default() },
        ..RuntimeSettings::default()
    }
}

fn reasons(page: &QuarantinePage) -> Vec<(String, String)> {
    page.rows.iter().map(|row| (row.key.to_string(), row.to_string())).collect()
}

/// Calls without a pause for a while; how they ended.
async fn call_for(runtime: &Runtime, conversation: &str, time: Duration) -> Vec<Error> {
    let (end, mut errors, mut n) = (Instant::now() + time, Vec::new(), 0);
    while Instant::now() < end {
        n += 1;
        errors.extend(runtime.submit_turn(turn(conversation, &format!("n-{n}"), "hello")).await.err());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    errors
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_history_is_quarantined_and_opened_no_more_often_than_the_policy_says() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), strict()).await;
    say(&runtime, "c", "r-0").await;
    say(&runtime, "other", "r-0").await;
    assert!(runtime.passivate(&key("c"), soon()).await.unwrap());
    *gate.poisoned.lock().unwrap() = Some(key("c"));
    let opens = gate.opens();
    let errors = call_for(&runtime, "c", Duration::from_secs(5)).await;
    assert_eq!(gate.opens() - opens, 4, "once, and three restarts");
    assert!(errors.len() > 1000, "{}", errors.len());
    let first = errors.iter().position(|error| matches!(error, Error::Quarantined(_))).expect("it is quarantined");
    assert!(errors[..first].iter().all(|error| *error == Error::Restarted), "{:?}", &errors[..first]);
    assert!(errors[first..].iter().all(|error| matches!(error, Error::Quarantined(_))));
    let page = runtime.quarantined(None, None, 10);
    let why = "it failed 4 times within 10s; at last it panicked while it read its history";
    assert_eq!(reasons(&page), [("acme/c".to_owned(), why.to_owned())]);
    assert_eq!((page.rows[0].cause, page.total, page.next), (FailureCause::PanicAtActivation, 1, None));
    assert!(runtime.quarantined(Some("elsewhere"), None, 10).rows.is_empty());
    assert_eq!(runtime.shared().directory.alive(), 1, "nothing of it is left in memory");
    // What reads the store alone still answers, and others notice nothing.
    assert_eq!(runtime.turns(&key("c"), TurnSeq::new(1), 9, soon()).await.unwrap().len(), 1);
    assert_eq!(say(&runtime, "other", "r-1").await, 2);
    // Time does not release it, and nothing opens it.
    seconds(3600).await;
    assert!(matches!(runtime.describe(&key("c"), soon()).await, Err(Error::Quarantined(_))));
    let residence = &runtime.shared().metrics.residence;
    assert_eq!((runtime.stats().quarantined, residence.quarantines.get()), (1, 1));
}

/// Puts a record behind a conversation's history that nothing can decode.
async fn damage(gate: &Gate, conversation: &str) {
    let opened = gate.inner.open(&key(conversation)).await.unwrap();
    let mut batch = Batch::new(&opened.lease, &opened.head);
    batch.push(RecordKind::Turn, Timestamp::from_micros(1), [7; 16], b"no turn").unwrap();
    let (done, written) = tokio::sync::oneshot::channel();
    gate.inner.append(&opened.lease, batch, Box::new(|result| drop(done.send(result))));
    written.await.unwrap().unwrap();
    gate.inner.release(&opened.lease);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_read_is_opened_no_more_often_than_the_policy_says() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), strict()).await;
    say(&runtime, "c", "r-0").await;
    say(&runtime, "other", "r-0").await;
    assert!(runtime.passivate(&key("c"), soon()).await.unwrap());
    damage(&gate, "c").await;
    let opens = gate.opens();
    let errors = call_for(&runtime, "c", Duration::from_secs(5)).await;
    assert_eq!(gate.opens() - opens, 4, "once, and three times more");
    assert!(errors.len() > 1000, "{}", errors.len());
    let first = errors.iter().position(|error| matches!(error, Error::Quarantined(_))).expect("it is quarantined");
    let is_damage = |error: &Error| matches!(error, Error::Corrupt { reason } if reason.starts_with("record 3"));
    assert!(errors[..first].iter().all(is_damage), "{:?}", &errors[..first.min(9)]);
    assert!(errors[first..].iter().all(|error| matches!(error, Error::Quarantined(_))));
    let page = runtime.quarantined(None, None, 10);
    let why = "it failed 4 times within 10s; at last it could not read its history";
    assert_eq!(reasons(&page), [("acme/c".to_owned(), why.to_owned())]);
    assert_eq!(page.rows[0].cause, FailureCause::UnreadableHistory);
    assert_eq!(runtime.shared().metrics.residence.quarantines.get(), 1);
    assert_eq!(say(&runtime, "other", "r-1").await, 2);
    // Released, it is tried as often again and no more.
    assert!(runtime.release(&key("c")));
    let opens = gate.opens();
    call_for(&runtime, "c", Duration::from_secs(5)).await;
    assert_eq!((gate.opens() - opens, runtime.stats().quarantined), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_read_can_be_erased_also_while_it_is_quarantined() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), strict()).await;
    for calls in [Duration::ZERO, Duration::from_millis(50), Duration::from_secs(5)] {
        say(&runtime, "c", "r-0").await;
        assert!(runtime.passivate(&key("c"), soon()).await.unwrap());
        damage(&gate, "c").await;
        call_for(&runtime, "c", calls).await;
        let is_held = calls > Duration::from_secs(1);
        assert_eq!(runtime.stats().quarantined, usize::from(is_held));
        let request_id = RequestId::parse("erase").unwrap();
        let erasure = EraseConversation { key: key("c"), request_id, uid: None, deadline: soon() };
        runtime.erase(erasure).await.unwrap();
        assert_eq!(runtime.stats().quarantined, 0);
        assert_eq!(say(&runtime, "c", "r-1").await, 1, "the key is free, and nothing keeps callers from it");
        assert!(
            runtime
                .inspect(&format!("root/conversations/{:02}/acme/c", crate::shard::of(&key("c"))))
                .await
                .unwrap()
                .failures
                .is_none(),
            "its failures went with it"
        );
        runtime
            .erase(EraseConversation {
                key: key("c"),
                request_id: RequestId::parse("again").unwrap(),
                uid: None,
                deadline: soon(),
            })
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_conversation_is_started_by_the_next_call_and_counted_anew() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), strict()).await;
    say(&runtime, "c", "r-0").await;
    assert!(runtime.passivate(&key("c"), soon()).await.unwrap());
    *gate.poisoned.lock().unwrap() = Some(key("c"));
    call_for(&runtime, "c", Duration::from_secs(2)).await;
    assert!(!runtime.release(&key("other")));
    assert!(runtime.release(&key("c")));
    let opens = gate.opens();
    call_for(&runtime, "c", Duration::from_secs(2)).await;
    assert_eq!(gate.opens() - opens, 4, "it is still poisoned");
    *gate.poisoned.lock().unwrap() = None;
    assert!(runtime.release(&key("c")) && !runtime.release(&key("c")));
    assert_eq!(say(&runtime, "c", "r-1").await, 2);
    assert_eq!(runtime.quarantined(None, None, 10).total, 0);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_a_conversation_that_recovers_is_forgiven() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), strict()).await;
    say(&runtime, "c", "r-0").await;
    let begin = Instant::now();
    for pause in [0, 100, 200] {
        let opens = gate.opens();
        let killed = Instant::now();
        runtime.shared().directory.get(&key("c")).unwrap().actor.kill();
        wait_for_time(|| gate.opens() > opens).await;
        let after = killed.elapsed().as_millis();
        assert!((pause..pause + 20).contains(&after), "{after} ms, not {pause}");
        assert_eq!(runtime.describe(&key("c"), soon()).await.unwrap().head.turn_seq.get(), 1);
    }
    tokio::time::sleep_until(begin + Duration::from_secs(20)).await;
    let opens = gate.opens();
    let killed = Instant::now();
    runtime.shared().directory.get(&key("c")).unwrap().actor.kill();
    wait_for_time(|| gate.opens() > opens).await;
    assert!(killed.elapsed() < Duration::from_millis(20), "{:?}", killed.elapsed());
    assert_eq!(say(&runtime, "c", "r-1").await, 2, "what failed that long ago does not count");
}

#[tokio::test(start_paused = true)]
async fn panics_in_turns_and_kills_count_alike() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), strict()).await;
    say(&runtime, "c", "r-0").await;
    for n in 0..4 {
        *gate.panics.lock().unwrap() = Some(key("c"));
        assert_eq!(runtime.submit_turn(turn("c", &format!("p-{n}"), "hello")).await.unwrap_err(), Error::Restarted);
        seconds(1).await;
    }
    let why = "it failed 4 times within 10s; at last it panicked";
    assert_eq!(reasons(&runtime.quarantined(Some("acme"), None, 1))[0].1, why);
    assert!(runtime.release(&key("c")));
    assert_eq!(say(&runtime, "c", "r-1").await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_quarantines_nothing() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), strict()).await;
    gate.stalled.store(true, std::sync::atomic::Ordering::Relaxed);
    for n in 0..20 {
        let call = SubmitTurn { deadline: soon() + Duration::from_secs(60), ..turn("c", &format!("r-{n}"), "hello") };
        assert_eq!(runtime.submit_turn(call).await.unwrap_err(), Error::StoreUnavailable);
    }
    gate.stalled.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(say(&runtime, "c", "r-20").await, 1);
    assert_eq!(runtime.quarantined(None, None, 1).total, 0);
}

#[tokio::test(start_paused = true)]
async fn an_actor_killed_while_it_is_activated_is_started_anew() {
    let gate = Gate::new();
    let runtime = start_with(gate.clone(), strict()).await;
    gate.inner.hold();
    let call = sent(&runtime, turn("c", "r-0", "hello"));
    gate.until_waiting(1).await;
    runtime.shared().directory.get(&key("c")).unwrap().actor.kill();
    assert_eq!(call.await.unwrap().unwrap_err(), Error::Restarted);
    gate.inner.let_go();
    wait_for_time(|| runtime.shared().directory.get(&key("c")).is_some_and(|now| now.info.restarts == 1)).await;
    assert_eq!(say(&runtime, "c", "r-0").await, 1);
    assert_eq!(runtime.shared().directory.alive(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_fails_is_started_anew_and_its_conversations_with_the_next_call() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    say(&runtime, "c", "r-0").await;
    let number = crate::shard::of(&key("c"));
    for turn in 2..5 {
        runtime.shared().shard(number).unwrap().kill();
        wait_for_time(|| runtime.shared().directory.get(&key("c")).is_none()).await;
        wait_for_time(|| runtime.shared().shard(number).is_some()).await;
        assert_eq!(say(&runtime, "c", &format!("r-{turn}")).await, turn);
        assert_eq!(runtime.shared().directory.alive(), 1);
    }
    assert!(runtime.stats().unwell.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_fails_again_and_again_makes_the_process_unready_and_is_tried_for_ever() {
    let runtime = start(Gate::new()).await;
    let mut unwell = 0;
    for _ in 0..14 {
        wait_for_time(|| runtime.shared().shard(3).is_some()).await;
        let supervisor = runtime.shared().shard(3).unwrap();
        supervisor.kill();
        wait_for_time(|| runtime.shared().shard(3).is_none_or(|now| now.get_id() != supervisor.get_id())).await;
        unwell += u32::from(runtime.stats().unwell == ["a shard supervisor fails and waits to be started anew"]);
    }
    assert_eq!(unwell, 13, "all but the first");
    seconds(6).await;
    assert!(runtime.stats().unwell.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_janitor_without_a_sign_of_life_makes_the_process_unready_until_it_is_replaced() {
    let pause = Duration::from_secs(90);
    let janitor = RestartPolicy { restarts_max: 0, pause_max: pause, ..RestartPolicies::default().janitor };
    let restart = RestartPolicies { janitor, ..RestartPolicies::default() };
    let runtime = start_with(Gate::new(), RuntimeSettings { restart, ..idle() }).await;
    seconds(120).await;
    assert!(runtime.stats().unwell.is_empty(), "it beats");
    passivator(&runtime).kill();
    seconds(29).await;
    assert!(runtime.stats().unwell.is_empty());
    seconds(2).await;
    assert_eq!(runtime.stats().unwell, ["the passivator gives no sign of life"]);
    say(&runtime, "c", "r-0").await;
    seconds(65).await;
    assert!(runtime.stats().unwell.is_empty(), "another one beats");
    assert!(!is_active(&runtime, "c"), "and does its work");
}

/// The child of the root that is neither a shard's supervisor nor the keeper of the flows or of the timers.
fn passivator(runtime: &Runtime) -> ractor::ActorCell {
    let shared = runtime.shared();
    let shards = (0..crate::shard::SHARDS).filter_map(|number| shared.shard(number)).map(|actor| actor.get_id());
    let keepers = shared.keeper().map(|keeper| keeper.get_id()).into_iter();
    let keepers = keepers.chain(shared.timers().map(|keeper| keeper.get_id()));
    let known: Vec<_> = shards.chain(keepers).collect();
    let mut others = runtime.root().get_children();
    others.retain(|child| !known.contains(&child.get_id()));
    assert_eq!(others.len(), 1);
    others.remove(0)
}

/// Like [`wait_for`], letting time pass.
async fn wait_for_time(what: impl Fn() -> bool) {
    let until = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), until).await.expect("it comes true");
}
