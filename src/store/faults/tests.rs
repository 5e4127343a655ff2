//! The points themselves.

use std::time::Instant;

use tempfile::TempDir;

use super::{Report, run};

pub(crate) fn scratch() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

/// A violation with its causes.
fn source(violation: &super::Violation) -> String {
    let mut text = violation.to_string();
    let mut error: Option<&dyn std::error::Error> = std::error::Error::source(violation);
    while let Some(cause) = error {
        text = format!("{text}: {cause}");
        error = cause.source();
    }
    text
}

#[test]
fn what_was_acknowledged_is_there_after_two_thousand_crashes() {
    let (scratch, began) = (scratch(), Instant::now());
    let (mut sum, mut seed) = (Report::default(), 0);
    while sum.points < 2000 {
        let report = run(seed, scratch.path()).unwrap_or_else(|violation| panic!("{}", source(&violation)));
        sum.add(&report);
        seed += 1;
    }
    println!("{seed} seeds in {:?}: {sum:?}", began.elapsed());
    assert!(sum.in_recovery > 200 && sum.acknowledged > 10_000 && sum.refused > 1000 && sum.flipped > 50, "{sum:?}");
    assert!(sum.unknown_applied > 100 && sum.unknown_lost > 100, "{sum:?}");
}

#[test]
fn a_seed_plays_the_same_each_time() {
    let scratch = scratch();
    for seed in 0..8 {
        let [one, other] = [0, 1].map(|_| run(seed, scratch.path()).unwrap());
        assert_eq!(one, other);
        assert_ne!(one.trace, run(seed + 100, scratch.path()).unwrap().trace);
    }
}

#[test]
fn nothing_is_left_in_the_scratch_folder() {
    let scratch = scratch();
    run(1, scratch.path()).unwrap();
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}
