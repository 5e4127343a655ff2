//! The command `erase`: conversations erased one after the other, a receipt of each kept.
//!
//! The file of receipts is opened before anything is erased, and each receipt is synced before the next erasure
//! begins: a receipt cannot be had again.

mod receipts;

use std::{
    io::{BufRead as _, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use colloquy_client::{Client, ClientError, Key, v1};
use serde_json::json;

use self::receipts::Receipts;
use crate::{
    Exit, calls,
    output::{self, Output},
};

/// Rows of a page of conversations.
const PAGE_ROWS: u32 = 500;
/// How long the wait for compaction may take.
const COMPACTION_PATIENCE: Duration = Duration::from_secs(3600);

/// Arguments of `erase`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct EraseArgs {
    /// The conversation.
    #[arg(group = "what")]
    conversation: Option<String>,
    /// Every conversation of the tenant.
    #[arg(long, group = "what")]
    all_of_tenant: bool,
    /// Every conversation of the tenant that is about this person, as told when it began.
    #[arg(long, group = "what")]
    subject: Option<String>,
    /// Do not ask whether this is meant.
    #[arg(long)]
    yes: bool,
    /// Why, for the receipts.
    #[arg(long, default_value = "")]
    reason: String,
    /// File to add the receipts to, a line of JSON each; in a folder that is there, `erased.jsonl`.
    #[arg(long, value_name = "FILE|DIR")]
    receipts: Option<PathBuf>,
    /// Have the server remove physically what was erased, and wait for it.
    #[arg(long)]
    compact: bool,
}

/// Does what was asked.
pub(crate) async fn run(client: &Client, tenant: &str, args: EraseArgs, output: Output) -> Exit {
    let what = match (&args.conversation, &args.subject) {
        (Some(conversation), _) => format!("conversation {tenant}/{conversation}"),
        (None, Some(subject)) => format!("every conversation of tenant {tenant} about {subject}"),
        (None, None) => format!("every conversation of tenant {tenant}"),
    };
    if let Err(exit) = confirm(&what, args.yes) {
        return exit;
    }
    let receipts = match Receipts::open(args.receipts.as_deref()) {
        Ok(receipts) => receipts,
        Err(error) => {
            output::error(&format!("receipts cannot be kept: {error}\n  fix: name another place with --receipts"));
            return Exit::Usage;
        }
    };
    let mut erasing = Erasing { client, receipts, reason: args.reason, output, tally: Tally::default() };
    let walked = match args.conversation {
        Some(conversation) => erasing.one(&Key::new(tenant, conversation), None).await,
        None => erasing.all(tenant, args.subject.as_deref()).await,
    };
    output::progress("");
    if let Err(failure) = walked {
        erasing.tally.tell(output);
        return failure.told();
    }
    let compacted = if args.compact { compact(client, output).await } else { Ok(()) };
    erasing.tally.tell(output);
    match compacted {
        Err(error) => output::refused(&error),
        Ok(()) if erasing.tally.failed > 0 => Exit::NotAsItShouldBe,
        Ok(()) => Exit::Ok,
    }
}

/// Asks whether it is meant; nobody can be asked without a terminal.
fn confirm(what: &str, yes: bool) -> Result<(), Exit> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        output::error(&format!("{what} would be erased for good\n  fix: add --yes if that is meant"));
        return Err(Exit::Usage);
    }
    output::prompt(&format!("Erase {what} for good? Type `erase` to go on: "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "erase" {
        return Ok(());
    }
    output::error("nothing was erased");
    Err(Exit::Usage)
}

/// Why no more can be erased.
enum Failure {
    /// The server refused, or is not there.
    Call(ClientError),
    /// A receipt could not be written.
    Receipt(std::io::Error),
}

impl Failure {
    fn told(&self) -> Exit {
        match self {
            Self::Call(error) => output::refused(error),
            Self::Receipt(error) => {
                output::error(&format!("a receipt cannot be written: {error}"));
                Exit::NotAsItShouldBe
            }
        }
    }
}

/// What was done so far.
#[derive(Debug, Default)]
struct Tally {
    erased: u64,
    records: u64,
    gone: u64,
    failed: u64,
    backups: std::collections::BTreeSet<String>,
    backups_unknown: bool,
}

impl Tally {
    fn tell(&self, output: Output) {
        let Self { erased, records, gone, failed, backups, backups_unknown } = self;
        if output.json {
            let figures = json!({ "erased": erased, "records": records, "gone": gone, "failed": failed,
                "backups_not_covered": backups, "backups_unknown": backups_unknown });
            return output::line(&figures.to_string());
        }
        output::line(&format!("{erased} erased with {records} records, {gone} gone before, {failed} failed"));
        if *backups_unknown {
            output::line(&output.bad("the server cannot list its backups: whatever there is may still hold them"));
        }
        for backup in backups {
            output::line(&format!("{} {}", output.bad("a backup may still hold them:"), output::plain(backup)));
        }
    }
}

/// An erasure of many, under way.
struct Erasing<'a> {
    client: &'a Client,
    receipts: Receipts,
    reason: String,
    output: Output,
    tally: Tally,
}

