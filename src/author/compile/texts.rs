//! Compiles every text of a flow, and checks that each names only what it may see.

use std::{collections::BTreeSet, sync::Arc};

use colloquy_flow::{
    ModelText, Name, Place, PromptPart, ResponseText, Scope, SlotScope,
    prompt::PROMPT_VARIABLES,
    template::{TEMPLATE_VARIABLES, TemplateRef, Templates},
};

use crate::{
    fault::{At, Faults},
    reader::{self, Written},
    source::{SourceArgument, SourceFlow, SourcePrompt, SourceText},
};

/// What clarifying questions say unless the flow says otherwise.
const CLARIFY: &str = "Which one do you mean: {{ options }}?";

/// The texts of a flow, compiled.
pub(crate) struct Texts {
    pub(super) templates: Templates,
    pub(super) responses: Vec<ResponseText>,
    pub(super) clarify: Option<ResponseText>,
    pub(super) collision: Option<ResponseText>,
    pub(super) prompts: Vec<PromptPart>,
    /// The texts among the arguments of enrichments, then of actions, in declared order.
    pub(super) arguments: Vec<Option<TemplateRef>>,
    /// Every variable that a text names, dotted.
    pub(crate) named: BTreeSet<String>,
}

/// What a template may see besides slots and what comes from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A reply.
    Reply,
    /// A question which of several is meant: sees `options`.
    Question,
    /// What is said of a model's answer: sees `answer`.
    Answer,
}

/// Compiles every text and checks that templates name only what they may see.
pub(crate) fn texts(source: &SourceFlow, faults: &mut Faults) -> Texts {
    let mut compiler = Compiler { source, templates: Templates::default(), named: BTreeSet::new(), faults };
    let every = source.places();
    let mut responses = Vec::with_capacity(source.responses.len());
    for row in &source.responses {
        let intents = intents_of(source, &row.scope, &every);
        responses.extend(compiler.text(&row.text, &intents, Kind::Reply));
    }
    let default = SourceText::Template(At { value: CLARIFY.to_owned(), mark: source.mark.clone() });
    let clarify = source.clarify.clone().map(SourceText::Template);
    let clarify = compiler.text(clarify.as_ref().unwrap_or(&default), &[], Kind::Question);
    let collision = source.understanding.collision.as_ref();
    let collision = collision.and_then(|text| compiler.text(text, &[], Kind::Question));
    let prompts = source.prompts.iter().filter_map(|prompt| compiler.prompt(prompt)).collect();
    let mut arguments = Vec::new();
    let of_enrichments = source.enrichments.iter().flat_map(|enrichment| &enrichment.arguments);
    let of_actions = source.actions.iter().filter_map(|action| action.tool.as_ref()).flat_map(|tool| &tool.arguments);
    for (_, argument) in of_enrichments.chain(of_actions) {
        if let SourceArgument::Template(said) = argument {
            arguments.push(compiler.template(said, &[], Kind::Reply));
        }
    }
    Texts { templates: compiler.templates, responses, clarify, collision, prompts, arguments, named: compiler.named }
}

fn intents_of(source: &SourceFlow, scope: &Written, every: &[Place]) -> Vec<Name> {
    let mut intents: Vec<Name> = match reader::resolve(scope, every) {
        Scope::Everywhere => source.intents.iter().map(|intent| Arc::clone(&intent.name.value)).collect(),
        Scope::At(places) => places.into_iter().map(|place| place.intent).collect(),
    };
    intents.sort();
    intents.dedup();
    intents
}

struct Compiler<'s, 'f> {
    source: &'s SourceFlow,
    templates: Templates,
    named: BTreeSet<String>,
    faults: &'f mut Faults,
}

impl Compiler<'_, '_> {
    fn text(&mut self, text: &SourceText, intents: &[Name], kind: Kind) -> Option<ResponseText> {
        match text {
            SourceText::Exact(text) => Some(ResponseText::Exact(Arc::clone(text))),
            SourceText::Template(said) | SourceText::Resume(said) => {
                self.template(said, intents, kind).map(ResponseText::Template)
            }
            SourceText::Model(model) => {
                let say = match &model.say {
                    None => None,
                    Some(say) => Some(self.template(say, intents, Kind::Answer)?),
                };
                Some(ResponseText::Model(Box::new(ModelText {
                    prompt: Arc::clone(&model.prompt.value),
                    chars_max: model.chars_max,
                    schema: model.schema.clone(),
                    say,
                    malformed: model.malformed.clone(),
                    failed: model.failed.clone(),
                })))
            }
        }
    }

