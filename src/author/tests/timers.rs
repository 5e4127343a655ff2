//! Timers: set, replaced, dropped and fired by turns alone, and told where they cannot be meant.

use colloquy_turn::{
    Change, InputKind, Outcome, Reason, SnapshotRecord, Stage, StageResult, TIMERS_MAX, TimerEnding, TurnOutcome,
    replay, reset,
};
use colloquy_types::Timestamp;

use super::machine::{Talk, event, flow};
use crate::{Fault, load_scenarios, load_sources, scenario::play};

const FLOW: &str = r"
start: desk.open
flags: [vip]
guard:
  policies: [{id: loud, contains: [blocked], block: Not that.}]
intents:
  desk: {initial: open, states: {open: {}, asked: {terminal: true}}}
transitions:
  - {from: desk.open, to: desk.asked, by: rule}
rules:
  - {id: later, in: any, when: text.contains('later'), then: [{remind: {id: nudge, in: 24h}}]}
  - {id: sooner, in: any, when: text.contains('sooner'), then: [{remind: {id: nudge, in: 2h}}]}
  - {id: never, in: any, when: text.contains('never'), then: [{forget: nudge}]}
  - {id: two, in: any, when: text.contains('two'), then: [{remind: [{id: nudge, in: 1h}, {id: other, in: 2h}]}]}
  - {id: nudged, in: desk.open, when: timer == 'nudge', then: [{go: desk.asked}]}
  - {id: again, in: any, when: timer == 'other', then: [{remind: {id: other, in: 2h}}]}
  - {id: over, in: any, when: text.contains('over'), then: [{reset: true}]}
responses:
  - {in: any, when: timer == 'nudge', exact: Are you still there?}
  - {in: any, when: input == 'timer', exact: Time is up.}
  - {in: any, exact: Fine.}
";

fn begun() -> Talk {
    Talk::new(flow(FLOW))
}

/// What is wrong with a flow.
fn faults(source: &str) -> Vec<Fault> {
    let source = format!("format: colloquy.flow/v1\nname: test\nfallback: Sorry?\n{source}");
    load_sources("test", vec![("test.yaml".to_owned(), source)]).expect_err("it is faulty")
}

/// Has a timer speak.
fn fire(talk: &mut Talk, id: &str) -> Outcome {
    let outcome = talk.world.decide(&talk.flow, talk.state.clone(), InputKind::Timer, id);
    talk.state = outcome.state.clone();
    outcome
}

/// The timers that are set, each with how long after `since` it fires, in hours.
fn set(talk: &Talk, since: Timestamp) -> Vec<(String, u64)> {
    let timers = talk.state.timers().iter();
    timers.map(|timer| (timer.id.to_string(), timer.due_at.since(since).as_secs() / 3600)).collect()
}

#[test]
fn a_rule_sets_a_timer_replaces_it_and_drops_it() {
    let mut talk = begun();
    let now = talk.world.now;
    talk.say("later");
    assert_eq!(set(&talk, now), [("nudge".to_owned(), 24)]);
    let first = talk.state.timers()[0].clone();
    talk.say("sooner");
    assert_eq!(set(&talk, now), [("nudge".to_owned(), 2)], "one of the same id");
    let second = talk.state.timers()[0].clone();
    assert_ne!(first.request_id(), second.request_id(), "each setting has a turn of its own");
    assert_eq!(talk.state.timer_of(&first.request_id().expect("an id")), None);
    let outcome = talk.say("never");
    assert!(talk.state.timers().is_empty());
    let ended = Change::TimerEnded { id: "nudge".into(), ending: TimerEnding::Forgotten };
    assert!(outcome.record.changes.contains(&ended));
    let outcome = talk.say("never");
    assert!(!outcome.record.changes.contains(&ended), "what is not set is not dropped");
}

