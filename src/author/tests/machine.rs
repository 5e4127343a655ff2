//! What single stages promise, on small flows made for the purpose.

use std::{sync::Arc, time::Duration};

use colloquy_flow::Flow;
use colloquy_turn::{
    Change, ConversationState, Effect, EffectKind, EffectResult, EffectValue, InputKind, Machine, Outcome,
    PendingEnding, Reason, ReplayDifference, ReplyKind, Stage, StageEvent, StageResult, Step, TurnInput, TurnOutcome,
    open_conversation, replay, reset, start,
};
use colloquy_types::{RequestId, Timestamp, TurnId};

use super::examples::example;
use crate::{load_sources, scenario::ScriptedWorld};

pub(super) fn flow(source: &str) -> Arc<Flow> {
    let source = format!("format: colloquy.flow/v1\nname: test\nfallback: Fallback.\n{source}");
    let loaded = load_sources("test", vec![("test.yaml".to_owned(), source)]);
    loaded
        .unwrap_or_else(|faults| panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
        .flow
}

/// A conversation played by hand.
pub(super) struct Talk {
    pub(super) flow: Arc<Flow>,
    pub(super) world: ScriptedWorld,
    pub(super) state: ConversationState,
}

impl Talk {
    pub(super) fn new(flow: Arc<Flow>) -> Self {
        Self { world: ScriptedWorld::default(), state: open_conversation(&flow), flow }
    }

    pub(super) fn say(&mut self, text: &str) -> Outcome {
        let outcome = self.world.turn(&self.flow, self.state.clone(), text);
        self.state = outcome.state.clone();
        outcome
    }

    pub(super) fn reply(&mut self, text: &str) -> String {
        self.say(text).record.reply.text
    }
}

pub(super) fn event(outcome: &Outcome, stage: Stage) -> StageEvent {
    let found = outcome.record.stages.iter().find(|event| event.stage == stage);
    found.unwrap_or_else(|| panic!("{stage} left no event")).clone()
}

const TWO_INTENTS: &str = r#"
start: home.idle
limits: {text_chars: 20}
intents:
  home: {initial: idle, states: {idle: {terminal: true}}}
  first: {initial: at, classify: {patterns: ['\bpattern\b'], keywords: [[both], [two, words]]}, states: {at: {terminal: true}}}
  second: {initial: at, classify: {keywords: [[both], [words], [pattern]]}, states: {at: {terminal: true}}}
  urgent: {initial: at, priority: 5, classify: {keywords: [[now]]}, states: {at: {terminal: true}}}
transitions:
  - {from: "*", to: [first.at], by: intent}
  - {from: "*", to: second.at, by: intent}
  - {from: "*", to: urgent.at, by: intent}
responses:
  - {in: any, template: "{{ intent }}"}
"#;

fn two_intents() -> Talk {
    Talk::new(flow(&TWO_INTENTS.replace("[first.at]", "first.at")))
}

/// BO-07: input is bounded before anything reads it.
#[test]
fn the_guard_refuses_what_the_flow_does_not_take() {
    for (text, reason) in [
        ("", Reason::Blank),
        (" \n\t ", Reason::Blank),
        ("bell \u{7}", Reason::ForbiddenCharacter),
        ("carriage\rreturn", Reason::ForbiddenCharacter),
        ("twenty-one characters", Reason::TooLong),
    ] {
        let mut talk = two_intents();
        let outcome = talk.say(text);
        assert_eq!(event(&outcome, Stage::Guard).reason, reason, "{text:?}");
        assert_eq!(outcome.record.outcome, TurnOutcome::Blocked);
        assert_eq!(outcome.record.reply.kind, ReplyKind::Fallback);
        assert_eq!(outcome.record.changes, [Change::TurnCounted]);
    }
    // Characters are counted, not bytes.
    assert_eq!(two_intents().say(&"ä".repeat(20)).record.outcome, TurnOutcome::Complete);
}

#[test]
fn intents_rank_by_priority_then_pattern_then_keywords_then_order() {
    for (text, intent, result) in [
        ("both", "first", StageResult::Collided),
        ("pattern", "first", StageResult::Matched),
        ("words", "second", StageResult::Matched),
        ("words and two", "first", StageResult::Matched),
        ("pattern both now", "urgent", StageResult::Matched),
        ("nothing", "home", StageResult::NoMatch),
    ] {
        let outcome = two_intents().say(text);
        assert_eq!(outcome.record.intent.as_ref(), intent, "{text}");
        assert_eq!(event(&outcome, Stage::Intent).result, result, "{text}");
    }
}

const NESTED: &str = r#"
start: home.idle
limits: {digression_depth: 1}
slots: {note: {type: string, extract: 'note (?P<value>\w+)'}}
intents:
  home: {initial: idle, states: {idle: {terminal: true}}}
  task: {initial: busy, classify: {keywords: [[task]]}, collect: [note], states: {busy: {}}}
  aside: {initial: open, digression: true, classify: {keywords: [[aside]]}, states: {open: {}, over: {terminal: true}}}
  other: {initial: open, digression: true, classify: {keywords: [[other]]}, states: {open: {}}}
transitions:
  - {from: "*", to: task.busy, by: intent}
  - {from: [task.busy, other.open], to: aside.open, by: digression}
  - {from: [task.busy, aside.open], to: other.open, by: digression}
  - {from: aside.open, to: aside.over, by: rule}
  - {from: task.busy, to: home.idle, by: rule}
rules:
  - {id: finish, in: aside.open, when: "text == 'over'", then: [{go: aside.over}]}
  - {id: leave, in: task.busy, when: "text == 'leave'", then: [{go: home.idle}]}
responses:
  - {in: any, template: "{{ intent }}.{{ state }}"}
  - {in: task.busy, resume: "busy again"}
"#;

/// SO-09: digress and return.
#[test]
fn a_digression_returns_to_where_it_interrupted_and_keeps_its_slots() {
    let mut talk = Talk::new(flow(NESTED));
    assert_eq!(talk.reply("task note milk"), "task.busy");
    assert_eq!(talk.reply("aside"), "aside.open");
    assert_eq!(talk.state.interrupted().len(), 1);
    assert_eq!(talk.state.slot("note").map(ToString::to_string).as_deref(), Some("milk"));
    assert_eq!(talk.reply("over"), "aside.over\nbusy again");
    assert_eq!((talk.state.position().to_string().as_str(), talk.state.interrupted().len()), ("task.busy", 0));
    assert_eq!(talk.state.slot("note").map(ToString::to_string).as_deref(), Some("milk"));
}

/// SO-09: the stack of what was interrupted has a bound.
#[test]
fn digressions_are_bounded() {
    let mut talk = Talk::new(flow(NESTED));
    talk.say("task");
    talk.say("aside");
    let outcome = talk.say("other");
    assert_eq!(
        (event(&outcome, Stage::Intent).result, event(&outcome, Stage::Intent).reason),
        (StageResult::Blocked, Reason::StackFull)
    );
    assert_eq!(outcome.record.intent.as_ref(), "aside");
}

/// SO-09: leaving for good empties the stack.
#[test]
fn leaving_for_another_intent_gives_up_what_was_interrupted() {
    let mut talk = Talk::new(flow(NESTED));
    talk.say("task");
    talk.say("aside");
    let outcome = talk.say("task");
    assert!(outcome.record.changes.contains(&Change::DigressionsDropped));
    assert_eq!((outcome.record.intent.as_ref(), talk.state.interrupted().len()), ("task", 0));
}

/// CE-005: what the new intent does not keep is evicted, and the stage says so.
#[test]
fn slots_are_evicted_where_nothing_keeps_them() {
    let mut talk = Talk::new(flow(NESTED));
    talk.say("task note milk");
    let outcome = talk.say("leave");
    assert_eq!(event(&outcome, Stage::Retain).reason, Reason::NotKept);
    assert!(talk.state.slots().is_empty());
}

const PENDING: &str = r#"
start: desk.open
clarify: "Which: {{ options }}?"
intents:
  desk: {initial: open, states: {open: {}, paid: {terminal: true}}}
  away: {initial: at, classify: {keywords: [[away]]}, states: {at: {terminal: true}}}
transitions:
  - {from: desk.open, to: desk.paid, by: action}
  - {from: desk.open, to: away.at, by: intent}
rules:
  - {id: pay, in: desk.open, when: "act == '' && text.contains('pay')", then: [{stage: pay}]}
  - {id: post, in: desk.open, when: "act == '' && text.contains('post')", then: [{stage: post}]}
actions:
  pay: {kind: local, label: the payment, confirm: {expires_turns: 2, expires_after: 1m}, on_executed: desk.paid}
  post: {kind: local, label: the parcel, confirm: {expires_turns: 9}}
responses:
  - {in: any, when: "ended != ''", template: "{{ state }} ended"}
  - {in: any, when: "size(pending) > 0", exact: Sure?}
  - {in: any, template: "{{ state }}"}
"#;

/// CE-parity: disambiguation of pending actions.
#[test]
fn two_pending_actions_ask_which_and_a_label_answers() {
    let mut talk = Talk::new(flow(&PENDING.replace("expires_turns: 2", "expires_turns: 9")));
    talk.say("pay");
    talk.say("post");
    assert_eq!(talk.state.pending().len(), 2);
    let asked = talk.say("yes");
    assert_eq!(
        (asked.record.reply.text.as_str(), asked.record.reply.kind),
        ("Which: the payment, the parcel?", ReplyKind::Clarification)
    );
    assert_eq!(talk.state.pending().len(), 2, "asking changes nothing");
    let repeated = talk.say("yes");
    assert_eq!(repeated.record.reply.kind, ReplyKind::Clarification, "a bare yes answers nothing");
    assert_eq!(talk.reply("the payment"), "paid ended", "the name alone is the answer");
    assert!(talk.state.pending().is_empty(), "the one that was not chosen is closed");
}

/// CE-parity: confirmations expire.
#[test]
fn pending_actions_expire_by_turns_and_by_time() {
    let mut talk = Talk::new(flow(PENDING));
    talk.say("pay");
    talk.say("hm");
    talk.say("hm");
    let late = talk.say("yes");
    assert_eq!(
        (event(&late, Stage::Pending).result, event(&late, Stage::Pending).reason),
        (StageResult::Expired, Reason::Turns)
    );
    assert_eq!(late.record.state.as_ref(), "open");

    let mut talk = Talk::new(flow(PENDING));
    talk.say("pay");
    talk.world.now = talk.world.now.plus(Duration::from_secs(60));
    let late = talk.say("yes");
    assert_eq!(
        (event(&late, Stage::Pending).result, event(&late, Stage::Pending).reason),
        (StageResult::Expired, Reason::Time)
    );

    let mut talk = Talk::new(flow(PENDING));
    talk.say("pay");
    talk.world.now = talk.world.now.plus(Duration::from_secs(59));
    assert_eq!(talk.say("yes").record.state.as_ref(), "paid", "at the bound it may still be confirmed");
}

#[test]
fn staging_again_replaces_and_leaving_abandons() {
    let mut talk = Talk::new(flow(PENDING));
    talk.say("pay");
    let first = talk.state.pending()[0].id;
    let again = talk.say("pay");
    assert!(again.record.changes.contains(&Change::PendingClosed { id: first, ending: PendingEnding::Replaced }));
    assert_eq!(talk.state.pending().len(), 1);
    let second = talk.state.pending()[0].id;
    let left = talk.say("away");
    assert!(left.record.changes.contains(&Change::PendingClosed { id: second, ending: PendingEnding::Abandoned }));
    assert!(talk.state.pending().is_empty());
}

#[test]
fn a_condition_that_cannot_be_evaluated_degrades_the_turn_and_no_more() {
    let mut talk = Talk::new(flow(
        r#"
start: a.b
slots: {amount: {type: decimal}}
flags: [asked]
intents: {a: {initial: b, collect: [amount], states: {b: {terminal: true}}}}
rules:
  - {id: unguarded, in: a.b, when: "slots.amount > decimal('10')", then: [{flag: asked}]}
responses:
  - {in: a.b, when: flags.asked, template: "{{ slots.amount }} is much"}
  - {in: a.b, exact: fine}
"#,
    ));
    let outcome = talk.say("hello");
    assert_eq!((outcome.record.outcome, outcome.record.reply.text.as_str()), (TurnOutcome::Degraded, "fine"));
    assert_eq!(outcome.record.degradations[0].reason, Reason::Condition);
    assert_eq!(outcome.record.degradations[0].name.as_ref(), "unguarded");
    assert_eq!(talk.reply("9.999999"), "fine");
    assert_eq!(talk.reply("10.000001"), "10.000001 is much");
}

#[test]
fn a_template_that_cannot_be_rendered_falls_through() {
    let mut talk = Talk::new(flow(
        r#"
start: a.b
slots: {name: {type: string, extract: 'I am (?P<value>\w+)'}}
intents: {a: {initial: b, collect: [name], states: {b: {terminal: true}}}}
responses:
  - {in: a.b, template: "Hello {{ slots.name }}."}
"#,
    ));
    let outcome = talk.say("hello");
    assert_eq!((outcome.record.outcome, outcome.record.reply.text.as_str()), (TurnOutcome::Degraded, "Fallback."));
    assert_eq!(talk.reply("I am Ada"), "Hello Ada.");
}

#[test]
fn rules_run_in_phases_and_their_passes_are_capped() {
    let source = r#"
start: a.s0
limits: {rule_passes: LIMIT}
intents: {a: {initial: s0, states: {s0: {}, s1: {}, s2: {}, s3: {terminal: true}}}}
transitions:
  - {from: a.s0, to: a.s1, by: rule}
  - {from: a.s1, to: a.s2, by: rule}
  - {from: a.s2, to: a.s3, by: rule}
rules:
  - {id: r2, in: a.s2, then: [{go: a.s3}]}
  - {id: r1, in: a.s1, then: [{go: a.s2}]}
  - {id: r0, in: a.s0, when: flags.ready, then: [{go: a.s1}]}
  - {id: prepare, phase: after_intent, in: a.s0, then: [{flag: ready}]}
flags: [ready]
responses: [{in: any, template: "{{ state }}"}]
"#;
    let free = Talk::new(flow(&source.replace("LIMIT", "8"))).say("go");
    assert_eq!((free.record.reply.text.as_str(), free.record.outcome), ("s3", TurnOutcome::Complete));
    let capped = Talk::new(flow(&source.replace("LIMIT", "2"))).say("go");
    assert_eq!((capped.record.reply.text.as_str(), capped.record.outcome), ("s2", TurnOutcome::Degraded));
    assert!(capped.record.degradations.iter().any(|degradation| degradation.reason == Reason::RulePasses));
}

/// SO-09: slots are set by what fits them.
#[test]
fn typed_slots_take_what_fits_and_nothing_else() {
    let source = r#"
start: a.b
slots:
  count: {type: integer, min: 1, max: 9}
  when: {type: date, min: 2026-01-01}
  colour: {type: enum, values: [red, dark red]}
  code: {type: string, extract: '#(?P<value>\w+)', normalise: lower, min_chars: 2, max_chars: 4}
intents: {a: {initial: b, collect: [count, when, colour, code], states: {b: {terminal: true}}}}
responses: [{in: any, exact: ok}]
"#;
    let flow = flow(source);
    for (text, slot, expected) in [
        ("I take 3", "count", Some("3")),
        ("I take 12 no 4", "count", Some("4")),
        ("I take 0", "count", None),
        ("on 2026-02-28", "when", Some("2026-02-28")),
        ("on 2026-02-29", "when", None),
        ("on 2025-12-31", "when", None),
        ("a Dark Red one", "colour", Some("dark red")),
        ("infrared", "colour", None),
        ("#ABcd", "code", Some("abcd")),
        ("#a #bc", "code", Some("bc")),
        ("#abcde", "code", None),
    ] {
        let mut talk = Talk::new(Arc::clone(&flow));
        talk.say(text);
        assert_eq!(talk.state.slot(slot).map(ToString::to_string).as_deref(), expected, "{text}");
    }
}

fn input(text: &str) -> TurnInput {
    TurnInput {
        input: InputKind::Text,
        turn_id: TurnId([7; 16]),
        request_id: RequestId::parse("r-1").expect("it is visible ASCII"),
        request_digest: [1; 16],
        text: text.to_owned(),
        accepted_at: Timestamp::from_micros(5),
    }
}

fn waiting(flow: &Arc<Flow>, state: ConversationState, text: &str) -> (Box<Machine>, Vec<Effect>) {
    match start(Arc::clone(flow), state, input(text), Timestamp::from_micros(6)) {
        Step::Perform(machine, effects) => (machine, effects),
        Step::Done(outcome) => panic!("the turn needed nothing: {outcome:?}"),
    }
}

#[test]
fn effects_are_asked_for_together_and_again_until_they_are_answered() {
    let results = "results: {reference: {reference: {}}, at: executed_at}, ";
    let source = PENDING.replace("label: the payment, confirm: {expires_turns: 2, expires_after: 1m}, ", results);
    let flow = flow(&source.replace("actions:", "slots: {reference: {type: string}, at: {type: string}}\nactions:"));
    let (machine, effects) = waiting(&flow, open_conversation(&flow), "pay and post");
    let kinds: Vec<_> = effects.iter().map(|effect| (effect.step, effect.kind.clone())).collect();
    assert_eq!(kinds, [(0, EffectKind::Time), (1, EffectKind::Identifier), (2, EffectKind::Identifier)]);

    let time = EffectResult::at_once(0, EffectValue::Time(Timestamp::from_micros(9)));
    let wrong = EffectResult::at_once(1, EffectValue::Time(Timestamp::from_micros(9)));
    let unasked = EffectResult::at_once(9, EffectValue::Identifier([0; 16]));
    let Step::Perform(machine, again) = machine.resume(vec![time, wrong, unasked]) else { panic!("two are missing") };
    assert_eq!(again, effects[1..]);

    let identifiers = again.iter().map(|effect| EffectResult::at_once(effect.step, EffectValue::Identifier([3; 16])));
    let Step::Done(outcome) = machine.resume(identifiers.rev().collect()) else { panic!("everything was answered") };
    let steps: Vec<_> = outcome.record.effects.iter().map(|result| result.step).collect();
    assert_eq!(steps, [0, 1, 2], "results are recorded in order, and only those that were asked for");
    assert_eq!(outcome.record.state.as_ref(), "paid");
}

/// CE-007: a changed revision gives a difference.
#[test]
fn replay_tells_the_first_difference() {
    let mut talk = Talk::new(flow(PENDING));
    let before = talk.state.clone();
    let record = talk.say("pay").record;
    assert!(replay(Arc::clone(&talk.flow), before.clone(), &record).is_ok());

    let mut without = record.clone();
    without.effects.clear();
    let difference = replay(Arc::clone(&talk.flow), before.clone(), &without).expect_err("an effect is missing");
    assert_eq!(difference, ReplayDifference::EffectMissing { step: 0 });

    let mut more = record.clone();
    more.effects.push(EffectResult::at_once(4, EffectValue::Identifier([0; 16])));
    let difference = replay(Arc::clone(&talk.flow), before.clone(), &more).expect_err("an effect was not asked for");
    assert_eq!(difference, ReplayDifference::EffectUnused { step: 4 });

    let changed = flow(&PENDING.replace("exact: Sure?", "exact: Certain?"));
    let difference = replay(changed, before, &record).expect_err("another revision decides otherwise");
    assert!(matches!(difference, ReplayDifference::Field { field: "revision", .. }));
    assert!(!difference.to_string().contains("pay"), "what the user said is not in the message");
}

#[test]
fn a_position_the_revision_does_not_know_refuses_the_turn() {
    let flow = flow(PENDING);
    let state = ConversationState::new("gone".into(), "away".into());
    let outcome = ScriptedWorld::default().turn(&flow, state.clone(), "hello");
    assert_eq!(event(&outcome, Stage::Guard).reason, Reason::UnknownPosition);
    assert_eq!((outcome.record.outcome, outcome.state.position()), (TurnOutcome::Blocked, state.position()));
}

/// CE-parity: reset.
#[test]
fn reset_clears_everything_but_the_count_of_turns() {
    let mut talk = Talk::new(example("order-desk").flow);
    talk.say("cancel A-1001");
    talk.say("where is my order");
    assert!(!talk.state.pending().is_empty() && !talk.state.interrupted().is_empty());
    let mut cleared = talk.state.clone();
    cleared.apply_all(&reset(&talk.flow, &talk.state));
    let mut fresh = open_conversation(&talk.flow);
    fresh.apply_all(&[Change::TurnCounted, Change::TurnCounted]);
    assert_eq!(cleared, fresh);
    assert!(reset(&talk.flow, &fresh).is_empty());
}
