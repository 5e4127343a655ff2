//! What happens when several parts of a flow meet in one turn: confirmations that lapse together, tools that
//! run side by side, forms that confirm and correct, failures that were left behind.

use colloquy_turn::{Change, InputKind, Outcome, PendingEnding, Reason, Stage, StageResult, TurnOutcome};

use super::machine::{Talk, event, flow};
use crate::scenario::{Answer, InjectedFault};

/// What tools answer in the turns to come.
fn tools(talk: &mut Talk, answers: &[(&str, Answer)]) {
    let script = answers.iter().map(|(name, answer)| ((*name).to_owned(), vec![answer.clone()])).collect();
    talk.world.follow(&script, &Vec::new());
}

fn nothing() -> Answer {
    Answer::Value(colloquy_flow::Json::object([]))
}

/// Sends structured input.
fn form(talk: &mut Talk, source: &str) -> Outcome {
    let outcome = talk.world.decide(&talk.flow, talk.state.clone(), InputKind::Json, source);
    talk.state = outcome.state.clone();
    outcome
}

const TWO_WAITING: &str = r#"
start: desk.open
intents: {desk: {initial: open, states: {open: {}, one_lapsed: {terminal: true}, two_lapsed: {terminal: true}}}}
transitions:
  - {from: desk.open, to: desk.one_lapsed, by: pending}
  - {from: desk.open, to: desk.two_lapsed, by: pending}
  - {from: "*", to: desk.open, by: rule}
rules:
  - {id: both, in: desk.open, when: "text == 'both'", then: [{stage: [one, two]}]}
actions:
  one: {kind: local, confirm: {expires_turns: 1}, on_expired: desk.one_lapsed}
  two: {kind: local, confirm: {expires_turns: 1}, on_expired: desk.two_lapsed}
responses: [{in: any, template: "{{ state }}"}]
"#;

#[test]
fn of_several_confirmations_that_lapse_at_once_the_first_leads_on() {
    let mut talk = Talk::new(flow(TWO_WAITING));
    talk.say("both");
    talk.say("hm");
    let lapsed = talk.say("hm");
    assert_eq!((lapsed.record.outcome, talk.state.state()), (TurnOutcome::Complete, "one_lapsed"));
    let closed = |change: &&Change| matches!(change, Change::PendingClosed { ending: PendingEnding::Expired, .. });
    assert_eq!(lapsed.record.changes.iter().filter(closed).count(), 2);
    assert!(talk.state.pending().is_empty());
}

const SIDE_BY_SIDE: &str = r#"
start: desk.open
intents: {desk: {initial: open, states: {open: {}, paid: {}, sent: {}}}}
transitions:
  - {from: desk.open, to: desk.paid, by: action}
  - {from: desk.open, to: desk.sent, by: action}
  - {from: "*", to: desk.open, by: rule}
rules:
  - {id: both, in: desk.open, when: "text == 'both'", then: [{stage: [pay, send]}]}
  - {id: first, in: desk.open, when: "text == 'first'", then: [{stage: pay}]}
actions:
  pay: {kind: tool, tool: bank/pay, timeout: 1s, confirm: {required: false}, on_executed: desk.paid}
  send: {kind: tool, tool: post/send, timeout: 1s, confirm: {required: false}, on_executed: desk.sent}
responses: [{in: any, template: "{{ state }}"}]
"#;

/// CE-001: what could only end in an undeclared move does not act.
#[test]
fn actions_whose_outcomes_lead_nowhere_together_do_not_run_at_all() {
    let mut talk = Talk::new(flow(SIDE_BY_SIDE));
    tools(&mut talk, &[("pay", nothing()), ("send", nothing())]);
    let refused = talk.say("both");
    assert_eq!(refused.record.outcome, TurnOutcome::Blocked);
    assert!(talk.world.calls().is_empty(), "nothing may be paid or sent in a turn that is refused");
    assert_eq!(talk.reply("first"), "paid", "alone, it may run");
}

const SCOPED: &str = r#"
start: desk.open
intents: {desk: {initial: open, states: {open: {}, away: {}}}}
transitions:
  - {from: desk.open, to: desk.away, by: rule}
  - {from: desk.away, to: desk.open, by: rule}
