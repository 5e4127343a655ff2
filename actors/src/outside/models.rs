//! How a turn's question becomes an answer: which models are asked, in which order, how often, and what it cost.

use std::{sync::Arc, time::Duration};

use colloquy_flow::Purpose;
use colloquy_model::{
    Answer, Error as ModelError, Finish, HeaderName, HeaderValue, Limits, Message, Model, Refusal, Request,
};
use colloquy_telemetry::{CostHeld, Metrics, Tokens};
use colloquy_turn::{Failure, ModelOutput, ModelRequest, Role, Usage};
use colloquy_types::{Entropy, TraceContext};
use tokio::{sync::mpsc, time::Instant};

use super::{
    CallContext, Deltas, ModelAnswer, ModelCall,
    board::Board,
    breaker::Verdict,
    cost::{Prices, estimated_tokens},
    elapsed_ms,
    gate::{GateHandle, GatePolicy, Refused},
    retry::RetryPolicy,
    supervisor::{Child, GateKind, Gates},
};

/// Parts of an answer that may wait to be passed on; the adapter joins what does not fit.
const PARTS_WAITING: usize = 16;

/// How patient one attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The longest one attempt may take.
    pub attempt: Duration,
    /// The longest wait for the first token.
    pub first_token: Duration,
    /// The longest wait between tokens.
    pub between_tokens: Duration,
    /// Most bytes of a response.
    pub bytes_max: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(30),
            first_token: Duration::from_secs(10),
            between_tokens: Duration::from_secs(5),
            bytes_max: 4 << 20,
        }
    }
}

/// One model of one provider, as the settings describe it.
#[derive(Clone)]
pub struct ModelSpec {
    /// Its name in settings, metrics and the tree: `provider/model`.
    pub name: Arc<str>,
    /// The model, as its provider names it; the adapter's own when not given.
    pub model: Option<Arc<str>>,
    /// What speaks to the provider.
    pub adapter: Arc<dyn Model>,
    /// How many calls it takes, and when it is left alone.
    pub gate: GatePolicy,
    /// How patient one attempt is.
    pub pace: Pace,
    /// What its tokens cost.
    pub prices: Prices,
}

/// Which models are asked for what, by name, the first first.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// For each purpose, in the order of [`Purpose::ALL`].
    pub by_purpose: [Vec<Arc<str>>; 4],
}

struct Place {
    spec: ModelSpec,
    gate: GateHandle,
}

/// Every model, and the ways to them.
pub(crate) struct Models {
    places: Vec<Place>,
    routes: [Vec<usize>; 4],
    retry: RetryPolicy,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
}

/// Why a model gave no answer, and what to do about it.
struct Missed {
    failure: Failure,
    /// When to ask the same one again; nothing when that is of no use.
    again: Option<Option<Duration>>,
    /// What the attempt used all the same.
    used: Usage,
}

impl Missed {
    fn unused(failure: Failure) -> Self {
        Self { failure, again: None, used: Usage::default() }
    }
}

impl Models {
    pub(crate) fn new(
        specs: Vec<ModelSpec>,
        routes: &Routes,
        retry: RetryPolicy,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let place = |name: &Arc<str>| specs.iter().position(|spec| spec.name == *name);
        let routes = routes.by_purpose.each_ref().map(|names| names.iter().filter_map(place).collect());
        let gated = |spec: ModelSpec| {
            let gate = GateHandle { board: Arc::new(Board::new(spec.name.as_ref())) };
            Place { spec, gate }
        };
        Self { places: specs.into_iter().map(gated).collect(), routes, retry, entropy, metrics }
    }

    /// The gates to be supervised.
    pub(crate) fn gates(&self) -> Gates {
        let gate = |place: &Place| Child::Gate(place.spec.gate, Arc::clone(&place.gate.board));
        Gates { kind: GateKind::Model, children: self.places.iter().map(gate).collect() }
    }

    /// Asks the models of the question's purpose until one answers; else tells why the last one did not. Cancel safe:
    /// dropped, it ends the work.
    pub(crate) async fn ask(&self, mut call: ModelCall) -> ModelAnswer {
        let mut lost = Usage::default();
        let result = self.ask_in_turn(&mut call, &mut lost).await;
        ModelAnswer { result, lost }
    }

    async fn ask_in_turn(&self, call: &mut ModelCall, lost: &mut Usage) -> Result<ModelOutput, Failure> {
        let purpose = Purpose::ALL.iter().position(|purpose| *purpose == call.request.purpose).unwrap_or_default();
        let mut failure = Failure::Unavailable;
        let mut shown = false;
        for place in self.routes.get(purpose).into_iter().flatten().filter_map(|place| self.places.get(*place)) {
            match self.ask_one(place, call, (&mut shown, lost)).await {
                Ok(output) => return Ok(output),
                Err(missed) => failure = missed,
            }
            // What a user has begun to read is not begun anew by another.
            if shown || !self.retry.has_time(Instant::now(), call.context.deadline) {
                break;
            }
        }
        Err(failure)
    }

