//! How a call of a source or a tool becomes an outcome: how often it is tried, and what is known when it fails.

use std::{collections::HashMap, sync::Arc};

use colloquy_enrich::{Answer, Call, Error as SourceError, Happened, Source, split_target};
use colloquy_telemetry::Metrics;
use colloquy_turn::{CallOutcome, CallRequest, Failure};
use colloquy_types::Entropy;
use tokio::time::Instant;

use super::{
    ANSWER_BYTES_MAX, SourceCall, elapsed_ms,
    board::Board,
    breaker::Verdict,
    gate::{GateHandle, GatePolicy, Refused},
    retry::RetryPolicy,
};

/// One source, as the settings describe it.
#[derive(Clone)]
pub struct SourceSpec {
    /// Its name in flows, metrics and the tree.
    pub name: Arc<str>,
    /// What speaks to it.
    pub adapter: Arc<dyn Source>,
    /// How many calls it takes, and when it is left alone.
    pub gate: GatePolicy,
}

struct Place {
    spec: SourceSpec,
    gate: GateHandle,
}

/// Every source, by name.
pub(crate) struct Sources {
    places: HashMap<Arc<str>, Place>,
    retry: RetryPolicy,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
}

/// Why a call has no answer.
struct Missed {
    failure: Failure,
    happened: Happened,
    /// When to try again; nothing when that is of no use.
    again: Option<Option<std::time::Duration>>,
}

impl Sources {
    pub(crate) fn new(
        specs: Vec<SourceSpec>,
        retry: RetryPolicy,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let gated = |spec: SourceSpec| {
            let gate = GateHandle { board: Arc::new(Board::new(spec.name.as_ref())) };
            (Arc::clone(&spec.name), Place { spec, gate })
        };
        Self { places: specs.into_iter().map(gated).collect(), retry, entropy, metrics }
    }

    /// The gates to be supervised, in order of their names.
    pub(crate) fn gates(&self) -> Vec<(GatePolicy, Arc<Board>)> {
        let mut gates: Vec<_> =
            self.places.values().map(|place| (place.spec.gate, Arc::clone(&place.gate.board))).collect();
        gates.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
        gates
    }

    /// The sources.
    pub(crate) fn specs(&self) -> impl Iterator<Item = &SourceSpec> {
        self.places.values().map(|place| &place.spec)
    }

    /// Calls a source or a tool. Cancel safe: dropped, it ends the work; whether something happened is then unknown.
    pub(crate) async fn call(&self, call: SourceCall) -> CallOutcome {
        let request = call.request.as_ref();
        let (source, tool) = split_target(&request.target);
        let Some(place) = self.places.get(source) else {
            tracing::warn!(source, "no source of this name is set up");
            return CallOutcome::Failed(Failure::Unavailable);
        };
        // What may be done once more without harm.
        let repeats = request.read_only || request.idempotent;
        let attempts = u32::from(request.patience.attempts.max(1));
        let (mut failed, mut happened) = (0, Happened::No);
        loop {
            let missed = match self.attempt(place, tool, &call).await {
                Ok(answer) => return outcome(answer, request),
                Err(missed) => missed,
            };
            failed += 1;
            if missed.happened == Happened::Unknown && !request.read_only {
                happened = Happened::Unknown;
            }
            let again = missed.again.filter(|_| failed < attempts && (repeats || happened == Happened::No));
            let pause = again.and_then(|asked_for| {
                self.retry.pause(failed, asked_for, call.context.deadline, self.entropy.as_ref())
            });
            match (pause, happened) {
                (Some(pause), _) => tokio::time::sleep(pause).await,
                (None, Happened::No) => return CallOutcome::Failed(missed.failure),
                (None, Happened::Unknown) => return CallOutcome::Unknown,
            }
        }
    }

    async fn attempt(&self, place: &Place, tool: &str, call: &SourceCall) -> Result<Answer, Missed> {
        let (spec, deadline) = (&place.spec, call.context.deadline);
        let not_begun = |failure| Missed { failure, happened: Happened::No, again: None };
        let permit = place.gate.enter(deadline).await.map_err(|refused| {
            self.metrics.source_call(&spec.name, "not_admitted");
            tracing::debug!(source = %spec.name, %refused, "source not called");
            not_begun(if refused == Refused::TooLate { Failure::TimedOut } else { Failure::Unavailable })
        })?;
        let begun = Instant::now();
        if !self.retry.has_time(begun, deadline) {
            return Err(not_begun(Failure::TimedOut));
        }
        let request = Call {
            tool: tool.into(),
            arguments: call.request.arguments.clone(),
            key: (!call.request.read_only).then(|| call.context.effect_key().into()),
            read_only: call.request.read_only,
            trace: call.context.trace.for_source(),
        };
        let answered = spec.adapter.call(request, deadline).await;
        self.metrics.source_seconds.observe(begun.elapsed().as_secs_f64());
        match answered {
            Ok(answer) => {
                permit.leave(Verdict::Answered);
                self.metrics.source_call(&spec.name, "answered");
                Ok(answer)
            }
            Err(error) => {
                permit.leave(verdict(&error));
                self.metrics.source_call(&spec.name, error.name());
                tracing::info!(
                    source = %spec.name, tool, turn_id = %call.context.turn_id, elapsed_ms = elapsed_ms(begun), %error,
                    "source did not answer"
                );
                let again = error.retryable().then(|| error.retry_after());
                Err(Missed { failure: failure(&error), happened: error.happened(), again })
            }
        }
    }
}

/// What the turn is told of an answer. One that is too large to be kept has been given all the same.
fn outcome(answer: Answer, request: &CallRequest) -> CallOutcome {
    let Answer { value, partial } = answer;
    if value.to_string().len() > ANSWER_BYTES_MAX {
        return if request.read_only { CallOutcome::Failed(Failure::Malformed) } else { CallOutcome::Unknown };
    }
    if partial { CallOutcome::Partial(value) } else { CallOutcome::Done(value) }
}

/// What an error says about the place it comes from.
const fn verdict(error: &SourceError) -> Verdict {
    match error {
        SourceError::NoSuchTool | SourceError::Arguments(_) | SourceError::Refused { .. } => Verdict::Answered,
        _ => Verdict::Failed,
    }
}

/// What a turn is told of an error.
const fn failure(error: &SourceError) -> Failure {
    match error {
        SourceError::TimedOut { .. } => Failure::TimedOut,
        SourceError::NoSuchTool
        | SourceError::Arguments(_)
        | SourceError::Denied(_)
        | SourceError::Refused { .. }
        | SourceError::Redirected { .. } => Failure::Refused,
        SourceError::Malformed(_) | SourceError::TooLarge { .. } => Failure::Malformed,
        SourceError::Unreachable(_)
        | SourceError::Interrupted
        | SourceError::Busy { .. }
        | SourceError::Failed { .. } => Failure::Unavailable,
    }
}
