//! A source over HTTP, made from its table.

use std::sync::Arc;

use colloquy_enrich::{AnswerFrom, BodyFrom, HttpMethod, HttpSettings, HttpSource};

use super::{BODY, headers, outbound, refused};
use crate::settings::{
    fault::{Report, shown},
    file::Value,
    models::url,
    sources::Environment,
    table::{self, Table},
};

/// The methods as they are written.
const METHODS: [(&str, HttpMethod); 5] = [
    ("GET", HttpMethod::Get),
    ("POST", HttpMethod::Post),
    ("PUT", HttpMethod::Put),
    ("PATCH", HttpMethod::Patch),
    ("DELETE", HttpMethod::Delete),
];

/// Makes a source.
pub(super) fn make(
    table: &mut Table,
    report: &mut Report,
    environment: Environment,
    bytes_max: usize,
) -> Option<Arc<HttpSource>> {
    let before = report.faults.len();
    let address = url(table, report, "url");
    if !table.gives("url") {
        table.fault(report, "url", "is missing", "write `url = \"https://crm.example.com/customers/{id}\"`");
    }
    let method = table.read(report, "method", |text| {
        METHODS.into_iter().find(|(name, _)| *name == text.trim()).map(|(_, method)| method)
    });
    let body = body(table, report);
    let status = |text: &str| text.trim().parse().ok().filter(|status| (100..=599).contains(status));
    let empty_statuses = table.list(report, "empty_statuses", status).unwrap_or_default();
    let content_type = |text: &str| text.contains('/').then(|| text.trim().to_owned());
    let content_types = table.list(report, "content_types", content_type).unwrap_or_default();
    let key_header = table.read(report, "idempotency_header", |text| Some(text.trim().to_owned()));
    let check = url(table, report, "check");
    let answer = answer(table, report);
    let headers = headers(table, report, environment);
    let urls: Vec<_> = [("url", &address), ("check", &check)]
        .into_iter()
        .filter_map(|(name, url)| Some((name, url.as_deref()?)))
        .collect();
    let outbound = outbound(table, report, &urls);
    let settings = HttpSettings {
        url: address?,
        method: method?,
        headers,
        body: body?,
        answer,
        empty_statuses: empty_statuses.into_iter().map(|(_, status)| status).collect(),
        bytes_max,
        content_types: content_types.into_iter().map(|(_, name)| name).collect(),
        key_header: key_header.filter(|name| !name.is_empty()),
        check,
    };
    let made = HttpSource::new(settings, outbound?).map_err(|error| refused(table, report, &error));
    // What was made in spite of a fault lacks something.
    made.ok().filter(|_| report.faults.len() == before).map(Arc::new)
}

/// `none`, `all`, or a list of arguments.
fn body(table: &mut Table, report: &mut Report) -> Option<BodyFrom> {
    let fix = format!("write {BODY}, for example `[\"name\", \"city\"]`");
    let Some(placed) = table.take("body") else {
        table.holds(report, "body", &table::text("none"));
        return Some(BodyFrom::Nothing);
    };
    match placed.value {
        Value::Text(text) if text == "none" || text == "all" => {
            table.holds(report, "body", &table::text(&text));
            Some(if text == "all" { BodyFrom::All } else { BodyFrom::Nothing })
        }
        Value::List(items) => {
            let names: Option<Vec<Arc<str>>> = items
                .into_iter()
                .map(|item| if let Value::Text(name) = item.value { Some(name.into()) } else { None })
                .collect();
            let Some(names) = names else {
                table.fault(
                    report,
                    "body",
                    format!("is a list of something else than names, which is not {BODY}"),
                    fix,
                );
                return None;
            };
            let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
            table.holds(report, "body", &table::list(&texts));
            Some(BodyFrom::Chosen(names))
        }
        Value::Text(text) | Value::Plain(text) => {
            table.fault(report, "body", format!("{} is not {BODY}", shown(&text)), fix);
            None
        }
        Value::Table(_) => {
            table.fault(report, "body", format!("a table is not {BODY}"), fix);
            None
        }
    }
}

/// The parts of an answer that are wanted; without any, all of it.
fn answer(table: &mut Table, report: &mut Report) -> AnswerFrom {
    let path = format!("{}.answer", table.path);
    let mut parts = Vec::new();
    for (name, placed) in table.named(report, "answer") {
        let key = table::key(&name);
        match placed.value {
            Value::Text(pointer) => {
                report.holds(&path, &format!("{key} = {}", table::text(&pointer)), &placed.place);
                parts.push((name.into(), pointer));
            }
            Value::Plain(_) | Value::List(_) | Value::Table(_) => {
                let fix = format!("write a JSON Pointer, for example `{key} = \"/customer/name\"`");
                report.fault(placed.place, format!("{path}.{key}"), "is no JSON Pointer", fix);
            }
        }
    }
    if parts.is_empty() { AnswerFrom::Whole } else { AnswerFrom::Parts(parts) }
}
