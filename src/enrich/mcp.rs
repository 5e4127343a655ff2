//! A source that is a server of the Model Context Protocol: a child process, or a server over streamable HTTP.
//!
//! A [`Factory`] makes [`Session`]s, one after the other; whoever owns them decides when. A session starts nothing
//! anew by itself: when its server ends, it is dead and says why. Everything it runs ends with it.
//!
//! The library that speaks the protocol logs what it reads, so the log set-up of the program keeps it quiet.

mod arguments;
mod board;
mod catalogue;
mod content;
mod factory;
mod fault;
mod guarded;
mod keeper;
mod lines;
mod process;
mod session;
mod settings;
#[cfg(test)]
mod tests;

pub use self::{
    board::{DeadReason, SessionState},
    factory::Factory,
    session::Session,
    settings::{McpSettings, McpTransport, StdioSettings, StreamableSettings},
};
