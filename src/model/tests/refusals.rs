//! A provider's refusals, from its status, its codes and its headers.

use std::time::Duration;

use super::{
    anthropic, openai, request,
    server::{Do, Server, chunk, response, stream_head},
    within,
};
use crate::{Error, Model as _, Refusal};

async fn refused(status: u16, headers: &str, body: &str) -> Error {
    let server = Server::start(vec![response(status, "application/json", headers, body.as_bytes())]).await;
    openai(&server.base()).attempt(&request(), within(2000), None).await.expect_err("it refuses")
}

fn status(code: u16, class: Refusal) -> Error {
    Error::Status { code, class, retry_after: None }
}

#[tokio::test]
async fn retry_after_is_read_in_seconds_and_as_a_date() {
    let seconds = refused(429, "retry-after: 7\r\n", "{}").await;
    assert_eq!((seconds.retry_after(), seconds.retryable()), (Some(Duration::from_secs(7)), true));
    let date = "date: Sat, 21 Nov 2026 12:00:00 GMT\r\nretry-after: Sat, 21 Nov 2026 12:01:30 GMT\r\n";
    assert_eq!(refused(429, date, "").await.retry_after(), Some(Duration::from_secs(90)));
    let past = "date: Sat, 21 Nov 2026 12:00:00 GMT\r\nretry-after: Sat, 21 Nov 2026 11:00:00 GMT\r\n";
    assert_eq!(refused(503, past, "").await, Error::Overloaded { retry_after: Some(Duration::ZERO) });
    assert_eq!(refused(429, "retry-after: soon\r\n", "").await.retry_after(), None);
    assert_eq!(refused(429, "retry-after: 99999999999\r\n", "").await.retry_after(), Some(Duration::from_secs(86_400)));
}

#[tokio::test]
async fn codes_say_more_than_the_status() {
    let coded = |code: &str, kind: &str| format!(r#"{{"error":{{"message":"told","type":"{kind}","code":"{code}"}}}}"#);
    let invalid = "invalid_request_error";
    for (code, body, class) in [
        (429, coded("insufficient_quota", "insufficient_quota"), Refusal::QuotaExhausted),
        (429, coded("rate_limit_exceeded", "tokens"), Refusal::RateLimited),
        (400, coded("context_length_exceeded", invalid), Refusal::TooLong),
        (400, r#"{"error":{"code":400,"type":"exceed_context_size_error"}}"#.to_owned(), Refusal::TooLong),
        (400, coded("content_filter", invalid), Refusal::Filtered),
        (400, coded("", invalid), Refusal::Invalid),
        (401, coded("invalid_api_key", invalid), Refusal::Unauthenticated),
        (404, r#"{"error":"model not found"}"#.to_owned(), Refusal::NotFound),
        (403, "not json".to_owned(), Refusal::Forbidden),
        (500, String::new(), Refusal::Failed),
        (302, String::new(), Refusal::Unexpected),
    ] {
        let error = refused(code, "location: http://127.0.0.1:9/\r\n", &body).await;
        assert_eq!(error, status(code, class), "{body}");
        assert_eq!(error.retryable(), matches!(class, Refusal::RateLimited | Refusal::Failed), "{class:?}");
    }
}

#[tokio::test]
async fn a_refusal_with_an_endless_body_ends_soon() {
    let head = "HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n";
    let endless = Do::SendForEver(b"5\r\nxxxxx\r\n".to_vec());
    let server = Server::start(vec![Do::Send(head.into()), endless]).await;
    let model = openai(&server.base());
    assert_eq!(model.attempt(&request(), within(2000), None).await, Err(status(500, Refusal::Failed)));
    server.alone().await;
    let silent = Server::start(vec![Do::Send(head.into()), Do::Hang]).await;
    let began = std::time::Instant::now();
    let ended = openai(&silent.base()).attempt(&request(), within(5000), None).await;
    assert_eq!(ended, Err(status(500, Refusal::Failed)));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    silent.alone().await;
}

#[tokio::test]
async fn bursts_of_failures_are_each_told_and_asked_once() {
    let server = Server::start(vec![response(500, "text/plain", "", b"oops")]).await;
    let model = openai(&server.base());
    let request = request();
    let attempts = (0..20).map(|_| model.attempt(&request, within(5000), None));
    for ended in futures::future::join_all(attempts).await {
        assert_eq!(ended, Err(status(500, Refusal::Failed)));
    }
    assert_eq!(server.requests().len(), 20, "each attempt is one request");
}

#[tokio::test]
async fn anthropic_says_that_it_is_overloaded_by_status_and_by_event() {
    let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let server = Server::start(vec![response(529, "application/json", "retry-after: 3\r\n", body)]).await;
    let ended = anthropic(&server.base()).attempt(&request(), within(2000), None).await;
    assert_eq!(ended, Err(Error::Overloaded { retry_after: Some(Duration::from_secs(3)) }));
    for (kind, wanted) in [
        ("overloaded_error", Error::Overloaded { retry_after: None }),
        ("rate_limit_error", status(200, Refusal::RateLimited)),
        ("something_new", status(200, Refusal::Failed)),
    ] {
        let event = format!("event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\"}}}}\n\n");
        let server = Server::start(vec![stream_head(), chunk(event), Do::Hang]).await;
        let (to, _deltas) = tokio::sync::mpsc::channel(4);
        let ended = anthropic(&server.base()).attempt(&request(), within(2000), Some(to)).await;
        assert_eq!(ended, Err(wanted), "{kind}");
        server.alone().await;
    }
}

#[tokio::test]
async fn a_check_asks_for_the_models_and_tells_a_key_that_is_not_known() {
    let server = Server::start(vec![super::server::json("{\"data\":[]}")]).await;
    assert_eq!(openai(&server.base()).check(within(2000)).await, Ok(()));
    assert_eq!(anthropic(&server.base()).check(within(2000)).await, Ok(()));
    let asked: Vec<String> =
        server.requests().iter().filter_map(|head| Some(head.lines().next()?.to_owned())).collect();
    assert_eq!(asked, ["GET /models HTTP/1.1", "GET /v1/models HTTP/1.1"]);
    let server = Server::start(vec![response(401, "application/json", "", b"{}")]).await;
    assert_eq!(openai(&server.base()).check(within(2000)).await, Err(status(401, Refusal::Unauthenticated)));
}
