//! Sources and tools: the port through which a turn asks the outside, and its adapters.
//!
//! [`Source`] makes one call, once, under a deadline, and says honestly how it ended: above all whether anything may
//! have happened in the world ([`Error::happened`]). Retries, breakers, limits and queues are the caller's. Two
//! adapters implement it: [`HttpSource`] for an API over HTTP, [`Session`] for a server of the Model Context Protocol.
//!
//! Both reach the network through [`Outbound`] alone, which connects to allowed places at checked addresses. Nothing
//! here shows arguments, answers, secrets or queries of URLs in an error or in `Debug`.

mod address;
mod error;
mod http;
mod mcp;
mod outbound;
mod port;
mod resolver;
#[cfg(test)]
mod testing;

pub use address::{AddressKind, kind_of};
pub use error::{ArgumentFault, Denied, Error, Happened, MalformedKind, SettingsError, UnreachableKind};
pub use http::{AnswerFrom, BodyFrom, HttpMethod, HttpSettings, HttpSource};
pub use mcp::{
    DeadReason, Factory, McpSettings, McpTransport, Session, SessionState, StdioSettings, StreamableSettings,
};
pub use outbound::{Destination, Outbound};
pub use port::{Answer, Call, Checked, Source, Tool, Trace, split_target};
pub use resolver::{Lookup, SystemLookup};
