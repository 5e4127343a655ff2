//! `colloquy export`: conversations of a running server as files.

mod file;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use colloquy_client::{Client, ClientError, Key};
use colloquy_types::Revision;
use serde_json::json;
use tokio::time::timeout;

use self::file::{Receiver, Target};
use crate::{
    Exit,
    history::EXTENSION,
    output::{self, Output},
};

/// Conversations asked for at a time.
const PAGE_ROWS: u32 = 1000;
/// How long the next part of an export may take to arrive.
const EVENT_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The conversation.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    conversation: Option<String>,
    /// Where to write: a file, `-` for standard output, or the folder for --all.
    #[arg(long, default_value = "-", value_name = "FILE|DIR|-")]
    out: PathBuf,
    /// Every conversation of the tenant, each as DIR/TENANT/CONVERSATION.jsonl; files that are there are passed
    /// over, so that an export which was interrupted goes on where it was.
    #[arg(long)]
    all: bool,
    /// Write files anew that are there already.
    #[arg(long)]
    force: bool,
}

/// Why an export was not made.
pub(crate) enum Failure {
    /// The server, or the way to it, did not do as asked.
    Call(ClientError),
    /// What arrived is not whole, or cannot be written.
    Other(anyhow::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Call(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// The sources met so far: a tenant's conversations run few revisions, each of which is fetched once.
pub(crate) type Sources = BTreeMap<Revision, String>;

/// Does what was asked.
pub(crate) async fn run(client: &Client, tenant: &str, args: ExportArgs, output: Output) -> Exit {
    match args.conversation {
        Some(conversation) => one(client, &Key::new(tenant, conversation), args.out, args.force, output).await,
        None if args.out.as_os_str() == "-" => {
            output::error("--all writes many files\n  fix: name their folder with --out DIR");
            Exit::Usage
        }
        None => all(client, tenant, args.out, args.force, output).await,
    }
}

async fn one(client: &Client, key: &Key, out: PathBuf, force: bool, output: Output) -> Exit {
    let to_stdout = out.as_os_str() == "-";
    if !to_stdout && !force && out.exists() {
        output::error(&format!("{} is there already\n  fix: choose another --out, or add --force", out.display()));
        return Exit::Usage;
    }
    let target = if to_stdout { Target::Stdout } else { Target::File(out.clone()) };
    match fetch(client, key, target, &mut Sources::new()).await {
        Ok(records) if to_stdout => {
            output::progress(&format!("{records} records\n"));
            Exit::Ok
        }
        Ok(records) => {
            let (name, file) = (format!("{}/{}", key.tenant, key.conversation), out.display().to_string());
            if output.json {
                output::line(&json!({ "conversation": name, "file": file, "records": records }).to_string());
            } else {
                output::line(&format!("{records} records of {name} in {file}"));
            }
            Exit::Ok
        }
        Err(failure) => told(failure),
    }
}

async fn all(client: &Client, tenant: &str, out: PathBuf, force: bool, output: Output) -> Exit {
    let (mut sources, mut tally) = (Sources::new(), Tally::default());
    let mut page_token = String::new();
    loop {
        let page = match client.conversations(tenant, PAGE_ROWS, &page_token).await {
            Ok(page) => page,
            Err(error) => return told(error.into()),
        };
        for key in page.conversations.into_iter().filter_map(|row| row.key) {
            let key = Key::new(key.tenant, key.conversation);
            let file = out.join(&key.tenant).join(format!("{}.{EXTENSION}", key.conversation));
            if !force && file.exists() {
                tally.passed_over += 1;
                continue;
            }
            match fetch(client, &key, Target::File(file), &mut sources).await {
                Ok(records) => tally.took(records),
                // Without a server nothing else will come.
                Err(Failure::Call(error)) if error.reason().is_empty() && error.is_retryable() => {
                    output::progress("");
                    return output::refused(&error);
                }
                // One damaged conversation must not keep the others from being saved.
                Err(failure) => {
                    output::progress("");
                    output::error(&format!("{}/{} was not exported", key.tenant, key.conversation));
                    tally.failed += 1;
                    tally.exit = told(failure);
                }
            }
            output::progress(&tally.to_string());
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    output::progress("");
    if output.json {
        let Tally { exported, passed_over, failed, records, .. } = tally;
        let figures = json!({ "exported": exported, "passed_over": passed_over, "failed": failed, "records": records });
        output::line(&figures.to_string());
    } else {
        output::line(&format!("{tally}, in {}", out.display()));
    }
    tally.exit
}

/// What an export of many counts.
struct Tally {
    exported: u64,
    passed_over: u64,
    failed: u64,
    records: u64,
    exit: Exit,
}

impl Default for Tally {
    fn default() -> Self {
        Self { exported: 0, passed_over: 0, failed: 0, records: 0, exit: Exit::Ok }
    }
}

impl Tally {
    fn took(&mut self, records: u64) {
        self.exported += 1;
        self.records += records;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { exported, passed_over, failed, records, .. } = self;
        write!(f, "{exported} conversations exported, {records} records, {passed_over} passed over, {failed} failed")
    }
}

fn told(failure: Failure) -> Exit {
    match failure {
        Failure::Call(error) => output::refused(&error),
        Failure::Other(error) => {
            output::error(&format!("{error:#}"));
            Exit::NotAsItShouldBe
        }
    }
}

/// Fetches one conversation and gives the number of its records; a file appears when it is whole, or not at all.
async fn fetch(client: &Client, key: &Key, target: Target, sources: &mut Sources) -> Result<u64, Failure> {
    // The server takes 256; more than a tenant's conversations run.
    let known = sources.keys().take(256).map(ToString::to_string).collect();
    let silent = || format!("the server sent nothing for {} s", EVENT_DEADLINE.as_secs());
    let mut events = timeout(EVENT_DEADLINE, client.export(key, known)).await.with_context(silent)??;
    let mut receiver = Receiver::new(target);
    loop {
        let next = timeout(EVENT_DEADLINE, events.message()).await.with_context(silent)??;
        let event = next.and_then(|response| response.event).context("the server ended before the export did")?;
        if let Some(records) = receiver.take(event, sources)? {
            return Ok(records);
        }
    }
}
