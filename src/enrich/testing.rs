//! A server in the process that behaves as badly as a test asks, and lookups that answer what a test says.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{Destination, Lookup, Outbound};

/// How late an end may be seen.
pub(crate) const SLACK: Duration = Duration::from_millis(50);
/// A deadline for what ends by itself.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);

/// What the server does with a request it has read.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Answers with these bytes.
    Say(Vec<u8>),
    /// Answers with these bytes and never ends the answer.
    Stall(Vec<u8>),
    /// Answers with these bytes and then with blanks, without end.
    Flood(Vec<u8>),
    /// Breaks the connection.
    Reset,
    /// Ends the connection after these bytes.
    End(Vec<u8>),
}

/// The server.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    open: watch::Receiver<usize>,
    seen: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Peer {
    /// Starts one that behaves like this towards every request.
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        Self::start_with(move |_| behaviour.clone()).await
    }

    /// Starts one that says this.
    pub(crate) async fn saying(status: &str, headers: &str, body: &str) -> Self {
        Self::start(Behaviour::Say(response(status, headers, body))).await
    }

    /// Starts one that decides by what was asked: head and body of the request.
    pub(crate) async fn start_with(decide: impl Fn(&str) -> Behaviour + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (count, open) = watch::channel(0);
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (decide, noted) = (Arc::new(decide), Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.send_modify(|open| *open += 1);
                let (decide, noted, count) = (Arc::clone(&decide), Arc::clone(&noted), count.clone());
                connections.spawn(async move {
                    let _ = serve(stream, |request| {
                        noted.lock().unwrap().push(request.to_owned());
                        decide(request)
                    })
                    .await;
                    count.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { address, open, seen, _tasks: tasks }
    }

    /// The requests it has read.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until no connection is left.
    pub(crate) async fn left_alone(&mut self) {
        let ended = timeout(Duration::from_secs(5), self.open.wait_for(|open| *open == 0)).await.is_ok();
        assert!(ended, "connections are left: {}", *self.open.borrow());
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A way out to this server.
    pub(crate) fn outbound(&self) -> Outbound {
        outbound(&[("127.0.0.1", self.address.port())], true, Arc::new(crate::SystemLookup))
    }
}

/// A whole response.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(crate) fn outbound(places: &[(&str, u16)], allow_private: bool, lookup: Arc<dyn Lookup>) -> Outbound {
    let allowed: Vec<_> =
        places.iter().map(|(host, port)| Destination { host: (*host).to_owned(), port: *port }).collect();
    Outbound::new(allowed, allow_private, lookup)
}

async fn serve(mut stream: TcpStream, decide: impl Fn(&str) -> Behaviour) -> io::Result<()> {
    while let Some(request) = read_request(&mut stream).await? {
        match decide(&request) {
            Behaviour::Say(bytes) => stream.write_all(&bytes).await?,
            Behaviour::Stall(bytes) => {
                stream.write_all(&bytes).await?;
                stream.read_u8().await?;
            }
            Behaviour::Flood(bytes) => {
                stream.write_all(&bytes).await?;
                let blanks = vec![b' '; 16 << 10];
                loop {
                    stream.write_all(&blanks).await?;
                }
            }
            Behaviour::Reset => return stream.set_zero_linger(),
            Behaviour::End(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
        }
    }
    Ok(())
}

/// Reads a request with its body; none when the client has gone.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            return Ok(Some(text));
        }
    }
}

/// Answers with one list of addresses after the other; the last one stays.
pub(crate) struct Scripted {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self { answers: Mutex::new(answers.iter().map(parse).collect()), asked: Mutex::default() })
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Lookup for Scripted {
    fn lookup(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers.first().cloned().unwrap_or_default() };
        Box::pin(async move { Ok(answer) })
    }
}

/// Never answers.
pub(crate) struct Silent;

impl Lookup for Silent {
    fn lookup(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async {
            sleep(AMPLE).await;
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

/// Runs `work` with a deadline after `budget`, and asserts that it ends by then.
pub(crate) async fn in_time<F: Future>(budget: Duration, work: impl FnOnce(Instant) -> F) -> F::Output {
    let deadline = Instant::now() + budget;
    let ended = work(deadline).await;
    let late = Instant::now().saturating_duration_since(deadline);
    assert!(late <= SLACK, "{late:?} after its deadline");
    ended
}
