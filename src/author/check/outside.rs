//! What comes from outside is bounded, has something to stand in for it, and is confirmed where it acts.

use std::time::Duration;

use colloquy_flow::Redaction;

use crate::{
    fault::{Faults, Mark},
    source::{SourceAction, SourceFlow, SourcePlanner, SourceText},
};

pub(super) fn check(source: &SourceFlow, faults: &mut Faults) {
    for enrichment in &source.enrichments {
        let name = &enrichment.name;
        if enrichment.default.is_none() {
            let message = format!("enrichment {:?} has no default", name.value);
            let fix = "add default: what the turn goes on with when the source is late or fails";
            faults.error("enrichment-without-default", &name.mark, message, fix);
        }
        if !enrichment.has_timeout {
            let message = format!("enrichment {:?} has no timeout", name.value);
            faults.error("call-without-timeout", &name.mark, message, "add timeout: 500ms");
        }
    }
    for action in &source.actions {
        tool(action, faults);
    }
    deadlines(source, faults);
}

/// What is secret never reaches a prompt, so a prompt that lists it says "[redacted]" to the model.
pub(super) fn secrets(source: &SourceFlow, faults: &mut Faults) {
    let redaction = Redaction::new(&source.secret_keys, Vec::new());
    for prompt in &source.prompts {
        for variable in &prompt.variables {
            let Some(slot) = variable.value.strip_prefix("slots.") else { continue };
            if redaction.is_secret(slot) || source.slot(slot).is_some_and(|slot| slot.secret) {
                let message = format!("prompt {:?} lists slot {slot:?}, which is always redacted", prompt.name.value);
                faults.warn("secret-in-prompt", &variable.mark, message, "remove it from the prompt's variables");
            }
        }
    }
}

fn tool(action: &SourceAction, faults: &mut Faults) {
    let Some(tool) = &action.tool else { return };
    let name = &action.name;
    if !tool.has_timeout {
        let message = format!("action {:?} has no timeout", name.value);
        faults.error("call-without-timeout", &name.mark, message, "add timeout: 2s");
    }
    if !tool.read_only && action.confirm.is_none() && !action.unconfirmed {
        let message = format!("action {:?} changes the world without asking", name.value);
        let fix = "add confirm: {}, or read_only: true if it changes nothing, or confirm: {required: false}";
        faults.error("action-without-confirmation", &name.mark, message, fix);
    }
    if tool.patience.attempts > 1 && !tool.read_only && !tool.idempotent {
        let message = format!("action {:?} may be tried again, but is not idempotent: it may act twice", name.value);
        faults.error("retry-not-idempotent", &name.mark, message, "write attempts: 1, or idempotent: true if it is");
    }
}

/// What a planner may have to wait for: each call, the question before it, and the last question.
fn planned(source: &SourceFlow, planner: &SourcePlanner) -> Duration {
    let question = source.prompt(&planner.prompt.value).map_or(Duration::ZERO, |prompt| prompt.patience.timeout);
    let tools = planner.tools.iter().filter_map(|tool| source.action(&tool.value)?.tool.as_ref());
    let slowest = tools.map(|tool| tool.patience.timeout).max().unwrap_or_default();
    (question.saturating_add(slowest)).saturating_mul(u32::from(planner.calls)).saturating_add(question)
}

/// What a turn may have to wait for, one after the other, fits into its deadline.
fn deadlines(source: &SourceFlow, faults: &mut Faults) {
    let deadline = source.limits.turn_deadline;
    let prompt = |name: &str| source.prompt(name).map_or(Duration::ZERO, |prompt| prompt.patience.timeout);
    let mut over = false;
    let mut single = |what: &str, mark: &Mark, timeout: Duration, faults: &mut Faults| {
        over |= timeout > deadline;
        if timeout > deadline {
            let message = format!("{what} may take {timeout:?}, but the whole turn has {deadline:?}");
            faults.error("budget-over-deadline", mark, message, "shorten its timeout, or raise limits.turn_deadline");
        }
    };
    for one in &source.prompts {
        single(&format!("prompt {:?}", one.name.value), &one.name.mark, one.patience.timeout, faults);
    }
    for one in &source.enrichments {
        single(&format!("enrichment {:?}", one.name.value), &one.name.mark, one.patience.timeout, faults);
    }
    for one in &source.actions {
        if let Some(tool) = &one.tool {
            single(&format!("action {:?}", one.name.value), &one.name.mark, tool.patience.timeout, faults);
        }
    }
    let act = source.act_model.as_ref().map_or(Duration::ZERO, |model| prompt(&model.value.prompt));
    let intent = source.understanding.model.as_ref().map_or(Duration::ZERO, |model| prompt(&model.value.prompt));
    let enrich = source.enrichments.iter().map(|one| one.patience.timeout).max().unwrap_or_default();
    let extract = source.extract_prompt.as_ref().map_or(Duration::ZERO, |name| prompt(&name.value));
    let tools = source.actions.iter().filter_map(|action| action.tool.as_ref());
    let tools = tools.map(|tool| tool.patience.timeout).max().unwrap_or_default();
    let replies = source.responses.iter().filter_map(|row| match &row.text {
        SourceText::Model(model) => Some(prompt(&model.prompt.value)),
        _ => None,
    });
    let planners = source.planners.iter().map(|planner| {
        let whole = planned(source, planner);
        let what = format!("with {} calls, planner {:?}", planner.calls, planner.name.value);
        single(&what, &planner.name.mark, whole, faults);
        whole
    });
    let planners = planners.max().unwrap_or_default();
    let whole = act + intent + enrich + extract + planners + tools + replies.max().unwrap_or_default();
    if whole > deadline && !over {
        let message = format!("one after the other, what a turn waits for may take {whole:?}; it has {deadline:?}");
        let fix = "shorten timeouts, or raise limits.turn_deadline: what comes last will be cut short";
        faults.warn("turn-over-deadline", &source.mark, message, fix);
    }
}
