//! Commands that steer conversations from outside: cancel, pause, resume, fork.

use clap::Subcommand;
use colloquy_client::{Client, ClientError, Key};
use serde_json::json;

use crate::{
    Exit,
    calls::{self, fresh_id},
    output::{self, Output},
    pausing::{self, PauseArgs, PausedArgs},
};

/// What steers conversations.
#[derive(Debug, Subcommand)]
pub(crate) enum Steering {
    /// Ends a turn that runs or waits; what was shown of it stays.
    ///
    /// Example: colloquy cancel c-17 r-2
    Cancel {
        /// The conversation.
        conversation: String,
        /// The request id of the turn.
        request_id: String,
    },
    /// Has a conversation, a tenant or a revision refuse turns until it is resumed; see docs/turns.md.
    ///
    /// Example: colloquy pause c-17 --reason "ticket 4711"
    ///
    /// Example: colloquy pause --flow order-desk --revision 9f86d081 --reason "wrong prices" --yes
    Pause(PauseArgs),
    /// Has what is paused take turns again; name it as it was paused.
    ///
    /// Example: colloquy resume --all-of-tenant --tenant acme --yes
    Resume(PauseArgs),
    /// Prints the tenants and revisions that are paused.
    Paused(PausedArgs),
    /// Begins a conversation with what another one was, now or after one of its turns.
    ///
    /// Example: colloquy fork c-17 c-17-b --at 4
    Fork {
        /// The conversation to branch off.
        conversation: String,
        /// The new conversation.
        new: String,
        /// The turn after which it begins, 0 for before the first one; as it is now when not given.
        #[arg(long, value_name = "TURN")]
        at: Option<u64>,
        /// The idempotency key; a fresh one when not given.
        #[arg(long)]
        request_id: Option<String>,
    },
}

/// Runs one of the commands.
pub(crate) async fn run(client: &Client, tenant: &str, what: Steering, output: Output) -> Result<Exit, ClientError> {
    match what {
        Steering::Cancel { conversation, request_id } => {
            cancel(client, &Key::new(tenant, conversation), &request_id, output).await?;
        }
        Steering::Pause(args) => return pausing::pause(client, tenant, args, true, output).await,
        Steering::Resume(args) => return pausing::pause(client, tenant, args, false, output).await,
        Steering::Paused(args) => pausing::list(client, args, output).await?,
        Steering::Fork { conversation, new, at, request_id } => {
            let request_id = request_id.unwrap_or_else(|| fresh_id("fork"));
            let forked = client.fork(&Key::new(tenant, conversation), at, &new, &request_id).await?;
            if output.json {
                output::line(&json!({ "uid": forked.uid, "replayed": forked.replayed }).to_string());
            } else {
                output::line(&format!("forked; {new} counts its own turns from 1"));
            }
        }
    }
    Ok(Exit::Ok)
}

async fn cancel(client: &Client, key: &Key, request_id: &str, output: Output) -> Result<(), ClientError> {
    match client.cancel(key, request_id).await? {
        Some(turn) => calls::print_turn(&turn, false, output),
        None if output.json => output::line("null"),
        None => output::line("cancelled; nothing of it stays"),
    }
    Ok(())
}
