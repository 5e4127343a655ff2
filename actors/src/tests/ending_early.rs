//! Turns that do not run to their end: cancelled, interrupted, replaced, left out; and what stays of them.

use colloquy_turn::{ReplyKind, TurnOutcome};

use super::{
    outside::{AMPLE, Conduct, World, errand, kill, record, started, submitted},
    *,
};
use crate::runtime::Cancelled;

fn id(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

async fn cancel(runtime: &Runtime, request_id: &str) -> Result<Option<TurnReply>, Error> {
    match runtime.cancel_turn(&key("c"), id(request_id), Instant::now() + AMPLE).await? {
        Cancelled::LeftNothing => Ok(None),
        Cancelled::Ended(reply) => Ok(Some(reply)),
    }
}

fn with(busy: BusyPolicy, turn: SubmitTurn) -> SubmitTurn {
    SubmitTurn { busy: Some(busy), ..turn }
}

/// A conversation with one turn, whose model then hangs.
async fn hanging(name: &str) -> (Arc<Gate>, Arc<World>, Runtime) {
    let (gate, world) = (Gate::new(), World::new(&[(name, Conduct::Hangs)]));
    let runtime = started(&gate, &world).await;
    runtime.submit_turn(errand("r-0", "desk", AMPLE)).await.unwrap();
    (gate, world, runtime)
}

fn seqs(turns: &[crate::CommittedTurn]) -> Vec<u64> {
    turns.iter().map(|turn| turn.head.turn_seq.get()).collect()
}

#[tokio::test]
async fn a_cancelled_turn_keeps_what_was_shown_and_changes_nothing() {
    let (gate, world, runtime) = hanging("model").await;
    let before = runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap().state;
    let mut stream = runtime.stream_turn(errand("r-1", "tell", AMPLE), None).unwrap();
    let mut told = String::new();
    while told != "All is " {
        if let Some((_, TurnEvent::Delta { text, .. })) = stream.event().await {
            told.push_str(&text);
        }
    }
    let cancelled = cancel(&runtime, "r-1").await.unwrap().expect("it had begun");
    let kept = record(&cancelled);
    assert_eq!(
        (kept.outcome, &*kept.reply.text, kept.reply.kind),
        (TurnOutcome::Interrupted, "All is ", ReplyKind::Partial)
    );
    assert_eq!((seq(&cancelled), cancelled.replayed), (2, true));
    assert_eq!(record(&stream.ending().await.unwrap()), kept, "whoever waits for it gets the same");
    assert_eq!(world.running(), 0, "its question was dropped");
    let after = runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap().state;
    assert_eq!((after.intent(), after.state(), after.slots()), (before.intent(), before.state(), before.slots()));
    // Again: the same ending, for a repeated turn and a repeated cancel.
    let again = runtime.submit_turn(errand("r-1", "tell", AMPLE)).await.unwrap();
    assert_eq!((record(&again), again.replayed), (kept, true));
    assert_eq!(record(&cancel(&runtime, "r-1").await.unwrap().unwrap()), kept);
    assert_eq!(seq(&runtime.submit_turn(errand("r-2", "desk", AMPLE)).await.unwrap()), 3);
    gate.verify(&key("c")).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_turn_is_replayed_as_it_was() {
    let (_, world, runtime) = hanging("model").await;
    let told = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    let flow = runtime.shared().flows.current("acme", "errands").unwrap().flow;
    let before = runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap().state;
    cancel(&runtime, "r-1").await.unwrap().unwrap();
    let reply = told.await.unwrap().unwrap();
    let replayed = colloquy_turn::replay(flow, before, record(&reply)).unwrap();
    assert_eq!(&replayed.record, record(&reply));
    assert_eq!(&*record(&reply).reply.text, "", "nobody was shown anything");
}

#[tokio::test]
async fn a_turn_that_waits_for_several_answers_ends_at_once_and_says_what_was_shown_once() {
    let names = ["one", "two", "three", "four"];
    let world = World::new(&names.map(|name| (name, Conduct::Hangs)));
    let runtime = started(&Gate::new(), &world).await;
    let looking = submitted(&runtime, errand("r-1", "look", AMPLE));
    wait_for(|| world.running() == names.len()).await;
    cancel(&runtime, "r-1").await.unwrap().unwrap();
    let looked = looking.await.unwrap().unwrap();
    assert_eq!(record(&looked).outcome, TurnOutcome::Interrupted);
    assert_eq!(record(&looked).effects.len(), names.len());
    assert_eq!(world.running(), 0);
}

#[tokio::test]
async fn a_turn_that_waits_is_cancelled_without_a_trace() {
    let (gate, world, runtime) = hanging("model").await;
    let running = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    let waiting = submitted(&runtime, errand("r-2", "desk", AMPLE));
    wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 2).await;
    assert!(cancel(&runtime, "r-2").await.unwrap().is_none());
    assert_eq!(waiting.await.unwrap().unwrap_err(), Error::Cancelled);
    assert_eq!(cancel(&runtime, "r-2").await.unwrap_err(), Error::RequestAbsent);
    cancel(&runtime, "r-1").await.unwrap().unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 2);
    // It was promised nothing, and may be sent again.
    assert_eq!(seq(&runtime.submit_turn(errand("r-2", "desk", AMPLE)).await.unwrap()), 3);
}

