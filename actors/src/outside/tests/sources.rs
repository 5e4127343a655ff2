//! How calls of sources are tried, and what is known when they fail.

use colloquy_enrich::{Answer, Call, Checked, Error, Happened, Source, UnreachableKind};
use colloquy_flow::{Json, Patience};
use colloquy_turn::{CallOutcome, CallRequest, Failure};
use futures::future::BoxFuture;

use super::*;
use crate::outside::{BreakerPosition, SourceAdapter, SourceCall, SourceSpec};

/// The idempotency key of each call.
type Keys = Arc<Mutex<Vec<Option<Arc<str>>>>>;

#[derive(Clone, Debug)]
enum Does {
    Answers(Json),
    Fails(Error),
    Hangs,
}

struct Fake {
    script: Arc<Script<Does>>,
    keys: Keys,
}

impl Source for Fake {
    fn call(&self, call: Call, _: Instant) -> BoxFuture<'_, Result<Answer, Error>> {
        self.keys.lock().unwrap().push(call.key);
        let (does, life) = (self.script.next(), self.script.alive.one());
        Box::pin(async move {
            let _life = life;
            match does {
                Does::Answers(value) => Ok(Answer { value, partial: false }),
                Does::Fails(error) => Err(error),
                Does::Hangs => std::future::pending().await,
            }
        })
    }

    fn check(&self, _: Instant) -> BoxFuture<'_, Result<Checked, Error>> {
        Box::pin(async { Ok(Checked { latency: Duration::ZERO, tools: Vec::new() }) })
    }
}

pub(super) fn spec(name: &str, gate: GatePolicy) -> SourceSpec {
    scripted(name, gate, Script::new([Does::Hangs])).0
}

fn scripted(name: &str, gate: GatePolicy, script: Arc<Script<Does>>) -> (SourceSpec, Keys) {
    let keys = Keys::default();
    let fake = Fake { script, keys: Arc::clone(&keys) };
    (SourceSpec { name: name.into(), adapter: SourceAdapter::Direct(Arc::new(fake)), gate }, keys)
}

struct Tool {
    kept: Kept,
    script: Arc<Script<Does>>,
    keys: Keys,
}

async fn tool(steps: impl IntoIterator<Item = Does>) -> Tool {
    let script = Script::new(steps);
    let (spec, keys) = scripted("crm", policy(2, 8, 5), Arc::clone(&script));
    Tool { kept: kept(WorldSpec { sources: vec![spec], ..WorldSpec::default() }).await, script, keys }
}

#[derive(Clone, Copy)]
struct Kind {
    read_only: bool,
    idempotent: bool,
    attempts: u8,
}

const READS: Kind = Kind { read_only: true, idempotent: false, attempts: 3 };
const ACTS: Kind = Kind { read_only: false, idempotent: false, attempts: 3 };
const REPEATS: Kind = Kind { read_only: false, idempotent: true, attempts: 3 };

fn asked(kind: Kind, budget: Duration) -> SourceCall {
    let patience = Patience { timeout: budget, attempts: kind.attempts };
    let request = CallRequest {
        name: "look".into(),
        target: "crm/look".into(),
        arguments: Json::object([]),
        read_only: kind.read_only,
        idempotent: kind.idempotent,
        patience,
    };
    SourceCall { context: context(budget), request: Arc::new(request) }
}

impl Tool {
    async fn call(&self, kind: Kind) -> CallOutcome {
        self.kept.world.call(asked(kind, Duration::from_secs(5))).await
    }
}

fn value() -> Json {
    Json::Text("all is well".into())
}

const BROKEN: Error = Error::Failed { code: Some(500), retry_after: None };
const AWAY: Error = Error::Unreachable(UnreachableKind::Connect);

