//! Every lint is registered, explained, tripped by one small flow and quiet on another.

mod cases;

use std::{collections::BTreeSet, fs, path::Path};

use self::cases::{CASES, Case};
use super::faults::SOUND;
use crate::{FAULTS_MAX, Fault, LINTS, LoadedFlow, Severity, lint, load_sources};

/// Lints that no single source of ordinary size trips; each has a test of its own below, but for `internal`,
/// which is for what nobody has thought of.
const OTHERS: [&str; 6] = ["file-too-large", "internal", "no-source", "too-large", "too-many-faults", "unreadable"];

/// A small change of a flow.
pub(super) enum Edit {
    /// Puts a line below another.
    Below(&'static str, &'static str),
    /// Replaces the first occurrence of a text.
    Swap(&'static str, &'static str),
}

fn edited(source: &str, edits: &[Edit]) -> String {
    edits.iter().fold(source.to_owned(), |source, edit| {
        let (from, to) = match edit {
            Edit::Below(line, more) => (format!("{line}\n"), format!("{line}\n{more}\n")),
            Edit::Swap(from, to) => ((*from).to_owned(), (*to).to_owned()),
        };
        assert!(source.contains(&from), "{from:?} is not in the flow:\n{source}");
        source.replacen(&from, &to, 1)
    })
}

impl Case {
    fn tripping(&self) -> String {
        edited(SOUND, self.trips)
    }

    fn mended(&self) -> String {
        if self.mend.is_empty() { SOUND.to_owned() } else { edited(&self.tripping(), self.mend) }
    }
}

fn load(source: &str) -> Result<LoadedFlow, Vec<Fault>> {
    load_sources("test", vec![("flow.yaml".to_owned(), source.to_owned())])
}

fn faults_of(source: &str) -> Vec<Fault> {
    load(source).map_or_else(|faults| faults, |loaded| loaded.warnings)
}

fn ids(faults: &[Fault]) -> Vec<&'static str> {
    let ids: BTreeSet<&str> = faults.iter().map(|fault| fault.id).collect();
    ids.into_iter().collect()
}

fn told(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}

/// CE-006: each lint finds what it is for.
#[test]
fn each_lint_is_tripped_by_one_small_flow_and_by_nothing_else_in_it() {
    for case in CASES {
        let faults = faults_of(&case.tripping());
        assert_eq!(ids(&faults), [case.id], "{}", told(&faults));
        let severity = lint::find(case.id).map(|lint| lint.severity);
        for fault in &faults {
            assert_eq!(Some(fault.severity), severity, "{fault}");
            assert!(fault.line > 0 && !fault.message.is_empty() && !fault.fix.is_empty(), "{fault}");
        }
        assert_eq!(load(&case.tripping()).is_ok(), severity == Some(Severity::Warning), "{}", case.id);
    }
}

#[test]
fn each_lint_is_quiet_once_the_flow_is_mended() {
    for case in CASES {
        let faults = faults_of(&case.mended());
        assert!(faults.is_empty(), "{} is not mended:\n{}", case.id, told(&faults));
    }
}

#[test]
fn every_lint_has_a_case() {
    let cases: Vec<&str> = CASES.iter().map(|case| case.id).chain(OTHERS).collect();
    for lint in LINTS {
        assert_eq!(cases.iter().filter(|id| **id == lint.id).count(), 1, "{}", lint.id);
    }
    assert_eq!(cases.len(), LINTS.len());
    assert!(LINTS.is_sorted_by_key(|lint| lint.id));
}

/// The YAML of a page, block by block.
fn excerpts(page: &str) -> Vec<Vec<&str>> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(|block| block.lines().map(str::trim).filter(|line| !line.is_empty()).collect()).collect()
}

