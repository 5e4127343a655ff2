//! Whatever a provider does, an attempt ends by its limit, says what happened, and leaves no connection behind.

use std::{io, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    sync::mpsc,
    time::{self, Instant},
};

use super::{
    CONNECT, KEY, SAID, openai, request,
    server::{Do, Server, chunk, json, last_chunk, response, send, stream_head},
    within,
};
use crate::{Answer, Error, Fault, Limits, Model as _};

/// How much later than its limit an attempt may end.
const TOLERANCE: Duration = Duration::from_millis(50);
const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";

/// What one attempt brings, asserting that it ends by `longest` and that no connection is left.
async fn ends(script: Vec<Do>, streamed: bool, limits: Limits, longest: Duration) -> Result<Answer, Error> {
    let server = Server::start(script).await;
    let model = openai(&server.base());
    let (to, mut deltas) = mpsc::channel(64);
    let began = Instant::now();
    let ended = time::timeout(Duration::from_secs(10), model.attempt(&request(), limits, streamed.then_some(to))).await;
    let (ended, took) = (ended.expect("it hangs"), began.elapsed());
    assert!(took <= longest + TOLERANCE, "{ended:?} took {took:?}, at most {longest:?} were allowed");
    if let Err(error) = &ended {
        let told = format!("{error} {error:?}");
        let secret = [KEY, SAID, "127.0.0.1", "Hi"].into_iter().find(|secret| told.contains(secret));
        assert_eq!(secret, None, "{told}");
    }
    server.alone().await;
    deltas.close();
    ended
}

/// An attempt with half a second and no shorter patience.
async fn failure(script: Vec<Do>, streamed: bool) -> Error {
    let longest = Duration::from_millis(500);
    ends(script, streamed, within(500), longest).await.expect_err("it is no answer")
}

fn hang_after(steps: impl IntoIterator<Item = Do>) -> Vec<Do> {
    steps.into_iter().chain([Do::Hang]).collect()
}

#[tokio::test]
async fn slow_headers_end_with_the_deadline_or_the_patience_for_the_first_token() {
    let longest = Duration::from_millis(150);
    assert_eq!(ends(hang_after([]), false, within(150), longest).await, Err(Error::TimedOut));
    let patient = Limits { deadline: Instant::now() + Duration::from_secs(5), ..within(150) };
    assert_eq!(ends(hang_after([]), true, patient, longest).await, Err(Error::FirstTokenLate));
}

#[tokio::test]
async fn a_slow_first_token_is_told_from_a_stream_that_stands_still() {
    let longest = Duration::from_millis(150);
    let limits = || Limits { deadline: Instant::now() + Duration::from_secs(5), ..within(150) };
    // Comments, pings and empty parts are no token.
    let idle = [stream_head(), chunk(": wait\n\n"), chunk("data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n")];
    assert_eq!(ends(hang_after(idle), true, limits(), longest).await, Err(Error::FirstTokenLate));
    let stalled = [stream_head(), chunk(TOKEN)];
    assert_eq!(ends(hang_after(stalled), true, limits(), longest).await, Err(Error::Stalled));
    let half = [send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"choi")];
    assert_eq!(ends(hang_after(half), false, limits(), longest).await, Err(Error::Stalled));
}

#[tokio::test]
async fn keep_alive_comments_do_not_keep_a_silent_model_alive() {
    let script = vec![stream_head(), Do::SendForEver(b"5\r\n: ok\n\r\n".to_vec())];
    let limits = Limits { bytes_max: 1 << 30, deadline: Instant::now() + Duration::from_secs(5), ..within(150) };
    assert_eq!(ends(script, true, limits, Duration::from_millis(150)).await, Err(Error::FirstTokenLate));
}

