//! Logs: JSON lines for machines, or lines for people, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people; in colour on a terminal.
    Human,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is not one.
    #[error("log filter is not of the form `info` or `colloquy=debug,info`")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Someone set it up before.
    #[error("logging is already set up")]
    Already(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sets up logging for the process.
///
/// # Errors
/// [`InitError`].
pub fn init(format: Format, filter: &str) -> Result<(), InitError> {
    let filter = EnvFilter::try_new(filter).map_err(InitError::Filter)?;
    let builder = fmt::Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Human => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    }
    .map_err(InitError::Already)
}
