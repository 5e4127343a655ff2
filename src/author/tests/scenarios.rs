//! Every promise a scenario can make, kept and broken.

use colloquy_turn::{Reason, Stage, StageResult};

use crate::{
    Fault, Mismatch, Scenario, load_scenarios, load_sources,
    scenario::{SCENARIO_KEYS, TURN_KEYS, play},
};

/// A shop with a confirmed action, a flag, a prompt and something to say next.
pub(super) const SHOP: &str = r#"
format: colloquy.flow/v1
name: shop
start: home.idle
fallback: Sorry?
flags: [warned]
slots: {number: {type: string, extract: '\b(?P<value>\d{4})\b'}}
intents:
  home: {initial: idle, classify: {keywords: [[home]]}, states: {idle: {terminal: true}}}
  buy:
    initial: sure
    classify: {keywords: [[buy]]}
    collect: [number]
    states: {sure: {}, done: {terminal: true}}
transitions:
  - {from: "*", to: home.idle, by: intent}
  - {from: "*", to: buy.sure, by: intent}
  - {from: buy.sure, to: buy.done, by: [action, pending]}
rules:
  - {id: warn, in: buy.sure, when: "has(slots.number) && !flags.warned", then: [{stage: order}, {flag: warned}]}
actions:
  order:
    kind: local
    slots: [number]
    confirm: {expires_turns: 2}
    on_executed: buy.done
    on_rejected: buy.done
    on_expired: buy.done
prompts:
  answer: {purpose: respond, system: Be brief., user: "They said {{ text }}", variables: [text], timeout: 1s}
responses:
  - {in: home.idle, when: "text.contains('ask')", model: {prompt: answer, max_chars: 200, failed: Later.}}
  - {in: home.idle, exact: Hello., follow_ups: [buy one, ask away]}
  - {in: buy.sure, exact: Sure?}
  - {in: buy.done, exact: Done.}
"#;

pub(super) fn shop() -> crate::LoadedFlow {
    load_sources("shop", vec![("shop.yaml".to_owned(), SHOP.to_owned())]).expect("the shop is sound")
}

fn scenario(turns: &str) -> Scenario {
    let source = format!("scenarios: [{{name: it, turns: [{turns}]}}]");
    load_scenarios("scenarios.yaml", &source).expect("it can be read").remove(0)
}

/// What differs when a conversation is played.
fn differs(turns: &str) -> Option<Mismatch> {
    play(&shop().flow, &scenario(turns)).err().map(|failure| failure.mismatch)
}

#[track_caller]
fn kept(turn: &str, promise: &str) {
    assert_eq!(differs(&format!("{{{turn}, {promise}}}")), None, "{promise}");
}

#[track_caller]
fn broken(turn: &str, promise: &str, what: &str, expected: &str, got: &str) {
    let mismatch = Mismatch { what: what.to_owned(), expected: expected.to_owned(), got: got.to_owned() };
    assert_eq!(differs(&format!("{{{turn}, {promise}}}")), Some(mismatch), "{promise}");
}

const BUY: &str = "say: buy 1234, reply: Sure?";
const HELLO: &str = "say: hm, reply: Hello.";
const ASK: &str = "say: ask 77, reply: So be it., effects: {answer: So be it.}";
const LATE: &str = "say: ask, reply: Later., effects: {answer: {fault: timeout}}";

#[test]
fn flags_and_pending_actions_are_exactly_these() {
    kept(BUY, "flags: [warned], pending: [order]");
    kept(HELLO, "flags: [], pending: []");
    broken(BUY, "flags: []", "flags", "", "warned");
    broken(HELLO, "flags: [warned]", "flags", "warned", "");
    broken(BUY, "pending: []", "pending", "", "order");
    broken(BUY, "pending: [order, order]", "pending", "order, order", "order");
}

#[test]
fn follow_ups_are_these_in_order() {
    kept(HELLO, "follow_ups: [buy one, ask away]");
    kept(BUY, "follow_ups: []");
    broken(HELLO, "follow_ups: [ask away, buy one]", "follow_ups", "ask away, buy one", "buy one, ask away");
}

#[test]
fn degradations_are_exactly_these() {
    kept(LATE, "degradations: [home.idle]");
    kept(HELLO, "degradations: []");
    broken(LATE, "degradations: []", "degradations", "", "home.idle");
}

