//! Commands that steer a conversation from outside: cancel, pause, resume, fork.

use clap::{Args, Subcommand};
use colloquy_client::{Client, ClientError, Key};
use serde_json::json;

use crate::{
    calls::{self, fresh_id},
    output::{self, Output},
};

/// What steers a conversation.
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
    /// Has a conversation refuse turns until it is resumed.
    ///
    /// Example: colloquy pause c-17 --reason "ticket 4711"
    Pause(PauseArgs),
    /// Has a paused conversation take turns again.
    Resume(PauseArgs),
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

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// The conversation.
    conversation: String,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    reason: String,
    /// The idempotency key; a fresh one when not given.
    #[arg(long)]
    request_id: Option<String>,
}

/// Runs one of the commands.
pub(crate) async fn run(client: &Client, tenant: &str, what: Steering, output: Output) -> Result<(), ClientError> {
    match what {
        Steering::Cancel { conversation, request_id } => {
            cancel(client, &Key::new(tenant, conversation), &request_id, output).await
        }
        Steering::Pause(args) => pause(client, tenant, args, true, output).await,
        Steering::Resume(args) => pause(client, tenant, args, false, output).await,
        Steering::Fork { conversation, new, at, request_id } => {
            let request_id = request_id.unwrap_or_else(|| fresh_id("fork"));
            let forked = client.fork(&Key::new(tenant, conversation), at, &new, &request_id).await?;
            if output.json {
                output::line(&json!({ "uid": forked.uid, "replayed": forked.replayed }).to_string());
            } else {
                output::line(&format!("forked; {new} counts its own turns from 1"));
            }
            Ok(())
        }
    }
}

async fn cancel(client: &Client, key: &Key, request_id: &str, output: Output) -> Result<(), ClientError> {
    match client.cancel(key, request_id).await? {
        Some(turn) => calls::print_turn(&turn, false, output),
        None if output.json => output::line("null"),
        None => output::line("cancelled; nothing of it stays"),
    }
    Ok(())
}

async fn pause(
    client: &Client,
    tenant: &str,
    args: PauseArgs,
    paused: bool,
    output: Output,
) -> Result<(), ClientError> {
    let (key, prefix) = (Key::new(tenant, args.conversation), if paused { "pause" } else { "resume" });
    let request_id = args.request_id.unwrap_or_else(|| fresh_id(prefix));
    let before = match paused {
        true => client.pause(&key, &request_id, &args.reason).await?,
        false => client.resume(&key, &request_id, &args.reason).await?,
    };
    if output.json {
        output::line(&json!({ "paused": paused, "replayed": before }).to_string());
    } else {
        let done = if paused { "takes no turns until it is resumed" } else { "takes turns" };
        output::line(&format!("the conversation {done}{}", if before { ", as before" } else { "" }));
    }
    Ok(())
}
