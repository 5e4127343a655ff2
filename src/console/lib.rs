//! The operator's HTTP: is the process alive, may it be sent turns, and what are its figures.
//!
//! It knows the server only through [`Probe`]. Connections are bounded in number and in time.

mod server;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::Serialize;
use tokio::net::TcpListener;

/// What the console asks the process.
pub trait Probe: Send + Sync + 'static {
    /// Why the process should not be sent turns now; empty when it may be.
    fn unready(&self) -> Vec<&'static str>;
    /// What an operator should know although the process may be sent turns; nothing by default.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// All metrics, in the OpenMetrics text format.
    fn metrics(&self) -> String;
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    reasons: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// Serves `/health`, `/ready` and `/metrics` until `shutdown` resolves and the open connections have ended.
///
/// At most 64 connections at once; a peer gets 30 seconds to send a request, a connection lives 10 minutes.
pub async fn serve(listener: TcpListener, probe: Arc<dyn Probe>, shutdown: impl Future<Output = ()> + Send) {
    let router = Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probe);
    server::run(listener, router, shutdown).await;
}

async fn health() -> Json<Health> {
    Json(Health { status: "alive", reasons: Vec::new(), notes: Vec::new() })
}

async fn ready(State(probe): State<Arc<dyn Probe>>) -> impl IntoResponse {
    let reasons = probe.unready();
    let (code, status) =
        if reasons.is_empty() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "unready") };
    (code, Json(Health { status, reasons, notes: probe.notes() }))
}

async fn metrics(State(probe): State<Arc<dyn Probe>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], probe.metrics())
}
