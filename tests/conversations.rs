//! Many callers, one conversation, many conversations.

use colloquy_client::Key;
use tokio::task::JoinSet;

use crate::harness::{Place, turn};

/// CE-012: no drift under concurrent callers.
#[tokio::test(flavor = "multi_thread")]
async fn of_256_clients_on_one_conversation_each_sees_the_turn_before() {
    let place = Place::new();
    let server = place.start();
    let mut calls = JoinSet::new();
    for n in 0..256 {
        let client = server.client().await;
        calls.spawn(async move {
            // Each text moves the conversation, so each reply shows the state it was decided in.
            let text = if n % 2 == 0 { "cancel order A-1001" } else { "no, leave it" };
            let answered = client.submit(&turn("hot", &format!("r-{n}"), text)).await.unwrap().turn.unwrap();
            (answered.turn_seq, (answered.intent_before, answered.state_before), (answered.intent, answered.state))
        });
    }
    let mut turns = calls.join_all().await;
    turns.sort();
    let seqs: Vec<_> = turns.iter().map(|(seq, ..)| *seq).collect();
    assert_eq!(seqs, (1..=256).collect::<Vec<_>>());
    for pair in turns.windows(2) {
        assert_eq!(pair[0].2, pair[1].1, "turn {} saw the state after turn {}", pair[1].0, pair[0].0);
    }
    let places: std::collections::HashSet<_> = turns.iter().map(|(_, _, after)| after.clone()).collect();
    assert!(places.len() > 1, "the conversation moved");
}

/// CR-03: nothing of one tenant is listed for another.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_conversations_answer_without_an_error() {
    let place = Place::new();
    let server = place.start();
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let client = server.client().await;
        callers.spawn(async move {
            for conversation in (caller..10_000).step_by(64) {
                let answered = client.submit(&turn(&format!("c-{conversation}"), "r-1", "hello")).await.unwrap();
                assert_eq!(answered.turn.unwrap().turn_seq, 1);
            }
        });
    }
    callers.join_all().await;
    let client = server.client().await;
    let (mut listed, mut token) = (0, String::new());
    loop {
        let page = client.conversations("acme", 1000, &token).await.unwrap();
        listed += page.conversations.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, 10_000);
    assert_eq!(client.conversations("other", 1000, "").await.unwrap().conversations.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_same_turn_also_after_a_kill() {
    let place = Place::new();
    let mut server = place.start();
    let request = turn("c", "r-1", "cancel order A-1001");
    let first = server.client().await.submit(&request).await.unwrap();
    server.kill();
    let server = place.start();
    let again = server.client().await.submit(&request).await.unwrap();
    assert!(again.replayed && !first.replayed);
    assert_eq!(again.turn, first.turn);
    let other = server.client().await.submit(&turn("c", "r-1", "something else")).await.unwrap_err();
    assert_eq!((other.code(), other.reason()), (tonic::Code::AlreadyExists, "REQUEST_ID_REUSED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_stays_on_its_flow() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    client.submit(&turn("c", "r-1", "hello")).await.unwrap();
    let mut other = turn("c", "r-2", "hello");
    other.flow = "faq-desk".to_owned();
    let refused = client.submit(&other).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (tonic::Code::FailedPrecondition, "WRONG_FLOW"));
    let mut absent = turn("d", "r-1", "hello");
    absent.flow = "no-such-flow".to_owned();
    assert_eq!(client.submit(&absent).await.unwrap_err().reason(), "FLOW_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_shows_a_live_conversation() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    client.submit(&turn("c", "r-1", "hello")).await.unwrap();
    let conversation = colloquy_client::v1::ActorKind::Conversation.into();
    let request = colloquy_client::v1::GetSupervisionTreeRequest { kind: conversation, ..Default::default() };
    let tree = client.tree(request).await.unwrap();
    let keys: Vec<_> = tree.actors.iter().map(|actor| actor.key.as_str()).collect();
    assert_eq!(keys, ["acme/c"]);
    let runtime = client.runtime().await.unwrap();
    assert_eq!((runtime.engine.as_str(), runtime.conversations_active), ("journal", 1));
    assert!(client.conversation(&Key::new("acme", "c")).await.unwrap().uid.len() == 32);
}

const GREETER: &str = "format: colloquy.flow/v1
name: greeter
start: hall.door
intents:
  hall:
    initial: door
    states: {door: {terminal: true}}
responses:
  - {in: hall.door, exact: GREETING}
fallback: Pardon?
";

/// CE-007, SO-03: a conversation stays on its frozen revision.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_flow_leaves_running_conversations_as_they_began() {
    let place = Place::new();
    let folder = place.path().join("flows");
    std::fs::create_dir(&folder).unwrap();
    let write = |greeting: &str| {
        std::fs::write(folder.join("flow.yaml"), GREETER.replace("GREETING", greeting)).unwrap();
    };
    let say = async |server: &crate::harness::Server, conversation: &str, request_id: &str| {
        let mut said = turn(conversation, request_id, "good day");
        said.flow = "greeter".to_owned();
        server.client().await.submit(&said).await.unwrap().turn.unwrap().reply.unwrap().text
    };
    let flags = ["--flows", folder.to_str().unwrap()];
    write("Come in.");
    let server = place.start_with(&flags);
    assert_eq!(say(&server, "old", "r-1").await, "Come in.");
    assert_eq!(server.terminate(), Some(0));
    write("We are closed.");
    let server = place.start_with(&flags);
    assert_eq!(say(&server, "old", "r-2").await, "Come in.");
    assert_eq!(say(&server, "new", "r-1").await, "We are closed.");
}

/// P11: what is beyond the bounds is refused at the door, with a hint, and is done when it comes again.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_calls_at_once_those_beyond_the_bounds_are_refused_with_a_hint() {
    let place = Place::new();
    let config = place.path().join("colloquy.toml");
    let limits = "[limits]\nin_flight = 4\ntenant_in_flight = 4\nqueue = 4\nturns_at_once = 1\n";
    std::fs::write(&config, limits).unwrap();
    let server = place.start_with(&["--config", config.to_str().unwrap()]);
    let client = server.client().await;
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let client = client.clone();
        calls.spawn(async move {
            let mut refusals = 0;
            loop {
                match client.submit(&turn(&format!("c-{number}"), "r-1", "hello")).await {
                    Ok(_) => return refusals,
                    Err(refused) => {
                        assert_eq!(refused.reason(), "ADMISSION_FULL", "{refused}");
                        refusals += 1;
                        tokio::time::sleep(refused.retry_after().expect("a hint")).await;
                    }
                }
            }
        });
    }
    assert!(calls.join_all().await.into_iter().sum::<u32>() > 0, "there was room for all");
    let metrics = server.get("/metrics").unwrap();
    for line in ["colloquy_turns_at_once 0", "colloquy_turns_waiting 0", "colloquy_calls_in_flight 0"] {
        assert!(metrics.lines().any(|told| told == line), "{line}: {metrics}");
    }
    let measured = metrics.lines().find_map(|line| line.strip_prefix("colloquy_refusal_seconds_count "));
    assert!(measured.is_some_and(|count| count != "0"), "{metrics}");
}
