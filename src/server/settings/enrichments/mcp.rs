//! A server of the Model Context Protocol, made from its table.

use std::{path::PathBuf, sync::Arc};

use colloquy_enrich::{Factory, McpSettings, McpTransport, Outbound, StdioSettings, StreamableSettings, SystemLookup};

use super::{headers, outbound, refused};
use crate::settings::{fault::Report, models::url, secret, sources::Environment, table::Table};

/// Most tools that may be allowed.
const TOOLS_MAX: usize = 256;
/// Longest name of a tool, in bytes.
const TOOL_BYTES_MAX: usize = 128;

/// What belongs to a program, and what to a server over HTTP.
const OF_COMMAND: [&str; 2] = ["folder", "environment"];
const OF_URL: [&str; 2] = ["headers", "private_networks"];

/// Makes a factory of sessions.
pub(super) fn make(
    table: &mut Table,
    report: &mut Report,
    environment: Environment,
    bytes_max: usize,
) -> Option<Arc<Factory>> {
    let before = report.faults.len();
    let tools = tools(table, report);
    let (transport, outbound) = match (table.gives("command"), table.gives("url")) {
        (true, false) => {
            belongs(table, report, &OF_URL, "url");
            (program(table, report, environment), Some(nowhere()))
        }
        (false, true) => {
            belongs(table, report, &OF_COMMAND, "command");
            server(table, report, environment)
        }
        (given, _) => {
            let (name, problem) =
                if given { ("url", "stands beside `command`") } else { ("command", "is missing, and so is `url`") };
            for name in OF_COMMAND.into_iter().chain(OF_URL).chain(["command", "url"]) {
                table.take(name);
            }
            table.fault(
                report,
                name,
                problem,
                "write `command = [\"program\", \"argument\"]` or `url = \"https://…\"`",
            );
            (None, None)
        }
    };
    let settings = McpSettings { bytes_max, ..McpSettings::new(transport?, tools?) };
    let made = Factory::new(settings, &outbound?).map_err(|error| refused(table, report, &error));
    // What was made in spite of a fault lacks something.
    made.ok().filter(|_| report.faults.len() == before).map(Arc::new)
}

/// What nothing would come of is told.
fn belongs(table: &mut Table, report: &mut Report, names: &[&str], to: &str) {
    for name in names {
        if table.take(name).is_some() {
            table.fault(report, name, format!("is only for a source with `{to}`"), "take it away");
        }
    }
}

fn tools(table: &mut Table, report: &mut Report) -> Option<Vec<Arc<str>>> {
    let name = |text: &str| (1..=TOOL_BYTES_MAX).contains(&text.len()).then(|| Arc::from(text));
    let tools: Vec<_> = table.list(report, "tools", name)?.into_iter().map(|(_, tool)| tool).collect();
    if tools.is_empty() || tools.len() > TOOLS_MAX {
        let problem = format!("has {} names, which is not a list of 1 to 256 names", tools.len());
        table.fault(
            report,
            "tools",
            problem,
            "list the tools that flows may call; `colloquy models check` shows those there are",
        );
        return None;
    }
    Some(tools)
}

/// A program needs no way out of ours.
fn nowhere() -> Outbound {
    Outbound::new([], false, Arc::new(SystemLookup))
}

fn program(table: &mut Table, report: &mut Report, environment: Environment) -> Option<McpTransport> {
    let words = table.list(report, "command", |text| (!secret::looks_secret("", text)).then(|| text.to_owned()));
    let folder = table.read(report, "folder", |text| (!text.is_empty()).then(|| PathBuf::from(text)));
    let environment = secret::values(table, report, "environment", environment);
    let mut words = words?.into_iter().map(|(_, word)| word);
    let Some(command) = words.next().filter(|command| !command.is_empty()) else {
        table.fault(report, "command", "names no program", "write `command = [\"program\", \"argument\"]`");
        return None;
    };
    Some(McpTransport::Stdio(StdioSettings {
        command: command.into(),
        arguments: words.collect(),
        environment,
        folder,
    }))
}

fn server(
    table: &mut Table,
    report: &mut Report,
    environment: Environment,
) -> (Option<McpTransport>, Option<Outbound>) {
    let address = url(table, report, "url");
    let headers = headers(table, report, environment);
    let outbound = address.as_deref().and_then(|address| outbound(table, report, &[("url", address)]));
    (address.map(|url| McpTransport::Streamable(StreamableSettings { url, headers })), outbound)
}
