//! A real model that stops answering in the middle of a reply, and comes back.

use std::time::{Duration, Instant};

use colloquy_client::{Client, Events, Turn, v1};
use v1::stream_turn_response::Event;

use super::{Bench, is_answered, llama::Llama};
use crate::{harness::DEADLINE, outside::until};

const COUNTER: &str = include_str!("counter.yaml");
const STORY: &str = "tell me a very long story about a fox, a crow and a lion";
/// How long a turn has.
const BUDGET: Duration = Duration::from_secs(4);
/// What it may take beyond that: the way there and back.
const GRACE: Duration = Duration::from_millis(50);
/// The series of the gate's breaker.
const OPEN: &str = "colloquy_gate_open{name=\"local/small\"}";

/// Reads a reply until some parts of it are there.
async fn begun(events: &mut Events<v1::StreamTurnResponse>) {
    let mut deltas = 0;
    while deltas < 3 {
        let event = events.message().await.unwrap().expect("more of the reply").event;
        assert!(!matches!(event, Some(Event::Committed(_))), "the reply ended too early");
        deltas += usize::from(matches!(event, Some(Event::Delta(_))));
    }
}

/// The turn a stream ends with.
async fn committed(mut events: Events<v1::StreamTurnResponse>) -> v1::Turn {
    loop {
        let event = events.message().await.unwrap().expect("it ends with a turn").event;
        if let Some(Event::Committed(committed)) = event {
            return committed.turn.unwrap();
        }
    }
}

fn said(turn: &v1::Turn) -> &str {
    turn.reply.as_ref().map(|reply| reply.text.as_str()).unwrap_or_default()
}

async fn submitted(client: &Client, turn: &Turn) -> v1::Turn {
    client.submit(turn).await.unwrap().turn.unwrap()
}

fn reasons(turn: &v1::Turn) -> Vec<&str> {
    turn.degradations.iter().map(|one| one.reason.as_str()).collect()
}

/// Whether the turn is the flow's own reply to a model that failed, for this reason.
fn assert_degraded(turn: &v1::Turn, reason: &str) {
    assert_eq!((said(turn), turn.outcome()), ("I cannot say.", v1::TurnOutcome::Degraded));
    assert_eq!(reasons(turn), [reason]);
}

async fn breaker(bench: &Bench, client: &Client) -> v1::BreakerState {
    let row = bench.actor(client, v1::ActorKind::Model, "root/models/local/small").await;
    row.gate.unwrap().breaker()
}

/// CE-003, BO-02: a model that falls silent in the middle costs a turn its time and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_falls_silent_leaves_a_recorded_reply_in_time() {
    let Some(llama) = Llama::start() else { return };
    let bench = Bench::start("counter", COUNTER, &llama.settings(""));
    let client = Client::connect(&bench.server.grpc, BUDGET).await.unwrap();
    let sent = Instant::now();
    let mut events = client.stream(&bench.turn("c", "r-1", STORY)).await.unwrap();
    begun(&mut events).await;
    llama.hold();
    let turn = committed(events).await;
    let took = sent.elapsed();
    llama.release();
    assert!(took < BUDGET + GRACE, "{took:?}");
    assert!(took > BUDGET / 2, "it was given up early: {took:?}");
    assert_degraded(&turn, "timed_out");
    let patient = bench.server.client().await;
    bench.recorded(&patient, "c", &[turn]).await;
    let next = submitted(&patient, &bench.turn("c", "r-2", "tell me about water")).await;
    assert!(is_answered(&next), "{:?}", next.degradations);
    bench.assert_replays(1, 2);
}

/// BO-04, MI-10, BO-11: a model that is gone is left alone, told of, and found again.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_killed_opens_its_breaker_and_closes_it_when_it_is_back() {
    let Some(mut llama) = Llama::start() else { return };
    let keys = "breaker.failures = 2\nbreaker.open_for = \"500ms\"\nbreaker.open_for_max = \"500ms\"";
    let bench = Bench::start("counter", COUNTER, &llama.settings(keys));
    let client = Client::connect(&bench.server.grpc, BUDGET).await.unwrap();
    let sent = Instant::now();
    let mut events = client.stream(&bench.turn("c", "r-1", STORY)).await.unwrap();
    begun(&mut events).await;
    llama.kill();
    let cut = committed(events).await;
    assert!(sent.elapsed() < BUDGET + GRACE, "{:?}", sent.elapsed());
    assert_degraded(&cut, "unavailable");
    assert_eq!(breaker(&bench, &client).await, v1::BreakerState::Closed, "one failure is none");

    let refused = submitted(&client, &bench.turn("c", "r-2", "tell me about water")).await;
    assert_degraded(&refused, "unavailable");
    assert_eq!(breaker(&bench, &client).await, v1::BreakerState::Open);
    until("the open breaker among the metrics", || bench.metric(OPEN) == 1);

    // Nobody is asked while it is open, so this costs no time.
    let begun_at = Instant::now();
    let left = submitted(&client, &bench.turn("c", "r-3", "tell me about water")).await;
    assert!(begun_at.elapsed() < Duration::from_millis(300), "{:?}", begun_at.elapsed());
    assert_degraded(&left, "unavailable");

    llama.come_back();
    let mut tried = vec![cut, refused, left];
    let patience = Instant::now() + DEADLINE;
    let patient = bench.server.client().await;
    while !tried.last().is_some_and(is_answered) {
        assert!(Instant::now() < patience, "no reply since it is back");
        let request_id = format!("r-{}", tried.len() + 1);
        let turn = submitted(&patient, &bench.turn("c", &request_id, "tell me about water")).await;
        tried.push(turn);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(breaker(&bench, &client).await, v1::BreakerState::Closed);
    until("the closed breaker among the metrics", || bench.metric(OPEN) == 0);
    bench.recorded(&patient, "c", &tried).await;
    let usage = tried.last().and_then(|turn| turn.usage).unwrap();
    assert!(usage.input_tokens > 0 && usage.output_tokens > 0, "{usage:?}");
    bench.assert_replays(1, tried.len());
}
