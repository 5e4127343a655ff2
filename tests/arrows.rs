//! The arrows of the architecture, read from what cargo resolved.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Node, PackageId};

/// Which crates of the workspace each may name. `colloquy-telemetry` is a leaf that those above may know.
const ARROWS: [(&str, &[&str]); 15] = [
    ("types", &[]),
    ("flow", &["types"]),
    ("turn", &["flow", "types"]),
    ("author", &["turn", "flow", "types"]),
    ("store", &["types"]),
    ("model", &["flow", "types"]),
    ("enrich", &["flow", "types"]),
    ("telemetry", &[]),
    ("proto", &[]),
    ("client", &["proto"]),
    ("actors", &["turn", "store", "model", "enrich", "flow", "types", "telemetry"]),
    ("gateway", &["actors", "turn", "types", "proto", "telemetry"]),
    ("console", &["telemetry"]),
    (
        "colloquy",
        &["gateway", "console", "author", "client", "actors", "store", "model", "enrich", "flow", "types", "telemetry"],
    ),
    ("loadtest", &["colloquy", "client", "store", "types", "actors", "author"]),
];

/// What the crates that decide must never reach: runtimes, clocks, stores, networks, telemetry, randomness.
const IMPURE: &[&str] = &[
    "tokio",
    "ractor",
    "sled",
    "reqwest",
    "tonic",
    "hyper",
    "h2",
    "axum",
    "tracing",
    "opentelemetry",
    "prometheus-client",
    "log",
    "rand",
    "getrandom",
    "chrono",
    "time",
    "mio",
    "socket2",
    "rustix",
    "async-std",
    "futures-timer",
    "crossbeam-channel",
];

fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let options = ["--locked".to_owned()];
    MetadataCommand::new().manifest_path(manifest).other_options(options).exec().expect("cargo metadata")
}

fn short(name: &str) -> &str {
    name.strip_prefix("colloquy-").unwrap_or(name)
}

fn normal(node: &Node) -> impl Iterator<Item = &PackageId> {
    node.deps
        .iter()
        .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal))
        .map(|dep| &dep.pkg)
}

#[test]
fn crates_depend_inwards_only() {
    let metadata = metadata();
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let members: BTreeSet<_> = metadata.workspace_members.iter().collect();
    let nodes = &metadata.resolve.as_ref().expect("resolved").nodes;
    let mut seen = 0;
    for node in nodes.iter().filter(|node| members.contains(&node.id)) {
        let from = short(&metadata[&node.id].name).to_owned();
        let Some(allowed) = allowed.get(from.as_str()) else { panic!("{from} has no arrows: add it to the table") };
        for to in normal(node).filter(|to| members.contains(to)) {
            let to = short(&metadata[to].name).to_owned();
            assert!(allowed.contains(&to.as_str()), "{from} may not depend on {to}");
        }
        seen += 1;
    }
    assert_eq!(seen, ARROWS.len(), "every crate of the table exists");
}

/// The optional half of `colloquy-types`: the machine's own clock and randomness.
const SYSTEM_FEATURE: &str = "system";

/// Whether `to` is an optional dependency of `colloquy-types`. The resolved graph has them, since cargo unites
/// the features of all members; who may not reach them must not turn them on, which is asserted beside.
fn is_system_half(metadata: &Metadata, from: &PackageId, to: &PackageId) -> bool {
    let from = &metadata[from];
    let optional = || from.dependencies.iter().any(|dep| dep.optional && dep.name == metadata[to].name.as_str());
    from.name.as_str() == "colloquy-types" && optional()
}

#[test]
fn flow_and_turn_reach_no_runtime_clock_store_network_or_telemetry() {
    let metadata = metadata();
    let nodes = &metadata.resolve.as_ref().expect("resolved").nodes;
    let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    for pure in ["colloquy-flow", "colloquy-turn"] {
        let root = metadata.packages.iter().find(|package| package.name.as_str() == pure).expect("it exists");
        let (mut reached, mut next) = (BTreeSet::new(), vec![&root.id]);
        while let Some(id) = next.pop() {
            if reached.insert(id) {
                let dependencies = nodes.get(id).into_iter().flat_map(|node| normal(node));
                next.extend(dependencies.filter(|to| !is_system_half(&metadata, id, to)));
            }
        }
        let names: BTreeSet<_> = reached.iter().map(|id| metadata[id].name.as_str()).collect();
        assert!(names.len() > 5, "the graph was read");
        let impure: Vec<_> = IMPURE.iter().filter(|name| names.contains(*name)).collect();
        assert!(impure.is_empty(), "{pure} reaches {impure:?}");
    }
}

#[test]
fn flow_and_turn_leave_the_system_clock_and_randomness_off() {
    let metadata = metadata();
    let package =
        |name: &str| metadata.packages.iter().find(|package| package.name.as_str() == name).expect("it exists");
    let default = package("colloquy-types").features.get("default").cloned().unwrap_or_default();
    for pure in ["colloquy-flow", "colloquy-turn"] {
        let dependencies = package(pure).dependencies.iter();
        let types = dependencies.filter(|dep| dep.kind == DependencyKind::Normal && dep.name == "colloquy-types");
        for dependency in types {
            let by_default =
                dependency.uses_default_features && default.iter().any(|feature| feature == SYSTEM_FEATURE);
            let asked_for = dependency.features.iter().any(|feature| feature == SYSTEM_FEATURE);
            assert!(!by_default && !asked_for, "{pure} turns on the feature `{SYSTEM_FEATURE}` of colloquy-types");
        }
    }
}
