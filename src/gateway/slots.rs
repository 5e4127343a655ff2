//! Turns wait for their slot before anything of them is decoded: what waits there is a few headers, and what gives up there has cost
//! next to nothing.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use colloquy_actors::{Runtime, RuntimeSettings, TurnSlot};
use colloquy_telemetry::Metrics;
use futures::future::Either;
use tokio::time::Instant;
use tonic::{
    body::Body,
    codegen::http::{Request, Response},
};
use tower::{Layer, Service};

use crate::{deadline, status};

/// The methods that carry a turn out.
const TURNS: [&str; 2] = ["/colloquy.v1.ConversationService/SubmitTurn", "/colloquy.v1.ConversationService/StreamTurn"];

/// Lets turns wait for a slot in front of a service.
#[derive(Clone)]
pub(crate) struct SlotLayer {
    pub(crate) runtime: Runtime,
    pub(crate) metrics: Arc<Metrics>,
}

impl<S> Layer<S> for SlotLayer {
    type Service = Slotted<S>;

    fn layer(&self, inner: S) -> Slotted<S> {
        Slotted { inner, door: self.clone() }
    }
}

/// A service whose turns come with a slot.
#[derive(Clone)]
pub(crate) struct Slotted<S> {
    inner: S,
    door: SlotLayer,
}

/// A turn that has come through the door: when, until when it must be answered, and its right to be carried out.
#[derive(Clone)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) deadline: Instant,
    pub(crate) slot: Option<TurnSlot>,
}

impl Arrival {
    /// Takes it from the request; one that did not come through the door arrives now.
    pub(crate) fn of<T>(request: &mut tonic::Request<T>, settings: &RuntimeSettings) -> Self {
        request.extensions_mut().remove::<Self>().unwrap_or_else(|| Self {
            at: Instant::now(),
            deadline: deadline::of_call(request.metadata(), settings),
            slot: None,
        })
    }
}

type BoxedFuture<R, E> = Pin<Box<dyn Future<Output = Result<R, E>> + Send>>;

impl<S, B> Service<Request<B>> for Slotted<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxedFuture<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !TURNS.contains(&request.uri().path()) {
            return Either::Left(self.inner.call(request));
        }
        let at = Instant::now();
        let deadline = deadline::of_headers(request.headers(), self.door.runtime.settings());
        if let Some(slot) = self.door.runtime.free_turn_slot() {
            request.extensions_mut().insert(Arrival { at, deadline, slot: Some(slot) });
            return Either::Left(self.inner.call(request));
        }
        // What was found ready must be what is called.
        let unready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, unready);
        let door = self.door.clone();
        Either::Right(Box::pin(async move {
            match door.runtime.turn_slot(deadline).await {
                Ok(slot) => {
                    request.extensions_mut().insert(Arrival { at, deadline, slot: Some(slot) });
                    inner.call(request).await
                }
                Err(error) => {
                    door.metrics.calls_refused.inc();
                    door.metrics.refusal_seconds.observe(at.elapsed().as_secs_f64());
                    Ok(status::status(&error, "").into_http())
                }
            }
        }))
    }
}
