//! The accept loop: bounds how many connections there are, and how long each may take.
//!
//! Axum's own loop has neither bound, so this one stands on hyper, which is below both axum and tonic.

use std::{future::Future, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Connections at once; more wait in the listener's backlog. A few probes and scrapers need a handful.
pub(crate) const CONNECTIONS_MAX: usize = 64;
/// How long a peer may take to send a request's head, and to send the next one on a kept connection.
pub(crate) const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long a connection is kept.
const AGE_MAX: Duration = Duration::from_secs(600);
/// How long a connection that is told to end may take to finish its answer.
const END_MAX: Duration = Duration::from_secs(5);
/// How long to wait after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown` resolves and the open connections have ended.
pub(crate) async fn run(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let stop = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, router.clone(), stop.subscribe()))),
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        // A peer that went away or spoke no HTTP is its own affair.
        ended = connection.as_mut() => return drop(ended),
        _ = stop.wait_for(|stop| *stop) => {}
        () = sleep(AGE_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(timeout(END_MAX, connection).await);
}
