//! `colloquy flow lint`: everything that is wrong with flows and their scenarios.
//!
//! Each folder is a flow. Its faults and those of its scenarios are told; scenarios are played once neither has
//! an error. Nothing is written and nothing is called.

mod show;

use std::path::Path;

use clap::{Args, ValueEnum};
use colloquy_author::{
    Fault, LINTS, LoadedFlow, SCENARIOS_FILE, Severity, folder_scenarios, lint, load_folder, scenario,
};
use serde_json::json;

use crate::{
    Exit,
    output::{self, Output},
};

/// What `flow lint` takes.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// The folders, one flow each.
    #[arg(required_unless_present_any = ["list", "explain"])]
    folders: Vec<std::path::PathBuf>,
    /// What else than errors ends with code 1.
    #[arg(long, value_enum)]
    deny: Option<Deny>,
    /// A warning that is not told; may be given more than once.
    #[arg(long, value_name = "ID", value_parser = warning)]
    allow: Vec<&'static str>,
    /// Prints every lint with its severity and meaning, and ends.
    #[arg(long, exclusive = true)]
    list: bool,
    /// Prints the page of a lint, and ends.
    #[arg(long, value_name = "ID", value_parser = known, conflicts_with_all = ["folders", "list"])]
    explain: Option<&'static lint::Lint>,
}

/// What `--deny` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Deny {
    /// Every warning that is told.
    Warnings,
}

fn known(id: &str) -> Result<&'static lint::Lint, String> {
    lint::find(id).ok_or_else(|| "there is no such lint; --list prints them".to_owned())
}

/// An error refuses a flow whether it is told or not, so it is always told.
fn warning(id: &str) -> Result<&'static str, String> {
    let lint = known(id)?;
    match lint.severity {
        Severity::Warning => Ok(lint.id),
        Severity::Error => Err("it is an error, and an error cannot be allowed".to_owned()),
    }
}

/// How much was found.
#[derive(Default)]
struct Found {
    errors: usize,
    warnings: usize,
    scenarios: usize,
    failures: usize,
}

/// One folder's faults, and what is known of the flow.
struct Checked {
    faults: Vec<Fault>,
    loaded: Option<LoadedFlow>,
    scenarios: usize,
    failures: Vec<scenario::Failure>,
}

/// Does what was asked.
pub(crate) fn run(args: &LintArgs, output: Output) -> Exit {
    if args.list {
        LINTS.iter().for_each(|lint| output::line(&listed(lint, output)));
        return Exit::Ok;
    }
    if let Some(lint) = args.explain {
        output::line(lint.page.trim_end());
        return Exit::Ok;
    }
    let mut found = Found::default();
    for folder in &args.folders {
        let mut checked = check(folder);
        checked.faults.retain(|fault| !args.allow.contains(&fault.id));
        let errors = checked.faults.iter().filter(|fault| fault.severity == Severity::Error).count();
        found.errors += errors;
        found.warnings += checked.faults.len() - errors;
        found.scenarios += checked.scenarios;
        found.failures += checked.failures.len();
        tell(folder, &checked, output);
    }
    if output.json {
        output::line(&summary(args, &found).to_string());
    }
    let denied = args.deny == Some(Deny::Warnings) && found.warnings > 0;
    if found.errors > 0 || found.failures > 0 || denied { Exit::NotAsItShouldBe } else { Exit::Ok }
}

fn listed(lint: &lint::Lint, output: Output) -> String {
    if output.json {
        return json!({ "id": lint.id, "severity": lint.severity.name(), "summary": lint.summary }).to_string();
    }
    format!("{:28} {:8} {}", output.strong(lint.id), lint.severity.name(), lint.summary)
}

fn check(folder: &Path) -> Checked {
    let (loaded, mut faults) = match load_folder(folder) {
        Ok(loaded) => {
            let warnings = loaded.warnings.clone();
            (Some(loaded), warnings)
        }
        Err(faults) => (None, faults),
    };
    let scenarios = folder_scenarios(folder).unwrap_or_else(|found| {
        faults.extend(found);
        Vec::new()
    });
    let failures = match &loaded {
        Some(loaded) => scenarios.iter().filter_map(|one| scenario::play(&loaded.flow, one).err()).collect(),
        None => Vec::new(),
    };
    let played = if loaded.is_some() { scenarios.len() } else { 0 };
    Checked { faults, loaded, scenarios: played, failures }
}

fn tell(folder: &Path, checked: &Checked, output: Output) {
    if output.json {
        checked.faults.iter().for_each(|fault| output::line(&json!(fault).to_string()));
        for failure in &checked.failures {
            let mismatch = &failure.mismatch;
            output::line(
                &json!({
                    "id": "scenario", "severity": "error", "file": folder.join(SCENARIOS_FILE).display().to_string(),
                    "scenario": failure.scenario, "turn": failure.turn,
                    "what": mismatch.what, "expected": mismatch.expected, "got": mismatch.got,
                })
                .to_string(),
            );
        }
        return;
    }
    let mut shown = show::Excerpts::default();
    checked.faults.iter().for_each(|fault| output::line(&shown.fault(fault, output)));
    checked.failures.iter().for_each(|failure| output::line(&output.bad(&failure.to_string())));
    output::line(&verdict(folder, checked, output));
}

/// One line on the whole of a folder.
fn verdict(folder: &Path, checked: &Checked, output: Output) -> String {
    let Some(loaded) = &checked.loaded else {
        let errors = checked.faults.iter().filter(|fault| fault.severity == Severity::Error).count();
        let warnings = checked.faults.len() - errors;
        return output.bad(&format!("{}: {errors} errors, {warnings} warnings", folder.display()));
    };
    let revision = loaded.flow.revision().to_string();
    let passed = checked.scenarios - checked.failures.len();
    format!(
        "{} {}: {} warnings, {passed} of {} scenarios as promised",
        output.strong(loaded.flow.name().as_str()),
        output.faint(revision.get(..12).unwrap_or_default()),
        checked.faults.iter().filter(|fault| fault.severity == Severity::Warning).count(),
        checked.scenarios,
    )
}

fn summary(args: &LintArgs, found: &Found) -> serde_json::Value {
    json!({ "summary": {
        "flows": args.folders.len(), "errors": found.errors, "warnings": found.warnings,
        "scenarios": found.scenarios, "failures": found.failures,
    }})
}

/// Prints the faults that kept a command from what it was asked.
pub(crate) fn faulty(faults: &[Fault], output: Output) -> Exit {
    if output.json {
        output::line(&json!({ "faults": faults }).to_string());
    } else {
        let mut shown = show::Excerpts::default();
        faults.iter().for_each(|fault| output::line(&shown.fault(fault, output)));
        output::line(&output.bad(&format!("{} faults", faults.len())));
    }
    Exit::NotAsItShouldBe
}
