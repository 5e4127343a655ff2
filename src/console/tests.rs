//! Over real sockets; times are the paused clock's.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::Instant,
};

use crate::{
    Probe, serve,
    server::{CONNECTIONS_MAX, HEAD_MAX},
};

struct Told(Vec<&'static str>);

impl Probe for Told {
    fn unready(&self) -> Vec<&'static str> {
        self.0.clone()
    }

    fn metrics(&self) -> String {
        "colloquy_turns_total 7\n# EOF\n".to_owned()
    }
}

struct Console {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

async fn start(reasons: Vec<&'static str>) -> Console {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(serve(listener, Arc::new(Told(reasons)), async { drop(stopped.await) }));
    Console { address, stop, ended }
}

impl Console {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: console\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_ready_process_says_so_and_gives_its_figures() {
    let console = start(Vec::new()).await;
    assert!(console.get("/health").await.starts_with("HTTP/1.1 200"));
    assert!(console.get("/ready").await.starts_with("HTTP/1.1 200"));
    let metrics = console.get("/metrics").await;
    assert!(
        metrics.contains("application/openmetrics-text") && metrics.contains("colloquy_turns_total 7"),
        "{metrics}"
    );
    assert!(console.get("/elsewhere").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn an_unready_process_is_alive_and_gives_its_reasons() {
    let console = start(vec!["draining"]).await;
    assert!(console.get("/health").await.starts_with("HTTP/1.1 200"));
    let ready = console.get("/ready").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains(r#"{"status":"unready","reasons":["draining"]}"#), "{ready}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_no_request_is_let_go() {
    let console = start(Vec::new()).await;
    let began = Instant::now();
    let mut silent = console.connect().await;
    silent.write_all(b"GET /health HT").await.unwrap();
    read_all(&mut silent).await;
    assert!((HEAD_MAX..HEAD_MAX * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn more_connections_than_the_bound_wait_until_one_ends() {
    let console = start(Vec::new()).await;
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(console.connect().await);
    }
    assert!(console.get("/health").await.starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() >= HEAD_MAX, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_idle_connections_and_the_server() {
    let console = start(Vec::new()).await;
    let began = Instant::now();
    let mut kept = console.connect().await;
    kept.write_all(b"GET /health HTTP/1.1\r\nHost: console\r\n\r\n").await.unwrap();
    let mut answer = [0; 16];
    kept.read_exact(&mut answer).await.unwrap();
    console.stop.send(()).unwrap();
    console.ended.await.unwrap();
    assert!(began.elapsed() < HEAD_MAX, "{:?}", began.elapsed());
}
