//! Streams whose readers do not read, streams on which nothing happens, and turns that wait at the door, on paused time:
//! no transport buffers here.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex},
    time::Duration,
};

use colloquy_actors::{
    ActorKind, ChaosBudget, CompiledFlow, Dependencies, FindFlow, Flow, FlowAuthor, FlowCatalogue, FlowFault,
    FlowSources, GraphDrawing, IdleRetention, Limits, ModelAnswer, ModelCall, Outside, Replayer, Runtime,
    RuntimeSettings, ScenarioResult, SourceCall, StoreFacts, SubmitTurn, TreeFilter, TreeRow,
};
use colloquy_author::load_sources;
use colloquy_proto::v1::{
    self, operator_service_server::OperatorService as _, stream_turn_response::Event as Streamed,
    watch_conversation_response::Event as Watched,
};
use colloquy_store::{BoxFuture, MemoryStore};
use colloquy_telemetry::Metrics;
use colloquy_turn::{CallOutcome, Failure, InputKind};
use colloquy_types::{ConversationKey, FlowName, RequestId, SHARED_TENANT, SystemClock, SystemEntropy, TurnSeq};
use tokio::{sync::Notify, time::Instant};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request, Status,
    body::Body,
    codegen::http::{self, Response},
};
use tonic_types::StatusExt as _;
use tower::{Layer as _, Service};

use crate::{
    log::Call,
    operator::Operator,
    slots::{Arrival, SlotLayer},
    streams::{self, BoxedStream},
};

/// What a model says takes as long as it likes.
const FLOW: &str = r#"format: colloquy.flow/v1
name: desk
start: desk.open
fallback: Sorry?
limits: {turn_deadline: 120s}
intents: {desk: {initial: open, states: {open: {}}}}
prompts:
  say: {purpose: respond, user: "{{ text }}", variables: [text], timeout: 100s}
responses:
  - {in: any, when: text == 'tell', model: {prompt: say, failed: I cannot say.}}
  - {in: any, exact: Fine.}
"#;

/// More than a reader may leave a stream unread, and less than twice that.
const UNREAD: Duration = Duration::from_secs(15);
/// More than any stream waits for its reader.
const FOR_EVER: Duration = Duration::from_secs(60);

/// A model that says what it is told to say, part by part, and never ends.
#[derive(Default)]
struct Teller {
    parts: Mutex<usize>,
    more: Notify,
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}

impl Teller {
    fn say(&self, parts: usize) {
        *self.parts.lock().unwrap() += parts;
        self.more.notify_one();
    }
}

#[derive(Clone, Debug)]
struct World(Arc<Teller>);

impl Outside for World {
    fn model(&self, call: ModelCall) -> BoxFuture<'static, ModelAnswer> {
        let teller = Arc::clone(&self.0);
        Box::pin(async move {
            loop {
                let parts = std::mem::take(&mut *teller.parts.lock().unwrap());
                (0..parts).for_each(|_| call.deltas.iter().for_each(|deltas| deltas.push("bla ")));
                teller.more.notified().await;
            }
        })
    }

    fn call(&self, _: SourceCall) -> BoxFuture<'static, CallOutcome> {
        Box::pin(async { CallOutcome::Failed(Failure::Unavailable) })
    }
}

/// Nothing is published here.
struct Nobody;

impl FlowAuthor for Nobody {
    fn compile(&self, _: &FlowSources) -> CompiledFlow {
        panic!("nothing is compiled here")
    }

    fn play(&self, _: &Arc<Flow>, _: &str, _: &dyn Fn() -> bool) -> Result<Vec<ScenarioResult>, Vec<FlowFault>> {
        panic!("nothing is played here")
    }

    fn draw(&self, _: &Flow, _: GraphDrawing) -> String {
        panic!("nothing is drawn here")
    }

    fn replayer(&self, _: FindFlow, _: Option<Arc<Flow>>) -> Box<dyn Replayer> {
        panic!("nothing is replayed here")
    }
}

async fn started() -> (Runtime, Arc<Teller>) {
    started_with(Limits::default()).await
}

