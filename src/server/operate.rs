//! Commands of operators: the tree, one actor of it, kills, conversations put to rest or released, the end of a server.

mod show;

use std::io::IsTerminal as _;

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use colloquy_client::{Client, ClientError, Key, v1};
use serde_json::json;

use crate::{
    Exit,
    output::{self, Output},
};

/// Rows of a page that is asked for.
const PAGE_ROWS: u32 = 500;

/// What an operator does.
#[derive(Debug, Subcommand)]
pub(crate) enum Operate {
    /// Prints the supervision tree, or what becomes of it.
    ///
    /// Example: colloquy tree --kind conversation --of acme --limit 20
    Tree(TreeArgs),
    /// Prints one actor, looked at closely: what runs in it, what that waits for, how it failed.
    ///
    /// Example: colloquy inspect root/conversations/07/acme/c-17
    Inspect {
        /// Its path, as `tree` prints it.
        path: String,
    },
    /// Kills an actor, within the budget that the server's settings give (`chaos`; none by default).
    ///
    /// Example: colloquy kill root/conversations/07/acme/c-17 --reason "game day" --yes
    Kill {
        /// Its path, as `tree` prints it.
        path: String,
        /// Why, for the server's log.
        #[arg(long)]
        reason: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Ends a server as a signal would, after telling what that waits for.
    ///
    /// Example: colloquy drain --reason "new version" --yes
    Drain {
        /// Why, for the server's log.
        #[arg(long, default_value = "")]
        reason: String,
        /// Tell what it would wait for, and do nothing.
        #[arg(long)]
        estimate: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Prints the conversations that failed again and again and are left alone.
    Quarantined,
    /// Lets a quarantined conversation be started again.
    Release {
        /// The conversation.
        conversation: String,
    },
    /// Puts a conversation to rest now; the next call reads it from the store.
    Passivate {
        /// The conversation.
        conversation: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TreeArgs {
    /// Only actors of this kind.
    #[arg(long, value_parser = kinds(), ignore_case = true)]
    kind: Option<v1::ActorKind>,
    /// Only conversations of this tenant.
    #[arg(long, value_name = "TENANT", default_value = "")]
    of: String,
    /// How many rows at most.
    #[arg(long, default_value_t = 200)]
    limit: u64,
    /// Go on and print what changes, until interrupted.
    #[arg(long)]
    watch: bool,
}

/// The kinds that the contract names, by their names.
fn kinds() -> impl TypedValueParser<Value = v1::ActorKind> {
    let all = || (1..).map_while(|number| v1::ActorKind::try_from(number).ok());
    PossibleValuesParser::new(all().map(show::kind_name))
        .map(move |name| all().find(|kind| show::kind_name(*kind).eq_ignore_ascii_case(&name)).unwrap_or_default())
}

/// Runs one of the commands.
pub(crate) async fn run(client: &Client, tenant: &str, what: Operate, output: Output) -> Exit {
    let done = match what {
        Operate::Tree(args) if args.watch => watch(client, args, output).await,
        Operate::Tree(args) => tree(client, args, output).await,
        Operate::Inspect { path } => client.inspect(&path).await.map(|found| show::inspection(&path, found, output)),
        Operate::Kill { path, reason, yes } => {
            if !confirmed(&format!("kill {path}?"), yes) {
                return Exit::Usage;
            }
            let killed = client.kill(&path, &reason).await;
            killed.map(|kind| say(output, &json!({ "killed": show::name(kind) }), "killed"))
        }
        Operate::Drain { reason, estimate, yes } => return drain(client, &reason, estimate, yes, output).await,
        Operate::Quarantined => quarantined(client, output).await,
        Operate::Release { conversation } => client.release(&Key::new(tenant, conversation)).await.map(|released| {
            let told = if released { "released; the next call starts it" } else { "it was not quarantined" };
            say(output, &json!({ "released": released }), told);
        }),
        Operate::Passivate { conversation } => {
            client.passivate(&Key::new(tenant, conversation)).await.map(|was_active| {
                let told = if was_active { "at rest" } else { "it was at rest" };
                say(output, &json!({ "was_active": was_active }), told);
            })
        }
    };
    match done {
        Ok(()) => Exit::Ok,
        Err(error) => output::refused(&error),
    }
}

fn say(output: Output, figures: &serde_json::Value, words: &str) {
    output::line(&if output.json { figures.to_string() } else { words.to_owned() });
}

/// Whether it is to be done: said on the command line, or now.
pub(crate) fn confirmed(question: &str, yes: bool) -> bool {
    if yes {
        return true;
    }
    if !std::io::stdin().is_terminal() {
        output::error("not confirmed\n  fix: add --yes");
        return false;
    }
    output::prompt(&format!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

async fn tree(client: &Client, args: TreeArgs, output: Output) -> Result<(), ClientError> {
    let kind: i32 = args.kind.unwrap_or_default().into();
    let (mut page_token, mut printed, mut total) = (String::new(), 0, 0);
    while printed < args.limit {
        let page_size = u32::try_from((args.limit - printed).min(PAGE_ROWS.into())).unwrap_or(PAGE_ROWS);
        let filter = v1::GetSupervisionTreeRequest { kind, tenant: args.of.clone(), page_size, page_token };
        let page = client.tree_page(filter).await?;
        (total, page_token) = (page.total, page.next_page_token);
        printed += page.actors.len() as u64;
        page.actors.iter().for_each(|actor| show::row(actor, output));
        if page_token.is_empty() {
            break;
        }
    }
    if total > printed && !output.json {
        output::line(&output.faint(&format!("and {} more; --limit shows them", total - printed)));
    }
    Ok(())
}

async fn watch(client: &Client, args: TreeArgs, output: Output) -> Result<(), ClientError> {
    let kind = args.kind.unwrap_or_default().into();
    let filter = v1::WatchSupervisionTreeRequest { kind, tenant: args.of, interval_ms: 0 };
    let mut events = client.watch_tree(filter).await?;
    while let Some(event) = events.message().await? {
        event.changed.iter().for_each(|actor| show::row(actor, output));
        for path in &event.gone {
            say(output, &json!({ "gone": path }), &format!("{} gone", output::plain(path)));
        }
    }
    Ok(())
}

async fn drain(client: &Client, reason: &str, estimate: bool, yes: bool, output: Output) -> Exit {
    let told = match client.drain(true, reason).await {
        Ok(told) => told,
        Err(error) => return output::refused(&error),
    };
    let v1::DrainResponse { in_flight, conversations_active, watchers, at_most_ms } = told;
    let figures = json!({
        "in_flight": in_flight, "conversations_active": conversations_active, "watchers": watchers,
        "at_most_ms": at_most_ms, "draining": !estimate,
    });
    let words =
        format!("{in_flight} calls in flight, {conversations_active} conversations in memory, {watchers} watches");
    say(output, &figures, &words);
    if estimate {
        return Exit::Ok;
    }
    if !confirmed("end the server?", yes) {
        return Exit::Usage;
    }
    match client.drain(false, reason).await {
        Ok(_) if output.json => Exit::Ok,
        Ok(_) => {
            output::line("it ends once they have");
            Exit::Ok
        }
        Err(error) => output::refused(&error),
    }
}

async fn quarantined(client: &Client, output: Output) -> Result<(), ClientError> {
    let mut page_token = String::new();
    loop {
        let message = v1::ListQuarantinedRequest { tenant: String::new(), page_size: PAGE_ROWS, page_token };
        let page = client.quarantined(message).await?;
        for row in &page.rows {
            let key = row.key.as_ref().map(|key| format!("{}/{}", key.tenant, key.conversation)).unwrap_or_default();
            let figures = json!({ "key": key, "since_us": row.since_us, "reason": row.reason });
            say(output, &figures, &format!("{}: {}", output::plain(&key), row.reason));
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}
