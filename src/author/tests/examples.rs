//! The example flows load without a fault and keep every promise of their scenarios.

use std::path::PathBuf;

use crate::{LoadedFlow, Scenario, load_folder, load_scenarios, scenario::play};

pub(super) const EXAMPLES: [&str; 5] = ["order-desk", "faq-desk", "loan", "support", "inventory"];

pub(super) fn folder(flow: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../server/flows").join(flow)
}

pub(super) fn example(flow: &str) -> LoadedFlow {
    load_folder(&folder(flow)).unwrap_or_else(|faults| {
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        panic!("{flow} has faults:\n{}", told.join("\n"))
    })
}

pub(super) fn scenarios(flow: &str) -> Vec<Scenario> {
    let path = folder(flow).join("scenarios.yaml");
    let text = std::fs::read_to_string(&path).expect("the example has scenarios");
    load_scenarios("scenarios.yaml", &text).expect("the scenarios are well formed")
}

/// CE-006: what ships passes the lint.
#[test]
fn example_flows_have_no_fault_and_no_warning() {
    for flow in EXAMPLES {
        assert_eq!(example(flow).warnings, [], "{flow}");
    }
}

/// CE-008, CE-parity: the example flows keep what their scenarios promise.
#[test]
fn example_scenarios_come_out_as_promised() {
    let mut failures = Vec::new();
    let mut count = 0;
    for flow in EXAMPLES {
        let loaded = example(flow);
        for scenario in &scenarios(flow) {
            count += 1;
            failures.extend(play(&loaded.flow, scenario).err().map(|failure| format!("{flow}: {failure}")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count >= 60, "there are only {count} scenarios");
}

/// CE-008: a scenario can fail.
#[test]
fn a_scenario_with_a_wrong_promise_fails_and_says_where() {
    let mut scenario = scenarios("faq-desk").remove(0);
    scenario.turns[1].reply = Some("We never open.".to_owned());
    let failure = play(&example("faq-desk").flow, &scenario).expect_err("the promise is wrong");
    assert_eq!((failure.turn, failure.mismatch.what.as_str()), (2, "reply"));
}

/// SO-03: compiling again gives the same revision.
#[test]
fn a_normalised_source_loads_to_the_same_revision() {
    for flow in EXAMPLES {
        let loaded = example(flow);
        let again =
            crate::load_sources(flow, vec![("stored".to_owned(), loaded.source.clone())]).expect("it loads again");
        assert_eq!(again.flow.revision(), loaded.flow.revision());
        assert_eq!(again.source, loaded.source);
        for scenario in &scenarios(flow) {
            assert_eq!(play(&again.flow, scenario), play(&loaded.flow, scenario));
        }
    }
}

#[test]
fn a_revision_is_what_a_flow_says_and_not_how_it_is_laid_out() {
    let read = |file: &str| std::fs::read_to_string(folder("faq-desk").join(file)).expect("the example can be read");
    let (flow, responses) = (read("flow.yaml"), read("responses.yaml"));
    let revision = |flow: &str, responses: &str| {
        let sources = [("b.yaml", responses), ("a.yaml", flow)].map(|(file, text)| (file.to_owned(), text.to_owned()));
        crate::load_sources("faq-desk", sources.to_vec()).expect("it loads").flow.revision()
    };
    let shipped = example("faq-desk").flow.revision();
    assert_eq!(revision(&flow, &responses), shipped);
    assert_eq!(revision(&format!("# a comment\n\n{flow}"), &responses.replace("  - {in: ", "  -   {in:   ")), shipped);
    assert_ne!(revision(&flow, &responses.replace("Harbour", "Harbor")), shipped);
}
