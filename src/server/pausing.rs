//! The commands `pause`, `resume` and `paused`: of a conversation, of all of a tenant, of a revision.

use clap::Args;
use colloquy_client::{Client, ClientError, Key, Steer, v1};
use serde_json::{Value, json};

use crate::{
    Exit,
    calls::fresh_id,
    operate::confirmed,
    output::{self, Output},
};

/// Rows of a page that is asked for.
const PAGE_ROWS: u32 = 500;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct PauseArgs {
    /// The conversation.
    #[arg(group = "what")]
    conversation: Option<String>,
    /// All turns of the tenant.
    #[arg(long, group = "what")]
    all_of_tenant: bool,
    /// The turns of the tenant's conversations that run this revision: its first 8 digits or more.
    #[arg(long, group = "what", requires = "flow")]
    revision: Option<String>,
    /// The flow whose revision it is.
    #[arg(long, requires = "revision")]
    flow: Option<String>,
    /// Why, for the history; those who send turns to a paused tenant or revision are told.
    #[arg(long, default_value = "")]
    reason: String,
    /// Who you are, for the record of a tenant or a revision.
    #[arg(long, env = "COLLOQUY_ACTOR", default_value = "cli")]
    actor: String,
    /// The idempotency key; a fresh one when not given.
    #[arg(long)]
    request_id: Option<String>,
    /// Do not ask whether a tenant or a revision is meant.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PausedArgs {
    /// Only what is paused of this tenant.
    #[arg(long, value_name = "TENANT", default_value = "")]
    of: String,
}

/// Pauses or resumes what the arguments name.
pub(crate) async fn pause(
    client: &Client,
    tenant: &str,
    args: PauseArgs,
    paused: bool,
    output: Output,
) -> Result<Exit, ClientError> {
    let PauseArgs { conversation, revision, flow, reason, actor, request_id, yes, .. } = args;
    let verb = if paused { "pause" } else { "resume" };
    let request_id = request_id.unwrap_or_else(|| fresh_id(verb));
    if let Some(conversation) = conversation {
        let key = Key::new(tenant, conversation);
        let before = match paused {
            true => client.pause(&key, &request_id, &reason).await?,
            false => client.resume(&key, &request_id, &reason).await?,
        };
        tell("the conversation", paused, before, None, output);
        return Ok(Exit::Ok);
    }
    let revision = flow.zip(revision);
    let (what, question) = match &revision {
        Some((flow, revision)) => {
            ("the revision", format!("{verb} revision {revision} of {flow} for tenant {tenant}?"))
        }
        None => ("the tenant", format!("{verb} all turns of tenant {tenant}?")),
    };
    if !confirmed(&question, yes) {
        return Ok(Exit::Usage);
    }
    let steer = Steer { tenant: tenant.to_owned(), revision, request_id, actor, reason };
    let (pause, before) = match paused {
        true => {
            let v1::PauseTrafficResponse { pause, replayed } = client.pause_traffic(&steer).await?;
            (pause, replayed)
        }
        false => {
            let v1::ResumeTrafficResponse { pause, replayed } = client.resume_traffic(&steer).await?;
            (pause, replayed)
        }
    };
    // A request that was done before changes nothing, and somebody may have wanted otherwise since.
    tell(what, pause.is_some(), before, pause.as_ref(), output);
    Ok(Exit::Ok)
}

fn tell(what: &str, paused: bool, before: bool, pause: Option<&v1::TrafficPause>, output: Output) {
    if output.json {
        let mut told = json!({ "paused": paused, "replayed": before });
        if let (Some(told), Some(pause)) = (told.as_object_mut(), pause) {
            told.insert("pause".to_owned(), row_json(pause));
        }
        return output::line(&told.to_string());
    }
    let done = if paused { "takes no turns until it is resumed" } else { "takes turns" };
    output::line(&format!("{what} {done}{}", if before { ", as before" } else { "" }));
}

/// Prints the tenants and revisions that are paused.
pub(crate) async fn list(client: &Client, args: PausedArgs, output: Output) -> Result<(), ClientError> {
    let mut page_token = String::new();
    loop {
        let message = v1::ListPausedRequest { tenant: args.of.clone(), page_size: PAGE_ROWS, page_token };
        let page = client.paused(message).await?;
        for row in &page.rows {
            output::line(&if output.json { row_json(row).to_string() } else { row_text(row, output) });
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn row_json(row: &v1::TrafficPause) -> Value {
    json!({
        "tenant": row.tenant, "flow": row.flow, "revision": row.revision, "number": row.number,
        "since_us": row.since_us, "actor": row.actor, "reason": row.reason,
    })
}

fn row_text(row: &v1::TrafficPause, output: Output) -> String {
    let what = match row.revision.get(..12) {
        Some(short) => format!("{} {} {short}", row.tenant, row.flow),
        None => format!("{} all turns", row.tenant),
    };
    let why = if row.reason.is_empty() { String::new() } else { format!(": {}", row.reason) };
    format!("{} {}", output::plain(&what), output.faint(&output::plain(&format!("by {}{why}", row.actor))))
}
