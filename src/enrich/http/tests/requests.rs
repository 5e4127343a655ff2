//! What is sent, and what an answer becomes.

use secrecy::SecretString;

use crate::{
    AnswerFrom, ArgumentFault, BodyFrom, Error, Happened, HttpMethod, HttpSettings, HttpSource, Source as _, Trace,
    testing::{AMPLE, Peer, in_time},
};

use super::{ask, call, json, name, source};

const TYPE: &str = "content-type: application/json; charset=utf-8\r\n";

async fn echo() -> Peer {
    Peer::saying("200 OK", TYPE, "{}").await
}

/// The first line of what was sent.
fn line(peer: &Peer) -> String {
    peer.seen().last().and_then(|request| request.lines().next()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn arguments_in_the_url_are_encoded_and_cannot_leave_their_place() {
    let peer = echo().await;
    let source = source(&peer, |settings| settings.url = peer.url("/v1/{id}/x?q={text}&fixed=1&again={id}"));
    let cases = [
        (r#"{"id":"A-1","text":"b c"}"#, "GET /v1/A-1/x?q=b%20c&fixed=1&again=A-1 HTTP/1.1"),
        (
            r#"{"id":"a/../b","text":"&x=1#?"}"#,
            "GET /v1/a%2F..%2Fb/x?q=%26x%3D1%23%3F&fixed=1&again=a%2F..%2Fb HTTP/1.1",
        ),
        (r#"{"id":12,"text":true}"#, "GET /v1/12/x?q=true&fixed=1&again=12 HTTP/1.1"),
        (r#"{"id":12.5,"text":""}"#, "GET /v1/12.5/x?q=&fixed=1&again=12.5 HTTP/1.1"),
        (
            r#"{"id":"äß%2e","text":"@host"}"#,
            "GET /v1/%C3%A4%C3%9F%252e/x?q=%40host&fixed=1&again=%C3%A4%C3%9F%252e HTTP/1.1",
        ),
    ];
    for (arguments, wanted) in cases {
        ask(&source, call(arguments)).await.unwrap();
        assert_eq!(line(&peer), wanted);
    }
    for hostile in [r#"".""#, r#""..""#, r#""""#, "null", "[1]", "{}"] {
        let arguments = format!(r#"{{"id":{hostile},"text":"x"}}"#);
        let error = ask(&source, call(&arguments)).await.unwrap_err();
        assert_eq!(error, Error::Arguments(ArgumentFault::NotForUrl("id".to_owned())), "{hostile}");
        assert_eq!(error.happened(), Happened::No);
    }
    let error = ask(&source, call(r#"{"id":"a"}"#)).await.unwrap_err();
    assert_eq!(error, Error::Arguments(ArgumentFault::Missing("text".to_owned())));
    let long = format!(r#"{{"id":"a","text":"{}"}}"#, "x".repeat(8 << 10));
    assert_eq!(ask(&source, call(&long)).await.unwrap_err(), Error::Arguments(ArgumentFault::TooLong(8 << 10)));
    assert_eq!(peer.seen().len(), cases.len(), "what cannot be sent is not");
}

#[tokio::test]
async fn two_arguments_that_make_dots_together_are_refused() {
    let peer = echo().await;
    let source = source(&peer, |settings| settings.url = peer.url("/v1/{a}{b}"));
    assert!(ask(&source, call(r#"{"a":".","b":"."}"#)).await.is_err());
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn the_body_carries_all_or_chosen_arguments_exactly() {
    let peer = echo().await;
    let arguments = r#"{"a":"x","b":123456789.123456,"c":[1,null]}"#;
    let chosen = BodyFrom::Chosen(vec![name("b"), name("missing")]);
    let cases = [(BodyFrom::Nothing, ""), (BodyFrom::All, arguments), (chosen, r#"{"b":123456789.123456}"#)];
    for (body, wanted) in cases {
        let source = source(&peer, |settings| (settings.method, settings.body) = (HttpMethod::Post, body));
        ask(&source, call(arguments)).await.unwrap();
        let seen = peer.seen().pop().unwrap();
        let (head, sent) = seen.split_once("\r\n\r\n").unwrap();
        assert_eq!(sent, wanted);
        assert_eq!(head.contains("content-type: application/json"), !wanted.is_empty());
        assert!(head.contains(&format!("content-length: {}", wanted.len())), "{head}");
    }
    let all = source(&peer, |settings| settings.body = BodyFrom::All);
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(64 << 10));
    assert_eq!(ask(&all, call(&long)).await.unwrap_err(), Error::Arguments(ArgumentFault::TooLong(64 << 10)));
    assert_eq!(ask(&all, call("[]")).await.unwrap_err(), Error::Arguments(ArgumentFault::NotAnObject));
}

#[tokio::test]
async fn headers_key_and_trace_go_along() {
    let peer = echo().await;
    let secret = || vec![("Authorization".to_owned(), SecretString::from("Bearer s3cret"))];
    let source = source(&peer, |settings| settings.headers = secret());
    let mut keyed = call("{}");
    keyed.key = Some("turn-1/2".into());
    keyed.trace = Trace { parent: Some("00-abc-def-01".into()), state: Some("a=b".into()) };
    ask(&source, keyed.clone()).await.unwrap();
    let head = peer.seen().pop().unwrap();
    for wanted in
        ["authorization: Bearer s3cret", "idempotency-key: turn-1/2", "traceparent: 00-abc-def-01", "tracestate: a=b"]
    {
        assert!(head.contains(wanted), "{wanted} in {head}");
    }
    assert!(!format!("{source:?} {:?} {keyed:?}", source.settings).contains("s3cret"));
    let unkeyed = super::source(&peer, |settings| settings.key_header = None);
    ask(&unkeyed, keyed).await.unwrap();
    assert!(!peer.seen().pop().unwrap().contains("turn-1/2"));
}

#[tokio::test]
async fn an_answer_is_taken_whole_or_in_parts() {
    let body = r#"{"data":{"name":"Ada","a/b":[10,20.50]},"rest":1}"#;
    let peer = Peer::saying("200 OK", TYPE, body).await;
    let whole = ask(&source(&peer, |_| {}), call("{}")).await.unwrap();
    assert_eq!((whole.value, whole.partial), (json(body), false));
    let parts = |list: &[(&str, &str)]| {
        AnswerFrom::Parts(list.iter().map(|(key, pointer)| (name(key), (*pointer).to_owned())).collect())
    };
    let cases = [
        (parts(&[("who", "/data/name"), ("price", "/data/a~1b/1")]), r#"{"who":"Ada","price":20.5}"#, false),
        (parts(&[("who", "/data/name"), ("gone", "/data/gone")]), r#"{"who":"Ada"}"#, true),
        (parts(&[("odd", "/data/a~1b/01")]), "{}", true),
        (parts(&[("all", "")]), &format!(r#"{{"all":{body}}}"#), false),
    ];
    for (answer, value, partial) in cases {
        let got = ask(&source(&peer, |settings| settings.answer = answer), call("{}")).await.unwrap();
        assert_eq!((got.value, got.partial), (json(value), partial));
    }
}

#[tokio::test]
async fn statuses_can_mean_nothing_or_only_some() {
    let missing = Peer::saying("404 Not Found", "content-type: text/html\r\n", "<html>").await;
    let empty = ask(&source(&missing, |settings| settings.empty_statuses = vec![404]), call("{}")).await.unwrap();
    assert_eq!((empty.value, empty.partial), (json("null"), false));
    let some = Peer::saying("206 Partial Content", TYPE, "[1]").await;
    let got = ask(&source(&some, |_| {}), call("{}")).await.unwrap();
    assert_eq!((got.value, got.partial), (json("[1]"), true));
    let none = Peer::start(crate::testing::Behaviour::Say(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())).await;
    let got = ask(&source(&none, |_| {}), call("{}")).await.unwrap();
    assert_eq!((got.value, got.partial), (json("null"), false));
    let problem = Peer::saying("200 OK", "content-type: application/vnd.api+json\r\n", "2").await;
    assert_eq!(ask(&source(&problem, |_| {}), call("{}")).await.unwrap().value, json("2"));
}

#[tokio::test]
async fn a_source_over_http_has_no_tools() {
    let peer = echo().await;
    let mut named = call("{}");
    named.tool = "x".into();
    assert_eq!(ask(&source(&peer, |_| {}), named).await.unwrap_err(), Error::NoSuchTool);
}

#[tokio::test]
async fn a_check_gets_its_url_or_only_connects() {
    let peer = Peer::saying("500 Broken", "", "").await;
    let connecting = source(&peer, |_| {});
    in_time(AMPLE, |deadline| connecting.check(deadline)).await.unwrap();
    assert!(peer.seen().is_empty());
    let getting = source(&peer, |settings| settings.check = Some(peer.url("/health")));
    let error = in_time(AMPLE, |deadline| getting.check(deadline)).await.unwrap_err();
    assert_eq!(error, Error::Failed { code: Some(500), retry_after: None });
    assert_eq!(line(&peer), "GET /health HTTP/1.1");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_field() {
    let peer = echo().await;
    type Change = Box<dyn Fn(&mut HttpSettings)>;
    let url = |text: &str| -> Change {
        let text = text.to_owned();
        Box::new(move |settings| settings.url.clone_from(&text))
    };
    let cases: Vec<(&str, Change)> = vec![
        ("url", url("nonsense")),
        ("url", url("ftp://127.0.0.1/")),
        ("url", url(&peer.url("/a{"))),
        ("url", url(&peer.url("/a{}"))),
        ("url", url(&peer.url("/a}"))),
        ("url", url(&peer.url("/a/../b"))),
        ("url", url(&peer.url("/a#fragment"))),
        ("url", url("http://{host}/")),
        ("url", url("http://user:pass@127.0.0.1/")),
        ("url", url("http://example.org/")),
        ("check", Box::new(|settings| settings.check = Some("http://example.org/".to_owned()))),
        ("bytes_max", Box::new(|settings| settings.bytes_max = 0)),
        ("bytes_max", Box::new(|settings| settings.bytes_max = (1 << 20) + 1)),
        ("headers", Box::new(|settings| settings.headers = vec![("a b".to_owned(), "x".into())])),
        ("headers", Box::new(|settings| settings.headers = vec![("a".to_owned(), "x\ny".into())])),
        ("key_header", Box::new(|settings| settings.key_header = Some("a b".to_owned()))),
        ("answer", Box::new(|settings| settings.answer = AnswerFrom::Parts(vec![(name("a"), "b".to_owned())]))),
    ];
    for (field, change) in cases {
        let mut settings = HttpSettings { url: peer.url("/"), ..HttpSettings::default() };
        change(&mut settings);
        let shown = settings.url.clone();
        assert_eq!(HttpSource::new(settings, peer.outbound()).unwrap_err().field, field, "{shown}");
    }
}
