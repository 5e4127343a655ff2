//! Every kind of fault there is: its id, how severe it is, and what it means.
//!
//! The pages of `docs/lint` are part of the program, so that `colloquy flow lint --explain` needs no network
//! and never disagrees with what is checked. A kind of fault enters here, with its page, before it can be
//! reported.

use crate::fault::Severity;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lint {
    /// Its stable name, in kebab case.
    pub id: &'static str,
    /// Whether it keeps a flow from being used.
    pub severity: Severity,
    /// What is wrong, in a line.
    pub summary: &'static str,
    /// The page that explains it, in Markdown.
    pub page: &'static str,
}

macro_rules! lints {
    ($($severity:ident $id:literal $summary:literal;)*) => {
        &[$(Lint {
            id: $id,
            severity: Severity::$severity,
            summary: $summary,
            page: include_str!(concat!("../../docs/lint/", $id, ".md")),
        }),*]
    };
}

/// Every lint, in alphabetic order of their ids.
pub const LINTS: &[Lint] = lints! {
    Warning "action-never-staged" "no rule stages the action, and no planner lists it";
    Error "action-without-confirmation" "a tool that changes the world is called without asking";
    Error "bad-condition" "a condition cannot be read, or does what conditions may not";
    Error "bad-duration" "a duration is none, or out of bounds";
    Error "bad-format" "the format is not the one this build reads";
    Error "bad-name" "a name has letters it may not have, or too many";
    Error "bad-pattern" "a pattern cannot be read, is too large or matches the empty text";
    Error "bad-schema" "a JSON Schema cannot be read, or uses what is not supported";
    Error "bad-template" "a template cannot be read";
    Error "bad-value" "a value does not fit where it stands";
    Error "budget-over-deadline" "a call, or all calls of a planner, may take longer than the whole turn";
    Error "call-without-timeout" "an outside call has no timeout";
    Warning "condition-never-holds" "a condition contradicts itself";
    Error "condition-type" "a condition compares what can never be equal";
    Warning "conditional-response" "a state has only responses with conditions";
    Warning "dead-end" "a conversation that gets there can never come to an end";
    Error "duplicate-name" "the same name is declared twice";
    Warning "enrichment-never-used" "nothing reads what an enrichment fetches";
    Error "enrichment-without-default" "nothing stands in for an enrichment that fails";
    Error "enum-without-values" "an enum has no values";
    Error "file-too-large" "a file is larger than 1 MiB";
    Warning "flag-never-raised" "nothing raises the flag";
    Warning "flag-never-read" "no condition asks for the flag";
    Warning "intent-collision" "two intents are recognised by the same, and neither wins";
    Warning "intent-never-chosen" "an intent is recognised, but may begin nowhere";
    Error "internal" "the loader itself failed";
    Error "missing-key" "something required is missing";
    Error "no-response" "a state has nothing to say";
    Error "no-source" "the folder has no flow in it";
    Error "out-of-range" "a number is out of bounds";
    Warning "planner-never-works" "a planner stands behind one that always works";
    Error "planner-tool" "a planner lists what it may not call";
    Warning "prompt-never-used" "nothing uses the prompt";
    Warning "regex-costly" "a pattern is slow to search for";
    Warning "response-never-chosen" "a response stands behind one that is always said";
    Error "retry-not-idempotent" "a call that is tried again may act twice";
    Error "rule-collision" "two rules fire together and contradict each other";
    Error "rule-loop" "rules lead round in a circle";
    Warning "secret-in-prompt" "a prompt lists a slot that is always redacted";
    Warning "slot-never-filled" "nothing fills the slot";
    Warning "slot-never-used" "nothing reads the slot";
    Warning "slot-unguarded" "a condition reads a slot that may be empty";
    Error "slot-without-pattern" "a slot is collected, but nothing can find it";
    Error "too-large" "the flow exceeds a bound";
    Warning "too-many-faults" "not all faults are told";
    Warning "transition-never-proposed" "a transition is declared for who never proposes it";
    Warning "turn-over-deadline" "one after the other, a turn's calls may exceed its deadline";
    Error "undeclared-transition" "a rule or an action leads where no transition does";
    Error "unknown-action" "an action is named that there is not";
    Error "unknown-enrichment" "an enrichment is named that there is not";
    Error "unknown-flag" "a flag is named that there is not";
    Error "unknown-intent" "an intent is named that there is not";
    Error "unknown-key" "a key is written that there is not";
    Error "unknown-prompt" "a prompt is named that there is not";
    Error "unknown-slot" "a slot is named that there is not";
    Error "unknown-state" "a state is named that there is not";
    Error "unknown-timer" "a timer is dropped that no rule sets";
    Error "unknown-variable" "a template or prompt names what it cannot see";
    Error "unlisted-variable" "a prompt names what it does not list";
    Error "unreachable-state" "no transition leads to the state";
    Error "unreadable" "a file cannot be read";
    Error "upgrade-collision" "two old slots become one";
    Warning "upgrade-never-applies" "an upgrade stands behind one that always applies";
    Error "wrong-type" "a text stands where a list should, or the like";
    Error "yaml" "the file is not valid YAML";
};

/// The lint with this id.
pub fn find(id: &str) -> Option<&'static Lint> {
    LINTS.iter().find(|lint| lint.id == id)
}
