//! This program, started again as the server that is measured: a process of its own, never a stale binary.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(30);

/// A server in a process of its own; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    /// Where its metrics are.
    http: String,
}

impl Process {
    /// SIGKILL, and wait until it is gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the server cannot be killed")
    }

    /// Its metrics as they stand, in their text form.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        let mut stream = tokio::net::TcpStream::connect(&self.http).await.context("no metrics")?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: metrics\r\nconnection: close\r\n\r\n").await?;
        let mut text = String::new();
        tokio::time::timeout(START, stream.read_to_string(&mut text)).await.context("the metrics do not come")??;
        Ok(text)
    }

    /// Its resident memory, in bytes (Linux).
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let id = self.child.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kib.context("no VmRSS")?.trim().parse::<u64>()? << 10)
    }
}

/// A server that does not listen yet; killed when dropped.
pub(crate) struct Starting {
    child: Child,
}

impl Starting {
    /// SIGKILL, and wait until it is gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the server cannot be killed")
    }

    /// Waits until its log says `words`, or until it has ended. It must have been started with its log piped.
    pub(crate) async fn until_logged(&mut self, words: &str) -> anyhow::Result<()> {
        let stderr = self.child.stderr.as_mut().context("the server's log is not piped")?;
        let mut lines = BufReader::new(stderr).lines();
        let until = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains(words) {
                    break;
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(START, until).await.with_context(|| format!("the server never logs {words:?}"))?
    }

    /// Waits for the line that says where it listens.
    async fn listening(self) -> anyhow::Result<Process> {
        let Self { mut child } = self;
        let stdout = child.stdout.take().context("the server has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START, lines.next_line()).await.context("the server does not listen")??;
        let Some(line) = line else { bail!("the server ended before it listened") };
        let listening: serde_json::Value = serde_json::from_str(&line).context("the server said something else")?;
        let address = listening.get("grpc").and_then(serde_json::Value::as_str);
        let address = address.context("the server did not say where it listens")?.to_owned();
        let http = listening.get("http").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Ok(Process { child, address, http })
    }
}

/// Starts this program with `arguments`; its log goes to `log`.
pub(crate) fn spawn(arguments: &[String], log: Stdio) -> anyhow::Result<Starting> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("the server cannot be started")?;
    Ok(Starting { child })
}

/// Starts this program with `arguments` and waits for the line that says where it listens.
pub(crate) async fn start(arguments: &[String]) -> anyhow::Result<Process> {
    spawn(arguments, Stdio::inherit())?.listening().await
}

/// Starts a server on ports of its own, whose store is in `data`, with `more` arguments; waits until it listens.
pub(crate) async fn serve(data: &Path, more: &[&str]) -> anyhow::Result<Process> {
    let flags = ["server", "serve", "--json", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let data = data.display().to_string();
    let folder = ["--data-dir", data.as_str()];
    let arguments = flags.iter().chain(more).chain(&folder).map(|&argument| argument.to_owned());
    start(&arguments.collect::<Vec<_>>()).await
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
