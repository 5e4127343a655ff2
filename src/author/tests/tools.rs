//! Tools within a turn: chained by what they return, bounded, kept to their place, tried again, and what of
//! their answers counts.

use std::sync::Arc;

use colloquy_flow::Json;
use colloquy_turn::{
    CallOutcome, EffectKind, EffectResult, EffectValue, Failure, InputKind, Reason, Stage, StageResult, Step,
    TurnInput, TurnOutcome, start,
};
use colloquy_types::{RequestId, Timestamp, TurnId};

use super::machine::{Talk, event, flow};
use crate::scenario::{Answer, InjectedFault};

/// What tools answer in the turns to come.
fn tools(talk: &mut Talk, answers: &[(&str, Answer)]) {
    let script = answers.iter().map(|(name, answer)| ((*name).to_owned(), vec![answer.clone()])).collect();
    talk.world.follow(&script, &Vec::new());
}

fn json(source: &str) -> Answer {
    Answer::Value(Json::parse(source).expect("it is JSON"))
}

fn late() -> Answer {
    Answer::Fault(InjectedFault::Timeout)
}

/// How often each tool was called in the last turn.
fn calls(talk: &Talk) -> Vec<(&str, usize)> {
    talk.world.calls().iter().map(|(name, count)| (name.as_str(), *count)).collect()
}

fn degradations(outcome: &colloquy_turn::Outcome) -> Vec<(Reason, &str)> {
    outcome.record.degradations.iter().map(|trouble| (trouble.reason, trouble.name.as_ref())).collect()
}

/// A tool needs what the one before it returned; a chain ends where one returns nothing to go on with.
const CHAINED: &str = r#"
start: desk.open
limits: {action_calls: LIMIT}
slots:
  item: {type: string, extract: 'find (?P<value>\w+)'}
  sku: {type: string}
  stock: {type: integer}
  shelf: {type: string}
intents: {desk: {initial: open, collect: [item], keep: [sku, stock, shelf], states: {open: {}}}}
rules:
  - {id: look, in: desk.open, when: "has(slots.item) && !has(slots.sku)", then: [{stage: find}]}
  - {id: count, phase: after_action, in: desk.open, when: "has(slots.sku) && !has(slots.stock)", then: [{stage: count}]}
  - {id: place, phase: after_action, in: desk.open, when: "has(slots.stock) && slots.stock > 0", then: [{stage: place}]}
actions:
  find: {kind: tool, tool: a/find, read_only: true, timeout: 1s, slots: [item], arguments: {name: {slot: item}}, results: {sku: {path: sku}}}
  count: {kind: tool, tool: a/count, read_only: true, timeout: 1s, slots: [sku], arguments: {sku: {slot: sku}}, results: {stock: {path: n}}}
  place: {kind: tool, tool: a/place, read_only: true, timeout: 1s, slots: [sku], arguments: {sku: {slot: sku}}, results: {shelf: {path: shelf}}}
responses: [{in: any, when: has(slots.shelf), template: "on {{ slots.shelf }}"}, {in: any, exact: hm}]
"#;

