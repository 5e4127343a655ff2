//! The schemas for editors: current, and in agreement with what is read. Every map and every bounded number of
//! files that use every key is broken in turn, and reader and schema must judge alike.

use std::{collections::BTreeSet, path::PathBuf};

use jsonschema::Validator;
use serde_json::Value;

use super::examples::{EXAMPLES, folder};
use crate::{
    fault::{Fault, Faults},
    load_scenarios, load_sources,
    node::{self, Node},
    schema,
};

const FLOW: &str = include_str!("fixtures/everything.yaml");
const SCENARIOS: &str = include_str!("fixtures/everything-scenarios.yaml");

/// What the schema would see of a file.
fn value(text: &str) -> Value {
    fn shown(node: &Node) -> Value {
        match &node.value {
            node::Value::Null => Value::Null,
            node::Value::Boolean(truth) => (*truth).into(),
            node::Value::Integer(number) => (*number).into(),
            node::Value::Number(number) => serde_json::from_str(number).expect("it is a number"),
            node::Value::Text(text) => text.as_str().into(),
            node::Value::List(items) => items.iter().map(shown).collect(),
            node::Value::Map(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), shown(node))).collect())
            }
        }
    }
    shown(&node::parse(&"test".into(), text, &mut Faults::default()).expect("it is YAML"))
}

fn told(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

fn faults_of_flow(text: &str) -> Vec<String> {
    load_sources("test", vec![("test".to_owned(), text.to_owned())])
        .err()
        .map(|faults| told(&faults))
        .unwrap_or_default()
}

fn faults_of_scenarios(text: &str) -> Vec<String> {
    load_scenarios("test", text).err().map(|faults| told(&faults)).unwrap_or_default()
}

struct Subject {
    source: &'static str,
    schema: Value,
    faults: fn(&str) -> Vec<String>,
}

impl Subject {
    fn all() -> [Self; 2] {
        [
            Self { source: FLOW, schema: schema::of_flows(), faults: faults_of_flow },
            Self { source: SCENARIOS, schema: schema::of_scenarios(), faults: faults_of_scenarios },
        ]
    }

    fn validator(&self) -> Validator {
        jsonschema::draft202012::new(&self.schema).expect("it is a schema of this draft")
    }
}

fn refusals(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The places of all values, as pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => items.iter().enumerate().map(|(place, item)| (place.to_string(), item)).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        places(child, &format!("{at}/{step}"), found);
    }
}

/// The key sets of all maps that take no others.
fn closed_shapes(schema: &Value, found: &mut BTreeSet<BTreeSet<String>>) {
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        let properties = schema["properties"].as_object().expect("a closed map has properties");
        found.insert(properties.keys().cloned().collect());
    }
    match schema {
        Value::Array(items) => items.iter().for_each(|item| closed_shapes(item, found)),
        Value::Object(members) => members.values().for_each(|member| closed_shapes(member, found)),
        _ => {}
    }
}

#[test]
fn the_files_that_use_every_key_are_taken_by_reader_and_schema() {
    for subject in Subject::all() {
        assert_eq!((subject.faults)(subject.source), Vec::<String>::new());
        assert_eq!(refusals(&subject.validator(), &value(subject.source)), Vec::<String>::new());
    }
}

#[test]
fn reader_and_schema_know_the_same_keys() {
    for subject in Subject::all() {
        let (validator, whole) = (subject.validator(), value(subject.source));
        let (mut found, mut known) = (Vec::new(), BTreeSet::new());
        places(&whole, "", &mut found);
        for place in found {
            let mut broken = whole.clone();
            let Some(Value::Object(members)) = broken.pointer_mut(&place) else { continue };
            members.insert("no_such_key".to_owned(), Value::Null);
            let faults = (subject.faults)(&broken.to_string());
            let Some(fault) = faults.iter().find(|fault| fault.contains("has no key \"no_such_key\"")) else {
                continue;
            };
            let (_, keys) = fault.split_once("the keys here are ").expect("the fix lists the keys");
            known.insert(keys.trim().split(", ").map(str::to_owned).collect::<BTreeSet<String>>());
            assert!(!validator.is_valid(&broken), "the schema takes an unknown key at {place:?}");
        }
        let mut described = BTreeSet::new();
        closed_shapes(&subject.schema, &mut described);
        let only_read: Vec<_> = known.difference(&described).collect();
        let only_described: Vec<_> = described.difference(&known).collect();
        assert!(only_read.is_empty(), "the schema lacks a map with the keys {only_read:?}");
        assert!(only_described.is_empty(), "nothing reads (or no fixture has) a map with the keys {only_described:?}");
    }
}