#[tokio::test]
async fn what_cannot_be_cancelled_says_so() {
    let (_, _, runtime) = hanging("model").await;
    assert_eq!(cancel(&runtime, "r-9").await.unwrap_err(), Error::RequestAbsent);
    let absent = runtime.cancel_turn(&key("nobody"), id("r-1"), Instant::now() + AMPLE).await;
    assert_eq!(absent.unwrap_err(), Error::ConversationAbsent);
    let ended = cancel(&runtime, "r-0").await.unwrap().expect("it was committed long ago");
    assert_eq!(record(&ended).outcome, TurnOutcome::Complete);
    let reset = ResetConversation {
        key: key("c"),
        request_id: id("reset-1"),
        reason: String::new(),
        expected_seq: None,
        deadline: Instant::now() + AMPLE,
    };
    runtime.reset(reset).await.unwrap();
    assert_eq!(cancel(&runtime, "reset-1").await.unwrap_err(), Error::RequestIdReused);
}

/// P3: what acts is never left in the dark, whoever wants its turn to end.
#[tokio::test]
async fn an_action_that_has_begun_is_waited_for_and_its_effect_stays() {
    let (_, world, runtime) = hanging("none").await;
    world.set("bank/pay", Conduct::Held);
    let paid = submitted(&runtime, errand("r-1", "pay for ann", AMPLE));
    wait_for(|| world.called("bank/pay").len() == 1).await;
    let replacing = submitted(&runtime, with(BusyPolicy::Replace, errand("r-2", "desk", AMPLE)));
    wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 2).await;
    assert_eq!(world.running(), 1, "the call goes on");
    world.gate.add_permits(1);
    let paid = paid.await.unwrap().unwrap();
    // Its words would have come from a model, which is not asked any more.
    assert_eq!((record(&paid).outcome, &*record(&paid).reply.text), (TurnOutcome::Interrupted, ""));
    assert!(world.called("model").is_empty());
    assert_eq!((seq(&paid), seq(&replacing.await.unwrap().unwrap())), (2, 3));
    let changes = &record(&paid).changes;
    assert!(format!("{changes:?}").contains("R-1"), "what the action returned is kept: {changes:?}");
}

#[tokio::test]
async fn an_action_whose_intent_is_not_synced_yet_is_not_called() {
    let (gate, world, runtime) = hanging("none").await;
    gate.inner.hold();
    let paid = submitted(&runtime, errand("r-1", "pay for ann", AMPLE));
    gate.until_waiting(1).await;
    let cancelling = {
        let runtime = runtime.clone();
        tokio::spawn(async move { cancel(&runtime, "r-1").await })
    };
    wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 2).await;
    gate.inner.let_go();
    let (paid, cancelled) = (paid.await.unwrap().unwrap(), cancelling.await.unwrap().unwrap().unwrap());
    assert_eq!(record(&paid), record(&cancelled));
    assert!(world.called("bank/pay").is_empty());
    assert_eq!(runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap().state.intent(), "desk");
}

#[tokio::test]
async fn interrupting_keeps_the_running_turn_and_replacing_drops_it() {
    for (policy, followed) in [
        (BusyPolicy::Interrupt, false),
        (BusyPolicy::Interrupt, true),
        (BusyPolicy::Replace, false),
        (BusyPolicy::Replace, true),
    ] {
        let (gate, world, runtime) = hanging("model").await;
        let running: tokio::task::JoinHandle<Result<TurnReply, Error>> = if followed {
            let stream = runtime.stream_turn(errand("r-1", "tell", AMPLE), None).unwrap();
            tokio::spawn(stream.ending())
        } else {
            submitted(&runtime, errand("r-1", "tell", AMPLE))
        };
        wait_for(|| world.running() == 1).await;
        let waiting = submitted(&runtime, errand("r-2", "desk", AMPLE));
        wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 2).await;
        let new = runtime.submit_turn(with(policy, errand("r-3", "desk", AMPLE))).await.unwrap();
        let (running, waiting) = (running.await.unwrap(), waiting.await.unwrap().unwrap());
        let turns = runtime.turns(&key("c"), TurnSeq::new(1), 10, Instant::now() + AMPLE).await.unwrap();
        if policy == BusyPolicy::Interrupt {
            let kept = running.unwrap();
            let shown = if followed { "All is " } else { "" };
            assert_eq!((record(&kept).outcome, &*record(&kept).reply.text), (TurnOutcome::Interrupted, shown));
            assert_eq!((seq(&kept), seq(&waiting), seq(&new)), (2, 3, 4), "none overtakes another");
        } else {
            assert_eq!(running.unwrap_err(), Error::Cancelled);
            assert_eq!((seq(&waiting), seq(&new)), (2, 3), "as if it had never been sent");
            let again = runtime.submit_turn(errand("r-1", "tell", AMPLE)).await;
            assert_eq!(again.unwrap_err(), Error::Cancelled, "its request id has had its ending");
        }
        assert_eq!(turns.len() as u64, seq(&new), "{:?}", seqs(&turns));
        gate.verify(&key("c")).await.unwrap();
    }
}

