//! What turns ask of the world: started when they may, together, ended in time, dropped with their turn, and never
//! twice where twice would be one too many.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use colloquy_flow::Json;
use colloquy_turn::{CallOutcome, ModelOutput, Reason, TurnOutcome, Usage};
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    Nowhere,
    outside::{ModelAnswer, ModelCall, SourceCall},
};

const ERRANDS: &str = include_str!("outside.yaml");

/// What the world does when it is called.
#[derive(Clone, Debug)]
pub(super) enum Conduct {
    /// Answers after a while.
    After(Duration),
    /// Never answers.
    Hangs,
    /// Panics.
    Panics,
    /// Answers when it is let go.
    Held,
}

/// A world that notes what it is asked.
#[derive(Debug)]
pub(super) struct World {
    conduct: Mutex<HashMap<String, Conduct>>,
    /// Name and stable key of every call, in order.
    pub(super) calls: Mutex<Vec<(String, String)>>,
    running: AtomicUsize,
    most: AtomicUsize,
    pub(super) gate: Semaphore,
}

/// Counts a call for as long as its future lives.
struct Runs(Arc<World>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Debug)]
struct Reached(Arc<World>);

impl World {
    pub(super) fn new(conduct: &[(&str, Conduct)]) -> Arc<Self> {
        let conduct = conduct.iter().map(|(name, conduct)| ((*name).to_owned(), conduct.clone())).collect();
        Arc::new(Self {
            conduct: Mutex::new(conduct),
            calls: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        })
    }

    pub(super) fn called(&self, name: &str) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(called, _)| called == name).map(|(_, key)| key.clone()).collect()
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    pub(super) fn set(&self, name: &str, conduct: Conduct) {
        self.conduct.lock().unwrap().insert(name.to_owned(), conduct);
    }

    fn run(self: &Arc<Self>, name: &str, key: String) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.calls.lock().unwrap().push((name.to_owned(), key));
        let conduct = self.conduct.lock().unwrap().get(name).cloned().unwrap_or(Conduct::After(Duration::ZERO));
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let runs = Runs(Arc::clone(self));
        async move {
            match conduct {
                Conduct::After(delay) => tokio::time::sleep(delay).await,
                Conduct::Hangs => std::future::pending().await,
                Conduct::Panics => panic!("a panic in a call, as the test asked for"),
                Conduct::Held => runs.0.gate.acquire().await.expect("it is never closed").forget(),
            }
            drop(runs);
        }
    }
}

impl Outside for Reached {
    fn model(&self, call: ModelCall) -> BoxFuture<'static, ModelAnswer> {
        let run = self.0.run("model", call.context.effect_key());
        let deltas = call.deltas;
        async move {
            for part in ["All ", "is "] {
                deltas.iter().for_each(|deltas| deltas.push(part));
            }
            run.await;
            deltas.iter().for_each(|deltas| deltas.push("well."));
            let usage = Usage { tokens_in: 7, tokens_out: 3, ..Usage::default() };
            Ok(ModelOutput { text: "All is well.".into(), model: "test".into(), usage, truncated: false }).into()
        }
        .boxed()
    }

    fn call(&self, call: SourceCall) -> BoxFuture<'static, CallOutcome> {
        let run = self.0.run(&call.request.target, call.context.effect_key());
        let name = call.request.target.to_string();
        async move {
            run.await;
            let text = |text: &str| Json::Text(text.into());
            CallOutcome::Done(Json::object([("text".into(), text(&name)), ("receipt".into(), text("R-1"))]))
        }
        .boxed()
    }
}

pub(super) async fn started(gate: &Arc<Gate>, world: &Arc<World>) -> Runtime {
    started_with(gate, world, ERRANDS.to_owned()).await
}

pub(super) async fn started_with(gate: &Arc<Gate>, world: &Arc<World>, flow: String) -> Runtime {
    let sources = vec![("flow.yaml".to_owned(), flow)];
    start_in(gate.clone(), RuntimeSettings::default(), sources, Arc::new(Reached(Arc::clone(world)))).await
}

