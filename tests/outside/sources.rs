//! Sources that are late: a turn waits for the one that may take longest, and no longer.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::peer::{Peer, response};

/// BO-08, CE-003: sources are asked at once, and a late one costs what it may cost.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_four_sources_hangs_and_the_turn_takes_its_budget() {
    let (well, hanging) =
        (Peer::start(|_| response("200 OK", "application/json", r#"{"text":"fine"}"#)), Peer::start(|_| None));
    let settings: String = ["one", "two", "four"].map(|name| source(name, well.address, "")).concat()
        + &source("three", hanging.address, "");
    let place = place(&settings);
    let server = started(&place, &[]);
    let client = server.client().await;
    client.submit(&errand("warm", "r-0", "desk")).await.unwrap();
    let began = Instant::now();
    let turn = client.submit(&errand("c", "r-1", "look")).await.unwrap().turn.unwrap();
    let took = began.elapsed();
    assert_eq!(reply(&turn), "fine fine none fine");
    assert!((Duration::from_millis(400)..Duration::from_millis(500)).contains(&took), "{took:?}");
    let degraded: Vec<_> = turn.degradations.iter().map(|one| (one.source.as_str(), one.reason.as_str())).collect();
    assert_eq!(degraded, [("three", "timed_out")]);
    until("the end of the call that hangs", || hanging.open() == 0);
}

/// BO-08: an answer of any size or kind is refused within its bound.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_read_leave_the_default() {
    let answered = std::sync::Arc::<AtomicUsize>::default();
    let turn = std::sync::Arc::clone(&answered);
    let peer = Peer::start(move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        0 => response("200 OK", "application/json", &format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20))),
        1 => response("200 OK", "application/json", "{\"text\":"),
        2 => response("200 OK", "text/html", "<p>fine</p>"),
        _ => response("302 Found", "application/json", "{}"),
    });
    let settings = ["one", "two", "three", "four"].map(|name| source(name, peer.address, "")).concat();
    let place = place(&settings);
    let server = started(&place, &[]);
    let client = server.client().await;
    let turn = client.submit(&errand("c", "r-1", "look")).await.unwrap().turn.unwrap();
    assert_eq!(reply(&turn), "none none none none");
    assert_eq!(turn.degradations.len(), 4, "{:?}", turn.degradations);
    let mut reasons: Vec<_> = turn.degradations.iter().map(|one| one.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["malformed", "malformed", "malformed", "refused"]);
}
