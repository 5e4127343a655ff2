//! Making sessions.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use reqwest::{Client as HttpClient, header::HeaderMap};
use rmcp::{
    RoleClient,
    service::{ClientInitializeError, ClientLifecycleMode, RunningService, serve_client_with_lifecycle},
    transport::{
        StreamableHttpClientTransport, async_rw::AsyncRwTransport, common::client_side_sse::NeverRetry,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout_at},
};

use crate::{
    error::{Error, SettingsError, UnreachableKind},
    http::{ANSWER_BYTES_LIMIT, header_map, plain_url},
    outbound::Outbound,
};

use super::{
    board::{Board, DeadReason, Placard, SessionState},
    catalogue::Catalogue,
    fault,
    guarded::Guarded,
    keeper::{Client, Keeper},
    lines::BoundedLines,
    process::{Process, Tail},
    session::{Parts, Session},
    settings::{McpSettings, McpTransport, StdioSettings},
};

/// Longest message of a server, in bytes. One over standard output that is longer ends the session; one over HTTP
/// fails its request.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Makes sessions with one server.
pub struct Factory {
    settings: McpSettings,
    streamable: Option<Streamable>,
    board: Arc<Board>,
}

/// What streamable HTTP needs, made once.
struct Streamable {
    client: HttpClient,
    url: Arc<str>,
    headers: HeaderMap,
}

/// Shows the settings, which show no secrets.
impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Factory {
    /// Makes a factory. A child process needs no way out.
    ///
    /// # Errors
    /// [`SettingsError`] names the field, and why it cannot be used; a place that `outbound` does not allow is one.
    pub fn new(settings: McpSettings, outbound: &Outbound) -> Result<Self, SettingsError> {
        if !(1..=ANSWER_BYTES_LIMIT).contains(&settings.bytes_max) {
            return Err(SettingsError::new("bytes_max", format!("it must be from 1 to {ANSWER_BYTES_LIMIT}")));
        }
        let streamable = match &settings.transport {
            McpTransport::Stdio(_) => None,
            McpTransport::Streamable(streamable) => {
                let url = plain_url("url", &streamable.url)?;
                outbound.check(&url).map_err(|denied| SettingsError::new("url", denied.to_string()))?;
                let headers = header_map(&streamable.headers)?;
                Some(Streamable { client: outbound.client()?, url: url.as_str().into(), headers })
            }
        };
        Ok(Self { settings, streamable, board: Board::new() })
    }

    /// The tools that the settings allow.
    pub fn tools(&self) -> &[Arc<str>] {
        &self.settings.tools
    }

    /// Shows the state of the newest session, and how it changes.
    pub fn watch(&self) -> watch::Receiver<SessionState> {
        self.board.watch()
    }

    /// Makes a session: starts the program or connects, agrees with the server, lists its tools.
    ///
    /// # Errors
    /// [`Error`], after which nothing is left running.
    pub async fn connect(&self, deadline: Instant) -> Result<Session, Error> {
        let placard = self.board.begin();
        let connected = timeout_at(deadline, self.begin(&placard)).await;
        let connected = connected.unwrap_or(Err(Error::TimedOut { sent: false }));
        placard.show(match connected {
            Ok(_) => SessionState::Ready,
            Err(_) => SessionState::Dead { reason: DeadReason::NotConnected },
        });
        connected
    }

    async fn begin(&self, placard: &Placard) -> Result<Session, Error> {
        let Opened { running, process, overlong } = match (&self.settings.transport, &self.streamable) {
            (McpTransport::Stdio(stdio), _) => open_process(stdio).await?,
            (McpTransport::Streamable(_), Some(streamable)) => streamable.open().await?,
            (McpTransport::Streamable(_), None) => return Err(Error::Unreachable(UnreachableKind::NoSession)),
        };
        let peer = running.peer().clone();
        let catalogue = Catalogue::fetch(&peer, &self.settings.tools).await?;
        let (end, ended) = oneshot::channel();
        let dead = watch::Sender::new(None);
        let tail = process.as_ref().map_or_else(Tail::default, Process::tail);
        let told = dead.subscribe();
        let keeper = Keeper { running, process, overlong: Arc::clone(&overlong), placard: placard.clone(), dead };
        let keeper = tokio::spawn(keeper.run(ended));
        let settings = self.settings.clone();
        Ok(Session::new(Parts { settings, peer, catalogue, end, dead: told, keeper, tail, overlong }))
    }
}

/// What opening brings.
struct Opened {
    running: RunningService<RoleClient, Client>,
    process: Option<Process>,
    overlong: Arc<AtomicBool>,
}

async fn open_process(settings: &StdioSettings) -> Result<Opened, Error> {
    let (process, output, input) = Process::spawn(settings)?;
    let overlong = Arc::new(AtomicBool::new(false));
    let lines = BoundedLines::new(output, MESSAGE_BYTES_MAX, Arc::clone(&overlong));
    let transport = AsyncRwTransport::new(lines, input).with_max_line_length(MESSAGE_BYTES_MAX + 2);
    let running = serve_client_with_lifecycle(Client, transport, ClientLifecycleMode::Initialize).await;
    Ok(Opened { running: running.map_err(|error| handshake(&error))?, process: Some(process), overlong })
}

impl Streamable {
    async fn open(&self) -> Result<Opened, Error> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(Arc::clone(&self.url));
        // What is tried again, and when a session is made anew, is its owner's to decide.
        config.retry_config = Arc::new(NeverRetry::default());
        config.reinit_on_expired_session = false;
        config.max_sse_event_size = MESSAGE_BYTES_MAX;
        config.custom_headers =
            self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect::<HashMap<_, _>>();
        let transport = StreamableHttpClientTransport::with_client(Guarded(self.client.clone()), config);
        let running = serve_client_with_lifecycle(Client, transport, ClientLifecycleMode::Initialize).await;
        Ok(Opened { running: running.map_err(|error| handshake(&error))?, process: None, overlong: Arc::default() })
    }
}

/// Agreeing changes nothing in the world, so what went wrong in it is that there is no session, unless the transport
/// knows better.
fn handshake(error: &ClientInitializeError) -> Error {
    match error {
        ClientInitializeError::TransportError { error, .. } => match fault::of_transport(error) {
            Error::Interrupted | Error::Malformed(_) => Error::Unreachable(UnreachableKind::Handshake),
            known => known,
        },
        _ => Error::Unreachable(UnreachableKind::Handshake),
    }
}