#[test]
fn a_timer_speaks_first_and_is_over() {
    let mut talk = begun();
    talk.say("later");
    let outcome = fire(&mut talk, "nudge");
    assert_eq!(outcome.record.reply.text, "Are you still there?");
    assert_eq!(&*outcome.record.state, "asked");
    assert_eq!(outcome.record.outcome, TurnOutcome::Complete);
    assert_eq!(event(&outcome, Stage::DialogueAct).reason, Reason::Timer);
    assert_eq!(event(&outcome, Stage::Intent).result, StageResult::Skipped);
    assert!(talk.state.timers().is_empty());
    // The machine decides the same again, from the record alone.
    let mut before = begun();
    before.say("later");
    let again = replay(before.flow.clone(), before.state.clone(), &outcome.record);
    assert_eq!(again.expect("it replays").state, outcome.state);
}

#[test]
fn a_turn_of_a_timer_can_set_it_anew() {
    let mut talk = begun();
    talk.say("two");
    let first = talk.state.timers()[1].clone();
    let outcome = fire(&mut talk, "other");
    assert_eq!(outcome.record.reply.text, "Time is up.");
    let second = talk.state.timers().iter().find(|timer| &*timer.id == "other").expect("it is set anew").clone();
    assert_ne!(first.request_id(), second.request_id());
    assert_eq!(talk.state.timers().len(), 2, "the other one goes on");
}

#[test]
fn a_refused_turn_sets_nothing_and_fires_all_the_same() {
    let mut talk = begun();
    talk.say("later");
    talk.say("blocked, sooner");
    assert_eq!(talk.state.timers()[0].set_turn, 1);
    // A position that is gone refuses the turn, which was the timer's all the same.
    let mut moved = begun();
    moved.say("later");
    let gone = flow(
        &FLOW
            .replace("initial: open, states: {open:", "initial: begin, states: {begin:")
            .replace("desk.open", "desk.begin"),
    );
    let outcome = moved.world.decide(&gone, moved.state.clone(), InputKind::Timer, "nudge");
    assert_eq!(outcome.record.outcome, TurnOutcome::Blocked);
    assert!(outcome.state.timers().is_empty(), "it fires once, whatever becomes of its turn");
}

#[test]
fn a_reset_closes_timers_by_word_and_by_request() {
    let mut talk = begun();
    talk.say("two");
    let by_request = reset(&talk.flow, &talk.state);
    let ended = |id: &str| Change::TimerEnded { id: id.into(), ending: TimerEnding::Reset };
    assert!(by_request.contains(&ended("nudge")) && by_request.contains(&ended("other")));
    talk.say("over");
    assert!(talk.state.timers().is_empty());
}

#[test]
fn timers_stay_with_a_conversation_and_not_with_what_begins_as_it_was() {
    let mut talk = begun();
    talk.say("two");
    let snapshot = SnapshotRecord {
        state: talk.state.clone(),
        flow: talk.flow.name().clone(),
        flow_tenant: String::new(),
        revision: talk.flow.revision(),
        created_at: talk.world.now,
        turns_remembered: Vec::new(),
        open_accepted: None,
    };
    let bytes = snapshot.encode().expect("it can be encoded");
    assert_eq!(SnapshotRecord::decode(&bytes).expect("it can be decoded").state, talk.state);
    assert!(talk.state.clone().without_timers().timers().is_empty());
}

#[test]
fn a_closed_turn_of_a_timer_is_its_end() {
    let mut talk = begun();
    talk.say("two");
    let asked = talk.state.timers()[0].request_id().expect("an id");
    talk.state.apply_closed(&asked);
    assert_eq!(talk.state.timers().len(), 1);
    talk.state.apply_closed(&asked);
    assert_eq!(talk.state.timers().len(), 1);
}

#[test]
fn an_upgrade_keeps_the_timers_that_the_new_revision_sets() {
    let mut talk = begun();
    talk.say("two");
    let newer = FLOW.replace("{remind: [{id: nudge, in: 1h}, {id: other, in: 2h}]}", "{flag: vip}");
    let newer = flow(&newer.replace("[{remind: {id: other, in: 2h}}]", "[{flag: vip}]").replace("'other'", "''"));
    let changes = colloquy_turn::upgrade(&talk.state, talk.flow.revision(), &newer).expect("it maps");
    assert_eq!(changes, [Change::TimerEnded { id: "other".into(), ending: TimerEnding::Unknown }]);
}