rules:
  - {id: ask, in: desk.open, when: "text == 'pay'", then: [{stage: pay}]}
  - {id: leave, in: desk.open, when: "text == 'away'", then: [{go: desk.away}]}
  - {id: back, in: desk.away, when: "text == 'back'", then: [{go: desk.open}]}
actions:
  pay: {kind: tool, tool: bank/pay, timeout: 1s, confirm: {expires_turns: 9}, in: desk.open}
responses: [{in: any, when: "ended != ''", template: "{{ state }} paid"}, {in: any, template: "{{ state }}"}]
"#;

#[test]
fn a_yes_does_not_run_an_action_where_it_may_not_run() {
    let mut talk = Talk::new(flow(SCOPED));
    tools(&mut talk, &[("pay", nothing())]);
    talk.say("pay");
    assert_eq!(talk.reply("away"), "away");
    let refused = talk.say("yes");
    assert_eq!(event(&refused, Stage::Act).reason, Reason::OutOfScope);
    assert_eq!((refused.record.outcome, refused.record.reply.text.as_str()), (TurnOutcome::Degraded, "away"));
    assert!(talk.world.calls().is_empty());
    talk.say("back");
    assert_eq!(talk.reply("yes"), "open paid", "it still waits, and may run here");
}

const ACTED: &str = r#"
start: desk.open
guard:
  policies:
    - {id: rude, contains: damn, flag: upset}
    - {id: again, contains: fresh, flag: anew}
flags: [{name: upset, lives: turn}, {name: anew, reset: true}]
slots: {note: {type: string, extract: 'note (?P<value>\w+)'}}
intents: {desk: {initial: open, collect: [note], states: {open: {}, lost: {}}}}
transitions:
  - {from: "*", to: desk.open, by: rule}
rules:
  - {id: ask, in: desk.open, when: "text == 'pay'", then: [{stage: pay}]}
  - {id: astray, phase: after_action, in: any, when: "ended == 'executed'", then: [{go: desk.lost}]}
actions:
  pay: {kind: tool, tool: bank/pay, timeout: 1s, confirm: {}}
responses: [{in: any, when: flags.upset, exact: Sorry.}, {in: any, exact: Well.}]
"#;

fn acted() -> Talk {
    let source = format!("format: colloquy.flow/v1\nname: test\nfallback: Fallback.\n{ACTED}");
    Talk::new(crate::load::load_despite_faults(&source).expect("it compiles"))
}

#[test]
fn a_flag_of_one_turn_ends_with_a_turn_that_acted_and_was_refused() {
    let mut talk = acted();
    tools(&mut talk, &[("pay", nothing())]);
    talk.say("pay");
    let refused = talk.say("yes damn it");
    assert_eq!(refused.record.outcome, TurnOutcome::Blocked);
    assert!(talk.state.pending().is_empty(), "it was paid");
    assert!(talk.state.flags().is_empty(), "{:?}", talk.state.flags());
    assert_eq!(talk.reply("and now?"), "Well.");
}

/// CE-parity: a policy may reset.
#[test]
fn a_policy_that_raises_a_resetting_flag_starts_over() {
    let mut talk = acted();
    talk.say("note this");
    assert!(talk.state.slot("note").is_some());
    let reset = talk.say("a fresh start");
    assert_eq!(event(&reset, Stage::Transition).reason, Reason::Reset);
    assert!(talk.state.slot("note").is_none() && talk.state.flags().is_empty());
}

const FORMS: &str = r#"
start: desk.open
guard: {policies: [{id: rude, contains: damn, block: Not here.}]}
slots: {amount: {type: integer, extract: '\b(?P<value>\d+) euros'}, note: {type: string, extract: 'note (?P<value>.+)'}}
intents: {desk: {initial: open, collect: [amount, note], states: {open: {}}}}
rules:
  - {id: ask, in: desk.open, when: "text == 'pay'", then: [{stage: pay}]}
actions:
  pay: {kind: tool, tool: bank/pay, timeout: 1s, confirm: {}, slots: [amount], arguments: {amount: {slot: amount}}}
responses: [{in: any, when: "ended == 'executed'", template: "paid {{ slots.amount }}"}, {in: any, exact: Well.}]
"#;

