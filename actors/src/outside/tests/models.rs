//! Which models are asked, how often, and what is told of it.

use colloquy_flow::{Flow, Patience, Purpose};
use colloquy_model::{Answer, Error, Features, Finish, Limits, Model, Refusal, Request, Usage};
use colloquy_turn::{Failure, ModelMessage, ModelOutput, ModelRequest, Role};
use colloquy_types::TurnSeq;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::*;
use crate::{
    events::{EventBytes, TurnEvents},
    outside::{BreakerPosition, Deltas, ModelCall, ModelSpec, Pace, Prices, Routes},
};

const DESK: &str = include_str!("../../tests/outside.yaml");

#[derive(Clone, Debug)]
enum Does {
    Says(&'static str),
    /// Shows a part, then fails.
    Breaks(&'static str, Error),
    Fails(Error),
    Hangs,
    Withholds,
}

struct Fake {
    script: Arc<Script<Does>>,
    asked: Arc<Mutex<Vec<Request>>>,
}

fn answer(text: &str) -> Answer {
    Answer {
        text: text.to_owned(),
        tool_calls: Vec::new(),
        usage: Usage { tokens_in: 412, tokens_out: 37, tokens_cached: 400 },
        finish: Finish::Stop,
        model: "small-2026".into(),
        misfit: None,
    }
}

impl Model for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn features(&self) -> Features {
        Features { streams: true, json: true, tools: false }
    }

    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        limits: Limits,
        deltas: Option<mpsc::Sender<String>>,
    ) -> BoxFuture<'a, Result<Answer, Error>> {
        self.asked.lock().unwrap().push(request.clone());
        let (does, life) = (self.script.next(), self.script.alive.one());
        Box::pin(async move {
            let _life = life;
            let show = async |text: &str| {
                if let Some(deltas) = &deltas {
                    deltas.send(text.to_owned()).await.unwrap();
                    settle().await;
                }
            };
            match does {
                Does::Says(text) => {
                    show(text).await;
                    Ok(answer(text))
                }
                Does::Breaks(text, error) => {
                    show(text).await;
                    Err(error)
                }
                Does::Fails(error) => Err(error),
                Does::Hangs => {
                    tokio::time::sleep_until(limits.deadline).await;
                    Err(Error::TimedOut)
                }
                Does::Withholds => Ok(Answer { finish: Finish::Filtered, ..answer("") }),
            }
        })
    }

    fn check(&self, _: Limits) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

struct Bench {
    kept: Kept,
    scripts: Vec<Arc<Script<Does>>>,
    asked: Vec<Arc<Mutex<Vec<Request>>>>,
    flow: Arc<Flow>,
}

/// Models `local/0`, `local/1` … each with its script; replies are asked of them in this order, everything else of
/// the last alone.
async fn bench(scripts: Vec<Vec<Does>>) -> Bench {
    let scripts: Vec<_> = scripts.into_iter().map(Script::new).collect();
    let asked: Vec<_> = scripts.iter().map(|_| Arc::<Mutex<Vec<_>>>::default()).collect();
    let prices = Prices { input: 150_000, cached: 75_000, output: 600_000 };
    let fakes = scripts.iter().zip(&asked);
    let fakes = fakes.map(|(script, asked)| Fake { script: Arc::clone(script), asked: Arc::clone(asked) });
    let spec = |(number, fake)| ModelSpec {
        name: format!("local/{number}").into(),
        model: None,
        adapter: Arc::new(fake),
        gate: policy(2, 8, 3),
        pace: Pace::default(),
        prices,
    };
    let models: Vec<_> = fakes.enumerate().map(spec).collect();
    let all: Vec<_> = models.iter().map(|spec| Arc::clone(&spec.name)).collect();
    let by_purpose = Purpose::ALL.map(|purpose| match purpose {
        Purpose::Respond => all.clone(),
        _ => all.last().cloned().into_iter().collect(),
    });
    let kept = kept(WorldSpec { models, routes: Routes { by_purpose }, ..WorldSpec::default() }).await;
    let sources = vec![("flow.yaml".to_owned(), DESK.to_owned())];
    let flow = colloquy_author::load_sources("the flow", sources).expect("the flow is sound").flow;
    Bench { kept, scripts, asked, flow }
}

