//! What a turn promises beyond what a client of the wire can see: flags, stages, prompts, and what must not
//! happen.

use std::sync::Arc;

use colloquy_flow::Pattern;
use colloquy_turn::{Detail, Outcome, Reason, Stage, StageEvent, StageResult};

use super::compare::Mismatch;
use crate::replay;

/// What else must come of a turn. Lists are compared without regard to order, follow-ups aside.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// Exactly the flags that are raised after the turn.
    pub flags: Option<Vec<String>>,
    /// Exactly the actions that wait for a confirmation after the turn.
    pub pending: Option<Vec<String>>,
    /// Exactly what the reply offers to say next, in order.
    pub follow_ups: Option<Vec<String>>,
    /// Exactly what the turn had to do without, by name; by stage where there is no name.
    pub degradations: Option<Vec<String>>,
    /// Stage events of which each must be there.
    pub stages: Vec<StagePromise>,
    /// Prompts that must be asked, and what must and must not stand in them.
    pub prompts: Vec<PromptPromise>,
    /// What must not happen.
    pub never: Never,
}

/// An event of a stage; what is not given may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagePromise {
    /// The stage.
    pub stage: Stage,
    /// Its result.
    pub result: Option<StageResult>,
    /// Its reason.
    pub reason: Option<Reason>,
    /// A name it is about: an intent, slot, rule or action.
    pub name: Option<String>,
}

/// A prompt that must be asked in a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptPromise {
    /// The prompt.
    pub name: String,
    /// Texts that must stand in its messages.
    pub contains: Vec<String>,
    /// Texts that must not.
    pub lacks: Vec<String>,
}

/// What must not come of a turn.
#[derive(Clone, Debug, Default)]
pub struct Never {
    /// No match of this pattern in the reply.
    pub reply_pattern: Option<Pattern>,
    /// Another intent than this.
    pub intent: Option<String>,
    /// Another state than this.
    pub state: Option<String>,
    /// Slots that must not be filled.
    pub slots: Vec<String>,
    /// Events that must not be there. One that names its stage alone means any event but a skipped one.
    pub stages: Vec<StagePromise>,
}

impl StagePromise {
    fn is_kept_by(&self, event: &StageEvent) -> bool {
        let named = |name: &String| match &event.detail {
            Detail::None => false,
            Detail::Name(held) => **held == **name,
            Detail::Names(held) => held.iter().any(|held| **held == **name),
            Detail::Proposal(proposal) => *proposal.name == **name,
        };
        event.stage == self.stage
            && self.result.is_none_or(|result| result == event.result)
            && self.reason.is_none_or(|reason| reason == event.reason)
            && self.name.as_ref().is_none_or(named)
    }

    fn is_broken_by(&self, event: &StageEvent) -> bool {
        let bare = self.result.is_none() && self.reason.is_none() && self.name.is_none();
        self.is_kept_by(event) && !(bare && event.result == StageResult::Skipped)
    }

    fn words(&self) -> String {
        let words = [
            Some(self.stage.name()),
            self.result.map(StageResult::name),
            self.reason.map(|reason| if reason == Reason::None { "none" } else { reason.name() }),
            self.name.as_deref(),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl Promises {
    /// Compares a decided turn, and the prompts that were asked in it, with what is promised.
    pub(super) fn check(&self, outcome: &Outcome, prompts: &[(Arc<str>, String)]) -> Result<(), Mismatch> {
        let (state, record) = (&outcome.state, &outcome.record);
        same_names("flags", self.flags.as_ref(), state.flags().iter().map(AsRef::as_ref))?;
        same_names("pending", self.pending.as_ref(), state.pending().iter().map(|pending| &*pending.action))?;
        let without = record.degradations.iter().map(|degradation| match &*degradation.name {
            "" => degradation.stage.name(),
            name => name,
        });
        same_names("degradations", self.degradations.as_ref(), without)?;
        self.check_follow_ups(&record.reply.follow_ups)?;
        for promise in &self.stages {
            if !record.stages.iter().any(|event| promise.is_kept_by(event)) {
                let came = lines(record.stages.iter().filter(|event| event.stage == promise.stage));
                return Err(Mismatch::new(format!("stage {}", promise.stage), promise.words(), came));
            }
        }
        self.prompts.iter().try_for_each(|promise| promise.check(prompts))?;
        self.never.check(outcome)
    }

    fn check_follow_ups(&self, got: &[Arc<str>]) -> Result<(), Mismatch> {
        match &self.follow_ups {
            Some(expected) if !expected.iter().map(String::as_str).eq(got.iter().map(AsRef::as_ref)) => {
                Err(Mismatch::new("follow_ups", expected.join(", "), got.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

impl PromptPromise {
    fn check(&self, prompts: &[(Arc<str>, String)]) -> Result<(), Mismatch> {
        let what = || format!("prompt {}", self.name);
        let asked: Vec<&str> =
            prompts.iter().filter(|(name, _)| **name == *self.name).map(|(_, text)| text.as_str()).collect();
        if asked.is_empty() {
            return Err(Mismatch::new(what(), "to be asked", "not asked in this turn"));
        }
        let held = |text: &&String| asked.iter().any(|asked| asked.contains(text.as_str()));
        if let Some(absent) = self.contains.iter().find(|text| !held(text)) {
            return Err(Mismatch::new(what(), format!("to contain {absent}"), asked.join("\n")));
        }
        match self.lacks.iter().find(held) {
            Some(present) => Err(Mismatch::new(what(), format!("to lack {present}"), asked.join("\n"))),
            None => Ok(()),
        }
    }
}

impl Never {
    fn check(&self, outcome: &Outcome) -> Result<(), Mismatch> {
        let record = &outcome.record;
        if let Some(pattern) = self.reply_pattern.as_ref().filter(|pattern| pattern.is_match(&record.reply.text)) {
            return Err(Mismatch::new("reply", format!("nothing like {}", pattern.source()), &*record.reply.text));
        }
        for (what, refused, got) in [("intent", &self.intent, &record.intent), ("state", &self.state, &record.state)] {
            if refused.as_deref() == Some(&**got) {
                return Err(Mismatch::new(what, format!("anything but {got}"), &**got));
            }
        }
        for slot in &self.slots {
            if let Some(value) = outcome.state.slot(slot) {
                return Err(Mismatch::new(format!("slot {slot}"), "nothing in it", value.to_string()));
            }
        }
        for promise in &self.stages {
            let broken: Vec<_> = record.stages.iter().filter(|event| promise.is_broken_by(event)).collect();
            if !broken.is_empty() {
                let expected = format!("no {}", promise.words());
                return Err(Mismatch::new(format!("stage {}", promise.stage), expected, lines(broken.into_iter())));
            }
        }
        Ok(())
    }
}

fn lines<'e>(events: impl Iterator<Item = &'e StageEvent>) -> String {
    events.map(replay::stage_line).collect::<Vec<_>>().join("; ")
}

fn same_names<'n>(
    what: &str,
    expected: Option<&Vec<String>>,
    got: impl Iterator<Item = &'n str>,
) -> Result<(), Mismatch> {
    let Some(expected) = expected else { return Ok(()) };
    let sorted = |mut names: Vec<&'n str>| {
        names.sort_unstable();
        names
    };
    let got = sorted(got.collect());
    let mut wanted: Vec<&str> = expected.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    if wanted == got { Ok(()) } else { Err(Mismatch::new(what, wanted.join(", "), got.join(", "))) }
}
