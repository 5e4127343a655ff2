//! What a deterministic turn costs. Prints, asserts nothing about the machine it runs on; the figures mean
//! something with `--release` only: `cargo test -p colloquy-author --release timing -- --nocapture`.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use colloquy_flow::{Flow, RulePhase};
use colloquy_turn::open_conversation;

use super::examples::example;
use crate::{load_sources, scenario::ScriptedWorld};

#[test]
fn timing_of_an_order_desk_conversation() {
    let flow = example("order-desk").flow;
    let turns = ["hello", "cancel my order", "it is A-1001", "hm", "where is order B-2005", "yes please"];
    let rounds = if cfg!(debug_assertions) { 20 } else { 5_000 };
    let mut spent = [Duration::ZERO; 6];
    let mut bytes = 0;
    for _ in 0..rounds {
        let mut world = ScriptedWorld::default();
        let mut state = open_conversation(&flow);
        for (text, spent) in turns.iter().zip(&mut spent) {
            let begun = Instant::now();
            let outcome = world.turn(&flow, state, text);
            *spent += begun.elapsed();
            bytes += outcome.record.encode().expect("it can be encoded").len();
            state = outcome.state;
        }
        assert_eq!(state.state(), "done");
    }
    for (text, spent) in turns.iter().zip(spent) {
        println!("{:>8.2} µs  {text}", spent.as_secs_f64() * 1e6 / f64::from(rounds));
    }
    println!("{:>8} bytes per encoded turn record", bytes / (turns.len() * rounds as usize));
}

/// A flow of a desk and of so many other intents, each with a rule, a response and a way to the next one only.
fn among(others: usize) -> Arc<Flow> {
    let mut source = String::from(
        r#"
format: colloquy.flow/v1
name: desk
start: desk.open
fallback: Sorry?
slots: {number: {type: integer}}
rules:
  - {id: number, in: desk.open, when: has(slots.number), then: [{go: desk.over}]}
transitions:
  - {from: desk.open, to: desk.over, by: rule}
  - {from: desk.over, to: desk.open, by: intent}
  - {from: desk.over, to: other0.at, by: intent}
responses:
  - {in: desk.open, exact: Which number?}
  - {in: desk.over, template: "It is {{ slots.number }}."}
intents:
  desk: {initial: open, classify: {keywords: [[desk]]}, collect: [number], states: {open: {}, over: {terminal: true}}}
"#,
    );
    let mut responses = String::new();
    let mut rules = String::new();
    let mut transitions = String::new();
    for other in 0..others {
        let next = (other + 1) % others;
        let _ = writeln!(
            source,
            "  other{other}: {{initial: at, classify: {{keywords: [[word{other}]]}}, collect: [number], states: {{at: {{}}, over: {{terminal: true}}}}}}"
        );
        let _ = writeln!(
            rules,
            "  - {{id: rule{other}, in: other{other}.at, when: has(slots.number), then: [{{go: other{other}.over}}]}}"
        );
        let _ = writeln!(
            transitions,
            "  - {{from: other{other}.at, to: other{other}.over, by: rule}}\n  - {{from: other{other}.over, to: other{next}.at, by: intent}}"
        );
        let _ = writeln!(responses, "  - {{in: other{other}.*, exact: Other {other}.}}");
    }
    let rows = format!("rules:\n{rules}transitions:\n{transitions}responses:\n{responses}");
    let sources = vec![("desk.yaml".to_owned(), source), ("others.yaml".to_owned(), rows)];
    load_sources("desk", sources).unwrap_or_else(|faults| panic!("{faults:#?}")).flow
}

/// CE-010: a turn neither considers nor walks over the rows of other places. Walking over them would cost a hundred
/// times as much; what is left to chance is far less than the bound. The exact cost is for a benchmark to tell.
#[test]
fn a_turn_costs_the_same_among_a_hundred_times_as_many_rows() {
    let few = Desk::among(20);
    assert_eq!(few.candidates, [(1, 1), (0, 1)]);
    assert_eq!(few.replies, ["Which number?", "It is 7.", "Which number?", "It is 8."]);
    for others in [200, 2_000] {
        let desk = Desk::among(others);
        assert_eq!((&desk.candidates, &desk.replies), (&few.candidates, &few.replies), "among {others}");
        assert!(desk.shortest < few.shortest * 4, "{:?}, and {:?} among {others}", few.shortest, desk.shortest);
    }
}

/// What a conversation at the desk looks at, says and takes.
struct Desk {
    /// Rules and responses of its two states.
    candidates: Vec<(usize, usize)>,
    replies: Vec<String>,
    shortest: Duration,
}

impl Desk {
    fn among(others: usize) -> Self {
        let flow = among(others);
        let states = ["open", "over"].map(|state| flow.find_state("desk", state).expect("the desk is there"));
        let rules = |at| flow.rules_in(at, RulePhase::AfterExtraction).count();
        let candidates = states.map(|at| (rules(at), flow.responses_in(at).count())).to_vec();
        let mut shortest = Duration::MAX;
        let mut replies = Vec::new();
        for _ in 0..100 {
            let (mut world, mut state) = (ScriptedWorld::default(), open_conversation(&flow));
            replies.clear();
            let begun = Instant::now();
            for text in ["hello", "it is 7", "the desk again", "8"] {
                let outcome = world.turn(&flow, state, text);
                replies.push(outcome.record.reply.text);
                state = outcome.state;
            }
            shortest = shortest.min(begun.elapsed());
        }
        println!("{:>8.2} µs  a turn among {others} other intents", shortest.as_secs_f64() * 1e6 / 4.0);
        Self { candidates, replies, shortest }
    }
}