async fn started_with(limits: Limits) -> (Runtime, Arc<Teller>) {
    let (flows, teller) = (FlowCatalogue::new(), Arc::new(Teller::default()));
    let sources = vec![("flow.yaml".to_owned(), FLOW.to_owned())];
    flows.insert(SHARED_TENANT, load_sources("the flow", sources).expect("the flow is sound").flow);
    let dependencies = Dependencies {
        store: Arc::new(MemoryStore::new(Arc::new(SystemEntropy))),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        flows,
        author: Arc::new(Nobody),
        metrics: Arc::new(Metrics::default()),
        outside: Arc::new(World(Arc::clone(&teller))),
        store_facts: StoreFacts::default(),
        idle: IdleRetention::default(),
    };
    let chaos = ChaosBudget { conversations: Some(NonZeroU32::MIN), supervisors: None };
    let settings = RuntimeSettings { chaos, limits, ..RuntimeSettings::default() };
    (Runtime::start(settings, dependencies).await.unwrap(), teller)
}

fn key() -> ConversationKey {
    ConversationKey::from_parts("acme", "c").unwrap()
}

fn turn(request_id: &str, text: &str, budget: Duration) -> SubmitTurn {
    SubmitTurn {
        key: key(),
        request_id: RequestId::parse(request_id).unwrap(),
        flow: Some(FlowName::parse("desk").unwrap()),
        subject: None,
        input: InputKind::Text,
        text: text.to_owned(),
        expected_seq: None,
        busy: None,
        deadline: Instant::now() + budget,
        trace: None,
    }
}

/// A conversation with so many turns.
async fn with_turns(runtime: &Runtime, turns: usize) {
    for number in 0..turns {
        runtime.submit_turn(turn(&format!("r-{number}"), "hello", FOR_EVER)).await.unwrap();
    }
}

async fn watched(runtime: &Runtime) -> BoxedStream<v1::WatchConversationResponse> {
    let watcher = runtime.watch(&key(), TurnSeq::new(1), None, Instant::now() + FOR_EVER).await.unwrap();
    streams::watch(watcher, key(), runtime)
}

/// All that is left of a stream: what it told, and why it ended, if it said so.
async fn rest<T>(mut stream: BoxedStream<T>) -> (Vec<T>, Option<Status>) {
    let (mut events, mut why) = (Vec::new(), None);
    while let Some(next) = tokio::time::timeout(FOR_EVER, stream.next()).await.expect("it goes on or ends") {
        assert!(events.len() < 1000, "it never ends");
        match next {
            Ok(event) if why.is_none() => events.push(event),
            Ok(_) => panic!("it goes on behind its end"),
            Err(status) => why = Some(status),
        }
    }
    (events, why)
}

/// The code of an end, its reason, the last turn that was sent, and whether it says when to come back.
fn ending(why: Option<Status>) -> (Code, String, Option<String>, bool) {
    let status = why.expect("it says why it ended");
    let details = status.get_error_details();
    let info = details.error_info().expect("it has a reason");
    (status.code(), info.reason.clone(), info.metadata.get("turn_seq").cloned(), details.retry_info().is_some())
}

fn slow(turn_seq: &str) -> (Code, String, Option<String>, bool) {
    (Code::ResourceExhausted, "SLOW_READER".to_owned(), Some(turn_seq.to_owned()), true)
}

