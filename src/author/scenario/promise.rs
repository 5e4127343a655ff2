//! What a turn promises beyond what a client of the wire can see: flags, stages, prompts, arguments of calls,
//! and what must not happen.

use colloquy_flow::{Json, Pattern};
use colloquy_turn::{Detail, Outcome, Proposer, Reason, Stage, StageEvent, StageResult};

use super::{ScriptedWorld, compare::Mismatch};
use crate::replay;

/// What else must come of a turn. Lists are compared without regard to order, those of follow-ups and
/// progress aside.
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
    /// Enrichments and actions that must be asked, each time with exactly these arguments.
    pub arguments: Vec<(String, Json)>,
    /// Exactly what a user interface is given to show while the turn waits, in order.
    pub progress: Option<Vec<String>>,
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
    /// Who proposed the move it tells of.
    pub by: Option<Proposer>,
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
        let proposed = |by| matches!(&event.detail, Detail::Proposal(proposal) if proposal.by == by);
        event.stage == self.stage
            && self.result.is_none_or(|result| result == event.result)
            && self.reason.is_none_or(|reason| reason == event.reason)
            && self.name.as_ref().is_none_or(named)
            && self.by.is_none_or(proposed)
    }

    fn is_broken_by(&self, event: &StageEvent) -> bool {
        let bare = self.result.is_none() && self.reason.is_none() && self.name.is_none() && self.by.is_none();
        self.is_kept_by(event) && !(bare && event.result == StageResult::Skipped)
    }

    fn words(&self) -> String {
        let words = [
            Some(self.stage.name()),
            self.result.map(StageResult::name),
            self.reason.map(|reason| if reason == Reason::None { "none" } else { reason.name() }),
            self.by.map(Proposer::name),
            self.name.as_deref(),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl Promises {
    /// Compares a decided turn, and what was asked of the world in it, with what is promised.
    pub(super) fn check(&self, outcome: &Outcome, world: &ScriptedWorld) -> Result<(), Mismatch> {
        let (state, record) = (&outcome.state, &outcome.record);
        same_names("flags", self.flags.as_ref(), state.flags().iter().map(AsRef::as_ref))?;
        same_names("pending", self.pending.as_ref(), state.pending().iter().map(|pending| &*pending.action))?;
        let without = record.degradations.iter().map(|degradation| match &*degradation.name {
            "" => degradation.stage.name(),
            name => name,
        });
        same_names("degradations", self.degradations.as_ref(), without)?;
        in_order("follow_ups", self.follow_ups.as_ref(), record.reply.follow_ups.iter().map(AsRef::as_ref))?;
        in_order("progress", self.progress.as_ref(), world.progress())?;
        for promise in &self.stages {
            if !record.stages.iter().any(|event| promise.is_kept_by(event)) {
                let came = lines(record.stages.iter().filter(|event| event.stage == promise.stage));
                return Err(Mismatch::new(format!("stage {}", promise.stage), promise.words(), came));
            }
        }
        self.prompts.iter().try_for_each(|promise| promise.check(world))?;
        self.arguments.iter().try_for_each(|(name, expected)| check_arguments(name, expected, world))?;
        self.never.check(outcome)
    }
}

impl PromptPromise {
    fn check(&self, world: &ScriptedWorld) -> Result<(), Mismatch> {
        let what = || format!("prompt {}", self.name);
        let asked: Vec<&str> =
            world.prompts().iter().filter(|(name, _)| **name == *self.name).map(|(_, text)| text.as_str()).collect();
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

/// Compares as JSON is written, so that 300 is 300 whether a slot or the flow gives it.
fn check_arguments(name: &str, expected: &Json, world: &ScriptedWorld) -> Result<(), Mismatch> {
    let expected = expected.to_string();
    let asked = world.arguments().iter().filter(|(asked, _)| **asked == *name);
    let mut asked = asked.map(|(_, arguments)| arguments.to_string()).peekable();
    let got = match asked.peek() {
        None => Some("not asked in this turn".to_owned()),
        Some(_) => asked.find(|got| *got != expected),
    };
    got.map_or(Ok(()), |got| Err(Mismatch::new(format!("arguments of {name}"), expected, got)))
}

fn in_order<'n>(
    what: &str,
    expected: Option<&Vec<String>>,
    got: impl Iterator<Item = &'n str>,
) -> Result<(), Mismatch> {
    let Some(expected) = expected else { return Ok(()) };
    let got: Vec<&str> = got.collect();
    if got == *expected { Ok(()) } else { Err(Mismatch::new(what, expected.join(", "), got.join(", "))) }
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