    async fn ask_one(
        &self,
        place: &Place,
        call: &mut ModelCall,
        (shown, lost): (&mut bool, &mut Usage),
    ) -> Result<ModelOutput, Failure> {
        let deadline = call.context.deadline;
        let attempts = u32::from(call.request.patience.attempts.max(1));
        let request = asked(place, call);
        let mut failed = 0;
        loop {
            let missed = match self.attempt(place, &request, call, shown).await {
                Ok(output) => return Ok(output),
                Err(missed) => missed,
            };
            *lost = lost.plus(missed.used);
            failed += 1;
            let Some(asked_for) = missed.again.filter(|_| failed < attempts && !*shown) else {
                return Err(missed.failure);
            };
            match self.retry.pause(failed, asked_for, deadline, self.entropy.as_ref()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(missed.failure),
            }
        }
    }

    async fn attempt(
        &self,
        place: &Place,
        request: &Request,
        call: &mut ModelCall,
        shown: &mut bool,
    ) -> Result<ModelOutput, Missed> {
        let spec = &place.spec;
        let permit = place.gate.enter(call.context.deadline).await.map_err(|refused| {
            self.metrics.outside.model_call(&spec.name, "not_admitted");
            tracing::debug!(model = %spec.name, %refused, "model not asked");
            let failure = if refused == Refused::TooLate { Failure::TimedOut } else { Failure::Unavailable };
            Missed::unused(failure)
        })?;
        let begun = Instant::now();
        if !self.retry.has_time(begun, call.context.deadline) {
            return Err(Missed::unused(Failure::TimedOut));
        }
        let limits = Limits {
            deadline: call.context.deadline.min(begun + spec.pace.attempt),
            first_token: spec.pace.first_token,
            between_tokens: spec.pace.between_tokens,
            bytes_max: spec.pace.bytes_max,
        };
        let held = self.estimated(spec, request);
        let mut shown_bytes = 0;
        let answered = told(spec.adapter.as_ref(), request, limits, call.deltas.as_ref(), &mut shown_bytes).await;
        *shown |= shown_bytes > 0;
        self.metrics.outside.model_seconds(&spec.name, begun.elapsed().as_secs_f64());
        drop(held);
        match answered {
            Ok(answer) => {
                permit.leave(Verdict::Answered);
                self.answered(spec, &call.context, request, answer)
            }
            Err(error) => {
                permit.leave(verdict(&error));
                self.metrics.outside.model_call(&spec.name, error.name());
                tracing::info!(
                    model = %spec.name, prompt = %request.prompt, purpose = request.purpose.name(),
                    turn_id = %call.context.turn_id, elapsed_ms = elapsed_ms(begun), %error, "model did not answer"
                );
                let used = self.lost(spec, &call.context, request, &error, shown_bytes);
                let again = error.retryable().then(|| error.retry_after());
                Err(Missed { failure: failure(&error), again, used })
            }
        }
    }

    /// Holds what the call may cost at most, by a rough count of what is read and by the longest answer.
    fn estimated(&self, spec: &ModelSpec, request: &Request) -> CostHeld {
        let (read, written) = (asked_tokens(request), u64::from(request.tokens_max));
        let cost_micros = spec.prices.cost_micros(read, 0, written);
        tracing::debug!(
            model = %spec.name, prompt = %request.prompt, purpose = request.purpose.name(),
            tokens_in_estimated = read, tokens_out_max = written, cost_micros_max = cost_micros, "model asked"
        );
        self.metrics.outside.hold_cost(&spec.name, cost_micros)
    }

    /// What an attempt cost that gave no answer: a provider that had begun to answer counts what it read and what it
    /// wrote, and tells neither.
    fn lost(
        &self,
        spec: &ModelSpec,
        context: &CallContext,
        request: &Request,
        error: &ModelError,
        shown_bytes: usize,
    ) -> Usage {
        if !worked(error) {
            return Usage::default();
        }
        let usage = spec.prices.settle(asked_tokens(request), 0, estimated_tokens(shown_bytes));
        self.count(spec, context, request, usage);
        usage
    }

    fn count(&self, spec: &ModelSpec, context: &CallContext, request: &Request, usage: Usage) {
        let tokens = Tokens { input: usage.tokens_in, cached: usage.tokens_cached, output: usage.tokens_out };
        self.metrics.outside.model_usage(context.key.tenant(), &spec.name, &request.prompt, tokens, usage.cost_micros);
    }

