//! Which values live on after a move: a table of who keeps what, and from where to where.

use colloquy_turn::{Reason, Stage};

use super::machine::{Talk, event, flow};

/// One slot for each way of keeping: by the intent that collects it, by another that keeps it, by both, by the
/// conversation, by nobody but the turn that set it.
const KEPT: &str = r#"
start: home.idle
slots:
  own: {type: string}
  kept: {type: string}
  shared: {type: string}
  lasting: {type: string, scope: conversation}
  stray: {type: string}
intents:
  home: {initial: idle, classify: {keywords: [[home]]}, states: {idle: {terminal: true}}}
  first: {initial: one, collect: [own], keep: [shared], classify: {keywords: [[first]]}, states: {one: {}, two: {}, end: {terminal: true}}}
  second: {initial: one, keep: [kept, shared], classify: {keywords: [[second]]}, states: {one: {}}}
  aside: {initial: one, digression: true, classify: {keywords: [[aside]]}, states: {one: {}, end: {terminal: true}}}
transitions:
  - {from: "*", to: home.idle, by: intent}
  - {from: "*", to: first.one, by: intent}
  - {from: "*", to: second.one, by: intent}
  - {from: first.one, to: aside.one, by: digression}
  - {from: aside.one, to: aside.end, by: rule}
  - {from: first.one, to: first.two, by: rule}
  - {from: first.one, to: first.end, by: rule}
rules:
  - {id: fill, in: any, when: "text.contains('fill')", then: [{set: {own: a, kept: b, shared: c, lasting: d, stray: e}}]}
  - {id: two, in: first.one, when: "text == 'two'", then: [{go: first.two}]}
  - {id: end, in: first.one, when: "text == 'end'", then: [{go: first.end}]}
  - {id: back, in: aside.one, when: "text == 'back'", then: [{go: aside.end}]}
responses: [{in: any, template: "{{ intent }}.{{ state }}"}]
"#;

fn talk() -> Talk {
    let source = KEPT.replace("type: string", "type: string, extract: 'never (?P<value>\\w+)'");
    Talk::new(flow(&source))
}

fn held(talk: &Talk) -> Vec<&str> {
    let mut held: Vec<&str> = talk.state.slots().iter().map(|(slot, _)| slot.as_ref()).collect();
    held.sort_unstable();
    held
}

/// CE-005: fields that the new intent or state does not keep are evicted, and no others.
#[test]
fn a_move_evicts_what_neither_the_target_nor_what_is_interrupted_keeps() {
    let all_of_first = ["lasting", "own", "shared"];
    let cases: [(&[&str], &str, &[&str]); 8] = [
        (&["first fill"], "first.one", &all_of_first),
        (&["first fill", "hm"], "first.one", &all_of_first),
        (&["first fill", "two"], "first.two", &all_of_first),
        (&["first fill", "end"], "first.end", &all_of_first),
        (&["first fill", "second"], "second.one", &["lasting", "shared"]),
        (&["first fill", "second fill"], "second.one", &["kept", "lasting", "shared"]),
        (&["first fill", "home"], "home.idle", &["lasting"]),
        (&["first fill", "home", "start over"], "home.idle", &[]),
    ];
    for (said, position, expected) in cases {
        let mut talk = talk();
        said.iter().for_each(|text| drop(talk.say(text)));
        assert_eq!(
            (talk.state.position().to_string().as_str(), held(&talk).as_slice()),
            (position, expected),
            "{said:?}"
        );
    }
}

/// CE-005: what was interrupted keeps its fields until it is left; what interrupts keeps none after it.
#[test]
fn a_digression_evicts_nothing_of_what_it_interrupts_and_leaves_nothing_behind() {
    let mut talk = talk();
    talk.say("first fill");
    talk.say("aside fill");
    assert_eq!(held(&talk), ["lasting", "own", "shared"]);
    assert_eq!(talk.reply("back"), "aside.end\nfirst.one");
    assert_eq!(held(&talk), ["lasting", "own", "shared"]);
    talk.say("aside");
    let left = talk.say("second");
    assert_eq!(event(&left, Stage::Retain).reason, Reason::NotKept);
    assert_eq!(held(&talk), ["lasting", "shared"], "it was given up, and what it alone kept with it");
}
