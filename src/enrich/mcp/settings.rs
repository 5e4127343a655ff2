//! What the settings say of a server.

use std::{fmt, path::PathBuf, sync::Arc};

use secrecy::SecretString;

/// Largest result by default, in bytes: what the record of an effect holds.
const RESULT_BYTES_DEFAULT: usize = 64 << 10;

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct McpSettings {
    /// How it is reached.
    pub transport: McpTransport,
    /// The tools that may be called; no other is.
    pub tools: Vec<Arc<str>>,
    /// Largest result of a tool in bytes; default 64 KiB, at most 1 MiB.
    pub bytes_max: usize,
}

impl McpSettings {
    /// Settings with the default bound.
    pub fn new(transport: McpTransport, tools: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self { transport, tools: tools.into_iter().collect(), bytes_max: RESULT_BYTES_DEFAULT }
    }
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum McpTransport {
    /// A child process, over its standard input and output.
    Stdio(StdioSettings),
    /// A server over streamable HTTP.
    Streamable(StreamableSettings),
}

/// A server that is a child process. It gets `PATH` and what is named here of the environment, nothing else.
#[derive(Clone)]
pub struct StdioSettings {
    /// The program.
    pub command: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment. Values may be secrets.
    pub environment: Vec<(String, SecretString)>,
    /// The folder it works in; by default the one of this process.
    pub folder: Option<PathBuf>,
}

/// Shows no arguments and no values of the environment: both may hold secrets.
impl fmt::Debug for StdioSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        let mut shown = f.debug_struct("StdioSettings");
        shown.field("command", &self.command).field("environment", &names).finish_non_exhaustive()
    }
}

/// A server over streamable HTTP.
#[derive(Clone)]
pub struct StreamableSettings {
    /// Its URL.
    pub url: String,
    /// Headers sent with every request. Values may be secrets.
    pub headers: Vec<(String, SecretString)>,
}

/// Shows no URL and no header's value.
impl fmt::Debug for StreamableSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("StreamableSettings").field("headers", &names).finish_non_exhaustive()
    }
}
