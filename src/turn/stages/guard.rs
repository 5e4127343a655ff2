//! Stage 1: refuses input the flow does not take, and flags what it wants flagged.

use std::sync::Arc;

use colloquy_flow::{Consequence, Name};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    record::{InputKind, Reply, ReplyKind},
    stages::Progress,
    state::Change,
    work::Work,
};

pub(super) fn run(work: &mut Work) -> Progress {
    if let Some(reason) = objection(work) {
        work.event(Stage::Guard, StageResult::Blocked, reason, Detail::None);
        work.refuse();
        return Progress::Next;
    }
    let flow = Arc::clone(&work.flow);
    let guard = flow.guard();
    let mut passed = true;
    if !guard.policies.is_empty() {
        let lowered = work.said().to_lowercase();
        for policy in guard.policies.iter() {
            if policy.hits(work.said(), &lowered) {
                passed = false;
                let detail = Detail::Name(Arc::clone(&policy.id));
                if follow(work, &policy.consequence, Reason::Policy, detail) {
                    return Progress::Next;
                }
            }
        }
    }
    if let Some(steering) = &guard.steering {
        let (score, signs) = steering.score(work.said());
        let reached =
            |at: &Option<(u8, Name)>| at.as_ref().filter(|(from, _)| score >= *from).map(|(_, what)| what.clone());
        let consequence = reached(&steering.block_at)
            .map(Consequence::Block)
            .or_else(|| reached(&steering.flag_at).map(Consequence::Flag));
        if let Some(consequence) = consequence {
            passed = false;
            if follow(work, &consequence, Reason::Steering, Detail::names(signs)) {
                return Progress::Next;
            }
        }
    }
    if passed {
        work.event(Stage::Guard, StageResult::Passed, Reason::None, Detail::None);
    }
    Progress::Next
}

/// Whether the turn is refused.
fn follow(work: &mut Work, consequence: &Consequence, reason: Reason, detail: Detail) -> bool {
    match consequence {
        Consequence::Block(reply) => {
            work.event(Stage::Guard, StageResult::Blocked, reason, detail);
            work.refuse();
            work.reply = Some(Reply::plain(reply.as_ref(), ReplyKind::Policy));
            true
        }
        Consequence::Flag(flag) => {
            work.event(Stage::Guard, StageResult::Matched, reason, detail);
            if !work.state().flags().contains(flag) {
                work.change(Change::FlagSet { flag: Arc::clone(flag) });
            }
            false
        }
    }
}

fn objection(work: &Work) -> Option<Reason> {
    let text = &work.input.text;
    let chars_max = usize::try_from(work.flow.limits().text_chars).unwrap_or(usize::MAX);
    if !work.known_position {
        return Some(Reason::UnknownPosition);
    }
    // Bytes bound characters, so most texts need no counting.
    if text.len() > chars_max && text.chars().count() > chars_max {
        return Some(Reason::TooLong);
    }
    let forbidden = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if text.chars().any(forbidden) || work.said().chars().any(forbidden) {
        return Some(Reason::ForbiddenCharacter);
    }
    match work.input.input {
        InputKind::Text => text.trim().is_empty().then_some(Reason::Blank),
        InputKind::Json => work.structured.is_none().then_some(Reason::Malformed),
    }
}
