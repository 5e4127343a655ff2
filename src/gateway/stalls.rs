//! Measures the polls of every request; see [`colloquy_telemetry::Stalls`].

use std::task::{Context, Poll};

use colloquy_telemetry::{Polled, Stalls, Watched};
use tower::{Layer, Service};

/// Puts the measure round a service.
#[derive(Clone, Debug)]
pub(crate) struct StallLayer(pub(crate) Stalls);

impl<S> Layer<S> for StallLayer {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, stalls: self.0.clone() }
    }
}

/// A service whose requests are measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured<S> {
    inner: S,
    stalls: Stalls,
}

impl<S, R> Service<R> for Measured<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Watched<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.stalls.watch(Polled::Gateway, self.inner.call(request))
    }
}