pub(super) async fn started_within(limits: Limits, world: &Arc<World>) -> Runtime {
    let settings = RuntimeSettings { limits, ..RuntimeSettings::default() };
    let sources = vec![("flow.yaml".to_owned(), ERRANDS.to_owned())];
    start_in(Gate::new(), settings, sources, Arc::new(Reached(Arc::clone(world)))).await
}

pub(super) fn errand(request_id: &str, text: &str, budget: Duration) -> SubmitTurn {
    let flow = Some(FlowName::parse("errands").unwrap());
    SubmitTurn { flow, deadline: Instant::now() + budget, ..turn("c", request_id, text) }
}

pub(super) const AMPLE: Duration = Duration::from_secs(10);

pub(super) fn record(reply: &TurnReply) -> &colloquy_turn::TurnRecord {
    match &reply.ending {
        Ending::Committed(turn) => &turn.record,
        other => panic!("not committed: {other:?}"),
    }
}

pub(super) fn submitted(runtime: &Runtime, turn: SubmitTurn) -> tokio::task::JoinHandle<Result<TurnReply, Error>> {
    let runtime = runtime.clone();
    tokio::spawn(async move { runtime.submit_turn(turn).await })
}

pub(super) fn kill(runtime: &Runtime) {
    runtime.shared().directory.get(&key("c")).expect("it lives").actor.kill();
}

/// CE-014: what a turn needs runs together, and what hangs costs its own budget and no more.
#[tokio::test]
async fn four_sources_run_together_and_one_that_hangs_costs_its_budget() {
    let world = World::new(&[
        ("one", Conduct::After(Duration::from_millis(50))),
        ("two", Conduct::After(Duration::from_millis(50))),
        ("three", Conduct::After(Duration::from_millis(50))),
    ]);
    let gate = Gate::new();
    let runtime = started(&gate, &world).await;
    let reply = runtime.submit_turn(errand("r-1", "look", AMPLE)).await.unwrap();
    assert_eq!((record(&reply).outcome, &*record(&reply).reply.text), (TurnOutcome::Complete, "one two three four"));
    assert_eq!(world.most.load(Ordering::SeqCst), 4);
    world.set("four", Conduct::Hangs);
    let begun = Instant::now();
    let reply = runtime.submit_turn(errand("r-2", "look", AMPLE)).await.unwrap();
    let elapsed = begun.elapsed();
    assert_eq!((record(&reply).outcome, &*record(&reply).reply.text), (TurnOutcome::Degraded, "one two three none"));
    assert!((400..600).contains(&elapsed.as_millis()), "{elapsed:?}");
    let [degradation] = record(&reply).degradations.as_slice() else { panic!("one source was missing") };
    assert_eq!((&*degradation.name, degradation.reason), ("four", Reason::TimedOut));
    assert!((400..600).contains(&degradation.elapsed_ms), "{degradation:?}");
    assert_eq!(world.running(), 0, "the call that hung was dropped");
}

#[tokio::test]
async fn a_turn_ends_inside_its_own_deadline_whatever_hangs() {
    let world = World::new(&[("one", Conduct::Hangs), ("model", Conduct::Hangs)]);
    let runtime = started(&Gate::new(), &world).await;
    for (request_id, text) in [("r-1", "look"), ("r-2", "tell")] {
        let reply = runtime.submit_turn(errand(request_id, text, Duration::from_millis(200))).await.unwrap();
        assert_eq!(record(&reply).outcome, TurnOutcome::Degraded, "{text}");
    }
    assert_eq!(world.running(), 0);
    // No attempt starts that cannot finish.
    let before = world.calls.lock().unwrap().len();
    let reply = runtime.submit_turn(errand("r-3", "tell", Duration::from_millis(45))).await.unwrap();
    assert_eq!(&*record(&reply).reply.text, "I cannot say.");
    assert_eq!(world.calls.lock().unwrap().len(), before);
}

