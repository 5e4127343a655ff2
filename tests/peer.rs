//! A server over HTTP in the test's own process, which answers as the test says.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// How long a connection may be quiet.
const QUIET: Duration = Duration::from_secs(30);

/// The server; its threads end with the test's process.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Starts one that answers each request, head and body, with these bytes; none hangs.
    pub(crate) fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (answer, seen) = (Arc::new(answer), Arc::<Mutex<Vec<String>>>::default());
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                thread::spawn(move || serve(stream, answer.as_ref(), &noted));
            }
        });
        Self { address, seen }
    }

    /// The requests it has read.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
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

fn serve(mut stream: TcpStream, answer: &(dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync), noted: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(QUIET)).expect("a socket");
    while let Some(request) = read(&mut stream) {
        noted.lock().expect("no panic").push(request.clone());
        match answer(&request) {
            Some(bytes) if stream.write_all(&bytes).is_ok() => {}
            // Until the client has gone.
            _ => return drop(stream.read(&mut [0])),
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