impl Bench {
    fn question(&self, purpose: Purpose, attempts: u8, budget: Duration) -> ModelCall {
        let message = |role, text: &str| ModelMessage { role, text: text.into() };
        let request = ModelRequest {
            prompt: "advise".into(),
            purpose,
            messages: vec![message(Role::System, "Be brief."), message(Role::User, "What now?")],
            schema: None,
            stream: purpose == Purpose::Respond,
            patience: Patience { timeout: budget, attempts },
            tokens_max: 64,
            variables: Vec::new(),
        };
        let flow = Arc::clone(&self.flow);
        ModelCall { context: context(budget), request: Arc::new(request), flow, deltas: None }
    }

    async fn ask(&self, purpose: Purpose, attempts: u8) -> Result<ModelOutput, Failure> {
        self.kept.world.model(self.question(purpose, attempts, Duration::from_secs(8))).await.result
    }

    fn calls(&self) -> Vec<usize> {
        self.scripts.iter().map(|script| script.calls()).collect()
    }
}

const LIMITED: Error = Error::Status { code: 429, class: Refusal::RateLimited, retry_after: None };
const WRONG_KEY: Error = Error::Status { code: 401, class: Refusal::Unauthenticated, retry_after: None };

#[tokio::test(start_paused = true)]
async fn an_answer_is_told_with_what_it_used_and_cost() {
    let bench = bench(vec![vec![Does::Says("Switch it off.")]]).await;
    let output = bench.ask(Purpose::Respond, 1).await.expect("it answers");
    assert_eq!((&*output.text, &*output.model, output.truncated), ("Switch it off.", "small-2026", false));
    let usage = output.usage;
    assert_eq!((usage.tokens_in, usage.tokens_cached, usage.tokens_out, usage.cost_micros), (412, 400, 37, 54));
    for line in [
        r#"colloquy_model_calls_total{name="local/0",outcome="answered"} 1"#,
        r#"colloquy_model_tokens_total{tenant="acme",model="local/0",kind="cached"} 400"#,
        r#"colloquy_prompt_tokens_total{prompt="advise",kind="output"} 37"#,
        r#"colloquy_model_cost_micros_total{tenant="acme",model="local/0"} 54"#,
        r#"colloquy_model_cost_held_micros{name="local/0"} 0"#,
    ] {
        assert!(bench.kept.told(line), "{line}\n{}", bench.kept.metrics.encode());
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let passes = bench(vec![vec![Does::Fails(LIMITED), Does::Fails(Error::Reset), Does::Says("Yes.")]]).await;
    let answer = passes.kept.world.model(passes.question(Purpose::Respond, 3, Duration::from_secs(8))).await;
    assert!(answer.result.is_ok());
    assert_eq!(passes.calls(), [3]);
    assert_eq!(answer.lost.tokens_in, 5, "one of the two that failed had begun to work");

    let stays = bench(vec![vec![Does::Fails(WRONG_KEY), Does::Says("Yes.")]]).await;
    assert_eq!(stays.ask(Purpose::Respond, 3).await.unwrap_err(), Failure::Unavailable);
    assert_eq!(stays.calls(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_asked_for_is_kept_or_nothing_is_waited_for() {
    let limited = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        Does::Fails(Error::Status { code: 429, class: Refusal::RateLimited, retry_after })
    };
    let began = Instant::now();
    let patient = bench(vec![vec![limited(2), Does::Says("Yes.")]]).await;
    assert!(patient.ask(Purpose::Respond, 2).await.is_ok());
    assert!(began.elapsed() >= Duration::from_secs(2));

    let began = Instant::now();
    let hopeless = bench(vec![vec![limited(30), Does::Says("Yes.")]]).await;
    assert_eq!(hopeless.ask(Purpose::Respond, 2).await.unwrap_err(), Failure::Unavailable);
    assert!(began.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn the_next_model_stands_in_and_a_failing_one_is_left_alone() {
    let bench = bench(vec![vec![Does::Fails(Error::Reset)], vec![Does::Says("From the second.")]]).await;
    for _ in 0..5 {
        let output = bench.ask(Purpose::Respond, 1).await.expect("the second answers");
        assert_eq!(&*output.text, "From the second.");
    }
    assert_eq!(bench.calls(), [3, 5], "after three failures the first is not asked any more");
    assert_eq!(bench.kept.figures("local/0").breaker, BreakerPosition::Open);
    assert!(bench.kept.told(r#"colloquy_model_calls_total{name="local/0",outcome="not_admitted"} 2"#));
}

#[tokio::test(start_paused = true)]
async fn purposes_go_to_their_own_models() {
    let bench = bench(vec![vec![Does::Says("large")], vec![Does::Says("small")]]).await;
    for purpose in Purpose::ALL {
        let expected = if purpose == Purpose::Respond { "large" } else { "small" };
        assert_eq!(&*bench.ask(purpose, 1).await.unwrap().text, expected, "{purpose:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_shown_is_never_begun_anew() {
    let bench = bench(vec![vec![Does::Breaks("Switch it ", Error::Stalled)], vec![Does::Says("Never.")]]).await;
    let events = Arc::new(TurnEvents::new(TurnSeq::new(1), 1, EventBytes::default()));
    let mut call = bench.question(Purpose::Respond, 3, Duration::from_secs(8));
    call.deltas = Some(Deltas { step: 3, events: Arc::clone(&events) });
    let answer = bench.kept.world.model(call).await;
    assert_eq!(answer.result.unwrap_err(), Failure::TimedOut);
    assert_eq!(bench.calls(), [1, 0]);
    // The provider has read the question and written what was shown, though it never came to tell so.
    let lost = answer.lost;
    assert_eq!((lost.tokens_in, lost.tokens_out, lost.cost_micros), (5, 3, 3));
    assert!(bench.kept.told(r#"colloquy_model_tokens_total{tenant="acme",model="local/0",kind="output"} 3"#));
    assert_eq!(events.shown(), "Switch it ");
}

#[tokio::test(start_paused = true)]
async fn parts_reach_the_reader_before_the_answer_is_complete() {
    let bench = bench(vec![vec![Does::Says("All at once.")]]).await;
    let events = Arc::new(TurnEvents::new(TurnSeq::new(1), 1, EventBytes::default()));
    let mut call = bench.question(Purpose::Respond, 1, Duration::from_secs(8));
    call.deltas = Some(Deltas { step: 3, events: Arc::clone(&events) });
    bench.kept.world.model(call).await.result.unwrap();
    assert!(events.shown().starts_with("All"));
}

#[tokio::test(start_paused = true)]
async fn everything_ends_by_the_deadline_and_leaves_nothing_behind() {
    let bench = bench(vec![vec![Does::Hangs], vec![Does::Hangs]]).await;
    let began = Instant::now();
    let call = bench.question(Purpose::Respond, 3, Duration::from_millis(500));
    assert_eq!(bench.kept.world.model(call).await.result.unwrap_err(), Failure::TimedOut);
    assert_eq!(began.elapsed(), Duration::from_millis(500));
    assert_eq!(bench.calls(), [1, 0], "no attempt begins that cannot end");
    settle().await;
    assert_eq!((bench.scripts[0].alive.count(), bench.kept.figures("local/0").inside), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_dropped_leaves_nothing_behind() {
    let bench = bench(vec![vec![Does::Hangs]]).await;
    let mut call = bench.kept.world.model(bench.question(Purpose::Respond, 1, Duration::from_secs(8)));
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut call).await.is_err());
    // 18 bytes to read are five tokens, 64 may be written.
    assert!(bench.kept.told(r#"colloquy_model_cost_held_micros{name="local/0"} 40"#), "what it may cost is held");
    drop(call);
    assert!(bench.kept.told(r#"colloquy_model_cost_held_micros{name="local/0"} 0"#));
    settle().await;
    assert_eq!((bench.scripts[0].alive.count(), bench.kept.figures("local/0").inside), (0, 0));
    assert_eq!(bench.kept.figures("local/0").breaker, BreakerPosition::Closed, "giving up says nothing of the model");
}

#[tokio::test(start_paused = true)]
async fn a_withheld_answer_is_a_refusal_that_was_paid_for() {
    let bench = bench(vec![vec![Does::Withholds], vec![Does::Says("Another.")]]).await;
    assert_eq!(&*bench.ask(Purpose::Respond, 1).await.unwrap().text, "Another.");
    assert!(bench.kept.told(r#"colloquy_model_cost_micros_total{tenant="acme",model="local/0"} 54"#));
}

#[tokio::test(start_paused = true)]
async fn without_a_model_nothing_is_available() {
    let bench = bench(Vec::new()).await;
    assert_eq!(bench.ask(Purpose::Respond, 3).await.unwrap_err(), Failure::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn the_trace_goes_along() {
    let bench = bench(vec![vec![Does::Says("Yes.")]]).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut call = bench.question(Purpose::Respond, 1, Duration::from_secs(8));
    call.context.trace = colloquy_types::TraceContext::parse(parent, Some("v=1"));
    bench.kept.world.model(call).await.result.unwrap();
    let asked = bench.asked[0].lock().unwrap();
    let headers: Vec<_> =
        asked[0].headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(headers, [("traceparent", parent), ("tracestate", "v=1")]);
}