/// SO-09: slots are corrected and confirmed.
#[test]
fn a_form_that_confirms_with_another_value_corrects_instead() {
    let mut talk = Talk::new(flow(FORMS));
    tools(&mut talk, &[("pay", nothing())]);
    talk.say("5 euros");
    talk.say("pay");
    let corrected = form(&mut talk, r#"{"action": "pay", "confirm": true, "slots": {"amount": 500}}"#);
    assert!(talk.world.calls().is_empty(), "what was shown was five euros");
    assert_eq!(event(&corrected, Stage::Pending).result, StageResult::Edited);
    assert_eq!(talk.state.slot("amount").map(ToString::to_string).as_deref(), Some("500"));
    let paid = form(&mut talk, r#"{"action": "pay", "confirm": true, "slots": {"amount": 500}}"#);
    assert_eq!(paid.record.reply.text, "paid 500", "the value that is there is no correction");
}

/// BO-07: a form is no way around the guard.
#[test]
fn what_a_form_fills_in_is_judged_like_what_is_said() {
    let mut talk = Talk::new(flow(FORMS));
    let rude = form(&mut talk, r#"{"slots": {"note": "damn you"}}"#);
    assert_eq!((rude.record.outcome, rude.record.reply.text.as_str()), (TurnOutcome::Blocked, "Not here."));
    let bell = form(&mut talk, r#"{"slots": {"note": "ring \u0007"}}"#);
    assert_eq!(event(&bell, Stage::Guard).reason, Reason::ForbiddenCharacter);
    let fine = form(&mut talk, r#"{"slots": {"note": "thank you"}}"#);
    assert_eq!(fine.record.outcome, TurnOutcome::Complete);
}

const LEFT_BEHIND: &str = r#"
start: look.open
intents:
  look: {initial: open, classify: {keywords: [[look]]}, states: {open: {}, found: {terminal: true}}}
  talk: {initial: open, classify: {keywords: [[talk]]}, states: {open: {}}}
transitions:
  - {from: "*", to: look.open, by: intent}
  - {from: "*", to: talk.open, by: intent}
  - {from: look.open, to: look.found, by: action}
rules:
  - {id: look, in: look.open, when: "text == 'look'", then: [{stage: look_up}]}
actions:
  look_up: {kind: tool, tool: stock/find, read_only: true, timeout: 1s, on_executed: look.found}
responses: [{in: any, template: "{{ intent }} {{ state }}"}]
"#;

#[test]
fn a_failure_that_was_left_behind_is_not_tried_again_elsewhere() {
    let mut talk = Talk::new(flow(LEFT_BEHIND));
    tools(&mut talk, &[("look_up", Answer::Fault(InjectedFault::Timeout))]);
    assert_eq!(talk.reply("look"), "look open");
    tools(&mut talk, &[("look_up", nothing())]);
    assert_eq!(talk.reply("talk"), "talk open");
    let again = talk.say("try again");
    assert_eq!((again.record.outcome, again.record.reply.text.as_str()), (TurnOutcome::Complete, "talk open"));
    assert!(talk.world.calls().is_empty());
    talk.say("look over there");
    assert_eq!(talk.reply("try again"), "look found", "where it belongs, it is");
}

const INTERRUPTED: &str = r#"
start: fill.open
slots: {colour: {type: enum, values: [red, green]}, size: {type: integer}}
intents:
  fill: {initial: open, collect: [colour], states: {open: {until: fill.done}, done: {terminal: true}}}
  aside: {initial: ask, digression: true, classify: {keywords: [[aside]]}, collect: [size], states: {ask: {}}}
transitions:
  - {from: fill.open, to: fill.done, by: rule}
  - {from: fill.open, to: aside.ask, by: digression}
responses: [{in: any, template: "{{ intent }} {{ state }}"}]
"#;

/// SO-09: an answer to what was interrupted returns to it.
#[test]
fn what_was_interrupted_is_taken_up_by_an_answer_however_it_is_put() {
    for answer in ["red", "it is red", "my colour is red"] {
        let mut talk = Talk::new(flow(INTERRUPTED));
        assert_eq!(talk.reply("aside"), "aside ask");
        assert_eq!(talk.reply(answer), "fill done", "{answer:?}");
        assert!(talk.state.interrupted().is_empty());
    }
    for other in ["yes, red", "is red in stock?", "it is 7 and red"] {
        let mut talk = Talk::new(flow(INTERRUPTED));
        talk.say("aside");
        assert_eq!(talk.reply(other), "aside ask", "{other:?} is no plain answer to what was interrupted");
    }
}

const UNTIL: &str = r#"
start: fill.open
slots: {size: {type: integer}}
intents: {fill: {initial: open, collect: [size], states: {open: {until: {when: slots.size > 3, go: fill.done}}, done: {terminal: true}}}}
transitions: [{from: fill.open, to: fill.done, by: rule}]
responses: [{in: any, template: "{{ state }}"}]
"#;

/// SO-09: a state collects until its end holds.
#[test]
fn an_end_that_cannot_be_evaluated_degrades_the_turn_once() {
    let mut talk = Talk::new(flow(UNTIL));
    let unclear = talk.say("hello");
    let reasons: Vec<Reason> = unclear.record.degradations.iter().map(|degradation| degradation.reason).collect();
    assert_eq!(reasons, [Reason::Condition]);
    assert_eq!(unclear.record.reply.text, "open");
    let clear = talk.say("4");
    assert_eq!((clear.record.outcome, clear.record.reply.text.as_str()), (TurnOutcome::Complete, "done"));
}

const AT_REST: &str = r#"
start: desk.open
intents: {desk: {initial: open, states: {open: {}, away: {}, over: {terminal: true}, late: {}}}}
transitions:
  - {from: desk.open, to: desk.away, by: rule}
  - {from: "*", to: desk.over, by: rule}
  - {from: desk.open, to: desk.late, by: pending}
rules:
  - {id: ask, in: any, when: "text == 'pay'", then: [{stage: pay}]}
  - {id: end, in: any, when: "text == 'end' || text == 'pay at last'", then: [{go: desk.over}]}
  - {id: last, in: any, when: "text == 'pay at last'", then: [{stage: settle}]}
  - {id: leave, in: desk.open, when: "text == 'away'", then: [{go: desk.away}]}
actions:
  pay: {kind: tool, tool: bank/pay, timeout: 1s, confirm: {expires_turns: 2}, on_expired: desk.late}
  settle: {kind: local, confirm: {expires_turns: 2}}
responses: [{in: any, when: "ended != ''", template: "{{ state }} ended"}, {in: any, template: "{{ state }}"}]
"#;

fn at_rest() -> Talk {
    let source = format!("format: colloquy.flow/v1\nname: test\nfallback: Fallback.\n{AT_REST}");
    Talk::new(crate::load::load_despite_faults(&source).expect("it compiles"))
}

#[test]
fn what_waits_is_given_up_when_the_conversation_comes_to_rest() {
    let mut talk = at_rest();
    talk.say("pay");
    let ended = talk.say("end");
    assert_eq!(event(&ended, Stage::Retain).reason, Reason::Abandoned);
    assert!(talk.state.pending().is_empty());
    assert_eq!(talk.reply("yes"), "over", "there is nothing left to say yes to");

    let mut talk = at_rest();
    talk.say("pay at last");
    assert_eq!(talk.state.pending().len(), 1, "what is opened on arrival waits");
    assert_eq!(talk.reply("yes"), "over ended");
}

#[test]
fn a_confirmation_that_lapses_where_it_may_not_lead_on_is_closed_all_the_same() {
    let mut talk = at_rest();
    talk.say("pay");
    talk.say("away");
    talk.say("hm");
    let lapsed = talk.say("hm");
    let reasons: Vec<Reason> = lapsed.record.degradations.iter().map(|degradation| degradation.reason).collect();
    assert_eq!((reasons.as_slice(), talk.state.state()), ([Reason::TransitionBlocked].as_slice(), "away"));
    assert!(talk.state.pending().is_empty());
    assert_eq!(talk.say("hm").record.outcome, TurnOutcome::Complete, "it does not lapse again and again");
}

#[test]
fn a_tool_that_changes_nothing_has_failed_when_nobody_knows_its_end() {
    let mut talk = Talk::new(flow(LEFT_BEHIND));
    tools(&mut talk, &[("look_up", Answer::Fault(InjectedFault::Unknown))]);
    let unknown = talk.say("look");
    assert_eq!(event(&unknown, Stage::Act).reason, Reason::Unknown);
    assert_eq!(talk.state.failed(), ["look_up".into()]);
    tools(&mut talk, &[("look_up", nothing())]);
    assert_eq!(talk.reply("try again"), "look found");
}
