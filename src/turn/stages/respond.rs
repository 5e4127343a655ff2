//! Stage 11: writes the reply, then takes up what a finished digression had interrupted.

use std::sync::Arc;

use colloquy_flow::{Flow, Json, ModelText, Name, Response, StateIx, Text};

use crate::{
    event::{Detail, Reason, Stage, StageResult},
    record::{Reply, ReplyKind},
    stages::{
        Progress,
        asking::{self, Asked, Extra},
        retain, transition,
    },
    state::{Change, Question},
    work::{Course, Work},
};

pub(super) fn run(work: &mut Work) -> Progress {
    let flow = Arc::clone(&work.flow);
    if work.course == Course::Blocked {
        work.event(Stage::Respond, StageResult::Done, Reason::Decided, Detail::None);
        if work.has_kept() {
            lower_flags(work, &flow);
        }
        return Progress::Next;
    }
    let Some(here) = flow.find_state(work.state().intent(), work.state().state()) else { return Progress::Next };
    work.look_from(here);
    if work.course == Course::Clarify {
        return question(work, &flow, here);
    }
    let Some(said) = say(work, &flow, here, flow.responses_in(here)) else { return Progress::Need };
    let mut reply = said.unwrap_or_else(|| {
        work.degrade(Stage::Respond, Reason::NoResponse, &flow.state(here).full_name);
        Reply::plain(flow.fallback().as_ref(), ReplyKind::Fallback)
    });
    if let Some(taken_up) = transition::return_from_digression(work) {
        retain::evict(work);
        work.look_from(taken_up);
        let rows = flow.resumes_in(taken_up).chain(flow.responses_in(taken_up));
        // A position is taken up with what can be said at once: no model is waited for twice in a turn.
        if let Some(prompt) = say_at_once(work, &flow, taken_up, rows) {
            reply.text.push('\n');
            reply.text.push_str(&prompt.text);
            reply.follow_ups.extend(prompt.follow_ups);
        }
    }
    work.reply = Some(reply);
    close(work, &flow);
    Progress::Next
}

/// What a turn leaves behind it: no question that was not asked in it, no flag that lives for one turn.
fn close(work: &mut Work, flow: &Flow) {
    // A timer answers no question, so what was asked stays asked.
    let asks = !work.options.is_empty() || !work.choices.is_empty();
    if work.state().question().is_some() && !asks && !work.is_timer() {
        work.change(Change::QuestionDropped);
    }
    lower_flags(work, flow);
}

/// Lowers the flags that live for one turn.
fn lower_flags(work: &mut Work, flow: &Flow) {
    for flag in flow.turn_flags() {
        if work.state().flags().contains(flag) {
            work.change(Change::FlagCleared { flag: Arc::clone(flag) });
        }
    }
}

/// What is wrong with a row, to be recorded once the stage is through.
type Trouble = Vec<Reason>;

/// The first of `rows` that can be said; `None` while a model's answer is awaited.
fn say<'r>(
    work: &mut Work,
    flow: &Flow,
    here: StateIx,
    rows: impl Iterator<Item = &'r Response>,
) -> Option<Option<Reply>> {
    let mut trouble = Trouble::new();
    let mut said = None;
    for row in rows {
        if !applies(work, here, row, &mut trouble) {
            continue;
        }
        let made = match &row.text {
            Text::Model(model) => Some(by_model(work, flow, here, model, &mut trouble)?),
            text => render(work, flow, here, text, None),
        };
        match made {
            Some(reply) => {
                said = Some(Reply { follow_ups: row.follow_ups.clone(), ..reply });
                break;
            }
            None => trouble.push(Reason::Template),
        }
    }
    report(work, flow, here, trouble, said.as_ref());
    Some(said)
}

fn say_at_once<'r>(
    work: &mut Work,
    flow: &Flow,
    here: StateIx,
    rows: impl Iterator<Item = &'r Response>,
) -> Option<Reply> {
    let mut trouble = Trouble::new();
    let mut said = None;
    for row in rows {
        if matches!(row.text, Text::Model(_)) || !applies(work, here, row, &mut trouble) {
            continue;
        }
        match render(work, flow, here, &row.text, None) {
            Some(reply) => {
                said = Some(Reply { follow_ups: row.follow_ups.clone(), ..reply });
                break;
            }
            None => trouble.push(Reason::Template),
        }
    }
    report(work, flow, here, trouble, said.as_ref());
    said
}

fn applies(work: &Work, here: StateIx, row: &Response, trouble: &mut Trouble) -> bool {
    match row.when.as_ref().map_or(Ok(true), |condition| condition.holds(&work.facts(here))) {
        Ok(applies) => applies,
        Err(_) => {
            trouble.push(Reason::Condition);
            false
        }
    }
}

fn report(work: &mut Work, flow: &Flow, here: StateIx, trouble: Trouble, said: Option<&Reply>) {
    for reason in trouble {
        work.degrade(Stage::Respond, reason, &flow.state(here).full_name);
    }
    let reason = match said.map(|reply| reply.kind) {
        None => return,
        Some(ReplyKind::Exact) => Reason::Exact,
        Some(ReplyKind::Model | ReplyKind::ModelJson) => Reason::Model,
        Some(_) => Reason::Template,
    };
    work.event(Stage::Respond, StageResult::Done, reason, Detail::None);
}

fn render(work: &Work, flow: &Flow, here: StateIx, text: &Text, options: Option<String>) -> Option<Reply> {
    match text {
        Text::Exact(text) => Some(Reply::plain(text.as_ref(), ReplyKind::Exact)),
        Text::Template(template) => {
            let variables = colloquy_flow::Variables { options, ..work.variables(here, []) };
            let text = flow.templates().render(template, &Arc::new(variables)).ok()?;
            Some(Reply::plain(text, ReplyKind::Template))
        }
        Text::Model(_) => None,
    }
}

