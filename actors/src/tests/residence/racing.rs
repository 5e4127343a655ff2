//! Calls that race with passivation: whatever the order, each gets its one ending.

use super::*;
use crate::conversation::{Message, Passivate};

/// Callers that never stop, while the conversations they call are put to rest as fast as they can be: on real threads,
/// so that a call meets every moment of a passivation.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_is_lost_to_a_passivation() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let rested = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..4 {
        let (runtime, rested) = (runtime.clone(), Arc::clone(&rested));
        callers.spawn(async move {
            let mut n = 0;
            // However slow the machine, there is something to race with.
            while n < 250 || rested.load(std::sync::atomic::Ordering::Relaxed) < 50 {
                let conversation = format!("c-{}", (caller * 3 + n) % 8);
                let deadline = Instant::now() + Duration::from_secs(60);
                let call = SubmitTurn { deadline, ..turn(&conversation, &format!("r-{caller}-{n}"), "hello") };
                let reply = runtime.submit_turn(call).await;
                assert!(reply.as_ref().is_ok_and(|reply| !reply.replayed), "{reply:?}");
                n += 1;
            }
            n
        });
    }
    let rests = tokio::spawn({
        let (runtime, done) = (runtime.clone(), Arc::clone(&done));
        async move {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for n in 0..8 {
                    let rests = runtime.passivate(&key(&format!("c-{n}")), soon()).await == Ok(true);
                    rested.fetch_add(u32::from(rests), std::sync::atomic::Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let mut calls = 0;
    while let Some(ended) = callers.join_next().await {
        calls += ended.unwrap();
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    rests.await.unwrap();
    let mut turns = 0;
    for n in 0..8 {
        turns += gate.verify(&key(&format!("c-{n}"))).await.unwrap().turns;
    }
    assert_eq!(turns, calls, "each call is one turn");
    assert_eq!(runtime.stats().in_flight, 0);
    wait_for(|| runtime.shared().directory.alive() == runtime.stats().conversations_active).await;
}

/// The same in every order that one thread can make: the call is sent before, between and after the steps of a
/// passivation.
#[tokio::test(start_paused = true)]
async fn a_call_beside_a_passivation_is_answered_in_any_order() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    for n in 0..200 {
        let resting = {
            let runtime = runtime.clone();
            tokio::spawn(async move { runtime.passivate(&key("c"), soon()).await })
        };
        for _ in 0..n % 7 {
            tokio::task::yield_now().await;
        }
        assert_eq!(say(&runtime, "c", &format!("r-{n}")).await, n + 1);
        let rested = resting.await.unwrap();
        assert!(matches!(rested, Ok(_) | Err(Error::Busy { .. })), "{rested:?}");
    }
    assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 200);
}

/// What waited behind a turn whose actor makes way, or was on its way to it, reaches the next activation, in order.
#[tokio::test(start_paused = true)]
async fn what_is_in_the_mailbox_of_an_actor_that_makes_way_reaches_the_next_one_in_order() {
    let gate = Gate::new();
    let runtime = start(gate.clone()).await;
    say(&runtime, "c", "r-0").await;
    let actor = runtime.shared().directory.get(&key("c")).unwrap().actor;
    let (reply, rested) = tokio::sync::oneshot::channel();
    actor.send_message(Message::Passivate(Passivate::Asked(reply))).unwrap();
    // Admitted after it was asked and before it answers: counted, so it refuses.
    let call = sent(&runtime, turn("c", "r-1", "hello"));
    assert_eq!(seq(&call.await.unwrap().unwrap()), 2);
    let rested = rested.await.unwrap();
    assert!(matches!(rested, Ok(()) | Err(Error::Busy { .. })), "{rested:?}");
}

/// Whoever asks looked a while ago: a use since then counts.
#[tokio::test(start_paused = true)]
async fn a_conversation_that_was_used_since_it_was_looked_at_stays() {
    let runtime = start(Gate::new()).await;
    say(&runtime, "c", "r-0").await;
    let handle = runtime.shared().directory.get(&key("c")).unwrap();
    let unused_since = handle.info.last_used();
    seconds(1).await;
    say(&runtime, "c", "r-1").await;
    for passivate in [Passivate::Idle { unused_since }, Passivate::Watermark { unused_since }] {
        handle.actor.send_message(Message::Passivate(passivate)).unwrap();
        // A call would hold it too.
        seconds(1).await;
        assert_eq!(
            runtime.shared().directory.get(&key("c")).map(|now| now.actor.get_id()),
            Some(handle.actor.get_id())
        );
    }
    let unused_since = handle.info.last_used();
    handle.actor.send_message(Message::Passivate(Passivate::Idle { unused_since })).unwrap();
    wait_for(|| !is_active(&runtime, "c")).await;
}
