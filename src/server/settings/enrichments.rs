//! Enrichments: the sources and tools that flows name, over HTTP and MCP.
//!
//! Adapters are made here, once, so that what they refuse is told with everything else. Each can reach the hosts of its
//! own URLs, and nothing else.

mod http;
mod mcp;

use std::sync::Arc;

use colloquy_actors::{SourceAdapter, SourceSpec};
use colloquy_enrich::{Destination, Outbound, SettingsError, SystemLookup};

use super::{
    fault::Report,
    file::Placed,
    gate, models, secret,
    sources::Environment,
    table::{self, Entry, Shape, Table},
    units,
};

/// What a source's table holds.
pub(super) static SOURCE: Shape = Shape {
    entries: &[
        Entry::must("kind", "http", "http or mcp", "what the source speaks"),
        Entry::may(
            "url",
            "https://crm.example.com/customers/{id}",
            "a URL of http or https without user and fragment",
            "where it is; over HTTP with `{argument}` where an argument belongs, in path or query",
        ),
        Entry::is("method", "GET", "GET, POST, PUT, PATCH or DELETE", "the method of a call").of(HTTP),
        Entry::is(
            "body",
            "none",
            BODY,
            "what a call carries: nothing, all arguments as a JSON object, or those listed",
        )
        .of(HTTP),
        Entry::may("empty_statuses", "404", "a list of statuses from 100 to 599", "statuses that answer with null")
            .of(HTTP),
        Entry::is("content_types", "application/json", "a list of content types", "content types that are read")
            .of(HTTP),
        Entry::is(
            "idempotency_header",
            "Idempotency-Key",
            "the name of a header, or nothing",
            "the header that carries the stable key of a call; empty sends none",
        )
        .of(HTTP),
        Entry::may(
            "check",
            "https://crm.example.com/health",
            "a URL of http or https without user and fragment",
            "what `models check` gets; else it only connects",
        )
        .of(HTTP),
        Entry::may("command", "stock-server", "a program and its arguments", "the server's program, instead of `url`")
            .of(MCP),
        Entry::may("folder", "/srv/stock", "a folder", "the folder the program works in; else ours").of(MCP),
        Entry::must("tools", "lookup", "a list of 1 to 256 names", "the tools that may be called; no other is").of(MCP),
        Entry::may(
            "answer",
            "{ name = \"/customer/name\" }",
            "a table of names with JSON Pointers",
            "what becomes the value; else all of it",
        )
        .of(HTTP),
        Entry::may("headers", "{ X-Token = { env = \"CRM_TOKEN\" } }", VALUES, "headers of every request"),
        Entry::may(
            "environment",
            "{ STOCK_TOKEN = { env = \"STOCK_TOKEN\" } }",
            VALUES,
            "what the program finds in its environment besides PATH",
        )
        .of(MCP),
        Entry::is(
            "private_networks",
            "false",
            "true or false",
            "whether loopback, private and shared addresses may be reached",
        ),
        Entry::is("answer_max", "64 KiB", "1 B to 1 MiB", "the largest answer"),
        gate::CONCURRENCY,
        gate::QUEUE,
    ],
    tables: &["breaker"],
};

const VALUES: &str = "a table of names with texts, or with `{ env = \"NAME\" }` or `{ file = \"/path\" }`";
const BODY: &str = "none, all, or a list of arguments";
const HTTP: &[&str] = &["http"];
const MCP: &[&str] = &["mcp"];

/// Reads every source.
pub(super) fn read(report: &mut Report, placed: Option<Placed>, environment: Environment) -> Vec<SourceSpec> {
    let tables = placed.map(|placed| table::open_named(report, "enrichments", placed)).unwrap_or_default();
    let mut sources = Vec::new();
    for (name, placed) in tables {
        // Flows name a tool as `source/tool`.
        if models::is_name(&name) {
            sources.extend(source(report, &name, placed, environment));
        } else {
            let fix = "use 1 to 64 letters, digits, `_` and `-`";
            report.fault(placed.place, format!("enrichments.{}", table::key(&name)), "is no name of a source", fix);
        }
    }
    sources
}

fn source(report: &mut Report, name: &str, placed: Placed, environment: Environment) -> Option<SourceSpec> {
    let mut table = Table::open(report, format!("enrichments.{name}"), placed, &SOURCE)?;
    let kind = table.read(report, "kind", |text| ["http", "mcp"].into_iter().find(|kind| *kind == text.trim()))?;
    table.of_kind(report, kind);
    let gate = gate::read(&mut table, report);
    let bytes_max = table.read(report, "answer_max", units::size(1..=1 << 20))?;
    let bytes_max = usize::try_from(bytes_max).ok()?;
    let faults = report.faults.len();
    let adapter = match kind {
        "http" => http::make(&mut table, report, environment, bytes_max).map(|source| SourceAdapter::Direct(source)),
        _ => mcp::make(&mut table, report, environment, bytes_max).map(SourceAdapter::Session),
    };
    debug_assert!(adapter.is_some() || report.faults.len() > faults, "what is not made has a fault");
    table.finish(report);
    Some(SourceSpec { name: name.into(), adapter: adapter?, gate: gate? })
}

/// A way out to the hosts of these URLs alone.
fn outbound(table: &mut Table, report: &mut Report, urls: &[(&'static str, &str)]) -> Option<Outbound> {
    let allow_private = table.read(report, "private_networks", units::flag)?;
    let mut places = Vec::new();
    for (name, url) in urls {
        match Destination::of_url(url) {
            Some(place) => places.push(place),
            None => table.fault(report, name, "leads to no host", "write for example `https://crm.example.com/health`"),
        }
    }
    (places.len() == urls.len()).then(|| Outbound::new(places, allow_private, Arc::new(SystemLookup)))
}

/// Tells what an adapter refused, at the key it refused.
fn refused(table: &Table, report: &mut Report, error: &SettingsError) {
    let (name, fix) = match error.field {
        "key_header" => ("idempotency_header", "write the name of a header, or nothing"),
        "client" => ("kind", "install the system's certificates, such as the package `ca-certificates`"),
        "answer" => ("answer", "write a JSON Pointer for each name, for example `name = \"/customer/name\"`"),
        "headers" => ("headers", "look for line breaks and other characters that no header can hold"),
        "check" => ("check", "write a URL that leads to an allowed place"),
        _ if error.message.contains("address") => {
            ("url", "set `private_networks = true`, if the source is meant to be there")
        }
        _ => ("url", "write for example `https://crm.example.com/customers/{id}`"),
    };
    table.fault(report, name, error.message.clone(), fix);
}

/// Headers of every request, secrets among them.
fn headers(table: &mut Table, report: &mut Report, environment: Environment) -> Vec<(String, secrecy::SecretString)> {
    secret::values(table, report, "headers", environment)
}