impl Erasing<'_> {
    /// Every conversation of the tenant, or those about `subject`: a list does not tell that, each is asked.
    async fn all(&mut self, tenant: &str, subject: Option<&str>) -> Result<(), Failure> {
        let mut page_token = String::new();
        loop {
            let page = self.client.conversations(tenant, PAGE_ROWS, &page_token).await.map_err(Failure::Call)?;
            for row in page.conversations {
                let Some(key) = row.key else { continue };
                let key = Key::new(key.tenant, key.conversation);
                let erased = match self.is_about(&key, subject).await {
                    Ok(false) => continue,
                    Ok(true) => self.one(&key, Some(&row.uid)).await,
                    Err(error) => Err(Failure::Call(error)),
                };
                match erased {
                    Err(Failure::Call(error)) if error.reason() == "CONVERSATION_NOT_FOUND" => self.tally.gone += 1,
                    // One that cannot be erased must not keep the others from it; without a server none can.
                    Err(Failure::Call(error)) if !error.reason().is_empty() => {
                        output::progress("");
                        output::error(&format!("{}/{} was not erased", key.tenant, key.conversation));
                        output::refused(&error);
                        self.tally.failed += 1;
                    }
                    ended => ended?,
                }
                output::progress(&format!("{} erased, {} failed", self.tally.erased, self.tally.failed));
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(());
            }
        }
    }

    async fn is_about(&self, key: &Key, subject: Option<&str>) -> Result<bool, ClientError> {
        let Some(subject) = subject else { return Ok(true) };
        Ok(self.client.conversation(key).await?.subject == subject)
    }

    async fn one(&mut self, key: &Key, uid: Option<&str>) -> Result<(), Failure> {
        let request_id = calls::fresh_id("erase");
        let receipt = self.client.erase(key, &request_id, uid, &self.reason).await.map_err(Failure::Call)?;
        self.tally.erased += 1;
        self.tally.records += receipt.records_erased;
        self.tally.backups_unknown |= receipt.backups_unknown;
        self.tally.backups.extend(receipt.backups_not_covered.iter().map(|backup| backup.path.clone()));
        self.receipts.keep(&receipt, self.output).map_err(Failure::Receipt)
    }
}

async fn compact(client: &Client, output: Output) -> Result<(), ClientError> {
    output::progress("compacting the store");
    let compacted = client.compact(COMPACTION_PATIENCE).await;
    output::progress("");
    let v1::CompactStoreResponse { segments_read, segments_rewritten, bytes_before, bytes_after, .. } = compacted?;
    if output.json {
        let figures = json!({ "segments_read": segments_read, "segments_rewritten": segments_rewritten,
            "bytes_before": bytes_before, "bytes_after": bytes_after });
        output::line(&json!({ "compacted": figures }).to_string());
    } else {
        let freed = bytes_before.saturating_sub(bytes_after);
        output::line(&format!(
            "compacted: {segments_rewritten} of {segments_read} segments written anew, {freed} bytes freed"
        ));
    }
    Ok(())
}
