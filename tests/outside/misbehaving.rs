//! A model that misbehaves: whatever it does, the turn ends in its time, and nothing is left behind.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use colloquy_client::Client;
use serde_json::json;

use super::*;
use crate::peer::{Peer, dawdle, response, until_gone};

/// How long a turn has.
const BUDGET: Duration = Duration::from_millis(900);
/// What it may take beyond that: the way there and back.
const GRACE: Duration = Duration::from_millis(50);

/// What the model does with a request, by how often it was asked before.
type Conduct = fn(&Asked<'_>, &mut TcpStream) -> bool;

/// A request, and how many came before it in its turn.
struct Asked<'a> {
    before: usize,
    request: &'a str,
}

fn send(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) -> bool {
    stream.write_all(bytes.as_ref()).is_ok()
}

fn refuses(status: &str, headers: &str, stream: &mut TcpStream) -> bool {
    let body = r#"{"error":{"message":"no"}}"#;
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n");
    send(stream, head + body)
}

/// A well-behaved answer, in whichever way it was asked for.
fn answers(request: &str, text: &str, stream: &mut TcpStream) -> bool {
    let finish = "stop";
    let answer = if request.contains(r#""stream":true"#) {
        let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": finish});
        let event = json!({"model": "m", "choices": [choice]});
        response("200 OK", "text/event-stream", &format!("data: {event}\n\ndata: [DONE]\n\n"))
    } else {
        let message = json!({"role": "assistant", "content": text});
        let choice = json!({"index": 0, "message": message, "finish_reason": finish});
        response("200 OK", "application/json", &json!({"model": "m", "choices": [choice]}).to_string())
    };
    send(stream, answer.unwrap())
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const PART: &str = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"All \"}}]}\n\n";

fn limited_for_a_moment(asked: &Asked<'_>, stream: &mut TcpStream) -> bool {
    if asked.before == 0 {
        refuses("429 X", "retry-after: 0\r\n", stream)
    } else {
        answers(asked.request, "All is well.", stream)
    }
}

fn limited_for_a_minute(_: &Asked<'_>, stream: &mut TcpStream) -> bool {
    refuses("429 X", "retry-after: 60\r\n", stream)
}

fn bursts(asked: &Asked<'_>, stream: &mut TcpStream) -> bool {
    if asked.before < 2 { refuses("500 X", "", stream) } else { answers(asked.request, "All is well.", stream) }
}

fn fails(_: &Asked<'_>, stream: &mut TcpStream) -> bool {
    refuses("503 X", "", stream)
}

fn hangs(_: &Asked<'_>, stream: &mut TcpStream) -> bool {
    until_gone(stream);
    false
}

fn begins_late(_: &Asked<'_>, stream: &mut TcpStream) -> bool {
    send(stream, STREAM);
    until_gone(stream);
    false
}

fn stalls(_: &Asked<'_>, stream: &mut TcpStream) -> bool {
    send(stream, STREAM.to_owned() + PART);
    until_gone(stream);
    false
}

fn never_ends(_: &Asked<'_>, stream: &mut TcpStream) -> bool {
    send(stream, STREAM);
    while send(stream, PART) {
        dawdle(Duration::from_millis(10));
    }
    false
}

fn floods(_: &Asked<'_>, stream: &mut TcpStream) -> bool {
    let body = "x".repeat(10 << 20);
    let length = body.len();
    send(stream, format!("HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"));
    false
}

fn resets(_: &Asked<'_>, stream: &mut TcpStream) -> bool {
    // Closing with unread bytes of the next write is a reset; closing in the middle of a head will do.
    send(stream, "HTTP/1.1 200");
    false
}

fn babbles(_: &Asked<'_>, stream: &mut TcpStream) -> bool {
    send(stream, response("200 OK", "application/json", "{\"choices\": [{]").unwrap())
}

fn breaks_the_schema(asked: &Asked<'_>, stream: &mut TcpStream) -> bool {
    answers(asked.request, r#"{"price":"a lot"}"#, stream)
}

fn quotes(asked: &Asked<'_>, stream: &mut TcpStream) -> bool {
    answers(asked.request, r#"{"price":12}"#, stream)
}

struct Bench {
    model: Peer,
    conduct: Arc<Mutex<Conduct>>,
    asked: Arc<AtomicUsize>,
    _place: Place,
    server: Server,
    client: Client,
}

async fn bench() -> Bench {
    let (conduct, asked) = (Arc::new(Mutex::new(fails as Conduct)), Arc::<AtomicUsize>::default());
    let (does, counts) = (Arc::clone(&conduct), Arc::clone(&asked));
    let model = Peer::start_raw(move |request, stream| {
        let conduct = *does.lock().unwrap();
        conduct(&Asked { before: counts.fetch_add(1, Ordering::SeqCst), request }, stream)
    });
    // No connection is kept, so that those that are left behind can be counted; the breaker is another test's.
    let keys = "idle_connections = 0\nanswer_max = \"64 KiB\"\nbreaker.failures = 1000";
    let place = place(&provider(model.address, keys));
    let server = started(&place, &[]);
    let client = Client::connect(&server.grpc, BUDGET).await.unwrap();
    Bench { model, conduct, asked, _place: place, server, client }
}

impl Bench {
    /// One turn while the model behaves so; its reply, and how often the model was asked.
    async fn turn(&self, name: &str, text: &str, conduct: Conduct) -> (v1::Turn, usize) {
        *self.conduct.lock().unwrap() = conduct;
        self.asked.store(0, Ordering::SeqCst);
        let began = Instant::now();
        let turn = committed(&self.client, &errand(name, "r-1", text)).await;
        let took = began.elapsed();
        assert!(took < BUDGET + GRACE, "{name} took {took:?}");
        (turn, self.asked.load(Ordering::SeqCst))
    }
}

/// The turn a stream ends with.
async fn committed(client: &Client, said: &Turn) -> v1::Turn {
    let mut events = client.stream(said).await.unwrap();
    loop {
        let event = events.message().await.unwrap().expect("it ends with a turn").event;
        if let Some(v1::stream_turn_response::Event::Committed(committed)) = event {
            return committed.turn.unwrap();
        }
    }
}

/// CE-003, BO-02, BO-04: an outside call ends by its deadline, is tried again only where that is of use, and what it
/// leaves open is answered as the flow declares.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_model_does_a_turn_ends_in_its_time_with_a_recorded_reply() {
    let bench = bench().await;
    bench.client.submit(&errand("warm", "r-0", "desk")).await.unwrap();
    let (well, not) = ("All is well.", "I cannot say.");
    let conducts: [(&str, Conduct, &str, std::ops::RangeInclusive<usize>); 10] = [
        ("limited-for-a-moment", limited_for_a_moment, well, 2..=2),
        ("limited-for-a-minute", limited_for_a_minute, not, 1..=1),
        ("bursts", bursts, well, 3..=3),
        ("fails", fails, not, 3..=3),
        ("hangs", hangs, not, 1..=1),
        ("begins-late", begins_late, not, 1..=1),
        ("stalls", stalls, not, 1..=1),
        ("never-ends", never_ends, not, 1..=3),
        ("floods", floods, not, 1..=3),
        ("resets", resets, not, 3..=3),
    ];
    for (name, conduct, expected, attempts) in conducts {
        let (turn, asked) = bench.turn(name, "tell", conduct).await;
        assert_eq!(reply(&turn), expected, "{name}");
        assert!(attempts.contains(&asked), "{name}: asked {asked} times");
        let degraded = turn.outcome() == v1::TurnOutcome::Degraded;
        assert_eq!(degraded, expected == not, "{name}: {:?}", turn.outcome());
        assert_eq!(turn.degradations.is_empty(), expected == well, "{name}: {:?}", turn.degradations);
    }
    for (name, conduct, expected) in [
        ("babbles", babbles as Conduct, not),
        ("breaks-the-schema", breaks_the_schema, not),
        ("quotes", quotes, "It is 12."),
    ] {
        let (turn, _) = bench.turn(name, "quote", conduct).await;
        assert_eq!(reply(&turn), expected, "{name}");
    }
    until("the last connection's end", || bench.model.open() == 0);
    let told = metrics(&bench.server);
    assert!(told.contains("colloquy_gate_inside{name=\"local/small\"} 0"), "{told}");
    assert!(told.contains("colloquy_gate_waiting{name=\"local/small\"} 0"), "{told}");
}

/// BO-04: a model that fails is left alone, and found again when it recovers.
#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_opens_and_closes_and_operators_see_it() {
    let well = Arc::<AtomicUsize>::default();
    let is_well = Arc::clone(&well);
    let model = Peer::start_raw(move |request, stream| match is_well.load(Ordering::SeqCst) {
        0 => refuses("500 X", "", stream),
        _ => answers(request, "All is well.", stream),
    });
    let place = place(&provider(model.address, "breaker.failures = 3\nbreaker.open_for = \"300ms\""));
    let server = started(&place, &[]);
    let client = server.client().await;
    let tell = async |request_id: &str| client.submit(&errand("c", request_id, "tell")).await.unwrap().turn.unwrap();
    let breaker = async || {
        let models = v1::GetSupervisionTreeRequest { kind: v1::ActorKind::Model.into(), ..Default::default() };
        let tree = client.tree(models).await.unwrap();
        let row = tree.actors.into_iter().next().unwrap();
        assert_eq!((row.path.as_str(), row.parent.as_str()), ("root/models/local/small", "root/models"));
        row.gate.unwrap().breaker()
    };
    assert_eq!(breaker().await, v1::BreakerState::Closed);
    assert_eq!(reply(&tell("r-1").await), "I cannot say.");
    assert_eq!(breaker().await, v1::BreakerState::Open);
    let asked = model.seen().len();
    assert_eq!(reply(&tell("r-2").await), "I cannot say.");
    assert_eq!(model.seen().len(), asked, "it is left alone");
    assert!(metrics(&server).contains("colloquy_gate_open{name=\"local/small\"} 1"));
    well.store(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(reply(&tell("r-3").await), "All is well.");
    assert_eq!(breaker().await, v1::BreakerState::Closed);
}