/// CE-008: scenarios promise what stages come to.
#[test]
fn stages_come_to_a_result_for_a_reason_about_something() {
    kept(BUY, "stages: {intent: matched, rules: {result: done, name: warn}}");
    kept(BUY, "stages: {intent: keywords}");
    kept(BUY, "stages: {intent: [{result: matched, reason: keywords, name: buy}]}");
    kept(LATE, "stages: {respond: timed_out}");
    kept(BUY, "stages: {transition: {result: moved, by: intent, name: buy}}");
    let moved = "transition moved intent buy proposed buy.sure from home.idle";
    broken(BUY, "stages: {transition: {by: rule}}", "stage transition", "transition rule", moved);
    broken(BUY, "not: {stages: [{transition: {by: intent}}]}", "stage transition", "no transition intent", moved);
    broken(BUY, "stages: {intent: no_match}", "stage intent", "intent no_match", "intent matched keywords buy");
    broken(
        BUY,
        "stages: {intent: {reason: keywords, name: home}}",
        "stage intent",
        "intent keywords home",
        "intent matched keywords buy",
    );
    broken(BUY, "stages: {transition_blocked: blocked}", "stage transition_blocked", "transition_blocked blocked", "");
}

/// CE-004, CE-008: scenarios promise what prompts hold and lack.
#[test]
fn prompts_hold_what_they_must_and_nothing_they_must_not() {
    kept(ASK, "prompt: {answer: {contains: [Be brief, They said ask 77], lacks: [1234]}}");
    let asked = "Be brief.\nThey said ask 77";
    broken(ASK, "prompt: {answer: {contains: [hello]}}", "prompt answer", "to contain hello", asked);
    broken(ASK, "prompt: {answer: {lacks: ['77']}}", "prompt answer", "to lack 77", asked);
    broken(HELLO, "prompt: {answer: {lacks: [x]}}", "prompt answer", "to be asked", "not asked in this turn");
}

/// A desk that counts with a tool, knows a rate from a source, and says what it waits for.
const DESK: &str = r#"
format: colloquy.flow/v1
name: desk
start: home.idle
fallback: Sorry?
slots: {number: {type: integer, extract: '\b(?P<value>\d+)\b'}}
intents: {home: {initial: idle, collect: [number], states: {idle: {}}}}
rules:
  - {id: count, in: home.idle, when: "'number' in filled", then: [{stage: count}]}
  - {id: again, phase: after_action, in: home.idle, when: "ended == 'executed' && text.contains('all')", then: [{stage: sum}]}
enrichments: {rate: {source: rates, in: home.idle, arguments: {currency: EUR}, timeout: 1s, default: 1}}
actions:
  count: {kind: tool, tool: a/count, read_only: true, timeout: 1s, slots: [number], arguments: {number: {slot: number}, of: [all]}}
  sum: {kind: tool, tool: a/sum, read_only: true, timeout: 1s, arguments: {limit: 1}}
progress: [{stage: enrich, text: Asking …}, {stage: act, text: Counting …}]
responses: [{in: home.idle, exact: Yes.}]
"#;

/// What differs when a turn is played at the desk.
fn differs_at_desk(say: &str, promise: &str) -> Option<(String, String, String)> {
    let desk = load_sources("desk", vec![("desk.yaml".to_owned(), DESK.to_owned())]).expect("the desk is sound");
    let answers = "effects: {rate: {value: 2}, count: {value: 3}, sum: {value: 4}}";
    let turn = scenario(&format!("{{say: {say}, reply: Yes., {answers}, {promise}}}"));
    let mismatch = play(&desk.flow, &turn).err().map(|failure| failure.mismatch);
    mismatch.map(|mismatch| (mismatch.what, mismatch.expected, mismatch.got))
}

