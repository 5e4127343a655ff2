//! Sessions with a server in a shell, with one over HTTP in this process, and with real ones.

mod real;
mod stdio;
mod streamable;

use std::time::Duration;

use colloquy_flow::Json;

use crate::{
    Answer, Call, Error, Factory, Session, Source as _, Trace,
    testing::{AMPLE, in_time},
};

pub(super) const ALLOWED: [&str; 12] = [
    "echo",
    "structured",
    "several",
    "picture",
    "hanging",
    "dying",
    "flooding",
    "wrong",
    "broken",
    "failing",
    "large",
    "nothing",
];

pub(super) fn call(tool: &str, arguments: &str) -> Call {
    let arguments = Json::parse(arguments).unwrap();
    Call { tool: tool.into(), arguments, key: Some("turn-1/2".into()), read_only: false, trace: Trace::default() }
}

pub(super) async fn connect(factory: &Factory) -> Session {
    in_time(AMPLE, |deadline| factory.connect(deadline)).await.unwrap()
}

/// Calls once, in plenty of time.
pub(super) async fn ask(session: &Session, tool: &str, arguments: &str) -> Result<Answer, Error> {
    in_time(AMPLE, |deadline| session.call(call(tool, arguments), deadline)).await
}

/// Calls once, in little time.
pub(super) async fn ask_shortly(session: &Session, tool: &str, arguments: &str) -> Result<Answer, Error> {
    in_time(Duration::from_millis(300), |deadline| session.call(call(tool, arguments), deadline)).await
}

pub(super) fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}
