//! Turns whose source is ten seconds late: each must take the budget of its call, and memory must stay as it is.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use colloquy_client::{Client, Key, Turn};
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    LoadArgs,
    load::{self, Report},
    process,
};

/// How late the source is.
const LATE: Duration = Duration::from_secs(10);
/// One request in so many is answered at once: a source of which every call fails would be left alone by its breaker.
const PUNCTUAL: u64 = 50;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"text\":\"fine\"}";
/// How long a turn may take before it counts as lost.
const DEADLINE: Duration = Duration::from_secs(10);
/// What a turn may take beyond the budget of its call.
const GRACE: Duration = Duration::from_millis(50);
/// By how much the server's memory may grow, in per cent.
const GROWTH_MAX: u64 = 20;

/// How many turns wait, and for how long.
#[derive(Args, Clone)]
pub(crate) struct LateArgs {
    /// Turns that wait at once, each of a conversation of its own.
    #[arg(long, default_value_t = 1000)]
    concurrency: usize,
    /// Milliseconds the flow gives the source.
    #[arg(long, default_value_t = 2000)]
    budget_ms: u64,
    /// Seconds to measure.
    #[arg(long, default_value_t = 20)]
    duration: u64,
    /// Seconds before measuring.
    #[arg(long, default_value_t = 10)]
    warm_up: u64,
    /// Where the server's store is made; must be on a real file system.
    #[arg(long, default_value = ".")]
    data_in: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What came of it.
pub(crate) struct LateReport {
    pub(crate) report: Report,
    budget: Duration,
    memory_begin: u64,
    memory_end: u64,
}

impl LateReport {
    /// Whether turns took their budget and no more, and memory stayed.
    pub(crate) fn is_well(&self) -> bool {
        let grows = self.memory_end * 100 > self.memory_begin * (100 + GROWTH_MAX);
        self.report.errors == 0 && self.report.p99() <= self.budget + GRACE && !grows
    }

    pub(crate) fn print(&self, json: bool) {
        self.report.print(json);
        let (begin, end) = (self.memory_begin >> 20, self.memory_end >> 20);
        let over = self.report.p99().saturating_sub(self.budget).as_millis();
        if json {
            let line = serde_json::json!({
                "budget_ms": self.budget.as_millis(), "p99_over_budget_ms": over,
                "memory_begin_mib": begin, "memory_end_mib": end, "well": self.is_well(),
            });
            return println!("{line}");
        }
        println!("         p99 is {over} ms over the budget; memory {begin} MiB, then {end} MiB");
    }
}

async fn late_source() -> anyhow::Result<(std::net::SocketAddr, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (requests, mut served) = (Arc::<AtomicU64>::default(), JoinSet::new());
        while let Ok((stream, _)) = listener.accept().await {
            served.spawn(serve(stream, Arc::clone(&requests)));
            while served.try_join_next().is_some() {}
        }
    });
    Ok((address, tasks))
}

/// Answers until the client has gone.
async fn serve(mut stream: TcpStream, requests: Arc<AtomicU64>) {
    let mut request = [0; 2048];
    // A request without a body is one segment.
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        let punctual = requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(PUNCTUAL);
        // Whatever else the client sends or ends meanwhile ends the connection.
        if !punctual && timeout(LATE, stream.read(&mut request)).await.is_ok() {
            return;
        }
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

fn flow(budget_ms: u64) -> String {
    format!(
        "format: colloquy.flow/v1\nname: late\nstart: desk.idle\nfallback: Sorry.\n\
         intents: {{desk: {{initial: idle, states: {{idle: {{terminal: true}}}}}}}}\n\
         enrichments: {{facts: {{source: late, in: desk.idle, timeout: {budget_ms}ms, default: {{text: none}}}}}}\n\
         responses: [{{in: any, template: \"{{{{ enrich.facts.text }}}}\"}}]\n"
    )
}

fn settings(flow: &std::path::Path, source: std::net::SocketAddr, concurrency: usize) -> String {
    format!(
        "[flows]\nfolders = [{flow:?}]\n\n[enrichments.late]\nkind = \"http\"\nurl = \"http://{source}/\"\n\
         private_networks = true\nconcurrency = {concurrency}\nqueue = {concurrency}\nbreaker.failures = 1000\n"
    )
}

/// Measures it.
pub(crate) async fn run(args: &LateArgs) -> anyhow::Result<LateReport> {
    let folder = tempfile::Builder::new().prefix("loadtest-").tempdir_in(&args.data_in)?;
    let path = folder.path().canonicalize()?;
    let (source, _source) = late_source().await?;
    let (flows, config, data) = (path.join("late"), path.join("colloquy.toml"), path.join("store"));
    std::fs::create_dir(&flows)?;
    std::fs::write(flows.join("flow.yaml"), flow(args.budget_ms))?;
    std::fs::write(&config, settings(&flows, source, args.concurrency))?;
    let config = config.display().to_string();
    let server = process::serve(&data, &["--log-filter", "error", "--config", &config]).await?;
    let load = LoadArgs {
        concurrency: args.concurrency.max(1),
        channels: 4,
        duration: args.duration,
        warm_up: args.warm_up,
        json: args.json,
    };
    let channels = process::channels(&server.address, load.channels).await?;
    let clients: Vec<_> = channels.into_iter().map(|channel| Client::on(channel, DEADLINE)).collect();
    let budget = Duration::from_millis(args.budget_ms);
    let callers = load::run("late", &load, |number| caller(&clients, number, budget));
    let warm = async {
        sleep(Duration::from_secs(args.warm_up)).await;
        server.memory()
    };
    let (report, memory_begin) = tokio::join!(callers, warm);
    Ok(LateReport { report: report?, budget, memory_begin: memory_begin?, memory_end: server.memory()? })
}

fn caller(
    clients: &[Client],
    number: usize,
    budget: Duration,
) -> impl FnMut() -> BoxFuture<'static, anyhow::Result<()>> + Send + 'static {
    let client = clients.get(number % clients.len().max(1)).cloned();
    let mut said = 0_u64;
    move || {
        let turn = Turn::new(Key::new("load", format!("late-{number}")), format!("r-{said}"), "late", "hello");
        // Those that begin together would come back together for ever.
        let begins = if said == 0 { budget * u32::try_from(number % 1000).unwrap_or(0) / 1000 } else { Duration::ZERO };
        said += 1;
        let client = client.clone();
        Box::pin(async move {
            sleep(begins).await;
            let answered = client.context("there is a connection")?.submit(&turn).await?.turn.context("no turn")?;
            let reply = answered.reply.map(|reply| reply.text).unwrap_or_default();
            ensure!(reply == "none" || reply == "fine", "the reply is {reply}");
            Ok(())
        })
    }
}
