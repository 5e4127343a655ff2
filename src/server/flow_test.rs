//! `colloquy flow test`.

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use clap::Args;
use colloquy_author::{
    Suite,
    scenario::{Played, junit, play_suites},
};
use serde_json::json;

use crate::{
    Exit, lint,
    output::{self, Output},
};

/// What is played, and how it is told.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The flows' folders, each with its scenarios.yaml.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Play only scenarios whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How many threads play; as many as there are processors when not given.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Write the results as JUnit XML too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// As many threads as were asked for, or as there are processors.
pub(crate) fn jobs(asked: Option<NonZeroUsize>) -> NonZeroUsize {
    asked.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// Plays everything; prints what differs, and how many passed and failed.
pub(crate) fn run(args: &TestArgs, output: Output) -> Exit {
    let (mut suites, mut faults) = (Vec::new(), Vec::new());
    for folder in &args.folders {
        match Suite::load(folder) {
            Ok(suite) => suites.push(suite),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return lint::faulty(&faults, output);
    }
    let played = play(&suites, args);
    if played.is_empty() {
        output::error(&format!(
            "no scenario's name contains {:?}\n  fix: leave --filter away to play all",
            args.filter.as_deref().unwrap_or_default()
        ));
        return Exit::Usage;
    }
    if let Some(file) = &args.junit
        && let Err(failed) = std::fs::write(file, junit(&played))
    {
        output::error(&format!("{} cannot be written: {failed}", file.display()));
        return Exit::Usage;
    }
    tell(&played, output)
}

fn play(suites: &[Suite], args: &TestArgs) -> Vec<Played> {
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let played = play_suites(suites, args.filter.as_deref(), jobs(args.jobs), &|played| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let failed = failed.fetch_add(usize::from(played.failure.is_some()), Ordering::Relaxed);
        output::progress(&format!("{done} played, {} failed", failed + usize::from(played.failure.is_some())));
    });
    output::progress("");
    played
}

fn tell(played: &[Played], output: Output) -> Exit {
    if output.json {
        played.iter().for_each(|played| output::line(&in_json(played).to_string()));
    } else {
        played.iter().for_each(|played| failure(played, output));
    }
    let failed = played.iter().filter(|played| played.failure.is_some()).count();
    let passed = played.len() - failed;
    if output.json {
        output::line(&json!({ "passed": passed, "failed": failed }).to_string());
    } else {
        let told = format!("{passed} passed, {failed} failed");
        output::line(&if failed == 0 { output.good(&told) } else { output.bad(&told) });
    }
    if failed == 0 { Exit::Ok } else { Exit::NotAsItShouldBe }
}

fn failure(played: &Played, output: Output) {
    let Some(failure) = &played.failure else { return };
    let head = format!("{}: {}, turn {}: {}", played.flow, failure.scenario, failure.turn, failure.mismatch.what);
    output::line(&output.bad(&head));
    output::line(&format!("  expected: {}", indented(&failure.mismatch.expected)));
    output::line(&format!("  got:      {}", indented(&failure.mismatch.got)));
    output::line(&output.faint("  stages:"));
    failure.stage_lines().for_each(|line| output::line(&output.faint(&format!("    {line}"))));
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n            ")
}

fn in_json(played: &Played) -> serde_json::Value {
    let failure = played.failure.as_ref().map(|failure| {
        json!({
            "turn": failure.turn,
            "what": failure.mismatch.what,
            "expected": failure.mismatch.expected,
            "got": failure.mismatch.got,
            "stages": failure.stage_lines().collect::<Vec<_>>(),
        })
    });
    json!({
        "flow": played.flow,
        "scenario": played.scenario,
        "turns": played.turns,
        "micros": u64::try_from(played.elapsed.as_micros()).unwrap_or(u64::MAX),
        "passed": failure.is_none(),
        "failure": failure,
    })
}
