//! The server whose memory is looked at: a process of its own, with a durable store.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use colloquy_client::Client;
use tempfile::TempDir;

use super::report::Sample;
use crate::process::{self, Process};

/// It, and the folder it works in; both go when dropped.
pub(super) struct Server {
    process: Process,
    operator: Client,
    _folder: TempDir,
}

impl Server {
    /// Starts it with these lines of the settings' section `conversations`.
    pub(super) async fn start(data_in: &Path, conversations: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadtest-").tempdir_in(data_in)?;
        let path = folder.path().canonicalize()?;
        let config = path.join("colloquy.toml");
        std::fs::write(&config, format!("[conversations]\n{conversations}"))?;
        let config = config.display().to_string();
        let more = ["--log-filter", "warn", "--config", &config];
        let process = process::serve(&path.join("store"), &more).await?;
        let operator = Self::connect(&process, 1, Duration::from_secs(60)).await?.pop().context("a connection")?;
        Ok(Self { process, operator, _folder: folder })
    }

    async fn connect(process: &Process, number: usize, deadline: Duration) -> anyhow::Result<Vec<Client>> {
        let channels = process::channels(&process.address, number).await?;
        Ok(channels.into_iter().map(|channel| Client::on(channel, deadline)).collect())
    }

    /// Clients, each with a connection of its own.
    pub(super) async fn clients(&self, number: usize, deadline: Duration) -> anyhow::Result<Vec<Client>> {
        Self::connect(&self.process, number, deadline).await
    }

    /// How it stands after `said` turns.
    pub(super) async fn sample(&self, said: u64, at: Duration) -> anyhow::Result<Sample> {
        let runtime = self.operator.runtime().await?;
        let (active, estimate) = (runtime.conversations_active, runtime.conversations_bytes);
        Ok(Sample { at, said, active, estimate, resident: self.process.memory()? })
    }
}
