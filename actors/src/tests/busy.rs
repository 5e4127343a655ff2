//! What each policy does to a turn that finds its conversation busy, on every way in which it may come: carried alone,
//! as a stream, to a turn that an activation took up again, and over from an earlier activation.

use colloquy_store::memory::{Fault, FaultPlan};
use colloquy_turn::TurnOutcome;

use super::{
    outside::{AMPLE, Conduct, World, errand, kill, record, started, submitted},
    *,
};

type Call = tokio::task::JoinHandle<Result<TurnReply, Error>>;

/// How long a turn has run when another one finds it.
const HELD_FOR: Duration = Duration::from_secs(1);

/// In which way a turn comes, and what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Unary,
    Stream,
    /// Against a turn that was promised, and taken up by the next activation.
    Resumed,
}

const ENTRIES: [Entry; 3] = [Entry::Unary, Entry::Stream, Entry::Resumed];

fn with(busy: BusyPolicy, turn: SubmitTurn) -> SubmitTurn {
    SubmitTurn { busy: Some(busy), ..turn }
}

fn streamed(runtime: &Runtime, turn: SubmitTurn) -> Call {
    tokio::spawn(runtime.stream_turn(turn, None).unwrap().ending())
}

async fn in_flight(runtime: &Runtime, number: usize) {
    wait_for(|| runtime.shared().directory.get(&key("c")).is_some_and(|now| now.info.in_flight.get() == number)).await;
}

/// Waits until a killed actor's successor has taken up its turn, and follows that.
async fn taken_up(runtime: &Runtime, world: &World, called: &str, again: SubmitTurn) -> Call {
    kill(runtime);
    restarted(runtime, "c").await;
    wait_for(|| world.called(called).len() == 2).await;
    let again = submitted(runtime, again);
    in_flight(runtime, 1).await;
    again
}