#[tokio::test]
async fn a_question_overlaps_the_promise_and_an_action_waits_for_its_intent() {
    let world = World::new(&[]);
    let gate = Gate::new();
    let runtime = started(&gate, &world).await;
    runtime.submit_turn(errand("r-0", "desk", AMPLE)).await.unwrap();
    gate.inner.hold();
    let told = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| !world.called("model").is_empty()).await;
    gate.until_waiting(1).await;
    gate.inner.let_go();
    assert_eq!(&*record(&told.await.unwrap().unwrap()).reply.text, "All is well.");
    gate.inner.hold();
    let paid = submitted(&runtime, errand("r-2", "pay for ann", AMPLE));
    gate.until_waiting(1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(world.called("bank/pay").is_empty(), "it was called before its intent was synced");
    gate.inner.let_go();
    let reply = paid.await.unwrap().unwrap();
    assert_eq!((&*record(&reply).state, &*record(&reply).reply.text), ("paid", "All is well."));
    assert_eq!(world.called("bank/pay").len(), 1);
    gate.verify(&key("c")).await.unwrap();
}

/// P3: at most once where the flow does not say that once more does no harm.
#[tokio::test]
async fn an_action_killed_in_the_middle_is_never_called_twice_and_ends_unknown() {
    let world = World::new(&[("bank/pay", Conduct::Hangs)]);
    let gate = Gate::new();
    let runtime = started(&gate, &world).await;
    let paid = submitted(&runtime, errand("r-1", "pay for ann", AMPLE));
    wait_for(|| world.called("bank/pay").len() == 1).await;
    kill(&runtime);
    assert_eq!(paid.await.unwrap().unwrap_err(), Error::Restarted);
    restarted(&runtime, "c").await;
    let again = runtime.submit_turn(errand("r-1", "pay for ann", AMPLE)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(&*record(&again).reply.text, "Nobody knows whether it was paid.");
    assert!(
        record(&again)
            .effects
            .iter()
            .any(|effect| effect.value == colloquy_turn::EffectValue::Act(CallOutcome::Unknown))
    );
    assert_eq!(world.called("bank/pay").len(), 1);
    assert_eq!(world.running(), 0, "the call ended with its actor");
}

/// P3: at least once, with one key, where the flow says that it does no harm.
#[tokio::test]
async fn an_idempotent_action_killed_in_the_middle_is_called_again_with_the_same_key() {
    let world = World::new(&[("post/send", Conduct::Hangs)]);
    let gate = Gate::new();
    let runtime = started(&gate, &world).await;
    let sent = submitted(&runtime, errand("r-1", "send for ann", AMPLE));
    wait_for(|| world.called("post/send").len() == 1).await;
    world.set("post/send", Conduct::After(Duration::ZERO));
    kill(&runtime);
    assert_eq!(sent.await.unwrap().unwrap_err(), Error::Restarted);
    restarted(&runtime, "c").await;
    let again = runtime.submit_turn(errand("r-1", "send for ann", AMPLE)).await.unwrap();
    assert_eq!((&*record(&again).state, &*record(&again).reply.text), ("sent", "Sent."));
    let keys = world.called("post/send");
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn what_was_learned_before_a_crash_is_not_asked_again() {
    let world = World::new(&[("model", Conduct::Hangs)]);
    let gate = Gate::new();
    let runtime = started(&gate, &world).await;
    // It pays, then a model is asked for words.
    let paid = submitted(&runtime, errand("r-1", "pay for ann", AMPLE));
    wait_for(|| world.called("model").len() == 1).await;
    // The receipt is written before the turn goes on waiting.
    wait_for(|| runtime.stats().store.records == 4).await;
    world.set("model", Conduct::After(Duration::ZERO));
    kill(&runtime);
    assert_eq!(paid.await.unwrap().unwrap_err(), Error::Restarted);
    restarted(&runtime, "c").await;
    let again = runtime.submit_turn(errand("r-1", "pay for ann", AMPLE)).await.unwrap();
    assert_eq!((&*record(&again).state, &*record(&again).reply.text), ("paid", "All is well."));
    assert_eq!((world.called("bank/pay").len(), world.called("model").len()), (1, 2));
}

#[tokio::test]
async fn a_panic_in_a_call_is_a_failure_and_of_an_action_an_unknown_ending() {
    let world = World::new(&[("model", Conduct::Panics), ("bank/pay", Conduct::Panics)]);
    let runtime = started(&Gate::new(), &world).await;
    let reply = runtime.submit_turn(errand("r-1", "tell", AMPLE)).await.unwrap();
    assert_eq!((record(&reply).outcome, &*record(&reply).reply.text), (TurnOutcome::Degraded, "I cannot say."));
    let reply = runtime.submit_turn(errand("r-2", "pay for ann", AMPLE)).await.unwrap();
    assert_eq!(&*record(&reply).reply.text, "Nobody knows whether it was paid.");
    assert_eq!(runtime.shared().directory.get(&key("c")).unwrap().info.restarts, 0);
}

/// CE-012: the conversation decides one turn at a time also while the world is slow.
#[tokio::test]
async fn a_turn_that_waits_keeps_others_of_its_conversation_waiting_and_answers_questions() {
    let world = World::new(&[("model", Conduct::Held)]);
    let runtime = started(&Gate::new(), &world).await;
    runtime.submit_turn(errand("r-0", "desk", AMPLE)).await.unwrap();
    let first = submitted(&runtime, errand("r-1", "tell", AMPLE));
    wait_for(|| world.running() == 1).await;
    let second = submitted(&runtime, errand("r-2", "desk", AMPLE));
    let attached = submitted(&runtime, errand("r-1", "tell", AMPLE));
    let described = runtime.describe(&key("c"), Instant::now() + AMPLE).await.unwrap();
    assert_eq!(described.head.turn_seq.get(), 1, "what is not synced is not told");
    let busy = SubmitTurn { busy: Some(BusyPolicy::Reject), ..errand("r-3", "desk", AMPLE) };
    assert!(matches!(runtime.submit_turn(busy).await, Err(Error::Busy { .. })));
    world.gate.add_permits(1);
    let (first, attached, second) =
        (first.await.unwrap().unwrap(), attached.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!((seq(&first), seq(&attached), seq(&second)), (2, 2, 3));
    assert_eq!((first.replayed, attached.replayed), (false, true));
    assert_eq!(world.called("model").len(), 1);
    assert_eq!(record(&first).usage.tokens_in, 7);
}

#[tokio::test]
async fn a_stream_tells_progress_and_parts_before_the_ending() {
    let world = World::new(&[]);
    let runtime = started(&Gate::new(), &world).await;
    let mut stream = runtime.stream_turn(errand("r-1", "tell", AMPLE), None).unwrap();
    let (mut stages, mut told, mut progress) = (Vec::new(), String::new(), Vec::new());
    while let Some((_, event)) = stream.event().await {
        match event {
            TurnEvent::Accepted { .. } => assert!(stages.is_empty() && told.is_empty(), "it comes first"),
            TurnEvent::Stage(stage) => stages.push(stage),
            TurnEvent::Progress { text, .. } => progress.push(text.to_string()),
            TurnEvent::Delta { text, .. } => told.push_str(&text),
        }
    }
    let reply = stream.ending().await.unwrap();
    assert_eq!(told, record(&reply).reply.text);
    assert_eq!(progress, ["Thinking …"]);
    assert_eq!(stages, record(&reply).stages, "each stage once, in order");
}

#[tokio::test]
async fn a_world_out_of_reach_degrades_and_changes_nothing_else() {
    let sources = vec![("flow.yaml".to_owned(), ERRANDS.to_owned())];
    let runtime = start_in(Gate::new(), RuntimeSettings::default(), sources, Arc::new(Nowhere)).await;
    let reply = runtime.submit_turn(errand("r-1", "look", AMPLE)).await.unwrap();
    assert_eq!((record(&reply).outcome, &*record(&reply).reply.text), (TurnOutcome::Degraded, "none none none none"));
}