#[test]
fn a_conversation_has_room_for_so_many_timers() {
    let rules: String = (0..=TIMERS_MAX)
        .map(|number| format!("  - {{id: r{number}, in: any, when: text == '{number}', then: [{{remind: {{id: t{number}, in: 1h}}}}]}}\n"))
        .collect();
    let source = FLOW.replace("rules:\n", &format!("rules:\n{rules}"));
    let faults = faults(&source);
    assert!(faults.iter().any(|fault| fault.id == "too-large" && fault.message.contains("at most 16")), "{faults:?}");
    // What other revisions set counts as well, and the turn says that it went without.
    let few = |from: usize| {
        let rules: String = (from..from + 12)
            .map(|number| format!("  - {{id: r{number}, in: any, then: [{{remind: {{id: t{number}, in: 1h}}}}]}}\n"))
            .collect();
        let rules =
            format!("start: desk.open\nintents: {{desk: {{initial: open, states: {{open: {{}}}}}}}}\nrules:\n{rules}");
        flow(&format!("{rules}responses: [{{in: any, exact: fine}}]\n"))
    };
    let mut talk = Talk::new(few(0));
    talk.say("hello");
    assert_eq!(talk.state.timers().len(), 12);
    talk.flow = few(12);
    let outcome = talk.say("hello");
    assert_eq!(talk.state.timers().len(), TIMERS_MAX);
    assert_eq!(outcome.record.outcome, TurnOutcome::Degraded);
    let full = outcome.record.degradations.iter().filter(|one| one.reason == Reason::TimersFull).count();
    assert_eq!(full, 8);
}

#[test]
fn what_a_timer_says_is_remembered_as_said_by_nobody() {
    let prompted = "prompts: {advise: {purpose: respond, user: \"{{ text }}\", variables: [text], history: {turns: 4, tokens: 600}}}\n";
    let source = FLOW.replace(
        "responses:\n",
        &format!("{prompted}responses:\n  - {{in: any, when: \"text == 'advise'\", model: {{prompt: advise}}}}\n"),
    );
    let mut talk = Talk::new(flow(&source));
    talk.say("later");
    fire(&mut talk, "nudge");
    let last = talk.state.history().last().expect("it is remembered");
    assert_eq!((&*last.user, &*last.assistant), ("", "Are you still there?"));
    talk.say("advise");
    let (_, asked) = &talk.world.prompts()[0];
    assert_eq!(asked, "later\nFine.\nAre you still there?\nadvise");
}

#[test]
fn scenarios_let_time_pass_and_timers_fire() {
    let flow = flow(FLOW);
    let played = |turns: &str| {
        let source = format!("scenarios:\n  - name: one\n    turns:\n      - {{say: later, reply: Fine.}}\n{turns}");
        let scenarios = load_scenarios("scenarios.yaml", &source).expect("it is read");
        play(&flow, &scenarios[0]).map_err(|failure| failure.to_string())
    };
    let due = "      - {timer: nudge, after: 24h, restart: true, reply: Are you still there?, state: asked}\n";
    assert_eq!(played(due).expect("it holds").len(), 2);
    let early = played(&due.replace("24h", "23h")).expect_err("it is not due");
    assert!(early.contains("timer") && early.contains("later"), "{early}");
    let other = played(&due.replace("nudge", "other")).expect_err("it is not set");
    assert!(other.contains("not set"), "{other}");
    let twice = played(&format!("{due}{due}")).expect_err("it fires once");
    assert!(twice.contains("turn 3") && twice.contains("not set"), "{twice}");
}

#[test]
fn a_timer_that_fires_too_soon_is_no_timer() {
    for (given, id) in [("999ms", "bad-duration"), ("366d", "bad-duration"), ("soon", "bad-duration")] {
        let faults = faults(&FLOW.replace("24h", given));
        assert_eq!(faults.iter().map(|fault| fault.id).collect::<Vec<_>>(), [id], "{given}");
    }
}

#[test]
fn a_condition_on_a_timer_that_nothing_sets_is_told() {
    let faults = faults(&FLOW.replace("timer == 'other'", "timer == 'othre'"));
    assert!(faults.iter().any(|fault| fault.id == "condition-type"), "{faults:?}");
}
