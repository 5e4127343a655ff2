//! What a client may rely on: conflicts, streams, watches, and what bad requests are told.

use colloquy_client::{
    Client, Input, Key, Turn,
    v1::{self, stream_turn_response::Event as Streamed, watch_conversation_response::Event as Watched},
};
use tonic::Code;

use crate::harness::{Place, turn};

fn key(conversation: &str) -> Key {
    Key::new("acme", conversation)
}

async fn say(client: &Client, conversation: &str, request_id: &str, text: &str) -> v1::Turn {
    client.submit(&turn(conversation, request_id, text)).await.unwrap().turn.unwrap()
}

async fn next_seq(events: &mut colloquy_client::Events<v1::WatchConversationResponse>) -> u64 {
    match events.message().await.unwrap().unwrap().event {
        Some(Watched::Committed(committed)) => committed.turn.unwrap().turn_seq,
        other => panic!("not a committed turn: {other:?}"),
    }
}

/// CE-002: a conflict ends in a known code and writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_expected_seq_is_aborted_with_the_head_and_writes_nothing() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    say(&client, "c", "r-1", "hello").await;
    let wrong = client.submit(&Turn { expected_seq: Some(0), ..turn("c", "r-2", "hello") }).await.unwrap_err();
    assert_eq!((wrong.code(), wrong.reason()), (Code::Aborted, "SEQ_MISMATCH"));
    assert_eq!(wrong.metadata("turn_seq"), Some("1"));
    // The refused request wrote nothing: the same id, rightly expecting, is the next turn.
    let right = client.submit(&Turn { expected_seq: Some(1), ..turn("c", "r-2", "hello") }).await.unwrap();
    assert!(!right.replayed);
    assert_eq!(right.turn.unwrap().turn_seq, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_turn_is_accepted_then_staged_then_committed_at_rising_offsets() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    say(&client, "c", "r-1", "hello").await;
    let mut stream = client.stream(&turn("c", "r-2", "cancel order A-1001")).await.unwrap();
    let (mut kinds, mut offsets, mut stages) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(event) = stream.message().await.unwrap() {
        let offset = event.offset.unwrap();
        offsets.push((offset.turn_seq, offset.attempt, offset.index));
        kinds.push(match event.event.unwrap() {
            Streamed::Accepted(_) => "accepted",
            Streamed::Progress(_) | Streamed::KeepAlive(_) => panic!("nothing waits"),
            Streamed::Stage(stage) => {
                stages.push(stage.stage);
                "stage"
            }
            Streamed::Committed(committed) => {
                assert_eq!(committed.turn.unwrap().state, "confirm");
                "committed"
            }
            Streamed::Delta(delta) => panic!("no model was asked: {delta:?}"),
            Streamed::Failed(failed) => panic!("failed: {failed:?}"),
        });
    }
    let expected: Vec<_> = (0..u32::try_from(kinds.len()).unwrap()).map(|index| (2, 1, index)).collect();
    assert_eq!(offsets, expected);
    kinds.dedup();
    assert_eq!(kinds, ["accepted", "stage", "committed"]);
    assert_eq!((stages.first().unwrap().as_str(), stages.last().unwrap().as_str()), ("guard", "respond"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_does_not_cancel_its_turn() {
    let place = Place::new();
    let server = place.start();
    let request = turn("c", "r-1", "cancel order A-1001");
    let mut stream = server.client().await.stream(&request).await.unwrap();
    let Some(Streamed::Accepted(accepted)) = stream.message().await.unwrap().unwrap().event else {
        panic!("not accepted first")
    };
    drop(stream);
    let client = server.client().await;
    let ended = client.submit(&request).await.unwrap().turn.unwrap();
    assert_eq!((ended.turn_id, ended.turn_seq), (accepted.turn_id, 1));
    assert_eq!(client.turns(&key("c"), 1, 10).await.unwrap().turns.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_turn_ends_once_after_a_kill() {
    let place = Place::new();
    let mut server = place.start();
    let request = turn("c", "r-1", "cancel order A-1001");
    let mut stream = server.client().await.stream(&request).await.unwrap();
    let Some(Streamed::Accepted(accepted)) = stream.message().await.unwrap().unwrap().event else {
        panic!("not accepted first")
    };
    server.kill();
    let server = place.start();
    let client = server.client().await;
    let ended = client.submit(&request).await.unwrap().turn.unwrap();
    assert_eq!((ended.turn_id, ended.turn_seq), (accepted.turn_id, 1));
    assert_eq!(ended.state, "confirm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_from_a_seq_after_a_kill() {
    let place = Place::new();
    let mut server = place.start();
    let client = server.client().await;
    let mut head = None;
    for n in 1..=3 {
        head = say(&client, "c", &format!("r-{n}"), "hello").await.head;
    }
    let mut watch = client.watch(&key("c"), 2, None).await.unwrap();
    assert_eq!((next_seq(&mut watch).await, next_seq(&mut watch).await), (2, 3));
    server.kill();
    assert!(watch.message().await.is_err(), "the stream was cut off");

    let server = place.start();
    let client = server.client().await;
    let mut by_seq = client.watch(&key("c"), 4, None).await.unwrap();
    let mut by_head = client.watch(&key("c"), 0, head.clone()).await.unwrap();
    say(&client, "c", "r-4", "hello").await;
    assert_eq!((next_seq(&mut by_seq).await, next_seq(&mut by_head).await), (4, 4));

    let foreign = head.map(|head| v1::Head { hash: vec![7; 32], ..head });
    let refused = match client.watch(&key("c"), 0, foreign).await {
        Ok(mut watch) => watch.message().await.unwrap_err(),
        Err(refused) => refused,
    };
    assert_eq!((refused.code(), refused.reason()), (Code::Aborted, "HISTORY_CHANGED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_open_watches_and_says_why() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    say(&client, "c", "r-1", "hello").await;
    let mut watch = client.watch(&key("c"), 1, None).await.unwrap();
    assert_eq!(next_seq(&mut watch).await, 1);
    let ended = tokio::spawn(async move { watch.message().await });
    let code = tokio::task::spawn_blocking(move || server.terminate()).await.unwrap();
    assert_eq!(code, Some(0));
    let told = ended.await.unwrap().unwrap_err();
    assert_eq!((told.code(), told.reason()), (Code::Unavailable, "DRAINING"));
}

/// BO-07, BO-10: input is bounded and ids are validated at the door.
#[tokio::test(flavor = "multi_thread")]
async fn each_bad_input_names_its_field() {
    let place = Place::new();
    let server = place.start();
    let client = server.client().await;
    let named = async |change: fn(&mut Turn)| {
        let mut bad = turn("c", "r-1", "hello");
        change(&mut bad);
        let refused = client.submit(&bad).await.unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (Code::InvalidArgument, "INVALID_FIELD"));
        refused.fields().iter().map(|(field, _)| field.clone()).collect::<Vec<_>>()
    };
    assert_eq!(named(|turn| turn.input = Input::Text(String::new())).await, ["input.text"]);
    assert_eq!(named(|turn| turn.input = Input::Text("a".repeat((16 << 10) + 1))).await, ["input.text"]);
    assert_eq!(named(|turn| turn.input = Input::Text("bell \u{7}".to_owned())).await, ["input.text"]);
    assert_eq!(named(|turn| turn.key.tenant = "../acme".to_owned()).await, ["key.tenant"]);
    assert_eq!(named(|turn| turn.key.conversation = "../c".to_owned()).await, ["key.conversation"]);
    assert_eq!(named(|turn| turn.key.conversation = "c".repeat(129)).await, ["key.conversation"]);
    assert_eq!(named(|turn| turn.key.tenant = "_".to_owned()).await, ["key.tenant"]);
    assert_eq!(named(|turn| turn.request_id.clear()).await, ["request_id"]);
    assert_eq!(named(|turn| turn.request_id = "r".repeat(129)).await, ["request_id"]);
    assert_eq!(client.conversations("acme", 10, "").await.unwrap().conversations.len(), 0, "nothing was made");
}
