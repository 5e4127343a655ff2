//! This program, started again as the server that is measured: a process of its own, never a stale binary.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(30);

/// A server in a process of its own; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
}

impl Process {
    /// Its resident memory, in bytes (Linux).
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let id = self.child.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kib.context("no VmRSS")?.trim().parse::<u64>()? << 10)
    }
}

/// Starts this program with `arguments` and waits for the line that says where it listens.
pub(crate) async fn start(arguments: &[String]) -> anyhow::Result<Process> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("the server cannot be started")?;
    let stdout = child.stdout.take().context("the server has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(START, lines.next_line()).await.context("the server does not listen")??;
    let Some(line) = line else { bail!("the server ended before it listened") };
    let listening: serde_json::Value = serde_json::from_str(&line).context("the server said something else")?;
    let address = listening.get("grpc").and_then(serde_json::Value::as_str);
    let address = address.context("the server did not say where it listens")?.to_owned();
    Ok(Process { child, address })
}

/// As many channels to one address as asked for.
pub(crate) async fn channels(address: &str, number: usize) -> anyhow::Result<Vec<tonic::transport::Channel>> {
    let mut channels = Vec::new();
    for _ in 0..number.max(1) {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        channels.push(endpoint.connect().await.with_context(|| format!("no server answers at {address}"))?);
    }
    Ok(channels)
}
