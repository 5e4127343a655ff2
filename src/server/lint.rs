//! `colloquy flow lint`.

use std::path::Path;

use colloquy_author::{SCENARIOS_FILE, load_folder, load_scenarios, scenario};
use serde_json::json;

use crate::{
    Exit,
    output::{self, Output},
};

/// Checks a folder's flow and plays its scenarios; prints everything that is wrong.
pub(crate) fn run(folder: &Path, output: Output) -> Exit {
    let loaded = match load_folder(folder) {
        Ok(loaded) => loaded,
        Err(faults) => return faulty(&faults, output),
    };
    let mut failures = Vec::new();
    let mut played = 0;
    let scenarios = folder.join(SCENARIOS_FILE);
    if let Ok(text) = std::fs::read_to_string(&scenarios) {
        match load_scenarios(&scenarios.display().to_string(), &text) {
            Ok(scenarios) => {
                played = scenarios.len();
                failures.extend(scenarios.iter().filter_map(|scenario| scenario::play(&loaded.flow, scenario).err()));
            }
            Err(faults) => return faulty(&faults, output),
        }
    }
    let exit = if failures.is_empty() { Exit::Ok } else { Exit::NotAsItShouldBe };
    if output.json {
        let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
        let found = json!({ "faults": loaded.warnings, "scenarios": played, "failures": failures });
        output::line(&found.to_string());
        return exit;
    }
    loaded.warnings.iter().for_each(|warning| output::line(&warning.to_string()));
    failures.iter().for_each(|failure| output::line(&output.bad(&failure.to_string())));
    let revision = loaded.flow.revision().to_string();
    let passed = played - failures.len();
    output::line(&format!(
        "{} {}: {} warnings, {passed} of {played} scenarios as promised",
        output.strong(loaded.flow.name().as_str()),
        output.faint(revision.get(..12).unwrap_or_default()),
        loaded.warnings.len(),
    ));
    exit
}

/// Prints faults.
pub(crate) fn faulty(faults: &[colloquy_author::Fault], output: Output) -> Exit {
    if output.json {
        output::line(&json!({ "faults": faults }).to_string());
    } else {
        faults.iter().for_each(|fault| output::line(&fault.to_string()));
        output::line(&output.bad(&format!("{} faults", faults.len())));
    }
    Exit::NotAsItShouldBe
}
