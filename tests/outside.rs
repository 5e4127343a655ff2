//! Turns that need the outside: models and sources that misbehave, processes that are killed in the middle, and
//! many conversations at once.

mod chats;
mod kills;
mod misbehaving;
mod mixed;
mod sources;
mod streams;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use colloquy_client::{Key, Turn, v1};

use crate::harness::{DEADLINE, Place, Server};

const FLOW: &str = include_str!("outside/flow.yaml");

/// A place whose servers run the flow, with these settings beside.
fn place(settings: &str) -> Place {
    let place = Place::new();
    let flow = place.path().join("errands");
    fs::create_dir(&flow).unwrap();
    fs::write(flow.join("flow.yaml"), FLOW).unwrap();
    let own = format!("[flows]\nfolders = [{flow:?}]\n");
    fs::write(place.path().join("colloquy.toml"), own + settings).unwrap();
    place
}

fn started(place: &Place, flags: &[&str]) -> Server {
    let config = place.path().join("colloquy.toml");
    place.start_with(&[&["--config", config.to_str().unwrap()], flags].concat())
}

fn errand(conversation: &str, request_id: &str, text: &str) -> Turn {
    Turn::new(Key::new("acme", conversation), request_id, "errands", text)
}

fn reply(turn: &v1::Turn) -> &str {
    turn.reply.as_ref().map(|reply| reply.text.as_str()).unwrap_or_default()
}

fn provider(address: impl std::fmt::Display, keys: &str) -> String {
    format!(
        "[models.local]\napi = \"chat_completions\"\nurl = \"http://{address}/v1\"\n{keys}\n\
         [models.routes]\ndefault = [\"local/small\"]\n"
    )
}

fn source(name: &str, address: impl std::fmt::Display, keys: &str) -> String {
    format!(
        "[enrichments.{name}]\nkind = \"http\"\nurl = \"http://{address}/{name}\"\nprivate_networks = true\n{keys}\n"
    )
}

/// What the server tells of itself.
pub(crate) fn metrics(server: &Server) -> String {
    let mut stream = TcpStream::connect(&server.http).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: console\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until something holds of which nobody tells.
#[expect(clippy::disallowed_methods, reason = "it can only be asked again, and there is a deadline")]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let patience = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < patience, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}