#[tokio::test]
async fn a_turn_that_is_left_out_is_answered_at_once_and_may_come_again() {
    let (_, world, runtime) = hanging("model").await;
    let running = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    let left = runtime.submit_turn(with(BusyPolicy::Drop, errand("r-2", "desk", AMPLE))).await.unwrap();
    assert!(matches!(left.ending, Ending::LeftOut { head } if head.turn_seq.get() == 1), "{left:?}");
    let refused = runtime.submit_turn(with(BusyPolicy::Reject, errand("r-3", "desk", AMPLE))).await.unwrap_err();
    let Error::Busy { head, held_by: Some(_), held_at_most, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(head.turn_seq.get(), 1);
    assert!(held_at_most <= AMPLE && held_at_most > AMPLE / 2, "{held_at_most:?}");
    cancel(&runtime, "r-1").await.unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(seq(&runtime.submit_turn(with(BusyPolicy::Drop, errand("r-2", "desk", AMPLE))).await.unwrap()), 3);
}

#[tokio::test]
async fn a_turn_whose_record_is_on_its_way_is_too_late_to_end_early() {
    let (gate, _, runtime) = hanging("none").await;
    gate.inner.hold();
    let running = submitted(&runtime, errand("r-1", "desk", AMPLE));
    gate.until_waiting(1).await;
    let replacing = submitted(&runtime, with(BusyPolicy::Replace, errand("r-2", "desk", AMPLE)));
    wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 2).await;
    gate.inner.let_go();
    let (running, replacing) = (running.await.unwrap().unwrap(), replacing.await.unwrap().unwrap());
    assert_eq!((record(&running).outcome, seq(&running), seq(&replacing)), (TurnOutcome::Complete, 2, 3));
}

/// The wish is not kept: a crash forgets it, and the turn is taken up as any other.
#[tokio::test]
async fn a_kill_in_the_middle_of_a_cancel_leaves_a_turn_that_can_be_cancelled_again() {
    let (gate, world, runtime) = hanging("bank/pay").await;
    let paid = submitted(&runtime, errand("r-1", "pay for ann", AMPLE));
    wait_for(|| world.called("bank/pay").len() == 1).await;
    let cancelling = {
        let runtime = runtime.clone();
        tokio::spawn(async move { cancel(&runtime, "r-1").await })
    };
    wait_for(|| runtime.shared().directory.get(&key("c")).unwrap().info.in_flight.get() == 2).await;
    kill(&runtime);
    assert_eq!(paid.await.unwrap().unwrap_err(), Error::Restarted);
    assert_eq!(cancelling.await.unwrap().unwrap_err(), Error::Restarted);
    restarted(&runtime, "c").await;
    let ended = cancel(&runtime, "r-1").await.unwrap().expect("it acted");
    assert_eq!(&*record(&ended).reply.text, "Nobody knows whether it was paid.");
    assert_eq!(world.called("bank/pay").len(), 1);
    gate.verify(&key("c")).await.unwrap();
}

#[tokio::test]
async fn the_flow_says_what_a_busy_conversation_does_when_its_caller_does_not() {
    let world = World::new(&[("model", Conduct::Hangs)]);
    let flow = include_str!("outside.yaml").replace("fallback: Sorry?", "fallback: Sorry?\nbusy: interrupt");
    let runtime = super::outside::started_with(&Gate::new(), &world, flow).await;
    // Also while the turn that creates the conversation runs.
    let first = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    let second = runtime.submit_turn(errand("r-2", "desk", AMPLE)).await.unwrap();
    assert_eq!((record(&first.await.unwrap().unwrap()).outcome, seq(&second)), (TurnOutcome::Interrupted, 2));
    let third = submitted(&runtime, errand("r-3", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    let rejected = runtime.submit_turn(with(BusyPolicy::Reject, errand("r-4", "desk", AMPLE))).await;
    assert!(matches!(rejected, Err(Error::Busy { .. })), "the caller's word goes before the flow's: {rejected:?}");
    cancel(&runtime, "r-3").await.unwrap();
    third.await.unwrap().unwrap();
}