#[test]
fn sources_and_tools_are_asked_with_exactly_these_arguments() {
    let broken = |say: &str, promise: &str, expected: &str, got: &str| {
        let (what, told, came) = differs_at_desk(say, promise).expect(promise);
        assert_eq!((told.as_str(), came.as_str()), (expected, got), "{promise}");
        assert!(promise.contains(what.trim_start_matches("arguments of ")), "{what}");
    };
    let whole = "arguments: {count: {of: [all], number: 7}, rate: {currency: EUR}}";
    assert_eq!(differs_at_desk("count 7", whole), None, "the order of members is not compared");
    let counted = r#"{"number":7,"of":["all"]}"#;
    broken("count 7", "arguments: {count: {number: 7}}", r#"{"number":7}"#, counted);
    broken("count 7", "arguments: {count: {number: '7', of: [all]}}", r#"{"number":"7","of":["all"]}"#, counted);
    broken("count 7", "arguments: {sum: {limit: 1}}", r#"{"limit":1}"#, "not asked in this turn");
}

#[test]
fn what_is_shown_meanwhile_is_this_in_order_and_once_while_it_stays() {
    assert_eq!(differs_at_desk("count 7", "progress: [Asking …, Counting …]"), None);
    assert_eq!(differs_at_desk("all 7", "progress: [Asking …, Counting …], calls: {sum: 1}"), None);
    assert_eq!(differs_at_desk("hm", "progress: [Asking …]"), None);
    let told = |expected: &str, got: &str| Some(("progress".to_owned(), expected.to_owned(), got.to_owned()));
    let shown = "Asking …, Counting …";
    assert_eq!(differs_at_desk("count 7", "progress: []"), told("", shown));
    assert_eq!(differs_at_desk("count 7", "progress: [Counting …, Asking …]"), told("Counting …, Asking …", shown));
}

#[test]
fn what_must_not_happen_is_told_when_it_does() {
    kept(BUY, "not: {reply_pattern: Done, state: done, intent: home, slots: [], stages: [transition_blocked]}");
    kept(BUY, "not: {stages: [enrich, {intent: no_match}]}");
    broken(BUY, "not: {reply_pattern: ure}", "reply", "nothing like ure", "Sure?");
    broken(BUY, "not: {state: sure}", "state", "anything but sure", "sure");
    broken(BUY, "not: {intent: buy}", "intent", "anything but buy", "buy");
    broken(BUY, "not: {slots: [number]}", "slot number", "nothing in it", "1234");
    broken(BUY, "not: {stages: [extract]}", "stage extract", "no extract", "extract done pattern number");
    broken(
        BUY,
        "not: {stages: [{intent: matched}]}",
        "stage intent",
        "no intent matched",
        "intent matched keywords buy",
    );
}

#[test]
fn a_restart_keeps_what_a_conversation_holds() {
    let turns = format!(
        "{{{BUY}}}, {{say: hm, restart: true, reply: Sure?, slots: {{number: '1234'}}, flags: [warned], pending: [order]}},
         {{say: yes, restart: true, reply: Done., state: done}}"
    );
    assert_eq!(differs(&turns), None);
}

#[test]
fn limits_hold_for_the_scenario_that_names_them() {
    let source = "scenarios:
  - {name: short, limits: {text_chars: 5}, turns: [{say: buy 1234, reply: Sorry?, outcome: blocked, stages: {guard: too_long}}]}
  - {name: as it is, turns: [{say: buy 1234, reply: Sure?}]}";
    let scenarios = load_scenarios("scenarios.yaml", source).expect("they can be read");
    let flow = shop().flow;
    assert_eq!(scenarios.iter().filter_map(|scenario| play(&flow, scenario).err()).collect::<Vec<_>>(), []);
    assert_eq!([0, 1].map(|place: usize| scenarios[place].is_plain()), [false, true], "no server has those limits");
}

#[test]
fn a_failure_carries_the_stages_of_its_turn() {
    let failure = play(&shop().flow, &scenario("{say: buy 1234, reply: Nothing.}")).expect_err("it says otherwise");
    assert_eq!(failure.turn, 1);
    let intent = failure.stages.iter().find(|event| event.stage == Stage::Intent).expect("it is told");
    assert_eq!((intent.result, intent.reason), (StageResult::Matched, Reason::Keywords));
    assert!(failure.stage_lines().any(|line| line == "intent matched keywords buy"));
}

#[test]
fn every_key_is_described() {
    let docs = [include_str!("../../../docs/flows.md"), include_str!("../../../docs/testing.md")].concat();
    for key in SCENARIO_KEYS.into_iter().chain(TURN_KEYS).filter(|key| *key != "description") {
        let described = [format!("`{key}`"), format!("{key}:"), format!("`{key}:")];
        assert!(described.iter().any(|words| docs.contains(words)), "{key} is not described");
    }
}

fn faults(turn: &str) -> Vec<(&'static str, u64, String)> {
    let source = format!("scenarios:\n- name: it\n  turns:\n  - {{{turn}}}");
    let faults: Vec<Fault> = load_scenarios("scenarios.yaml", &source).expect_err("it cannot be read");
    faults.into_iter().map(|fault| (fault.id, fault.column, fault.fix)).collect()
}

#[test]
fn words_that_scenarios_do_not_know_are_faults_with_a_fix() {
    let meant = |word: &str| format!("did you mean {word:?}?");
    assert_eq!(faults("say: x, reply: y, stages: {intnt: matched}"), [("bad-value", 33, meant("intent"))]);
    assert_eq!(faults("say: x, reply: y, stages: {intent: macthed}"), [("bad-value", 41, meant("matched"))]);
    assert_eq!(faults("say: x, reply: y, stages: {intent: {reason: patern}}"), [("bad-value", 50, meant("pattern"))]);
    assert_eq!(faults("say: x, reply: y, stages: {transition: {by: rul}}"), [("bad-value", 50, meant("rule"))]);
    assert_eq!(faults("say: x, reply: y, stages: {Intent: matched}").len(), 1, "words are written in small letters");
    for turn in ["not: {sate: done}", "prompt: {a: {contain: [x]}}", "stages: {intent: {resul: done}}"] {
        let found = faults(&format!("say: x, reply: y, {turn}"));
        assert_eq!(found.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), ["unknown-key"], "{turn}");
    }
    let source = "scenarios: [{name: it, limits: {rule_passes: 99, colour: red}, turns: []}]";
    let found = load_scenarios("scenarios.yaml", source).expect_err("the limits are none");
    let mut ids: Vec<_> = found.iter().map(|fault| fault.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["out-of-range", "unknown-key"]);
}
