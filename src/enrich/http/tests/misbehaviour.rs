//! Every way of not answering: the call ends in time, says what happened, and leaves no connection.

use std::time::Duration;

use crate::{
    Error, Happened, HttpMethod, MalformedKind,
    testing::{Behaviour, Peer, response},
};

use super::{ask, ask_shortly, call, json, source};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const TYPE: &str = "content-type: application/json\r\n";

/// Asks a server that behaves like that, waits until it is left alone, and returns the error.
async fn ended(behaviour: Behaviour) -> Error {
    let mut peer = Peer::start(behaviour).await;
    let source = source(&peer, |settings| settings.method = HttpMethod::Post);
    let error = ask_shortly(&source, call("{}")).await.unwrap_err();
    peer.left_alone().await;
    error
}

#[tokio::test]
async fn silence_at_any_point_ends_at_the_deadline_and_nobody_knows() {
    let silences = [
        Behaviour::Stall(Vec::new()),
        Behaviour::Stall(b"HTTP/1.1 200".to_vec()),
        Behaviour::Stall(format!("{HEAD}content-length: 9\r\n\r\n").into_bytes()),
        Behaviour::Stall(format!("{HEAD}content-length: 9\r\n\r\n{{\"a\":").into_bytes()),
        Behaviour::Stall(format!("{HEAD}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n").into_bytes()),
    ];
    for silence in silences {
        let error = ended(silence).await;
        assert_eq!(error, Error::TimedOut { sent: true });
        assert_eq!(error.happened(), Happened::Unknown);
    }
}

#[tokio::test]
async fn a_broken_connection_is_an_interruption_and_nobody_knows() {
    let breaks = [
        Behaviour::Reset,
        Behaviour::End(Vec::new()),
        Behaviour::End(b"HTTP/1.1 200 OK\r\ncont".to_vec()),
        Behaviour::End(format!("{HEAD}content-length: 9\r\n\r\n{{\"a\":").into_bytes()),
        Behaviour::End(format!("{HEAD}transfer-encoding: chunked\r\n\r\n5\r\n{{}}").into_bytes()),
        Behaviour::Say(b"this is no HTTP\r\n\r\n".to_vec()),
    ];
    for broken in breaks {
        let error = ended(broken).await;
        assert_eq!(error, Error::Interrupted);
        assert_eq!(error.happened(), Happened::Unknown);
        assert!(error.retryable());
    }
}

#[tokio::test]
async fn an_answer_over_the_bound_is_refused_however_it_comes() {
    let (bound, ten_megabytes) = (64 << 10, " ".repeat(10 << 20));
    let large = [
        Behaviour::Say(response("200 OK", TYPE, &ten_megabytes)),
        Behaviour::Flood(format!("{HEAD}transfer-encoding: chunked\r\n\r\nffffffff\r\n").into_bytes()),
        Behaviour::Flood(format!("{HEAD}connection: close\r\n\r\n").into_bytes()),
        Behaviour::Stall(format!("{HEAD}content-length: 65537\r\n\r\n").into_bytes()),
    ];
    for answer in large {
        let error = ended(answer).await;
        assert_eq!(error, Error::TooLarge { bytes_max: bound });
        assert_eq!(error.happened(), Happened::Unknown);
    }
}

#[tokio::test]
async fn an_answer_at_the_bound_is_taken() {
    let body = format!("\"{}\"", "a".repeat(98));
    let peer = Peer::saying("200 OK", TYPE, &body).await;
    let exact = source(&peer, |settings| settings.bytes_max = 100);
    assert_eq!(ask(&exact, call("{}")).await.unwrap().value, json(&body));
    let tight = source(&peer, |settings| settings.bytes_max = 99);
    assert_eq!(ask(&tight, call("{}")).await.unwrap_err(), Error::TooLarge { bytes_max: 99 });
}

#[tokio::test]
async fn endless_headers_end_the_call() {
    let error = ended(Behaviour::Flood(b"HTTP/1.1 200 OK\r\nx-header: ".to_vec())).await;
    assert_eq!(error, Error::Interrupted);
}

