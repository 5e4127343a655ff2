//! Differences between two revisions: told by kind, and none forgotten.

use super::examples::{EXAMPLES, example, folder};
use crate::{
    Diff, LoadedFlow,
    diff::{Sign, sources},
    fault::Faults,
    load_sources,
    node::{self, Node, Value},
};

fn read(flow: &str) -> Vec<(String, String)> {
    let files = ["flow.yaml", "refunds.yaml", "responses.yaml"].map(|file| {
        (file.to_owned(), std::fs::read_to_string(folder(flow).join(file)).expect("the example can be read"))
    });
    files.to_vec()
}

/// The order desk with each text replaced by another; every one of them must stand there.
fn changed(replacements: &[(&str, &str)]) -> LoadedFlow {
    let mut files = read("order-desk");
    for (was, is) in replacements {
        let (_, text) = files.iter_mut().find(|(_, text)| text.contains(was)).expect("the text stands there");
        *text = text.replacen(was, is, 1);
    }
    load_sources("order-desk", files).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn told(replacements: &[(&str, &str)]) -> Vec<String> {
    let text = Diff::of(&example("order-desk"), &changed(replacements)).to_string();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_flow_does_not_differ_from_itself_or_from_its_stored_form() {
    for flow in EXAMPLES {
        let loaded = example(flow);
        let stored = load_sources(flow, vec![("stored".to_owned(), loaded.source.clone())]).expect("it loads again");
        assert!(Diff::of(&loaded, &stored).is_empty(), "{flow}");
    }
}

#[test]
fn transitions_and_budgets_come_first_with_who_and_how_much() {
    let lines = told(&[
        ("to: cancel.done, by: action}", "to: cancel.done, by: [action, model]}"),
        (
            "  - {from: cancel.ask_number, to: desk.idle, by: rule}\n",
            "  - {from: [cancel.ask_number, cancel.confirm], to: desk.idle, by: rule}\n",
        ),
        ("turn_deadline: 10s", "turn_deadline: 8s"),
        ("expires_turns: 4", "expires_turns: 5"),
        ("start: desk.idle\n", "start: desk.idle\nclarify: 'Which: {{ options }}?'\n"),
    ]);
    assert_eq!(lines.first().map(String::as_str), Some("transitions"));
    let expected = [
        "  ~ cancel.confirm -> cancel.done by action -> action, model",
        "  + cancel.confirm -> desk.idle by rule",
        "budgets",
        "  ~ limits.turn_deadline: 10s -> 8s",
        "  ~ actions.cancel_order.confirm.expires_turns: 4 -> 5",
        "flow",
        "  + clarify: Which: {{ options }}?",
    ];
    for line in expected {
        assert!(lines.iter().any(|told| told == line), "{line:?} is missing in {lines:#?}");
    }
    let at = |line: &str| lines.iter().position(|told| told == line);
    assert!(at("transitions") < at("budgets") && at("budgets") < at("flow"));
    assert_eq!(lines.len(), 1 + 2 + 1 + 2 + 1 + 1 + 1, "{lines:#?}");
}

#[test]
fn rules_are_told_by_id_with_what_changed_about_them() {
    let lines = told(&[
        ("when: has(slots.status_number)\n", "when: has(slots.status_number) && act != 'negate'\n    priority: 3\n"),
        ("- id: no-number-to-give", "- id: nothing-to-give"),
    ]);
    let expected = [
        "rules",
        "  - no-number-to-give",
        "  + nothing-to-give",
        "  ~ status-number-is-known",
        "      when: has(slots.status_number) -> has(slots.status_number) && act != 'negate'",
        "      priority: (none) -> 3",
    ];
    for line in expected {
        assert!(lines.iter().any(|told| told == line), "{line:?} is missing in {lines:#?}");
    }
}

#[test]
fn a_new_response_is_one_change_and_not_a_change_of_all_after_it() {
    let was = example("order-desk");
    let mut files = read("order-desk");
    let (_, responses) = files.last_mut().expect("there are responses");
    *responses =
        responses.replacen("responses:\n", "responses:\n  - {in: desk.idle, when: act == 'affirm', exact: Good.}\n", 1);
    let is = load_sources("order-desk", files).expect("it loads");
    let diff = Diff::of(&was, &is);
    let changes: Vec<_> = diff.changes.iter().map(|change| (change.kind, change.name.as_str(), change.sign)).collect();
    assert_eq!(changes, [("responses", "#16 in desk.idle", Sign::Added)]);
}

#[test]
fn another_order_of_what_breaks_ties_is_told() {
    let lines = told(&[(
        "  cancel_reference: {type: string}\n  cancelled_at: {type: string}\n",
        "  cancelled_at: {type: string}\n  cancel_reference: {type: string}\n",
    )]);
    assert!(lines.iter().any(|line| line == "  ~ slots stand in another order"), "{lines:#?}");
}

#[test]
fn transitions_written_in_another_way_are_told_as_that() {
    let lines = told(&[(
        "from: cancel.ask_number, to: cancel.confirm, by: rule",
        "from: [cancel.ask_number], to: cancel.confirm, by: [rule]",
    )]);
    let expected = "  ~ they are written in another way and declare the same";
    assert_eq!((lines[0].as_str(), lines[1].as_str()), ("transitions", expected));
}

/// Calls `with` for every tree that differs from `node` in one leaf.
fn each_leaf_changed(root: &Node, path: &mut Vec<usize>, with: &mut dyn FnMut(Node, &[usize])) {
    fn at<'n>(node: &'n mut Node, path: &[usize]) -> &'n mut Node {
        let Some((first, rest)) = path.split_first() else { return node };
        match &mut node.value {
            Value::List(items) => at(&mut items[*first], rest),
            Value::Map(entries) => at(&mut entries[*first].1, rest),
            _ => panic!("the path leads through a leaf"),
        }
    }
    let mut copy = root.clone();
    let children = match &at(&mut copy, path).value {
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        _ => 0,
    };
    if children == 0 {
        at(&mut copy, path).value = Value::Text("something else".to_owned());
        with(copy, path);
    }
    for child in 0..children {
        path.push(child);
        each_leaf_changed(root, path, with);
        path.pop();
    }
}

#[test]
fn no_changed_leaf_of_a_flow_is_forgotten() {
    for flow in EXAMPLES {
        let source = example(flow).source;
        let root = node::parse(&"source".into(), &source, &mut Faults::default()).expect("it can be parsed");
        let mut leaves = 0;
        each_leaf_changed(&root, &mut Vec::new(), &mut |is, path| {
            leaves += 1;
            assert!(!sources(root.clone(), is, Vec::new()).is_empty(), "{flow}: the leaf at {path:?} is forgotten");
        });
        assert!(leaves > 100, "{flow} has {leaves} leaves");
    }
}