#[tokio::test(start_paused = true)]
async fn what_only_reads_is_tried_again_whatever_happened() {
    let tool = tool([Does::Fails(BROKEN), Does::Fails(Error::Interrupted), Does::Answers(value())]).await;
    assert_eq!(tool.call(READS).await, CallOutcome::Done(value()));
    assert_eq!(tool.script.calls(), 3);
    assert_eq!(*tool.keys.lock().unwrap(), [None, None, None], "what changes nothing needs no key");
    assert!(tool.kept.told(r#"colloquy_source_calls_total{name="crm",outcome="answered"} 1"#));
    assert!(tool.kept.told(r#"colloquy_source_calls_total{name="crm",outcome="failed"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn what_acts_is_tried_again_only_when_nothing_happened() {
    let never_sent = tool([Does::Fails(AWAY), Does::Answers(value())]).await;
    assert_eq!(never_sent.call(ACTS).await, CallOutcome::Done(value()));
    assert_eq!(never_sent.script.calls(), 2);

    let sent = tool([Does::Fails(BROKEN), Does::Answers(value())]).await;
    assert_eq!(sent.call(ACTS).await, CallOutcome::Unknown);
    assert_eq!(sent.script.calls(), 1, "nobody knows whether it acted");

    let refused = tool([Does::Fails(Error::Refused { code: Some(403) }), Does::Answers(value())]).await;
    assert_eq!(refused.call(ACTS).await, CallOutcome::Failed(Failure::Refused));
    assert_eq!(refused.script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_may_be_repeated_is_repeated_with_the_same_key() {
    let tool = tool([Does::Fails(BROKEN), Does::Answers(value())]).await;
    assert_eq!(tool.call(REPEATS).await, CallOutcome::Done(value()));
    let keys = tool.keys.lock().unwrap().clone();
    let key: Arc<str> = context(Duration::ZERO).effect_key().into();
    assert_eq!(keys, [Some(Arc::clone(&key)), Some(key)]);
}

#[tokio::test(start_paused = true)]
async fn once_it_may_have_happened_a_later_no_does_not_undo_that() {
    let tool = tool([Does::Fails(BROKEN), Does::Fails(AWAY)]).await;
    assert_eq!(tool.call(REPEATS).await, CallOutcome::Unknown);
    assert_eq!(tool.script.calls(), 3);
    assert_eq!(AWAY.happened(), Happened::No);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_asked_for_is_kept_and_no_attempt_begins_that_cannot_end() {
    let busy = |seconds| Does::Fails(Error::Busy { code: Some(429), retry_after: Some(Duration::from_secs(seconds)) });
    let patient = tool([busy(2), Does::Answers(value())]).await;
    let began = Instant::now();
    assert_eq!(patient.call(ACTS).await, CallOutcome::Done(value()));
    assert!(began.elapsed() >= Duration::from_secs(2));

    let hopeless = tool([busy(60), Does::Answers(value())]).await;
    let began = Instant::now();
    assert_eq!(hopeless.call(ACTS).await, CallOutcome::Failed(Failure::Unavailable));
    assert!(began.elapsed() < Duration::from_millis(10), "it does not wait for what cannot come");
    assert_eq!(hopeless.script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_left_alone_and_found_again() {
    let failing = std::iter::repeat_n(Does::Fails(AWAY), 5);
    let tool = tool(failing.chain([Does::Answers(value())])).await;
    let once = Kind { attempts: 1, ..READS };
    for _ in 0..5 {
        assert_eq!(tool.call(once).await, CallOutcome::Failed(Failure::Unavailable));
    }
    settle().await;
    assert_eq!(tool.kept.figures("crm").breaker, BreakerPosition::Open);
    assert_eq!(tool.call(once).await, CallOutcome::Failed(Failure::Unavailable));
    assert_eq!(tool.script.calls(), 5, "it is left alone");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(tool.call(once).await, CallOutcome::Done(value()));
    settle().await;
    assert_eq!(tool.kept.figures("crm").breaker, BreakerPosition::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_nothing_against_the_source() {
    let tool = tool([Does::Fails(Error::Refused { code: None })]).await;
    for _ in 0..20 {
        assert_eq!(tool.call(READS).await, CallOutcome::Failed(Failure::Refused));
    }
    assert_eq!(tool.kept.figures("crm").breaker, BreakerPosition::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let tool = tool([Does::Hangs]).await;
    let call = tool.kept.world.call(asked(READS, Duration::from_secs(60)));
    assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    settle().await;
    assert_eq!((tool.script.alive.count(), tool.kept.figures("crm").inside), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_not_set_up_is_unavailable() {
    let kept = kept(WorldSpec::default()).await;
    let outcome = kept.world.call(asked(READS, Duration::from_secs(5))).await;
    assert_eq!(outcome, CallOutcome::Failed(Failure::Unavailable));
}
