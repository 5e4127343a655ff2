//! A world that answers whatever the generator came up with.

use std::{sync::Arc, time::Duration};

use colloquy_flow::{Flow, Json};
use colloquy_turn::{
    CallOutcome, ConversationState, EffectKind, EffectResult, EffectValue, Failure, InputKind, ModelOutput, Outcome,
    Step, TurnInput, Usage, start,
};
use colloquy_types::{RequestId, Timestamp, TurnId};
use proptest::prelude::*;

/// What models and tools answer, used over and over.
pub(super) type Answers = Vec<(String, u8)>;

/// Texts that a model might answer, and a number that decides which kind of answer it is.
pub(super) fn answers() -> impl Strategy<Value = Answers> {
    let choices =
        prop::sample::select(vec!["a", "b", "c", "d", "none", "nowhere", "affirm", "negate", "reset", "retry"]);
    let chosen = (choices, 0_i64..140)
        .prop_map(|(name, sure)| format!(r#"{{"intent": "{name}", "act": "{name}", "confidence": {sure}}}"#));
    let known = prop::sample::select(vec![
        r#"{"number": "A-1001", "amount": 12.5}"#,
        r#"{"number": null, "amount": "much"}"#,
        r#"{"number": "A-1001", "state": "b.end"}"#,
        r#"{"text": "Hello."}"#,
        r#"{"status": "sent", "next": true, "level": 3}"#,
        "```json\n{\"text\": \"fenced\"}\n```",
        r#"{"a":"#,
        "[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]",
        "1e400",
        "",
        "A text that is far too long for the forty characters the flow allows for it.",
    ])
    .prop_map(str::to_owned);
    let planned = prop_oneof![3 => fitting_tool(), 1 => any_tool()];
    let text = prop_oneof![4 => chosen, 4 => planned, 3 => known, 1 => any::<String>()];
    prop::collection::vec((text, any::<u8>()), 1..12)
}

/// Answers to a planner that fit some flow's schema.
fn fitting_tool() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        r#"{"tool": "none"}"#,
        r#"{"tool": "look"}"#,
        r#"{"tool": "weigh", "arguments": null}"#,
        r#"{"tool": "seek", "arguments": {"what": "lamps"}}"#,
        r#"{"tool": "seek", "arguments": {"what": "desks"}}"#,
        r#"{"tool": "seek", "arguments": {"what": 7}}"#,
        r#"{"tool": "browse_stock", "arguments": {"kind": "lamps"}}"#,
        r#"{"tool": "browse_stock", "arguments": {"kind": "desks", "sku": null}}"#,
        r#"{"tool": "price_item", "arguments": {"sku": "L-1"}}"#,
        r#"{"tool": "price_item", "arguments": {"sku": "L-2"}}"#,
    ])
    .prop_map(str::to_owned)
}

/// Answers to a planner that hardly ever fit.
fn any_tool() -> impl Strategy<Value = String> {
    let tools = ["seek", "grab", "never", "call", "nowhere", "confirmed", "browse_stock", "find_item"];
    let given = [r#"{"what": "what is far too long to be looked for"}"#, r#"{"number": "A-1001"}"#, "{}", "1"];
    (prop::sample::select(tools.to_vec()), prop::sample::select(given.to_vec()))
        .prop_map(|(tool, given)| format!(r#"{{"tool": "{tool}", "arguments": {given}}}"#))
}

pub(super) struct World<'a> {
    answers: &'a Answers,
    given: usize,
    now: Timestamp,
}

impl<'a> World<'a> {
    pub(super) fn new(answers: &'a Answers) -> Self {
        Self { answers, given: 0, now: Timestamp::from_micros(1_767_603_600_000_000) }
    }

    pub(super) fn turn(&mut self, flow: &Arc<Flow>, state: ConversationState, text: &str) -> Outcome {
        self.now = self.now.plus(Duration::from_secs(1));
        let input = TurnInput {
            turn_id: TurnId([1; 16]),
            request_id: RequestId::parse("any").expect("it is visible ASCII"),
            request_digest: [0; 16],
            input: if text.starts_with('{') { InputKind::Json } else { InputKind::Text },
            text: text.to_owned(),
            accepted_at: self.now,
        };
        let mut step = start(Arc::clone(flow), state, input, self.now);
        for _ in 0..100 {
            match step {
                Step::Done(outcome) => return *outcome,
                Step::Perform(machine, effects) => {
                    let results = effects
                        .iter()
                        .map(|effect| EffectResult::at_once(effect.step, self.answer(&effect.kind)))
                        .collect();
                    step = machine.resume(results);
                }
            }
        }
        panic!("the turn asks without end");
    }

    fn answer(&mut self, kind: &EffectKind) -> EffectValue {
        // Of a planner's questions most are answered with tools, or calls would be rare.
        let planned = matches!(kind, EffectKind::Model(request) if request.schema.as_ref().is_some_and(is_planned));
        let from_here = (0..self.answers.len()).map(|ahead| (self.given + ahead) % self.answers.len());
        let tool = from_here.clone().find(|place| planned && self.answers[*place].0.starts_with("{\"tool\""));
        let place = tool.unwrap_or(self.given % self.answers.len());
        self.given = place + 1;
        let (text, number) = &self.answers[place];
        let failures =
            [Failure::TimedOut, Failure::Unavailable, Failure::Refused, Failure::Malformed, Failure::Cancelled];
        let failure = failures[usize::from(*number) % failures.len()];
        let outcome = || match (number % 5, Json::parse(text)) {
            (0, _) => CallOutcome::Failed(failure),
            (1, _) => CallOutcome::Unknown,
            (2, Ok(value)) => CallOutcome::Partial(value),
            (_, Ok(value)) => CallOutcome::Done(value),
            (_, Err(_)) => CallOutcome::Done(Json::Text(text.as_str().into())),
        };
        match kind {
            EffectKind::Time => EffectValue::Time(self.now),
            EffectKind::Identifier => EffectValue::Identifier([*number; 16]),
            EffectKind::Model(_) if number % 7 == 0 => EffectValue::Model(Err(failure)),
            EffectKind::Model(_) => EffectValue::Model(Ok(ModelOutput {
                text: text.as_str().into(),
                model: "any".into(),
                usage: Usage { tokens_in: 3, ..Usage::default() },
                truncated: false,
            })),
            EffectKind::Fetch(_) => EffectValue::Fetch(outcome()),
            EffectKind::Act(_) => EffectValue::Act(outcome()),
        }
    }
}

fn is_planned(schema: &Arc<str>) -> bool {
    schema.contains(r#""tool":{"enum""#)
}
