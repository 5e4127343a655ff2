//! What the documents say, held against what exists.

use std::{fs, path::Path};

use crate::harness::{Place, run, stderr, stdout};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tests that the README's promises name, as file and function.
fn promised_tests(readme: &str) -> Vec<(&str, &str)> {
    let rows = readme.lines().filter(|line| line.starts_with("| P"));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter_map(|code| code.split_once(".rs: ")).collect()
}

#[test]
fn every_test_that_a_promise_names_exists() {
    let readme = read("README.md");
    let named = promised_tests(&readme);
    assert!(named.len() >= 12, "the table was read: {named:?}");
    for (file, name) in named {
        let source = read(&format!("{file}.rs"));
        assert!(source.contains(&format!("fn {name}(")), "{file}.rs has no {name}");
    }
    for promise in 1..=12 {
        assert_eq!(readme.matches(&format!("| P{promise} |")).count(), 1, "P{promise}");
    }
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let documented = read("docs/settings.md");
    let told = stdout(&run(&["serve", "--help-settings"]));
    let settings: Vec<_> =
        told.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_once(" = ")).collect();
    assert!(settings.len() >= 70, "the settings were read: {settings:?}");
    for (name, default) in &settings {
        let default = match *default {
            "\"\"" | "none" => "none".to_owned(),
            "required" => "required".to_owned(),
            given => format!("`{}`", given.trim_matches('"')),
        };
        let row = format!("| `{name}` | {default} |");
        assert!(documented.contains(&row), "docs/settings.md has no row that begins {row}");
    }
    let rows = documented.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, settings.len(), "docs/settings.md has rows for what is no setting");
}

#[test]
fn printed_settings_are_taken_as_a_file() {
    let place = Place::new();
    let file = place.path().join("colloquy.toml");
    let printed = run(&["serve", "--print-settings", "--data-dir", "elsewhere"]);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    fs::write(&file, &printed.stdout).unwrap();
    let again = run(&["serve", "--print-settings", "--config", file.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(stdout(&again).contains("data_dir = \"elsewhere\""), "{}", stdout(&again));
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for document in [
        "README.md",
        "docs/ARCHITECTURE.md",
        "docs/settings.md",
        "docs/erasure.md",
        "docs/flows.md",
        "docs/replay.md",
        "docs/testing.md",
        "docs/turns.md",
        "CONTRIBUTING.md",
    ] {
        let text = read(document);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let path = folder.parent().unwrap().join(target.split('#').next().unwrap());
            assert!(path.exists(), "{document} links to {target}");
        }
    }
}