/// A reply that a model writes. When it cannot be had, what the row says instead.
fn by_model(work: &mut Work, flow: &Flow, here: StateIx, model: &ModelText, trouble: &mut Trouble) -> Option<Reply> {
    let instead = |reason: Reason| {
        let malformed = model.malformed.as_ref().filter(|_| reason == Reason::Malformed);
        let said = malformed.or(model.failed.as_ref()).unwrap_or_else(|| flow.fallback());
        Reply::plain(said.as_ref(), ReplyKind::Fallback)
    };
    let Some(prompt) = flow.prompt(&model.prompt) else {
        trouble.push(Reason::Prompt);
        return Some(instead(Reason::Prompt));
    };
    let extra = Extra { schema: model.schema.clone(), stream: model.schema.is_none(), ..Extra::default() };
    let most = usize::try_from(model.chars_max).unwrap_or(usize::MAX);
    let answer: Asked<(Reply, bool)> = if model.schema.is_some() {
        let answered = asking::json(work, prompt, &extra, |value| Ok(value.clone()))?;
        let reply = |value| from_json(work, flow, here, model, value, most).ok_or(Reason::Malformed);
        Some(answered.and_then(reply).map(|reply| (reply, false)))
    } else {
        asking::repaired(work, prompt, &extra, |output| {
            let text = output.text.trim();
            match text.chars().count() {
                0 => Err("it is empty".to_owned()),
                chars if chars > most => Err(format!("it has {chars} characters, at most {most} are allowed")),
                _ => Ok((Reply::plain(text, ReplyKind::Model), output.truncated)),
            }
        })
    };
    match answer? {
        Ok((reply, truncated)) => {
            trouble.extend(truncated.then_some(Reason::Truncated));
            Some(reply)
        }
        Err(reason) => {
            trouble.push(reason);
            Some(instead(reason))
        }
    }
}

/// What is said of a JSON answer: the row's `say`, or the member `text`, or all of it.
fn from_json(work: &Work, flow: &Flow, here: StateIx, model: &ModelText, value: Json, most: usize) -> Option<Reply> {
    let text = match &model.say {
        Some(template) => {
            let variables = work.variables(here, [("answer".into(), value.clone())]);
            flow.templates().render(template, &Arc::new(variables)).ok()?
        }
        None => value.get("text").map_or_else(|| value.to_string(), Json::plain),
    };
    let fits = !text.trim().is_empty() && text.chars().count() <= most;
    fits.then(|| Reply { json: Some(value), ..Reply::plain(text, ReplyKind::ModelJson) })
}

/// Asks which of several actions or intents is meant.
fn question(work: &mut Work, flow: &Flow, here: StateIx) -> Progress {
    let actions = !work.options.is_empty();
    let (labels, names): (Vec<Name>, Vec<Name>) = if actions {
        let options = work.options.iter().map(|action| flow.action(*action));
        options.map(|action| (Arc::clone(&action.label), Arc::clone(&action.name))).unzip()
    } else {
        let choices = work.choices.iter().map(|intent| flow.intent(*intent));
        choices.map(|intent| (Arc::clone(&intent.label), Arc::clone(&intent.name))).unzip()
    };
    let listed = labels.join(", ");
    let text = if actions { Some(flow.clarify()) } else { flow.collision() };
    let mut trouble = Trouble::new();
    let made = match text {
        Some(Text::Model(model)) => match asked_by_model(work, flow, model, &labels, &mut trouble) {
            None => return Progress::Need,
            Some(reply) => reply,
        },
        Some(text) => {
            let made = render(work, flow, here, text, Some(listed.clone()));
            trouble.extend(made.is_none().then_some(Reason::Template));
            made
        }
        None => None,
    };
    for reason in trouble {
        work.degrade(Stage::Respond, reason, &flow.state(here).full_name);
    }
    // The labels alone are a question, if not a pretty one.
    let text = made.map_or_else(|| format!("{listed}?"), |reply| reply.text);
    let kind = if actions { ReplyKind::Clarification } else { ReplyKind::Collision };
    work.event(Stage::Respond, StageResult::Asked, Reason::Ambiguous, Detail::None);
    work.reply = Some(Reply { follow_ups: labels, ..Reply::plain(text, kind) });
    work.change(Change::Asked(if actions { Question::Actions(names) } else { Question::Intents(names) }));
    close(work, flow);
    Progress::Next
}

fn asked_by_model(
    work: &mut Work,
    flow: &Flow,
    model: &ModelText,
    labels: &[Name],
    trouble: &mut Trouble,
) -> Option<Option<Reply>> {
    let Some(prompt) = flow.prompt(&model.prompt) else { return Some(None) };
    let options = labels.iter().map(|label| Json::Text(Arc::clone(label))).collect();
    let extra = Extra { values: vec![("options".into(), Json::List(options))], stream: true, ..Extra::default() };
    let most = usize::try_from(model.chars_max).unwrap_or(usize::MAX);
    match asking::text(work, prompt, &extra)? {
        Ok(output) if !output.text.trim().is_empty() && output.text.chars().count() <= most => {
            trouble.extend(output.truncated.then_some(Reason::Truncated));
            Some(Some(Reply::plain(output.text.trim(), ReplyKind::Model)))
        }
        Ok(_) => {
            trouble.push(Reason::Malformed);
            Some(None)
        }
        Err(reason) => {
            trouble.push(reason);
            Some(None)
        }
    }
}
