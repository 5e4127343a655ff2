//! Planners: a model chooses which read-only tools are called, within what the flow lists.

mod faults;

use std::sync::Arc;

use colloquy_flow::{Json, Limits};
use colloquy_turn::{Detail, Outcome, Reason, Stage, StageResult, TurnOutcome, open_conversation, replay};

use super::machine::{Talk, event, flow};
use crate::{
    load::load_despite_faults,
    scenario::{Answer, InjectedFault},
};

const PLANNED: &str = r#"
start: desk.open
limits: {action_calls: 3}
slots:
  sku: {type: string, extract: 'number (?P<value>\w+)'}
  card: {type: string, extract: 'card (?P<value>\w+)', secret: true}
  stock: {type: integer}
intents: {desk: {initial: open, collect: [sku, card], keep: [stock], states: {open: {}, told: {}}}}
transitions: [{from: desk.open, to: desk.told, by: action}]
planners:
  asks: {in: desk.open, when: "text.contains('?')", prompt: choose, tools: [find, count, price], calls: 3}
actions:
  find:
    description: Finds an item by its name.
    kind: tool
    tool: a/find
    read_only: true
    timeout: 500ms
    arguments: {name: {chosen: {description: What it is called., type: string, max_chars: 10, normalise: lower}}, card: {slot: card}, most: 5}
    slots: [card]
  count: {kind: tool, tool: a/count, read_only: true, timeout: 500ms, arguments: {sku: {slot: sku}}, slots: [sku], results: {stock: {path: n}}, on_executed: desk.told}
  price: {kind: tool, tool: a/price, read_only: true, timeout: 500ms, arguments: {name: {chosen: {type: enum, values: [lamp, desk]}}, day: {chosen: {type: date}}}}
  other: {kind: tool, tool: a/other, read_only: true, timeout: 500ms}
rules:
  - {id: other, in: desk.open, when: "text == 'other'", then: [{stage: other}]}
prompts:
  choose: {purpose: classify, user: "{{ text }} {{ allowed }} {{ called }}", variables: [text, allowed, called], timeout: 500ms}
responses: [{in: any, when: has(slots.stock), template: "{{ slots.stock }}"}, {in: any, template: "{{ state }}"}]
"#;

const FIND: &str = r#"{"tool": "find", "arguments": {"name": "LAMP"}}"#;
const NONE: &str = r#"{"tool": "none"}"#;

fn planned() -> Talk {
    let mut talk = Talk::new(flow(PLANNED));
    talk.say("card 4711");
    talk
}

fn texts(answers: &[&str]) -> Vec<Answer> {
    answers.iter().map(|answer| Answer::Text((*answer).into())).collect()
}

fn value(text: &str) -> Answer {
    Answer::Value(Json::parse(text).expect("it is JSON"))
}

/// Says `text` while the model chooses one after the other and tools answer.
fn ask(talk: &mut Talk, text: &str, choices: &[&str], tools: &[(&str, Vec<Answer>)]) -> Outcome {
    let tools = tools.iter().map(|(name, answers)| ((*name).to_owned(), answers.clone()));
    talk.world.follow(&tools.chain([("choose".to_owned(), texts(choices))]).collect(), &Vec::new());
    let before = talk.state.clone();
    let outcome = talk.say(text);
    let again = replay(talk.flow.clone(), before, &outcome.record).expect("it replays");
    assert_eq!(again.record, outcome.record, "running it again decides the same");
    outcome
}

fn degradations(outcome: &Outcome) -> Vec<(Stage, Reason, &str)> {
    let told = outcome.record.degradations.iter();
    told.map(|told| (told.stage, told.reason, told.name.as_ref())).collect()
}

/// What a stage did, one after the other.
fn told(outcome: &Outcome, stage: Stage) -> Vec<(StageResult, Reason, Detail)> {
    let events = outcome.record.stages.iter().filter(|event| event.stage == stage);
    events.map(|event| (event.result, event.reason, event.detail.clone())).collect()
}

