//! What authors can get wrong about planners is told before anything runs.

use std::collections::BTreeSet;

use super::PLANNED;
use crate::load_sources;

fn faults_of(source: &str) -> BTreeSet<&'static str> {
    let source = format!("format: colloquy.flow/v1\nname: test\nfallback: Fallback.\n{source}");
    let faults = load_sources("test", vec![("f.yaml".to_owned(), source)]);
    faults.map_or_else(|faults| faults, |loaded| loaded.warnings).iter().map(|fault| fault.id).collect()
}

#[track_caller]
fn told(wanted: &str, edits: &[(&str, &str)]) {
    let source = edits.iter().fold(PLANNED.to_owned(), |source, (from, to)| {
        assert!(source.contains(from), "{from}");
        source.replacen(from, to, 1)
    });
    let faults = faults_of(&source);
    assert!(faults.contains(wanted), "{edits:?}: {faults:?}");
}

/// CE-006: names, shapes and bounds of planners.
#[test]
fn planners_name_what_there_is_within_bounds() {
    assert_eq!(faults_of(PLANNED).into_iter().collect::<Vec<_>>(), ["dead-end"]);
    told("unknown-prompt", &[("prompt: choose,", "prompt: chose,")]);
    told("bad-value", &[("choose: {purpose: classify", "choose: {purpose: respond")]);
    told("unknown-action", &[("[find, count, price]", "[find, cuont, price]")]);
    told("duplicate-name", &[("[find, count, price]", "[find, find, price]")]);
    told("missing-key", &[("tools: [find, count, price], ", "")]);
    told("unknown-state", &[("asks: {in: desk.open", "asks: {in: desk.opne")]);
    told("unknown-slot", &[("\"text.contains('?')\"", "has(slots.skuu)")]);
    told("condition-type", &[("\"text.contains('?')\"", "\"act == 'ask'\"")]);
    told("unknown-key", &[(", calls: 3", ", call: 3")]);
    told("out-of-range", &[(", calls: 3", ", calls: 0")]);
    told("out-of-range", &[("action_calls: 3", "action_calls: 32"), (", calls: 3", ", calls: 17")]);
    told("out-of-range", &[("action_calls: 3", "action_calls: 2")]);
}

/// CE-006: all that a planner may wait for fits into the turn.
#[test]
fn the_calls_of_a_planner_fit_into_the_deadline() {
    let slow = |timeout| PLANNED.replacen("called], timeout: 500ms", &format!("called], timeout: {timeout}"), 1);
    // Three calls of half a second each, and four questions.
    assert!(!faults_of(&slow("2125ms")).contains("budget-over-deadline"));
    assert!(faults_of(&slow("2126ms")).contains("budget-over-deadline"));
    // What else a turn waits for comes to it: here the slowest tool that a rule stages.
    assert!(!faults_of(&slow("2s")).contains("turn-over-deadline"));
    assert!(faults_of(&slow("2001ms")).contains("turn-over-deadline"));
}

/// CE-001: what a tool leads to is declared wherever the planner works.
#[test]
fn what_a_tool_leads_to_must_be_declared() {
    told("undeclared-transition", &[("desk.told, by: action", "desk.told, by: rule")]);
    told(
        "undeclared-transition",
        &[("asks: {in: desk.open", "asks: {in: any"), ("to: desk.told, by: action", "to: desk.open, by: rule")],
    );
    told("planner-tool", &[("tool: a/count, read_only: true", "tool: a/count, read_only: true, in: desk.told")]);
}

/// CE-parity: a planner lists read-only tools that ask nobody.
#[test]
fn a_planner_lists_what_it_may_call() {
    told("planner-tool", &[("a/find\n    read_only: true", "a/find\n    confirm: {required: false}")]);
    told("planner-tool", &[("tool: a/count, read_only: true", "tool: a/count, read_only: true, confirm: {}")]);
    let local = ("actions:\n", "actions:\n  local: {kind: local}\n");
    told("planner-tool", &[local, ("[find, count, price]", "[find, local]")]);
    let none = ("actions:\n", "actions:\n  none: {kind: tool, tool: a/none, read_only: true, timeout: 1s}\n");
    told("planner-tool", &[none, ("[find, count, price]", "[none]")]);
}

#[test]
fn what_a_model_chooses_has_a_type_and_stands_where_a_model_chooses() {
    const CHOSEN: &str = "type: string, max_chars: 10, normalise: lower";
    told("missing-key", &[(CHOSEN, "max_chars: 10")]);
    told("unknown-key", &[(CHOSEN, "type: list, items: {type: date}")]);
    told("out-of-range", &[("max_chars: 10", "max_chars: 10000")]);
    told("enum-without-values", &[("type: enum, values: [lamp, desk]", "type: enum")]);
    told("bad-value", &[("then: [{stage: other}]", "then: [{stage: find}]")]);
    let fetched =
        "enrichments: {e: {source: s, in: desk.open, timeout: 1s, default: 1, arguments: {a: {chosen: {type: date}}}}}";
    told("bad-value", &[("actions:\n", &format!("{fetched}\nactions:\n"))]);
}
