//! A server over HTTP in the test's own process, which answers as the test says.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// How long a connection may be quiet.
const QUIET: Duration = Duration::from_secs(30);

/// The server; its threads end with the test's process.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
}

/// Counts a connection for as long as it is served.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Peer {
    /// Starts one that answers each request, head and body, with these bytes; none hangs.
    pub(crate) fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::start_raw(move |request, stream| match answer(request) {
            Some(bytes) => stream.write_all(&bytes).is_ok(),
            None => {
                until_gone(stream);
                false
            }
        })
    }

    /// Starts one that does with each connection what `answer` does, and closes it when that gives `false`.
    pub(crate) fn start_raw(answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (answer, seen) = (Arc::new(answer), Arc::<Mutex<Vec<String>>>::default());
        let (noted, open) = (Arc::clone(&seen), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&open);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                counted.fetch_add(1, Ordering::SeqCst);
                let open = Open(Arc::clone(&counted));
                thread::spawn(move || {
                    serve(stream, answer.as_ref(), &noted);
                    drop(open);
                });
            }
        });
        Self { address, seen, open }
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// The requests it has read.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
}

/// Is slow.
#[expect(clippy::disallowed_methods, reason = "a peer that is slow on purpose")]
pub(crate) fn dawdle(time: Duration) {
    thread::sleep(time);
}

/// Waits until the client has gone.
pub(crate) fn until_gone(stream: &mut TcpStream) {
    while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// A whole response.
pub(crate) fn response(status: &str, kind: &str, body: &str) -> Option<Vec<u8>> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    Some(format!("{head}{body}").into_bytes())
}

fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&str, &mut TcpStream) -> bool + Send + Sync),
    noted: &Mutex<Vec<String>>,
) {
    stream.set_read_timeout(Some(QUIET)).expect("a socket");
    while let Some(request) = read(&mut stream) {
        noted.lock().expect("no panic").push(request.clone());
        if !answer(&request, &mut stream) {
            return;
        }
    }
}

/// A request with its body; `None` when the client has gone.
fn read(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        match stream.read(&mut part) {
            Ok(read) if read > 0 => bytes.extend(part.iter().take(read)),
            _ => return None,
        }
    }
}
