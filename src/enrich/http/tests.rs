//! A source over HTTP against a server that behaves as badly as it can.

mod misbehaviour;
mod places;
mod requests;

use std::{sync::Arc, time::Duration};

use colloquy_flow::Json;

use crate::{
    Answer, Call, Error, HttpSettings, HttpSource, Source as _, Trace,
    testing::{AMPLE, Peer, in_time},
};

pub(super) fn call(arguments: &str) -> Call {
    let arguments = Json::parse(arguments).unwrap();
    Call { tool: "".into(), arguments, key: None, read_only: false, trace: Trace::default() }
}

pub(super) fn source(peer: &Peer, change: impl FnOnce(&mut HttpSettings)) -> HttpSource {
    let mut settings = HttpSettings { url: peer.url("/ask"), ..HttpSettings::default() };
    change(&mut settings);
    HttpSource::new(settings, peer.outbound()).unwrap()
}

/// Asks once, in plenty of time.
pub(super) async fn ask(source: &HttpSource, call: Call) -> Result<Answer, Error> {
    in_time(AMPLE, |deadline| source.call(call, deadline)).await
}

/// Asks once, in next to no time.
pub(super) async fn ask_shortly(source: &HttpSource, call: Call) -> Result<Answer, Error> {
    in_time(Duration::from_millis(300), |deadline| source.call(call, deadline)).await
}

pub(super) fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

pub(super) fn name(text: &str) -> Arc<str> {
    text.into()
}
