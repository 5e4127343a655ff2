//! What single stages promise beyond their first page: policies one by one, flags that end, resets, questions
//! that ask which, structured input, replies in JSON, summaries.

use colloquy_turn::{Change, InputKind, Outcome, PendingEnding, Reason, ReplyKind, Stage, StageResult, TurnOutcome};

use super::machine::{Talk, event, flow};
use crate::scenario::{Answer, InjectedFault};

/// What prompts answer in the turns to come.
fn prompts(talk: &mut Talk, answers: &[(&str, &[Answer])]) {
    let script = answers.iter().map(|(name, answers)| ((*name).to_owned(), answers.to_vec())).collect();
    talk.world.follow(&script, &Vec::new());
}

fn text(text: &str) -> Answer {
    Answer::Text(text.into())
}

/// Sends structured input.
fn form(talk: &mut Talk, source: &str) -> Outcome {
    let outcome = talk.world.decide(&talk.flow, talk.state.clone(), InputKind::Json, source);
    talk.state = outcome.state.clone();
    outcome
}

const POLICIES: &str = r#"
start: desk.open
guard:
  policies:
    - {id: by-pattern, patterns: ['\b\d{16}\b'], block: No cards., enabled: PATTERN}
    - {id: by-word, contains: [Damn], block: No swearing., enabled: WORD}
    - {id: by-prefix, prefix: "/", block: No commands., enabled: PREFIX}
    - {id: by-length, longer_than: 30, block: No essays., enabled: LENGTH}
intents: {desk: {initial: open, states: {open: {}}}}
responses: [{in: any, exact: fine}]
"#;

/// BO-07: what is said is judged by pattern, word, beginning and length, each with a switch of its own.
#[test]
fn each_kind_of_policy_blocks_and_has_a_switch() {
    let cases = [
        ("PATTERN", "card 4111111111111111", "No cards."),
        ("WORD", "oh dAmn it", "No swearing."),
        ("PREFIX", "/help", "No commands."),
        ("LENGTH", "a text of more than thirty characters", "No essays."),
    ];
    for (off, ..) in cases {
        let mut source = POLICIES.to_owned();
        for (switch, ..) in cases {
            source = source.replace(switch, if switch == off { "false" } else { "true" });
        }
        let mut talk = Talk::new(flow(&source));
        for (switch, said, reply) in cases {
            let expected = if switch == off { "fine" } else { reply };
            let outcome = talk.say(said);
            assert_eq!(outcome.record.reply.text, expected, "{said:?} with {off} off");
            let reason = if switch == off { Reason::None } else { Reason::Policy };
            assert_eq!(event(&outcome, Stage::Guard).reason, reason);
        }
        assert_eq!(talk.reply("what about / then"), "fine", "a prefix is looked for at the beginning alone");
    }
}

const FLAGS: &str = r#"
start: desk.open
flags: [known, {name: hurried, lives: turn}, {name: anew, reset: true}]
slots: {note: {type: string, extract: 'note (?P<value>\w+)'}}
intents:
  desk: {initial: open, collect: [note], states: {open: {}, deep: {}}}
  fresh: {initial: at, reset: true, classify: {keywords: [[fresh]]}, states: {at: {}}}
transitions:
  - {from: "*", to: fresh.at, by: intent}
  - {from: desk.open, to: desk.deep, by: rule}
rules:
  - {id: known, in: any, when: "text.contains('known')", then: [{flag: known}]}
  - {id: hurried, in: any, when: "text.contains('hurry')", then: [{flag: hurried}]}
  - {id: anew, in: any, when: "text.contains('anew')", then: [{flag: anew}]}
  - {id: effect, in: any, when: "text.contains('rule')", then: [{reset: true}]}
  - {id: deep, in: desk.open, when: "text.contains('deep')", then: [{go: desk.deep}]}
responses:
  - {in: any, when: flags.hurried && flags.known, exact: both}
  - {in: any, when: flags.hurried, exact: hurried}
  - {in: any, when: flags.known, exact: known}
  - {in: any, exact: none}
"#;

