//! Rows that are deleted one by one, and who notices.

use std::{num::NonZeroUsize, path::Path};

use crate::{
    Deletions,
    deletions::{DeletionError, Noticed, Which},
};

/// A flow with a keyword nobody says, and one that is said.
const FLOW: &str = r#"
format: colloquy.flow/v1
name: small
start: home.idle
fallback: Sorry?
intents:
  home: {initial: idle, states: {idle: {terminal: true}}}
  hours:
    initial: told
    classify: {keywords: [[hours], [opening, times]]}
    states: {told: {terminal: true}}
transitions: [{from: "*", to: hours.told, by: intent}]
responses:
  - {in: home.idle, exact: Hello.}
  - {in: hours.told, when: moved, exact: Nine to six.}
  - {in: hours.told, exact: As I said.}
"#;
const SCENARIOS: &str = "scenarios: [{name: ask, turns: [{say: which hours, reply: Nine to six.}]}]";

fn written(scenarios: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room");
    for (file, text) in [("flow.yaml", FLOW), ("scenarios.yaml", scenarios)] {
        std::fs::write(folder.path().join(file), text).expect("there is room");
    }
    folder
}

fn of(folder: &Path, which: Which) -> Deletions {
    let jobs = NonZeroUsize::new(2).expect("there are two");
    Deletions::of(folder, which, jobs, &|done, rows| assert!(done <= rows)).expect("the flow is sound")
}

#[test]
fn each_row_is_deleted_once_and_who_notices_is_told() {
    let folder = written(SCENARIOS);
    let deletions = of(folder.path(), Which::Rows);
    let noticed = deletions.rows.iter().map(|row| {
        let by = match &row.noticed {
            None => "nobody".to_owned(),
            Some(Noticed::Lint(_)) => "lint".to_owned(),
            Some(Noticed::Scenario(name, turn)) => format!("{name} {turn}"),
        };
        (row.row.as_str(), by)
    });
    let expected = [
        ("intents.home", "lint"),
        ("intents.home.states.idle", "lint"),
        ("intents.hours", "lint"),
        ("intents.hours.classify.keywords[1]", "ask 1"),
        ("intents.hours.classify.keywords[2]", "nobody"),
        ("intents.hours.classify.keywords[2][opening]", "nobody"),
        ("intents.hours.classify.keywords[2][times]", "nobody"),
        ("intents.hours.states.told", "lint"),
        ("transitions[1]", "lint"),
        ("responses[1]", "lint"),
        ("responses[2]", "ask 1"),
        ("responses[3]", "lint"),
    ];
    assert_eq!(noticed.collect::<Vec<_>>(), expected.map(|(row, by)| (row, by.to_owned())));
    let unanswered = deletions.rows.iter().find(|row| row.row == "responses[1]").expect("it is a row");
    assert_eq!(unanswered.noticed, Some(Noticed::Lint("no-response")));
    assert_eq!((deletions.noticed(), deletions.noticed_by_lint(), deletions.survivors().count()), (9, 7, 3));
    let survivor = deletions.survivors().next().expect("there are three");
    assert!(survivor.file.ends_with("flow.yaml"));
    assert_eq!((survivor.line, survivor.text.as_str()), (10, r#"["opening","times"]"#));
}

#[test]
fn optional_keys_are_deleted_when_asked_for_and_required_ones_never() {
    let folder = written(SCENARIOS);
    let keys: Vec<_> = of(folder.path(), Which::RowsAndKeys).rows.into_iter().map(|row| row.row).collect();
    for key in ["intents.home.states.idle.terminal", "responses[2].when"] {
        assert!(keys.iter().any(|row| row == key), "{key} is missing from {keys:?}");
    }
    for key in ["name", "start", "responses[2].in", "transitions[1].by", "intents.home.initial"] {
        assert!(!keys.iter().any(|row| row == key), "{key} must be there");
    }
}

#[test]
fn a_flow_that_is_not_sound_is_not_taken_apart() {
    let failing = written(&SCENARIOS.replace("Nine to six.", "Never."));
    let found = Deletions::of(failing.path(), Which::Rows, NonZeroUsize::MIN, &|_, _| {});
    assert!(matches!(found, Err(DeletionError::Failing(failure)) if failure.scenario == "ask"));
    let faulty = written("scenarios: []");
    let found = Deletions::of(faulty.path(), Which::Rows, NonZeroUsize::MIN, &|_, _| {});
    assert!(matches!(found, Err(DeletionError::Faults(faults)) if faults.len() == 1));
}
