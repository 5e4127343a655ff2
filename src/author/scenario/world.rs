//! The world of a scenario: a clock, identifiers and answers, all scripted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use colloquy_flow::{Flow, Json};
use colloquy_turn::{
    CallOutcome, ConversationState, Effect, EffectKind, EffectResult, EffectValue, Failure, InputKind, ModelOutput,
    Outcome, Stage, Step, TurnInput, Usage, start,
};
use colloquy_types::{RequestId, Timestamp, TurnId};

use super::script::{Answer, Fault, Script};

/// A world whose clock moves by a second with each turn, whose identifiers count up, and whose models,
/// sources and tools answer what a script says.
#[derive(Clone, Debug)]
pub struct ScriptedWorld {
    /// The time of the next turn.
    pub now: Timestamp,
    identifiers: u64,
    script: HashMap<String, Vec<Answer>>,
    calls: BTreeMap<String, usize>,
    prompts: Vec<(Arc<str>, String)>,
    arguments: Vec<(Arc<str>, Json)>,
    progress: Vec<(Stage, Arc<str>)>,
    unanswered: Vec<String>,
}

impl Default for ScriptedWorld {
    fn default() -> Self {
        // 2026-01-05T09:00:00Z, a Monday.
        let now = Timestamp::from_micros(1_767_603_600_000_000);
        Self {
            now,
            identifiers: 0,
            script: HashMap::new(),
            calls: BTreeMap::new(),
            prompts: Vec::new(),
            arguments: Vec::new(),
            progress: Vec::new(),
            unanswered: Vec::new(),
        }
    }
}

impl ScriptedWorld {
    /// Answers the next turn by `first`, and by `then` what that does not name.
    pub fn follow(&mut self, first: &Script, then: &Script) {
        self.script = then.iter().chain(first).cloned().collect();
    }

    /// How often prompts, enrichments and actions were asked in the last turn.
    pub fn calls(&self) -> &BTreeMap<String, usize> {
        &self.calls
    }

    /// The prompts that were asked in the last turn, in order, each with its messages a line each.
    pub fn prompts(&self) -> &[(Arc<str>, String)] {
        &self.prompts
    }

    /// What enrichments and actions were asked with in the last turn, in order.
    pub fn arguments(&self) -> &[(Arc<str>, Json)] {
        &self.arguments
    }

    /// What a server would have told user interfaces to show while the last turn waited, in order.
    pub fn progress(&self) -> impl Iterator<Item = &str> {
        self.progress.iter().map(|(_, text)| text.as_ref())
    }

    /// What was asked in the last turn although nothing is scripted for it; it was answered as unavailable.
    pub fn unanswered(&self) -> &[String] {
        &self.unanswered
    }

    /// Decides one turn of a text.
    pub fn turn(&mut self, flow: &Arc<Flow>, state: ConversationState, text: &str) -> Outcome {
        self.decide(flow, state, InputKind::Text, text)
    }

    /// Decides one turn, answering the machine's effects.
    pub fn decide(&mut self, flow: &Arc<Flow>, state: ConversationState, input: InputKind, text: &str) -> Outcome {
        self.calls.clear();
        self.prompts.clear();
        self.arguments.clear();
        self.progress.clear();
        self.unanswered.clear();
        let position = (state.intent().to_owned(), state.state().to_owned());
        let turn_id = TurnId(self.identifier());
        let input = TurnInput {
            turn_id,
            request_id: request_id(self.identifiers),
            request_digest: [0; 16],
            input,
            text: text.to_owned(),
            accepted_at: self.now,
        };
        let mut step = start(Arc::clone(flow), state, input, self.now);
        loop {
            match step {
                Step::Done(outcome) => {
                    self.now = self.now.plus(Duration::from_secs(1));
                    return *outcome;
                }
                Step::Perform(machine, effects) => {
                    if effects.iter().any(|effect| is_outside(&effect.kind)) {
                        self.show(machine.progress());
                    }
                    let results = effects.iter().map(|effect| {
                        EffectResult::at_once(effect.step, self.answer(flow, (&position.0, &position.1), effect))
                    });
                    let results = results.collect();
                    step = machine.resume(results);
                }
            }
        }
    }

    /// What stays while a stage asks several times is told once.
    fn show(&mut self, progress: Option<(Stage, &Arc<str>)>) {
        let shown = progress.map(|(stage, text)| (stage, Arc::clone(text)));
        self.progress.extend(shown.filter(|shown| self.progress.last() != Some(shown)));
    }

    fn answer(&mut self, flow: &Flow, position: (&str, &str), effect: &Effect) -> EffectValue {
        let name = match &effect.kind {
            EffectKind::Time => return EffectValue::Time(self.now),
            EffectKind::Identifier => return EffectValue::Identifier(self.identifier()),
            EffectKind::Model(request) => {
                let messages: Vec<&str> = request.messages.iter().map(|message| message.text.as_str()).collect();
                self.prompts.push((Arc::clone(&request.prompt), messages.join("\n")));
                Arc::clone(&request.prompt)
            }
            EffectKind::Fetch(request) | EffectKind::Act(request) => {
                self.arguments.push((Arc::clone(&request.name), request.arguments.clone()));
                Arc::clone(&request.name)
            }
        };
        let asked = self.calls.entry(name.to_string()).or_default();
        *asked += 1;
        let answers = self.script.get(name.as_ref()).map(Vec::as_slice).unwrap_or_default();
        let answer = answers.get(*asked - 1).or(answers.last()).cloned();
        let Some(answer) = answer else {
            self.unanswered.push(name.to_string());
            return value_of(&effect.kind, Answer::Fault(Fault::Unavailable), flow, position);
        };
        value_of(&effect.kind, answer, flow, position)
    }