    fn answered(
        &self,
        spec: &ModelSpec,
        context: &CallContext,
        request: &Request,
        answer: Answer,
    ) -> Result<ModelOutput, Missed> {
        let Answer { text, usage, finish, model, .. } = answer;
        let estimated = usage.tokens_in == 0 && usage.tokens_out == 0;
        let usage = if estimated {
            spec.prices.settle(asked_tokens(request), 0, estimated_tokens(text.len()))
        } else {
            spec.prices.settle(usage.tokens_in, usage.tokens_cached, usage.tokens_out)
        };
        self.metrics.outside.model_call(&spec.name, "answered");
        self.count(spec, context, request, usage);
        tracing::debug!(
            model = %spec.name, prompt = %request.prompt, purpose = request.purpose.name(), turn_id = %context.turn_id,
            tokens_in = usage.tokens_in, tokens_out = usage.tokens_out, cost_micros = usage.cost_micros, estimated,
            "model answered"
        );
        if finish == Finish::Filtered {
            return Err(Missed { failure: Failure::Refused, again: None, used: usage });
        }
        Ok(ModelOutput { text: text.into(), model, usage, truncated: finish == Finish::Length })
    }
}

/// One attempt, whose parts are passed on while they come; `shown_bytes` counts them.
async fn told(
    adapter: &dyn Model,
    request: &Request,
    limits: Limits,
    deltas: Option<&Deltas>,
    shown_bytes: &mut usize,
) -> Result<Answer, ModelError> {
    let Some(deltas) = deltas else { return adapter.attempt(request, limits, None).await };
    let (sender, mut parts) = mpsc::channel::<String>(PARTS_WAITING);
    let mut attempt = adapter.attempt(request, limits, Some(sender));
    let mut pass_on = |part: String| {
        *shown_bytes += part.len();
        deltas.push(&part);
    };
    let answered = loop {
        tokio::select! {
            biased;
            Some(part) = parts.recv() => pass_on(part),
            answered = &mut attempt => break answered,
        }
    };
    drop(attempt);
    while let Ok(part) = parts.try_recv() {
        pass_on(part);
    }
    answered
}

fn asked(place: &Place, call: &ModelCall) -> Request {
    let ModelRequest { prompt, purpose, messages, schema, tokens_max, .. } = call.request.as_ref();
    let message = |message: &colloquy_turn::ModelMessage| {
        let text: Arc<str> = message.text.as_str().into();
        match message.role {
            Role::System => Message::System(text),
            Role::User => Message::User(text),
            Role::Assistant => Message::Assistant { text, tool_calls: Vec::new() },
        }
    };
    Request {
        prompt: Arc::clone(prompt),
        purpose: *purpose,
        model: place.spec.model.clone(),
        messages: messages.iter().map(message).collect(),
        schema: schema.clone(),
        tools: Vec::new(),
        tokens_max: *tokens_max,
        headers: trace_headers(call.context.trace.as_ref()),
        scripts: Some(Arc::clone(call.flow.scripts())),
    }
}

fn asked_tokens(request: &Request) -> u64 {
    estimated_tokens(request.messages.iter().map(Message::bytes).sum())
}

fn trace_headers(trace: Option<&TraceContext>) -> Vec<(HeaderName, HeaderValue)> {
    let Some(trace) = trace else { return Vec::new() };
    let header = |name, value: &str| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?));
    let state = trace.state().and_then(|state| header("tracestate", state));
    header("traceparent", &trace.parent()).into_iter().chain(state).collect()
}

/// Whether the model had begun to work when the attempt failed, so that its provider counts tokens.
fn worked(error: &ModelError) -> bool {
    match error {
        ModelError::TimedOut
        | ModelError::FirstTokenLate
        | ModelError::Stalled
        | ModelError::Malformed(_)
        | ModelError::WrongSchema { .. }
        | ModelError::TooLarge { .. }
        | ModelError::Reset => true,
        ModelError::Unsendable
        | ModelError::Status { .. }
        | ModelError::Dns
        | ModelError::Connect(_)
        | ModelError::Tls
        | ModelError::Overloaded { .. }
        | ModelError::NotScripted => false,
    }
}

/// What an error says about the place it comes from.
fn verdict(error: &ModelError) -> Verdict {
    match error {
        ModelError::Status { class: Refusal::TooLong | Refusal::Filtered | Refusal::Invalid, .. }
        | ModelError::WrongSchema { .. }
        | ModelError::Unsendable
        | ModelError::NotScripted => Verdict::Answered,
        _ => Verdict::Failed,
    }
}

/// What a turn is told of an error.
fn failure(error: &ModelError) -> Failure {
    match error {
        ModelError::TimedOut | ModelError::FirstTokenLate | ModelError::Stalled => Failure::TimedOut,
        ModelError::Malformed(_) | ModelError::WrongSchema { .. } | ModelError::TooLarge { .. } => Failure::Malformed,
        ModelError::Unsendable
        | ModelError::Status { class: Refusal::TooLong | Refusal::Filtered | Refusal::Invalid, .. } => Failure::Refused,
        ModelError::Status { .. }
        | ModelError::Dns
        | ModelError::Connect(_)
        | ModelError::Tls
        | ModelError::Overloaded { .. }
        | ModelError::Reset
        | ModelError::NotScripted => Failure::Unavailable,
    }
}
