//! Structured input, and what replies carry: the same wherever a turn is told, and after a restart.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use colloquy_actors::{ModelAnswer, ModelCall, Outside, SourceCall};
use colloquy_client::{
    Client, Turn,
    v1::{self, stream_turn_response::Event as Streamed, watch_conversation_response::Event as Watched},
};
use colloquy_store::{BoxFuture, MemoryStore};
use colloquy_turn::{CallOutcome, ModelOutput, Usage};
use colloquy_types::SystemEntropy;
use tokio::time::timeout;
use tonic::Code;

use super::house::{DEADLINE, House, key, kiosk};

const SERVE: &str = r#"{"slots": {"number": "1234"}, "intent": "counter"}"#;
const CANONICAL: &str = r#"{"intent":"counter","slots":{"number":"1234"}}"#;

fn structured(request_id: &str, json: &str) -> Turn {
    Turn::structured(key("c"), request_id, "kiosk", json)
}

fn said(turn: &v1::Turn) -> v1::turn_input::Input {
    turn.input.clone().unwrap().input.unwrap()
}

fn follow_ups(turn: &v1::Turn) -> &[String] {
    &turn.reply.as_ref().unwrap().follow_ups
}

/// Every event of a streamed turn.
async fn streamed(client: &Client, turn: &Turn) -> Vec<Streamed> {
    let (mut stream, mut events) = (client.stream(turn).await.unwrap(), Vec::new());
    while let Some(event) = timeout(DEADLINE, stream.message()).await.unwrap().unwrap() {
        assert_eq!(event.event_version, 1);
        events.push(event.event.unwrap());
    }
    events
}

/// The turn with this number, as it is listed; it must be watched the same.
async fn told(client: &Client, turn_seq: u64) -> v1::Turn {
    let listed = client.turns(&key("c"), turn_seq, 1).await.unwrap().turns.remove(0);
    let mut watch = client.watch(&key("c"), turn_seq, None).await.unwrap();
    let event = timeout(DEADLINE, watch.message()).await.unwrap().unwrap().unwrap();
    let Some(Watched::Committed(committed)) = event.event else { panic!("no turn: {event:?}") };
    assert_eq!(committed.turn.as_ref(), Some(&listed));
    listed
}

