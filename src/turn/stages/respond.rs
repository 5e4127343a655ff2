//! Stage 11: writes the reply, then takes up what a finished digression had interrupted.

use std::sync::Arc;

use colloquy_flow::{Flow, Response, StateIx, Text, Variables};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    record::{Reply, ReplyKind},
    stages::{Progress, retain, transition},
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    let flow = Arc::clone(&work.flow);
    if work.course == Course::Blocked {
        work.event(Stage::Respond, StageResult::Done, Reason::Decided, Detail::None);
        return Progress::Next;
    }
    let Some(here) = flow.find_state(work.state().intent(), work.state().state()) else { return Progress::Next };
    if work.course == Course::Clarify {
        work.reply = clarification(work, &flow, here);
        return Progress::Next;
    }
    let mut reply = say(work, here, flow.responses_in(here)).unwrap_or_else(|| {
        work.degrade(Stage::Respond, Reason::NoResponse, &flow.state(here).full_name);
        Reply { text: flow.fallback().to_string(), kind: ReplyKind::Fallback }
    });
    if let Some(taken_up) = transition::return_from_digression(work) {
        retain::evict(work);
        let rows = flow.resumes_in(taken_up).chain(flow.responses_in(taken_up));
        if let Some(prompt) = say(work, taken_up, rows) {
            reply.text.push('\n');
            reply.text.push_str(&prompt.text);
        }
    }
    work.reply = Some(reply);
    Progress::Next
}

/// The first of `rows` whose condition holds and whose text can be rendered.
fn say<'r>(work: &mut Work, here: StateIx, rows: impl Iterator<Item = &'r Response>) -> Option<Reply> {
    let flow = Arc::clone(&work.flow);
    for row in rows {
        match row.when.as_ref().map_or(Ok(true), |condition| condition.holds(&work.facts(here))) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => {
                work.degrade(Stage::Respond, Reason::Condition, &flow.state(here).full_name);
                continue;
            }
        }
        match render(work, &flow, here, &row.text, None) {
            Some(reply) => {
                let reason = if reply.kind == ReplyKind::Exact { Reason::Exact } else { Reason::Template };
                work.event(Stage::Respond, StageResult::Done, reason, Detail::None);
                return Some(reply);
            }
            None => work.degrade(Stage::Respond, Reason::Template, &flow.state(here).full_name),
        }
    }
    None
}

fn render(work: &Work, flow: &Flow, here: StateIx, text: &Text, options: Option<String>) -> Option<Reply> {
    match text {
        Text::Exact(text) => Some(Reply { text: text.to_string(), kind: ReplyKind::Exact }),
        Text::Template(template) => {
            let state = flow.state(here);
            let intent = flow.intent(state.intent);
            let variables = Variables {
                slots: work.state().slots().iter().filter(|(slot, _)| intent.keeps(slot)).cloned().collect(),
                intent: Arc::clone(&state.intent_name),
                state: Arc::clone(&state.name),
                options,
            };
            let text = flow.templates().render(template, &Arc::new(variables)).ok()?;
            Some(Reply { text, kind: ReplyKind::Template })
        }
    }
}

fn clarification(work: &mut Work, flow: &Flow, here: StateIx) -> Option<Reply> {
    let labels: Vec<&str> = work.options.iter().map(|action| flow.action(*action).label.as_ref()).collect();
    match render(work, flow, here, flow.clarify(), Some(labels.join(", "))) {
        Some(reply) => {
            work.event(Stage::Respond, StageResult::Asked, Reason::Ambiguous, Detail::None);
            Some(Reply { kind: ReplyKind::Clarification, ..reply })
        }
        None => {
            work.degrade(Stage::Respond, Reason::Template, &flow.state(here).full_name);
            None
        }
    }
}