#[tokio::test]
async fn what_cannot_be_read_is_malformed_and_told_apart() {
    let deep = format!("{}{}", "[".repeat(17), "]".repeat(17));
    let deepest = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).split_off(140_000);
    let many = format!("[{}1]", "1,".repeat(10_000));
    let cases = [
        ("content-type: text/html\r\n", "<html>", MalformedKind::ContentType),
        ("content-type: application/jsonp\r\n", "{}", MalformedKind::ContentType),
        ("", "{}", MalformedKind::ContentType),
        (TYPE, "{\"a\":", MalformedKind::Json),
        (TYPE, "{\"a\":1,\"a\":2}", MalformedKind::Json),
        (TYPE, "0.1234567", MalformedKind::Json),
        (TYPE, deepest.as_str(), MalformedKind::Json),
        (TYPE, deep.as_str(), MalformedKind::Shape),
        (TYPE, many.as_str(), MalformedKind::Shape),
    ];
    for (headers, body, wanted) in cases {
        let mut peer = Peer::saying("200 OK", &format!("{headers}connection: close\r\n"), body).await;
        let error = ask(&source(&peer, |_| {}), call("{}")).await.unwrap_err();
        assert_eq!(error, Error::Malformed(wanted), "{headers}");
        assert_eq!(error.happened(), Happened::Unknown);
        peer.left_alone().await;
    }
    let mut invalid = response("200 OK", TYPE, "\"??\"");
    let place = invalid.len() - 3;
    invalid[place] = 0xff;
    let peer = Peer::start(Behaviour::Say(invalid)).await;
    let error = ask(&source(&peer, |_| {}), call("{}")).await.unwrap_err();
    assert_eq!(error, Error::Malformed(MalformedKind::Utf8));
}

#[tokio::test]
async fn every_status_says_what_happened() {
    let busy =
        |code, seconds: Option<u64>| Error::Busy { code: Some(code), retry_after: seconds.map(Duration::from_secs) };
    let failed =
        |code, seconds: Option<u64>| Error::Failed { code: Some(code), retry_after: seconds.map(Duration::from_secs) };
    let refused = |code| Error::Refused { code: Some(code) };
    let cases = [
        ("400 Bad Request", "", refused(400), Happened::No),
        ("401 Unauthorized", "", refused(401), Happened::No),
        ("404 Not Found", "", refused(404), Happened::No),
        ("409 Conflict", "", refused(409), Happened::No),
        ("422 Unprocessable", "", refused(422), Happened::No),
        ("408 Request Timeout", "", busy(408, None), Happened::No),
        ("425 Too Early", "", busy(425, None), Happened::No),
        ("429 Too Many", "retry-after: 7\r\n", busy(429, Some(7)), Happened::No),
        ("429 Too Many", "retry-after: 9999999999\r\n", busy(429, Some(86_400)), Happened::No),
        ("429 Too Many", "retry-after: -1\r\n", busy(429, None), Happened::No),
        ("429 Too Many", "retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n", busy(429, None), Happened::No),
        ("500 Broken", "", failed(500, None), Happened::Unknown),
        ("503 Unavailable", "retry-after: 2\r\n", failed(503, Some(2)), Happened::Unknown),
        ("504 Timeout", "", failed(504, None), Happened::Unknown),
        ("302 Found", "location: http://127.0.0.1:1/\r\n", Error::Redirected { status: 302 }, Happened::Unknown),
        ("303 See Other", "location: /\r\n", Error::Redirected { status: 303 }, Happened::Unknown),
        ("307 Elsewhere", "location: /\r\n", Error::Redirected { status: 307 }, Happened::No),
        ("308 Elsewhere", "location: /\r\n", Error::Redirected { status: 308 }, Happened::No),
    ];
    for (status, headers, wanted, happened) in cases {
        let peer = Peer::saying(status, headers, "").await;
        let error = ask(&source(&peer, |_| {}), call("{}")).await.unwrap_err();
        assert_eq!(error, wanted, "{status}");
        assert_eq!(error.happened(), happened, "{status}");
        assert_eq!(error.retryable(), matches!(wanted, Error::Busy { .. } | Error::Failed { .. }), "{status}");
        assert_eq!(peer.seen().len(), 1, "nothing was followed or tried again: {status}");
    }
}

#[tokio::test]
async fn dropping_a_call_breaks_off_its_request() {
    let mut peer = Peer::start(Behaviour::Stall(Vec::new())).await;
    let source = source(&peer, |_| {});
    let dropped = tokio::time::timeout(Duration::from_millis(200), ask(&source, call("{}"))).await;
    assert!(dropped.is_err());
    assert_eq!(peer.seen().len(), 1, "it was sent");
    peer.left_alone().await;
}

#[tokio::test]
async fn a_refused_connection_was_never_sent() {
    let peer = Peer::saying("200 OK", "", "").await;
    let source = source(&peer, |_| {});
    drop(peer);
    let error = ask(&source, call("{}")).await.unwrap_err();
    assert_eq!(error, Error::Unreachable(crate::UnreachableKind::Connect));
    assert_eq!(error.happened(), Happened::No);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_ended_does_not_fail_the_next_call() {
    let peer = Peer::start(Behaviour::End(response("200 OK", TYPE, "1"))).await;
    let source = source(&peer, |_| {});
    for _ in 0..3 {
        assert_eq!(ask(&source, call("{}")).await.unwrap().value, json("1"));
        // The end of the connection is on its way while the answer is read: the next call finds it there.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(peer.seen().len(), 3);
}