#[tokio::test(flavor = "multi_thread")]
async fn structured_input_has_one_ending_however_it_is_written_also_after_a_restart() {
    let house = House::with_kiosk().await;
    let first = house.client.submit(&structured("r-1", SERVE)).await.unwrap();
    let turn = first.turn.clone().unwrap();
    assert_eq!((turn.intent.as_str(), turn.state.as_str()), ("counter", "served"));
    assert_eq!(turn.reply.as_ref().unwrap().text, "Served 1234.");
    assert_eq!(said(&turn), v1::turn_input::Input::Json(CANONICAL.to_owned()));

    let again = async |house: &House, json: &str| house.client.submit(&structured("r-1", json)).await;
    let repeated = again(&house, CANONICAL).await.unwrap();
    assert_eq!((repeated.replayed, repeated.turn.as_ref()), (true, Some(&turn)));
    let other = again(&house, r#"{"intent": "counter"}"#).await.unwrap_err();
    assert_eq!((other.code(), other.reason()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let text = house.client.submit(&Turn::new(key("c"), "r-1", "kiosk", CANONICAL)).await.unwrap_err();
    assert_eq!(text.reason(), "REQUEST_ID_REUSED", "a text of the same letters is another payload");

    let house = house.restart().await;
    let repeated = again(&house, "{\r\n\t\"intent\":\"counter\",\"slots\":{\"number\":\"\\u0031234\"}}").await.unwrap();
    assert_eq!((repeated.replayed, repeated.turn.as_ref()), (true, Some(&turn)));
    assert_eq!(said(&told(&house.client, 1).await), said(&turn));
    let replayed = house.client.replay(&key("c"), None).await.unwrap();
    assert_eq!((replayed.turns_identical, replayed.turns_different), (1, 0), "{:?}", replayed.differences);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_structured_turn_is_accepted_as_such_and_survives() {
    let house = House::with_kiosk().await;
    let events = streamed(&house.client, &structured("r-1", SERVE)).await;
    let Some(Streamed::Committed(committed)) = events.last() else { panic!("not committed: {events:?}") };
    assert_eq!(said(committed.turn.as_ref().unwrap()), v1::turn_input::Input::Json(CANONICAL.to_owned()));
    let house = house.restart().await;
    assert_eq!(said(&told(&house.client, 1).await), v1::turn_input::Input::Json(CANONICAL.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_structured_input_is_told_by_path_bound_and_fix() {
    let house = House::with_kiosk().await;
    let refused = async |json: &str| {
        let refused = house.client.submit(&structured("r-1", json)).await.unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (Code::InvalidArgument, "INVALID_FIELD"));
        refused.fields().to_vec()
    };
    let long = refused(&format!("{{\"text\": \"{}\"}}", "a".repeat(16 << 10))).await;
    assert_eq!((long[0].0.as_str(), long[0].1.contains("16384")), ("input.json", true), "{long:?}");
    let deep = refused(&format!("{{\"slots\": {{\"a\": {}1{}}}}}", "[".repeat(200), "]".repeat(200))).await;
    assert_eq!((deep[0].0.as_str(), deep[0].1.contains("16 levels")), ("input.json", true), "{deep:?}");
    let two = refused(r#"{"slots": [], "confirm": true}"#).await;
    let paths: Vec<_> = two.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["input.json.slots", "input.json.confirm"]);
    assert!(two[0].1.contains("an object") && two[1].1.contains("`action`"), "{two:?}");
    assert_eq!(house.client.conversations("acme", 10, "").await.unwrap().conversations.len(), 0, "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_ups_are_told_wherever_the_turn_is_and_after_a_restart() {
    let house = House::with_kiosk().await;
    let turn = Turn { include_stages: true, ..Turn::new(key("c"), "r-1", "kiosk", "hello") };
    let answered = house.client.submit(&turn).await.unwrap().turn.unwrap();
    assert_eq!(follow_ups(&answered), ["To the counter", "Goodbye"]);
    assert_eq!((answered.reply.as_ref().unwrap().json.as_ref(), answered.usage), (None, None));
    assert_eq!(told(&house.client, 1).await, answered);
    let Some(Streamed::Committed(streamed)) = streamed(&house.client, &turn).await.pop() else { panic!("no ending") };
    assert_eq!(follow_ups(&streamed.turn.unwrap()), follow_ups(&answered));
    let house = house.restart().await;
    assert_eq!(told(&house.client, 1).await, answered);
    assert_eq!(house.client.submit(&turn).await.unwrap().turn.unwrap(), answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_before_the_stage_that_waits_and_is_no_part_of_the_history() {
    let house = House::with_kiosk().await;
    let events = streamed(&house.client, &Turn::new(key("c"), "r-1", "kiosk", "to the counter")).await;
    let place = |wanted: fn(&Streamed) -> bool| events.iter().position(wanted).unwrap();
    let accepted = place(|event| matches!(event, Streamed::Accepted(_)));
    let progress = place(|event| matches!(event, Streamed::Progress(_)));
    let enriched = place(|event| matches!(event, Streamed::Stage(stage) if stage.stage == "enrich"));
    assert!(accepted < progress && progress < enriched, "{events:?}");
    let told_once: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Streamed::Progress(progress) => Some((progress.stage.as_str(), progress.text.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(told_once, [("enrich", "Looking how long the queue is …")]);
    let listed = told(&house.client, 1).await;
    assert_eq!(listed.degradations[0].source, "queue");
    let told_as_stages = events.iter().filter(|event| matches!(event, Streamed::Stage(_))).count();
    assert_eq!(listed.stages.len(), told_as_stages);
    // Where nothing waits, nothing is said.
    let quiet = streamed(&house.client, &Turn::new(key("d"), "r-1", "kiosk", "hello")).await;
    assert!(!quiet.iter().any(|event| matches!(event, Streamed::Progress(_))));
}

/// A model whose first answer does not fit the schema, so that it is sent back.
#[derive(Debug, Default)]
struct Adviser(AtomicUsize);

impl Outside for Adviser {
    fn model(&self, _: ModelCall) -> BoxFuture<'static, ModelAnswer> {
        let again = self.0.fetch_add(1, Ordering::SeqCst) > 0;
        let text = if again { r#"{"minutes": 5, "text": "Wait a little."}"# } else { "{}" };
        let usage = Usage { tokens_in: 40, tokens_out: 7, tokens_cached: 3, cost_micros: 11 };
        let output = ModelOutput { text: text.into(), model: "m".into(), usage, truncated: false };
        Box::pin(std::future::ready(Ok(output).into()))
    }

    fn call(&self, _: SourceCall) -> BoxFuture<'static, CallOutcome> {
        Box::pin(std::future::ready(CallOutcome::Unknown))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_json_and_what_it_cost_are_told_wherever_the_turn_is_and_after_a_restart() {
    let store = MemoryStore::new(Arc::new(SystemEntropy));
    let house = House::on(store, Arc::new(Adviser::default())).await;
    house.release(&kiosk("Come in.")).await;
    let turn = Turn { include_stages: true, ..Turn::new(key("c"), "r-1", "kiosk", "advise me") };
    let answered = house.client.submit(&turn).await.unwrap().turn.unwrap();
    let reply = answered.reply.clone().unwrap();
    assert_eq!((reply.text.as_str(), reply.kind.as_str()), ("Wait a little.", "model_json"));
    assert_eq!(reply.json.as_deref(), Some(r#"{"minutes":5,"text":"Wait a little."}"#));
    assert_eq!(reply.follow_ups, ["Thank you"]);
    let used = v1::Usage { model_calls: 2, input_tokens: 80, output_tokens: 14, cost_micros: 22 };
    assert_eq!(answered.usage, Some(used));
    assert_eq!(told(&house.client, 1).await, answered);
    // The next process can ask no model, and need not.
    let house = house.restart().await;
    assert_eq!(told(&house.client, 1).await, answered);
    assert_eq!(house.client.submit(&turn).await.unwrap().turn.unwrap(), answered);
    let replayed = house.client.replay(&key("c"), None).await.unwrap();
    assert_eq!((replayed.turns_identical, replayed.turns_different), (1, 0), "{:?}", replayed.differences);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_asked_is_counted_and_degrades() {
    let house = House::with_kiosk().await;
    let turn = house.say("c", "r-1", "advise me").await;
    assert_eq!(turn.outcome(), v1::TurnOutcome::Degraded);
    let reply = turn.reply.unwrap();
    assert_eq!((reply.text.as_str(), reply.json), ("Later.", None));
    assert_eq!(turn.usage.map(|used| (used.model_calls, used.input_tokens)), Some((1, 0)));
}