/// A conversation of one turn whose second one, `r-1`, asks a model that answers when it is let go.
async fn held(entry: Entry) -> (Arc<Gate>, Arc<World>, Runtime, Call) {
    let (gate, world) = (Gate::new(), World::new(&[("model", Conduct::Held)]));
    let runtime = started(&gate, &world).await;
    runtime.submit_turn(errand("r-0", "desk", AMPLE)).await.unwrap();
    let mut running = streamed(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    if entry == Entry::Resumed {
        let taken_up = taken_up(&runtime, &world, "model", errand("r-1", "tell", AMPLE)).await;
        assert_eq!(std::mem::replace(&mut running, taken_up).await.unwrap().unwrap_err(), Error::Restarted);
    }
    (gate, world, runtime, running)
}

/// Sends `r-2`.
fn sent(runtime: &Runtime, entry: Entry, busy: BusyPolicy) -> Call {
    let turn = with(busy, errand("r-2", "desk", AMPLE));
    if entry == Entry::Stream { streamed(runtime, turn) } else { submitted(runtime, turn) }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_enqueued_comes_behind_the_running_one() {
    for entry in ENTRIES {
        let (gate, world, runtime, running) = held(entry).await;
        let enqueued = sent(&runtime, entry, BusyPolicy::Enqueue);
        in_flight(&runtime, 2).await;
        world.gate.add_permits(1);
        let (running, enqueued) = (running.await.unwrap().unwrap(), enqueued.await.unwrap().unwrap());
        assert_eq!((record(&running).outcome, &*record(&running).reply.text), (TurnOutcome::Complete, "All is well."));
        assert_eq!((seq(&running), seq(&enqueued)), (2, 3), "{entry:?}");
        gate.verify(&key("c")).await.unwrap();
    }
}

/// The conflict names what holds the conversation, since when, and until when at most.
#[tokio::test(start_paused = true)]
async fn a_turn_that_is_rejected_is_told_what_holds_the_conversation_and_changes_nothing() {
    for entry in ENTRIES {
        let (gate, world, runtime, running) = held(entry).await;
        tokio::time::sleep(HELD_FOR).await;
        let refused = sent(&runtime, entry, BusyPolicy::Reject).await.unwrap().unwrap_err();
        let Error::Busy { head, held_by, held_for, held_at_most } = refused else { panic!("{entry:?}: {refused:?}") };
        world.gate.add_permits(1);
        let running = running.await.unwrap().unwrap();
        assert_eq!((head.turn_seq.get(), held_by), (1, Some(record(&running).turn_id)), "{entry:?}");
        assert_eq!(held_for, HELD_FOR, "{entry:?}");
        // What is left of a turn that was taken up is counted by the wall clock.
        let left = AMPLE - HELD_FOR;
        assert!(held_at_most <= left && held_at_most > left - Duration::from_secs(1), "{entry:?}: {held_at_most:?}");
        assert_eq!((record(&running).outcome, seq(&running)), (TurnOutcome::Complete, 2), "{entry:?}");
        assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 2, "{entry:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_interrupts_leaves_what_was_shown_and_comes_behind_it() {
    for entry in ENTRIES {
        let (gate, _, runtime, running) = held(entry).await;
        let interrupting = sent(&runtime, entry, BusyPolicy::Interrupt).await.unwrap().unwrap();
        let running = running.await.unwrap().unwrap();
        assert_eq!((record(&running).outcome, &*record(&running).reply.text), (TurnOutcome::Interrupted, "All is "));
        assert_eq!((seq(&running), seq(&interrupting)), (2, 3), "{entry:?}");
        assert_eq!(record(&interrupting).outcome, TurnOutcome::Complete);
        gate.verify(&key("c")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_replaces_is_decided_as_if_the_running_one_had_never_been_sent() {
    for entry in ENTRIES {
        let (gate, _, runtime, running) = held(entry).await;
        let replacing = sent(&runtime, entry, BusyPolicy::Replace).await.unwrap().unwrap();
        assert_eq!(running.await.unwrap().unwrap_err(), Error::Cancelled, "{entry:?}");
        assert_eq!((seq(&replacing), record(&replacing).outcome), (2, TurnOutcome::Complete), "{entry:?}");
        let again = runtime.submit_turn(errand("r-1", "tell", AMPLE)).await;
        assert_eq!(again.unwrap_err(), Error::Cancelled, "its request id has had its ending");
        assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 2, "{entry:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_left_out_is_told_so_and_changes_nothing() {
    for entry in ENTRIES {
        let (gate, world, runtime, running) = held(entry).await;
        let left = sent(&runtime, entry, BusyPolicy::Drop).await.unwrap().unwrap();
        assert!(matches!(left.ending, Ending::LeftOut { head } if head.turn_seq.get() == 1), "{entry:?}: {left:?}");
        world.gate.add_permits(1);
        let running = running.await.unwrap().unwrap();
        assert_eq!((record(&running).outcome, seq(&running)), (TurnOutcome::Complete, 2), "{entry:?}");
        // It may come again, and is then a turn like any other.
        assert_eq!(seq(&sent(&runtime, entry, BusyPolicy::Drop).await.unwrap().unwrap()), 3, "{entry:?}");
        assert_eq!(gate.verify(&key("c")).await.unwrap().turns, 3, "{entry:?}");
    }
}

/// P3: also after a restart, what may have changed the world is told by a committed turn.
#[tokio::test(start_paused = true)]
async fn a_resumed_turn_that_acts_or_acted_is_interrupted_where_it_would_be_replaced() {
    // One is called again by the next activation, and needs nothing more to end. Of the other the receipt is known, and
    // a model is asked for words.
    let interrupted = TurnOutcome::Interrupted;
    for (text, called, receipt, outcome) in
        [("send for ann", "post/send", "sent", TurnOutcome::Complete), ("pay for ann", "model", "paid", interrupted)]
    {
        let (gate, world) = (Gate::new(), World::new(&[(called, Conduct::Hangs)]));
        let runtime = started(&gate, &world).await;
        runtime.submit_turn(errand("r-0", "desk", AMPLE)).await.unwrap();
        let before = runtime.stats().store.records;
        let acting = streamed(&runtime, errand("r-1", text, AMPLE));
        wait_for(|| world.called(called).len() == 1).await;
        // The promise and the intent; and what the action returned, before a model is asked.
        let written = if called == "model" { 3 } else { 2 };
        wait_for(|| runtime.stats().store.records == before + written).await;
        world.set(called, Conduct::Held);
        let again = taken_up(&runtime, &world, called, errand("r-1", text, AMPLE)).await;
        assert_eq!(acting.await.unwrap().unwrap_err(), Error::Restarted);
        let replacing = submitted(&runtime, with(BusyPolicy::Replace, errand("r-2", "desk", AMPLE)));
        if called == "post/send" {
            in_flight(&runtime, 2).await;
            assert_eq!(world.running(), 1, "the call goes on");
            world.gate.add_permits(1);
        }
        let (again, replacing) = (again.await.unwrap().unwrap(), replacing.await.unwrap().unwrap());
        assert_eq!((record(&again).outcome, seq(&again)), (outcome, 2), "{text}");
        assert_eq!((record(&replacing).outcome, seq(&replacing)), (TurnOutcome::Complete, 3), "{text}");
        let changes = format!("{:?}", record(&again).changes);
        assert!(changes.contains(receipt) && changes.contains("R-1"), "{text}: {changes}");
        gate.verify(&key("c")).await.unwrap();
    }
}

/// A turn that waits when its activation ends goes to the next one, where it must not end what waited before it.
#[tokio::test(start_paused = true)]
async fn a_turn_that_waited_for_an_earlier_activation_ends_none_that_waited_before_it() {
    for busy in [BusyPolicy::Interrupt, BusyPolicy::Replace] {
        let (gate, world) = (Gate::new(), World::new(&[("model", Conduct::Held)]));
        let runtime = started(&gate, &world).await;
        runtime.submit_turn(errand("r-0", "desk", AMPLE)).await.unwrap();
        gate.inner.hold();
        gate.inner.fail_next(Fault::UnknownLost);
        let lost = submitted(&runtime, errand("r-1", "tell", AMPLE));
        gate.until_waiting(1).await;
        let first = submitted(&runtime, errand("r-2", "tell", AMPLE));
        in_flight(&runtime, 2).await;
        let second = submitted(&runtime, with(busy, errand("r-3", "desk", AMPLE)));
        in_flight(&runtime, 3).await;
        gate.inner.let_go();
        assert_eq!(lost.await.unwrap().unwrap_err(), Error::StoreUnavailable);
        wait_for(|| world.called("model").len() == 2).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        world.gate.add_permits(1);
        let (first, second) = (first.await.unwrap().expect("it was only queued"), second.await.unwrap().unwrap());
        assert_eq!((record(&first).outcome, seq(&first)), (TurnOutcome::Complete, 2), "{busy:?}");
        assert_eq!((record(&second).outcome, seq(&second)), (TurnOutcome::Complete, 3), "{busy:?}");
        gate.verify(&key("c")).await.unwrap();
    }
}

/// What it wanted of the running turn is still wanted when the next activation takes up that turn, and that one alone.
#[tokio::test(start_paused = true)]
async fn a_turn_that_interrupts_one_that_is_taken_up_again_still_does() {
    let (gate, _, runtime, running) = held(Entry::Unary).await;
    let waiting = submitted(&runtime, errand("r-2", "desk", AMPLE));
    in_flight(&runtime, 2).await;
    let begun = Instant::now();
    // The record of the turn that is interrupted is lost.
    gate.inner.set_faults(FaultPlan::new().then(Fault::UnknownLost));
    let interrupting = submitted(&runtime, with(BusyPolicy::Interrupt, errand("r-3", "desk", AMPLE)));
    assert_eq!(running.await.unwrap().unwrap_err(), Error::StoreUnavailable);
    let (waiting, interrupting) = (waiting.await.unwrap().unwrap(), interrupting.await.unwrap().unwrap());
    let running = runtime.submit_turn(errand("r-1", "tell", AMPLE)).await.unwrap();
    assert_eq!((record(&running).outcome, seq(&running)), (TurnOutcome::Interrupted, 2));
    assert_eq!((seq(&waiting), seq(&interrupting)), (3, 4));
    assert_eq!(record(&waiting).outcome, TurnOutcome::Complete);
    assert!(begun.elapsed() < AMPLE / 2, "it took no deadline to end it");
    gate.verify(&key("c")).await.unwrap();
}
