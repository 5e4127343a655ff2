//! Forks begin where another conversation was, and then go their own way.

use super::*;
use crate::runtime::ForkConversation;

async fn fork(runtime: &Runtime, at: Option<u64>, target: &str) -> Result<crate::ControlReply, Error> {
    let fork = ForkConversation {
        source: key("c"),
        at: at.map(TurnSeq::new),
        target: key(target),
        request_id: RequestId::parse("fork-1").unwrap(),
        deadline: Instant::now() + Duration::from_secs(10),
    };
    runtime.fork(fork).await
}

async fn described(runtime: &Runtime, name: &str) -> Box<crate::Described> {
    runtime.describe(&key(name), Instant::now() + Duration::from_secs(10)).await.unwrap()
}

/// Says each, and gives what the conversation was after each.
async fn talked(runtime: &Runtime, said: &[&str]) -> Vec<Box<crate::Described>> {
    let mut states = Vec::new();
    for (number, text) in said.iter().enumerate() {
        runtime.submit_turn(turn("c", &format!("r-{number}"), text)).await.unwrap();
        states.push(described(runtime, "c").await);
    }
    states
}

const SAID: [&str; 4] = ["cancel order A-1001", "no", "cancel order B-2002", "yes"];

#[tokio::test]
async fn a_fork_at_any_turn_begins_with_the_state_after_it() {
    // Snapshots every other turn: what is folded from them is what is folded from the beginning.
    let snapshot = crate::SnapshotPolicy { turns: 2, bytes: usize::MAX, ratio: 0, ..Default::default() };
    let settings = RuntimeSettings { snapshot, ..RuntimeSettings::default() };
    for settings in [RuntimeSettings::default(), settings] {
        let gate = Gate::new();
        let runtime = start_with(gate.clone(), settings).await;
        let states = talked(&runtime, &SAID).await;
        for (number, before) in states.iter().enumerate() {
            let (at, name) = (number as u64 + 1, format!("f-{number}"));
            assert!(!fork(&runtime, Some(at), &name).await.unwrap().replayed);
            let forked = described(&runtime, &name).await;
            assert_eq!((&forked.state, &forked.flow), (&before.state, &before.flow));
            let origin = forked.origin.unwrap();
            assert_eq!((origin.uid, origin.turn_seq, origin.hash), (before.uid, TurnSeq::new(at), before.head.hash));
            assert_eq!(forked.head.turn_seq, TurnSeq::default(), "it has no turns of its own");
        }
        // At turn 3 the action waits for a confirmation: both go on from there, each for itself.
        let own = runtime.submit_turn(turn("f-2", "r-3", "no")).await.unwrap();
        assert_eq!(seq(&own), 1);
        assert!(described(&runtime, "f-2").await.state.pending().is_empty());
        assert_eq!(described(&runtime, "c").await.head, states[3].head, "the other one was not touched");
        runtime.shared().directory.get(&key("f-2")).unwrap().actor.kill();
        restarted(&runtime, "f-2").await;
        let again = described(&runtime, "f-2").await;
        assert_eq!((again.origin.is_some(), again.head.turn_seq), (true, TurnSeq::new(1)));
        gate.verify(&key("f-2")).await.unwrap();
    }
}

#[tokio::test]
async fn a_fork_is_made_once_and_takes_no_key_that_is_taken() {
    let runtime = start(Gate::new()).await;
    let states = talked(&runtime, &SAID[..1]).await;
    fork(&runtime, None, "f").await.unwrap();
    assert_eq!(described(&runtime, "f").await.state, states[0].state);
    talked(&runtime, &[]).await;
    assert!(fork(&runtime, None, "f").await.unwrap().replayed, "the same request");
    assert_eq!(fork(&runtime, Some(1), "f").await.unwrap_err(), Error::ConversationExists);
    assert_eq!(fork(&runtime, None, "c").await.unwrap_err(), Error::ConversationExists);
    assert_eq!(fork(&runtime, Some(2), "g").await.unwrap_err(), Error::TurnAbsent { turn_seq: TurnSeq::new(2) });
    let start = fork(&runtime, Some(0), "g").await;
    start.unwrap();
    assert_eq!(described(&runtime, "g").await.state.turns(), 0);
    let absent = ForkConversation {
        source: key("nobody"),
        at: None,
        target: key("h"),
        request_id: RequestId::parse("fork-2").unwrap(),
        deadline: Instant::now() + Duration::from_secs(10),
    };
    assert_eq!(runtime.fork(absent).await.unwrap_err(), Error::ConversationAbsent);
}
