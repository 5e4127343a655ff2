//! What was found, for people and for scripts.

use std::time::Duration;

use serde_json::json;

use super::Finding;
use crate::output::{self, Output};

/// Prints what was found of one model or source.
pub(super) fn finding(finding: &Finding, output: Output) {
    if output.json {
        return output::line(&as_json(finding).to_string());
    }
    let well = finding.problems.is_empty();
    let mark = if well { output.good("ok") } else { output.bad("wrong") };
    let head = format!("{} {} {mark}", output.faint(finding.kind), output.strong(&finding.name));
    let seen = seen(finding);
    output::line(&if seen.is_empty() { head } else { format!("{head} {seen}") });
    for problem in &finding.problems {
        output::line(&format!("  {}\n  fix: {}", problem.what, problem.fix));
    }
}

/// What was seen, in a line.
fn seen(finding: &Finding) -> String {
    let mut seen = Vec::new();
    seen.extend(finding.latency.map(|latency| format!("{:.0} ms", ms(latency))));
    seen.extend(finding.first_token.map(|first| format!("first token {:.0} ms", ms(first))));
    seen.extend(finding.features.iter().map(|(name, does)| format!("{}{name}", if *does { "" } else { "no " })));
    if !finding.tools.is_empty() {
        let tools: Vec<_> = finding
            .tools
            .iter()
            .map(|tool| format!("{}{}", tool.name, if tool.allowed { "" } else { " (not allowed)" }))
            .collect();
        seen.push(format!("tools: {}", tools.join(", ")));
    }
    seen.join(", ")
}

fn as_json(finding: &Finding) -> serde_json::Value {
    let features: serde_json::Map<_, _> =
        finding.features.iter().map(|(name, does)| ((*name).to_owned(), (*does).into())).collect();
    let tools: Vec<_> = finding
        .tools
        .iter()
        .map(|tool| json!({ "name": &*tool.name, "allowed": tool.allowed, "checkable": tool.checkable, "read_only_hint": tool.read_only_hint }))
        .collect();
    let problems: Vec<_> =
        finding.problems.iter().map(|problem| json!({ "problem": problem.what, "fix": problem.fix })).collect();
    json!({
        "kind": finding.kind,
        "name": finding.name,
        "ok": problems.is_empty(),
        "latency_ms": finding.latency.map(ms),
        "first_token_ms": finding.first_token.map(ms),
        "features": features,
        "tools": tools,
        "problems": problems,
    })
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
