//! The commands that publish, promote and list flows of a server.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use colloquy_author::{SCENARIOS_FILE, read_folder};
use colloquy_client::{Client, ClientError, v1};
use serde_json::json;

use crate::{
    Exit,
    output::{self, Output},
};

/// Rows that a list asks for at a time.
const PAGE_ROWS: u32 = 500;

/// Commands on a server's flows; the tenant is `--tenant`.
#[derive(Debug, Subcommand)]
pub(crate) enum FlowCall {
    /// Publishes the flow in a folder, with its scenarios; prints its revision and every fault.
    ///
    /// Example: colloquy flow publish ./flows/order-desk --note "new returns policy"
    Publish(PublishArgs),
    /// Makes a published revision the one that conversations run; an older one rolls back.
    ///
    /// Example: colloquy flow promote order-desk 9f86d081
    Promote(PromoteArgs),
    /// Prints the published revisions, the latest first.
    Revisions(ListArgs),
    /// Prints the promotions, the latest first.
    Promotions(ListArgs),
    /// Prints the conversations that run an older revision, and why they stay.
    Pinned(ListArgs),
}

/// Who changes something, and why.
#[derive(Debug, Args)]
pub(crate) struct Attribution {
    /// Who you are, for the record.
    #[arg(long, env = "COLLOQUY_ACTOR", default_value = "cli")]
    actor: String,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    note: String,
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The folder, or a single file.
    folder: PathBuf,
    #[command(flatten)]
    attribution: Attribution,
}

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// The flow's name.
    flow: String,
    /// The revision: its first 8 digits or more.
    revision: String,
    /// The revision that must be promoted until now, or `none`.
    #[arg(long, value_name = "REVISION")]
    expected_from: Option<String>,
    #[command(flatten)]
    attribution: Attribution,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this flow.
    #[arg(default_value = "")]
    flow: String,
}

/// Does what was asked.
pub(crate) async fn run(client: &Client, tenant: &str, call: FlowCall, output: Output) -> Exit {
    let ended = match call {
        FlowCall::Publish(args) => publish(client, tenant, args, output).await,
        FlowCall::Promote(args) => promote(client, tenant, args, output).await,
        FlowCall::Revisions(args) => revisions(client, tenant, args, output).await,
        FlowCall::Promotions(args) => promotions(client, tenant, args, output).await,
        FlowCall::Pinned(args) => pinned(client, tenant, args, output).await,
    };
    ended.unwrap_or_else(|refusal| output::refused(&refusal))
}

fn short(revision: &str) -> &str {
    revision.get(..12).unwrap_or("none")
}

fn sources(folder: &Path) -> Result<v1::FlowSources, String> {
    let files = read_folder(folder).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        faults.join("\n")
    })?;
    let name = |path: &str| {
        let relative = Path::new(path).strip_prefix(folder).ok().filter(|name| !name.as_os_str().is_empty());
        relative.map_or_else(|| path.to_owned(), |name| name.display().to_string())
    };
    let files = files.into_iter().map(|(path, text)| v1::FlowFile { name: name(&path), text });
    let files = files.collect();
    let path = folder.join(SCENARIOS_FILE);
    let scenarios = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if folder.is_file() || error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    Ok(v1::FlowSources { files, scenarios })
}

async fn publish(client: &Client, tenant: &str, args: PublishArgs, output: Output) -> Result<Exit, ClientError> {
    let sources = match sources(&args.folder) {
        Ok(sources) => sources,
        Err(problem) => {
            output::error(&problem);
            return Ok(Exit::Usage);
        }
    };
    let Attribution { actor, note } = args.attribution;
    let message = v1::PublishFlowRequest { tenant: tenant.to_owned(), sources: Some(sources), actor, note };
    let published = client.publish_flow(message).await?;
    let revision = published.revision.unwrap_or_default();
    let exit = if revision.errors == 0 { Exit::Ok } else { Exit::NotAsItShouldBe };
    if output.json {
        let faults: Vec<_> = published.faults.iter().map(fault_json).collect();
        let line = json!({
            "flow": revision.flow, "revision": revision.revision, "created": published.created,
            "errors": revision.errors, "warnings": revision.warnings, "faults": faults,
        });
        output::line(&line.to_string());
        return Ok(exit);
    }
    for fault in &published.faults {
        let severity = if fault.is_error { output.bad("error") } else { "warning".to_owned() };
        let place = format!("{}:{}:{}", fault.file, fault.line, fault.column);
        output::line(&format!("{place}: {severity}[{}]: {}", fault.id, fault.message));
        if !fault.path.is_empty() {
            output::line(&format!("  path: {}", fault.path.join(" -> ")));
        }
        output::line(&format!("  fix: {}", fault.fix));
    }
    let what = if published.created { "published" } else { "was published before" };
    output::line(&format!("{} {} {what}", output.strong(&revision.flow), revision.revision));
    if revision.errors > 0 {
        output::line(&output.bad(&format!("{} errors: it cannot be promoted", revision.errors)));
    } else {
        output::line(&format!("promote it: colloquy flow promote {} {}", revision.flow, short(&revision.revision)));
    }
    Ok(exit)
}

