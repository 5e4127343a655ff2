//! How a call of a source or a tool becomes an outcome: how often it is tried, and what is known when it fails.

use std::{collections::BTreeMap, sync::Arc};

use colloquy_enrich::{Answer, Call, Error as SourceError, Factory, Happened, Source, Trace, split_target};
use colloquy_telemetry::Metrics;
use colloquy_turn::{CallOutcome, Failure};
use colloquy_types::{Entropy, TraceContext};
use tokio::time::Instant;

use super::{
    SourceCall,
    board::Board,
    breaker::Verdict,
    elapsed_ms,
    gate::{GateHandle, GatePolicy, Refused},
    retry::RetryPolicy,
    session::SessionSpec,
    supervisor::{Child, GateKind, Gates},
};

/// What speaks to a source.
#[derive(Clone)]
pub enum SourceAdapter {
    /// Each call stands for itself.
    Direct(Arc<dyn Source>),
    /// Calls need a session, which an actor keeps.
    Session(Arc<Factory>),
}

/// One source, as the settings describe it.
#[derive(Clone)]
pub struct SourceSpec {
    /// Its name in flows, metrics and the tree.
    pub name: Arc<str>,
    /// What speaks to it.
    pub adapter: SourceAdapter,
    /// How many calls it takes, and when it is left alone.
    pub gate: GatePolicy,
}

struct Place {
    name: Arc<str>,
    source: Arc<dyn Source>,
    session: Option<SessionSpec>,
    policy: GatePolicy,
    gate: GateHandle,
}

/// Every source, by name.
pub(crate) struct Sources {
    places: BTreeMap<Arc<str>, Place>,
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
        let gated = |SourceSpec { name, adapter, gate: policy }: SourceSpec| {
            let (source, session): (Arc<dyn Source>, _) = match adapter {
                SourceAdapter::Direct(source) => (source, None),
                SourceAdapter::Session(factory) => {
                    let session = SessionSpec::new(Arc::clone(&name), factory, Arc::clone(&entropy));
                    (Arc::new(session.source()), Some(session))
                }
            };
            let gate = GateHandle { board: Arc::new(Board::new(name.as_ref())) };
            (Arc::clone(&name), Place { name, source, session, policy, gate })
        };
        let places = specs.into_iter().map(gated).collect();
        Self { places, retry, entropy, metrics }
    }

    /// The gates and sessions to be supervised, by name.
    pub(crate) fn gates(&self) -> Gates {
        let gate = |place: &Place| Child::Gate(place.policy, Arc::clone(&place.gate.board));
        let session = |place: &Place| place.session.clone().map(Child::Session);
        let children = self.places.values().flat_map(|place| [Some(gate(place)), session(place)]).flatten();
        Gates { kind: GateKind::Source, children: children.collect() }
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
                Ok(Answer { value, partial: true }) => return CallOutcome::Partial(value),
                Ok(Answer { value, partial: false }) => return CallOutcome::Done(value),
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
        let (name, deadline) = (&place.name, call.context.deadline);
        let not_begun = |failure| Missed { failure, happened: Happened::No, again: None };
        let permit = place.gate.enter(deadline).await.map_err(|refused| {
            self.metrics.outside.source_call(name, "not_admitted");
            tracing::debug!(source = %name, %refused, "source not called");
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
            trace: trace(call.context.trace.as_ref()),
        };
        let answered = place.source.call(request, deadline).await;
        self.metrics.outside.source_seconds(name, begun.elapsed().as_secs_f64());
        match answered {
            Ok(answer) => {
                permit.leave(Verdict::Answered);
                self.metrics.outside.source_call(name, "answered");
                Ok(answer)
            }
            Err(error) => {
                permit.leave(verdict(&error));
                self.metrics.outside.source_call(name, error.name());
                tracing::info!(
                    source = %name, tool, turn_id = %call.context.turn_id, elapsed_ms = elapsed_ms(begun), %error,
                    "source did not answer"
                );
                let again = error.retryable().then(|| error.retry_after());
                Err(Missed { failure: failure(&error), happened: error.happened(), again })
            }
        }
    }
}

fn trace(context: Option<&TraceContext>) -> Trace {
    Trace { parent: context.map(|context| context.parent().into()), state: context.and_then(|c| c.state().cloned()) }
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
