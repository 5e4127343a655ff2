//! Streams of turns as clients see them: cut anywhere and taken up again, ended early, left alone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use colloquy_client::{Client, v1::stream_turn_response::Event};
use tonic::Code;

use super::*;
use crate::peer::{Peer, dawdle};

const PARTS: usize = 120;

fn part(text: &str) -> String {
    format!("data: {{\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const END: &str =
    "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// A model that writes for some seconds, part by part.
fn slow_writer() -> Peer {
    Peer::start_raw(|_, stream| {
        let mut write = |text: &str| stream.write_all(text.as_bytes()).is_ok();
        let mut goes_on = write(HEAD);
        for number in 0..PARTS {
            goes_on = goes_on && write(&part(&format!("{number} ")));
            dawdle(Duration::from_millis(10));
        }
        if goes_on {
            write(END);
        }
        false
    })
}

/// The bytes of a stream's events from behind `after`, at most `most` of them, and the last one's offset.
async fn read(
    client: &Client,
    turn: &Turn,
    after: Option<v1::EventOffset>,
    most: usize,
) -> (Vec<u8>, Option<v1::EventOffset>, bool) {
    let (mut bytes, mut last, mut count) = (Vec::new(), after, 0);
    let mut events = client.stream_after(turn, after).await.unwrap();
    while count < most {
        let Some(mut event) = events.message().await.unwrap() else { return (bytes, last, true) };
        match &mut event.event {
            Some(Event::KeepAlive(_)) => continue,
            // Who came first and who repeated is the one thing that readers are told differently.
            Some(Event::Committed(committed)) => committed.replayed = false,
            _ => {}
        }
        last = event.offset;
        bytes.extend(format!("{event:?}\n").into_bytes());
        count += 1;
    }
    (bytes, last, false)
}

/// BO-09, CR-10: no reader loses a byte, however often its connection breaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_cut_at_a_hundred_points_is_the_stream_that_was_not_cut() {
    let model = slow_writer();
    let place = place(&provider(model.address, ""));
    let server = started(&place, &[]);
    let client = server.client().await;
    let tell = errand("c", "r-1", "tell");
    let uncut = {
        let (client, tell) = (client.clone(), tell.clone());
        tokio::spawn(async move { read(&client, &tell, None, usize::MAX).await.0 })
    };
    let ended = Arc::new(AtomicBool::new(false));
    let readers = (0..20_u64).map(|reader| {
        let (client, tell, ended) = (client.clone(), tell.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            let (mut all, mut after, mut cuts, mut random) = (Vec::new(), None, 0, reader * 7919 + 1);
            loop {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let most = if cuts < 5 { usize::try_from(random >> 60).unwrap() + 1 } else { usize::MAX };
                let (bytes, last, is_ended) = read(&client, &tell, after, most).await;
                all.extend(bytes);
                (after, cuts) = (last, cuts + 1);
                if is_ended {
                    ended.store(true, Ordering::Relaxed);
                    return (all, cuts - 1);
                }
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let uncut = uncut.await.unwrap();
    let mut cuts = 0;
    for reader in readers {
        let (all, cut) = reader.await.unwrap();
        assert!(all == uncut, "a reader that was cut {cut} times saw something else");
        cuts += cut;
    }
    assert_eq!(cuts, 100);
    assert!(uncut.len() > PARTS * 10);
}

/// P12: a cancel is explicit, and leaves a transcript in which what was shown was said.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_stream_ends_with_what_was_shown() {
    let model = slow_writer();
    let place = place(&provider(model.address, ""));
    let server = started(&place, &[]);
    let client = server.client().await;
    let tell = errand("c", "r-1", "tell");
    let mut events = client.stream(&tell).await.unwrap();
    let mut shown = String::new();
    while shown.is_empty() {
        if let Some(Event::Delta(delta)) = events.message().await.unwrap().unwrap().event {
            shown.push_str(&delta.text);
        }
    }
    let turn = client.cancel(&tell.key, "r-1").await.unwrap().expect("it had begun");
    assert_eq!(turn.outcome(), v1::TurnOutcome::Interrupted);
    let mut told = None;
    while let Some(event) = events.message().await.unwrap() {
        match event.event {
            Some(Event::Delta(delta)) => shown.push_str(&delta.text),
            Some(Event::Committed(committed)) => told = committed.turn,
            _ => {}
        }
    }
    let told = told.expect("the stream ends with the turn");
    assert_eq!((reply(&told), reply(&turn)), (shown.as_str(), shown.as_str()));
    let listed = client.turns(&tell.key, 1, 10).await.unwrap().turns;
    assert_eq!((listed.len(), reply(&listed[0])), (1, shown.as_str()));
    let unknown = client.cancel(&tell.key, "r-2").await.unwrap_err();
    assert_eq!((unknown.code(), unknown.reason()), (Code::NotFound, "REQUEST_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_conversation_does_what_the_turn_says() {
    let model = slow_writer();
    let place = place(&provider(model.address, ""));
    let server = started(&place, &[]);
    let client = server.client().await;
    let mut events = client.stream(&errand("c", "r-1", "tell")).await.unwrap();
    while !matches!(events.message().await.unwrap().unwrap().event, Some(Event::Delta(_))) {}
    let with = |request_id: &str, busy| Turn { busy, ..errand("c", request_id, "desk") };
    let refused = client.submit(&with("r-2", v1::BusyPolicy::Reject)).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::Aborted, "BUSY"));
    assert_eq!(refused.metadata("held_by").map(str::len), Some(32), "the turn that holds it");
    let millis = |key: &str| refused.metadata(key).and_then(|value| value.parse::<u64>().ok()).expect(key);
    let (held_for, at_most) = (millis("held_for_ms"), millis("held_at_most_ms"));
    // A part was read, and parts come every 10 ms; the turn may take as long as its caller said.
    assert!((1..30_000).contains(&held_for), "since when: {held_for}");
    assert!((1..=30_000).contains(&at_most) && held_for + at_most <= 30_001, "until when: {held_for} + {at_most}");
    let left = client.submit(&with("r-3", v1::BusyPolicy::Drop)).await.unwrap().turn.unwrap();
    assert_eq!((left.outcome(), left.turn_seq), (v1::TurnOutcome::LeftOut, 0));
    let next = client.submit(&with("r-4", v1::BusyPolicy::Replace)).await.unwrap().turn.unwrap();
    assert_eq!(next.turn_seq, 1, "as if the other one had never been sent");
    let mut ending = None;
    while ending.is_none() {
        ending = events.message().await.err();
    }
    assert_eq!(ending.unwrap().code(), Code::Cancelled);
    let mut events = client.stream(&errand("c", "r-5", "tell")).await.unwrap();
    let mut shown = String::new();
    while shown.is_empty() {
        if let Some(Event::Delta(delta)) = events.message().await.unwrap().unwrap().event {
            shown.push_str(&delta.text);
        }
    }
    let next = client.submit(&with("r-6", v1::BusyPolicy::Interrupt)).await.unwrap().turn.unwrap();
    let mut interrupted = None;
    while let Some(event) = events.message().await.unwrap() {
        match event.event {
            Some(Event::Delta(delta)) => shown.push_str(&delta.text),
            Some(Event::Committed(committed)) => interrupted = committed.turn,
            _ => {}
        }
    }
    let interrupted = interrupted.expect("what was shown of it stays");
    assert_eq!((interrupted.outcome(), reply(&interrupted)), (v1::TurnOutcome::Interrupted, shown.as_str()));
    assert_eq!((interrupted.turn_seq, next.turn_seq, next.outcome()), (2, 3, v1::TurnOutcome::Complete));
    // From the command line.
    let call = |arguments: &[&str]| {
        let global = ["--addr", &server.grpc, "--tenant", "acme", "--color", "never"];
        let output = crate::harness::run(&[arguments, &global].concat());
        (output.status.code(), crate::harness::stdout(&output), crate::harness::stderr(&output))
    };
    assert_eq!(
        call(&["pause", "c", "--reason", "ticket 4711"]).1,
        "the conversation takes no turns until it is resumed\n"
    );
    let paused = call(&["send", "c", "desk"]);
    assert!(paused.0 == Some(4) && paused.2.contains("paused"), "{paused:?}");
    assert_eq!(call(&["pause", "c"]).1, "the conversation takes no turns until it is resumed, as before\n");
    assert_eq!(call(&["resume", "c"]).0, Some(0));
    assert_eq!(call(&["fork", "c", "d", "--at", "1"]).1, "forked; d counts its own turns from 1\n");
    let forked = client.conversation(&Key::new("acme", "d")).await.unwrap();
    assert_eq!((forked.origin.unwrap().turn_seq, forked.intent.as_str()), (1, "desk"));
    assert_eq!(call(&["fork", "c", "d"]).0, Some(4), "the key is taken");
    let cancelled = call(&["cancel", "c", "r-4"]);
    assert!(cancelled.0 == Some(0) && cancelled.1.contains("Hello."), "it had ended: {cancelled:?}");
}