fn fault_json(fault: &v1::FlowFault) -> serde_json::Value {
    json!({
        "id": fault.id, "severity": if fault.is_error { "error" } else { "warning" }, "file": fault.file,
        "line": fault.line, "column": fault.column, "message": fault.message, "fix": fault.fix,
        "path": fault.path,
    })
}

async fn promote(client: &Client, tenant: &str, args: PromoteArgs, output: Output) -> Result<Exit, ClientError> {
    let Attribution { actor, note } = args.attribution;
    let expected_from = args.expected_from.map(|from| if from == "none" { String::new() } else { from });
    let message = v1::PromoteFlowRequest {
        tenant: tenant.to_owned(),
        flow: args.flow,
        revision: args.revision,
        expected_from,
        actor,
        note,
    };
    let promoted = client.promote_flow(message).await?;
    let promotion = promoted.promotion.unwrap_or_default();
    if output.json {
        let mut line = promotion_json(&promotion);
        line.extend([("changed".to_owned(), promoted.changed.into())]);
        output::line(&serde_json::Value::Object(line).to_string());
    } else if promoted.changed {
        let from = short(&promotion.from);
        output::line(&format!("{} {} is promoted, in place of {from}", output.strong(&promotion.flow), promotion.to));
    } else {
        output::line(&format!("{} {} was promoted already", output.strong(&promotion.flow), promotion.to));
    }
    Ok(Exit::Ok)
}

fn promotion_json(promotion: &v1::FlowPromotion) -> serde_json::Map<String, serde_json::Value> {
    let fields = [
        ("flow", json!(promotion.flow)),
        ("from", json!(promotion.from)),
        ("to", json!(promotion.to)),
        ("number", json!(promotion.number)),
        ("promoted_at_us", json!(promotion.promoted_at_us)),
        ("actor", json!(promotion.actor)),
        ("note", json!(promotion.note)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn revisions(client: &Client, tenant: &str, args: ListArgs, output: Output) -> Result<Exit, ClientError> {
    let mut page_token = String::new();
    loop {
        let (tenant, flow) = (tenant.to_owned(), args.flow.clone());
        let message = v1::ListRevisionsRequest { tenant, flow, page_size: PAGE_ROWS, page_token };
        let page = client.revisions(message).await?;
        for row in &page.revisions {
            if output.json {
                let line = json!({
                    "flow": row.flow, "revision": row.revision, "number": row.number, "promoted": row.promoted,
                    "errors": row.errors, "warnings": row.warnings, "has_scenarios": row.has_scenarios,
                    "published_at_us": row.published_at_us, "published_by": row.published_by, "note": row.note,
                });
                output::line(&line.to_string());
                continue;
            }
            let mark = match (row.promoted, row.errors) {
                (true, _) => output.good("promoted"),
                (false, 0) => String::new(),
                (false, errors) => output.bad(&format!("{errors} errors")),
            };
            let by = output.faint(&format!("{} {}", row.published_by, row.note));
            output::line(&format!("{} {} {mark} {by}", row.flow, short(&row.revision)));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(Exit::Ok);
        }
    }
}

async fn promotions(client: &Client, tenant: &str, args: ListArgs, output: Output) -> Result<Exit, ClientError> {
    let mut page_token = String::new();
    loop {
        let (tenant, flow) = (tenant.to_owned(), args.flow.clone());
        let message = v1::ListPromotionsRequest { tenant, flow, page_size: PAGE_ROWS, page_token };
        let page = client.promotions(message).await?;
        for row in &page.promotions {
            if output.json {
                output::line(&serde_json::Value::Object(promotion_json(row)).to_string());
                continue;
            }
            let by = output.faint(&format!("{} {}", row.actor, row.note));
            output::line(&format!("{} {} -> {} {by}", row.flow, short(&row.from), short(&row.to)));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(Exit::Ok);
        }
    }
}

async fn pinned(client: &Client, tenant: &str, args: ListArgs, output: Output) -> Result<Exit, ClientError> {
    let mut page_token = String::new();
    loop {
        let (tenant, flow) = (tenant.to_owned(), args.flow.clone());
        let message = v1::ListPinnedRequest { tenant, flow, page_size: PAGE_ROWS, page_token };
        let page = client.pinned(message).await?;
        for row in &page.conversations {
            let reason = row.reason().as_str_name().trim_start_matches("PINNED_REASON_").to_lowercase();
            let conversation = row.key.clone().unwrap_or_default().conversation;
            if output.json {
                let line = json!({
                    "conversation": conversation, "flow": row.flow, "revision": row.revision,
                    "current_revision": row.current_revision, "position": row.position, "reason": reason,
                    "obstacles": row.obstacles,
                });
                output::line(&line.to_string());
                continue;
            }
            let revision = output.faint(short(&row.revision));
            output::line(&format!("{conversation} {} {revision} {} {reason}", row.flow, row.position));
            row.obstacles.iter().for_each(|obstacle| output::line(&format!("  {obstacle}")));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(Exit::Ok);
        }
    }
}
