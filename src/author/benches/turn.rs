//! What a turn costs in the pure machine, in instructions: they do not depend on what else the machine does.
//!
//! `cargo bench -p colloquy-author --bench turn` runs itself under `valgrind --tool=callgrind`, once with few and
//! once with many turns, and prints what one more turn costs. Bounds that are promised make it end with code 1.

#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on stops")]

use std::{
    env,
    fmt::Write as _,
    hint::black_box,
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use colloquy_author::{load_scenarios, load_sources, scenario::ScriptedWorld};
use colloquy_flow::Flow;
use colloquy_turn::open_conversation;

const ORDER_DESK: [(&str, &str); 3] = [
    ("flow.yaml", include_str!("../../server/flows/order-desk/flow.yaml")),
    ("refunds.yaml", include_str!("../../server/flows/order-desk/refunds.yaml")),
    ("responses.yaml", include_str!("../../server/flows/order-desk/responses.yaml")),
];
/// What the order desk's turn may cost.
const ORDER_DESK_MAX: u64 = 60_000;
/// How much more a turn may cost with a thousand times the rows, in percent.
const GROWTH_MAX: f64 = 5.0;
const FEW: u32 = 300;
const MANY: u32 = 2_300;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["play", case, turns] => {
            play(case, turns.parse().expect("a number of turns"));
            ExitCode::SUCCESS
        }
        [] => report(),
        _ => {
            eprintln!("usage: turn [play <case> <turns>]");
            ExitCode::from(2)
        }
    }
}

fn report() -> ExitCode {
    let mut kept = true;
    println!("{:<28}{:>16}", "case", "instructions");
    let measured = |case: &str| {
        let cost = instructions(case)?;
        println!("{case:<28}{cost:>16}");
        Some(cost)
    };
    let Some(desk) = measured("order-desk") else {
        eprintln!("valgrind is needed: its package is called valgrind");
        return ExitCode::from(2);
    };
    kept &= within("a turn of the order desk", desk <= ORDER_DESK_MAX, &format!("at most {ORDER_DESK_MAX}"));
    let sizes: Vec<u64> = ["rows-10", "rows-1000", "rows-10000"].into_iter().filter_map(measured).collect();
    if let [small, .., large] = sizes.as_slice() {
        let growth = percent_more(*small, *large);
        kept &=
            within("10,000 rows", growth.abs() < GROWTH_MAX, &format!("{growth:.2} % more, at most {GROWTH_MAX} %"));
    }
    println!("classification apart, by the number of patterns that may apply:");
    for case in ["patterns-20", "patterns-200", "patterns-2000", "examples-20", "examples-200", "examples-2000"] {
        measured(case);
    }
    for rows in [1_000, 10_000] {
        let source = rows_flow(rows);
        let begun = Instant::now();
        let flow = load(&source);
        let took = begun.elapsed();
        println!("compiling {rows} rows ({} KiB): {took:?}", source.len() / 1024);
        black_box(flow);
        kept &= within("compiling", took < Duration::from_secs(1), "under a second");
    }
    scenarios(&mut kept);
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn within(what: &str, holds: bool, bound: &str) -> bool {
    println!("  {what}: {bound}: {}", if holds { "kept" } else { "NOT KEPT" });
    holds
}

#[expect(clippy::cast_precision_loss, reason = "a percentage is shown")]
fn percent_more(small: u64, large: u64) -> f64 {
    (large as f64 / small as f64 - 1.0) * 100.0
}

/// A thousand scenarios, on one thread.
fn scenarios(kept: &mut bool) {
    let flow = order_desk();
    let text = include_str!("../../server/flows/order-desk/scenarios.yaml");
    let all = load_scenarios("scenarios.yaml", text).expect("the scenarios can be read");
    let begun = Instant::now();
    let mut played = 0;
    while played < 1_000 {
        for scenario in all.iter().take(1_000 - played) {
            colloquy_author::scenario::play(&flow, scenario).expect("the scenario passes");
            played += 1;
        }
    }
    let took = begun.elapsed();
    println!("1,000 scenarios on one thread: {took:?}");
    *kept &= within("scenarios", took < Duration::from_secs(2), "under two seconds");
}

/// What one more turn of a case costs.
fn instructions(case: &str) -> Option<u64> {
    let (few, many) = (collected(case, FEW)?, collected(case, MANY)?);
    Some((many - few) / u64::from(MANY - FEW))
}

fn collected(case: &str, turns: u32) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .args(["play", case, &turns.to_string()])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok())
}