#[test]
fn every_page_is_complete_and_its_excerpts_are_those_of_the_tested_flows() {
    for lint in LINTS {
        let title = format!("# {}\n", lint.id);
        assert!(lint.page.starts_with(&title), "{}", lint.id);
        assert!(lint.page.contains(&format!("Severity: {}.", lint.severity.name())), "{}", lint.id);
        for part in ["## What it means", "## Why it matters", "## The fix"] {
            assert!(lint.page.contains(part), "{} lacks {part:?}", lint.id);
        }
        assert!(lint.page.lines().count() <= 45, "{} is longer than a screen", lint.id);
        let Some(case) = CASES.iter().find(|case| case.id == lint.id) else { continue };
        let excerpts = excerpts(lint.page);
        let sources = [case.tripping(), case.mended()];
        assert!(!excerpts.is_empty(), "{} shows no flow", lint.id);
        for (excerpt, source) in excerpts.iter().zip(&sources) {
            let lines: Vec<&str> = source.lines().map(str::trim).collect();
            for line in excerpt {
                assert!(lines.contains(line), "{}: {line:?} is not in the flow:\n{source}", lint.id);
            }
        }
    }
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[test]
fn the_index_lists_every_page_and_every_page_is_a_lint() {
    let index = fs::read_to_string(root("docs/lint/README.md")).expect("there is an index");
    for lint in LINTS {
        let row = format!("| [{id}]({id}.md) | {} | {} |", lint.severity.name(), lint.summary, id = lint.id);
        assert!(index.contains(&row), "docs/lint/README.md lacks {row}");
    }
    assert_eq!(index.lines().filter(|line| line.starts_with("| [")).count(), LINTS.len());
    let pages = fs::read_dir(root("docs/lint")).expect("there are pages");
    for page in pages.filter_map(|page| page.ok()?.file_name().into_string().ok()) {
        let id = page.trim_end_matches(".md");
        assert!(id == "README" || lint::find(id).is_some(), "docs/lint/{page} explains nothing");
    }
}

/// Every source file of this crate, tests aside.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the sources are there").filter_map(Result::ok) {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && !["tests", "benches", "target"].iter().any(|skipped| name == *skipped) {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "lint.rs" {
            found.push(fs::read_to_string(&path).expect("it can be read"));
        }
    }
}

