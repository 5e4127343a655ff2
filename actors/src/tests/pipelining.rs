//! A hot conversation decides ahead of the sync, and tells nothing of what is not synced.

use colloquy_store::memory::Fault;
use colloquy_turn::TurnOutcome;

use super::{
    outside::{AMPLE, Conduct, World, errand, record, started, submitted},
    *,
};

fn in_flight(runtime: &Runtime) -> usize {
    runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get()
}

async fn begun(world: &Arc<World>) -> (Arc<Gate>, Runtime) {
    let gate = Gate::new();
    let runtime = started(&gate, world).await;
    runtime.submit_turn(errand("r-0", "desk", AMPLE)).await.unwrap();
    gate.inner.hold();
    (gate, runtime)
}

#[tokio::test]
async fn turns_are_decided_while_those_before_them_are_synced_and_answered_in_order() {
    let (gate, runtime) = begun(&World::new(&[])).await;
    let mut turns = Vec::new();
    for number in 1..=10 {
        turns.push(submitted(&runtime, errand(&format!("r-{number}"), "desk", AMPLE)));
        gate.until_waiting(number).await;
    }
    let described = runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap();
    assert_eq!((described.head.turn_seq.get(), described.state.turns()), (1, 1), "only what is synced is told");
    let repeated = submitted(&runtime, errand("r-1", "desk", AMPLE));
    wait_for(|| in_flight(&runtime) == 11).await;
    let other = runtime.submit_turn(errand("r-1", "other words", AMPLE)).await;
    assert_eq!(other.unwrap_err(), Error::RequestIdReused);
    let refused = SubmitTurn { busy: Some(BusyPolicy::Reject), ..errand("r-12", "desk", AMPLE) };
    let Error::Busy { head, .. } = runtime.submit_turn(refused).await.unwrap_err() else { panic!("not busy") };
    assert_eq!(head.turn_seq.get(), 1);
    assert!(!repeated.is_finished() && turns.iter().all(|turn| !turn.is_finished()));
    gate.inner.let_go();
    for (number, turn) in turns.into_iter().enumerate() {
        assert_eq!(seq(&turn.await.unwrap().unwrap()), number as u64 + 2);
    }
    let repeated = repeated.await.unwrap().unwrap();
    assert_eq!((seq(&repeated), repeated.replayed), (2, true));
    let described = runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap();
    assert_eq!((described.head.turn_seq.get(), described.state.turns()), (11, 11));
    assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 11);
    // What was decided ahead is what an activation finds.
    runtime.shared().directory.get(&key("c")).unwrap().actor.kill();
    restarted(&runtime, "c").await;
    let found = runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap();
    assert_eq!((&found.state, found.head), (&described.state, described.head));
    assert!(runtime.submit_turn(errand("r-7", "desk", AMPLE)).await.unwrap().replayed);
}

/// INV: nothing of a turn leaves the process before what it was decided on is synced.
#[tokio::test]
async fn a_dependent_turn_calls_nothing_and_shows_nothing_until_all_before_it_is_synced() {
    let world = World::new(&[]);
    let (gate, runtime) = begun(&world).await;
    let first = submitted(&runtime, errand("r-1", "desk", AMPLE));
    gate.until_waiting(1).await;
    let told = submitted(&runtime, errand("r-2", "tell", AMPLE));
    wait_for(|| in_flight(&runtime) == 2).await;
    // Whoever follows it now gets its events later too.
    let mut stream = runtime.stream_turn(errand("r-2", "tell", AMPLE), None).unwrap();
    wait_for(|| in_flight(&runtime) == 3).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(world.called("model").is_empty());
    let event = tokio::time::timeout(Duration::from_millis(20), stream.event()).await;
    assert!(event.is_err(), "{event:?}");
    gate.inner.let_go();
    assert_eq!(seq(&first.await.unwrap().unwrap()), 2);
    let told = told.await.unwrap().unwrap();
    assert_eq!((seq(&told), &*record(&told).reply.text), (3, "All is well."));
    assert_eq!(record(&stream.ending().await.unwrap()), record(&told));
}

