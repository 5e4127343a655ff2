//! Answers that a flow writes down itself, for running without a model.

use std::time::Duration;

use crate::{json::Json, parts::Name, pattern::Pattern, prompt::Purpose};

/// What a scripted model does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptedFault {
    /// It does not answer in time.
    TimedOut,
    /// It cannot be reached.
    Unavailable,
    /// It says no.
    Refused,
    /// What it answers cannot be read.
    Malformed,
}

impl ScriptedFault {
    /// Every fault.
    pub const ALL: [Self; 4] = [Self::TimedOut, Self::Unavailable, Self::Refused, Self::Malformed];

    /// The fault's name as flows write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
        }
    }

    /// The fault with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// What a rule answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptedAnswer {
    /// A text.
    Say(Name),
    /// A value.
    Json(Json),
    /// Nothing: it fails.
    Fail(ScriptedFault),
}

/// One rule: which prompts it is for, and what it answers.
#[derive(Clone, Debug)]
pub struct ScriptedRule {
    /// The prompt; none fits every prompt.
    pub prompt: Option<Name>,
    /// The purpose; none fits every purpose.
    pub purpose: Option<Purpose>,
    /// Patterns, one of which the last message of the user must match; none of them fits everything.
    pub when: Vec<Pattern>,
    /// What it answers.
    pub answer: ScriptedAnswer,
    /// How long it takes before it begins.
    pub delay: Duration,
}

impl ScriptedRule {
    fn fits(&self, prompt: &str, purpose: Purpose, said: &str) -> bool {
        self.prompt.as_deref().is_none_or(|wanted| wanted == prompt)
            && self.purpose.is_none_or(|wanted| wanted == purpose)
            && (self.when.is_empty() || self.when.iter().any(|pattern| pattern.is_match(said)))
    }
}

/// The rules of a flow, in declared order.
#[derive(Clone, Debug, Default)]
pub struct Scripts(pub Vec<ScriptedRule>);

impl Scripts {
    /// The first rule that fits a prompt and the last message of its user.
    pub fn find(&self, prompt: &str, purpose: Purpose, said: &str) -> Option<&ScriptedRule> {
        self.0.iter().find(|rule| rule.fits(prompt, purpose, said))
    }
}