#[tokio::test]
async fn a_stream_that_never_ends_is_ended_by_its_size_or_by_the_deadline() {
    let endless = || {
        let framed = format!("{:x}\r\n{TOKEN}\r\n", TOKEN.len());
        vec![stream_head(), Do::SendForEver(framed.into_bytes())]
    };
    let small = Limits { bytes_max: 64 << 10, ..within(2000) };
    let large = Error::TooLarge { bytes_max: 64 << 10 };
    assert_eq!(ends(endless(), true, small, Duration::from_millis(2000)).await, Err(large));
    let wide = Limits { bytes_max: usize::MAX, ..within(150) };
    assert_eq!(ends(endless(), true, wide, Duration::from_millis(150)).await, Err(Error::TimedOut));
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused_whether_or_not_it_says_its_size() {
    let told = response(200, "application/json", "", &vec![b' '; 10 << 20]);
    let too_large = Error::TooLarge { bytes_max: 1 << 20 };
    assert_eq!(failure(vec![told], false).await, too_large);
    let head = send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(failure(vec![head, chunk(vec![b' '; 10 << 20]), Do::Close], false).await, too_large);
    let line = format!("data: {}", "x".repeat(2 << 20));
    assert_eq!(failure(vec![stream_head(), chunk(line), Do::Close], true).await, too_large);
}

#[tokio::test]
async fn a_connection_that_is_lost_is_a_reset() {
    assert_eq!(failure(vec![Do::Close], false).await, Error::Reset);
    assert_eq!(failure(vec![Do::Reset], true).await, Error::Reset);
    assert_eq!(
        failure(vec![stream_head(), chunk(TOKEN), Do::Wait(Duration::from_millis(20)), Do::Reset], true).await,
        Error::Reset
    );
    let half = send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"choi");
    assert_eq!(failure(vec![half, Do::Close], false).await, Error::Reset);
    // The end of the stream is missing, not only the end of the answer.
    assert_eq!(failure(vec![stream_head(), chunk(TOKEN), Do::Close], true).await, Error::Reset);
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let malformed = |fault| Error::Malformed(fault);
    let ended = |bytes: &[u8]| vec![stream_head(), chunk(bytes), last_chunk(), Do::Close];
    assert_eq!(failure(vec![json("{\"choices\": [{]}"), Do::Close], false).await, malformed(Fault::Shape));
    assert_eq!(failure(vec![json("[]"), Do::Close], false).await, malformed(Fault::Shape));
    assert_eq!(failure(vec![json("{}"), Do::Close], false).await, malformed(Fault::Shape));
    assert_eq!(failure(ended(b"data: {\"choices\": [\n\n"), true).await, malformed(Fault::Shape));
    assert_eq!(failure(ended(TOKEN.as_bytes()), true).await, malformed(Fault::Truncated));
    let cut = format!("{TOKEN}data: {{\"choices\":[{{\"finish_reason\":\"stop\"}}]}}");
    assert_eq!(failure(ended(cut.as_bytes()), true).await, malformed(Fault::Truncated), "its last event is cut off");
    assert_eq!(failure(ended(b"data: \xff\xfe\n\n"), true).await, malformed(Fault::NotUtf8));
    let latin = response(200, "application/json", "", b"{\"choices\":[{\"message\":{\"content\":\"\xe9\"}}]}");
    assert_eq!(failure(vec![latin, Do::Close], false).await, malformed(Fault::NotUtf8));
    let page = response(200, "text/html", "", b"<html></html>");
    assert_eq!(failure(vec![page.clone(), Do::Close], false).await, malformed(Fault::ContentType));
    assert_eq!(failure(vec![page, Do::Close], true).await, malformed(Fault::ContentType));
    assert_eq!(failure(vec![json("{}"), Do::Close], true).await, malformed(Fault::ContentType));
    assert_eq!(failure(vec![send("220 mail ready\r\n"), Do::Close], false).await, malformed(Fault::Http));
}

#[tokio::test]
async fn dropping_an_attempt_closes_its_connection() {
    for streamed in [false, true] {
        let head = streamed.then(|| [stream_head(), chunk(TOKEN)]).into_iter().flatten();
        let server = Server::start(hang_after(head)).await;
        let model = openai(&server.base());
        let (to, _deltas) = mpsc::channel(4);
        let request = request();
        let attempt = model.attempt(&request, within(5000), streamed.then_some(to));
        time::timeout(Duration::from_millis(100), attempt).await.expect_err("it hangs");
        assert_eq!(server.accepted(), 1);
        server.alone().await;
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_named_by_what_is_missing() {
    let fails = async |base: String| openai(&base).attempt(&request(), within(2000), None).await.expect_err("nobody");
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    assert_eq!(fails(format!("http://{closed}")).await, Error::Connect(io::ErrorKind::ConnectionRefused));
    assert_eq!(fails("http://nobody.invalid".to_owned()).await, Error::Dns);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_from_one_that_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("https://{}", listener.local_addr().expect("an address"));
    let request = request();
    let plain = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("it is sent");
        stream
    };
    let model = openai(&base);
    let (ended, _stream) = tokio::join!(model.attempt(&request, within(2000), None), plain);
    assert_eq!(ended, Err(Error::Tls));
    // This one takes the connection and says nothing: connecting has its own limit.
    let began = Instant::now();
    let (ended, _stream) = tokio::join!(model.attempt(&request, within(2000), None), listener.accept());
    assert_eq!(ended, Err(Error::Connect(io::ErrorKind::TimedOut)));
    assert!(began.elapsed() < CONNECT + TOLERANCE, "{:?}", began.elapsed());
}