#[tokio::test]
async fn a_dependent_turn_that_is_to_end_early_ends_when_it_may_be_told() {
    let world = World::new(&[]);
    let (gate, runtime) = begun(&world).await;
    let first = submitted(&runtime, errand("r-1", "desk", AMPLE));
    gate.until_waiting(1).await;
    let paid = submitted(&runtime, errand("r-2", "pay for ann", AMPLE));
    wait_for(|| in_flight(&runtime) == 2).await;
    let interrupting = SubmitTurn { busy: Some(BusyPolicy::Interrupt), ..errand("r-3", "desk", AMPLE) };
    let third = submitted(&runtime, interrupting);
    wait_for(|| in_flight(&runtime) == 3).await;
    gate.inner.let_go();
    assert_eq!(seq(&first.await.unwrap().unwrap()), 2);
    let paid = paid.await.unwrap().unwrap();
    assert_eq!((record(&paid).outcome, seq(&paid)), (TurnOutcome::Interrupted, 3));
    assert_eq!(seq(&third.await.unwrap().unwrap()), 4);
    assert!(world.called("bank/pay").is_empty());
}

#[tokio::test]
async fn what_was_decided_on_a_turn_that_was_refused_fails_with_it() {
    for (fault, error) in [
        (Fault::Full, Error::DiskFull),
        (Fault::UnknownLost, Error::StoreUnavailable),
        (Fault::UnknownWritten, Error::StoreUnavailable),
    ] {
        let (gate, runtime) = begun(&World::new(&[])).await;
        gate.inner.fail_next(fault);
        let mut turns = Vec::new();
        for number in 1..=3 {
            turns.push(submitted(&runtime, errand(&format!("r-{number}"), "desk", AMPLE)));
            gate.until_waiting(number).await;
        }
        gate.inner.let_go();
        for turn in turns {
            assert_eq!(turn.await.unwrap().unwrap_err(), error, "{fault:?}");
        }
        // Sent again, each is done once.
        for number in 1..=3 {
            let turn = runtime.submit_turn(errand(&format!("r-{number}"), "desk", AMPLE)).await.unwrap();
            assert_eq!(seq(&turn), number + 1, "{fault:?}");
        }
        assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 4);
    }
}

#[tokio::test]
async fn turns_that_would_tell_what_is_not_synced_wait_for_it() {
    let (gate, runtime) = begun(&World::new(&[])).await;
    let first = submitted(&runtime, errand("r-1", "desk", AMPLE));
    gate.until_waiting(1).await;
    let expects = |seq| SubmitTurn { expected_seq: Some(TurnSeq::new(seq)), ..errand("r-2", "desk", AMPLE) };
    let expecting = submitted(&runtime, expects(1));
    wait_for(|| in_flight(&runtime) == 2).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!expecting.is_finished(), "the head it would be told is not synced");
    gate.inner.let_go();
    first.await.unwrap().unwrap();
    let Error::SeqMismatch { head } = expecting.await.unwrap().unwrap_err() else { panic!("no mismatch") };
    assert_eq!(head.turn_seq.get(), 2);
    let mut stream = runtime.stream_turn(errand("r-3", "desk", AMPLE), None).unwrap();
    assert!(matches!(stream.event().await, Some((_, TurnEvent::Accepted { head, .. })) if head.turn_seq.get() == 2));
}

/// What a closed turn's repetition is told is synced, also while what is loaded is ahead of that.
#[tokio::test]
async fn a_closed_turn_that_is_repeated_tells_the_head_that_is_synced() {
    let world = World::new(&[("model", Conduct::Hangs)]);
    let (gate, runtime) = begun(&world).await;
    let deadline = Instant::now() + Duration::from_millis(20);
    let closing = || SubmitTurn { deadline, ..errand("r-1", "desk", AMPLE) };
    let stream = runtime.stream_turn(closing(), None).unwrap();
    gate.until_waiting(1).await;
    assert!(matches!(stream.ending().await, Err(Error::DeadlineExceeded { .. })));
    gate.inner.let_go();
    let repeat = || SubmitTurn { deadline: Instant::now() + AMPLE, ..closing() };
    let ended = runtime.submit_turn(repeat()).await.unwrap();
    assert!(matches!(&ended.ending, Ending::Closed { head, .. } if head.turn_seq.get() == 1), "{ended:?}");
    gate.inner.hold();
    let mut ahead = Vec::new();
    for number in 2..=3 {
        ahead.push(submitted(&runtime, errand(&format!("r-{number}"), "desk", AMPLE)));
        gate.until_waiting(ahead.len()).await;
    }
    let told = runtime.submit_turn(repeat()).await.unwrap();
    assert!(matches!(&told.ending, Ending::Closed { head, .. } if head.turn_seq.get() == 1), "{told:?}");
    gate.inner.let_go();
    for turn in ahead {
        turn.await.unwrap().unwrap();
    }
}
