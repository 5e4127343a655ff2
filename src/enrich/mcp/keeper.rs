//! The one task of a session: it waits for the end, from either side, and clears away.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rmcp::{ClientHandler, RoleClient, model::ClientConfig, service::RunningService};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{
    board::{DeadReason, Placard},
    process::{GRACE, Process},
};

/// What a client of ours offers servers: nothing but its name.
#[derive(Clone, Debug)]
pub(super) struct Client;

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let name = rmcp::model::Implementation::new("colloquy", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(rmcp::model::ClientCapabilities::default(), name)
    }
}

/// The order to end a session.
pub(super) struct End {
    /// Why.
    pub(super) reason: DeadReason,
    /// By when all is gone.
    pub(super) deadline: Instant,
}

/// Everything a session runs. Dropping it ends that at once.
pub(super) struct Keeper {
    pub(super) running: RunningService<RoleClient, Client>,
    pub(super) process: Option<Process>,
    /// Whether the server sent a line that is too long.
    pub(super) overlong: Arc<AtomicBool>,
    pub(super) placard: Placard,
    /// Told why, once all is gone.
    pub(super) dead: watch::Sender<Option<DeadReason>>,
}

impl Keeper {
    /// Runs until the session has ended.
    pub(super) async fn run(self, end: oneshot::Receiver<End>) {
        let stop = self.running.cancellation_token();
        let running = self.running.waiting();
        tokio::pin!(running);
        let mut served = false;
        let ordered = tokio::select! {
            biased;
            // Without a sender the session is gone, and this task is about to be dropped.
            Ok(end) = end => Some(end),
            _ = &mut running => {
                served = true;
                None
            }
            () = ended(self.process.as_ref()) => None,
        };
        let reason = if let Some(End { reason, deadline }) = ordered {
            // Ends the service, which closes the program's input or tells the server over HTTP.
            stop.cancel();
            drop(timeout_at(deadline, &mut running).await);
            if let Some(process) = self.process {
                process.finish(deadline).await;
            }
            reason
        } else {
            let code = match self.process {
                Some(process) => Some(process.reap().await),
                None => None,
            };
            if !served {
                // What the program wrote before it ended is still read: it may be the answer to a call.
                drop(timeout_at(Instant::now() + GRACE, &mut running).await);
            }
            match code {
                _ if self.overlong.load(Ordering::Acquire) => DeadReason::Overlong,
                Some(code) => DeadReason::Exited { code },
                None => DeadReason::Lost,
            }
        };
        self.placard.dead(reason);
        self.dead.send_replace(Some(reason));
    }
}

/// Waits until the program has ended; without one, for ever.
async fn ended(process: Option<&Process>) {
    match process {
        Some(process) => process.exited().await,
        None => std::future::pending().await,
    }
}