    fn identifier(&mut self) -> [u8; 16] {
        self.identifiers += 1;
        let hash = blake3::hash(&self.identifiers.to_le_bytes());
        let mut identifier = [0; 16];
        identifier.copy_from_slice(hash.as_bytes().split_at(16).0);
        identifier
    }
}

/// Whether a turn waits for it: time and identifiers are at hand.
const fn is_outside(kind: &EffectKind) -> bool {
    matches!(kind, EffectKind::Model(_) | EffectKind::Fetch(_) | EffectKind::Act(_))
}

fn value_of(kind: &EffectKind, answer: Answer, flow: &Flow, position: (&str, &str)) -> EffectValue {
    let failure = match &answer {
        Answer::Fault(Fault::Timeout) => Failure::TimedOut,
        Answer::Fault(Fault::Refused) => Failure::Refused,
        Answer::Fault(Fault::Cancelled) => Failure::Cancelled,
        Answer::Fault(Fault::MalformedJson) => Failure::Malformed,
        _ => Failure::Unavailable,
    };
    match kind {
        EffectKind::Model(request) => EffectValue::Model(match answer {
            Answer::Text(text) => Ok(output(&text)),
            Answer::Value(value) => Ok(output(&value.to_string())),
            Answer::Partial(Json::Text(text)) => Ok(ModelOutput { truncated: true, ..output(&text) }),
            Answer::Partial(value) => Ok(ModelOutput { truncated: true, ..output(&value.to_string()) }),
            Answer::Fault(Fault::MalformedJson) => Ok(output("{\"text\": \"cut off in the mid")),
            Answer::Fault(Fault::IllegalTransition) => {
                let schema = request.schema.as_deref().and_then(|schema| Json::parse(schema).ok());
                let planned = schema.as_ref().and_then(|schema| schema.at("properties.tool.enum"));
                if let Some(allowed) = planned {
                    let tool = [("tool".into(), Json::Text(forbidden_tool(flow, allowed).into()))];
                    return EffectValue::Model(Ok(output(&Json::object(tool).to_string())));
                }
                let key = if request.schema.as_deref().is_some_and(|schema| schema.contains("\"act\"")) {
                    "act"
                } else {
                    "intent"
                };
                let chosen = unreachable_intent(flow, position).unwrap_or_default();
                let answer = [(key.into(), Json::Text(chosen.into())), ("confidence".into(), Json::Integer(100))];
                Ok(output(&Json::object(answer).to_string()))
            }
            Answer::Fault(_) => Err(failure),
        }),
        EffectKind::Fetch(_) => EffectValue::Fetch(outcome(answer, failure)),
        EffectKind::Act(_) => EffectValue::Act(outcome(answer, failure)),
        EffectKind::Time | EffectKind::Identifier => EffectValue::Identifier([0; 16]),
    }
}

fn outcome(answer: Answer, failure: Failure) -> CallOutcome {
    match answer {
        Answer::Text(text) => CallOutcome::Done(Json::Text(text)),
        Answer::Value(value) => CallOutcome::Done(value),
        Answer::Partial(value) => CallOutcome::Partial(value),
        Answer::Fault(Fault::Unknown) => CallOutcome::Unknown,
        Answer::Fault(_) => CallOutcome::Failed(failure),
    }
}

fn output(text: &str) -> ModelOutput {
    ModelOutput { text: text.into(), model: "scripted".into(), usage: Usage::default(), truncated: false }
}

/// An action that a planner may not call; a name that is none, if it may call them all.
fn forbidden_tool(flow: &Flow, allowed: &Json) -> String {
    let Json::List(allowed) = allowed else { return String::new() };
    let may = |name: &str| allowed.iter().any(|tool| tool.as_text() == Some(name));
    let forbidden = flow.actions().iter().find(|action| !may(&action.name));
    forbidden.map_or_else(|| "nothing_of_the_kind".to_owned(), |action| action.name.to_string())
}

/// An intent that a model may not choose at a position.
fn unreachable_intent(flow: &Flow, (intent, state): (&str, &str)) -> Option<String> {
    let here = flow.find_state(intent, state)?;
    let allowed = flow.model_intents(here);
    flow.intents().find(|(index, _)| !allowed.contains(index)).map(|(_, intent)| intent.name.to_string())
}

fn request_id(number: u64) -> RequestId {
    #[expect(clippy::expect_used, reason = "digits are visible ASCII")]
    RequestId::parse(&format!("scripted-{number}")).expect("digits are visible ASCII")
}
