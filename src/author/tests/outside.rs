//! What tools do and what models are told, on small flows made for the purpose.

use std::sync::Arc;

use colloquy_flow::{Flow, Json};
use colloquy_turn::{
    Change, EffectKind, EffectResult, EffectValue, InputKind, PendingEnding, Reason, ReplyKind, Stage, Step, TurnInput,
    TurnOutcome, start,
};
use colloquy_types::{RequestId, Timestamp, TurnId};

use super::machine::{Talk, event, flow};
use crate::{
    load::load_despite_faults,
    scenario::{Answer, InjectedFault},
};

fn acted() -> Arc<Flow> {
    let source = format!("format: colloquy.flow/v1\nname: test\nfallback: Fallback.\n{ACTED}");
    load_despite_faults(&source).expect("it compiles")
}

/// A tool that is confirmed and called, and a rule after it that leads where nothing is declared.
const ACTED: &str = r#"
start: desk.open
slots: {receipt: {type: string}}
intents: {desk: {initial: open, keep: [receipt], states: {open: {}, paid: {}, lost: {}}}}
transitions:
  - {from: desk.open, to: desk.paid, by: action}
  - {from: "*", to: desk.open, by: rule}
rules:
  - {id: pay, in: desk.open, when: "text == 'pay'", then: [{stage: pay}]}
  - {id: astray, phase: after_action, in: any, when: "ended == 'executed' && slots.receipt == 'R-2'", then: [{go: desk.lost}]}
actions:
  pay:
    kind: tool
    tool: bank/pay
    timeout: 1s
    confirm: {}
    results: {receipt: {path: receipt.number}}
    on_executed: desk.paid
responses:
  - {in: any, when: "ended != ''", template: "{{ state }} {{ slots.receipt }}"}
  - {in: any, when: "ended != ''", template: "{{ state }}"}
  - {in: any, exact: Sure?}
"#;

fn bank(talk: &mut Talk, answer: Answer) {
    talk.world.follow(&vec![("pay".to_owned(), vec![answer])], &Vec::new());
}

