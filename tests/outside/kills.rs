//! A process that is killed while a tool that changes the world is called.

use super::*;
use crate::peer::{Peer, response};

/// A source that answers only once it is let to.
struct Slow {
    peer: Peer,
    answers: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

fn slow() -> Slow {
    let answers = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
    let may = std::sync::Arc::clone(&answers);
    let peer = Peer::start(move |_| {
        let receipt = r#"{"receipt":"R-1"}"#;
        may.load(std::sync::atomic::Ordering::SeqCst).then(|| response("200 OK", "application/json", receipt)).flatten()
    });
    Slow { peer, answers }
}

fn key_of(request: &str) -> Option<String> {
    request.lines().find_map(|line| Some(line.to_lowercase().strip_prefix("idempotency-key: ")?.to_owned()))
}

struct Killed {
    slow: Slow,
    place: Place,
}

/// A turn that calls the tool, and a process that is killed while it waits for the answer.
async fn killed_in_the_middle(tool: &str, text: &str) -> Killed {
    let slow = slow();
    let place = place(&source(tool, slow.peer.address, "method = \"POST\"\nbody = \"all\""));
    let mut server = started(&place, &[]);
    let client = server.client().await;
    let called = tokio::spawn({
        let (client, said) = (client.clone(), errand("c", "r-1", text));
        async move { client.submit(&said).await }
    });
    until("the call", || slow.peer.seen().len() == 1);
    server.kill();
    called.await.unwrap().expect_err("nobody answered");
    slow.answers.store(true, std::sync::atomic::Ordering::SeqCst);
    Killed { slow, place }
}

/// CE-014, BO-11: what may have happened is never done again.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_may_have_acted_is_never_called_twice_and_ends_unknown() {
    let Killed { slow, place } = killed_in_the_middle("bank", "pay for ada").await;
    let server = started(&place, &[]);
    let client = server.client().await;
    let again = client.submit(&errand("c", "r-1", "pay for ada")).await.unwrap().turn.unwrap();
    assert_eq!(reply(&again), "Nobody knows whether it was paid.");
    assert_eq!(again.outcome(), v1::TurnOutcome::Degraded);
    let next = client.submit(&errand("c", "r-2", "desk")).await.unwrap().turn.unwrap();
    assert_eq!((reply(&next), next.turn_seq), ("Hello.", 2));
    assert_eq!(slow.peer.seen().len(), 1);
}

/// CE-014, BO-11: what may be repeated is, under the same key.
#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_tool_is_called_again_with_the_same_key() {
    let Killed { slow, place } = killed_in_the_middle("post", "send for ada").await;
    let server = started(&place, &[]);
    let client = server.client().await;
    let again = client.submit(&errand("c", "r-1", "send for ada")).await.unwrap().turn.unwrap();
    assert_eq!((reply(&again), again.turn_seq), ("Sent.", 1));
    let keys: Vec<_> = slow.peer.seen().iter().map(|request| key_of(request).expect("a key")).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}
