//! The page on writing flows: it describes every key and word there is, and its examples are read.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use colloquy_flow::{Act, Limits, Purpose, RulePhase, condition, prompt::PROMPT_VARIABLES, schema, transition::By};
use regex::Regex;

use crate::{Fault, load_scenarios, load_sources};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(format!("docs/{name}.md"))).expect("the page is there")
}

/// The words the page has in code: all between backticks, and the keys of its examples.
fn described(page: &str) -> BTreeSet<String> {
    let word = Regex::new(r"[$A-Za-z_]+").expect("it is a pattern");
    let key = Regex::new(r"([a-z_]+):").expect("it is a pattern");
    let mut described = BTreeSet::new();
    for (place, part) in page.split("```").enumerate() {
        if place % 2 == 1 {
            described.extend(key.captures_iter(part).map(|found| found[1].to_owned()));
        } else {
            let spans = part.split('`').skip(1).step_by(2);
            described.extend(spans.flat_map(|span| word.find_iter(span)).map(|found| found.as_str().to_owned()));
        }
    }
    described
}

/// The source files in a folder, and in those under it.
fn sources_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the reader has its sources");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths.flat_map(|path| if path.is_dir() { sources_in(&path) } else { vec![path] }).collect()
}

/// The keys that a module of the reader names where it takes maps.
fn keys(module: &str) -> BTreeSet<String> {
    let mut sources = sources_in(&root().join("src/author").join(module));
    sources.push(root().join("src/author").join(format!("{module}.rs")));
    let lists = Regex::new(r"(?s)(?:KEYS: \[&str; \d+\] =|let known =|Fields::of\([^;\]]*?&)\s*\[([^\]]*)\]");
    let lists = lists.expect("it is a pattern");
    let word = Regex::new(r#""([a-z_]+)""#).expect("it is a pattern");
    let mut keys = BTreeSet::new();
    for source in sources {
        let text = std::fs::read_to_string(source).expect("the source can be read");
        for list in lists.captures_iter(&text) {
            keys.extend(word.captures_iter(&list[1]).map(|found| found[1].to_owned()));
        }
    }
    keys
}

#[test]
fn the_page_describes_every_key_the_reader_knows() {
    let keys = keys("read");
    assert!(keys.len() > 100, "only {} keys were found in the sources of the reader", keys.len());
    let described = described(&page("flows"));
    let missing: Vec<_> = keys.difference(&described).collect();
    assert!(missing.is_empty(), "docs/flows.md does not describe {missing:?}");
}

#[test]
fn the_pages_describe_every_key_of_scenarios() {
    let keys = keys("scenario");
    assert!(keys.len() > 20, "only {} keys were found in the sources of scenarios", keys.len());
    let described: BTreeSet<_> = ["flows", "testing"].iter().flat_map(|name| described(&page(name))).collect();
    let missing: Vec<_> = keys.difference(&described).collect();
    assert!(missing.is_empty(), "neither docs/flows.md nor docs/testing.md describes {missing:?}");
}

#[test]
fn the_page_names_every_word_flows_may_use() {
    let described = described(&page("flows"));
    let words = RulePhase::ALL.map(RulePhase::name).into_iter();
    let words =
        words.chain(Act::ALL.map(Act::name)).chain(By::ALL.map(By::name)).chain(Purpose::ALL.map(Purpose::name));
    let words = words.chain(condition::VARIABLES).chain(condition::FUNCTIONS).chain(PROMPT_VARIABLES);
    let missing: Vec<_> = words.chain(schema::KEYWORDS).filter(|word| !described.contains(*word)).collect();
    assert!(missing.is_empty(), "docs/flows.md does not name {missing:?}");
}

#[test]
fn the_page_tells_the_limits_there_are() {
    let page = page("flows");
    let limits = Limits::default();
    for (key, default) in [
        ("rule_passes", limits.rule_passes.to_string()),
        ("digression_depth", limits.digression_depth.to_string()),
        ("pending_actions", limits.pending_actions.to_string()),
        ("action_calls", limits.action_calls.to_string()),
        ("text_chars", limits.text_chars.to_string()),
        ("turn_deadline", format!("{}s", limits.turn_deadline.as_secs())),
    ] {
        assert!(page.contains(&format!("| `{key}` | {default} |")), "the page does not tell the default of {key}");
    }
}

/// Whether an example is misread. It may leave out and refer to what stands elsewhere.
fn is_misread(fault: &Fault) -> bool {
    let shape = ["yaml", "wrong-type", "unknown-key", "out-of-range", "duplicate-name", "unlisted-variable"];
    fault.id.starts_with("bad-") || shape.contains(&fault.id)
}

#[test]
fn the_examples_of_the_page_are_read() {
    let page = page("flows");
    let blocks = Regex::new(r"(?s)```yaml\n(.*?)```").expect("it is a pattern");
    let mut count = 0;
    for block in blocks.captures_iter(&page).map(|found| found[1].to_owned()) {
        count += 1;
        if block.starts_with("scenarios:") {
            load_scenarios("page", &block).unwrap_or_else(|faults| panic!("{faults:#?}\n{block}"));
            continue;
        }
        let Err(faults) = load_sources("page", vec![("page.yaml".to_owned(), block.clone())]) else { continue };
        let wrong: Vec<_> = faults.iter().filter(|fault| is_misread(fault)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{block}");
    }
    assert!(count >= 12, "the page has only {count} examples");
}
