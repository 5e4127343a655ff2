//! The scripted model: rules in order, faults, delays, and the same answer each time.

use std::{sync::Arc, time::Duration};

use colloquy_flow::{Json, Pattern, Purpose, ScriptedAnswer, ScriptedFault, ScriptedRule, Scripts};
use tokio::{sync::mpsc, time::Instant};

use super::{request, with_schema, within};
use crate::{Error, Fault, Finish, Limits, Message, Model as _, Refusal, Request, Scripted};

fn rule(answer: ScriptedAnswer) -> ScriptedRule {
    ScriptedRule { prompt: None, purpose: None, when: Vec::new(), answer, delay: Duration::ZERO }
}

fn say(text: &str) -> ScriptedAnswer {
    ScriptedAnswer::Say(text.into())
}

fn asked(rules: Vec<ScriptedRule>) -> Request {
    Request { scripts: Some(Arc::new(Scripts(rules))), ..request() }
}

fn model() -> Scripted {
    Scripted::new("scripted".into())
}

#[tokio::test(start_paused = true)]
async fn the_first_rule_that_fits_answers() {
    let pattern = |source: &str| vec![Pattern::compile(source).expect("a pattern")];
    let rules = vec![
        ScriptedRule { prompt: Some("other".into()), ..rule(say("of another prompt")) },
        ScriptedRule { purpose: Some(Purpose::Classify), ..rule(say("of another purpose")) },
        ScriptedRule { when: pattern("no such word"), ..rule(say("of other words")) },
        ScriptedRule { prompt: Some("answer".into()), when: pattern("THE WORD"), ..rule(say("this one")) },
        rule(say("too late")),
    ];
    let mut asked = asked(rules);
    let answer = model().attempt(&asked, within(100), None).await.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.finish, answer.model.as_ref()), ("this one", Finish::Stop, "scripted"));
    assert_eq!((answer.usage.tokens_in, answer.usage.tokens_out), (8, 2), "four bytes a token");
    asked.messages.push(Message::User("nothing of it".into()));
    assert_eq!(model().attempt(&asked, within(100), None).await.expect("an answer").text, "too late");
    let alone = Request { scripts: None, ..request() };
    assert_eq!(model().attempt(&alone, within(100), None).await, Err(Error::NotScripted));
    assert_eq!(model().attempt(&self::asked(Vec::new()), within(100), None).await, Err(Error::NotScripted));
}

#[tokio::test(start_paused = true)]
async fn text_is_streamed_word_by_word_and_json_checked() {
    let (to, mut deltas) = mpsc::channel(8);
    model().attempt(&asked(vec![rule(say("One two three."))]), within(100), Some(to)).await.expect("an answer");
    let mut seen = Vec::new();
    while let Some(delta) = deltas.recv().await {
        seen.push(delta);
    }
    assert_eq!(seen, ["One ", "two ", "three."]);
    let value = ScriptedAnswer::Json(Json::parse(r#"{"n": "x"}"#).expect("it is JSON"));
    let schema = with_schema(r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#);
    let json = Request { scripts: asked(vec![rule(value)]).scripts, ..schema };
    let answer = model().attempt(&json, within(100), None).await.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.misfit.map(|misfit| misfit.at)), (r#"{"n":"x"}"#, Some("#/n".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn faults_look_as_they_would_from_outside() {
    for (fault, wanted) in [
        (ScriptedFault::TimedOut, Error::TimedOut),
        (ScriptedFault::Unavailable, Error::Overloaded { retry_after: None }),
        (ScriptedFault::Refused, Error::Status { code: 400, class: Refusal::Invalid, retry_after: None }),
        (ScriptedFault::Malformed, Error::Malformed(Fault::Shape)),
    ] {
        let asked = asked(vec![rule(ScriptedAnswer::Fail(fault))]);
        assert_eq!(model().attempt(&asked, within(100), None).await, Err(wanted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_waited_for_within_the_limits() {
    let delay = Duration::from_millis(80);
    let asked = asked(vec![ScriptedRule { delay, ..rule(say("late")) }]);
    let took = async |limits: Limits| {
        let began = Instant::now();
        let ended = model().attempt(&asked, limits, None).await.map(|answer| answer.text);
        (ended, began.elapsed())
    };
    let millis = Duration::from_millis;
    // The paused clock counts whole milliseconds, rounded up.
    assert_eq!(took(within(100)).await, (Ok("late".to_owned()), millis(80)));
    assert_eq!(took(within(50)).await, (Err(Error::TimedOut), millis(50)));
    let patient = Limits { first_token: millis(30), ..within(100) };
    assert_eq!(took(patient).await, (Err(Error::FirstTokenLate), millis(30)));
}