fn chained(limit: &str) -> Talk {
    let mut talk = Talk::new(flow(&CHAINED.replace("LIMIT", limit)));
    let answers =
        [("find", json(r#"{"sku": "L-1"}"#)), ("count", json(r#"{"n": 2}"#)), ("place", json(r#"{"shelf": "B4"}"#))];
    tools(&mut talk, &answers);
    talk
}

/// CE-parity: read-only tools run in the turn that fills their slots, each with what the one before it found.
#[test]
fn read_only_tools_run_in_the_turn_that_fills_their_slots_one_after_the_other() {
    let mut talk = chained("8");
    let found = talk.say("find lamps");
    assert_eq!((found.record.reply.text.as_str(), found.record.outcome), ("on B4", TurnOutcome::Complete));
    assert_eq!(calls(&talk), [("count", 1), ("find", 1), ("place", 1)]);
    let targets: Vec<&str> = found.record.requests.iter().map(|request| request.name.as_ref()).collect();
    assert_eq!(targets, ["find", "count", "place"], "in the order in which they need each other");
}

/// CE-parity: a chain of tools stops where its condition does not hold.
#[test]
fn a_chain_of_tools_stops_where_one_finds_nothing_to_go_on_with() {
    let mut talk = chained("8");
    tools(&mut talk, &[("find", json(r#"{"sku": "L-1"}"#)), ("count", json(r#"{"n": 0}"#))]);
    assert_eq!(talk.reply("find lamps"), "hm");
    assert_eq!(calls(&talk), [("count", 1), ("find", 1)]);

    let mut talk = chained("8");
    tools(&mut talk, &[("find", late())]);
    let failed = talk.say("find lamps");
    assert_eq!(degradations(&failed), [(Reason::TimedOut, "find")]);
    assert_eq!(calls(&talk), [("find", 1)], "what needs its result is not called");
}

/// CE-parity: the tools of one turn are capped, and the turn says what it did without.
#[test]
fn a_chain_of_tools_ends_at_the_cap_and_the_turn_says_so() {
    let mut talk = chained("2");
    let capped = talk.say("find lamps");
    assert_eq!((capped.record.reply.text.as_str(), capped.record.outcome), ("hm", TurnOutcome::Degraded));
    assert_eq!(degradations(&capped), [(Reason::CallCap, "place")]);
    assert_eq!(calls(&talk), [("count", 1), ("find", 1)]);
    assert!(talk.state.slot("stock").is_some(), "what ran before the cap counts");
}

const ELSEWHERE: &str = r#"
start: desk.open
intents: {desk: {initial: open, states: {open: {}, back: {}}}}
transitions: [{from: desk.open, to: desk.back, by: rule}]
rules:
  - {id: early, phase: after_intent, in: desk.open, when: "text.contains('look')", then: [{stage: look}]}
  - {id: leave, in: desk.open, when: "text.contains('leave')", then: [{go: desk.back}]}
actions:
  look: {kind: tool, tool: a/look, read_only: true, timeout: 1s, in: desk.open}
responses: [{in: any, template: "{{ state }}"}]
"#;

/// CE-parity: a tool that a rule asks for does not run where the turn has left its place.
#[test]
fn a_tool_that_is_staged_does_not_run_where_it_has_no_place() {
    let mut talk = Talk::new(flow(ELSEWHERE));
    tools(&mut talk, &[("look", json("{}"))]);
    let refused = talk.say("look and leave");
    assert_eq!((refused.record.state.as_ref(), calls(&talk)), ("back", vec![]));
    assert_eq!(degradations(&refused), [(Reason::OutOfScope, "look")]);

    let mut talk = Talk::new(flow(ELSEWHERE));
    tools(&mut talk, &[("look", json("{}"))]);
    assert_eq!(talk.reply("look"), "open");
    assert_eq!(calls(&talk), [("look", 1)]);
}

const SIDE_BY_SIDE: &str = r#"
start: desk.open
intents: {desk: {initial: open, states: {open: {}}}}
rules:
  - {id: ask, in: desk.open, when: "text.startsWith('all')", then: [{stage: [price, stock, note]}]}
actions:
  price: {kind: tool, tool: a/price, read_only: true, timeout: 1s}
  stock: {kind: tool, tool: a/stock, timeout: 1s, idempotent: true, confirm: {required: false}}
  note: {kind: tool, tool: a/note, timeout: 1s, confirm: {required: false}}
responses: [{in: any, template: "{{ state }}"}]
"#;

/// CE-parity: `retry` repeats what failed, and nothing that did not.
#[test]
fn a_retry_runs_what_failed_and_may_run_twice_and_nothing_else() {
    let mut talk = Talk::new(flow(SIDE_BY_SIDE));
    tools(&mut talk, &[("price", late()), ("stock", json("{}")), ("note", late())]);
    talk.say("all");
    assert_eq!(talk.state.failed(), ["note".into(), "price".into()]);
    tools(&mut talk, &[("price", json("{}")), ("stock", json("{}")), ("note", json("{}"))]);
    let again = talk.say("try again");
    assert_eq!(calls(&talk), [("price", 1)], "what may act twice is not run again on a hint");
    let told = event(&again, Stage::Pending);
    assert_eq!((told.result, told.reason), (StageResult::Matched, Reason::Retried));
    assert_eq!(told.detail, colloquy_turn::Detail::Name("price".into()), "only what runs again is told");
    assert_eq!(talk.state.failed(), ["note".into()]);
    let more = talk.say("try again");
    assert_eq!((calls(&talk), event(&more, Stage::Pending).result), (vec![], StageResult::Skipped));
}

const WAITING: &str = r#"
start: desk.open
intents: {desk: {initial: open, states: {open: {}, late: {}}}}
transitions: [{from: desk.open, to: desk.late, by: pending}]
rules:
  - {id: ask, in: desk.open, when: "text == 'pay'", then: [{stage: pay}]}
actions:
  pay: {kind: tool, tool: a/pay, timeout: 1s, confirm: {expires_turns: 9, expires_after: 10m}, on_expired: desk.late}
responses: [{in: any, when: "ended != ''", template: "{{ state }} ended"}, {in: any, template: "{{ state }}"}]
"#;

/// CE-parity: a confirmation that failed waits again for its whole time, and for no longer.
#[test]
fn what_failed_is_not_tried_again_once_its_confirmation_lapsed() {
    for (minutes, called) in [(10, 1), (11, 0)] {
        let mut talk = Talk::new(flow(WAITING));
        talk.say("pay");
        talk.world.now = talk.world.now.plus(std::time::Duration::from_secs(9 * 60));
        tools(&mut talk, &[("pay", late())]);
        talk.say("yes");
        tools(&mut talk, &[("pay", json("{}"))]);
        // The turn that failed took a second of this time.
        talk.world.now = talk.world.now.plus(std::time::Duration::from_secs(minutes * 60 - 1));
        let again = talk.say("try again");
        assert_eq!(calls(&talk).len(), called, "after {minutes} minutes");
        let state = if called == 1 { "open" } else { "late" };
        assert_eq!(again.record.state.as_ref(), state);
        assert!(talk.state.pending().is_empty());
    }
}

/// CE-parity: an answer that comes after it was given up is dropped.
#[test]
fn a_late_answer_does_not_take_the_place_of_what_was_decided() {
    let flow = flow(&CHAINED.replace("LIMIT", "8"));
    let input = TurnInput {
        input: InputKind::Text,
        turn_id: TurnId([7; 16]),
        request_id: RequestId::parse("r-1").expect("it is visible ASCII"),
        request_digest: [1; 16],
        text: "find lamps".to_owned(),
        accepted_at: Timestamp::from_micros(5),
    };
    let state = colloquy_turn::open_conversation(&flow);
    let Step::Perform(machine, asked) = start(Arc::clone(&flow), state, input, Timestamp::from_micros(6)) else {
        panic!("the tool is asked")
    };
    let result = |step: u16, value: &str| {
        EffectResult::at_once(step, EffectValue::Act(CallOutcome::Done(Json::parse(value).expect("it is JSON"))))
    };
    let first = asked[0].step;
    let Step::Perform(machine, asked) = machine.resume(vec![result(first, r#"{"sku": "L-1"}"#)]) else {
        panic!("the next tool is asked")
    };
    let second = asked[0].step;
    assert!(matches!(&asked[0].kind, EffectKind::Act(call) if call.name.as_ref() == "count"));
    let gone = EffectResult::at_once(second, EffectValue::Act(CallOutcome::Failed(Failure::TimedOut)));
    let step = machine.resume(vec![result(first, r#"{"sku": "L-2"}"#), gone, result(second, r#"{"n": 2}"#)]);
    let Step::Done(outcome) = step else { panic!("the chain ended") };
    assert_eq!(outcome.state.slot("sku").map(ToString::to_string).as_deref(), Some("L-1"));
    assert!(outcome.state.slot("stock").is_none(), "it was given up before it answered");
    assert_eq!(outcome.record.effects.len(), 2);
}