/// CE-parity: a flag lives for the turn that raised it, or for the conversation.
#[test]
fn a_flag_of_one_turn_is_gone_in_the_next_and_one_of_the_conversation_is_not() {
    let mut talk = Talk::new(flow(FLAGS));
    assert_eq!(talk.reply("known, and in a hurry"), "both");
    assert_eq!(talk.state.flags(), ["known".into()]);
    assert_eq!(talk.reply("well"), "known");
    assert_eq!(talk.reply("hurry up"), "both");
    assert_eq!(talk.reply("well"), "known");
}

/// CE-008, CE-parity: a conversation starts over on a command, an intent, a flag or a rule.
#[test]
fn a_reset_by_command_intent_flag_or_rule_empties_the_conversation() {
    for said in ["start over", "a fresh one", "begin anew", "by the rule"] {
        let mut talk = Talk::new(flow(FLAGS));
        talk.say("known, note milk, and deep");
        assert_eq!((talk.state.state(), talk.state.slots().len(), talk.state.flags().len()), ("deep", 1, 1));
        let reset = talk.say(said);
        assert_eq!(event(&reset, Stage::Transition).result, StageResult::Moved, "{said:?}");
        assert_eq!(talk.state.position().to_string(), "desk.open", "{said:?}");
        assert!(talk.state.slots().is_empty() && talk.state.flags().is_empty(), "{said:?}");
        assert_eq!(reset.record.reply.text, "none", "{said:?}");
    }
}

const AGAIN: &str = r#"
start: desk.idle
slots:
  number: {type: integer}
  name: {type: string, extract: 'I am (?P<value>\w+)', scope: conversation}
intents:
  desk: {initial: idle, states: {idle: {terminal: true}}}
  ask: {initial: open, classify: {keywords: [[ask]]}, collect: [number, name], states: {open: {}, over: {terminal: true}}}
transitions:
  - {from: "*", to: ask.open, by: intent}
  - {from: ask.open, to: ask.over, by: rule}
rules: [{id: enough, in: ask.open, when: has(slots.number), then: [{go: ask.over}]}]
responses: [{in: any, template: "{{ intent }} {{ state }}"}]
"#;

/// CE-005, CE-008: an intent that begins anew forgets what it collected the last time, and nothing else.
#[test]
fn an_intent_begins_anew_from_its_terminal_state_and_goes_on_from_any_other() {
    let mut talk = Talk::new(flow(AGAIN));
    assert_eq!(talk.reply("ask, I am Ada"), "ask open");
    let on = talk.say("ask");
    assert_eq!(event(&on, Stage::Intent).result, StageResult::Stayed, "it is underway");
    assert_eq!(talk.reply("7"), "ask over");
    let anew = talk.say("ask");
    assert_eq!(
        (anew.record.reply.text.as_str(), event(&anew, Stage::Intent).result),
        ("ask open", StageResult::Matched)
    );
    assert!(talk.state.slot("number").is_none());
    assert!(talk.state.slot("name").is_some(), "it belongs to the conversation");
}