fn calls(talk: &Talk, name: &str) -> usize {
    talk.world.calls().get(name).copied().unwrap_or_default()
}

/// CE-parity: a planner calls what the model chose, and asks again with what came of it until the model has seen
/// enough.
#[test]
fn a_model_chooses_tools_until_it_has_seen_enough() {
    let mut talk = planned();
    let price = r#"{"tool": "price", "arguments": {"name": "Lamp", "day": "2026-01-31"}}"#;
    let answers = [("find", vec![value(r#"{"sku": "L-1"}"#)]), ("price", vec![value(r#"{"price": 12.5}"#)])];
    let outcome = ask(&mut talk, "a lamp?", &[FIND, price, NONE], &answers);
    assert_eq!((outcome.record.outcome, outcome.record.reply.text.as_str()), (TurnOutcome::Complete, "open"));
    let arguments: Vec<String> = talk.world.arguments().iter().map(|(name, with)| format!("{name} {with}")).collect();
    assert_eq!(
        arguments,
        [r#"find {"card":"4711","most":5,"name":"lamp"}"#, r#"price {"day":"2026-01-31","name":"lamp"}"#]
    );
    let matched = |name: &str| (StageResult::Matched, Reason::Model, Detail::Name(name.into()));
    let done = (StageResult::Done, Reason::Model, Detail::Name("asks".into()));
    assert_eq!(told(&outcome, Stage::Plan), [matched("find"), matched("price"), done]);
    assert_eq!(told(&outcome, Stage::Act).len(), 2, "each call is an action of the turn");
    let prompts: Vec<&str> = talk.world.prompts().iter().map(|(_, prompt)| prompt.as_str()).collect();
    assert_eq!(prompts.len(), 3);
    assert!(prompts[0].ends_with(" []") && prompts[0].contains("Finds an item by its name."), "{}", prompts[0]);
    let first = r#"{"arguments":{"name":"lamp"},"outcome":"done","result":{"sku":"L-1"},"tool":"find"}"#;
    assert!(prompts[1].ends_with(&format!(" [{first}]")), "{}", prompts[1]);
    assert!(prompts[2].contains(first) && prompts[2].contains(r#""result":{"price":12.5}"#), "{}", prompts[2]);
    assert!(!prompts.concat().contains("4711"), "a secret slot goes to the tool and to no prompt");
}

/// CE-004: what was secret in one result stays so in the next, though the first is gone.
#[test]
fn secrets_of_every_call_are_hidden_from_the_next_question() {
    let mut talk = planned();
    let other = r#"{"tool": "find", "arguments": {"name": "desk"}}"#;
    let answers = vec![value(r#"{"token": "sesame-1"}"#), value(r#"{"note": "say sesame-1 twice"}"#)];
    ask(&mut talk, "a lamp?", &[FIND, other, NONE], &[("find", answers)]);
    let prompts: Vec<&str> = talk.world.prompts().iter().map(|(_, prompt)| prompt.as_str()).collect();
    assert!(prompts[2].contains("say [redacted] twice"), "{}", prompts[2]);
    assert!(!prompts.concat().contains("sesame-1"));
}

/// The schema tells the model what may be chosen now, and nothing else.
#[test]
fn the_schema_names_the_tools_that_may_be_called_now() {
    let mut talk = planned();
    let outcome = ask(&mut talk, "a lamp?", &[NONE], &[]);
    let enumeration = r#""tool":{"enum":["find","price","none"],"type":"string"}"#;
    let input = talk.state.clone();
    let colloquy_turn::Step::Perform(_, effects) = colloquy_turn::start(
        talk.flow.clone(),
        input,
        colloquy_turn::TurnInput {
            turn_id: outcome.record.turn_id,
            request_id: outcome.record.request_id.clone(),
            request_digest: [0; 16],
            input: colloquy_turn::InputKind::Text,
            text: "a lamp?".to_owned(),
            accepted_at: outcome.record.accepted_at,
        },
        outcome.record.now,
    ) else {
        panic!("the model is asked")
    };
    let colloquy_turn::EffectKind::Model(request) = &effects[0].kind else { panic!("the model is asked") };
    let schema = request.schema.as_deref().expect("the answer is JSON");
    assert!(schema.contains(enumeration), "count lacks its slot: {schema}");
    // Two tools mean different things by `name`, so it is left open; `day` is of one alone.
    assert!(schema.contains(r#""name":{}"#) && schema.contains(r#""day":{"pattern""#), "{schema}");
    assert!(!schema.contains("card"), "what the model does not choose is not shown: {schema}");
}

/// CE-parity: only what is listed is called, whatever the model names.
#[test]
fn what_is_not_listed_is_refused_and_never_called() {
    for (chosen, name) in [("other", "other"), ("count", "count"), ("drop_table", "asks"), ("", "asks")] {
        let mut talk = planned();
        let answers = [("other", vec![value("1")]), ("count", vec![value("1")])];
        let outcome = ask(&mut talk, "a lamp?", &[&format!(r#"{{"tool": "{chosen}"}}"#)], &answers);
        assert_eq!(degradations(&outcome), [(Stage::Plan, Reason::OutOfScope, name)], "{chosen}");
        assert_eq!(outcome.record.outcome, TurnOutcome::Degraded);
        assert!(talk.world.arguments().is_empty() && calls(&talk, "choose") == 1, "{chosen}: nothing is called");
    }
}

#[test]
fn a_tool_is_not_called_where_it_has_no_place() {
    let elsewhere = PLANNED.replacen("in: desk.open, when", "in: desk.*, when", 1).replacen(
        "  price: {kind: tool",
        "  price: {in: desk.told, kind: tool",
        1,
    );
    let price = r#"{"tool": "price", "arguments": {"name": "lamp", "day": "2026-01-31"}}"#;
    let mut talk = Talk::new(flow(&elsewhere));
    talk.say("card 4711");
    let refused = ask(&mut talk, "a lamp?", &[price], &[("price", vec![value("1")])]);
    assert_eq!(degradations(&refused), [(Stage::Plan, Reason::OutOfScope, "price")]);
    assert_eq!(calls(&talk, "price"), 0);
}

/// CE-parity: the calls of a planner are capped by its own bound and by that of the turn.
#[test]
fn a_planner_that_wants_more_than_its_calls_is_stopped_and_the_turn_says_so() {
    let choices: Vec<String> =
        (0..9).map(|number| format!(r#"{{"tool": "find", "arguments": {{"name": "n{number}"}}}}"#)).collect();
    let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
    for (from, to, most) in [(", calls: 3", ", calls: 2", 2), ("", "", 3)] {
        let mut talk = Talk::new(flow(&PLANNED.replacen(from, to, 1)));
        talk.say("card 4711");
        let outcome = ask(&mut talk, "a lamp?", &choices, &[("find", vec![value("1")])]);
        assert_eq!(degradations(&outcome), [(Stage::Plan, Reason::CallCap, "find")]);
        assert_eq!((calls(&talk, "find"), calls(&talk, "choose")), (most, most + 1));
    }
    let mut talk = planned();
    let limits = Limits { action_calls: 1, ..*talk.flow.limits() };
    talk.flow = Arc::new(talk.flow.with_limits(limits));
    let outcome = ask(&mut talk, "a lamp?", &choices, &[("find", vec![value("1")])]);
    assert_eq!((degradations(&outcome), calls(&talk, "find")), (vec![(Stage::Plan, Reason::CallCap, "find")], 1));
    // The calls of a planner leave fewer to rules.
    let mut talk = Talk::new(flow(&PLANNED.replacen("text == 'other'", "true", 1)));
    talk.say("card 4711");
    let outcome = ask(&mut talk, "a lamp?", &choices, &[("find", vec![value("1")]), ("other", vec![value("1")])]);
    let capped = [(Stage::Plan, Reason::CallCap, "find"), (Stage::Act, Reason::CallCap, "other")];
    assert_eq!((degradations(&outcome), calls(&talk, "other")), (capped.to_vec(), 0));
    let enough = ask(&mut talk, "a lamp?", &[FIND, NONE], &[("find", vec![value("1")]), ("other", vec![value("1")])]);
    assert_eq!((enough.record.outcome, calls(&talk, "other")), (TurnOutcome::Complete, 1));
}

#[test]
fn the_same_call_is_not_made_twice() {
    let mut talk = planned();
    let again = r#"{"arguments": {"name": "lamp "}, "tool": "find"}"#;
    let outcome = ask(&mut talk, "a lamp?", &[FIND, again, NONE], &[("find", vec![value("1")])]);
    assert_eq!(degradations(&outcome), [(Stage::Plan, Reason::Repeated, "find")]);
    assert_eq!((calls(&talk, "find"), calls(&talk, "choose")), (1, 2));
    let other = r#"{"tool": "find", "arguments": {"name": "desk"}}"#;
    let outcome = ask(&mut talk, "a lamp?", &[FIND, other, NONE], &[("find", vec![value("1")])]);
    assert_eq!((outcome.record.outcome, calls(&talk, "find")), (TurnOutcome::Complete, 2));
}

/// CE-parity: a tool that fails is told to the model, which may choose another.
#[test]
fn a_call_that_fails_is_told_and_another_may_be_chosen() {
    let mut talk = planned();
    let price = r#"{"tool": "price", "arguments": {"name": "lamp", "day": "2026-01-31", "sku": null}}"#;
    let answers = [("find", vec![Answer::Fault(InjectedFault::Timeout)]), ("price", vec![value("3")])];
    let outcome = ask(&mut talk, "a lamp?", &[FIND, price, NONE], &answers);
    assert_eq!(degradations(&outcome), [(Stage::Act, Reason::TimedOut, "find")]);
    assert!(talk.world.prompts()[1].1.contains(r#""outcome":"timed_out","result":null"#));
    assert!(talk.state.failed().is_empty(), "only a model can choose its arguments, so no hint tries it again");
    assert_eq!(calls(&talk, "price"), 1);
    talk.say("try again");
    assert_eq!(calls(&talk, "find"), 0);
    // A second call that works makes the failure good.
    let other = r#"{"tool": "find", "arguments": {"name": "desk"}}"#;
    let failed_once = vec![Answer::Fault(InjectedFault::Unknown), value("1")];
    let flow_told = PLANNED.replacen(
        "{in: any, template",
        "{in: any, when: size(failed) > 0, exact: failed}, {in: any, template",
        1,
    );
    let mut talk = Talk::new(flow(&flow_told));
    talk.say("card 4711");
    assert_eq!(ask(&mut talk, "a lamp?", &[FIND, other, NONE], &[("find", failed_once)]).record.reply.text, "open");
    let failed = ask(&mut talk, "a lamp?", &[FIND, NONE], &[("find", vec![Answer::Fault(InjectedFault::Unknown)])]);
    assert_eq!(failed.record.reply.text, "failed");
}

/// CE-parity: an answer that does not fit is sent back once; then the turn goes on without.
#[test]
fn an_answer_that_does_not_fit_is_sent_back_once() {
    for wrong in [
        "{\"tool\": \"fi",
        "[]",
        "{}",
        r#"{"tool": 1}"#,
        r#"{"tool": "find", "why": "because"}"#,
        r#"{"tool": "find"}"#,
        r#"{"tool": "find", "arguments": ["lamp"]}"#,
        r#"{"tool": "find", "arguments": {"name": null}}"#,
        r#"{"tool": "find", "arguments": {"name": "much too long a name"}}"#,
        r#"{"tool": "find", "arguments": {"name": "lamp", "card": "0815"}}"#,
        r#"{"tool": "price", "arguments": {"name": "lamp", "day": "2026-02-30"}}"#,
        r#"{"tool": "price", "arguments": {"name": "sofa", "day": "2026-02-20"}}"#,
    ] {
        let mut talk = planned();
        let mended = ask(&mut talk, "a lamp?", &[wrong, FIND, NONE], &[("find", vec![value("1")])]);
        assert_eq!((mended.record.outcome, calls(&talk, "find")), (TurnOutcome::Complete, 1), "{wrong}");
        assert!(talk.world.prompts()[1].1.contains("That answer cannot be used"), "{wrong}");
        let given_up = ask(&mut talk, "a lamp?", &[wrong, wrong, FIND], &[("find", vec![value("1")])]);
        assert_eq!(degradations(&given_up), [(Stage::Plan, Reason::Malformed, "choose")], "{wrong}");
        assert_eq!((calls(&talk, "find"), calls(&talk, "choose")), (0, 2), "{wrong}");
    }
    let mut talk = planned();
    talk.world.follow(&vec![("choose".to_owned(), vec![Answer::Fault(InjectedFault::Timeout)])], &Vec::new());
    assert_eq!(degradations(&talk.say("a lamp?")), [(Stage::Plan, Reason::TimedOut, "choose")]);
}

/// CE-001: a planner moves nothing itself; what an action leads to is declared, and ends the planner's say.
#[test]
fn only_what_actions_declare_moves_the_conversation() {
    let mut talk = planned();
    let count = r#"{"tool": "count"}"#;
    let outcome = ask(&mut talk, "number L1?", &[count, FIND], &[("count", vec![value(r#"{"n": 7}"#)])]);
    assert_eq!((outcome.record.state.as_ref(), outcome.record.reply.text.as_str()), ("told", "7"));
    assert_eq!(calls(&talk, "choose"), 1, "where it led to the planner does not work");
    let moved = event(&outcome, Stage::Transition);
    let Detail::Proposal(proposal) = moved.detail else { panic!("the move is told") };
    assert_eq!((proposal.by.name(), proposal.name.as_ref()), ("action", "count"));
    assert_eq!(told(&outcome, Stage::Plan)[1], (StageResult::Done, Reason::None, Detail::Name("asks".into())));

    let undeclared = PLANNED.replacen("transitions: [{from: desk.open, to: desk.told, by: action}]", "", 1);
    let undeclared = format!("format: colloquy.flow/v1\nname: test\nfallback: Fallback.\n{undeclared}");
    let mut talk = Talk::new(load_despite_faults(&undeclared).expect("it compiles"));
    let refused = ask(&mut talk, "number L1?", &[count], &[("count", vec![value(r#"{"n": 7}"#)])]);
    assert_eq!((refused.record.outcome, calls(&talk, "count")), (TurnOutcome::Blocked, 0));
    assert_eq!(event(&refused, Stage::TransitionBlocked).reason, Reason::TransitionBlocked);
}

#[test]
fn a_planner_works_while_its_condition_holds() {
    let mut talk = planned();
    let outcome = ask(&mut talk, "no question", &[FIND], &[]);
    assert_eq!(told(&outcome, Stage::Plan), [(StageResult::NoMatch, Reason::None, Detail::None)]);
    assert_eq!(calls(&talk, "choose"), 0);
    let until = PLANNED.replacen("\"text.contains('?')\"", "\"!has(result.find.sku)\"", 1);
    let mut talk = Talk::new(flow(&until));
    talk.say("card 4711");
    let other = r#"{"tool": "find", "arguments": {"name": "desk"}}"#;
    let answers = [("find", vec![value(r#"{"hits": 0}"#), value(r#"{"sku": "D-1"}"#)])];
    let outcome = ask(&mut talk, "a lamp?", &[FIND, other, NONE], &answers);
    assert_eq!((outcome.record.outcome, calls(&talk, "choose")), (TurnOutcome::Complete, 2));
    // What cannot be evaluated counts as false and is told once.
    let mut talk = Talk::new(flow(&PLANNED.replacen("\"text.contains('?')\"", "\"slots.stock > 1\"", 1)));
    let outcome = ask(&mut talk, "a lamp?", &[FIND], &[]);
    assert_eq!(degradations(&outcome), [(Stage::Plan, Reason::Condition, "asks")]);
    let second = "  second: {in: desk.open, prompt: choose, tools: price, calls: 1}\nactions:\n";
    let broken = PLANNED.replacen("\"text.contains('?')\"", "\"slots.stock > 1\"", 1).replacen("actions:\n", second, 1);
    let mut talk = Talk::new(flow(&broken));
    let outcome = ask(&mut talk, "a lamp?", &[NONE], &[]);
    assert_eq!(degradations(&outcome), [(Stage::Plan, Reason::Condition, "asks")]);
    assert_eq!(calls(&talk, "choose"), 1, "the next planner has its say");
    // Where no tool has what it needs, nobody is asked.
    let alone = PLANNED.replacen("[find, count, price]", "count", 1);
    let alone = load_despite_faults(&format!("format: colloquy.flow/v1\nname: test\nfallback: Fallback.\n{alone}"));
    let mut talk = Talk::new(alone.expect("it compiles"));
    let outcome = ask(&mut talk, "a lamp?", &[NONE], &[]);
    assert_eq!((calls(&talk, "choose"), told(&outcome, Stage::Plan)[0].1), (0, Reason::OutOfScope));
}

/// In one turn one planner works: another does not take over where the first has no say any more.
#[test]
fn one_planner_works_in_a_turn() {
    let second =
        "planners:\n  first: {in: desk.open, when: \"!has(result.find.sku)\", prompt: choose, tools: find, calls: 3}\n";
    let mut talk = Talk::new(flow(&PLANNED.replacen("planners:\n", second, 1)));
    talk.say("card 4711");
    let outcome = ask(&mut talk, "a lamp?", &[FIND, FIND], &[("find", vec![value(r#"{"sku": "L-1"}"#)])]);
    assert_eq!((outcome.record.outcome, calls(&talk, "choose")), (TurnOutcome::Complete, 1));
    assert_eq!(told(&outcome, Stage::Plan)[1], (StageResult::Done, Reason::None, Detail::Name("first".into())));
}

#[test]
fn no_planner_works_when_a_confirmation_is_answered() {
    let waits = PLANNED.replacen("actions:\n", "actions:\n  buy: {kind: local, confirm: {}}\n", 1).replacen(
        "rules:\n",
        "rules:\n  - {id: buy, in: desk.open, when: \"text == 'buy'\", then: [{stage: buy}]}\n",
        1,
    );
    let mut talk = Talk::new(flow(&waits));
    talk.say("card 4711");
    talk.say("buy");
    let outcome = ask(&mut talk, "yes?", &[FIND], &[("find", vec![value("1")])]);
    assert_eq!(told(&outcome, Stage::Plan), [(StageResult::Skipped, Reason::Decided, Detail::None)]);
    assert_eq!((calls(&talk, "choose"), talk.state.pending().len()), (0, 0));
}

/// Where no planner is declared, a turn says nothing of planners.
#[test]
fn flows_without_planners_decide_as_before() {
    let source = PLANNED.lines().filter(|line| !line.starts_with("planners:") && !line.starts_with("  asks:"));
    let source: Vec<&str> = source.collect();
    let mut talk = Talk::new(flow(&source.join("\n")));
    assert!(told(&talk.say("a lamp?"), Stage::Plan).is_empty());
}

/// Planners stand in the state they begin in: a conversation that holds nothing is asked like any other.
#[test]
fn a_conversation_may_begin_with_a_planner() {
    let flow = flow(PLANNED);
    let mut talk = Talk { world: crate::scenario::ScriptedWorld::default(), state: open_conversation(&flow), flow };
    let price = r#"{"tool": "price", "arguments": {"name": "desk", "day": "2026-01-31"}}"#;
    let outcome = ask(&mut talk, "a desk?", &[price, NONE], &[("price", vec![value("3")])]);
    assert_eq!((outcome.record.outcome, calls(&talk, "price")), (TurnOutcome::Complete, 1));
}
