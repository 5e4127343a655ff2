//! What is let in, and what is refused at once.

use std::num::{NonZeroU32, NonZeroUsize};

use super::{
    outside::{AMPLE, Conduct, World, errand, started, started_within, submitted},
    *,
};
use crate::{
    Rate, RateOf,
    error::{DeadlineOutcome, LimitKind},
};

#[tokio::test]
async fn a_turn_that_cannot_end_in_time_behind_the_others_is_refused_at_once() {
    let each = Duration::from_millis(200);
    let world = World::new(&[("model", Conduct::After(each))]);
    let runtime = started(&Gate::new(), &world).await;
    runtime.submit_turn(errand("r-0", "tell", AMPLE)).await.unwrap();
    let running = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    let waiting = submitted(&runtime, errand("r-2", "tell", AMPLE));
    let in_flight = || runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get();
    wait_for(|| in_flight() == 2).await;
    let begun = Instant::now();
    let refused = runtime.submit_turn(errand("r-3", "tell", each)).await.unwrap_err();
    let Error::Overloaded { limit: LimitKind::Deadline, bound: 2, retry_after } = refused else {
        panic!("{refused:?}")
    };
    assert!(begun.elapsed() < each / 2, "it was refused when nothing could be done any more");
    assert!(retry_after > each, "{retry_after:?}");
    // One that has the time waits.
    let patient = submitted(&runtime, errand("r-4", "desk", AMPLE));
    for turn in [running, waiting, patient] {
        turn.await.unwrap().unwrap();
    }
    assert_eq!(runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap().head.turn_seq.get(), 4);
}

/// RetryInfo tells when there may be a place: when a turn of that conversation has ended, however idle the others are.
#[tokio::test(start_paused = true)]
async fn a_full_queue_hints_at_the_pace_of_its_conversation() {
    let each = Duration::from_secs(1);
    let world = World::new(&[("model", Conduct::After(each))]);
    let queue_len_max = NonZeroUsize::new(2).unwrap();
    let runtime = started_within(Limits { queue_len_max, ..Limits::default() }, &world).await;
    let full = async |from: usize| {
        let calls = [from, from + 1].map(|number| submitted(&runtime, errand(&format!("r-{number}"), "tell", AMPLE)));
        let in_flight = || runtime.shared().directory.get(&key("c")).is_some_and(|now| now.info.in_flight.get() == 2);
        wait_for(in_flight).await;
        let refused = runtime.submit_turn(errand("refused", "desk", AMPLE)).await.unwrap_err();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        let Error::Overloaded { limit: LimitKind::Conversation, bound: 2, retry_after } = refused else {
            panic!("{refused:?}")
        };
        retry_after
    };
    assert!(full(0).await < each, "nothing is known of it yet");
    let told = full(2).await;
    assert!((each..each * 2).contains(&told), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_calls_too_fast_is_told_when_to_come_back() {
    let number = |number| NonZeroU32::new(number).unwrap();
    let limits = Limits {
        tenant_rate: Some(Rate { per_second: number(10), burst: number(3) }),
        peer_rate: Some(Rate { per_second: number(1), burst: number(1) }),
        ..Limits::default()
    };
    let runtime = start_with(Gate::new(), RuntimeSettings { limits, ..RuntimeSettings::default() }).await;
    for number in 0..3 {
        runtime.submit_turn(turn("c", &format!("r-{number}"), "hello")).await.unwrap();
    }
    let refused = runtime.submit_turn(turn("c", "r-3", "hello")).await.unwrap_err();
    let Error::RateLimited { of: RateOf::Tenant, retry_after } = refused else { panic!("{refused:?}") };
    // Reading costs nothing, and another tenant has its own.
    runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap();
    let other = ConversationKey::from_parts("other", "c").unwrap();
    runtime.submit_turn(SubmitTurn { key: other, ..turn("c", "r-0", "hello") }).await.unwrap();
    tokio::time::advance(retry_after).await;
    runtime.submit_turn(turn("c", "r-3", "hello")).await.unwrap();
    let peer = "192.0.2.7".parse().unwrap();
    runtime.rate_peer(peer).unwrap();
    assert!(matches!(runtime.rate_peer(peer), Err(Error::RateLimited { of: RateOf::Peer, .. })));
}

#[tokio::test]
async fn a_turn_gives_its_slot_back_while_it_waits_outside_or_behind_another() {
    let world = World::new(&[("model", Conduct::Held)]);
    let gate = Gate::new();
    let runtime = started(&gate, &world).await;
    let slots = || runtime.stats().slots.held;
    let in_slot = |turn: SubmitTurn| {
        let (runtime, slot) = (runtime.clone(), runtime.free_turn_slot());
        assert!(slot.is_some());
        tokio::spawn(async move { runtime.submit_turn_in(slot, turn).await })
    };
    // One that waits for the disk keeps it: the disk is what keeps the cores from being busy then, and more are let in.
    gate.inner.hold();
    let stored = in_slot(errand("r-0", "desk", AMPLE));
    gate.until_waiting(1).await;
    assert_eq!(slots(), 1);
    gate.inner.let_go();
    stored.await.unwrap().unwrap();
    wait_for(|| slots() == 0).await;
    let outside = in_slot(errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    assert_eq!(slots(), 0, "its model is asked");
    let behind = in_slot(errand("r-2", "desk", AMPLE));
    let repeated = in_slot(errand("r-1", "tell", AMPLE));
    wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 3).await;
    // The actor answers this behind the other two.
    runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap();
    assert_eq!((slots(), world.running()), (0, 1));
    world.gate.add_permits(1);
    for turn in [outside, behind, repeated] {
        turn.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_turn_without_a_slot_waits_for_one_until_its_deadline_and_no_more_wait_than_may() {
    let number = |number| NonZeroUsize::new(number).unwrap();
    let limits = Limits {
        in_flight_max: number(2),
        tenant_in_flight_max: number(2),
        at_once_min: number(1),
        ..Limits::default()
    };
    let runtime = start_with(Gate::new(), RuntimeSettings { limits, ..RuntimeSettings::default() }).await;
    let soon = || Instant::now() + Duration::from_millis(50);
    let held = [runtime.turn_slot(soon()).await.unwrap(), runtime.turn_slot(soon()).await.unwrap()];
    assert!(runtime.free_turn_slot().is_none());
    let expired = runtime.turn_slot(soon()).await.unwrap_err();
    assert_eq!(expired, Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied });
    let waiting = [(); 2].map(|()| {
        let runtime = runtime.clone();
        tokio::spawn(async move { runtime.turn_slot(Instant::now() + AMPLE).await })
    });
    wait_for(|| runtime.stats().slots.waiting == 2).await;
    let refused = runtime.turn_slot(Instant::now() + AMPLE).await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded { limit: LimitKind::Global, bound: 2, .. }), "{refused:?}");
    drop(held);
    for slot in waiting {
        slot.await.unwrap().unwrap();
    }
    wait_for(|| runtime.stats().slots.held == 0).await;
}