    fn compiled(&mut self, said: &At<String>) -> Option<TemplateRef> {
        match self.templates.add(&said.value) {
            Ok(compiled) => {
                self.named.extend(self.templates.variables(&compiled));
                Some(compiled)
            }
            Err(error) => {
                let fix = "write {{ slots.name }}, {% if … %} … {% endif %}";
                self.faults.error("bad-template", &said.mark, error.to_string(), fix);
                None
            }
        }
    }

    fn template(&mut self, said: &At<String>, intents: &[Name], kind: Kind) -> Option<TemplateRef> {
        let compiled = self.compiled(said)?;
        for variable in self.templates.variables(&compiled) {
            let for_others = (variable == "options" && kind != Kind::Question)
                || (first(&variable) == "answer" && kind != Kind::Answer);
            let plain = TEMPLATE_VARIABLES.contains(&first(&variable)) && !for_others;
            if !plain && !self.knows_member(&variable) {
                let slots: Vec<String> =
                    self.source.slots.iter().map(|slot| format!("slots.{}", slot.name.value)).collect();
                let fix = format!("use intent, state, summary or one of {}", slots.join(", "));
                let message = format!("the template names {variable:?}, which it cannot see");
                self.faults.error("unknown-variable", &said.mark, message, fix);
                continue;
            }
            self.kept(said, &variable, intents);
        }
        Some(compiled)
    }

    /// Whether a dotted variable names a slot, an enrichment or an action that there is.
    fn knows_member(&self, variable: &str) -> bool {
        let mut parts = variable.split('.');
        let (Some(kind), Some(name)) = (parts.next(), parts.next()) else { return false };
        match kind {
            "slots" => self.source.slot(name).is_some(),
            "enrich" => self.source.enrichment(name).is_some(),
            "data" => self.source.enrichment(name).is_some_and(|enrichment| enrichment.keep),
            "result" => self.source.action(name).is_some_and(|action| action.tool.is_some()),
            _ => false,
        }
    }

    /// Reports a slot that is evicted where the template is used.
    fn kept(&mut self, said: &At<String>, variable: &str, intents: &[Name]) {
        let mut parts = variable.split('.');
        let (Some("slots"), Some(slot)) = (parts.next(), parts.next()) else { return };
        if self.source.slot(slot).is_none_or(|slot| slot.scope == SlotScope::Conversation) {
            return;
        }
        let keeps = |intent: &Name| self.source.intent(intent).is_none_or(|intent| intent.keeps(slot));
        if let Some(intent) = intents.iter().find(|intent| !keeps(intent)) {
            let message =
                format!("the template names slot {slot:?}, which intent {intent:?} neither collects nor keeps");
            self.faults.error(
                "unknown-variable",
                &said.mark,
                message,
                format!("add {slot} to keep of intent {intent}"),
            );
        }
    }

    fn prompt(&mut self, prompt: &SourcePrompt) -> Option<PromptPart> {
        for variable in &prompt.variables {
            let known = PROMPT_VARIABLES.contains(&variable.value.as_ref()) || self.knows_member(&variable.value);
            if !known {
                let message = format!("prompt {:?} lists {:?}, which there is not", prompt.name.value, variable.value);
                let fix = format!(
                    "list slots.<slot>, enrich.<enrichment>, data.<kept enrichment>, result.<tool action> or one of {}",
                    PROMPT_VARIABLES.join(", ")
                );
                self.faults.error("unknown-variable", &variable.mark, message, fix);
            }
        }
        let system = match &prompt.system {
            None => None,
            Some(said) => Some(self.listed(prompt, said)?),
        };
        let user = self.listed(prompt, &prompt.user)?;
        Some(PromptPart {
            name: Arc::clone(&prompt.name.value),
            purpose: prompt.purpose,
            system,
            user,
            variables: prompt.variables.iter().map(|variable| Arc::clone(&variable.value)).collect(),
            history: prompt.history,
            patience: prompt.patience,
            tokens_max: prompt.tokens_max,
        })
    }

    /// A template of a prompt: it may name what the prompt lists, and nothing else.
    fn listed(&mut self, prompt: &SourcePrompt, said: &At<String>) -> Option<TemplateRef> {
        let compiled = self.compiled(said)?;
        for variable in self.templates.variables(&compiled) {
            let mut listed = prompt.variables.iter().map(|listed| listed.value.as_ref());
            if !listed.any(|listed| {
                variable == listed || variable.strip_prefix(listed).is_some_and(|rest| rest.starts_with('.'))
            }) {
                let message = format!("prompt {:?} names {variable:?}, which it does not list", prompt.name.value);
                let fix = format!("add {variable} to its variables, or remove it from the text");
                self.faults.error("unlisted-variable", &said.mark, message, fix);
            }
        }
        Some(compiled)
    }
}

fn first(variable: &str) -> &str {
    variable.split('.').next().unwrap_or_default()
}
