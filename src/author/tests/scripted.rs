//! What a scripted model answers, as flows write it.

use std::time::Duration;

use colloquy_flow::{Json, Purpose, ScriptedAnswer, ScriptedFault};

use super::machine::flow;

const SCRIPTED: &str = r#"
start: desk.open
intents: {desk: {initial: open, states: {open: {terminal: true}}}}
prompts:
  answer: {purpose: respond, user: "{{ text }}", variables: [text]}
  choose: {purpose: classify, user: "{{ text }}", variables: [text]}
responses:
  - {in: any, when: "text == 'ask'", model: {prompt: answer}}
  - {in: any, exact: Yes?}
scripted:
  - {prompt: choose, json: {intent: none, confidence: 10}}
  - {when: ['\bslow\b', later], fail: timed_out, delay: 200ms}
  - {purpose: respond, say: "Here you are. "}
"#;

#[test]
fn the_first_rule_that_fits_is_found() {
    let flow = flow(SCRIPTED);
    let find = |prompt: &str, purpose, said: &str| {
        flow.scripts().find(prompt, purpose, said).map(|rule| (rule.answer.clone(), rule.delay))
    };
    let value = Json::parse(r#"{"confidence":10,"intent":"none"}"#).expect("it is JSON");
    assert_eq!(find("choose", Purpose::Classify, "slow"), Some((ScriptedAnswer::Json(value), Duration::ZERO)));
    let late = ScriptedAnswer::Fail(ScriptedFault::TimedOut);
    assert_eq!(find("answer", Purpose::Respond, "LATER"), Some((late.clone(), Duration::from_millis(200))));
    assert_eq!(find("answer", Purpose::Extract, "so slow"), Some((late, Duration::from_millis(200))));
    let said = ScriptedAnswer::Say("Here you are.".into());
    assert_eq!(find("answer", Purpose::Respond, "slowly"), Some((said, Duration::ZERO)));
    assert_eq!(find("answer", Purpose::Extract, "now"), None);
}

#[test]
fn faults_of_scripted_rules_are_told() {
    for (rule, wanted) in [
        ("{prompt: anwser, say: x}", "unknown-prompt"),
        ("{purpose: reply, say: x}", "bad-value"),
        ("{when: '(', say: x}", "bad-pattern"),
        ("{say: x, json: {}}", "bad-value"),
        ("{prompt: answer}", "bad-value"),
        ("{fail: unlucky}", "bad-value"),
        ("{say: x, delay: soon}", "bad-duration"),
        ("{says: x}", "unknown-key"),
        ("just a text", "wrong-type"),
    ] {
        let source = format!("format: colloquy.flow/v1\nname: test\nfallback: Fallback.\n{SCRIPTED}  - {rule}\n");
        let faults = crate::load_sources("test", vec![("f.yaml".to_owned(), source)]).expect_err(rule);
        assert!(faults.iter().any(|fault| fault.id == wanted), "{rule}: {faults:?}");
    }
}