#[test]
fn reader_and_schema_know_the_same_bounds() {
    let mut bounded = 0;
    for subject in Subject::all() {
        let (validator, whole) = (subject.validator(), value(subject.source));
        let mut found = Vec::new();
        places(&whole, "", &mut found);
        for place in found {
            let with = |number: i64| {
                let mut changed = whole.clone();
                changed.pointer_mut(&place).filter(|held| held.is_i64()).map(|held| *held = number.into())?;
                Some(changed)
            };
            let Some(broken) = with(1_000_000_000) else { continue };
            let faults = (subject.faults)(&broken.to_string());
            let Some(bounds) = faults.iter().find_map(|fault| fault.split_once("but must be ")) else { continue };
            let (min, max) = bounds.1.lines().next().and_then(|told| told.split_once(" to ")).expect("bounds");
            let (min, max): (i64, i64) = (min.parse().expect("a number"), max.trim().parse().expect("a number"));
            let takes =
                [min - 1, min, max, max + 1].map(|number| with(number).is_some_and(|value| validator.is_valid(&value)));
            assert_eq!(takes, [false, true, true, false], "at {place}, which must be {min} to {max}");
            bounded += 1;
        }
    }
    assert!(bounded >= 30, "only {bounded} numbers have bounds");
}

#[test]
fn the_shipped_flows_and_scenarios_fit_the_schemas() {
    let [flows, scenarios] = Subject::all().map(|subject| subject.validator());
    for flow in EXAMPLES {
        for entry in std::fs::read_dir(folder(flow)).expect("the example's folder") {
            let path = entry.expect("a file").path();
            let validator = if path.ends_with("scenarios.yaml") { &scenarios } else { &flows };
            let text = std::fs::read_to_string(&path).expect("it can be read");
            assert_eq!(refusals(validator, &value(&text)), Vec::<String>::new(), "{}", path.display());
        }
    }
}

#[test]
fn what_a_reader_refuses_by_its_shape_the_schema_refuses_too() {
    let [flows, scenarios] = Subject::all().map(|subject| subject.validator());
    for refused in [
        "format: colloquy.flow/v2",
        "start: nowhere",
        "limits: {turn_deadline: soon}",
        "transitions: [{from: a.b, to: c.d, by: nobody}]",
        "transitions: [{from: a.b, to: c.d}]",
        "rules: [{id: x, in: any, phase: sometime, then: []}]",
        "responses: [{in: any, exact: One., template: Two.}]",
        "responses: [{in: any}]",
        "actions: {a: {kind: local, results: {b: {value: x, path: y}}}}",
        "slots: {s: {type: float}}",
        "slots: {s: {type: object, schema: {oneOf: []}}}",
        "slots: {'not a name': {type: string}}",
        "progress: [{stage: guard, text: x}]",
        "scripted: [{prompt: p}]",
        "scripted: [{say: x, fail: timed_out}]",
        "scripted: [{fail: bad_luck}]",
    ] {
        assert!(!flows.is_valid(&value(refused)), "{refused}");
    }
    for refused in [
        "scenarios: [{name: x, turns: [{say: hello}]}]",
        "scenarios: [{name: x, turns: [{say: hello, input: {}, reply: x}]}]",
        "scenarios: [{name: x, turns: [{say: x, reply: x, effects: {a: {fault: bad_luck}}}]}]",
        "scenarios: [{turns: []}]",
    ] {
        assert!(!scenarios.is_valid(&value(refused)), "{refused}");
    }
}

#[test]
fn the_shipped_schemas_are_current() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    for (file, schema) in [("flow", schema::of_flows()), ("scenarios", schema::of_scenarios())] {
        let path = folder.join(format!("{file}.schema.json"));
        let held = std::fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        assert!(held.as_ref() == Some(&schema), "{} is not current: run `just schemas`", path.display());
    }
}