#[test]
fn what_is_reported_is_registered_and_what_is_registered_is_reported() {
    let mut texts = Vec::new();
    sources(Path::new(env!("CARGO_MANIFEST_DIR")), &mut texts);
    let call =
        regex::Regex::new(r#"(?:\.(?:error|warn|on_path|unknown)\(|\bid: |=> \(|\{\s*\()\s*"([a-z]+(?:-[a-z]+)*)""#);
    let call = call.expect("it is a pattern");
    let mut reported: BTreeSet<&str> = BTreeSet::new();
    for text in &texts {
        reported.extend(call.captures_iter(text).filter_map(|found| found.get(1)).map(|id| id.as_str()));
    }
    // The two places that choose between ids name them in pairs with something else.
    reported.retain(|id| !["enrichment", "description"].contains(id));
    let registered: BTreeSet<&str> = LINTS.iter().map(|lint| lint.id).collect();
    assert_eq!(reported, registered);
}

#[test]
fn paths_show_how_a_conversation_gets_there() {
    let path_of = |id: &str, source: &str| {
        let faults = faults_of(source);
        let fault = faults.into_iter().find(|fault| fault.id == id).expect("it is found");
        (fault.path.join(" -> "), fault.to_string())
    };
    let case = |id: &str| CASES.iter().find(|case| case.id == id).expect("it has a case").tripping();
    let (path, text) = path_of("rule-loop", &case("rule-loop"));
    assert_eq!(path, "home.idle -> order.done (rule there) -> home.idle (rule back)");
    assert!(text.contains(&format!("\n  path: {path}\n  fix: ")), "{text}");
    assert_eq!(path_of("dead-end", &case("dead-end")).0, "home.idle -> order.ask -> order.sure -> order.lost");
}

/// A flow of one intent, with states, transitions, rules and responses of its own.
fn flow(states: &str, rest: &str) -> String {
    format!(
        "format: colloquy.flow/v1\nname: test\nstart: a.one\nfallback: Sorry?\nflags: [seen]\nslots: {{size: {{type: \
         integer}}, price: {{type: decimal}}, day: {{type: date}}}}\nintents:\n  a:\n    initial: one\n    collect: \
         [size, price, day]\n    states: {{{states}}}\n{rest}\n"
    )
}

#[test]
fn a_loop_is_told_only_where_it_is_certain() {
    let states = "one: {}, two: {}, end: {terminal: true}";
    let moves = "transitions:\n  - {from: \"*\", to: a.one, by: rule}\n  - {from: \"*\", to: a.two, by: rule}\n  \
                 - {from: a.two, to: a.end, by: rule}\nresponses: [{in: any, exact: Hm.}]\nrules:\n";
    let ids_with = |rules: &[&str]| {
        let rules: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
        let faults = faults_of(&flow(states, &format!("{moves}{rules}")));
        faults.iter().filter(|fault| fault.severity == Severity::Error).map(|fault| fault.id).collect::<Vec<_>>()
    };
    let there = "{id: there, in: a.one, then: [{go: a.two}]}";
    assert_eq!(ids_with(&[there, "{id: back, in: a.two, then: [{go: a.one}]}"]), ["rule-loop"]);
    // The way back needs what may not hold, belongs to another phase, or comes after a rule that leads out.
    let asked = "{id: there, in: a.one, when: asked, then: [{go: a.two}]}";
    assert_eq!(ids_with(&[asked, "{id: back, in: a.two, when: moved, then: [{go: a.one}]}"]), ["rule-loop"; 0]);
    assert_eq!(ids_with(&[asked, "{id: back, in: a.two, when: recognised, then: [{go: a.one}]}"]), ["rule-loop"; 0]);
    let later = "{id: back, phase: after_action, in: a.two, then: [{go: a.one}]}";
    assert_eq!(ids_with(&[there, later]), ["rule-loop"; 0]);
    let out = "{id: out, in: a.two, priority: 1, then: [{go: a.end}]}";
    assert_eq!(ids_with(&[there, out, "{id: back, in: a.two, then: [{go: a.one}]}"]), ["rule-loop"; 0]);
    // The same condition holds all the way round, unless something on the way changes what it reads.
    let seen = "{id: there, in: a.one, when: flags.seen, then: [{go: a.two}]}";
    assert_eq!(ids_with(&[seen, "{id: back, in: a.two, when: flags.seen, then: [{go: a.one}]}"]), ["rule-loop"]);
    let lowers = "{id: back, in: a.two, when: flags.seen, then: [{go: a.one}, {unflag: seen}]}";
    assert_eq!(ids_with(&[seen, lowers]), ["rule-loop"; 0]);
}

#[test]
fn states_that_lead_on_can_loop_too() {
    let source = flow(
        "one: {until: {when: asked, go: a.two}}, two: {until: {when: asked, go: a.one}}",
        "transitions: [{from: \"*\", to: [a.one], by: rule}]\nresponses: [{in: any, exact: Hm.}]\n",
    )
    .replace(
        "{from: \"*\", to: [a.one], by: rule}",
        "{from: a.one, to: a.two, by: rule}, {from: a.two, to: a.one, by: rule}",
    );
    let faults = faults_of(&source);
    let found = faults.iter().find(|fault| fault.id == "rule-loop").expect("it is a loop");
    assert_eq!(found.path, ["a.one", "a.two (until)", "a.one (until)"]);
}

#[test]
fn conditions_are_checked_against_types() {
    let errors = |when: &str| {
        let source = flow(
            "one: {terminal: true}",
            &format!(
                "responses: [{{in: any, exact: Hm.}}]\nrules:\n  - {{id: it, in: any, when: \"{when}\", then: [{{flag: seen}}]}}\n"
            ),
        );
        load(&source).map_or_else(|faults| ids(&faults), |_| Vec::new())
    };
    for wrong in [
        "slots.size == 'three'",
        "slots.price > 5",
        "slots.price in [1, 2]",
        "slots.day == 'tomorrow'",
        "slots.size",
        "!slots.size",
        "act == 'afirm'",
        "act in ['affirm', 'deny']",
        "intent == 'b'",
        "state != 'three'",
        "ended == 'done'",
        "'colour' in filled",
        "'buy' in pending",
        "moved == 'yes'",
        "confidence > '50'",
        "slots.size.startsWith('1')",
        "size(slots.size) > 1",
        "flags.seen == 1",
        "asked && (moved ? 1 : 2) == 'a'",
    ] {
        assert!(errors(wrong).contains(&"condition-type"), "{wrong}: {:?}", errors(wrong));
    }
    for right in [
        "slots.size == 3",
        "slots.price > decimal('5') || slots.price == 0",
        "slots.day >= '2030-01-31'",
        "act in ['affirm', 'negate', ''] || 'affirm' == act",
        "intent == 'a' && state == 'one'",
        "'size' in filled && 'price' in missing",
        "size(text) > 3 && text.contains('x') && confidence >= 50",
        "string(slots.size) == '3'",
    ] {
        assert!(errors(right).is_empty(), "{right}: {:?}", errors(right));
    }
}

#[test]
fn a_slot_is_safe_where_every_way_in_needs_it() {
    let states = "one: {}, two: {}, end: {terminal: true}";
    let with = |more: &str| {
        let rest = format!(
            "transitions: [{{from: a.one, to: a.two, by: rule}}, {{from: a.two, to: a.end, by: rule}}]\nresponses: [{{in: \
             any, exact: Hm.}}]\nrules:\n  - {{id: on, in: a.one, when: slots.size > 3 && 'price' in filled, then: [{{go: a.two}}]}}\n  \
             - {{id: end, in: a.two, when: slots.price > decimal('2'), then: [{{go: a.end}}]}}\n{more}"
        );
        let faults = faults_of(&flow(states, &rest));
        faults.into_iter().filter(|fault| fault.id == "slot-unguarded").map(|fault| fault.message).collect::<Vec<_>>()
    };
    assert_eq!(with(""), ["slots.size is read without has(), and may be empty in a.one"]);
    let cleared = with("  - {id: clear, in: a.two, when: asked, then: [{clear: price}]}\n");
    assert_eq!(cleared.len(), 2, "{cleared:?}");
    let other = with("  - {id: other, in: a.one, when: asked, then: [{go: a.two}]}\n");
    assert_eq!(other.len(), 2, "{other:?}");
}

#[test]
fn bounds_are_told_as_faults() {
    let large = format!("name: {}", "x".repeat(crate::FILE_BYTES_MAX));
    assert_eq!(ids(&faults_of(&large)), ["file-too-large"]);
    assert_eq!(ids(&load_sources("test", Vec::new()).expect_err("there is nothing")), ["no-source"]);
    let missing = crate::load_folder(Path::new("no-such-folder")).expect_err("it is not there");
    assert_eq!(ids(&missing), ["unreadable"]);
    let rows: String = (0..=10_000).map(|row| format!("  - {{in: home.idle, exact: r{row}}}\n")).collect();
    let many = edited(SOUND, &[]).replace("responses:\n", &format!("responses:\n{rows}"));
    assert_eq!(ids(&faults_of(&many)), ["too-large"]);
    let places: String = (0..2500).map(|state| format!("      s{state}: {{}}\n")).collect();
    let moves: String = (0..2100).map(|_| "  - {from: \"*\", to: order.ask, by: intent}\n").collect();
    let dense = SOUND.replace("      sure: {}\n", &format!("      sure: {{}}\n{places}"));
    let dense = dense.replace("transitions:\n", &format!("transitions:\n{moves}"));
    assert_eq!(ids(&faults_of(&dense)), ["too-large"]);
}

#[test]
fn a_flow_that_is_wrong_everywhere_is_told_so_within_bounds() {
    let rows: String = (0..2000).map(|row| format!("  - {{in: home.nowhere{row}, exact: Hm.}}\n")).collect();
    let faults = faults_of(&SOUND.replace("responses:\n", &format!("responses:\n{rows}")));
    assert_eq!(faults.len(), FAULTS_MAX);
    assert_eq!(ids(&faults), ["too-many-faults", "unknown-state"]);
}