fn receipt(number: &str) -> Answer {
    Answer::Value(Json::parse(&format!(r#"{{"receipt": {{"number": "{number}"}}}}"#)).expect("it is JSON"))
}

#[test]
fn what_an_action_did_to_the_world_is_kept_when_the_turn_is_refused_later() {
    let mut talk = Talk::new(acted());
    talk.say("pay");
    bank(&mut talk, receipt("R-2"));
    let refused = talk.say("yes");
    assert_eq!(refused.record.outcome, TurnOutcome::Blocked);
    assert_eq!(event(&refused, Stage::TransitionBlocked).reason, Reason::TransitionBlocked);
    assert_eq!(talk.state.state(), "open", "nothing moved");
    assert!(talk.state.pending().is_empty(), "it was paid: a second yes must not pay again");
    assert_eq!(talk.state.slot("receipt").map(ToString::to_string).as_deref(), Some("R-2"));
}

/// CE-parity: a failed action can be confirmed again.
#[test]
fn an_action_that_failed_can_be_confirmed_again_and_retried() {
    for again in ["yes", "try again"] {
        let mut talk = Talk::new(acted());
        talk.say("pay");
        bank(&mut talk, Answer::Fault(InjectedFault::Timeout));
        let failed = talk.say("yes");
        assert_eq!((failed.record.outcome, failed.record.reply.text.as_str()), (TurnOutcome::Degraded, "open"));
        assert_eq!(talk.state.failed(), ["pay".into()]);
        bank(&mut talk, receipt("R-1"));
        assert_eq!(talk.reply(again), "paid R-1", "{again}");
        assert!(talk.state.failed().is_empty() && talk.state.pending().is_empty());
    }
}

#[test]
fn an_action_nobody_knows_the_end_of_is_told_and_not_run_again() {
    let mut talk = Talk::new(acted());
    talk.say("pay");
    bank(&mut talk, Answer::Fault(InjectedFault::Unknown));
    let unknown = talk.say("yes");
    assert_eq!((unknown.record.outcome, unknown.record.reply.text.as_str()), (TurnOutcome::Degraded, "open"));
    assert_eq!(event(&unknown, Stage::Act).reason, Reason::Unknown);
    assert!(
        unknown
            .record
            .changes
            .iter()
            .any(|change| { matches!(change, Change::PendingClosed { ending: PendingEnding::Unknown, .. }) })
    );
    bank(&mut talk, receipt("R-1"));
    assert_eq!(talk.reply("yes"), "Sure?", "there is nothing left to confirm");
    assert_eq!(talk.reply("try again"), "Sure?");
}

const ASKING: &str = r#"
start: desk.open
slots:
  name: {type: string, extract: 'name (?P<value>\w+)'}
  api_key: {type: string, extract: 'key (?P<value>\S+)'}
  note: {type: string, extract: 'note (?P<value>\S+)'}
intents: {desk: {initial: open, collect: [name, api_key, note], states: {open: {terminal: true}}}}
enrichments:
  customer: {source: crm, in: any, timeout: 1s, default: {}}
redact: {patterns: ['\bZX\d+\b'], keys: [pet]}
prompts:
  answer:
    purpose: respond
    system: You know {{ enrich.customer }}.
    user: "{{ text }} | {{ slots.name }} | {{ slots.api_key }} | {{ slots.note }}"
    variables: [text, slots.name, slots.api_key, slots.note, enrich.customer]
    history: {turns: 1, tokens: 100}
responses:
  - {in: any, when: "text.contains('ask')", model: {prompt: answer, max_chars: 20, failed: Later.}}
  - {in: any, exact: Noted ZX77.}
"#;

/// The messages of the only prompt of a turn, joined.
fn prompt_of(talk: &Talk, customer: &str, text: &str) -> String {
    let input = TurnInput {
        turn_id: TurnId([1; 16]),
        request_id: RequestId::parse("r").expect("it is visible ASCII"),
        request_digest: [0; 16],
        input: InputKind::Text,
        text: text.to_owned(),
        accepted_at: Timestamp::from_micros(1),
    };
    let mut step = start(Arc::clone(&talk.flow), talk.state.clone(), input, Timestamp::from_micros(1));
    loop {
        let Step::Perform(machine, effects) = step else { panic!("no prompt was made") };
        let mut results = Vec::new();
        for effect in &effects {
            match &effect.kind {
                EffectKind::Model(request) => {
                    return request.messages.iter().map(|message| message.text.as_str()).collect::<Vec<_>>().join("\n");
                }
                EffectKind::Fetch(_) => {
                    let value = Json::parse(customer).expect("it is JSON");
                    let value = EffectValue::Fetch(colloquy_turn::CallOutcome::Done(value));
                    results.push(EffectResult::at_once(effect.step, value));
                }
                other => panic!("{other:?} was not expected"),
            }
        }
        step = machine.resume(results);
    }
}

/// CE-004: secret-like values never appear in a prompt.
#[test]
fn secrets_never_reach_a_prompt() {
    let mut talk = Talk::new(flow(ASKING));
    let customer = vec![("customer".to_owned(), vec![Answer::Value(Json::Object(Vec::new()))])];
    talk.world.follow(&customer, &Vec::new());
    talk.say("my name ada key hunter2hunter2 note sk-live-0123456789abcdefghij and ZX42");
    let known = r#"{"level": 3, "password": "p4ss", "Access-Token": "t0k", "pet": "rex", "deep": [{"cvv": 123, "ok": "yes"}],
        "card": "4111 1111 1111 1111", "bearer": "Bearer abcdefghijklmnop", "n": 4111111111111111}"#;
    let prompt = prompt_of(&talk, known, "ask about ZX9001 with AKIAABCDEFGHIJKLMNOP");
    for secret in [
        "hunter2",
        "sk-live",
        "ZX42",
        "ZX77",
        "ZX9001",
        "p4ss",
        "t0k",
        "rex",
        "123,",
        "4111",
        "abcdefghijklmnop",
        "AKIA",
    ] {
        assert!(!prompt.contains(secret), "{secret} is in the prompt:\n{prompt}");
    }
    for kept in ["ada", "level", "3", "yes", "Noted", "ask about"] {
        assert!(prompt.contains(kept), "{kept} is missing from the prompt:\n{prompt}");
    }
}

/// CE-004, CE-006: prompts see what they list, or are refused.
#[test]
fn a_prompt_that_names_what_it_may_not_see_is_an_error_when_loaded_and_a_stage_when_run() {
    let unlisted = ASKING.replace("variables: [text, slots.name,", "variables: [text,");
    let source = format!("format: colloquy.flow/v1\nname: test\nfallback: Fallback.\n{unlisted}");
    let faults = crate::load_sources("test", vec![("f.yaml".to_owned(), source.clone())]).expect_err("it is refused");
    assert_eq!(faults.iter().map(|fault| fault.id).collect::<Vec<_>>(), ["unlisted-variable"]);
    let mut talk = Talk::new(load_despite_faults(&source).expect("it compiles"));
    talk.world.follow(&vec![("customer".to_owned(), vec![Answer::Fault(InjectedFault::Timeout)])], &Vec::new());
    let outcome = talk.say("ask, my name ada key kkkkkkkk note nnnn");
    let trouble =
        outcome.record.degradations.iter().find(|trouble| trouble.stage == Stage::Respond).expect("it is told");
    assert_eq!(trouble.reason, Reason::Prompt);
    assert_eq!((outcome.record.reply.text.as_str(), outcome.record.reply.kind), ("Later.", ReplyKind::Fallback));
    assert!(outcome.record.requests.iter().all(|request| request.name.as_ref() == "customer"), "no model was asked");
}

/// CE-parity: one repair, then the fallback.
#[test]
fn a_reply_that_is_too_long_is_sent_back_once_and_then_given_up() {
    let mut talk = Talk::new(flow(ASKING));
    let mut ask = |answers: &[&str]| {
        let answers = answers.iter().map(|text| Answer::Text((*text).into())).collect();
        let customer = ("customer".to_owned(), vec![Answer::Value(Json::Object(Vec::new()))]);
        talk.world.follow(&vec![customer, ("answer".to_owned(), answers)], &Vec::new());
        let outcome = talk.say("ask, my name ada key kkkkkkkk note nnnn");
        let asked = talk.world.calls().get("answer").copied();
        (outcome.record.reply.text, outcome.record.reply.kind, asked)
    };
    let long = "far more than twenty characters";
    assert_eq!(ask(&["short"]), ("short".to_owned(), ReplyKind::Model, Some(1)));
    assert_eq!(ask(&[long, "short"]), ("short".to_owned(), ReplyKind::Model, Some(2)));
    assert_eq!(ask(&[long, long, "short"]), ("Later.".to_owned(), ReplyKind::Fallback, Some(2)));
}

#[test]
fn a_reply_that_the_token_limit_cut_off_is_said_and_told_as_degraded() {
    let mut talk = Talk::new(flow(ASKING));
    let customer = ("customer".to_owned(), vec![Answer::Value(Json::Object(Vec::new()))]);
    let cut = vec![Answer::Partial(Json::Text("and then you".into()))];
    talk.world.follow(&vec![customer, ("answer".to_owned(), cut)], &Vec::new());
    let record = talk.say("ask, my name ada key kkkkkkkk note nnnn").record;
    assert_eq!((record.reply.text.as_str(), record.outcome), ("and then you", TurnOutcome::Degraded));
    let told: Vec<_> = record.degradations.iter().map(|trouble| (trouble.stage, trouble.reason)).collect();
    assert_eq!(told, [(Stage::Respond, Reason::Truncated)]);
}

/// CE-004: what a prompt saw is recorded by name.
#[test]
fn what_was_asked_is_recorded_by_its_variables_and_hash() {
    let mut talk = Talk::new(flow(ASKING));
    let mut record = |text: &str| {
        let customer = ("customer".to_owned(), vec![Answer::Value(Json::Object(Vec::new()))]);
        talk.world.follow(&vec![customer, ("answer".to_owned(), vec![Answer::Text("ok".into())])], &Vec::new());
        let record = talk.say(text).record;
        let request = record.requests.iter().find(|request| request.name.as_ref() == "answer").expect("it was asked");
        (request.variables.iter().map(ToString::to_string).collect::<Vec<_>>(), request.digest)
    };
    let (variables, one) = record("ask, my name ada key kkkkkkkk note nnnn");
    let (_, other) = record("ask, my name eve key kkkkkkkk note nnnn");
    assert_eq!(variables, ["text", "slots.api_key", "slots.name", "slots.note", "enrich.customer"]);
    assert_ne!(one, other);
}
