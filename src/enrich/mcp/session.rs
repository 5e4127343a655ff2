//! A session with a server: calls of its tools, one request each.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::future::BoxFuture;
use rmcp::{
    Peer, RoleClient, ServiceError,
    model::{CallToolRequestParams, CallToolResponse, RequestMetaObject},
};
use serde_json::Value;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{
    error::{Error, MalformedKind, UnreachableKind},
    port::{Answer, Call, Checked, Source, Tool},
};

use super::{
    board::DeadReason, catalogue::Catalogue, content::answer_of, factory::MESSAGE_BYTES_MAX, fault, keeper::End,
    process::Tail, settings::McpSettings,
};

/// The name under which the idempotency key stands in a request's `_meta`.
const KEY_META: &str = "colloquy/idempotency-key";

/// A session with a server. Dropping it kills the server's program and breaks off what runs;
/// [`close`](Self::close) does so in order.
pub struct Session {
    settings: McpSettings,
    peer: Peer<RoleClient>,
    catalogue: Mutex<Arc<Catalogue>>,
    end: Mutex<Option<oneshot::Sender<End>>>,
    dead: watch::Receiver<Option<DeadReason>>,
    keeper: JoinHandle<()>,
    tail: Tail,
    overlong: Arc<AtomicBool>,
}

/// What a session is made of.
pub(super) struct Parts {
    pub(super) settings: McpSettings,
    pub(super) peer: Peer<RoleClient>,
    pub(super) catalogue: Catalogue,
    pub(super) end: oneshot::Sender<End>,
    pub(super) dead: watch::Receiver<Option<DeadReason>>,
    pub(super) keeper: JoinHandle<()>,
    pub(super) tail: Tail,
    pub(super) overlong: Arc<AtomicBool>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Session {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { settings, peer, catalogue, end, dead, keeper, tail, overlong } = parts;
        let (catalogue, end) = (Mutex::new(Arc::new(catalogue)), Mutex::new(Some(end)));
        Self { settings, peer, catalogue, end, dead, keeper, tail, overlong }
    }

    /// Whether calls can be made.
    pub fn is_alive(&self) -> bool {
        self.dead.borrow().is_none() && !self.peer.is_transport_closed()
    }

    /// Waits until the session has ended and nothing of it is left, and tells why.
    pub async fn ended(&self) -> DeadReason {
        let mut dead = self.dead.clone();
        // The sender is dropped only without a word when the runtime shuts down.
        let told = dead.wait_for(Option::is_some).await;
        told.ok().and_then(|reason| *reason).unwrap_or(DeadReason::Lost)
    }

    /// The tools, as listed last.
    pub fn tools(&self) -> Vec<Tool> {
        self.catalogue().tools()
    }

    /// What the server's program last wrote to its standard error, at most 4 KiB: for people who look for a fault,
    /// since it may hold anything.
    pub fn last_errors(&self) -> String {
        String::from_utf8_lossy(&locked(&self.tail)).into_owned()
    }

    /// Ends the session in order: closes the program's input, asks it to end, kills its process group, or tells the
    /// server over HTTP. Ends by `deadline`, but for a program that the system is slow to collect.
    pub async fn close(&self, deadline: Instant) -> DeadReason {
        self.order_end(DeadReason::Closed, deadline);
        self.ended().await
    }

    /// The first order counts.
    fn order_end(&self, reason: DeadReason, deadline: Instant) {
        if let Some(end) = locked(&self.end).take() {
            // A keeper that is gone has ended the session already.
            drop(end.send(End { reason, deadline }));
        }
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&locked(&self.catalogue))
    }

    async fn invoke(&self, call: Call, sent: &AtomicBool) -> Result<Answer, Error> {
        if !self.is_alive() {
            return Err(Error::Unreachable(UnreachableKind::NoSession));
        }
        let params = self.params(&call)?;
        sent.store(true, Ordering::Release);
        // Dropped in the middle, this tells the server that nobody waits any more.
        match self.peer.call_tool_once(params).await {
            Ok(CallToolResponse::Complete(result)) => answer_of(&result, self.settings.bytes_max),
            // Questions back and tasks to be polled are never asked for.
            Ok(_) => Err(Error::Malformed(MalformedKind::Protocol)),
            Err(error) => Err(self.judge(&error)),
        }
    }

    fn params(&self, call: &Call) -> Result<CallToolRequestParams, Error> {
        let catalogue = self.catalogue();
        let check = catalogue.check_of(&call.tool).ok_or(Error::NoSuchTool)?;
        let arguments = check.admit(&call.arguments).map_err(Error::Arguments)?;
        let mut params = CallToolRequestParams::new(call.tool.to_string()).with_arguments(arguments);
        params.meta = Some(meta_of(call));
        Ok(params)
    }

    fn judge(&self, error: &ServiceError) -> Error {
        if fault::session_is_forgotten(error) {
            self.order_end(DeadReason::Forgotten, Instant::now());
        }
        match fault::of(error) {
            Error::Interrupted if self.overlong.load(Ordering::Acquire) => {
                Error::TooLarge { bytes_max: MESSAGE_BYTES_MAX }
            }
            known => known,
        }
    }

    async fn list(&self) -> Result<Checked, Error> {
        if !self.is_alive() {
            return Err(Error::Unreachable(UnreachableKind::NoSession));
        }
        let began = Instant::now();
        let catalogue = Catalogue::fetch(&self.peer, &self.settings.tools).await?;
        let tools = catalogue.tools();
        *locked(&self.catalogue) = Arc::new(catalogue);
        Ok(Checked { latency: began.elapsed(), tools })
    }
}

impl Source for Session {
    fn call(&self, call: Call, deadline: Instant) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            let sent = AtomicBool::new(false);
            let ended = timeout_at(deadline, self.invoke(call, &sent)).await;
            ended.unwrap_or_else(|_| Err(Error::TimedOut { sent: sent.load(Ordering::Acquire) }))
        })
    }

    fn check(&self, deadline: Instant) -> BoxFuture<'_, Result<Checked, Error>> {
        Box::pin(async move { timeout_at(deadline, self.list()).await.unwrap_or(Err(Error::TimedOut { sent: false })) })
    }
}

fn meta_of(call: &Call) -> RequestMetaObject {
    let mut meta = RequestMetaObject::new();
    let entries = [(KEY_META, &call.key), ("traceparent", &call.trace.parent), ("tracestate", &call.trace.state)];
    for (name, value) in entries {
        if let Some(value) = value {
            meta.0.0.insert(name.to_owned(), Value::String(value.to_string()));
        }
    }
    meta
}

/// Nothing panics while it holds one of these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
