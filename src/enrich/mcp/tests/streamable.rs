//! A server over streamable HTTP.

use std::{sync::Arc, time::Duration};

use crate::{
    DeadReason, Destination, Error, Factory, Happened, McpSettings, McpTransport, Outbound, Session,
    StreamableSettings, UnreachableKind,
    testing::{AMPLE, Behaviour, Peer, in_time, outbound, response},
};

use super::{ALLOWED, ask, ask_shortly, connect, json};

const TYPE: &str = "content-type: application/json\r\nmcp-session-id: one\r\n";

/// The number of a request.
fn id(request: &str) -> &str {
    let after = request.rsplit("\"id\":").next().unwrap();
    after.split(|one: char| !one.is_ascii_digit()).next().unwrap()
}

fn result(request: &str, result: &str) -> Vec<u8> {
    response("200 OK", TYPE, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id(request)))
}

/// A server that behaves like that towards calls of tools.
async fn server(on_call: impl Fn(&str) -> Behaviour + Send + Sync + 'static) -> Peer {
    Peer::start_with(move |request| {
        let says = |method: &str| request.contains(&format!("\"method\":\"{method}\""));
        if request.starts_with("GET ") {
            Behaviour::Say(response("405 Not Allowed", "", ""))
        } else if says("initialize") {
            Behaviour::Say(result(request, r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"f","version":"1"}}"#))
        } else if says("tools/list") {
            let tools = ALLOWED.map(|name| format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#));
            Behaviour::Say(result(request, &format!(r#"{{"tools":[{}]}}"#, tools.join(","))))
        } else if says("tools/call") {
            on_call(request)
        } else {
            Behaviour::Say(response("202 Accepted", "", ""))
        }
    })
    .await
}

fn factory(url: &str, outbound: &Outbound) -> Result<Factory, &'static str> {
    let headers = vec![("Authorization".to_owned(), "Bearer s3cret".into())];
    let transport = McpTransport::Streamable(StreamableSettings { url: url.to_owned(), headers });
    Factory::new(McpSettings::new(transport, ALLOWED.map(Arc::from)), outbound).map_err(|error| error.field)
}

async fn session(peer: &Peer) -> Session {
    connect(&factory(&peer.url("/mcp"), &peer.outbound()).unwrap()).await
}

#[tokio::test]
async fn a_tool_is_called_and_a_closed_session_is_told_to_the_server() {
    let mut peer =
        server(|request| Behaviour::Say(result(request, r#"{"content":[{"type":"text","text":"x"}]}"#))).await;
    let session = session(&peer).await;
    assert_eq!(ask(&session, "echo", "{}").await.unwrap().value, json(r#""x""#));
    assert!(peer.seen().iter().all(|request| request.contains("authorization: Bearer s3cret")));
    assert!(!format!("{session:?}").contains("s3cret"));
    assert_eq!(in_time(Duration::from_secs(6), |deadline| session.close(deadline)).await, DeadReason::Closed);
    assert!(peer.seen().iter().any(|request| request.starts_with("DELETE ")), "{:?}", peer.seen());
    let error = ask(&session, "echo", "{}").await.unwrap_err();
    assert_eq!(error, Error::Unreachable(UnreachableKind::NoSession));
    drop(session);
    peer.left_alone().await;
}

#[tokio::test]
async fn every_way_of_not_answering_ends_and_says_what_happened() {
    let say = |status: &str, headers: &str, body: &str| Behaviour::Say(response(status, headers, body));
    let cases = [
        (
            say("429 Many", "retry-after: 3\r\n", ""),
            Error::Busy { code: Some(429), retry_after: Some(Duration::from_secs(3)) },
        ),
        (say("500 Broken", "", "tell-tale"), Error::Failed { code: Some(500), retry_after: None }),
        (say("400 Bad", "", "tell-tale"), Error::Refused { code: Some(400) }),
        (say("401 Who", "www-authenticate: tell-tale\r\n", ""), Error::Refused { code: Some(401) }),
        (say("307 There", "location: /tell-tale\r\n", ""), Error::Redirected { status: 307 }),
        (say("302 There", "location: /tell-tale\r\n", ""), Error::Redirected { status: 302 }),
        (
            say("200 OK", "content-type: text/html\r\n", "tell-tale"),
            Error::Malformed(crate::MalformedKind::ContentType),
        ),
        (say("200 OK", TYPE, "tell-tale"), Error::Malformed(crate::MalformedKind::Protocol)),
        (Behaviour::Reset, Error::Interrupted),
        (Behaviour::Stall(Vec::new()), Error::TimedOut { sent: true }),
        (
            Behaviour::Stall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: no word\n\n".to_vec()),
            Error::TimedOut { sent: true },
        ),
    ];
    for (behaviour, wanted) in cases {
        let mut peer = server(move |_| behaviour.clone()).await;
        let session = session(&peer).await;
        let error = ask_shortly(&session, "echo", "{}").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("tell-tale"));
        assert_eq!(error, wanted);
        let calls = peer.seen().iter().filter(|request| request.contains("tools/call")).count();
        assert_eq!(calls, 1, "nothing was tried again");
        drop(session);
        peer.left_alone().await;
    }
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_dead_and_nothing_happened() {
    let peer = server(|_| Behaviour::Say(response("404 Not Found", "", ""))).await;
    let session = session(&peer).await;
    let error = ask(&session, "echo", "{}").await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::No, Error::Unreachable(UnreachableKind::NoSession)));
    assert_eq!(tokio::time::timeout(AMPLE, session.ended()).await.unwrap(), DeadReason::Forgotten);
    let initialised = peer.seen().iter().filter(|request| request.contains("\"initialize\"")).count();
    assert_eq!(initialised, 1, "no session was made anew");
}

#[tokio::test]
async fn a_refusal_that_names_no_request_is_that_of_the_one_it_answers() {
    let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"tell-tale"}}"#;
    let peer = server(move |_| Behaviour::Say(response("400 Bad Request", TYPE, body))).await;
    let session = session(&peer).await;
    let error = ask_shortly(&session, "echo", "{}").await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::No, Error::Unreachable(UnreachableKind::NoSession)));
    assert_eq!(tokio::time::timeout(AMPLE, session.ended()).await.unwrap(), DeadReason::Forgotten);
    assert!(!peer.seen().iter().any(|request| request.starts_with("GET ")), "no stream is opened unasked");
}

#[tokio::test]
async fn a_server_that_is_gone_was_not_asked() {
    let peer = server(|_| Behaviour::Reset).await;
    let made = factory(&peer.url("/mcp"), &peer.outbound()).unwrap();
    drop(peer);
    let error = in_time(AMPLE, |deadline| made.connect(deadline)).await.unwrap_err();
    assert_eq!((error.happened(), error), (Happened::No, Error::Unreachable(UnreachableKind::Connect)));
}

#[tokio::test]
async fn the_same_places_are_refused_as_for_any_source() {
    let listed = Destination { host: "127.0.0.1".to_owned(), port: 80 };
    let out = Outbound::new(vec![listed], false, Arc::new(crate::SystemLookup));
    assert_eq!(factory("http://127.0.0.1/mcp", &out).err(), Some("url"));
    assert_eq!(factory("http://example.org/mcp", &out).err(), Some("url"));
    let inside = outbound(&[("mcp.test", 80)], true, crate::testing::Scripted::new(&[&["169.254.169.254"]]));
    let made = factory("http://mcp.test/mcp", &inside).unwrap();
    let error = in_time(AMPLE, |deadline| made.connect(deadline)).await.unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error}");
}