/// The stream of a turn whose model says what it is told to, read as far as the first word.
async fn told_by(runtime: &Runtime, teller: &Teller) -> BoxedStream<v1::StreamTurnResponse> {
    let asked = turn("r-told", "tell", Duration::from_secs(100));
    let call = Call { method: "StreamTurn", request_id: asked.request_id.clone(), key: key() };
    let stall_max = runtime.settings().watch_stall_max;
    let mut stream = streams::turn(runtime.stream_turn(asked, None).unwrap(), call, stall_max);
    teller.say(1);
    while !matches!(stream.next().await.unwrap().unwrap().event, Some(Streamed::Delta(_))) {}
    stream
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_turn_that_reads_nothing_is_cut_off_with_the_reason_and_the_turn_goes_on() {
    let (runtime, teller) = started().await;
    with_turns(&runtime, 2).await;
    let stream = told_by(&runtime, &teller).await;
    teller.say(20);
    tokio::time::sleep(UNREAD).await;
    let (events, why) = rest(stream).await;
    assert_eq!((events.len(), ending(why)), (streams::EVENTS_WAITING, slow("2")));
    // Whoever takes it up again where it was misses nothing.
    let last = events.last().and_then(|event| event.offset).unwrap();
    assert_eq!((last.turn_seq, last.attempt), (3, 1));
    let cancelled = runtime.cancel_turn(&key(), RequestId::parse("r-told").unwrap(), Instant::now() + FOR_EVER).await;
    let colloquy_actors::Cancelled::Ended(ended) = cancelled.unwrap() else { panic!("it went on") };
    let turn = crate::convert::ending(&ended, false);
    assert_eq!((turn.turn_seq, turn.reply.unwrap().text), (3, "bla ".repeat(21)));
}

/// A stream must not wait for ever for a reader that takes nothing, not even with its last words.
/// The actors of the tree, at most a thousand.
async fn rows(runtime: &Runtime, filter: &TreeFilter) -> Vec<TreeRow> {
    runtime.tree(filter, None, 1000, Instant::now() + FOR_EVER).await.unwrap().rows
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_a_stream_that_nobody_reads_are_given_up() {
    for (unread, told) in [(Duration::from_secs(5), Some("RESTARTED")), (FOR_EVER, None)] {
        let (runtime, teller) = started().await;
        let mut stream = told_by(&runtime, &teller).await;
        // Room for the failure is left, and none for the status behind it.
        teller.say(streams::EVENTS_WAITING - 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let conversations = TreeFilter { kind: Some(ActorKind::Conversation), tenant: None };
        let path = rows(&runtime, &conversations).await.remove(0).path;
        runtime.kill(&path).unwrap();
        tokio::time::sleep(unread).await;
        let mut events = Vec::new();
        for _ in 0..streams::EVENTS_WAITING {
            events.push(stream.next().await.unwrap().unwrap());
        }
        let Some(Streamed::Failed(failed)) = &events.last().unwrap().event else { panic!("{events:?}") };
        assert_eq!(failed.reason, "RESTARTED");
        let (more, why) = rest(stream).await;
        assert_eq!((more.len(), why.map(|why| ending(Some(why)).1).as_deref()), (0, told));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_comes_while_nothing_happens_in_a_turn() {
    let (runtime, teller) = started().await;
    let mut stream = told_by(&runtime, &teller).await;
    let mut last = Instant::now();
    for _ in 0..3 {
        let alive = stream.next().await.unwrap().unwrap();
        assert_eq!(alive.event, Some(Streamed::KeepAlive(v1::KeepAlive {})));
        assert_eq!(last.elapsed(), Duration::from_secs(15));
        last = Instant::now();
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    teller.say(1);
    assert!(matches!(stream.next().await.unwrap().unwrap().event, Some(Streamed::Delta(_))));
    assert_eq!(last.elapsed(), Duration::from_secs(5), "what happens comes at once");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_reads_nothing_is_cut_off_with_the_reason_and_the_last_turn_it_was_sent() {
    let (runtime, _) = started().await;
    with_turns(&runtime, 10).await;
    let stream = watched(&runtime).await;
    tokio::time::sleep(UNREAD).await;
    let (events, why) = rest(stream).await;
    let seqs = events.into_iter().map(|event| match event.event {
        Some(Watched::Committed(committed)) => committed.turn.unwrap().turn_seq,
        other => panic!("not a turn: {other:?}"),
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(ending(why), slow("4"), "a watch that begins behind it misses nothing");
    assert_eq!(runtime.stats().watchers, 0);
}

/// A reader that takes nothing must not keep the server from ending.
#[tokio::test(start_paused = true)]
async fn a_watcher_is_told_that_the_server_ends_and_cannot_keep_it_from_that() {
    for (reads, told) in [(true, Some("DRAINING")), (false, None)] {
        let (runtime, _) = started().await;
        with_turns(&runtime, streams::EVENTS_WAITING).await;
        let stream = watched(&runtime).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        runtime.drain(Instant::now() + Duration::from_secs(1)).await;
        if !reads {
            tokio::time::sleep(FOR_EVER).await;
            assert_eq!(runtime.stats().watchers, 0, "the watch is over");
        }
        let (events, why) = rest(stream).await;
        assert_eq!(events.len(), streams::EVENTS_WAITING);
        assert_eq!(why.map(|why| ending(Some(why)).1).as_deref(), told);
    }
}

/// A watch of the tree as the service opens it.
async fn tree(operator: &Operator) -> Result<BoxedStream<v1::WatchSupervisionTreeResponse>, Status> {
    let request = v1::WatchSupervisionTreeRequest { interval_ms: 1000, ..Default::default() };
    operator.watch_supervision_tree(Request::new(request)).await.map(tonic::Response::into_inner)
}

#[tokio::test(start_paused = true)]
async fn a_watcher_of_the_tree_that_reads_nothing_is_cut_off_with_the_reason() {
    let (runtime, _) = started().await;
    let stream = tree(&Operator::new(runtime.clone())).await.unwrap();
    // Each look is one message, changed or not.
    tokio::time::sleep(Duration::from_secs(5) + UNREAD).await;
    let (events, why) = rest(stream).await;
    assert_eq!((events.len(), ending(why)), (streams::EVENTS_WAITING, slow("0")));
    let rows = rows(&runtime, &TreeFilter::default()).await;
    assert_eq!(events[0].changed.len(), rows.len(), "all of them at first");
    assert!(events[1..].iter().all(|event| event.changed.is_empty() && event.complete));
}

#[tokio::test(start_paused = true)]
async fn no_more_watches_of_the_tree_are_open_than_may_be() {
    let (runtime, _) = started().await;
    let operator = Operator::new(runtime);
    let mut open = Vec::new();
    let refused = loop {
        match tree(&operator).await {
            Ok(stream) => open.push(stream),
            Err(status) => break status,
        }
    };
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((refused.code(), info.reason.as_str(), open.len()), (Code::ResourceExhausted, "ADMISSION_FULL", 16));
    assert_eq!((info.metadata["limit"].as_str(), info.metadata["bound"].as_str()), ("watches", "16"));
    assert!(details.retry_info().is_some());
    open.pop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(tree(&operator).await.is_ok(), "there is a place again");
}

/// Notes what calls bring from the door.
#[derive(Clone, Default)]
struct Inside(Arc<Mutex<Vec<Option<Arrival>>>>);

impl Service<http::Request<()>> for Inside {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<()>) -> Self::Future {
        self.0.lock().unwrap().push(request.extensions_mut().remove());
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_waits_at_the_door_within_its_deadline_and_others_pass() {
    let two = NonZeroUsize::new(2).unwrap();
    let limits = Limits { in_flight_max: two, tenant_in_flight_max: two, at_once_min: two, ..Limits::default() };
    let (runtime, _) = started_with(limits).await;
    let (inside, metrics) = (Inside::default(), Arc::new(Metrics::default()));
    let mut door = SlotLayer { runtime: runtime.clone(), metrics: Arc::clone(&metrics) }.layer(inside.clone());
    let mut call = |method: &str| {
        let request = http::Request::post(format!("/colloquy.v1.ConversationService/{method}"));
        tokio::spawn(door.call(request.header("grpc-timeout", "1S").body(()).unwrap()))
    };
    let held = [runtime.free_turn_slot().unwrap(), runtime.free_turn_slot().unwrap()];
    let waiting = [call("SubmitTurn"), call("StreamTurn")];
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((runtime.stats().slots.waiting, inside.0.lock().unwrap().len()), (2, 0));
    let refused = call("SubmitTurn").await.unwrap().unwrap();
    let refused = Status::from_header_map(refused.headers()).unwrap();
    assert_eq!((refused.code(), metrics.calls_refused.get()), (Code::ResourceExhausted, 1));
    assert!(refused.get_error_details().retry_info().is_some());
    call("GetConversation").await.unwrap().unwrap();
    assert!(inside.0.lock().unwrap().pop().unwrap().is_none(), "it is no turn");
    drop(held);
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    for arrival in inside.0.lock().unwrap().drain(..) {
        let Arrival { at, deadline, slot } = arrival.unwrap();
        assert_eq!((at.elapsed(), slot.is_some()), (Duration::from_millis(300), true));
        assert_eq!(deadline, at + Duration::from_secs(1) - runtime.settings().reply_margin);
    }
    let held = [runtime.free_turn_slot().unwrap(), runtime.free_turn_slot().unwrap()];
    let late = call("SubmitTurn").await.unwrap().unwrap();
    assert_eq!(Status::from_header_map(late.headers()).unwrap().code(), Code::DeadlineExceeded);
    drop(held);
}