fn play(case: &str, turns: u32) {
    let (kind, size) = case.rsplit_once('-').expect("a case has two parts");
    let (flow, texts): (Arc<Flow>, &[&str]) = match kind {
        "order" => {
            (order_desk(), &["hello", "cancel my order", "it is A-1001", "hm", "where is order B-2005", "yes please"])
        }
        "rows" => (load(&rows_flow(size.parse().expect("a number"))), &["go on with it", "base 7 please", "what now"]),
        "patterns" => (load(&choices(size.parse().expect("a number"), false)), &["so about topic 13 then"]),
        _ => (load(&choices(size.parse().expect("a number"), true)), &["tell me about topic thirteen in full"]),
    };
    let mut world = ScriptedWorld::default();
    let mut state = open_conversation(&flow);
    for text in texts.iter().cycle().take(turns as usize) {
        state = black_box(world.turn(&flow, state, text)).state;
    }
}

fn order_desk() -> Arc<Flow> {
    let files = ORDER_DESK.map(|(name, text)| (name.to_owned(), text.to_owned()));
    load_sources("order-desk", files.to_vec()).expect("the order desk loads").flow
}

fn load(source: &str) -> Arc<Flow> {
    match load_sources("bench", vec![("bench.yaml".to_owned(), source.to_owned())]) {
        Ok(loaded) => loaded.flow,
        Err(faults) => panic!("{}", faults.first().map(ToString::to_string).unwrap_or_default()),
    }
}

/// A flow in which every position has 20 candidate intents, two rules and two replies of its own, and as many
/// rows elsewhere as are wanted.
fn rows_flow(rows: usize) -> String {
    let mut source = String::from(
        "format: colloquy.flow/v1\nname: bench\nstart: base0.here\nfallback: Sorry?\nflags: [seen]\nintents:\n",
    );
    for number in 0..20 {
        writeln!(
            source,
            "  base{number}: {{initial: here, classify: {{patterns: ['\\bbase {number}\\b'], keywords: [[word{number}, base]]}}, states: {{here: {{terminal: true}}}}}}"
        )
        .expect("a string takes it");
    }
    // A topic elsewhere is six rows: two states, a transition, a rule and two replies.
    let topics = rows / 6;
    for number in 0..topics {
        writeln!(source, "  topic{number}: {{initial: one, states: {{one: {{}}, two: {{terminal: true}}}}}}")
            .expect("a string takes it");
    }
    source.push_str("transitions:\n");
    for number in 0..20 {
        writeln!(source, "  - {{from: any, to: base{number}.here, by: intent}}").expect("a string takes it");
    }
    for number in 0..topics {
        writeln!(source, "  - {{from: topic{number}.one, to: topic{number}.two, by: rule}}")
            .expect("a string takes it");
    }
    // Topics are reached from the end of the first, so that nothing is unreachable, and nothing applies there.
    if topics > 0 {
        source.push_str("  - {from: base19.here, to: topic0.one, by: rule}\n");
    }
    for number in 1..topics {
        writeln!(source, "  - {{from: topic{}.two, to: topic{number}.one, by: rule}}", number - 1)
            .expect("a string takes it");
    }
    source.push_str("rules:\n");
    for number in 0..20 {
        writeln!(source, "  - {{id: seen{number}, in: base{number}.here, when: \"recognised && !flags.seen\", then: [{{flag: seen}}]}}\n  - {{id: unseen{number}, in: base{number}.here, when: \"flags.seen && text == 'what now'\", then: [{{unflag: seen}}]}}").expect("a string takes it");
    }
    for number in 0..topics {
        writeln!(source, "  - {{id: t{number}, in: topic{number}.one, when: \"text == 'x{number}'\", then: [{{go: topic{number}.two}}]}}").expect("a string takes it");
    }
    source.push_str("responses:\n");
    for number in 0..20 {
        writeln!(source, "  - {{in: base{number}.here, when: moved, template: \"Now {{{{ intent }}}}.\"}}\n  - {{in: base{number}.here, exact: Still here.}}").expect("a string takes it");
    }
    for number in 0..topics {
        writeln!(
            source,
            "  - {{in: topic{number}.one, exact: One {number}.}}\n  - {{in: topic{number}.two, exact: Two {number}.}}"
        )
        .expect("a string takes it");
    }
    source
}

/// A flow whose only position has this many candidate intents, recognised by patterns or by examples.
fn choices(count: usize, examples: bool) -> String {
    let mut source = String::from(
        "format: colloquy.flow/v1\nname: bench\nstart: home.here\nfallback: Sorry?\nintents:\n  home: {initial: here, states: {here: {terminal: true}}}\n",
    );
    for number in 0..count {
        let signal = if examples {
            format!("examples: [tell me about topic number{number} in detail, what is number{number} about]")
        } else {
            format!("patterns: ['\\babout topic {number}\\b', '\\bnumber {number} please\\b']")
        };
        writeln!(source, "  t{number}: {{initial: here, digression: true, classify: {{{signal}}}, states: {{here: {{terminal: true}}}}}}")
            .expect("a string takes it");
    }
    source.push_str("transitions:\n  - {from: any, to: home.here, by: intent}\n");
    for number in 0..count {
        writeln!(source, "  - {{from: any, to: t{number}.here, by: [intent, digression]}}").expect("a string takes it");
    }
    source.push_str("responses:\n  - {in: any, exact: Here.}\n");
    source
}
