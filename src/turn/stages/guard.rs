//! Stage 1: refuses input the flow does not take, and flags what it wants flagged.

use std::{borrow::Cow, sync::Arc};

use colloquy_flow::{Consequence, Guard, Json, Name};

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
    let hits =
        if guard.policies.is_empty() && guard.steering.is_none() { Vec::new() } else { hits(guard, &judged(work)) };
    if hits.is_empty() {
        work.event(Stage::Guard, StageResult::Passed, Reason::None, Detail::None);
    }
    for (consequence, reason, detail) in hits {
        if follow(work, &consequence, reason, detail) {
            break;
        }
    }
    Progress::Next
}

/// What follows from the policies that hit, in their order, then from the score.
fn hits(guard: &Guard, judged: &str) -> Vec<(Consequence, Reason, Detail)> {
    let lowered = judged.to_lowercase();
    let policies = guard.policies.iter().filter(|policy| policy.hits(judged, &lowered));
    let mut hits: Vec<_> = policies
        .map(|policy| (policy.consequence.clone(), Reason::Policy, Detail::Name(Arc::clone(&policy.id))))
        .collect();
    if let Some(steering) = &guard.steering {
        let (score, signs) = steering.score(judged);
        let reached =
            |at: &Option<(u8, Name)>| at.as_ref().filter(|(from, _)| score >= *from).map(|(_, what)| what.clone());
        let consequence = reached(&steering.block_at)
            .map(Consequence::Block)
            .or_else(|| reached(&steering.flag_at).map(Consequence::Flag));
        hits.extend(consequence.map(|consequence| (consequence, Reason::Steering, Detail::names(signs))));
    }
    hits
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
            if work.flow.flag(flag).is_some_and(|flag| flag.reset) {
                work.reset = Some(Reason::Reset);
            }
            false
        }
    }
}

/// What policies and the score judge: what is said, and what a form fills in, each on a line.
fn judged(work: &Work) -> Cow<'_, str> {
    let Some(structured) = work.structured.as_ref().filter(|input| !input.slots.is_empty()) else {
        return Cow::Borrowed(work.said());
    };
    let mut judged = work.said().to_owned();
    structured.slots.iter().for_each(|(_, value)| add_texts(value, &mut judged));
    Cow::Owned(judged)
}

fn add_texts(value: &Json, judged: &mut String) {
    match value {
        Json::List(items) => items.iter().for_each(|item| add_texts(item, judged)),
        Json::Object(members) => members.iter().for_each(|(_, member)| add_texts(member, judged)),
        Json::Null | Json::Boolean(_) => {}
        _ => {
            judged.push('\n');
            judged.push_str(&value.plain());
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
    if text.chars().any(forbidden) || judged(work).chars().any(forbidden) {
        return Some(Reason::ForbiddenCharacter);
    }
    match work.input.input {
        InputKind::Timer => None,
        InputKind::Text => text.trim().is_empty().then_some(Reason::Blank),
        InputKind::Json => work.structured.is_none().then_some(Reason::Malformed),
    }
}
