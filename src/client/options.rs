//! How a client connects and how long it waits.

use std::time::Duration;

/// Times and bounds of a [`Client`](crate::Client). `Duration::from_secs(10).into()` is the defaults with
/// that deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// How long a call may take; sent as `grpc-timeout`. Watches have none. Default 10 s.
    pub deadline: Duration,
    /// How long a connection may take to be made. Default 5 s.
    pub connect_deadline: Duration,
    /// How often a quiet connection with open calls is asked whether the server is still there; without it a
    /// watch would not notice that its server vanished. Default 20 s.
    pub keepalive_interval: Duration,
    /// How long the server may take to answer that. Default 10 s.
    pub keepalive_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            connect_deadline: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}

impl From<Duration> for ClientOptions {
    fn from(deadline: Duration) -> Self {
        Self { deadline, ..Self::default() }
    }
}
