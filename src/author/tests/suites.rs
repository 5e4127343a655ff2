//! Scenarios played in parallel, and what is told of them.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, atomic::AtomicUsize},
};

use super::scenarios::shop;
use crate::{
    Suite, load_scenarios,
    scenario::{Played, in_parallel, junit, play_suites},
};

fn jobs(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("there is some")
}

/// Many scenarios of which every tenth is wrong.
fn suite(count: usize) -> Suite {
    let rows = (0..count).map(|number| {
        let reply = if number % 10 == 3 { "Never." } else { "Sure?" };
        format!("  - {{name: s{number}, turns: [{{say: hm, reply: Hello.}}, {{say: buy 1234, reply: {reply}}}]}}\n")
    });
    let source = format!("scenarios:\n{}", rows.collect::<String>());
    let scenarios = load_scenarios("scenarios.yaml", &source).expect("they can be read");
    Suite { loaded: shop(), scenarios: scenarios.into() }
}

/// CE-008: suites tell the same on any number of threads.
#[test]
fn any_number_of_threads_tells_the_same_in_the_same_order() {
    let suites = [suite(40)];
    let outcomes = |threads| {
        let told = Mutex::new(0);
        let played = play_suites(&suites, None, jobs(threads), &|_| *told.lock().expect("no one panics") += 1);
        assert_eq!(*told.lock().expect("no one panics"), 40);
        played.into_iter().map(|played| (played.scenario, played.failure)).collect::<Vec<_>>()
    };
    let alone = outcomes(1);
    assert!(alone.iter().enumerate().all(|(place, (name, _))| *name == format!("s{place}")));
    assert_eq!(alone.iter().filter(|(_, failure)| failure.is_some()).count(), 4);
    assert_eq!(outcomes(7), alone);
}

#[test]
fn a_filter_chooses_by_name() {
    let played = play_suites(&[suite(40)], Some("s3"), jobs(2), &|_| {});
    let names: Vec<_> = played.iter().map(|played| played.scenario.as_str()).collect();
    assert_eq!(names, ["s3", "s30", "s31", "s32", "s33", "s34", "s35", "s36", "s37", "s38", "s39"]);
}

#[test]
fn work_in_parallel_runs_on_as_many_threads_as_were_asked_for() {
    // Both items wait for each other: on one thread neither would end.
    let both = std::sync::Barrier::new(2);
    let begun = AtomicUsize::new(0);
    let order = in_parallel(&[10, 20], jobs(2), |item| {
        begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        both.wait();
        item * 2
    });
    assert_eq!((order, begun.into_inner()), (vec![20, 40], 2));
    assert_eq!(in_parallel(&[0; 0], jobs(3), |item| *item), [0; 0]);
}

#[test]
fn a_folder_without_scenarios_is_a_fault_with_a_fix() {
    let folder = tempfile::tempdir().expect("there is room");
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).expect("there is room");
    write("flow.yaml", super::scenarios::SHOP);
    let without = |why: &str| {
        let faults = Suite::load(folder.path()).expect_err(why);
        assert_eq!(faults.iter().map(|fault| fault.id).collect::<Vec<_>>(), ["no-source"], "{why}");
        assert!(faults[0].file.ends_with("scenarios.yaml") && faults[0].fix.contains("add scenarios.yaml"), "{why}");
    };
    without("there is no file");
    write("scenarios.yaml", "scenarios: []");
    without("the file has none");
    write("scenarios.yaml", "scenarios: [{name: it, turns: [{say: hm, reply: Hello.}]}]");
    assert_eq!(Suite::load(folder.path()).map(|suite| suite.scenarios.len()), Ok(1));
}

#[test]
fn junit_tells_each_scenario_and_escapes_what_users_say() {
    let mut played: Vec<Played> = play_suites(&[suite(4)], None, jobs(2), &|_| {});
    for played in &mut played {
        played.elapsed = std::time::Duration::from_micros(1500);
    }
    played[0].scenario = "a < b & \"c\"\n\u{1}".to_owned();
    let xml = junit(&played);
    let lines: Vec<&str> = xml.lines().collect();
    assert_eq!(lines[1], r#"<testsuites name="colloquy flow test" tests="4" failures="1" time="0.006000">"#);
    assert_eq!(lines[2], r#"  <testsuite name="shop" tests="4" failures="1" time="0.006000">"#);
    assert_eq!(
        lines[3],
        "    <testcase classname=\"shop\" name=\"a &lt; b &amp; &quot;c&quot;&#10;\u{FFFD}\" time=\"0.001500\"/>"
    );
    assert_eq!(lines[6], r#"    <testcase classname="shop" name="s3" time="0.001500">"#);
    let failure =
        "      <failure message=\"turn 2: reply is &quot;Sure?&quot;, expected &quot;Never.&quot;\">guard passed&#10;";
    assert!(lines[7].starts_with(failure), "{}", lines[7]);
    assert_eq!(lines[8..], ["    </testcase>", "  </testsuite>", "</testsuites>"]);
}