/// CE-001: structured input names an intent; whether it may begin here is for the transitions to say.
#[test]
fn an_intent_named_by_a_form_needs_a_transition_like_any_other() {
    let mut talk = Talk::new(flow(AGAIN));
    let named = form(&mut talk, r#"{"intent": "ask", "slots": {"number": 7}}"#);
    assert_eq!((named.record.reply.text.as_str(), event(&named, Stage::Intent).reason), ("ask over", Reason::Input));
    let refused = form(&mut talk, r#"{"intent": "desk"}"#);
    assert_eq!(refused.record.outcome, TurnOutcome::Blocked);
    assert_eq!(event(&refused, Stage::TransitionBlocked).reason, Reason::TransitionBlocked);
    assert_eq!(talk.state.position().to_string(), "ask.over");
}

const WHICH: &str = r#"
start: desk.open
clarify: "Which: {{ options }}?"
intents: {desk: {initial: open, states: {open: {}}}}
rules: [{id: all, in: desk.open, when: "text == 'all'", then: [{stage: [pay, post, tell]}]}]
actions:
  pay: {kind: local, label: the payment, priority: 5, choice: ['\bmoney\b'], confirm: {expires_turns: 9}}
  post: {kind: local, label: the parcel, priority: 5, confirm: {expires_turns: 9}}
  tell: {kind: local, label: the message, priority: 1, confirm: {expires_turns: 9}}
responses: [{in: any, when: "ended == 'executed'", exact: done}, {in: any, exact: sure?}]
"#;

fn waiting(talk: &Talk) -> Vec<&str> {
    talk.state.pending().iter().map(|pending| pending.action.as_ref()).collect()
}

/// CE-parity: of several that wait only the highest are asked about, and a choice closes the others asked about.
#[test]
fn a_question_which_is_meant_is_about_the_highest_and_closes_those_not_chosen() {
    for (answer, chosen) in [("the money", "pay"), ("yes, the parcel", "post")] {
        let mut talk = Talk::new(flow(WHICH));
        talk.say("all");
        assert_eq!(waiting(&talk), ["pay", "post", "tell"]);
        assert_eq!(talk.reply("yes"), "Which: the payment, the parcel?");
        assert_eq!(talk.reply("yes"), "Which: the payment, the parcel?", "a bare yes chooses nothing");
        let done = talk.say(answer);
        assert_eq!(done.record.reply.text, "done", "{answer:?}");
        let closed: Vec<PendingEnding> = done.record.changes.iter().filter_map(ending).collect();
        assert_eq!(closed, [PendingEnding::NotChosen, PendingEnding::Executed], "{chosen} ran alone");
        assert_eq!(waiting(&talk), ["tell"], "what was not asked about goes on waiting");
        assert_eq!(talk.reply("yes"), "done");
    }
    let mut talk = Talk::new(flow(WHICH));
    talk.say("all");
    let unasked = talk.say("yes, the money");
    assert_eq!(unasked.record.reply.text, "done", "a choice that comes with the yes needs no question");
    assert_eq!(waiting(&talk), ["post", "tell"], "and closes nothing that was not asked about");
}

fn ending(change: &Change) -> Option<PendingEnding> {
    match change {
        Change::PendingClosed { ending, .. } => Some(*ending),
        _ => None,
    }
}

const COLLISION: &str = r#"
start: desk.idle
understanding: {collision: {prompt: ask_which, max_chars: 40}}
intents:
  desk: {initial: idle, states: {idle: {terminal: true}}}
  buy: {label: a purchase, initial: at, classify: {keywords: [[lamp]]}, states: {at: {terminal: true}}}
  mend: {label: a repair, initial: at, classify: {keywords: [[lamp]]}, states: {at: {terminal: true}}}
transitions:
  - {from: "*", to: buy.at, by: intent}
  - {from: "*", to: mend.at, by: intent}
prompts:
  ask_which: {purpose: respond, user: "Ask which: {{ options }}", variables: [options], timeout: 1s}
responses: [{in: any, template: "{{ intent }}"}]
"#;

/// CE-008: intents that collide ask once in a row, in a model's words or by their labels.
#[test]
fn a_collision_asks_by_the_labels_when_a_model_gives_no_question() {
    let cases: [(Answer, &str, TurnOutcome); 4] = [
        (text("Buy one or mend one?"), "Buy one or mend one?", TurnOutcome::Complete),
        (text(" "), "a purchase, a repair?", TurnOutcome::Degraded),
        (text("A question that is far longer than forty characters?"), "a purchase, a repair?", TurnOutcome::Degraded),
        (Answer::Fault(InjectedFault::Timeout), "a purchase, a repair?", TurnOutcome::Degraded),
    ];
    for (answer, question, outcome) in cases {
        let mut talk = Talk::new(flow(COLLISION));
        prompts(&mut talk, &[("ask_which", &[answer])]);
        let asked = talk.say("my lamp");
        assert_eq!((asked.record.reply.text.as_str(), asked.record.outcome), (question, outcome));
        assert_eq!(asked.record.reply.kind, ReplyKind::Collision);
        assert_eq!(asked.record.reply.follow_ups, ["a purchase".into(), "a repair".into()]);
        assert_eq!(talk.reply("a repair"), "mend");
    }
}

/// CE-008: a question that is not answered is not asked again and again.
#[test]
fn a_collision_is_asked_once_in_a_row_and_again_after_another_turn() {
    let mut talk = Talk::new(flow(COLLISION));
    prompts(&mut talk, &[("ask_which", &[text("Which?")])]);
    assert_eq!(talk.reply("my lamp"), "Which?");
    assert_eq!(talk.reply("my lamp"), "buy", "the first is taken");
    assert_eq!(talk.reply("hm"), "buy");
    assert_eq!(talk.reply("my lamp"), "Which?");
}

const JSON: &str = r#"
start: desk.open
intents: {desk: {initial: open, states: {open: {terminal: true}}}}
prompts:
  tell: {purpose: respond, user: "{{ text }}", variables: [text], timeout: 1s}
  shorten: {purpose: summarise, user: "{{ answer }}", variables: [answer], timeout: 1s}
summary: {prompt: shorten, every_turns: 1, max_chars: 50}
responses:
  - in: any
    when: text.contains('tell')
    model:
      prompt: tell
      max_chars: 20
      schema: {type: object, properties: {say: {type: string}, sure: {type: boolean}}, required: [say]}
      say: "{{ answer.say }}!"
      malformed: That was no answer.
      failed: Later.
  - {in: any, exact: well}
"#;

/// CE-parity: a reply in JSON fits its schema, is repaired once, or gives way to what the row says instead.
#[test]
fn a_reply_in_json_fits_its_schema_or_is_sent_back_once_and_replaced() {
    let (good, bad, broken) = (r#"{"say": "Hello"}"#, r#"{"say": 7}"#, "Hello");
    let long = r#"{"say": "far more than twenty characters"}"#;
    let cases: [(&[Answer], &str, ReplyKind, usize); 6] = [
        (&[text(good)], "Hello!", ReplyKind::ModelJson, 1),
        (&[text(bad), text(good)], "Hello!", ReplyKind::ModelJson, 2),
        (&[text(broken), text(good)], "Hello!", ReplyKind::ModelJson, 2),
        (&[text(bad), text(broken), text(good)], "That was no answer.", ReplyKind::Fallback, 2),
        (&[text(long)], "That was no answer.", ReplyKind::Fallback, 1),
        (&[Answer::Fault(InjectedFault::Unavailable)], "Later.", ReplyKind::Fallback, 1),
    ];
    for (answers, reply, kind, asked) in cases {
        let mut talk = Talk::new(flow(JSON));
        prompts(&mut talk, &[("tell", answers), ("shorten", &[text("short")])]);
        let told = talk.say("tell me");
        assert_eq!((told.record.reply.text.as_str(), told.record.reply.kind), (reply, kind), "{answers:?}");
        assert_eq!(talk.world.calls().get("tell"), Some(&asked), "{answers:?}");
        assert_eq!(told.record.reply.json.is_some(), kind == ReplyKind::ModelJson);
    }
}

/// CE-parity: what a summary tells is kept when a new one cannot be had.
#[test]
fn an_old_summary_stays_when_the_new_one_fails_or_is_blank() {
    let mut talk = Talk::new(flow(JSON));
    prompts(&mut talk, &[("shorten", &[text("They said hello.")])]);
    talk.say("hello");
    for trouble in [Answer::Fault(InjectedFault::Timeout), text("  ")] {
        prompts(&mut talk, &[("shorten", &[trouble])]);
        let kept = talk.say("hello again");
        assert_eq!(event(&kept, Stage::Summarise).result, StageResult::Failed);
        assert_eq!(kept.record.outcome, TurnOutcome::Complete, "the reply lacks nothing");
        assert_eq!(talk.state.summary(), Some("They said hello."));
    }
    prompts(&mut talk, &[("shorten", &[text("They came back.")])]);
    talk.say("and again");
    assert_eq!(talk.state.summary(), Some("They came back."));
}
