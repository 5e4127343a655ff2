//! A server that does what it is told, byte by byte, and counts its connections.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time,
};

/// One thing the server does with a request.
#[derive(Clone, Debug)]
pub(super) enum Do {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes over and over until the client has gone.
    SendForEver(Vec<u8>),
    /// Waits.
    Wait(Duration),
    /// Waits until the client has gone.
    Hang,
    /// Closes the connection with a reset.
    Reset,
    /// Closes the connection.
    Close,
}

pub(super) fn send(bytes: impl AsRef<[u8]>) -> Do {
    Do::Send(bytes.as_ref().to_vec())
}

/// A whole response of JSON.
pub(super) fn json(body: &str) -> Do {
    response(200, "application/json", "", body.as_bytes())
}

pub(super) fn response(status: u16, kind: &str, headers: &str, body: &[u8]) -> Do {
    let mut bytes =
        format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{headers}\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    Do::Send(bytes)
}

/// The head of an event stream.
pub(super) fn stream_head() -> Do {
    send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n")
}

/// A chunk of a stream.
pub(super) fn chunk(bytes: impl AsRef<[u8]>) -> Do {
    let bytes = bytes.as_ref();
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    Do::Send(framed)
}

/// The end of a stream.
pub(super) fn last_chunk() -> Do {
    send("0\r\n\r\n")
}

/// Does the same with every request.
pub(super) struct Server {
    address: std::net::SocketAddr,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(script: Vec<Do>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (open, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let counted = (Arc::clone(&open), Arc::clone(&accepted), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            let (open, accepted, requests) = counted;
            while let Ok((stream, _)) = listener.accept().await {
                open.fetch_add(1, Ordering::SeqCst);
                accepted.fetch_add(1, Ordering::SeqCst);
                let (open, requests, script) = (Arc::clone(&open), Arc::clone(&requests), script.clone());
                tokio::spawn(async move {
                    serve(stream, &script, &requests).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open, accepted, requests, task }
    }

    pub(super) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were made.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// The requests, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    /// The body of the last request.
    pub(super) fn asked(&self) -> serde_json::Value {
        let requests = self.requests();
        let (_, body) = requests.last().and_then(|last| last.split_once("\r\n\r\n")).expect("a request");
        serde_json::from_str(body).expect("its body is JSON")
    }

    /// Waits until no connection is open.
    pub(super) async fn alone(&self) {
        let gone = async {
            while self.open.load(Ordering::SeqCst) > 0 {
                time::sleep(Duration::from_millis(2)).await;
            }
        };
        time::timeout(Duration::from_millis(500), gone).await.expect("a connection was left behind");
    }
}

async fn serve(mut stream: TcpStream, script: &[Do], requests: &Mutex<Vec<String>>) {
    while let Some(request) = read_request(&mut stream).await {
        requests.lock().expect("no panic").push(request);
        for step in script {
            match step {
                Do::Send(bytes) => {
                    if stream.write_all(bytes).await.is_err() {
                        return;
                    }
                }
                Do::SendForEver(bytes) => while stream.write_all(bytes).await.is_ok() {},
                Do::Wait(time) => time::sleep(*time).await,
                Do::Hang => {
                    let mut rest = [0; 64];
                    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                    return;
                }
                Do::Reset => {
                    stream.set_zero_linger().expect("a socket");
                    return;
                }
                Do::Close => return,
            }
        }
    }
}

/// A request with a content length, or without a body; `None` when the client has gone.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&part[..read]),
            _ => return None,
        }
    }
}
